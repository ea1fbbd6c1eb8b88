//! From a linked module to C.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::core::{self, Core};
use super::{GuestCtx, fences, rewrite};
use crate::process;

/// Changes when the recipe's result does.
pub(super) const VERSION: u32 = 5;

/// Pieces that a module is cut into, so that they compile in parallel and alone when little changes.
const PIECES: u32 = 32;

/// Fewer fences than this in `postgres` mean that its barriers were lost on the way (there are 229 as of 18.6).
const FENCES_MIN: usize = 150;

/// The names of the server's functions in C, beside its translation.
pub const NAMES: &str = "names.json";

/// Translates `NAME.wasm` to C in `out`, rewritten for our runtime (`rewrite`), with its heap's address in the file `heap_base`.
pub fn translate(ctx: &GuestCtx<'_>, name: &str, wasm: &Path, out: &Path) -> Result<()> {
    ctx.bar.message("translating");
    let bytes = fs::read(wasm).with_context(|| format!("reading {}", wasm.display()))?;
    let counts = fences::count(&bytes)?;
    if name == super::MODULES[0] && counts.fences < FENCES_MIN {
        bail!(
            "{} has {} fences, at least {FENCES_MIN} were expected",
            wasm.display(),
            counts.fences
        );
    }
    fs::write(
        out.join("counts"),
        format!("fences {}\naccesses {}\n", counts.fences, counts.accesses),
    )?;
    fs::write(
        out.join("heap_base"),
        fences::exported_global(&bytes, "__heap_base")?.to_string(),
    )?;
    let mut command = Command::new(ctx.wabt.join("bin/wasm2c"));
    command
        .args([
            "--enable-threads",
            "-n",
            name,
            "--num-outputs",
            &PIECES.to_string(),
            "-o",
        ])
        .arg(out.join(format!("{name}.c")))
        .arg(wasm);
    process::logged(&mut command, ctx.log)?;
    if name == super::MODULES[0] {
        let core = Core::read(&wasm.with_file_name(super::CORE))?;
        core::take_names(out, name, &core, &out.join(NAMES))?;
    }
    rewrite::directory(out, name, counts)
}
