//! PostgreSQL's client programs as one module, `tools`: many `main`s that share libpq, libpgcommon and libpgfeutils.
//!
//! Output: one object for each directory of `src/bin`, linked in itself and with its symbols made local (`symbols::localise`), the dispatcher, copies of the
//! libraries, and `tools.objects`, which [`super::link()`] reads. The source tree of [`super::postgres()`] is copied, so that these programs can be
//! changed without building the server again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::libc::{copy_tree, patch_all};
use super::parallel::{Compilations, object_name};
use super::postgres::{TREE, wrapper};
use super::{GuestCtx, flags, symbols};
use crate::process;

/// Changes when the recipe's result does.
pub(super) const VERSION: u32 = 2;

/// One directory of `src/bin`.
struct Directory {
    name: &'static str,
    /// The programs; [`main_object`] has their `main`.
    programs: &'static [&'static str],
    /// The makefile's target for everything else: objects, or a program that drags them in.
    rest: &'static [&'static str],
}

const DIRECTORIES: &[Directory] = &[
    Directory {
        name: "initdb",
        programs: &["initdb"],
        rest: &["findtimezone.o", "localtime.o"],
    },
    Directory {
        name: "pg_amcheck",
        programs: &["pg_amcheck"],
        rest: &["pg_amcheck"],
    },
    Directory {
        name: "pg_basebackup",
        programs: &["pg_basebackup"],
        rest: &["pg_basebackup"],
    },
    Directory {
        name: "pg_controldata",
        programs: &["pg_controldata"],
        rest: &["pg_controldata"],
    },
    Directory {
        name: "pg_dump",
        programs: &["pg_dump", "pg_dumpall", "pg_restore"],
        rest: &["pg_dump", "pg_dumpall", "pg_restore"],
    },
    Directory {
        name: "pg_verifybackup",
        programs: &["pg_verifybackup"],
        rest: &["pg_verifybackup"],
    },
    Directory {
        name: "pg_waldump",
        programs: &["pg_waldump"],
        rest: &["pg_waldump"],
    },
    Directory {
        name: "pgbench",
        programs: &["pgbench"],
        rest: &["pgbench"],
    },
    Directory {
        name: "psql",
        programs: &["psql"],
        rest: &["psql"],
    },
    Directory {
        name: "scripts",
        programs: &[
            "clusterdb",
            "createdb",
            "createuser",
            "dropdb",
            "dropuser",
            "pg_isready",
            "reindexdb",
            "vacuumdb",
        ],
        rest: &["common.o"],
    },
];

/// Libraries that all of them share, relative to the source tree.
const LIBRARIES: &[&str] = &[
    "src/fe_utils/libpgfeutils.a",
    "src/common/libpgcommon.a",
    "src/port/libpgport.a",
];

/// The programs' names.
pub(super) fn programs() -> impl Iterator<Item = &'static str> {
    DIRECTORIES
        .iter()
        .flat_map(|directory| directory.programs.iter().copied())
}

/// The object with a program's `main`.
fn main_object(program: &str) -> String {
    format!(
        "{}.o",
        if program == "psql" {
            "startup"
        } else {
            program
        }
    )
}

