//! Fits wasm2c's C to our runtime (ARCHITECTURE.md, "Where the instance lives").
//!
//! - The memory's base becomes a constant distance from the instance, its size a constant: nothing is loaded for an access.
//! - Atomic instructions on a memory that the module does not declare shared are translated to plain accesses: right by the letter, as nobody else could see it; but ours is
//!   partly shared between processes. They become real atomics.
//! - Some functions of the C library begin with native ones (`NATIVE`), and the depth of the native stack is computed where it is asked for.
//! - An indirect call passes the caller's own instance, so that one function table serves all processes.
//!
//! Every change must find what it looks for: a translator whose output looks different is an error here, not a bug later.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::fences::Counts;
use super::libc::sorted;

const BASE: &str = "uint8_t* const wasm_rt_local_memory_base = (instance->w2c_env_memory)->data;";
const SIZE: &str = "uint64_t wasm_rt_local_memory_size = (instance->w2c_env_memory)->size;";
const SIZE_AGAIN: &str = "wasm_rt_local_memory_size = (instance->w2c_env_memory)->size;";
const LOAD: &str = "load_data(MEM_ADDR(&m, o, s), i, s);";
const GENERAL: &str = "(wasm_rt_local_memory_base, wasm_rt_local_memory_size, NULL, ";
const ARGUMENT: &str = "wasm_rt_local_memory_size, instance->w2c_env_memory, ";

const DEPTH: &str = "w2c_kernel_stack_depth(instance->w2c_kernel_instance)";

/// Functions whose translation begins with the macro `PGL_NATIVE_NAME` of `rt.h`: the host's C library has them for wide registers, and its processor an instruction for
/// the checksum. What the macro does not answer, the translated code does.
const NATIVE: [&str; 6] = [
    "memcmp",
    "bcmp",
    "memchr",
    "strlen",
    "strcmp",
    "pg_comp_crc32c_sb8",
];

/// How often each change was made.
#[derive(Debug, Default)]
pub(super) struct Made {
    bases: usize,
    arguments: usize,
    pub(super) atomics: usize,
    indirect: usize,
    pub(super) fences: usize,
    pointers: usize,
    loads: usize,
    natives: usize,
}

/// Rewrites all C of module `name` in `dir`; `counts` is what its wasm contains.
pub(super) fn directory(dir: &Path, name: &str, counts: Counts) -> Result<()> {
    let mut made = Made::default();
    // Constant data lies in the binary as it lies in memory, so that its pages can be mapped from there.
    let constants = format!("\nconst u8 data_segment_data_w2c_{name}_0x2Erodata[] = {{");
    let mut aligned = 0;
    for path in sorted(dir, "c")? {
        change(&path, |text| {
            aligned += text.matches(&constants).count();
            let line = constants.trim_start();
            source(
                &text.replace(&constants, &format!("\nPGL_PAGE_ALIGNED {line}")),
                &mut made,
            )
        })?;
    }
    change(&dir.join(format!("{name}-impl.h")), |text| {
        header(text, &mut made)
    })?;
    if made.bases == 0
        || made.arguments == 0
        || made.indirect == 0
        || made.pointers == 0
        || made.loads == 0
        || ((aligned, made.natives) != (1, NATIVE.len()) && name == super::MODULES[0])
    {
        bail!("the translator's output is not as expected: {made:?}");
    }
    if (made.atomics, made.fences) != (counts.accesses, counts.fences) {
        bail!(
            "{counts:?} in the module, but {} accesses and {} fences in its translation",
            made.atomics,
            made.fences
        );
    }
    Ok(())
}

fn change(path: &Path, run: impl FnOnce(&str) -> Result<String>) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let text = run(&text).with_context(|| format!("rewriting {}", path.display()))?;
    fs::write(path, text)?;
    Ok(())
}

