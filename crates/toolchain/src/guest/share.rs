//! The installed files, as guests see them below `/pgsql`: `bin`, `lib`, `share`.
//!
//! Programs and libraries are linked into the host's binary; what stands for them in the file tree only says so, for those who look whether it is there.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::libc::sorted;
use super::postgres::TREE;
use super::{GuestCtx, modules};
use crate::process;

/// Changes when the recipe's result does.
pub(super) const VERSION: u32 = 2;

/// What a marker file says.
pub const MARKER: &str = "compiled into the host program\n";

/// Files of `share`, relative to the source tree. Of a list the first that exists is taken: generated catalogue files move between releases.
const FILES: &[&[&str]] = &[
    &[
        "src/include/catalog/postgres.bki",
        "src/backend/catalog/postgres.bki",
    ],
    &[
        "src/include/catalog/system_constraints.sql",
        "src/backend/catalog/system_constraints.sql",
    ],
    &["src/backend/catalog/information_schema.sql"],
    &["src/backend/catalog/sql_features.txt"],
    &["src/backend/catalog/system_functions.sql"],
    &["src/backend/catalog/system_views.sql"],
    &["src/backend/snowball/snowball_create.sql"],
    &["src/backend/utils/errcodes.txt"],
    &["src/backend/utils/misc/postgresql.conf.sample"],
    &["src/backend/libpq/pg_hba.conf.sample"],
    &["src/backend/libpq/pg_ident.conf.sample"],
    &["src/interfaces/libpq/pg_service.conf.sample"],
];

/// Directories of `share`: the source's directory, the extension of the files to take (empty: all plain files), where they go.
const DIRECTORIES: &[(&str, &str, &str)] = &[
    ("src/timezone/tznames", "txt", "timezonesets"),
    ("src/backend/snowball/stopwords", "stop", "tsearch_data"),
    ("src/backend/tsearch/dicts", "affix", "tsearch_data"),
    ("src/backend/tsearch/dicts", "dict", "tsearch_data"),
    ("src/backend/tsearch/dicts", "rules", "tsearch_data"),
    ("src/backend/tsearch/dicts", "stop", "tsearch_data"),
    ("src/backend/tsearch/dicts", "syn", "tsearch_data"),
    ("src/backend/tsearch/dicts", "ths", "tsearch_data"),
    ("src/pl/plpgsql/src", "control", "extension"),
    ("src/pl/plpgsql/src", "sql", "extension"),
];

/// Time zone sets without an extension.
const ZONE_SETS: &[&str] = &["Default", "Australia", "India"];

/// Lays the files out in `out`.
pub fn share(ctx: &GuestCtx<'_>, postgres: &Path, out: &Path) -> Result<()> {
    let tree = postgres.join(TREE);
    let share = out.join("share");
    fs::create_dir_all(&share)?;
    for candidates in FILES {
        let found = candidates
            .iter()
            .map(|path| tree.join(path))
            .find(|path| path.is_file());
        let found =
            found.with_context(|| format!("none of {candidates:?} is in the source tree"))?;
        copy_into(&found, &share)?;
    }
    for (dir, extension, to) in DIRECTORIES {
        let to = share.join(to);
        fs::create_dir_all(&to)?;
        for file in sorted(&tree.join(dir), extension)? {
            copy_into(&file, &to)?;
        }
    }
    for set in ZONE_SETS {
        copy_into(
            &tree.join("src/timezone/tznames").join(set),
            &share.join("timezonesets"),
        )?;
    }
    ctx.bar.message("time zones");
    time_zones(ctx, &tree, &share.join("timezone"))?;
    let bin = out.join("bin");
    fs::create_dir_all(&bin)?;
    let tools = super::tools::programs();
    for program in super::MODULES.iter().copied().chain(tools) {
        let path = bin.join(program);
        fs::write(&path, MARKER)?;
        crate::unpack::make_executable(&path)?;
    }
    let lib = out.join("lib");
    fs::create_dir_all(&lib)?;
    for name in modules::names(postgres)? {
        fs::write(lib.join(format!("{name}.so")), MARKER)?;
    }
    Ok(())
}

fn copy_into(file: &Path, dir: &Path) -> Result<()> {
    let name = file
        .file_name()
        .with_context(|| format!("{} names no file", file.display()))?;
    fs::copy(file, dir.join(name)).with_context(|| format!("copying {}", file.display()))?;
    Ok(())
}

/// Compiles the time zones with PostgreSQL's own compiler for them, which runs on the host.
fn time_zones(ctx: &GuestCtx<'_>, tree: &Path, out: &Path) -> Result<()> {
    let scratch = out.with_extension("build");
    fs::create_dir_all(&scratch)?;
    let zic: PathBuf = scratch.join("zic");
    let mut command = ctx.zig("cc");
    command.current_dir(tree).args([
        "-O1",
        "-w",
        "-DFRONTEND",
        "-D_GNU_SOURCE",
        "-fno-sanitize=undefined",
        "-Isrc/include",
        "-Isrc/timezone",
    ]);
    command.args(["zic.c"].map(|name| format!("src/timezone/{name}")));
    command.args(
        ["snprintf.c", "qsort.c", "strerror.c", "strlcpy.c"].map(|name| format!("src/port/{name}")),
    );
    command.arg("src/common/fe_memutils.c").arg("-o").arg(&zic);
    process::logged(&mut command, ctx.log)?;
    let mut command = std::process::Command::new(&zic);
    command
        .arg("-d")
        .arg(out)
        .args(["-p", "US/Eastern", "-b", "fat"])
        .arg(tree.join("src/timezone/data/tzdata.zi"));
    process::logged(&mut command, ctx.log)?;
    crate::cache::remove_tree(&scratch)
}
