//! musl for wasm32, the port layer, and the compiler's run-time library.
//!
//! Output: `include/`, `lib/libc.a`, `lib/libport.a`, `lib/libbuiltins.a`, `lib/dl_none.o`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::GuestCtx;
use super::flags;
use super::parallel::{Compilations, object_name};
use crate::cache::remove_tree;
use crate::process;

/// Changes when the recipe's result does.
pub(super) const VERSION: u32 = 1;

/// Directories of musl that a guest has no use for, or that the port layer replaces.
const LEFT_OUT: &[&str] = &["aio", "mq", "setjmp", "ldso"];
/// Single files that the port layer replaces.
const REPLACED: &[&str] = &[
    "string/memcpy.c",
    "string/memmove.c",
    "string/memset.c",
    "process/fork.c",
    "process/_Fork.c",
    "process/vfork.c",
    "process/posix_spawn.c",
    "process/posix_spawnp.c",
    "thread/clone.c",
    "thread/__unmapself.c",
    "thread/__set_thread_area.c",
    "thread/syscall_cp.c",
];

/// Builds everything that guest programs are linked with.
pub fn libc(ctx: &GuestCtx<'_>, source: &Path, out: &Path) -> Result<()> {
    ctx.bar.message("musl");
    let tree = out.join("musl");
    remove_tree(&tree)?;
    copy_tree(ctx, source, &tree)?;
    patch_all(ctx, &ctx.guest.join("musl/patches"), &tree)?;
    lay_out_arch(ctx, &tree)?;
    headers(ctx, &tree, &out.join("include"))?;
    let lib = out.join("lib");
    fs::create_dir_all(&lib)?;
    let objects = compile_musl(ctx, &tree)?;
    ctx.archive(&lib.join("libc.a"), &objects)?;
    ctx.bar.message("port layer");
    port(ctx, &tree, out)?;
    builtins(ctx, &tree, &lib)?;
    remove_tree(&tree)
}

/// Copies a directory's contents, times included.
pub(super) fn copy_tree(ctx: &GuestCtx<'_>, from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    let mut command = std::process::Command::new("cp");
    command.arg("-pR").arg(from.join(".")).arg(to);
    process::logged(&mut command, ctx.log)
}

/// Applies all patches of a directory, in the order of their names; a hunk that fits only roughly is an error.
pub(super) fn patch_all(ctx: &GuestCtx<'_>, patches: &Path, tree: &Path) -> Result<()> {
    for patch in sorted(patches, "patch")? {
        let mut command = std::process::Command::new("patch");
        ctx.host.apply(&mut command);
        command
            .args(["-p1", "--forward", "--fuzz=0", "-d"])
            .arg(tree)
            .arg("-i")
            .arg(&patch);
        process::logged(&mut command, ctx.log)
            .with_context(|| format!("applying {}", patch.display()))?;
    }
    Ok(())
}

