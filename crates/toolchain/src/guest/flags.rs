//! The compilers' flags.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use super::GuestCtx;

/// Features of wasm that all guest code uses.
pub(super) const WASM: &[&str] = &[
    "-target",
    "wasm32-freestanding",
    "-g0",
    "-fno-sanitize=undefined",
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
    "-fno-strict-aliasing",
    "-matomics",
    "-mbulk-memory",
    "-mexception-handling",
    "-mnontrapping-fptoint",
    "-msign-ext",
];

/// For musl itself, which is no hosted program.
pub(super) const LIBC: &[&str] = &[
    "-O2",
    "-std=c99",
    "-nostdinc",
    "-ffreestanding",
    "-fno-builtin",
    "-D_XOPEN_SOURCE=700",
    "-w",
];

/// For programs: their setjmp is made of exceptions.
pub(super) const PROGRAM: &[&str] = &[
    "-nostdinc",
    // The target has no system; these programs have a C library, whose functions the compiler may know.
    "-fhosted",
    "-mllvm",
    "-wasm-enable-sjlj",
    "-D__linux__",
    "-D_GNU_SOURCE",
    "-fwrapv",
];

/// What a program's code is optimised with.
pub(super) const OPTIMISE: &str = "-O2";

/// Bytes of the guest's stack in linear memory.
const STACK: u32 = 8 << 20;
/// 65,535 pages: the last one is left to the guard, so that the size fits 32 bits.
const MEMORY: u32 = 65_535 * 65_536;
/// Data begins at the earliest here: what lies below stays unmapped, for null pointers.
pub(super) const DATA: u32 = 64 << 10;

/// Where the server's data begins: below lies the data of its side modules (extensions). Only what they use is ever touched.
pub(super) const SERVER_DATA: u32 = 8 << 20;

/// Where a program's data begins.
pub(super) fn data_start(program: &str) -> u32 {
    if program == super::MODULES[0] {
        SERVER_DATA
    } else {
        DATA
    }
}

/// For `wasm-ld`.
pub(super) fn link_flags(program: &str) -> Vec<String> {
    let mut flags: Vec<String> = [
        "--no-entry",
        "--import-memory",
        "--no-stack-first",
        "--gc-sections",
        "--strip-debug",
    ]
    .map(str::to_owned)
    .into();
    flags.push(format!("--initial-memory={MEMORY}"));
    flags.push(format!("--max-memory={MEMORY}"));
    flags.push(format!("--global-base={}", data_start(program)));
    flags.extend(["-z".to_owned(), format!("stack-size={STACK}")]);
    flags.extend(
        ["guest_start", "guest_fork_child", "__heap_base"].map(|name| format!("--export={name}")),
    );
    flags
}

/// For side modules: position-independent, and what is not marked for export stays inside, as PGXS has it.
pub(super) const SIDE: &[&str] = &["-fPIC", "-fvisibility=hidden"];

/// For `wasm-ld` of side modules.
pub(super) const SIDE_LINK: &[&str] = &[
    "-shared",
    "--experimental-pic",
    "--import-memory",
    "--Bsymbolic",
    "--strip-debug",
    "--unresolved-symbols=import-dynamic",
];

/// For the translated C.
pub(super) fn native_flags() -> &'static [&'static str] {
    &[
        "-O2",
        "-g0",
        "-w",
        "-std=gnu11",
        "-fPIC",
        "-fvisibility=hidden",
        "-fomit-frame-pointer",
        "-fno-sanitize=undefined",
        "-fno-stack-protector",
        "-fno-strict-aliasing",
        "-fno-asynchronous-unwind-tables",
        // Nothing unwinds these frames: 1.3 MB of every program.
        "-fno-unwind-tables",
        "-ffp-contract=off",
    ]
}

/// For native functions of side modules, besides: sums in any order, fused where the processor can.
pub(super) const NATIVE_MATH: &[&str] = &[
    "-O3",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fassociative-math",
    "-fno-signed-zeros",
    "-fno-trapping-math",
];

/// All flags of guest code as one text, for fingerprints.
pub(super) fn describe() -> String {
    [WASM, LIBC, PROGRAM, &[OPTIMISE, PREFIX_MAP]]
        .concat()
        .join(" ")
}

/// Source files are named by where they lie in the cache, so that what is built is the same wherever that is.
const PREFIX_MAP: &str = "-ffile-prefix-map";

impl GuestCtx<'_> {
    /// The directory of all steps.
    fn cache(&self) -> &Path {
        self.zig_cache.parent().unwrap_or(Path::new("/"))
    }

    /// Fails if a module says where it was built.
    pub(super) fn check_no_paths(&self, wasm: &Path, bytes: &[u8]) -> Result<()> {
        let place = self.cache().to_string_lossy();
        if memchr::memmem::find(bytes, place.as_bytes()).is_some() {
            bail!("{} has the path {place} in it", wasm.display());
        }
        Ok(())
    }

    /// A command of zig, with its caches in our own place.
    pub(super) fn zig(&self, subcommand: &str) -> Command {
        let mut command = Command::new(self.zig);
        command.arg(subcommand);
        self.zig_environment(&mut command);
        command
    }

    /// Keeps the compiler's caches out of the user's home directory.
    pub(crate) fn zig_environment(&self, command: &mut Command) {
        command
            .env("ZIG_GLOBAL_CACHE_DIR", &self.zig_cache)
            .env("ZIG_LOCAL_CACHE_DIR", &self.zig_cache);
    }

    /// The compiler's own headers (`stddef.h`, ...).
    pub(super) fn builtin_headers(&self) -> std::path::PathBuf {
        self.zig
            .parent()
            .unwrap_or(Path::new(""))
            .join("lib/include")
    }

    /// See [`PREFIX_MAP`].
    pub(super) fn prefix_map(&self) -> String {
        format!("{PREFIX_MAP}={}=.", self.cache().display())
    }

    /// A command that compiles one file of a guest program against the libc in `libc`.
    pub(super) fn guest_cc(&self, libc: &Path) -> Command {
        let mut command = self.zig("cc");
        // -I and not -isystem: the compiler puts its own limits.h and stddef.h before those of other system directories.
        command
            .args(WASM)
            .args(PROGRAM)
            .arg(self.prefix_map())
            .arg("-I")
            .arg(libc.join("include"))
            .arg("-isystem")
            .arg(self.builtin_headers());
        command
    }
}
