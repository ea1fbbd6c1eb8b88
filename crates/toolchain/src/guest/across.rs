//! Optimisation across the pieces of a program (ThinLTO: Johnson, Amini, Li, "ThinLTO: Scalable and Incremental LTO", CGO 2017).
//!
//! The pieces become bitcode, and the linker makes one native object of them, in which hot calls from piece to piece are inlined. The profile says which these are, so without one it is
//! not worth the time. What comes out is an object like any other: whoever links it needs no such linker.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::GuestCtx;
use super::compile::Profile;
use crate::process;

/// For the compiler of the pieces.
pub(super) const COMPILE: &str = "-flto=thin";

/// For the linker. By its defaults any call may pull in a function of 100 instructions, a hot one of 1,000; with 10 for calls that are not hot the speed is the same and the program 1.5 MB smaller.
pub(super) const LINK: [&str; 6] = [
    "-r",
    "--lto-O2",
    "-mllvm",
    "-import-instr-limit=10",
    "-mllvm",
    "-import-hot-multiplier=100",
];

/// True if a program with this profile is made so. The linker of Mach-O makes no relocatable objects.
pub(super) fn is_used(profile: &Profile, target: &str) -> bool {
    matches!(profile, Profile::Use(_)) && target.contains("-linux-")
}

/// Makes one native object in `out` of bitcode and native objects; where it is.
pub(super) fn link(ctx: &GuestCtx<'_>, objects: &[PathBuf], out: &Path) -> Result<PathBuf> {
    ctx.bar.message("optimising across pieces");
    let object = out.join("whole.o");
    let mut command = ctx.zig("ld.lld");
    command.args(LINK).arg("-o").arg(&object).args(objects);
    process::logged(&mut command, ctx.log)?;
    Ok(object)
}
