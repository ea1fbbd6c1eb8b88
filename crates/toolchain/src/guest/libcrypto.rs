//! OpenSSL's libcrypto for side modules: `include/` and `lib/libcrypto.a`, position-independent.
//!
//! OpenSSL's own Configure and makefile do the work, with what pgcrypto can reach and nothing else: no TLS, no certificates, no public keys (pgcrypto computes with big numbers), no
//! ciphers that SQL has no name for. All digests stay, since `digest()` takes any that OpenSSL knows. `guest/openssl` has the provider that lists them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::libc::{copy_tree, patch_all};
use super::{GuestCtx, flags, postgres};
use crate::cache::remove_tree;
use crate::process;

/// Changes when the recipe's result does.
pub(super) const VERSION: u32 = 1;

/// Patches and replacements, relative to `guest`.
pub(super) const OURS: &str = "openssl";

/// What takes the place of OpenSSL's list of providers.
const PROVIDER: &str = "provider_predefined.c";

/// A machine of 32 bits, little-endian by the compiler's word, with 64-bit products.
const TARGET: &str = "linux-generic32";

/// What is left out: first what a guest cannot have, then what nobody would call.
const WITHOUT: &[&str] = &[
    "asm",
    "async",
    "atexit",
    "autoload-config",
    "dgram",
    "dso",
    "engine",
    "http",
    "module",
    "rdrand",
    "secure-memory",
    "shared",
    "sock",
    "threads",
    "ui-console",
    "apps",
    "docs",
    "err",
    "makedepend",
    "tests",
    "cmp",
    "cms",
    "comp",
    "ct",
    "dtls",
    "nextprotoneg",
    "ocsp",
    "psk",
    "quic",
    "rfc3779",
    "srp",
    "srtp",
    "ssl",
    "tls",
    "ts",
    "dh",
    "dsa",
    "ec",
    "gost",
    "lms",
    "ml-dsa",
    "ml-kem",
    "slh-dsa",
    "sm2",
    "argon2",
    "aria",
    "camellia",
    "chacha",
    "cmac",
    "idea",
    "multiblock",
    "ocb",
    "poly1305",
    "rc2",
    "rc4",
    "scrypt",
    "seed",
    "siphash",
    "siv",
    "sm4",
];

/// All that decides on the result besides the compiler's flags, for fingerprints.
pub(super) fn describe() -> String {
    format!("{TARGET} without {}", WITHOUT.join(" "))
}

/// Configures and compiles it from the crate's unpacked `source`.
pub fn libcrypto(ctx: &GuestCtx<'_>, source: &Path, libc: &Path, out: &Path) -> Result<()> {
    let tree = out.join("openssl");
    copy_tree(ctx, &source.join("openssl"), &tree)?;
    let ours = ctx.guest.join(OURS);
    patch_all(ctx, &ours, &tree)?;
    fs::copy(ours.join(PROVIDER), tree.join("crypto").join(PROVIDER))?;
    postgres::wrapper(ctx, libc, out)?;
    ctx.bar.message("Configure");
    let mut command = command(ctx, "perl", &tree, out)?;
    command
        .args(["Configure", TARGET])
        .args(["--prefix=/pgsql", "--openssldir=/pgsql/ssl"])
        // Not asked for anything: pgcrypto brings the random bytes itself (guest/extensions/pgcrypto).
        .arg("--with-rand-seed=none")
        .args(WITHOUT.iter().map(|what| format!("no-{what}")))
        .arg(format!("CC={}", postgres::WRAPPER))
        .arg(format!("AR={} ar", ctx.zig.display()))
        .arg("ARFLAGS=qcD")
        .arg(format!("RANLIB={} ranlib", ctx.zig.display()))
        // With _GNU_SOURCE it would take strerror_r for glibc's, which musl's is not.
        .arg(format!(
            "CFLAGS={} {} -w -U_GNU_SOURCE",
            flags::OPTIMISE,
            flags::SIDE.join(" ")
        ));
    process::logged(&mut command, ctx.log)?;
    for target in ["build_generated", "libcrypto.a"] {
        ctx.bar.message(target);
        let mut command = self::command(ctx, "make", &tree, out)?;
        command.arg(format!("-j{}", ctx.jobs)).arg(target);
        process::logged(&mut command, ctx.log)?;
    }
    let (lib, include) = (out.join("lib"), out.join("include"));
    fs::create_dir_all(&lib)?;
    let library = tree.join("libcrypto.a");
    fs::rename(&library, lib.join("libcrypto.a"))
        .with_context(|| format!("moving {}", library.display()))?;
    copy_tree(ctx, &tree.join("include/openssl"), &include.join("openssl"))?;
    remove_tree(&tree)
}

/// A program of the host in OpenSSL's tree, which finds our compiler.
fn command(ctx: &GuestCtx<'_>, program: &str, tree: &PathBuf, out: &Path) -> Result<Command> {
    let mut command = Command::new(program);
    postgres::find_wrapper(ctx, &mut command, out)?;
    ctx.zig_environment(&mut command);
    command
        .current_dir(tree)
        // The time of the build is in the library.
        .env("SOURCE_DATE_EPOCH", "0")
        .env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL");
    Ok(command)
}
