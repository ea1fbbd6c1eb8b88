//! PROJ for side modules: `include/proj.h`, `lib/libproj.a` with SQLite inside, and the database of coordinate systems in `share/proj`.
//!
//! Neither libtiff nor curl: no grids of its own, none from the network. Grids that a user has could be read only from files that the guest sees.
//! The database is made of the release's SQL by SQLite, compiled for the host from the same source.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::cxx::{STANDARD, cxx, precompiled, static_library};
use super::parallel::{Compilations, object_name};
use super::{GuestCtx, side_cc};
use crate::cache::remove_tree;
use crate::process;

/// Changes when the recipe's result does.
pub(super) const VERSION: u32 = 1;

/// What `links` of the catalogue calls it.
pub const PROJ: &str = "proj";

/// Our own part, relative to `guest`: the program that makes the database, and how a guest reads it.
pub(super) const OURS: &str = "proj";

/// Where the guest has `share/proj`.
const DATA: &str = "-DPROJ_DATA=\"/pgsql/share/proj\"";

/// What it marks as visible would be exported by the module.
const FLAGS: &[&str] = &[
    "-DMUTEX_stub",
    "-DPROJ_DLL=",
    "-DGEOD_DLL=",
    "-DNDEBUG",
    DATA,
    "-ffp-contract=off",
    "-ffunction-sections",
    "-fdata-sections",
];

/// SQLite reads one file, which nobody writes: `guest/proj/vfs.c` is all it knows of files.
const SQLITE: &[&str] = &[
    "-DSQLITE_OS_OTHER=1",
    "-DSQLITE_THREADSAFE=0",
    "-DSQLITE_DQS=0",
    "-DSQLITE_DEFAULT_MEMSTATUS=0",
    "-DSQLITE_TEMP_STORE=3",
    "-DSQLITE_MAX_MMAP_SIZE=0",
    "-DSQLITE_OMIT_DEPRECATED",
    "-DSQLITE_OMIT_LOAD_EXTENSION",
    "-DSQLITE_OMIT_WAL",
    "-ffunction-sections",
    "-fdata-sections",
];

/// Below `src`.
const SOURCES: &[&str] = &[
    "*.c",
    "*.cpp",
    "projections/*.cpp",
    "conversions/*.cpp",
    "transformations/*.cpp",
    "iso19111/*.cpp",
    "iso19111/operation/*.cpp",
];

/// What its configuration finds in musl.
const CONFIG: &str = "#define HAVE_LOCALECONV 1\n#define HAVE_STRERROR 1\n";

/// All that decides on the result besides the compiler's flags, for fingerprints.
pub(super) fn describe() -> String {
    [FLAGS, SQLITE, SOURCES, &[CONFIG]].concat().join(" ")
}

/// Compiles it from its unpacked `source` and SQLite's amalgamation in the directory `sqlite`.
pub fn proj(
    ctx: &GuestCtx<'_>,
    source: &Path,
    sqlite: &Path,
    libc: &Path,
    out: &Path,
) -> Result<()> {
    let include = out.join("include");
    fs::create_dir_all(&include)?;
    for header in ["proj.h", "geodesic.h"] {
        fs::copy(source.join("src").join(header), include.join(header))?;
    }
    let objects_dir = out.join("objects");
    fs::create_dir_all(&objects_dir)?;
    fs::write(objects_dir.join("proj_config.h"), CONFIG)?;
    let mut all = Compilations::default();
    let mut command = side_cc(ctx, libc);
    command.args(SQLITE);
    let amalgamation = sqlite.join("sqlite3.c");
    all.add(command, &amalgamation, objects_dir.join("sqlite3.o"));
    let mut command = side_cc(ctx, libc);
    command.arg("-I").arg(sqlite);
    let vfs = ctx.guest.join(OURS).join("vfs.c");
    all.add(command, &vfs, objects_dir.join("vfs.o"));
    let with_flags = |mut command: Command| {
        command.args(FLAGS).arg("-I").arg(&objects_dir);
        for dir in ["src", "include"] {
            command.arg("-I").arg(source.join(dir));
        }
        command.arg("-I").arg(sqlite);
        command
    };
    let compiler = || with_flags(cxx(ctx, libc));
    let headers = precompiled(ctx, compiler(), STANDARD, &objects_dir)?;
    for path in sources(source)? {
        let object = objects_dir.join(object_name(path.strip_prefix(source)?));
        let command = if path.extension().is_some_and(|end| end == "c") {
            with_flags(side_cc(ctx, libc))
        } else {
            let mut command = compiler();
            command.args(&headers);
            command
        };
        all.add(command, &path, object);
    }
    let objects = all.run(ctx)?;
    static_library(ctx, PROJ, &objects, out)?;
    database(ctx, source, sqlite, &objects_dir, &out.join("share/proj"))?;
    remove_tree(&objects_dir)
}

