//! The recipes of everything that is C: musl, PostgreSQL, their translation and the native objects.
//!
//! Each recipe is a function that fills an output directory; what it depends on besides the outputs of the recipes before it is what its
//! `..._inputs` function says. [`crate::builder`] and `cargo xtask assets` join them into cached steps:
//!
//! ```text
//! libc -> libxml2, compression -> postgres -> link -> translate -> compile
//!     |\ \-> libcrypto, libxslt, icu, zstd, cxx, geos, proj, json-c, protobuf-c
//!     \       |`----> share
//!      \       `-> tools -> link -> translate -> compile
//!      `-> tests -----------> translate -> compile
//! ```

mod across;
mod called;
mod compile;
mod compression;
mod core;
mod cxx;
mod emscripten;
mod exports;
mod fences;
mod flags;
mod geos;
mod icu;
mod interchange;
mod libc;
mod libcrypto;
mod libpq;
mod library;
mod libxml2;
mod libxslt;
mod link;
mod modules;
mod parallel;
mod postgres;
mod proj;
mod rewrite;
mod share;
pub mod side;
mod symbols;
mod tests;
mod tools;
mod translate;
mod zstd;

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::cache::Workplace;
use crate::fingerprint::Inputs;
use crate::progress::Bar;
use crate::tools::HostTools;

pub use self::core::{Core, Names};
pub use compile::{Marks, Profile, compile};
pub use compression::{CompressionSources, compression};
pub use cxx::{CXX, cxx_library};
pub use emscripten::adopt;
pub use exports::exports;
pub use geos::{GEOS, geos};
pub use icu::{ICU, icu};
pub use interchange::{JSON_C, PROTOBUF_C, json_c, protobuf_c};
pub use libc::libc;
pub use libcrypto::libcrypto;
pub use library::{Constants, ExtensionTree, Library, LibraryBase, Shape, extension_tree, library};
pub(crate) use library::{link_library, side_cc};
pub use libxml2::{LIBXML2, libxml2, libxml2_library};
pub use libxslt::libxslt;
pub use link::{CORE, link};
pub(crate) use postgres::TREE;
pub use postgres::{ServerParts, postgres};
pub use proj::{PROJ, proj};
pub use share::{MARKER, share};
pub use tests::tests;
pub use tools::tools;
pub use translate::{NAMES, translate};
pub use zstd::{ZSTD, zstd};

/// The modules that are built, by name: `postgres.wasm`, `pgl_module_postgres`, `libpglite_postgres.a`.
pub const MODULES: &[&str] = &["postgres", "initdb"];

/// The module of PostgreSQL's client programs, built by [`tools()`].
pub const TOOLS_MODULE: &str = "tools";

/// The module of the conformance tests, built by [`tests()`].
pub const TESTS_MODULE: &str = "guest_tests";

/// What every recipe works with.
pub struct GuestCtx<'a> {
    /// The compiler, `zig`.
    pub zig: &'a Path,
    /// wabt's directory: `bin/wasm2c`, `wasm2c/wasm-rt.h`.
    pub wabt: &'a Path,
    /// make, bison, flex, perl, patch.
    pub host: &'a HostTools,
    /// The checkout's `guest` directory.
    pub guest: &'a Path,
    /// Where the compiler keeps its own cache.
    pub zig_cache: PathBuf,
    /// Commands at a time.
    pub jobs: usize,
    /// The step's line on the screen.
    pub bar: &'a Bar,
    /// Takes the commands' output.
    pub log: &'a Path,
}

impl<'a> GuestCtx<'a> {
    /// For one step of the cache.
    pub fn of_step(
        zig: &'a Path,
        wabt: &'a Path,
        host: &'a HostTools,
        guest: &'a Path,
        zig_cache: PathBuf,
        place: &Workplace<'a>,
    ) -> Self {
        let jobs = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self {
            zig,
            wabt,
            host,
            guest,
            zig_cache,
            jobs,
            bar: place.bar,
            log: place.log,
        }
    }
}

/// What [`libc()`] depends on besides musl's sources and the compiler.
pub fn libc_inputs(guest: &Path) -> Result<Inputs> {
    Inputs::new()
        .value("recipe", libc::VERSION)
        .value("flags", flags::describe())
        .tree("guest/musl", &guest.join("musl"))?
        .tree("guest/port", &guest.join("port"))
}

/// What [`postgres()`] depends on besides PostgreSQL's sources, its [`ServerParts`] and the compiler.
pub fn postgres_inputs(guest: &Path) -> Result<Inputs> {
    Inputs::new()
        .value("recipe", postgres::VERSION)
        .value("flags", flags::describe())
        .tree("guest/calls", &guest.join(called::OURS))?
        .tree("guest/patches", &guest.join("patches"))
}

