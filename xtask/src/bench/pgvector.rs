//! pgvector for native PostgreSQL, of the same sources as the bundled one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use pglite_oxide_asset_locator as locator;
use pglite_oxide_toolchain::Builder;

use crate::cache::Cache;
use crate::extensions::Catalogue;
use crate::fingerprint::Inputs;
use crate::progress::Progress;
use crate::{assets, process};

/// As Debian's package has it: portable, so without pgvector's own `OPTFLAGS=-march=native`. Its functions for processors with FMA, AVX and so on are chosen at run time then.
/// The rest is what PostgreSQL was configured with, but for warnings, which other compilers may not know.
const FLAGS: &[&str] = &[
    "OPTFLAGS=",
    "CFLAGS=-O2 -fno-strict-aliasing -fwrapv -fexcess-precision=standard",
    "with_llvm=no",
];

/// What it needs to compile for PostgreSQL 18.
const PATCH: &str = "extensions/vector/0001-postgresql-18.patch";

/// A directory with `lib/vector.so` and `share/extension`, compiled by the host's `cc` against the headers of the installation `native`.
pub(super) fn build(native: &Path) -> Result<PathBuf> {
    let cache = Cache::open(&locator::cache_root()?, Progress::new())?;
    let builder = Builder::new(&cache, &assets::host_target()?)?;
    let catalogue = Catalogue::read(builder.guest_dir())?;
    let source = builder.source(&catalogue.pin("pgvector")?)?;
    let patch = builder.guest_dir().join(PATCH);
    let compiler = process::output(Command::new("cc").arg("--version"))?;
    let inputs = Inputs::new()
        .value("flags", FLAGS.join(" "))
        .value("compiler", compiler.lines().next().unwrap_or_default())
        .value("native", native.display())
        .file("patch", &patch)?
        .step(&source);
    let built = cache.step("native-pgvector", inputs, false, |place| {
        let tree = place.dir.join("build");
        process::logged(
            Command::new("cp").arg("-pR").arg(&source.dir).arg(&tree),
            place.log,
        )?;
        let mut command = Command::new("patch");
        command.args(["-p1", "--forward", "-i"]).arg(&patch);
        process::logged(command.current_dir(&tree), place.log)?;
        let config = native.join("bin/pg_config");
        let mut command = Command::new("make");
        command
            .args(FLAGS)
            .arg("CC=cc")
            .arg(format!("PG_CONFIG={}", config.display()));
        process::logged(command.current_dir(&tree), place.log)?;
        let (lib, share) = (place.dir.join("lib"), place.dir.join("share/extension"));
        fs::create_dir_all(&lib)?;
        fs::create_dir_all(&share)?;
        fs::copy(tree.join("vector.so"), lib.join("vector.so"))?;
        fs::copy(tree.join("vector.control"), share.join("vector.control"))?;
        for entry in fs::read_dir(tree.join("sql"))? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().contains("--") {
                fs::copy(entry.path(), share.join(entry.file_name()))?;
            }
        }
        crate::cache::remove_tree(&tree)
    });
    Ok(built.context("native pgvector")?.dir)
}
