//! PostgreSQL's objects for wasm32: backend, loadable modules, libpq, initdb.
//!
//! Output: the patched source tree with its objects, and beside it the lists that [`super::link()`] reads: `postgres.objects` and `initdb.objects`, one
//! path relative to the output a line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::flags;
use super::libc::{copy_tree, patch_all};
use super::{GuestCtx, compression, icu, libpq, libxml2, modules, zstd};
use crate::process;

/// Changes when the recipe's result does.
pub(super) const VERSION: u32 = 6;

/// The installation directory, as guests see it. A path with `pgsql` in it: PostgreSQL's build appends a directory of its own to others.
pub(super) const PREFIX: &str = "/pgsql";

/// The tree, below the output directory.
pub(crate) const TREE: &str = "src";

/// What configure cannot find out by running a program, or finds out wrongly.
const SITE: &str = "\
# long double is in software: as good as absent
pgac_cv_snprintf_long_double=no
# guests have no kernel thread of their own to ask
ac_cv_func_pthread_is_threaded_np=no
# found in the libc, but of no use: there are no such system calls
ac_cv_func_getauxval=no
ac_cv_func_elf_aux_info=no
# a guest's own time zone is in its configuration
ac_cv_func_mbstowcs_l=no
ac_cv_func_wcstombs_l=no
# the headers are laid into src/include, the objects are linked at last
ac_cv_lib_xml2_xmlSaveToBuffer=yes
ac_cv_header_libxml_parser_h=yes
ac_cv_lib_z_inflate=yes
ac_cv_header_zlib_h=yes
ac_cv_lib_lz4_LZ4_compress_default=yes
ac_cv_header_lz4_h=yes
ac_cv_lib_zstd_ZSTD_compress=yes
ac_cv_header_zstd_h=yes
ac_cv_header_unicode_ucol_h=yes
";

/// Directories of the backend whose objects are loadable modules, not parts of the server.
const MODULE_DIRS: &[&str] = &[
    "snowball",
    "utils/mb/conversion_procs",
    "replication/libpqwalreceiver",
    "replication/pgoutput",
];

/// The file name of what [`wrapper`] makes.
pub(super) const WRAPPER: &str = "guest-cc";

/// The output directories of what the server is linked with.
#[derive(Clone, Copy, Debug)]
pub struct ServerParts<'a> {
    /// The C library.
    pub libc: &'a Path,
    /// [`super::libxml2()`].
    pub libxml2: &'a Path,
    /// [`super::compression()`].
    pub compression: &'a Path,
    /// ICU's sources: the server is compiled against its headers, and calls the side module of [`super::icu()`].
    pub icu: &'a Path,
}

/// Configures and compiles.
pub fn postgres(
    ctx: &GuestCtx<'_>,
    source: &Path,
    parts: ServerParts<'_>,
    out: &Path,
) -> Result<()> {
    let libc = parts.libc;
    let tree = out.join(TREE);
    ctx.bar.message("patching");
    copy_tree(ctx, source, &tree)?;
    patch_all(ctx, &ctx.guest.join("patches"), &tree)?;
    let laid_in = lay_in(ctx, parts, &tree, out)?;
    wrapper(ctx, libc, out)?;
    ctx.bar.message("configure");
    configure(ctx, &tree, out)?;
    ctx.bar.message("backend");
    // Everything includes these, and only the whole tree's makefile would know.
    make(ctx, &tree, "src/backend", &["generated-headers"])?;
    make(ctx, &tree, "src/port", &["all"])?;
    make(ctx, &tree, "src/common", &["all"])?;
    make(ctx, &tree, "src/backend", &["postgres"])?;
    let mut called = Vec::new();
    for library in [icu::CALLED, zstd::CALLED] {
        called.push(library.server(ctx, libc, &tree.join("src/include"), out)?);
    }
    ctx.bar.message("initdb");
    make(ctx, &tree, "src/fe_utils", &["all"])?;
    make(
        ctx,
        &tree,
        "src/bin/initdb",
        &["initdb.o", "findtimezone.o", "localtime.o"],
    )?;
    make(ctx, &tree, "src/backend/snowball", &["snowball_create.sql"])?;
    make(
        ctx,
        &tree,
        "src/pl/plpgsql/src",
        &[
            "pl_gram.h",
            "plerrcodes.h",
            "pl_reserved_kwlist_d.h",
            "pl_unreserved_kwlist_d.h",
        ],
    )?;
    make(ctx, &tree, "src/interfaces/libpq", &["libpq-refs-stamp"])
        .or_else(|_| make(ctx, &tree, "src/port", &["pg_config_paths.h"]))?;
    relative_links(&tree)?;
    ctx.bar.message("libpq");
    let library = libpq::build(ctx, &tree, libc, out)?;
    ctx.bar.message("loadable modules");
    let modules = modules::build(ctx, &tree, libc, out)?;
    let mut postgres = backend_objects(&tree)?;
    postgres.extend(
        [
            "timezone/localtime.o",
            "timezone/pgtz.o",
            "timezone/strftime.o",
            "common/libpgcommon_srv.a",
            "port/libpgport_srv.a",
        ]
        .map(|name| tree.join("src").join(name)),
    );
    postgres.extend(modules);
    postgres.push(library.clone());
    postgres.extend(laid_in);
    postgres.extend(called);
    write_list(out, "postgres", &postgres)?;
    let mut initdb: Vec<_> = ["initdb.o", "findtimezone.o", "localtime.o"]
        .map(|name| tree.join("src/bin/initdb").join(name))
        .into();
    initdb.extend(
        [
            "fe_utils/libpgfeutils.a",
            "common/libpgcommon.a",
            "port/libpgport.a",
        ]
        .map(|name| tree.join("src").join(name)),
    );
    initdb.push(library);
    write_list(out, "initdb", &initdb)
}

