//! zlib, LZ4 and Zstandard for the client programs: one static library and its headers. The server gets zlib and LZ4 as one object in which only what it calls is visible;
//! its Zstandard is a side module ([`super::zstd()`]).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::libc::sorted;
use super::parallel::{Compilations, object_name};
use super::{GuestCtx, flags, symbols, zstd};

/// Changes when the recipe's result does.
pub(super) const VERSION: u32 = 2;

/// The server's object.
pub(super) const SERVER_OBJECT: &str = "server.o";

/// Headers that the server is compiled against.
pub(super) const SERVER_HEADERS: &[&str] = &[
    "zlib.h",
    "zconf.h",
    "lz4.h",
    "lz4hc.h",
    "lz4frame.h",
    "zstd.h",
    "zstd_errors.h",
];

/// What the server calls: for TOAST, WAL and base backups.
const SERVER_CALLS: &[&str] = &[
    "LZ4F_compressBegin",
    "LZ4F_compressBound",
    "LZ4F_compressEnd",
    "LZ4F_compressUpdate",
    "LZ4F_createCompressionContext",
    "LZ4F_freeCompressionContext",
    "LZ4F_getErrorName",
    "LZ4F_isError",
    "LZ4_compressBound",
    "LZ4_compress_default",
    "LZ4_decompress_safe",
    "LZ4_decompress_safe_partial",
    "LZ4_versionNumber",
    "deflate",
    "deflateInit2_",
];

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

/// Compiles all three: `include`, `libcompression.a` and `server.o` in `out`.
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
            sources: zstd::SOURCES,
            headers: zstd::HEADERS,
            flags: zstd::FLAGS,
        },
    ];
    let include = out.join("include");
    fs::create_dir_all(&include)?;
    let mut all = Compilations::default();
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
                command.args([flags::OPTIMISE, "-w"]).args(part.flags);
                all.add(command, &source, object);
            }
        }
    }
    let objects = all.run(ctx)?;
    let of_server: Vec<PathBuf> = objects
        .iter()
        .filter(|object| !object_belongs_to(object, "zstd"))
        .cloned()
        .collect();
    symbols::join(ctx, &of_server, SERVER_CALLS, &out.join(SERVER_OBJECT))?;
    ctx.archive(&out.join("libcompression.a"), &objects)?;
    for object in objects {
        fs::remove_file(object)?;
    }
    Ok(())
}

/// Whether an object is of the part called `name`: so its file's name begins.
fn object_belongs_to(object: &Path, name: &str) -> bool {
    object
        .file_name()
        .is_some_and(|file| file.to_string_lossy().starts_with(&format!("{name}-")))
}