/// Builds the objects of all programs.
pub fn tools(
    ctx: &GuestCtx<'_>,
    postgres: &Path,
    compression: &Path,
    libc: &Path,
    out: &Path,
) -> Result<()> {
    let tree = out.join(TREE);
    ctx.bar.message("copying sources");
    copy_tree(ctx, &postgres.join(TREE), &tree)?;
    patch_all(ctx, &ctx.guest.join("tools/patches"), &tree)?;
    let wrapper = wrapper(ctx, libc, out)?;
    let make = Make {
        ctx,
        wrapper: &wrapper,
        headers: compression.join("include"),
    };
    ctx.bar.message("libraries");
    for library in LIBRARIES {
        let (dir, name) = library.rsplit_once('/').unwrap_or(("", library));
        make.run(&tree.join(dir), &[name], None)?;
    }
    let mut objects = Vec::new();
    for directory in DIRECTORIES {
        ctx.bar.message(directory.name);
        let dir = tree.join("src/bin").join(directory.name);
        for program in directory.programs {
            let object = main_object(program);
            // initdb's was made for a module of its own.
            if dir.join(&object).exists() {
                fs::remove_file(dir.join(&object))?;
            }
            make.run(&dir, &[&object], Some(program))?;
        }
        make.run(&dir, directory.rest, None)?;
        objects.push(join(ctx, directory, &dir, out)?);
    }
    objects.extend(own(ctx, libc, out)?);
    for library in LIBRARIES {
        let source = tree.join(library);
        let copy = out.join(source.file_name().unwrap_or_default());
        fs::copy(&source, &copy).with_context(|| format!("copying {}", source.display()))?;
        objects.push(copy);
    }
    for library in [
        postgres.join("libpq/libpq.a"),
        compression.join("libcompression.a"),
    ] {
        let copy = out.join(library.file_name().unwrap_or_default());
        fs::copy(&library, &copy)?;
        objects.push(copy);
    }
    crate::cache::remove_tree(&tree)?;
    let mut list = String::new();
    for object in objects {
        list.push_str(&object.strip_prefix(out)?.to_string_lossy());
        list.push('\n');
    }
    fs::write(out.join("tools.objects"), list)?;
    Ok(())
}

/// PostgreSQL's makefiles.
struct Make<'a> {
    ctx: &'a GuestCtx<'a>,
    wrapper: &'a Path,
    /// Of the compression libraries.
    headers: PathBuf,
}

impl Make<'_> {
    /// Makes `targets`; with `program`, `main` is compiled under the name `PROGRAM_main`.
    fn run(&self, dir: &Path, targets: &[&str], program: Option<&str>) -> Result<()> {
        let mut command = Command::new("make");
        self.ctx.host.apply(&mut command);
        self.ctx.zig_environment(&mut command);
        command
            .env("GUEST_CC_NO_LINK", "1")
            .env_remove("MAKEFLAGS")
            .env_remove("MAKELEVEL");
        let mut options = format!("-I{}", self.headers.display());
        if let Some(program) = program {
            options.push_str(&format!(" -Dmain={program}_main"));
        }
        command
            .arg(format!("-j{}", self.ctx.jobs))
            .arg("-C")
            .arg(dir)
            // The tree was configured elsewhere, and remembers where.
            .arg(format!("CC={}", self.wrapper.display()))
            .arg(format!("AR={} ar", self.ctx.zig.display()))
            .arg(format!("COPT={options}"))
            .args(targets);
        process::logged(&mut command, self.ctx.log)
    }
}

/// All objects of a directory as one, of which only the `main`s are visible.
fn join(ctx: &GuestCtx<'_>, directory: &Directory, dir: &Path, out: &Path) -> Result<PathBuf> {
    let object = out.join(format!("{}.o", directory.name));
    let mains: Vec<String> = directory
        .programs
        .iter()
        .map(|program| format!("{program}_main"))
        .collect();
    let mains: Vec<&str> = mains.iter().map(String::as_str).collect();
    symbols::join(ctx, &super::libc::sorted(dir, "o")?, &mains, &object)?;
    Ok(object)
}

/// The sources in `guest/tools`: `main`, which calls one of the others, and what is missing in the libraries.
fn own(ctx: &GuestCtx<'_>, libc: &Path, out: &Path) -> Result<Vec<PathBuf>> {
    let table: String = programs()
        .map(|program| format!("PROGRAM({program})\n"))
        .collect();
    fs::write(out.join("programs.h"), table)?;
    let mut all = Compilations::default();
    for source in super::libc::sorted(&ctx.guest.join("tools"), "c")? {
        let name = Path::new(source.file_name().unwrap_or_default());
        let object = out.join(object_name(name));
        let mut command = ctx.guest_cc(libc);
        command.args([flags::OPTIMISE, "-Wall", "-I"]).arg(out);
        all.add(command, &source, object);
    }
    all.run(ctx)
}
