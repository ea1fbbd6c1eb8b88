//! The conformance programs of `guest/tests`: what the kernel and the machine promise, tried from inside a guest.

use std::path::Path;

use anyhow::Result;

use super::libc::sorted;
use super::parallel::{Compilations, object_name};
use super::{GuestCtx, TESTS_MODULE, flags, link};

/// Changes when the recipe's result does.
pub(super) const VERSION: u32 = 1;

/// Compiles and links them as one module.
pub fn tests(ctx: &GuestCtx<'_>, libc: &Path, out: &Path) -> Result<()> {
    let mut all = Compilations::default();
    for source in sorted(&ctx.guest.join("tests"), "c")? {
        let object = out.join(object_name(Path::new(
            source.file_name().unwrap_or_default(),
        )));
        let mut command = ctx.guest_cc(libc);
        command.args([flags::OPTIMISE, "-Wall"]);
        all.add(command, &source, object);
    }
    let mut objects = all.run(ctx)?;
    objects.push(libc.join("lib/dl_none.o"));
    link::link_objects(
        ctx,
        TESTS_MODULE,
        &objects,
        &[],
        libc,
        &out.join(format!("{TESTS_MODULE}.wasm")),
    )
}