fn sources(source: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for pattern in SOURCES {
        for path in glob::glob(&source.join("src").join(pattern).to_string_lossy())? {
            found.push(path?);
        }
    }
    Ok(found)
}

/// Makes `proj.db` in `to`, as `data/generate_proj_db.cmake` does, with the list of names that PROJ reads besides.
fn database(
    ctx: &GuestCtx<'_>,
    source: &Path,
    sqlite: &Path,
    work: &Path,
    to: &Path,
) -> Result<()> {
    ctx.bar.message("proj.db");
    fs::create_dir_all(to)?;
    let program = work.join("make_database");
    let mut command = ctx.zig("cc");
    command
        .args([
            "-O1",
            "-w",
            "-DSQLITE_THREADSAFE=0",
            "-DSQLITE_OMIT_LOAD_EXTENSION",
            "-I",
        ])
        .arg(sqlite)
        .arg(sqlite.join("sqlite3.c"))
        .arg(ctx.guest.join(OURS).join("make_database.c"))
        .arg("-o")
        .arg(&program);
    process::logged(&mut command, ctx.log)?;
    let data = source.join("data");
    let list = fs::read_to_string(data.join("sql_filelist.cmake"))?;
    let version = version(&fs::read_to_string(source.join("src/proj.h"))?)?;
    let mut sql = String::new();
    for name in files_of(&list) {
        let path = data.join("sql").join(name);
        sql += &fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    }
    let script = work.join("all.sql");
    fs::write(&script, sql.replace("${PROJ_VERSION}", &version))?;
    process::logged(
        Command::new(&program).arg(to.join("proj.db")).arg(&script),
        ctx.log,
    )?;
    fs::copy(data.join("proj.ini"), to.join("proj.ini"))?;
    Ok(())
}

/// The names in `"${SQL_DIR}/name.sql"`, in order.
fn files_of(list: &str) -> impl Iterator<Item = &str> {
    list.lines().filter_map(|line| {
        let name = line.trim().strip_prefix("\"${SQL_DIR}/")?;
        name.strip_suffix('"')
    })
}

fn version(header: &str) -> Result<String> {
    let part = |name: &str| {
        let start = format!("#define PROJ_VERSION_{name} ");
        header
            .lines()
            .find_map(|line| line.strip_prefix(&start))
            .map(str::trim)
            .with_context(|| format!("proj.h has no PROJ_VERSION_{name}"))
    };
    Ok(format!(
        "{}.{}.{}",
        part("MAJOR")?,
        part("MINOR")?,
        part("PATCH")?
    ))
}

#[cfg(test)]
mod tests {
    use super::{files_of, version};

    #[test]
    fn lists_and_versions_are_read() {
        let list = "set(SQL_FILES\n  \"${SQL_DIR}/begin.sql\"\n  \"${SQL_DIR}/commit.sql\"\n)\n";
        assert_eq!(
            files_of(list).collect::<Vec<_>>(),
            ["begin.sql", "commit.sql"]
        );
        let header = "#define PROJ_VERSION_MAJOR 9\n#define PROJ_VERSION_MINOR 1\n#define PROJ_VERSION_PATCH 1\n";
        assert_eq!(version(header).unwrap(), "9.1.1");
        assert!(version("").is_err());
    }
}