/// Copies the headers of the server's parts into its tree, where extensions find them too, and their objects beside it; returns the objects.
fn lay_in(
    ctx: &GuestCtx<'_>,
    parts: ServerParts<'_>,
    tree: &Path,
    out: &Path,
) -> Result<Vec<PathBuf>> {
    let include = tree.join("src/include");
    copy_tree(ctx, &parts.libxml2.join("include"), &include)?;
    icu::headers(parts.icu, &include)?;
    for header in compression::SERVER_HEADERS {
        fs::copy(
            parts.compression.join("include").join(header),
            include.join(header),
        )?;
    }
    let xml = out.join(libxml2::OBJECT);
    fs::copy(parts.libxml2.join(libxml2::OBJECT), &xml)?;
    let compression = out.join("compression.o");
    fs::copy(
        parts.compression.join(compression::SERVER_OBJECT),
        &compression,
    )?;
    Ok(vec![xml, compression])
}

fn write_list(out: &Path, name: &str, objects: &[PathBuf]) -> Result<()> {
    let mut text = String::new();
    for object in objects {
        if !object.exists() {
            bail!("{} was not built", object.display());
        }
        text.push_str(&object.strip_prefix(out)?.to_string_lossy());
        text.push('\n');
    }
    fs::write(out.join(format!("{name}.objects")), text)?;
    Ok(())
}

/// The program that configure and make take for a C compiler: a cross-compiler with our flags, which really links in configure's tests (so that
/// they find what the libc has and nothing else) and does not link at all under make.
pub(super) fn wrapper(ctx: &GuestCtx<'_>, libc: &Path, out: &Path) -> Result<PathBuf> {
    let path = out.join(WRAPPER);
    let cc = ctx.guest_cc(libc);
    let words: Vec<String> = std::iter::once(cc.get_program())
        .chain(cc.get_args())
        .map(|word| quoted(&word.to_string_lossy()))
        .collect();
    let libraries: Vec<String> = ["libc.a", "libport.a", "libbuiltins.a"]
        .iter()
        .map(|name| quoted(&libc.join("lib").join(name).to_string_lossy()))
        .collect();
    let text = format!(
        r#"#!/bin/sh
for word in "$@"; do
	case $word in -c | -E | -S | --version | -v | -V | -qversion | -dumpversion | -dumpmachine) exec {cc} "$@" ;; esac
done
output=a.out sources= objects= left=$#
while [ $left -gt 0 ]; do
	word=$1
	shift
	left=$((left - 1))
	case $word in
	-o) output=$1; shift; left=$((left - 1)) ;;
	*.c) sources="$sources $word" ;;
	*.o | *.a) objects="$objects $word" ;;
	-l* | -L* | -Wl,* | -shared | -pthread) ;;
	*) set -- "$@" "$word" ;;
	esac
done
if [ -n "$GUEST_CC_NO_LINK" ]; then : >"$output"; exit; fi
number=0
for source in $sources; do
	number=$((number + 1))
	{cc} "$@" -c "$source" -o "$output.$number.o" || exit
	objects="$objects $output.$number.o"
done
{zig} wasm-ld --no-entry --no-gc-sections -o "$output" $objects {libraries} {none}
status=$?
[ $number -gt 0 ] && rm -f "$output".[0-9]*.o
[ $status -eq 0 ] && chmod +x "$output"
exit $status
"#,
        cc = words.join(" "),
        zig = quoted(&ctx.zig.to_string_lossy()),
        libraries = libraries.join(" "),
        none = quoted(&libc.join("lib/dl_none.o").to_string_lossy()),
    );
    fs::write(&path, text)?;
    crate::unpack::make_executable(&path)?;
    Ok(path)
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Makes a command find the wrapper in `out` by its name. By its path it would get into `pg_config`'s answers, and what is built would differ from place to place.
pub(super) fn find_wrapper(ctx: &GuestCtx<'_>, command: &mut Command, out: &Path) -> Result<()> {
    ctx.host.apply(command);
    let path = ctx
        .host
        .search_path()
        .or_else(|| std::env::var_os("PATH"))
        .unwrap_or_default();
    let path = std::env::join_paths(
        std::iter::once(out.to_path_buf()).chain(std::env::split_paths(&path)),
    )?;
    command.env("PATH", path);
    Ok(())
}

