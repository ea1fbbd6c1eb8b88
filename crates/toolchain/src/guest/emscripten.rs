//! Side modules that Emscripten has linked, as PGlite's extensions are published on npm, made ours.
//!
//! They are `dylink.0` modules too, of the same PostgreSQL with the same C types (xtask checks each function's signature, PostgreSQL its magic block), but for what follows.
//!
//! - **Addresses inside the module** are not constants: a start function computes them. It is evaluated here ([`Module::step`]), and taken out.
//! - **setjmp** is Emscripten's older one. A function that calls it makes its other calls through `invoke_SIGNATURE`, which JavaScript provides: it calls, catches a longjmp, and leaves
//!   its buffer and value in `__THREW__` and `__threwValue` for the caller to look at. Here each is a C function around the try of our runtime (`guest/extensions/invoke.c.in`).
//!   Buffer, label and invocation are the same in both forms, so an error that is thrown in the server lands in such a function, and the other way.
//! - **Functions of its own** that it takes the address of by name: they get a slot each, as all that it exports.
//! - **The list of its symbols** for `dlsym`, which our own modules carry in their data ([`super::library()`]), is written behind its data when it is put into the image.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use wasm_encoder::{CodeSection, ConstExpr, Function, GlobalSection, TypeSection};
use wasmparser::{ExternalKind, FuncType, Operator, Parser, Payload, TypeRef, ValType};

use super::GuestCtx;
use super::core::{Names, copy_section};
use super::library::{HOST_CALLS, Shape, shape};
use super::side::{Place, Server, Side};

/// Changes when the recipe's result does.
pub(super) const VERSION: u32 = 2;

/// The C function of an `invoke_SIGNATURE`, relative to `guest`.
pub(super) const TEMPLATE: &str = "extensions/invoke.c.in";

/// Functions of Emscripten's setjmp besides `invoke_...`. `__wasm_setjmp` is the server's, too, but there a macro of `setjmp.h` has cleared the flag for a signal mask before.
const SETJMP: &[&str] = &[
    "emscripten_longjmp",
    "setTempRet0",
    "getTempRet0",
    "__wasm_setjmp",
];
/// Its variables, in the order in which we lay them behind the module's data; the last one is only ours.
const WORDS: &[&str] = &["__THREW__", "__threwValue", "tempRet0"];
const INVOKE: &str = "invoke_";

/// What is behind the data of a module that others have linked, and what the glue has to provide for it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Foreign {
    /// What `dlsym` finds: names, and the indices of their types. Each gets a slot behind the module's own.
    pub symbols: Vec<(String, u32)>,
    /// Slots that the module itself fills.
    own_slots: u32,
    /// Where the words of setjmp lie, relative to its data.
    words: u32,
    /// Index of the type of what each `invoke_...` calls.
    invokes: BTreeMap<String, u32>,
}

impl Foreign {
    /// Where the variable lies, relative to the module's data, if it is one of setjmp.
    pub(super) fn word(&self, name: &str) -> Option<u32> {
        let index = WORDS.iter().position(|word| *word == name)?;
        Some(self.words + 4 * u32::try_from(index).ok()?)
    }

    /// The slot of a function of its own, relative to its table base.
    pub(super) fn slot(&self, name: &str) -> Option<u32> {
        let index = self.symbols.iter().position(|(symbol, _)| symbol == name)?;
        Some(self.own_slots + u32::try_from(index).ok()?)
    }

    /// Our name for a function that the glue provides.
    pub(super) fn provided(module: &str, name: &str) -> Option<String> {
        (SETJMP.contains(&name) || name.starts_with(INVOKE))
            .then(|| format!("pgl_{module}_{}", name.trim_start_matches('_')))
    }
}

/// Turns the module at `source` into `NAME.wasm` with its shape in `out`, as [`super::library()`] would have made them.
pub fn adopt(ctx: &GuestCtx<'_>, name: &str, source: &Path, out: &Path) -> Result<()> {
    ctx.bar.message("adopting");
    let bytes = fs::read(source).with_context(|| format!("reading {}", source.display()))?;
    let (wasm, shape) =
        convert(name, &bytes).with_context(|| format!("in {}", source.display()))?;
    fs::write(out.join(format!("{name}.wasm")), wasm)?;
    fs::write(out.join("shape.json"), serde_json::to_vec_pretty(&shape)?)?;
    Ok(())
}

