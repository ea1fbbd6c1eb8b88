//! Optimisation across the pieces of a program (ThinLTO: Johnson, Amini, Li, "ThinLTO: Scalable and Incremental LTO", CGO 2017).
//!
//! The pieces become bitcode, and the linker makes one native object of them, in which hot calls from piece to piece are inlined. The profile says which these are, so without one it is
//! not worth the time. What comes out is an object like any other: whoever links it needs no such linker.
//!
//! Then its code is *gathered*: all functions that the program itself can reach become one section, and its constants another, which no linker takes apart. So a return address on a native
//! stack is the same distance from the section's start in whatever program the object is linked into, and a frozen process can be opened there (`machine/places.rs`). Functions that only
//! side modules call stay sections of their own, for linkers to drop. The order within is what the linker would have chosen by the profile's call graph, with what never ran at the end.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::GuestCtx;
use super::compile::Profile;
use super::libc::remove_file;
use crate::process;

/// For the compiler of the pieces.
pub(super) const COMPILE: &str = "-flto=thin";

/// Tells `module.c.in` that the names are there which [`gather`] defines.
pub(super) const GATHERED: &str = "-DPGL_GATHERED";

/// For the linker. By its defaults any call may pull in a function of 100 instructions, a hot one of 1,000; with 10 for calls that are not hot the speed is the same and the program 1.5 MB smaller.
pub(super) const LINK: [&str; 6] = [
    "-r",
    "--lto-O2",
    "-mllvm",
    "-import-instr-limit=10",
    "-mllvm",
    "-import-hot-multiplier=100",
];

/// Finds what is reachable from the module's descriptor, and its best order: a library that is only looked at.
const TRIAL: [&str; 3] = [
    "-shared",
    "--gc-sections",
    "--unresolved-symbols=ignore-all",
];

/// True if a program with this profile is made so. The linker of Mach-O makes no relocatable objects.
pub(super) fn is_used(profile: &Profile, target: &str) -> bool {
    matches!(profile, Profile::Use(_)) && target.contains("-linux-")
}

/// Makes one native object in `out` of bitcode and native objects; where it is.
pub(super) fn link(
    ctx: &GuestCtx<'_>,
    module: &str,
    objects: &[PathBuf],
    out: &Path,
) -> Result<PathBuf> {
    ctx.bar.message("optimising across pieces");
    let object = out.join("whole.o");
    let mut command = ctx.zig("ld.lld");
    command.args(LINK).arg("-o").arg(&object).args(objects);
    process::logged(&mut command, ctx.log)?;
    gather(ctx, module, &object, out)
}

/// The object with what is reachable of it in two sections.
fn gather(ctx: &GuestCtx<'_>, module: &str, object: &Path, out: &Path) -> Result<PathBuf> {
    ctx.bar.message("ordering functions");
    let (trial, map) = (out.join("trial.so"), out.join("trial.map"));
    let mut command = ctx.zig("ld.lld");
    command
        .args(TRIAL)
        .arg(format!("--undefined=pgl_module_{module}"))
        .arg(format!("-Map={}", map.display()))
        .arg("-o")
        .arg(&trial)
        .arg(object);
    process::logged(&mut command, ctx.log)?;
    let text = fs::read_to_string(&map).with_context(|| format!("reading {}", map.display()))?;
    let script = out.join("gather.ld");
    fs::write(&script, gathering(module, &text)?)?;
    let gathered = out.join("gathered.o");
    let mut command = ctx.zig("ld.lld");
    command
        .args(["-r", "-T"])
        .arg(&script)
        .arg("-o")
        .arg(&gathered)
        .arg(object);
    process::logged(&mut command, ctx.log)?;
    for done in [&trial, &map, &script] {
        remove_file(done)?;
    }
    Ok(gathered)
}

/// The linker script that gathers what this map of a trial names.
fn gathering(module: &str, map: &str) -> Result<String> {
    let (mut code, mut never_run, mut constants) = (Vec::new(), Vec::new(), Vec::new());
    for section in map.lines().filter_map(input_section) {
        match section.split('.').nth(1) {
            Some("text") if section.starts_with(".text.unlikely.") => never_run.push(section),
            Some("text") => code.push(section),
            // Linkers merge equal strings and numbers of different objects: these have no place of their own, and nobody keeps an address of one.
            Some("rodata") if section.starts_with(".rodata.str") => {}
            Some("rodata") if section.starts_with(".rodata.cst") => {}
            Some("rodata") => constants.push(section),
            _ => {}
        }
    }
    if code.len() < 100 || constants.is_empty() {
        bail!(
            "the trial link of {module} has {} functions and {} constants: its map is not in the form that is known",
            code.len(),
            constants.len()
        );
    }
    code.append(&mut never_run);
    let mut script = String::from("SECTIONS {\n");
    for (name, output, inputs) in [("code", ".text", code), ("constants", ".rodata", constants)] {
        writeln!(
            script,
            "{output}.pgl_{name}_{module} : {{\npgl_{name}_start_{module} = .;"
        )?;
        for input in inputs {
            writeln!(script, "*({input})")?;
        }
        writeln!(script, "pgl_{name}_end_{module} = .;\n}}")?;
    }
    script.push_str("}\n");
    Ok(script)
}

/// The name of the input section in a line of a linker's map: `VMA LMA SIZE ALIGN FILE:(SECTION)`.
fn input_section(line: &str) -> Option<&str> {
    let (_, rest) = line.rsplit_once(":(")?;
    rest.strip_suffix(')')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_becomes_a_script() {
        let mut map = String::from(
            "     VMA      LMA     Size Align Out     In      Symbol\n  1000     1000       20    16 .text\n",
        );
        let mut line = |section: &str| {
            writeln!(
                map,
                "  1000     1000       10    16         a/whole.o:({section})"
            )
            .unwrap();
        };
        line(".text.unlikely.never");
        for n in 0..100 {
            line(&format!(".text.hot.f{n}"));
        }
        for section in [
            ".text.after",
            ".rodata.data",
            ".rodata.str1.1",
            ".rodata.cst16",
            ".data.x",
        ] {
            line(section);
        }
        let script = gathering("postgres", &map).unwrap();
        let at = |what: &str| {
            script
                .find(what)
                .unwrap_or_else(|| panic!("{what}: {script}"))
        };
        let order = [
            ".text.pgl_code_postgres : {",
            "pgl_code_start_postgres = .;",
            "*(.text.hot.f0)",
            "*(.text.hot.f99)",
            "*(.text.after)",
            "*(.text.unlikely.never)",
            "pgl_code_end_postgres = .;",
            ".rodata.pgl_constants_postgres : {",
            "*(.rodata.data)",
        ];
        assert!(order.map(at).is_sorted());
        assert!(!script.contains("str1") && !script.contains("cst") && !script.contains(".data.x"));
        assert!(gathering("postgres", "").is_err());
    }
}
