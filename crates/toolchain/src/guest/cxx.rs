//! C++ with exceptions for side modules: libc++, libc++abi and the unwinder of the compiler's package as one static library, `lib/libcxx.a`.
//!
//! Exceptions are wasm's own, in the form that wasm2c takes, with a tag of the module's own (`guest/cxx`): a throw is what longjmp is, a jump to the innermost try. A longjmp of the server's
//! passes through frames of C++ and runs their destructors; no `catch` takes it, since its tag is another.
//!
//! Static constructors run in the process that loads the module, from its `_PG_init` (`guest/cxx/start.c`), and not when the host lays out the image, where nobody could serve a call of the kernel.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::parallel::{Compilations, object_name};
use super::{GuestCtx, flags, side_cc};
use crate::cache::remove_tree;
use crate::process;

/// Changes when the recipe's result does.
pub(super) const VERSION: u32 = 1;

/// What `links` of the catalogue calls it.
pub const CXX: &str = "cxx";

/// Our own part, relative to `guest`.
pub(super) const OURS: &str = "cxx";

/// What runs the constructors: an object of each module, not of the library.
pub(super) const START: &str = "start.c";

/// What the module's own `_PG_init` is called then.
pub(super) const RENAMED_INIT: &str = "-D_PG_init=guest_cxx_module_init";

/// Of the language. A guest process has one thread, so nothing is local to it: landing pads tell the personality function what to look for through a variable that the compiler makes
/// local to the thread unless code has no atomic instructions, and nothing gives a side module the memory for those.
const LANGUAGE: &[&str] = &[
    "-mno-atomics",
    "-std=c++17",
    "-fwasm-exceptions",
    "-frtti",
    "-fno-threadsafe-statics",
    "-fvisibility-inlines-hidden",
    "-fvisibility-global-new-delete=force-hidden",
    "-ffunction-sections",
    "-fdata-sections",
    "-Dthread_local=",
    "-D_Thread_local=",
];

/// libc++'s configuration. What it marks as visible would be exported by the module.
const LIBCXX: &[&str] = &[
    "-D_LIBCPP_ABI_VERSION=1",
    "-D_LIBCPP_ABI_NAMESPACE=__1",
    "-D_LIBCPP_HAS_MUSL_LIBC=1",
    "-D_LIBCPP_HAS_THREADS=0",
    "-D_LIBCPP_HAS_FILESYSTEM=0",
    "-D_LIBCPP_HAS_LOCALIZATION=1",
    "-D_LIBCPP_HAS_RANDOM_DEVICE=0",
    "-D_LIBCPP_HAS_TIME_ZONE_DATABASE=0",
    "-D_LIBCPP_HAS_TERMINAL=0",
    "-D_LIBCPP_HAS_UNICODE=0",
    "-D_LIBCPP_HAS_WIDE_CHARACTERS=1",
    "-D_LIBCPP_HAS_MONOTONIC_CLOCK=1",
    "-D_LIBCPP_HAS_VENDOR_AVAILABILITY_ANNOTATIONS=0",
    "-D_LIBCPP_HARDENING_MODE=_LIBCPP_HARDENING_MODE_NONE",
    "-D_LIBCPP_ASSERTION_SEMANTIC_DEFAULT=_LIBCPP_ASSERTION_SEMANTIC_IGNORE",
    "-D_LIBCPP_PSTL_BACKEND_SERIAL",
    "-D_LIBCPP_DISABLE_VISIBILITY_ANNOTATIONS",
    "-D_LIBCXXABI_DISABLE_VISIBILITY_ANNOTATIONS",
];

/// Of libc++: no threads, no files, no time zones, no formatting of Unicode.
const LIBCXX_SOURCES: &str = "\
    algorithm any bind call_once charconv chrono error_category exception expected functional hash ios ios.instantiations iostream locale memory memory_resource new \
    new_handler new_helpers optional ostream regex stdexcept string system_error typeinfo valarray variant vector verbose_abort ryu/d2fixed ryu/d2s ryu/f2s";

/// Of libc++abi: without its demangler, which only says what was not caught.
const LIBCXXABI_SOURCES: &str = "\
    abort_message cxa_aux_runtime cxa_default_handlers cxa_exception cxa_exception_storage cxa_guard cxa_handlers cxa_personality cxa_vector cxa_virtual \
    fallback_malloc private_typeinfo stdlib_exception stdlib_new_delete stdlib_stdexcept stdlib_typeinfo";

const BUILDING: &[&str] = &[
    "-std=c++23",
    "-D_LIBCPP_BUILDING_LIBRARY",
    "-DLIBCXX_BUILDING_LIBCXXABI",
    "-DLIBC_NAMESPACE=__llvm_libc_common_utils",
    "-D_LIBCXXABI_BUILDING_LIBRARY",
    "-D_LIBCXXABI_HAS_NO_THREADS",
    "-DLIBCXXABI_NON_DEMANGLING_TERMINATE",
];

const UNWINDER: &[&str] = &[
    "-fwasm-exceptions",
    "-D_LIBUNWIND_HIDE_SYMBOLS",
    "-D_LIBUNWIND_IS_NATIVE_ONLY",
    "-D_LIBUNWIND_HAS_NO_THREADS",
    "-Dthread_local=",
    "-D_Thread_local=",
];