/// The files of a directory with this extension, sorted.
pub(super) fn sorted(dir: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// `arch/wasm32`: riscv32's public headers (32 bits, 64-bit time, the generic system calls) below our own files.
fn lay_out_arch(ctx: &GuestCtx<'_>, tree: &Path) -> Result<()> {
    let arch = tree.join("arch/wasm32");
    copy_tree(ctx, &tree.join("arch/riscv32/bits"), &arch.join("bits"))?;
    let types = arch.join("bits/alltypes.h.in");
    let mut text = fs::read_to_string(&types)?;
    // wasm32's size_t is an unsigned long.
    for (from, to) in [
        ("#define _Addr int", "#define _Addr long"),
        ("#define _Reg int", "#define _Reg long"),
    ] {
        if !text.contains(from) {
            bail!("{}: no line {from:?}", types.display());
        }
        text = text.replace(from, to);
    }
    fs::write(&types, text)?;
    copy_tree(ctx, &ctx.guest.join("musl/arch/wasm32"), &arch)
}

/// The headers as musl would install them.
fn headers(ctx: &GuestCtx<'_>, tree: &Path, include: &Path) -> Result<()> {
    remove_tree(include)?;
    copy_tree(ctx, &tree.join("include"), include)?;
    remove_file(&include.join("alltypes.h.in"))?;
    copy_tree(ctx, &tree.join("arch/generic/bits"), &include.join("bits"))?;
    copy_tree(ctx, &tree.join("arch/wasm32/bits"), &include.join("bits"))?;
    remove_file(&include.join("bits/alltypes.h.in"))?;
    remove_file(&include.join("bits/syscall.h.in"))?;
    let types = [
        tree.join("arch/wasm32/bits/alltypes.h.in"),
        tree.join("include/alltypes.h.in"),
    ];
    let mut text = String::new();
    for part in types {
        text.push_str(&all_types(&fs::read_to_string(part)?));
    }
    fs::write(include.join("bits/alltypes.h"), text)?;
    let numbers = fs::read_to_string(tree.join("arch/wasm32/bits/syscall.h.in"))?;
    let aliases: String = numbers
        .lines()
        .filter(|line| line.contains("__NR_"))
        .map(|line| line.replace("__NR_", "SYS_") + "\n")
        .collect();
    fs::write(include.join("bits/syscall.h"), numbers + &aliases)?;
    let internal = tree.join("obj/include");
    fs::create_dir_all(&internal)?;
    fs::write(internal.join("version.h"), "#define VERSION \"1.2.5\"\n")?;
    for name in ["pglite_guest.h", "dl_table.h"] {
        fs::copy(ctx.guest.join("port").join(name), include.join(name))?;
    }
    Ok(())
}

pub(super) fn remove_file(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// What musl's `tools/mkalltypes.sed` does: `TYPEDEF`, `STRUCT` and `UNION` lines become guarded definitions.
fn all_types(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let body = line.strip_suffix(';').unwrap_or(line);
        let (name, definition) = if let Some(rest) = body.strip_prefix("TYPEDEF ") {
            (
                rest.rsplit(' ').next().unwrap_or_default(),
                format!("typedef {rest};"),
            )
        } else if let Some(rest) = body.strip_prefix("STRUCT ") {
            (
                rest.split(' ').next().unwrap_or_default(),
                format!("struct {rest};"),
            )
        } else if let Some(rest) = body.strip_prefix("UNION ") {
            (
                rest.split(' ').next().unwrap_or_default(),
                format!("union {rest};"),
            )
        } else {
            out.push_str(line);
            out.push('\n');
            continue;
        };
        let kind = if body.starts_with("TYPEDEF ") {
            ""
        } else if body.starts_with("STRUCT ") {
            "struct_"
        } else {
            "union_"
        };
        let need = format!("{kind}{name}");
        out.push_str(&format!("#if defined(__NEED_{need}) && !defined(__DEFINED_{need})\n{definition}\n#define __DEFINED_{need}\n#endif\n\n"));
    }
    out
}

fn internal_cc(ctx: &GuestCtx<'_>, tree: &Path) -> std::process::Command {
    let mut command = ctx.zig("cc");
    command
        .current_dir(tree)
        .args(flags::WASM)
        .args(flags::LIBC);
    for dir in [
        "arch/wasm32",
        "arch/generic",
        "obj/include",
        "src/include",
        "src/internal",
        "../include",
    ] {
        command.arg(format!("-I{dir}"));
    }
    command
}

fn compile_musl(ctx: &GuestCtx<'_>, tree: &Path) -> Result<Vec<PathBuf>> {
    let mut sources = Vec::new();
    for entry in fs::read_dir(tree.join("src"))? {
        let dir = entry?;
        let name = dir.file_name().to_string_lossy().into_owned();
        if dir.file_type()?.is_dir() && !LEFT_OUT.contains(&name.as_str()) {
            sources.extend(sorted(&dir.path(), "c")?);
        }
    }
    sources.extend(sorted(&tree.join("src/malloc/mallocng"), "c")?);
    sources.sort();
    let mut all = Compilations::default();
    for source in sources {
        let relative = source.strip_prefix(tree.join("src"))?;
        if REPLACED
            .iter()
            .any(|replaced| Path::new(replaced) == relative)
        {
            continue;
        }
        let object = tree.join("obj").join(object_name(relative));
        let source = Path::new("src").join(relative);
        all.add(internal_cc(ctx, tree), &source, object);
    }
    all.run(ctx)
}

/// The port layer. It sees musl's internal headers, and its code throws.
fn port(ctx: &GuestCtx<'_>, tree: &Path, out: &Path) -> Result<()> {
    let mut all = Compilations::default();
    for source in sorted(&ctx.guest.join("port"), "c")? {
        let name = source.file_name().unwrap_or_default();
        let mut command = internal_cc(ctx, tree);
        command
            .args(["-mllvm", "-wasm-enable-sjlj", "-std=c11", "-fbuiltin", "-I"])
            .arg(ctx.guest.join("port"));
        command.arg("-Isrc/process");
        if name == "dl_none.c" {
            all.add_apart(command, &source, &out.join("lib/dl_none.o"));
        } else {
            let object = format!("port_{}", object_name(Path::new(name)));
            all.add(command, &source, tree.join("obj").join(object));
        }
    }
    let tag = tree.join("obj/port_longjmp_tag.o");
    let mut command = ctx.zig("cc");
    command.args(flags::WASM);
    all.add(command, &ctx.guest.join("port/longjmp_tag.s"), tag);
    let objects = all.run(ctx)?;
    ctx.archive(&out.join("lib/libport.a"), &objects)
}

/// Arithmetic that wasm lacks: 128-bit integers, quadruple precision.
fn builtins(ctx: &GuestCtx<'_>, tree: &Path, lib: &Path) -> Result<()> {
    let source = ctx
        .zig
        .parent()
        .context("the compiler's directory")?
        .join("lib/compiler_rt.zig");
    let mut command = ctx.zig("build-obj");
    command.current_dir(tree.join("obj"));
    command.args([
        "-target",
        "wasm32-freestanding",
        "-mcpu",
        "generic+atomics+bulk_memory+nontrapping_fptoint+sign_ext",
        "-O",
        "ReleaseFast",
        "-fstrip",
        "--name",
        "builtins",
    ]);
    command.arg(source);
    process::logged(&mut command, ctx.log)?;
    ctx.archive(&lib.join("libbuiltins.a"), &[tree.join("obj/builtins.o")])
}

#[cfg(test)]
mod tests {
    use super::all_types;

    #[test]
    fn type_lines_become_guarded_definitions() {
        let out = all_types(
            "#define A 1\nTYPEDEF unsigned _Addr size_t;\nSTRUCT iovec { void *iov_base; size_t iov_len; };\n",
        );
        assert!(out.starts_with("#define A 1\n"));
        assert!(out.contains("#if defined(__NEED_size_t) && !defined(__DEFINED_size_t)\ntypedef unsigned _Addr size_t;\n#define __DEFINED_size_t\n#endif"));
        assert!(out.contains("#if defined(__NEED_struct_iovec)"));
        assert!(out.contains("struct iovec { void *iov_base; size_t iov_len; };"));
    }
}
