//! Linking guest programs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::{GuestCtx, core, flags};
use crate::process;

/// Changes when the recipe's result does.
pub(super) const VERSION: u32 = 3;

/// What a module may import.
const IMPORTS: &[(&str, &str)] = &[
    ("env", "memory"),
    ("kernel", "syscall"),
    ("kernel", "stack_depth"),
];

/// Links the program `name` of PostgreSQL: `NAME.wasm` in `out`.
pub fn link(
    ctx: &GuestCtx<'_>,
    name: &str,
    libc: &Path,
    postgres: &Path,
    out: &Path,
) -> Result<()> {
    let list = postgres.join(format!("{name}.objects"));
    let text = fs::read_to_string(&list).with_context(|| format!("reading {}", list.display()))?;
    let mut objects: Vec<PathBuf> = text.lines().map(|line| postgres.join(line)).collect();
    if name != "postgres" {
        objects.push(libc.join("lib/dl_none.o"));
    }
    let wasm = out.join(format!("{name}.wasm"));
    if name != super::MODULES[0] {
        return link_objects(ctx, name, &objects, &[], libc, &wasm);
    }
    // The server: side modules may use every global symbol of it, and the common ones of the C library.
    let list = ctx.guest.join(EXPORTS);
    let text = fs::read_to_string(&list).with_context(|| format!("reading {}", list.display()))?;
    let mut more = vec!["--export-all".to_owned()];
    let names = text.lines().filter(|line| !line.starts_with('#'));
    more.extend(
        names
            .flat_map(str::split_whitespace)
            .map(|name| format!("--undefined={name}")),
    );
    link_objects(ctx, name, &objects, &more, libc, &wasm)?;
    core::extract(&wasm, &out.join(CORE), flags::data_start(name))
}

/// The functions of the C library that the server offers to side modules, relative to `guest`.
pub(super) const EXPORTS: &str = "exports.txt";

/// What the server offers to side modules, beside its module.
pub const CORE: &str = "core.json";

/// Links objects with the libc; checks that nothing but the kernel's interface is imported.
pub(super) fn link_objects(
    ctx: &GuestCtx<'_>,
    program: &str,
    objects: &[PathBuf],
    more: &[String],
    libc: &Path,
    wasm: &Path,
) -> Result<()> {
    // There are more objects than a command line holds comfortably.
    let response = wasm.with_extension("link");
    let mut text = String::new();
    for object in objects {
        text.push_str(&format!("\"{}\"\n", object.display()));
    }
    fs::write(&response, text)?;
    let mut command = ctx.zig("wasm-ld");
    command
        .args(flags::link_flags(program))
        .args(more)
        .arg("-o")
        .arg(wasm)
        .arg(format!("@{}", response.display()));
    command.args(["libport.a", "libc.a", "libbuiltins.a"].map(|name| libc.join("lib").join(name)));
    process::logged(&mut command, ctx.log)?;
    fs::remove_file(&response)?;
    let bytes = fs::read(wasm)?;
    ctx.check_no_paths(wasm, &bytes)?;
    for (module, name) in super::fences::imports(&bytes)? {
        if !IMPORTS.contains(&(module.as_str(), name.as_str())) {
            bail!("{} imports {module}.{name}", wasm.display());
        }
    }
    Ok(())
}