fn configure(ctx: &GuestCtx<'_>, tree: &Path, out: &Path) -> Result<()> {
    let site = out.join("config.site");
    fs::write(&site, SITE)?;
    let mut command = Command::new("sh");
    find_wrapper(ctx, &mut command, out)?;
    ctx.zig_environment(&mut command);
    command.current_dir(tree).arg("./configure");
    command.args([
        "--host=wasm32-unknown-linux-musl",
        "--with-template=linux",
        "--disable-rpath",
        "--disable-nls",
    ]);
    command.args([
        "--without-readline",
        "--with-icu",
        "--with-libxml",
        "--with-lz4",
        "--with-zstd",
        "--with-system-tzdata=",
    ]);
    command.arg(format!("--prefix={PREFIX}"));
    command
        .env("CONFIG_SITE", &site)
        // No flags are needed, and nobody is to be asked for them.
        .env("XML2_CONFIG", ":")
        .env("ICU_CFLAGS", icu::UNVERSIONED)
        .env("ICU_LIBS", " ")
        .env("LZ4_CFLAGS", " ")
        .env("LZ4_LIBS", " ")
        .env("ZSTD_CFLAGS", " ")
        .env("ZSTD_LIBS", " ")
        .env("CC", WRAPPER)
        .env("CFLAGS", format!("{} -w", flags::OPTIMISE))
        .env("CPPFLAGS", "")
        .env("LDFLAGS", "");
    // Any program will do: time zones are compiled by a zic of our own.
    command
        .env("ZIC", "true")
        .env("AR", format!("{} ar", ctx.zig.display()))
        .env("RANLIB", format!("{} ranlib", ctx.zig.display()));
    process::logged(&mut command, ctx.log)?;
    let header = tree.join("src/include/pg_config.h");
    let found =
        fs::read_to_string(&header).with_context(|| format!("reading {}", header.display()))?;
    for wanted in WANTED {
        if !found.lines().any(|line| line == *wanted) {
            bail!(
                "configure did not find {wanted:?} (see {})",
                tree.join("config.log").display()
            );
        }
    }
    Ok(())
}

/// Lines of `pg_config.h` that everything else relies on.
const WANTED: &[&str] = &[
    "#define USE_UNNAMED_POSIX_SEMAPHORES 1",
    "#define HAVE_SYS_EPOLL_H 1",
    "#define HAVE_SYS_SIGNALFD_H 1",
    "#define HAVE_GCC__SYNC_INT32_TAS 1",
    "#define HAVE_GCC__ATOMIC_INT32_CAS 1",
    "#define HAVE_GCC__ATOMIC_INT64_CAS 1",
    "#define SIZEOF_VOID_P 4",
    "#define USE_LIBXML 1",
    "#define USE_LZ4 1",
    "#define USE_ZSTD 1",
    "#define USE_ICU 1",
    "#define HAVE_LIBZ 1",
    "/* #undef HAVE_BACKTRACE_SYMBOLS */",
    "/* #undef HAVE_GETPEEREID */",
];

fn make(ctx: &GuestCtx<'_>, tree: &Path, dir: &str, targets: &[&str]) -> Result<()> {
    let mut command = Command::new("make");
    find_wrapper(ctx, &mut command, tree.parent().unwrap_or(tree))?;
    ctx.zig_environment(&mut command);
    command
        .env("GUEST_CC_NO_LINK", "1")
        .env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL");
    command
        .arg(format!("-j{}", ctx.jobs))
        .arg("-C")
        .arg(tree.join(dir))
        .args(targets);
    process::logged(&mut command, ctx.log)
}

/// Makes links by absolute path relative: the tree moves when the step is done, and extensions are compiled against its headers.
fn relative_links(tree: &Path) -> Result<()> {
    let mut stack = vec![tree.to_path_buf()];
    while let Some(dir) = stack.pop() {
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                stack.push(path);
            } else if entry.file_type()?.is_symlink()
                && let Ok(inside) = fs::read_link(&path)?.strip_prefix(tree)
            {
                let up = path.strip_prefix(tree)?.components().count() - 1;
                let target = "../".repeat(up) + &inside.to_string_lossy();
                fs::remove_file(&path)?;
                std::os::unix::fs::symlink(target, &path)?;
            }
        }
    }
    Ok(())
}

/// All objects of the backend proper, sorted.
fn backend_objects(tree: &Path) -> Result<Vec<PathBuf>> {
    let root = tree.join("src/backend");
    let mut stack = vec![root.clone()];
    let mut objects = Vec::new();
    while let Some(dir) = stack.pop() {
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            let relative = path.strip_prefix(&root)?;
            if path.is_dir() {
                if !MODULE_DIRS
                    .iter()
                    .any(|module| Path::new(module) == relative)
                {
                    stack.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "o") {
                objects.push(path);
            }
        }
    }
    objects.sort();
    Ok(objects)
}
