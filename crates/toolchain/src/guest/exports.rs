//! The server's functions by name, for packs that are loaded at run time.
//!
//! A program's own symbols cannot be looked up at run time, so the names and addresses of what side modules may call are laid out as a table: an object of its own, linked only into programs that
//! load packs. Addresses are distances from where they stand: some 12,000 pointers would each need a relocation at every start.
//!
//! ```text
//! u32 abi version, u32 entries, u32 slots of the server's table, u32 end of the room for side modules' data, char core[64],
//! entries in the order of their names: i32 address - &here, u32 offset of the name in names,
//! names, each with a NUL
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::core::{Core, Names};
use super::{GuestCtx, compile};
use crate::process;

/// Changes when the recipe's result does.
pub(super) const VERSION: u32 = 2;

/// What the runtime offers besides, under the same names in C.
const RUNTIME: &[&str] = &[
    "pgl_load_exception",
    "pgl_setjmp",
    "pgl_throw",
    "wasm_rt_trap",
];

/// The name of longjmp's tag, which is data.
pub(super) const TAG: &str = "__c_longjmp";

/// Bytes of a core's fingerprint.
const CORE_LEN: usize = 64;

/// Writes `libpglite_exports.a` to `out`: the table of the functions that `core` offers and the translated C has as `names`.
pub fn exports(
    ctx: &GuestCtx<'_>,
    core: &Core,
    names: &Names,
    fingerprint: &str,
    target: &str,
    out: &Path,
) -> Result<()> {
    let abi = abi_version(&fs::read_to_string(
        ctx.guest.join("runtime/pglite_module.h"),
    )?)?;
    let source = out.join("exports.s");
    fs::write(
        &source,
        text(core, names, abi, fingerprint, target.contains("apple"))?,
    )?;
    let object = source.with_extension("o");
    let mut command = ctx.zig("cc");
    command
        .args(["-target", &compile::zig_target(target)?, "-g0", "-c"])
        .arg(&source)
        .arg("-o")
        .arg(&object);
    process::logged(&mut command, ctx.log)?;
    ctx.archive(&out.join("libpglite_exports.a"), &[object])
}

/// The number in `#define PGL_ABI_VERSION 3u`.
fn abi_version(header: &str) -> Result<u32> {
    header
        .lines()
        .find_map(|line| line.strip_prefix("#define PGL_ABI_VERSION "))
        .and_then(|value| value.trim_end_matches('u').parse().ok())
        .context("pglite_module.h has no PGL_ABI_VERSION")
}

fn text(core: &Core, names: &Names, abi: u32, fingerprint: &str, apple: bool) -> Result<String> {
    if fingerprint.len() != CORE_LEN {
        bail!("{fingerprint} is no fingerprint");
    }
    let mut symbols: BTreeMap<&str, &str> = names
        .functions
        .iter()
        .map(|(name, function)| (name.as_str(), function.c.as_str()))
        .collect();
    symbols.extend(RUNTIME.iter().map(|&name| (name, name)));
    symbols.insert(TAG, &names.tag);
    let (section, prefix) = if apple {
        ("__TEXT,__const", "_")
    } else {
        (".rodata.pgl_exports,\"a\"", "")
    };
    let mut out = format!(
        "\t.section {section}\n\t.p2align 3\n\t.globl {prefix}pgl_exports_postgres\n{prefix}pgl_exports_postgres:\n\
         \t.long {abi}, {}, {}, {}\n\t.ascii \"{fingerprint}\"\n",
        symbols.len(),
        core.table,
        core.data_start
    );
    let mut offset = 0;
    for (name, symbol) in &symbols {
        let _ = writeln!(out, "\t.long {prefix}{symbol} - ., {offset}");
        offset += name.len() + 1;
    }
    for name in symbols.keys() {
        let _ = writeln!(out, "\t.asciz \"{name}\"");
    }
    if !apple {
        out.push_str("\t.section .note.GNU-stack,\"\"\n");
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::super::core::Name;
    use super::*;

    #[test]
    fn entries_are_sorted_and_point_to_their_names() {
        let mut names = Names::default();
        for name in ["palloc", "errmsg"] {
            let c = format!("w2c_postgres_{name}");
            let signature = String::new();
            names
                .functions
                .insert(name.to_owned(), Name { c, signature });
        }
        names.tag = "w2c_postgres_tag0".to_owned();
        let core = "f".repeat(64);
        let text = text(&Core::default(), &names, 3, &core, false).unwrap();
        let entries: Vec<&str> = text.lines().filter(|line| line.contains(" - .")).collect();
        assert_eq!(
            entries,
            [
                "\t.long w2c_postgres_tag0 - ., 0",
                "\t.long w2c_postgres_errmsg - ., 12",
                "\t.long w2c_postgres_palloc - ., 19",
                "\t.long pgl_load_exception - ., 26",
                "\t.long pgl_setjmp - ., 45",
                "\t.long pgl_throw - ., 56",
                "\t.long wasm_rt_trap - ., 66",
            ]
        );
        assert!(text.contains("\t.long 3, 7, 0, 0\n"));
        assert_eq!(abi_version("x\n#define PGL_ABI_VERSION 12u\n").unwrap(), 12);
    }
}