/// All that decides on what is compiled as C++, for fingerprints.
pub(super) fn describe() -> String {
    [LANGUAGE, LIBCXX, STANDARD, &[RENAMED_INIT]]
        .concat()
        .join(" ")
}

/// All that decides on the library, besides.
pub(super) fn describe_library() -> String {
    [BUILDING, UNWINDER, &[LIBCXX_SOURCES, LIBCXXABI_SOURCES]]
        .concat()
        .join(" ")
}

/// Compiles the library: `lib/libcxx.a`, and an empty `include`, since its headers are where the compiler has them.
pub fn cxx_library(ctx: &GuestCtx<'_>, libc: &Path, out: &Path) -> Result<()> {
    let package = library_of_compiler(ctx);
    let objects_dir = out.join("objects");
    fs::create_dir_all(&objects_dir)?;
    let mut all = Compilations::default();
    for (library, names) in [("libcxx", LIBCXX_SOURCES), ("libcxxabi", LIBCXXABI_SOURCES)] {
        for name in names.split_whitespace() {
            let source = package.join(library).join(format!("src/{name}.cpp"));
            let mut command = cxx(ctx, libc);
            command.args(BUILDING);
            for dir in ["libcxx/src", "libcxx/libc", "libcxx"] {
                command.arg("-I").arg(package.join(dir));
            }
            let flat = name.replace(['/', '.'], "_");
            let object = objects_dir.join(format!("{library}_{flat}.o"));
            all.add(command, &source, object);
        }
    }
    let mut command = side_cc(ctx, libc);
    command
        .args(UNWINDER)
        .arg("-I")
        .arg(package.join("libunwind/include"));
    all.add(
        command,
        &package.join("libunwind/src/Unwind-wasm.c"),
        objects_dir.join("unwind.o"),
    );
    let ours = ctx.guest.join(OURS);
    for name in ["libc.c", "runtime.c", "tag.s"] {
        let object = objects_dir.join(format!("our_{}", object_name(Path::new(name))));
        all.add(side_cc(ctx, libc), &ours.join(name), object);
    }
    let objects = all.run(ctx)?;
    static_library(ctx, CXX, &objects, out)?;
    remove_tree(&objects_dir)
}

/// Headers of libc++ that most of the sources include: reading them is most of what a small source takes.
pub(super) const STANDARD: &[&str] = &[
    "algorithm",
    "array",
    "cassert",
    "cmath",
    "cstring",
    "deque",
    "functional",
    "iomanip",
    "iostream",
    "limits",
    "list",
    "map",
    "memory",
    "mutex",
    "queue",
    "set",
    "sstream",
    "stack",
    "string",
    "typeinfo",
    "unordered_map",
    "unordered_set",
    "utility",
    "vector",
];

/// Compiles `headers` once, in `dir`, for sources that are compiled with the flags of `command`; what those are given for it.
pub(super) fn precompiled(
    ctx: &GuestCtx<'_>,
    mut command: Command,
    headers: &[&str],
    dir: &Path,
) -> Result<[OsString; 2]> {
    ctx.bar.message("headers");
    let source = dir.join("headers.hpp");
    let text: String = headers
        .iter()
        .map(|header| format!("#include <{header}>\n"))
        .collect();
    fs::write(&source, text)?;
    let output = dir.join("headers.pch");
    command
        .args(["-x", "c++-header"])
        .arg(&source)
        .arg("-o")
        .arg(&output);
    process::logged(&mut command, ctx.log)?;
    Ok(["-include-pch".into(), output.into_os_string()])
}

/// Makes `lib/libNAME.a` in `out`, and `include` if there is none.
pub(super) fn static_library(
    ctx: &GuestCtx<'_>,
    name: &str,
    objects: &[PathBuf],
    out: &Path,
) -> Result<()> {
    let dir = out.join("lib");
    fs::create_dir_all(&dir)?;
    fs::create_dir_all(out.join("include"))?;
    ctx.archive(&dir.join(format!("lib{name}.a")), objects)
}

/// A command that compiles C++ for side modules: our headers before libc++'s, those before the libc's.
pub(super) fn cxx(ctx: &GuestCtx<'_>, libc: &Path) -> Command {
    let package = library_of_compiler(ctx);
    let mut command = ctx.zig("c++");
    command
        .args(flags::WASM)
        .args(flags::PROGRAM)
        .arg(ctx.prefix_map())
        .args([flags::OPTIMISE, "-w"])
        .args(flags::SIDE)
        .args(LANGUAGE)
        .args(LIBCXX)
        .arg("-I")
        .arg(ctx.guest.join(OURS).join("include"));
    for dir in ["libcxx/include", "libcxxabi/include"] {
        command.arg("-I").arg(package.join(dir));
    }
    command
        .arg("-I")
        .arg(libc.join("include"))
        .arg("-isystem")
        .arg(ctx.builtin_headers());
    command
}

/// Where the compiler's package has its libraries.
pub(super) fn library_of_compiler(ctx: &GuestCtx<'_>) -> PathBuf {
    ctx.zig.parent().unwrap_or(Path::new("")).join("lib")
}