pub(super) fn source(text: &str, made: &mut Made) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut native = None;
    for line in text.lines() {
        let code = line.trim_start();
        if let Some(name) = native_name(line) {
            native = Some(name);
        }
        match code {
            "FUNC_PROLOGUE;" => {
                if let Some(name) = native.take() {
                    made.natives += 1;
                    out.push_str(&format!("  FUNC_PROLOGUE;\n  PGL_NATIVE_{name}\n"));
                    continue;
                }
            }
            BASE => {
                made.bases += 1;
                out.push_str("  uint8_t* const wasm_rt_local_memory_base = PGL_BASE(instance);\n");
                continue;
            }
            SIZE => {
                out.push_str("  const uint64_t wasm_rt_local_memory_size = PGL_MEMORY_SIZE;\n");
                continue;
            }
            SIZE_AGAIN => continue,
            "atomic_fence();" => made.fences += 1,
            _ => {}
        }
        let line = line.replace(DEPTH, "pgl_stack_depth(instance)");
        let mut line = line.replace(ARGUMENT, "wasm_rt_local_memory_size, NULL, ");
        made.arguments += usize::from(line.contains("wasm_rt_local_memory_size, NULL, "));
        // SIMD's loads of single lanes come in the form that looks the memory's size up; guards do as for all others.
        if line.contains(GENERAL) {
            line = line
                .replace(GENERAL, &format!("_default32{GENERAL}"))
                .replace("_default32_default32(", "_default32(");
        }
        if line.contains("_atomic_") && line.contains("_default32(") {
            made.atomics += line.matches("_default32(").count();
            line = line.replace("_default32(", "_shared_default32(");
        }
        line = line.replace(
            "memory_fill(instance->w2c_env_memory, ",
            "pgl_memory_fill(PGL_BASE(instance), ",
        );
        line = line.replace(
            "memory_copy(instance->w2c_env_memory, instance->w2c_env_memory, ",
            "pgl_memory_copy(PGL_BASE(instance), ",
        );
        if line.contains("].module_instance") {
            line = own_instance(&line)?;
            made.indirect += 1;
        }
        let defines = line.starts_with("static inline ");
        if line.contains("(instance->w2c_env_memory)->")
            || (line.contains(" memory_fill(") && !defines)
            || (line.contains(" memory_copy(") && !defines)
        {
            bail!("this access to memory is not known: {}", line.trim());
        }
        out.push_str(&line);
        out.push('\n');
    }
    Ok(out)
}

/// The function of `NATIVE` whose definition begins with this line: `u32 w2c_MODULE_NAME(w2c_MODULE* instance, ...) {`.
fn native_name(line: &str) -> Option<&'static str> {
    let (function, rest) = line.strip_prefix("u32 w2c_")?.split_once("(w2c_")?;
    let (module, parameters) = rest.split_once("* instance, ")?;
    let name = function.strip_prefix(module)?.strip_prefix('_')?;
    let name = NATIVE.into_iter().find(|native| *native == name)?;
    parameters.ends_with(" {").then_some(name)
}

/// `instance->w2c_T0.data[EXPRESSION].module_instance` becomes `instance`.
fn own_instance(line: &str) -> Result<String> {
    const END: &str = "].module_instance";
    const START: &str = "instance->w2c_T0.data[";
    let mut line = line.to_owned();
    while let Some(end) = line.find(END) {
        let start = line[..end]
            .rfind(START)
            .with_context(|| format!("an indirect call through another table: {}", line.trim()))?;
        line.replace_range(start..end + END.len(), "instance");
    }
    Ok(line)
}

