//! zlib, LZ4 and Zstandard for the client programs: one static library and its headers.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::libc::sorted;
use super::parallel::object_name;
use super::{GuestCtx, flags};

/// Changes when the recipe's result does.
pub(super) const VERSION: u32 = 1;

/// The unpacked sources.
pub struct CompressionSources<'a> {
    /// zlib.
    pub zlib: &'a Path,
    /// LZ4.
    pub lz4: &'a Path,
    /// Zstandard.
    pub zstd: &'a Path,
}

/// One library.
struct Part<'a> {
    name: &'a str,
    dir: &'a Path,
    /// Directories with sources, relative to `dir`.
    sources: &'a [&'a str],
    headers: &'a [&'a str],
    flags: &'a [&'a str],
}

/// Compiles all three: `include` and `libcompression.a` in `out`.
pub fn compression(
    ctx: &GuestCtx<'_>,
    sources: &CompressionSources<'_>,
    libc: &Path,
    out: &Path,
) -> Result<()> {
    let parts = [
        Part {
            name: "zlib",
            dir: sources.zlib,
            sources: &[""],
            headers: &["zlib.h", "zconf.h"],
            flags: &["-DHAVE_UNISTD_H"],
        },
        Part {
            name: "lz4",
            dir: sources.lz4,
            sources: &["lib"],
            headers: &["lib/lz4.h", "lib/lz4hc.h", "lib/lz4frame.h"],
            flags: &["-DXXH_NAMESPACE=LZ4_"],
        },
        Part {
            name: "zstd",
            dir: sources.zstd,
            sources: &["lib/common", "lib/compress", "lib/decompress"],
            headers: &["lib/zstd.h", "lib/zstd_errors.h"],
            flags: &[
                "-DXXH_NAMESPACE=ZSTD_",
                "-DZSTD_LEGACY_SUPPORT=0",
                "-DZSTD_DISABLE_ASM=1",
                "-DZSTD_TRACE=0",
            ],
        },
    ];
    let include = out.join("include");
    fs::create_dir_all(&include)?;
    let mut commands = Vec::new();
    let mut objects: Vec<PathBuf> = Vec::new();
    for part in &parts {
        for header in part.headers {
            let from = part.dir.join(header);
            let name = from.file_name().unwrap_or_default();
            fs::copy(&from, include.join(name))
                .with_context(|| format!("copying {}", from.display()))?;
        }
        for dir in part.sources {
            for source in sorted(&part.dir.join(dir), "c")? {
                // LZ4's helper for files, which nobody here uses.
                if source.ends_with("lz4file.c") {
                    continue;
                }
                let name = source.file_name().unwrap_or_default().to_string_lossy();
                let object = out.join(object_name(Path::new(&format!("{}-{name}", part.name))));
                let mut command = ctx.guest_cc(libc);
                command
                    .args([flags::OPTIMISE, "-w"])
                    .args(part.flags)
                    .arg("-c")
                    .arg(&source)
                    .arg("-o")
                    .arg(&object);
                commands.push(command);
                objects.push(object);
            }
        }
    }
    ctx.run_all(commands)?;
    ctx.archive(&out.join("libcompression.a"), &objects)?;
    for object in objects {
        fs::remove_file(object)?;
    }
    Ok(())
}
