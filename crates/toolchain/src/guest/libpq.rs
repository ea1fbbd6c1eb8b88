//! libpq inside the server, for `libpqwalreceiver`.
//!
//! libpq brings its own copies of `src/common` and `src/port`, made for programs rather than servers. In one module with the server's copies
//! they would clash, so every function of those is renamed with a prefix.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::parallel::{Compilations, object_name};
use super::symbols::defined;
use super::{GuestCtx, flags};

/// The sources of libpq itself.
const SOURCES: &[&str] = &[
    "fe-auth",
    "fe-auth-oauth",
    "fe-auth-scram",
    "fe-cancel",
    "fe-connect",
    "fe-exec",
    "fe-lobj",
    "fe-misc",
    "fe-print",
    "fe-protocol3",
    "fe-secure",
    "fe-trace",
    "libpq-events",
    "pqexpbuffer",
];

/// Compiles it; returns the static library.
pub(super) fn build(ctx: &GuestCtx<'_>, tree: &Path, libc: &Path, out: &Path) -> Result<PathBuf> {
    let dir = out.join("libpq");
    fs::create_dir_all(&dir)?;
    let mut sources: Vec<PathBuf> = SOURCES
        .iter()
        .map(|name| {
            Path::new("src/interfaces/libpq")
                .join(name)
                .with_extension("c")
        })
        .collect();
    let mut names = BTreeSet::new();
    for part in ["src/common", "src/port"] {
        for object in super::libc::sorted(&tree.join(part), "o")? {
            let stem = object
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let Some(stem) = stem.strip_suffix("_shlib") else {
                continue;
            };
            names.extend(
                defined(&fs::read(&object)?)
                    .with_context(|| format!("symbols of {}", object.display()))?,
            );
            sources.push(Path::new(part).join(stem).with_extension("c"));
        }
    }
    let renames: String = names
        .iter()
        .map(|name| format!("#define {name} lpq_{name}\n"))
        .collect();
    let header = dir.join("renames.h");
    fs::write(&header, renames)?;
    let mut all = Compilations::default();
    for source in sources {
        let object = dir.join(object_name(&source));
        let mut command = ctx.guest_cc(libc);
        command
            .current_dir(tree)
            .args([
                flags::OPTIMISE,
                "-w",
                "-DFRONTEND",
                "-DSO_MAJOR_VERSION=5",
                "-include",
            ])
            .arg(&header);
        command.args(
            [
                "src/include",
                "src/interfaces/libpq",
                "src/common",
                "src/port",
            ]
            .map(|path| format!("-I{path}")),
        );
        all.add(command, &source, object);
    }
    let objects = all.run(ctx)?;
    let library = dir.join("libpq.a");
    ctx.archive(&library, &objects)?;
    Ok(library)
}