/// What [`icu()`] depends on besides ICU's sources, the libc and the compiler.
pub fn icu_inputs(guest: &Path) -> Result<Inputs> {
    Inputs::new()
        .value("recipe", icu::VERSION)
        .value("flags", flags::describe())
        .value(
            "side flags",
            [flags::SIDE, flags::SIDE_LINK].concat().join(" "),
        )
        .value("configuration", icu::describe())
        .tree("guest/calls", &guest.join(called::OURS))?
        .tree("guest/icu", &guest.join(icu::OURS))
}

/// What [`zstd()`] depends on besides Zstandard's sources, the libc and the compiler.
pub fn zstd_inputs(guest: &Path) -> Result<Inputs> {
    Inputs::new()
        .value("recipe", zstd::VERSION)
        .value("flags", flags::describe())
        .value(
            "side flags",
            [flags::SIDE, flags::SIDE_LINK].concat().join(" "),
        )
        .value("configuration", zstd::describe())
        .tree("guest/calls", &guest.join(called::OURS))
}

/// What [`compression()`] depends on besides its sources, the libc and the compiler.
pub fn compression_inputs() -> Inputs {
    Inputs::new()
        .value("recipe", compression::VERSION)
        .value("flags", flags::describe())
}

/// What [`libcrypto()`] depends on besides OpenSSL's sources, the libc and the compiler.
pub fn libcrypto_inputs(guest: &Path) -> Result<Inputs> {
    Inputs::new()
        .value("recipe", libcrypto::VERSION)
        .value("flags", flags::describe())
        .value("side flags", flags::SIDE.join(" "))
        .value("configuration", libcrypto::describe())
        .tree("guest/openssl", &guest.join(libcrypto::OURS))
}

/// What static libraries in C++ depend on besides their sources, the libc and the compiler.
fn cxx_inputs(guest: &Path, recipe: u32) -> Result<Inputs> {
    Inputs::new()
        .value("recipe", recipe)
        .value("flags", flags::describe())
        .value("side flags", flags::SIDE.join(" "))
        .value("c++", cxx::describe())
        .tree("guest/cxx/include", &guest.join(cxx::OURS).join("include"))
}

/// What [`cxx_library()`] depends on besides.
pub fn cxx_library_inputs(guest: &Path) -> Result<Inputs> {
    cxx_inputs(guest, cxx::VERSION)?
        .value("library", cxx::describe_library())
        .tree("guest/cxx", &guest.join(cxx::OURS))
}

/// What [`geos()`] depends on besides.
pub fn geos_inputs(guest: &Path) -> Result<Inputs> {
    Ok(cxx_inputs(guest, geos::VERSION)?.value("configuration", geos::describe()))
}

/// What [`proj()`] depends on besides.
pub fn proj_inputs(guest: &Path) -> Result<Inputs> {
    cxx_inputs(guest, proj::VERSION)?
        .value("configuration", proj::describe())
        .tree("guest/proj", &guest.join(proj::OURS))
}

/// What [`json_c()`] and [`protobuf_c()`] depend on besides their sources, the libc and the compiler.
pub fn interchange_inputs() -> Inputs {
    Inputs::new()
        .value("recipe", interchange::VERSION)
        .value("flags", flags::describe())
        .value("side flags", flags::SIDE.join(" "))
        .value("configuration", interchange::describe())
}

/// What [`libxml2()`] depends on besides its sources, the libc and the compiler.
pub fn libxml2_inputs() -> Inputs {
    Inputs::new()
        .value("recipe", libxml2::VERSION)
        .value("flags", flags::describe())
        .value("configuration", libxml2::describe())
}

/// What [`libxslt()`] depends on besides its sources, the outputs of [`libxml2()`] and [`libc()`], and the compiler.
pub fn libxslt_inputs() -> Inputs {
    Inputs::new()
        .value("recipe", libxslt::VERSION)
        .value("flags", flags::describe())
        .value("side flags", flags::SIDE.join(" "))
        .value("configuration", libxslt::describe())
}

/// What [`tools()`] depends on besides the outputs of [`libc()`], [`postgres()`] and [`compression()`], and the compiler.
pub fn tools_inputs(guest: &Path) -> Result<Inputs> {
    Inputs::new()
        .value("recipe", tools::VERSION)
        .value("flags", flags::describe())
        .tree("guest/tools", &guest.join("tools"))
}

