//! Zstandard as the side module `zstd`, which the server calls for WAL and base backups. Linked plainly it would add 0.5 MB to every program.

use std::path::Path;

use anyhow::Result;

use super::called::Called;
use super::libc::sorted;
use super::parallel::{Compilations, object_name};
use super::{GuestCtx, side_cc};

/// Changes when the recipe's result does.
pub(super) const VERSION: u32 = 1;

/// The module, as `dlopen` knows it.
pub const ZSTD: &str = "zstd";

/// How the server calls it.
pub(super) const CALLED: Called = Called {
    name: ZSTD,
    title: "Zstandard",
    flags: &[],
};

/// Directories with sources.
pub(super) const SOURCES: &[&str] = &["lib/common", "lib/compress", "lib/decompress"];

/// Its headers.
pub(super) const HEADERS: &[&str] = &["lib/zstd.h", "lib/zstd_errors.h"];

/// No older formats, no assembly, no tracing.
pub(super) const FLAGS: &[&str] = &[
    "-DXXH_NAMESPACE=ZSTD_",
    "-DZSTD_LEGACY_SUPPORT=0",
    "-DZSTD_DISABLE_ASM=1",
    "-DZSTD_TRACE=0",
];

/// Each function in a section of its own, so that what nobody calls is left out.
const SECTIONS: &[&str] = &["-ffunction-sections", "-fdata-sections"];

/// All that decides on the result besides flags, sources and `guest/calls`, for fingerprints.
pub(super) fn describe() -> String {
    [SOURCES, FLAGS, SECTIONS].concat().join(" ")
}

/// Compiles and links it from Zstandard's unpacked `source`: `zstd.wasm` and its shape.
pub fn zstd(ctx: &GuestCtx<'_>, source: &Path, libc: &Path, out: &Path) -> Result<()> {
    let dir = Called::objects_dir(out)?;
    let mut all = Compilations::default();
    for sources in SOURCES {
        for path in sorted(&source.join(sources), "c")? {
            let name = path.file_name().unwrap_or_default();
            let object = dir.join(object_name(Path::new(name)));
            let mut command = side_cc(ctx, libc);
            command.args(FLAGS).args(SECTIONS);
            all.add(command, &path, object);
        }
    }
    let mut command = side_cc(ctx, libc);
    command.arg("-I").arg(source.join("lib"));
    CALLED.module(ctx, command, &dir, &mut all);
    CALLED.link(ctx, all, &dir, libc, out)
}