fn convert(name: &str, bytes: &[u8]) -> Result<(Vec<u8>, Shape)> {
    let mut module = Module::read(bytes)?;
    let mut foreign = Foreign {
        symbols: std::mem::take(&mut module.symbols),
        ..Foreign::default()
    };
    for (invoke, ty) in std::mem::take(&mut module.invokes) {
        foreign.invokes.insert(invoke, module.called(ty)?);
    }
    let wasm = module.write(bytes)?;

    let mut shape = shape(&wasm, false)?;
    foreign.own_slots = shape.table_size;
    foreign.words = shape.data_size.next_multiple_of(8);
    shape.entry = foreign.words + 4 * u32::try_from(WORDS.len())?;
    shape.data_size = shape.entry + tables(name, &foreign.symbols, 0, 0).size()?;
    shape.data_align = shape.data_align.max(8);
    shape.table_size += u32::try_from(foreign.symbols.len())?;
    shape
        .functions
        .retain(|function| Foreign::provided("", function).is_none());
    shape.data.retain(|word| foreign.word(word).is_none());
    shape
        .addresses
        .retain(|function| foreign.slot(function).is_none());
    shape.foreign = Some(foreign);
    Ok((wasm, shape))
}

/// What is read of a module before it is written anew.
#[derive(Default)]
struct Module {
    types: Vec<FuncType>,
    /// Type of each function, imported ones first.
    functions: Vec<u32>,
    imported: u32,
    /// Of imported globals: the names.
    bases: Vec<String>,
    /// Of its own: the initial values, then what the start function makes of them.
    globals: Vec<Value>,
    start: Option<u32>,
    symbols: Vec<(String, u32)>,
    invokes: Vec<(String, u32)>,
}

/// A value that is known but for the module's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Value {
    /// An imported global to add, `__memory_base` or `__table_base`.
    base: Option<u32>,
    offset: u32,
}

