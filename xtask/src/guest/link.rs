//! Linking guest programs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::{GuestCtx, flags};
use crate::process;

/// Changes when the recipe's result does.
pub(super) const VERSION: u32 = 1;

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
    link_objects(ctx, &objects, libc, &out.join(format!("{name}.wasm")))
}

/// Links objects with the libc; checks that nothing but the kernel's interface is imported.
pub(super) fn link_objects(
    ctx: &GuestCtx<'_>,
    objects: &[PathBuf],
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
        .args(flags::link_flags())
        .arg("-o")
        .arg(wasm)
        .arg(format!("@{}", response.display()));
    command.args(["libport.a", "libc.a", "libbuiltins.a"].map(|name| libc.join("lib").join(name)));
    process::logged(&mut command, ctx.log)?;
    fs::remove_file(&response)?;
    let bytes = fs::read(wasm)?;
    for (module, name) in super::fences::imports(&bytes)? {
        if !IMPORTS.contains(&(module.as_str(), name.as_str())) {
            bail!("{} imports {module}.{name}", wasm.display());
        }
    }
    Ok(())
}
