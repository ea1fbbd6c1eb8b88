//! json-c and protobuf-c for side modules: `include` and `lib/*.a` of each. PostGIS reads GeoJSON with the one, and writes vector tiles and Geobuf with the other.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::cxx::static_library;
use super::libc::sorted;
use super::parallel::{Compilations, object_name};
use super::{GuestCtx, side_cc};
use crate::cache::remove_tree;

/// Changes when the recipe's result does.
pub(super) const VERSION: u32 = 1;

/// What `links` of the catalogue calls json-c.
pub const JSON_C: &str = "json-c";

/// What `links` of the catalogue calls protobuf-c.
pub const PROTOBUF_C: &str = "protobuf-c";

/// json-c's configuration for musl. Where `endian.h` and the like are, it finds out by itself; its seed is asked of the kernel. It changes no locale: the server's
/// numbers are always C's.
const JSON_C_CONFIG: &str = "\
#define HAVE_DECL_INFINITY 1\n#define HAVE_DECL_ISINF 1\n#define HAVE_DECL_ISNAN 1\n#define HAVE_DECL_NAN 1\n#define HAVE_FCNTL_H 1\n\
#define HAVE_LIMITS_H 1\n#define HAVE_OPEN 1\n#define HAVE_SNPRINTF 1\n#define HAVE_STDARG_H 1\n\
#define HAVE_STRCASECMP 1\n#define HAVE_STRDUP 1\n#define HAVE_STRERROR 1\n#define HAVE_STRINGS_H 1\n#define HAVE_STRING_H 1\n#define HAVE_STRNCASECMP 1\n\
#define HAVE_STRTOLL 1\n#define HAVE_STRTOULL 1\n#define HAVE_SYS_PARAM_H 1\n#define HAVE_SYS_STAT_H 1\n#define HAVE_SYS_TYPES_H 1\n#define HAVE_UNISTD_H 1\n\
#define HAVE_VASPRINTF 1\n#define HAVE_VPRINTF 1\n#define HAVE_VSNPRINTF 1\n#define JSON_C_HAVE_INTTYPES_H 1\n\
#define SIZEOF_INT 4\n#define SIZEOF_INT64_T 8\n#define SIZEOF_LONG 4\n#define SIZEOF_LONG_LONG 8\n#define SIZEOF_SIZE_T 4\n#define SIZEOF_SSIZE_T 4\n\
#define STDC_HEADERS 1\n";

/// All that decides on the results besides the compiler's flags, for fingerprints.
pub(super) fn describe() -> String {
    JSON_C_CONFIG.to_owned()
}

/// Compiles json-c from its unpacked `source`.
pub fn json_c(ctx: &GuestCtx<'_>, source: &Path, libc: &Path, out: &Path) -> Result<()> {
    let include = out.join("include");
    fs::create_dir_all(&include)?;
    for header in sorted(source, "h")? {
        if let Some(name) = header.file_name() {
            fs::copy(&header, include.join(name))?;
        }
    }
    fs::write(
        include.join("json_config.h"),
        "#define JSON_C_HAVE_INTTYPES_H 1\n",
    )?;
    let json = fs::read_to_string(source.join("json.h.cmakein"))?;
    fs::write(
        include.join("json.h"),
        json.replace("@JSON_H_JSON_POINTER@", "#include \"json_pointer.h\""),
    )?;
    let private = out.join("private");
    fs::create_dir_all(&private)?;
    fs::write(private.join("config.h"), JSON_C_CONFIG)?;
    let sources: Vec<PathBuf> = sorted(source, "c")?;
    compile(ctx, libc, JSON_C, &sources, &[&private, &include], out)?;
    remove_tree(&private)
}

/// Compiles protobuf-c from its unpacked `source`: its library, not its compiler.
pub fn protobuf_c(ctx: &GuestCtx<'_>, source: &Path, libc: &Path, out: &Path) -> Result<()> {
    let include = out.join("include");
    let to = include.join("protobuf-c");
    fs::create_dir_all(&to)?;
    let from = source.join("protobuf-c");
    fs::copy(from.join("protobuf-c.h"), to.join("protobuf-c.h"))?;
    let sources = [from.join("protobuf-c.c")];
    compile(ctx, libc, PROTOBUF_C, &sources, &[&include, &from], out)
}

fn compile(
    ctx: &GuestCtx<'_>,
    libc: &Path,
    name: &str,
    sources: &[PathBuf],
    include: &[&Path],
    out: &Path,
) -> Result<()> {
    let objects_dir = out.join("objects");
    fs::create_dir_all(&objects_dir)?;
    let mut all = Compilations::default();
    for path in sources {
        let file = path.file_name().map(Path::new).unwrap_or(path);
        let mut command = side_cc(ctx, libc);
        command.args(["-ffunction-sections", "-fdata-sections"]);
        for dir in include {
            command.arg("-I").arg(dir);
        }
        all.add(command, path, objects_dir.join(object_name(file)));
    }
    let objects = all.run(ctx)?;
    static_library(ctx, name, &objects, out)?;
    remove_tree(&objects_dir)
}