impl Module {
    fn read(bytes: &[u8]) -> Result<Self> {
        let mut module = Self::default();
        let mut body = 0;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::TypeSection(section) => {
                    for ty in section.into_iter_err_on_gc_types() {
                        module.types.push(ty?);
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import?;
                        match import.ty {
                            TypeRef::Func(ty) => {
                                module.functions.push(ty);
                                module.imported += 1;
                                if import.name.starts_with(INVOKE) {
                                    module.invokes.push((import.name.to_owned(), ty));
                                }
                            }
                            TypeRef::Global(_) => module.bases.push(import.name.to_owned()),
                            _ => {}
                        }
                    }
                }
                Payload::FunctionSection(section) => {
                    for ty in section {
                        module.functions.push(ty?);
                    }
                }
                Payload::GlobalSection(section) => {
                    for global in section {
                        let mut stack = Vec::new();
                        for operator in global?.init_expr.get_operators_reader() {
                            module.step(&operator?, &mut stack)?;
                        }
                        let [value] = stack[..] else {
                            bail!("a global with an initial value that is not known");
                        };
                        module.globals.push(value);
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export?;
                        if export.kind == ExternalKind::Func && !HOST_CALLS.contains(&export.name) {
                            let ty = module.functions.get(export.index as usize);
                            let ty = *ty.context("an exported function")?;
                            module.symbols.push((export.name.to_owned(), ty));
                        }
                    }
                }
                Payload::StartSection { func, .. } => module.start = Some(func),
                Payload::CodeSectionEntry(code) => {
                    if module.start == Some(module.imported + body) {
                        let mut stack = Vec::new();
                        for operator in code.get_operators_reader()? {
                            module.step(&operator?, &mut stack)?;
                        }
                    }
                    body += 1;
                }
                _ => {}
            }
        }
        module.symbols.sort();
        Ok(module)
    }

    /// One instruction of a start function, or of a global's initial value: sums, which go to the module's own globals. What else there may be is clearing the part of its data
    /// that is zero from the beginning.
    fn step(&mut self, operator: &Operator<'_>, stack: &mut Vec<Value>) -> Result<()> {
        let unknown = "a start function that does more than to compute addresses";
        match operator {
            Operator::I32Const { value } => stack.push(Value {
                base: None,
                offset: value.cast_unsigned(),
            }),
            Operator::GlobalGet { global_index } => {
                let name = self.bases.get(*global_index as usize);
                if !name.is_some_and(|name| name == "__memory_base" || name == "__table_base") {
                    bail!("{unknown}: it reads global {global_index}");
                }
                stack.push(Value {
                    base: Some(*global_index),
                    offset: 0,
                });
            }
            Operator::I32Add => {
                let (right, left) = (stack.pop().context(unknown)?, stack.pop().context(unknown)?);
                if left.base.is_some() && right.base.is_some() {
                    bail!("{unknown}: it adds two bases");
                }
                stack.push(Value {
                    base: left.base.or(right.base),
                    offset: left.offset.wrapping_add(right.offset),
                });
            }
            Operator::GlobalSet { global_index } => {
                let value = stack.pop().context(unknown)?;
                let own = (*global_index as usize).checked_sub(self.bases.len());
                *own.and_then(|own| self.globals.get_mut(own))
                    .context(unknown)? = value;
            }
            Operator::MemoryFill { .. } => {
                let (_length, byte) = (stack.pop(), stack.pop());
                let nothing = Some(Value {
                    base: None,
                    offset: 0,
                });
                stack.pop();
                if byte != nothing {
                    bail!("{unknown}: it fills memory with {byte:?}");
                }
            }
            Operator::End => {}
            other => bail!("{unknown}: {other:?}"),
        }
        Ok(())
    }

    /// The type of what an `invoke_...` of type `ty` calls: the same without the first parameter, which is the slot.
    fn called(&mut self, ty: u32) -> Result<u32> {
        let ty = self.types.get(ty as usize).context("a type")?;
        let [ValType::I32, parameters @ ..] = ty.params() else {
            bail!("an {INVOKE} function without a slot");
        };
        let wanted = FuncType::new(parameters.iter().copied(), ty.results().iter().copied());
        let index = match self.types.iter().position(|ty| *ty == wanted) {
            Some(index) => index,
            None => {
                self.types.push(wanted);
                self.types.len() - 1
            }
        };
        Ok(u32::try_from(index)?)
    }

    /// The module with constant globals and without its start function.
    fn write(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        let mut module = wasm_encoder::Module::new();
        let (mut code, mut bodies) = (CodeSection::new(), 0);
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload?;
            match &payload {
                Payload::TypeSection(_) => {
                    let mut types = TypeSection::new();
                    for ty in &self.types {
                        types
                            .ty()
                            .function(encoded(ty.params())?, encoded(ty.results())?);
                    }
                    module.section(&types);
                    continue;
                }
                Payload::GlobalSection(_) => {
                    let mut globals = GlobalSection::new();
                    for global in &self.globals {
                        let ty = wasm_encoder::GlobalType {
                            val_type: wasm_encoder::ValType::I32,
                            mutable: false,
                            shared: false,
                        };
                        let offset = global.offset.cast_signed();
                        let value = match global.base {
                            Some(base) => ConstExpr::global_get(base)
                                .with_i32_const(offset)
                                .with_i32_add(),
                            None => ConstExpr::i32_const(offset),
                        };
                        globals.global(ty, &value);
                    }
                    module.section(&globals);
                    continue;
                }
                Payload::StartSection { .. } | Payload::CodeSectionStart { .. } => continue,
                Payload::CodeSectionEntry(body) => {
                    if self.start == Some(self.imported + bodies) {
                        let mut empty = Function::new([]);
                        empty.instructions().end();
                        code.function(&empty);
                    } else {
                        code.raw(body.as_bytes());
                    }
                    bodies += 1;
                    if self.functions.len() == (self.imported + bodies) as usize {
                        module.section(&code);
                    }
                    continue;
                }
                _ => {}
            }
            copy_section(&mut module, &payload, bytes)?;
        }
        Ok(module.finish())
    }
}

fn encoded(types: &[ValType]) -> Result<Vec<wasm_encoder::ValType>> {
    types
        .iter()
        .map(|ty| {
            Ok(match ty {
                ValType::I32 => wasm_encoder::ValType::I32,
                ValType::I64 => wasm_encoder::ValType::I64,
                ValType::F32 => wasm_encoder::ValType::F32,
                ValType::F64 => wasm_encoder::ValType::F64,
                other => bail!("a function with a parameter or result of type {other}"),
            })
        })
        .collect()
}