/// What [`link()`] depends on besides the outputs of [`libc()`] and [`postgres()`].
pub fn link_inputs(guest: &Path, program: &str) -> Result<Inputs> {
    let inputs = Inputs::new()
        .value("recipe", link::VERSION)
        .value("flags", flags::link_flags(program).join(" "));
    if program == MODULES[0] {
        inputs.file("guest/exports.txt", &guest.join(link::EXPORTS))
    } else {
        Ok(inputs)
    }
}

/// What [`library()`] depends on besides its sources, PostgreSQL's headers, the libc and the compiler.
pub fn library_inputs(guest: &Path, library: &Library<'_>) -> Result<Inputs> {
    let inputs = Inputs::new()
        .value("recipe", library::VERSION)
        .value("flags", flags::describe())
        .value(
            "side flags",
            [flags::SIDE, flags::SIDE_LINK].concat().join(" "),
        )
        .value("library", library.describe());
    if !library.cxx {
        return Ok(inputs);
    }
    let ours = guest.join(cxx::OURS);
    inputs
        .value("c++", cxx::describe())
        .file("start.c", &ours.join(cxx::START))?
        .tree("guest/cxx/include", &ours.join("include"))
}

/// What [`extension_tree()`] depends on besides the source.
pub fn extension_tree_inputs(guest: &Path, extension: &ExtensionTree<'_>) -> Result<Inputs> {
    Inputs::new()
        .value("recipe", library::VERSION)
        .value("extension", format!("{extension:?}"))
        .tree("patches", &guest.join("extensions").join(extension.name))
}

/// What [`adopt()`] depends on besides the module.
pub fn adopt_inputs(module: &str) -> Inputs {
    Inputs::new()
        .value("recipe", emscripten::VERSION)
        .value("module", module)
}

/// What [`side::Build::library`] depends on besides the library, its place, the server as translated and wabt.
pub fn side_inputs(
    guest: &Path,
    place: &side::Place,
    shape: &Shape,
    native: Option<&Path>,
) -> Result<Inputs> {
    let mut inputs = Inputs::new();
    if shape.foreign.is_some() {
        inputs = inputs
            .value("foreign", emscripten::VERSION)
            .file("invoke.c.in", &guest.join(emscripten::TEMPLATE))?;
    }
    let inputs = inputs
        .value("recipe", side::VERSION)
        .value("flags", flags::native_flags().join(" "))
        .value("place", format!("{place:?}"))
        .tree("guest/runtime", &guest.join("runtime"))?
        .file("library.c.in", &guest.join(side::TEMPLATE))?;
    match native {
        Some(native) => inputs
            .value("native flags", flags::NATIVE_MATH.join(" "))
            .file("native", native),
        None => Ok(inputs),
    }
}

/// What [`exports()`] depends on besides the server, linked and translated, the compiler and the target.
pub fn exports_inputs(guest: &Path) -> Result<Inputs> {
    Inputs::new()
        .value("recipe", exports::VERSION)
        .file("pglite_module.h", &guest.join("runtime/pglite_module.h"))
}

/// What [`side::Build::pack`] depends on besides the library, the server as linked and translated, wabt and the compiler.
pub fn pack_inputs(guest: &Path) -> Result<Inputs> {
    Inputs::new()
        .value("recipe", side::VERSION)
        .value("flags", flags::native_flags().join(" "))
        .tree("guest/runtime", &guest.join("runtime"))?
        .tree("guest/packs", &guest.join("packs"))
}

/// What [`share()`] depends on besides the output of [`postgres()`].
pub fn share_inputs() -> Inputs {
    Inputs::new().value("recipe", share::VERSION)
}

/// What [`translate()`] depends on besides the module and wabt.
pub fn translate_inputs() -> Inputs {
    Inputs::new().value("recipe", translate::VERSION)
}

/// What [`compile()`] depends on besides the output of [`translate()`], the compiler and the target.
pub fn compile_inputs(guest: &Path, profile: &Profile) -> Result<Inputs> {
    let inputs = Inputs::new()
        .value("recipe", compile::VERSION)
        .value("flags", flags::native_flags().join(" "))
        .value("across", across::LINK.join(" "))
        .tree("guest/runtime", &guest.join("runtime"))?;
    profile.add_to(inputs)
}

/// What [`tests()`] depends on besides the libc and the compiler.
pub fn tests_inputs(guest: &Path) -> Result<Inputs> {
    Inputs::new()
        .value("recipe", tests::VERSION)
        .value("flags", flags::describe())
        .tree("guest/tests", &guest.join("tests"))
}