/// The shared forms of the atomics compute their addresses from the memory's structure; ours is never there.
pub(super) fn header(text: &str, made: &mut Made) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let mut line = line.to_owned();
        if line.contains(LOAD) {
            line = line.replace(LOAD, "pgl_load_data(MEM_ADDR(&m, o, s), o, i, s);");
            made.loads += 1;
        }
        if line.contains("_Atomic volatile") && line.contains("MEM_ADDR(") {
            line = line.replace("MEM_ADDR(", "MEM_ADDR_MEMOP(");
            made.pointers += 1;
        }
        out.push_str(&line);
        out.push('\n');
    }
    if out.contains("_Atomic volatile t1*)MEM_ADDR(") {
        bail!("an atomic access was missed");
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn native_functions_come_first() {
        let function = "u32 w2c_some_memcmp(w2c_some* instance, u32 var_p0, u32 var_p1) {";
        assert_eq!(native_name(function), Some("memcmp"));
        assert_eq!(native_name(&function.replace(" {", ";")), None);
        assert_eq!(native_name(&function.replace("memcmp", "wmemcmp")), None);
        let mut made = Made::default();
        let text = format!(
            "{function}\n  FUNC_PROLOGUE;\n  a = 1;\n}}\nvoid w2c_some_b(w2c_some* instance) {{\n  FUNC_PROLOGUE;\n"
        );
        let out = source(&text, &mut made).unwrap();
        assert_eq!(made.natives, 1);
        assert!(
            out.contains("  FUNC_PROLOGUE;\n  PGL_NATIVE_memcmp\n  a = 1;"),
            "{out}"
        );
        assert_eq!(out.matches("PGL_NATIVE").count(), 1);
    }

    #[test]
    fn loads_of_lanes_need_no_memory() {
        let text = "\
    var_o0 = v128_load64_zero(wasm_rt_local_memory_base, wasm_rt_local_memory_size, instance->w2c_env_memory, (u64)(var_i0));
    var_o1 = v128_load_default32(wasm_rt_local_memory_base, wasm_rt_local_memory_size, instance->w2c_env_memory, (u64)(var_i1));
";
        let out = source(text, &mut Made::default()).unwrap();
        assert!(out.contains("v128_load64_zero_default32(wasm_rt"), "{out}");
        assert!(out.contains(" v128_load_default32(wasm_rt"), "{out}");
    }

    #[test]
    fn accesses_calls_and_atomics() {
        let text = "\
  uint8_t* const wasm_rt_local_memory_base = (instance->w2c_env_memory)->data;
  uint64_t wasm_rt_local_memory_size = (instance->w2c_env_memory)->size;
    var_i0 = i32_load_default32(wasm_rt_local_memory_base, wasm_rt_local_memory_size, instance->w2c_env_memory, (u64)(var_i0));
    var_i0 = i32_atomic_rmw_cmpxchg_default32(wasm_rt_local_memory_base, wasm_rt_local_memory_size, instance->w2c_env_memory, (u64)(var_i0), var_i1, var_i2);
    var_i0 = CALL_INDIRECT(instance->w2c_T0, u32 (*)(void*), w2c_x_t0, var_i0, instance->w2c_T0.data[var_i0].module_instance);
    wasm_rt_local_memory_size = (instance->w2c_env_memory)->size;
    memory_fill(instance->w2c_env_memory, var_i0, var_i1, var_i2);
  atomic_fence();
";
        let mut made = Made::default();
        let out = source(text, &mut made).unwrap();
        assert_eq!(
            (
                made.bases,
                made.arguments,
                made.atomics,
                made.indirect,
                made.fences
            ),
            (1, 2, 1, 1, 1)
        );
        assert!(!out.contains("w2c_env_memory") && !out.contains("module_instance"));
        assert!(
            out.contains("i32_atomic_rmw_cmpxchg_shared_default32(")
                && out.contains("i32_load_default32(")
        );
        assert!(out.contains("pgl_memory_fill(PGL_BASE(instance), var_i0"));
        assert!(source("  x = (instance->w2c_env_memory)->pages;", &mut made).is_err());
        assert!(
            source(
                "  memory_copy(other, instance->w2c_env_memory, 1, 2, 3);",
                &mut made
            )
            .is_err()
        );
    }
}