/// Size of `struct guest_linked_library` (`guest/port/dl_table.h`).
const ENTRY: u32 = 12;

/// What `dlopen` and `dlsym` read, from the list entry on.
struct Tables {
    words: Vec<u32>,
    names: Vec<u8>,
}

impl Tables {
    /// In bytes.
    fn size(&self) -> Result<u32> {
        Ok(u32::try_from(self.words.len() * 4 + self.names.len())?)
    }
}

/// The tables for an entry at `address`, with the symbols' slots from `slot` on.
fn tables(name: &str, symbols: &[(String, u32)], address: u32, slot: u32) -> Tables {
    let name_at = |names: &mut Vec<u8>, name: &str| {
        let at = names.len();
        names.extend_from_slice(name.as_bytes());
        names.push(0);
        u32::try_from(at).unwrap_or(u32::MAX)
    };
    // The entry, the symbols, and the one that ends them.
    let count = u32::try_from(symbols.len()).unwrap_or(u32::MAX);
    let names_begin = address + ENTRY + 8 * (count + 1);
    let mut names = Vec::new();
    let mut words = vec![names_begin + name_at(&mut names, name), address + ENTRY, 0];
    for ((symbol, _), slot) in symbols.iter().zip(slot..) {
        words.extend([names_begin + name_at(&mut names, symbol), slot]);
    }
    words.extend([0, 0]);
    Tables { words, names }
}

/// A function that the glue provides: the module's name for it, ours, and its signature.
pub(super) type Provided = (String, String, String);

/// What is appended to a module's translation before its descriptor: the provided functions. And what its instantiation does first: the symbols' slots and the list of them.
pub(super) fn glue(
    ctx: &GuestCtx<'_>,
    side: Side<'_>,
    (foreign, place): (&Foreign, Place),
    module: &str,
    server: Server<'_>,
    provided: &[Provided],
    exports: &Names,
) -> Result<(String, String)> {
    let base = place.memory_base;
    let words = base + foreign.words;
    let template = fs::read_to_string(ctx.guest.join(TEMPLATE))?;
    let server_name = |name: &str| {
        let found = server.names.functions.get(name);
        found
            .map(|name| &name.c)
            .with_context(|| format!("the translated server has no {name}"))
    };
    let longjmp = server_name("__wasm_longjmp")?;
    let setjmp = server_name("__wasm_setjmp")?;
    let mut text = format!(
        "\nvoid {longjmp}(struct w2c_env *, u32, u32);\nvoid {setjmp}(struct w2c_env *, u32, u32, u32);\n"
    );
    for (name, c, signature) in provided {
        let body = match name.as_str() {
            "emscripten_longjmp" => format!(
                "void {c}(struct w2c_env *env, u32 buffer, u32 value)\n{{\n\t{longjmp}(env, buffer, value);\n}}\n"
            ),
            // No signal mask is kept: __fl, behind the six words of __jmp_buf, is zero.
            "__wasm_setjmp" => format!(
                "void {c}(struct w2c_env *env, u32 buffer, u32 label, u32 invocation)\n{{\n\tmemset(PGL_BASE(env) + buffer + 24, 0, 4);\n\t{setjmp}(env, buffer, label, invocation);\n}}\n"
            ),
            "setTempRet0" => format!(
                "void {c}(struct w2c_env *env, u32 value)\n{{\n\tmemcpy(PGL_BASE(env) + {}u, &value, 4);\n}}\n",
                words + 8
            ),
            "getTempRet0" => format!(
                "u32 {c}(struct w2c_env *env)\n{{\n\tu32 value;\n\n\tmemcpy(&value, PGL_BASE(env) + {}u, 4);\n\treturn value;\n}}\n",
                words + 8
            ),
            invoke => {
                let ty = foreign.invokes.get(invoke).context("an unknown function")?;
                self::invoke(&template, c, signature, &format!("w2c_{module}_t{ty}"))?
                    .replace("@TAG@", &server.names.tag)
                    .replace("@WORDS@", &format!("{words}u"))
            }
        };
        text.push_str(&body);
    }
    let first = place.table_base + foreign.own_slots;
    let mut before = String::new();
    for ((symbol, ty), slot) in foreign.symbols.iter().zip(first..) {
        let name = exports
            .functions
            .get(symbol)
            .context("an exported function")?;
        let _ = writeln!(
            before,
            "\tPGL_MAIN(instance)->w2c_T0.data[{slot}] = (wasm_rt_funcref_t){{.func_type = w2c_{module}_t{ty}, .func = (wasm_rt_function_ptr_t){}}};",
            name.c
        );
    }
    let address = base + side.shape.entry;
    let tables = tables(side.name, &foreign.symbols, address, first);
    let list = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(", ");
    let _ = write!(
        text,
        "\nstatic const uint32_t pgl_symbols[] = {{{}}};\nstatic const char pgl_names[] = {{{}}};\n",
        list(&mut tables.words.iter().map(|word| format!("{word}u"))),
        list(&mut tables.names.iter().map(u8::to_string)),
    );
    let _ = write!(
        before,
        "\tmemcpy(base + {address}u, pgl_symbols, sizeof pgl_symbols);\n\tmemcpy(base + {address}u + sizeof pgl_symbols, pgl_names, sizeof pgl_names);\n"
    );
    Ok((text, before))
}

/// The C of an `invoke_...` with the given signature: `u32(, u32, f64)`, where the first parameter is the slot.
fn invoke(template: &str, name: &str, signature: &str, ty: &str) -> Result<String> {
    let (result, parameters) = signature.split_once("(, u32").context("a slot to call")?;
    let types = parameters.strip_suffix(')').context("a signature")?;
    let (mut declared, mut arguments) = (String::new(), String::new());
    for (number, ty) in types.split(", ").skip(1).enumerate() {
        let _ = write!(declared, ", {ty} a{number}");
        let _ = write!(arguments, ", a{number}");
    }
    let (keep, kept, nothing) = match result {
        "void" => (String::new(), "", ""),
        _ => (format!("{result} result = "), " result", " 0"),
    };
    Ok(template
        .replace("@RESULT@", result)
        .replace("@NAME@", name)
        .replace("@PARAMETERS@", &declared)
        .replace("@TYPES@", types)
        .replace("@TYPE@", ty)
        .replace("@ARGUMENTS@", &arguments)
        .replace("@KEEP@", &keep)
        .replace("@KEPT@", kept)
        .replace("@NOTHING@", nothing))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_encoder::{
        EntityType, ExportKind, ExportSection, FunctionSection, GlobalType, ImportSection,
        Instruction, MemoryType, StartSection, ValType as Type,
    };

    /// A module as Emscripten links it; its start function is made of `start`.
    fn module(start: &[Instruction<'_>]) -> Vec<u8> {
        let mut module = wasm_encoder::Module::new();
        // A memory of 100 bytes at 2^2, a table of 3 slots.
        module.section(&wasm_encoder::CustomSection {
            name: "dylink.0".into(),
            data: (&[1, 4, 100, 2, 3, 0][..]).into(),
        });
        let mut types = TypeSection::new();
        types.ty().function([], []);
        types.ty().function([Type::I32, Type::F64], [Type::I32]);
        module.section(&types);
        let mut imports = ImportSection::new();
        let memory = MemoryType {
            minimum: 1,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        };
        let global = |mutable| {
            EntityType::Global(GlobalType {
                val_type: Type::I32,
                mutable,
                shared: false,
            })
        };
        imports.import("env", "memory", memory);
        imports.import("env", "__memory_base", global(false));
        imports.import("env", "__table_base", global(false));
        imports.import("GOT.mem", "__THREW__", global(true));
        imports.import("GOT.mem", "work_mem", global(true));
        imports.import("GOT.func", "own", global(true));
        imports.import("env", "invoke_id", EntityType::Function(1));
        imports.import("env", "palloc", EntityType::Function(1));
        module.section(&imports);
        let mut functions = FunctionSection::new();
        functions.function(0).function(0);
        module.section(&functions);
        let mut globals = GlobalSection::new();
        for initial in [4, 7] {
            let ty = GlobalType {
                val_type: Type::I32,
                mutable: true,
                shared: false,
            };
            globals.global(ty, &ConstExpr::i32_const(initial));
        }
        module.section(&globals);
        let mut exports = ExportSection::new();
        exports.export("own", ExportKind::Func, 3);
        exports.export("__wasm_call_ctors", ExportKind::Func, 3);
        module.section(&exports);
        module.section(&StartSection { function_index: 2 });
        let mut code = CodeSection::new();
        let mut function = Function::new([]);
        for instruction in start {
            function.instruction(instruction);
        }
        code.function(&function);
        let mut empty = Function::new([]);
        empty.instructions().end();
        code.function(&empty);
        module.section(&code);
        module.finish()
    }

    const START: &[Instruction<'static>] = &[
        Instruction::GlobalGet(1),
        Instruction::I32Const(4),
        Instruction::I32Add,
        Instruction::GlobalSet(5),
        Instruction::GlobalGet(0),
        Instruction::I32Const(90),
        Instruction::I32Add,
        Instruction::I32Const(0),
        Instruction::I32Const(10),
        Instruction::MemoryFill(0),
        Instruction::End,
    ];

    #[test]
    fn a_module_is_read_and_what_is_ours_to_provide_is_known() {
        let (wasm, shape) = convert("lib", &module(START)).unwrap();
        assert_eq!(shape.functions, ["palloc".to_owned()].into());
        assert_eq!(shape.data, ["work_mem".to_owned()].into());
        assert!(shape.addresses.is_empty());
        assert_eq!(shape.calls, ["__wasm_call_ctors"]);
        let foreign = shape.foreign.unwrap();
        // Its own slots, then one for what it exports.
        assert_eq!((shape.table_size, foreign.slot("own")), (4, Some(3)));
        assert_eq!(foreign.slot("palloc"), None);
        // Behind 100 bytes of data: the words, the entry, two times two words, two names.
        assert_eq!(foreign.word("__THREW__"), Some(104));
        assert_eq!(foreign.word("__threwValue"), Some(108));
        assert_eq!(shape.entry, 116);
        assert_eq!(shape.data_size, 116 + 12 + 16 + 8);
        // (f64) -> i32 was not among its types.
        assert_eq!(foreign.invokes["invoke_id"], 2);

        let again = Module::read(&wasm).unwrap();
        assert_eq!(again.start, None);
        let at = |base, offset| Value { base, offset };
        assert_eq!(again.globals, [at(Some(1), 4), at(None, 7)]);
        assert_eq!(again.types.len(), 3);
    }

    #[test]
    fn a_start_function_that_does_more_is_refused() {
        let error = |start: &[Instruction<'_>]| {
            format!("{:#}", convert("lib", &module(start)).unwrap_err())
        };
        let call = [Instruction::Call(3), Instruction::End];
        assert!(error(&call).contains("does more than to compute addresses: Call"));
        let read = [
            Instruction::GlobalGet(3),
            Instruction::GlobalSet(5),
            Instruction::End,
        ];
        assert!(error(&read).contains("reads global 3"));
        let fill = [
            Instruction::I32Const(0),
            Instruction::I32Const(1),
            Instruction::I32Const(10),
            Instruction::MemoryFill(0),
            Instruction::End,
        ];
        assert!(error(&fill).contains("fills memory"));
    }

    #[test]
    fn invocations_have_the_types_of_what_they_call() {
        let template = "@RESULT@ @NAME@(env, u32 slot@PARAMETERS@) { @KEEP@(@TYPES@; @TYPE@)@ARGUMENTS@; return@KEPT@ or@NOTHING@ }";
        assert_eq!(
            invoke(template, "f", "u32(, u32, u64, f64)", "t").unwrap(),
            "u32 f(env, u32 slot, u64 a0, f64 a1) { u32 result = (, u64, f64; t), a0, a1; return result or 0 }"
        );
        assert_eq!(
            invoke(template, "f", "void(, u32)", "t").unwrap(),
            "void f(env, u32 slot) { (; t); return or }"
        );
        assert!(invoke(template, "f", "void()", "t").is_err());
    }

    #[test]
    fn the_list_of_symbols_points_into_itself() {
        let symbols = [("a".to_owned(), 0), ("bc".to_owned(), 1)];
        let found = tables("lib", &symbols, 1000, 50);
        // The entry is 12 bytes, three symbols of 8, then the names.
        assert_eq!(
            found.words,
            [1036, 1012, 0, 1036 + 4, 50, 1036 + 6, 51, 0, 0]
        );
        assert_eq!(found.names, b"lib\0a\0bc\0");
        assert_eq!(found.size().unwrap(), 36 + 9);
    }
}
