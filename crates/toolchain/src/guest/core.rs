//! What the linked main module offers to side modules: its functions, its data, the slots of its table.
//!
//! The link exports every global symbol. Here the export section is read, kept as a [`Core`], and cut down to what the machine needs: wasm2c takes minutes for thousands of
//! exports, and gives exported functions other names in C, where the profile looks for them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use wasm_encoder::{ExportKind, ExportSection, Module, RawSection};
use wasmparser::{ElementItems, ElementKind, ExternalKind, Operator, Parser, Payload, TypeRef};

use super::fences;
use super::side::prototype;

/// Exports that the machine needs, under their own names.
const KEPT: &[&str] = &["guest_start", "guest_fork_child", "__heap_base"];

/// The main module as its side modules see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Core {
    /// Addresses of global data.
    pub data: BTreeMap<String, u32>,
    /// Global functions by name, with their index.
    pub functions: BTreeMap<String, u32>,
    /// Slots of the table by the function in it.
    pub slots: BTreeMap<u32, u32>,
    /// Type index of each function, imported ones first.
    pub types: Vec<u32>,
    /// Imported functions.
    pub imported: u32,
    /// Size of its table.
    pub table: u32,
    /// Where its data begins: side modules' data must end before.
    pub data_start: u32,
}

impl Core {
    /// Reads what `extract` wrote.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        Ok(serde_json::from_slice(&bytes)?)
    }
}

/// Takes the symbols out of a linked module: writes them to `core`, and the module with its exports rewritten.
pub(super) fn extract(wasm: &Path, core: &Path, data_start: u32) -> Result<()> {
    let bytes = fs::read(wasm).with_context(|| format!("reading {}", wasm.display()))?;
    let mut found = Core {
        data_start,
        ..Core::default()
    };
    let mut globals: Vec<Option<u32>> = Vec::new();
    let mut module = Module::new();
    for payload in Parser::new(0).parse_all(&bytes) {
        let payload = payload?;
        match &payload {
            Payload::ImportSection(section) => {
                for import in section.clone().into_imports() {
                    match import?.ty {
                        TypeRef::Func(index) => {
                            found.types.push(index);
                            found.imported += 1;
                        }
                        TypeRef::Global(_) => globals.push(None),
                        _ => {}
                    }
                }
            }
            Payload::FunctionSection(section) => {
                for index in section.clone() {
                    found.types.push(index?);
                }
            }
            Payload::TableSection(section) => {
                for table in section.clone() {
                    found.table = u32::try_from(table?.ty.initial)?;
                }
            }
            Payload::GlobalSection(section) => {
                for global in section.clone() {
                    let global = global?;
                    let value = fences::constant(&global.init_expr)?;
                    globals.push(value.filter(|_| !global.ty.mutable));
                }
            }
            Payload::ElementSection(section) => {
                for element in section.clone() {
                    let element = element?;
                    let ElementKind::Active { offset_expr, .. } = element.kind else {
                        bail!("an element segment that is not active");
                    };
                    let Operator::I32Const { value } = offset_expr.get_operators_reader().read()?
                    else {
                        bail!("an element segment without a constant offset");
                    };
                    let ElementItems::Functions(items) = element.items else {
                        bail!("an element segment of expressions");
                    };
                    for (slot, function) in (value.cast_unsigned()..).zip(items) {
                        found.slots.entry(function?).or_insert(slot);
                    }
                }
            }
            Payload::ExportSection(section) => {
                let mut exports = ExportSection::new();
                for export in section.clone() {
                    let export = export?;
                    let kept = KEPT.contains(&export.name);
                    match export.kind {
                        ExternalKind::Func => {
                            found.functions.insert(export.name.to_owned(), export.index);
                            if kept {
                                exports.export(export.name, ExportKind::Func, export.index);
                            }
                        }
                        ExternalKind::Global => {
                            if kept {
                                exports.export(export.name, ExportKind::Global, export.index);
                            }
                            if let Some(Some(address)) = globals.get(export.index as usize) {
                                found.data.insert(export.name.to_owned(), *address);
                            }
                        }
                        _ => {}
                    }
                }
                module.section(&exports);
                continue;
            }
            _ => {}
        }
        copy_section(&mut module, &payload, &bytes)?;
    }
    if found.functions.len() < 2 || found.data.is_empty() || found.slots.is_empty() {
        bail!("{} exports too little", wasm.display());
    }
    fs::write(core, serde_json::to_vec(&found)?)?;
    fs::write(wasm, module.finish())?;
    Ok(())
}

/// Copies a section as it is. The bodies of the code section are announced one by one; the section itself is copied as a whole.
pub(super) fn copy_section(module: &mut Module, payload: &Payload<'_>, bytes: &[u8]) -> Result<()> {
    if let Some((id, range)) = payload.as_section() {
        let range = usize::try_from(range.start)?..usize::try_from(range.end)?;
        module.section(&RawSection {
            id,
            data: &bytes[range],
        });
    }
    Ok(())
}

/// A function of the translated C.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    /// Its name.
    pub c: String,
    /// Its type, without the instance: `u32(, u32)`.
    pub signature: String,
}

impl Name {
    /// Its declaration, with `first` as the type of the instance.
    pub(super) fn prototype(&self, first: &str) -> String {
        let (result, parameters) = self.signature.split_once('(').unwrap_or_default();
        format!("{result} {}({first}{parameters}", self.c)
    }
}

/// The names under which the translated C has the main module's functions and types.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Names {
    /// C functions by exported name.
    pub functions: BTreeMap<String, Name>,
    /// C constants of function types, by their text.
    pub types: BTreeMap<String, String>,
    /// The C object whose address is the tag of longjmp.
    pub tag: String,
}

impl Names {
    /// Reads what `take_names` wrote.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        Ok(serde_json::from_slice(&bytes)?)
    }
}

/// Reads the names of the functions that `core` offers from the translated C in `dir`, and writes them to `names`.
///
/// The header declares all functions in the order of the module's. Names that C leaves as they are must be where they are expected, but for some aliases.
pub(super) fn take_names(dir: &Path, module: &str, core: &Core, names: &Path) -> Result<()> {
    let mut found = Names::default();
    for path in super::libc::sorted(dir, "c")? {
        let text = fs::read_to_string(&path)?;
        found.types.extend(
            text.lines()
                .filter_map(func_type)
                .map(|(name, text)| (text.to_owned(), name.to_owned())),
        );
    }
    let header = fs::read_to_string(dir.join(format!("{module}-impl.h")))?;
    found.functions = declared(&header, module, core)?;
    const TAG: &str = "extern const wasm_tag_placeholder_t ";
    let mut tags = header
        .lines()
        .filter_map(|line| line.strip_prefix(TAG)?.strip_suffix(';'));
    found.tag = tags.next().context("the module has no tag")?.to_owned();
    if tags.next().is_some() || found.types.is_empty() {
        bail!(
            "the translator's output is not as expected: {} types, or more than one tag",
            found.types.len()
        );
    }
    fs::write(names, serde_json::to_vec(&found)?)?;
    Ok(())
}

/// At most one in so many functions may be an alias of one that is not offered: the C library has some (`malloc` is `default_malloc`).
const ALIAS_SHARE: usize = 100;

/// The offered functions as the header declares them.
fn declared(header: &str, module: &str, core: &Core) -> Result<BTreeMap<String, Name>> {
    let instance = format!("w2c_{module}*");
    let all: Vec<(String, String)> = header
        .lines()
        .filter_map(|line| prototype(line, &instance))
        .collect();
    let defined = core.types.len() - core.imported as usize;
    if all.len() != defined {
        bail!(
            "the module has {defined} functions, its translation declares {}",
            all.len()
        );
    }
    let mut found = BTreeMap::new();
    let mut elsewhere = Vec::new();
    for (name, index) in &core.functions {
        let (c, signature) = (index.checked_sub(core.imported))
            .and_then(|index| all.get(index as usize))
            .with_context(|| format!("{name} is not defined"))?;
        let plain = name.starts_with(|c: char| c.is_ascii_alphabetic());
        // A second function of the same name gets a number, an alias shares the first one's.
        let alias = core.functions.values().filter(|other| *other == index);
        if plain && alias.count() == 1 {
            let rest = c.strip_prefix(&format!("w2c_{module}_{name}"));
            let number = |rest: &str| {
                rest.strip_prefix('_')
                    .is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))
            };
            if !rest.is_some_and(|rest| rest.is_empty() || number(rest)) {
                elsewhere.push(format!("{c} is where {name} is expected"));
            }
        }
        let (c, signature) = (c.clone(), signature.clone());
        found.insert(name.clone(), Name { c, signature });
    }
    if let Some(first) = elsewhere.first()
        && elsewhere.len() * ALIAS_SHARE > found.len()
    {
        bail!("{first}, and {} more like this", elsewhere.len() - 1);
    }
    Ok(found)
}

/// Takes out the wrappers of exports: what each stood for.
pub(super) fn without_wrappers(text: &str, found: &mut Names) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(name) = line
            .strip_prefix("/* export: '")
            .and_then(|rest| rest.strip_suffix("' */"))
        else {
            out.push_str(line);
            out.push('\n');
            continue;
        };
        let mut callee = None;
        // The export of a global: a function that returns its address.
        let global = lines.next().is_some_and(|line| line.starts_with("u32* "));
        for line in lines.by_ref() {
            if line == "}" {
                break;
            }
            let code = line.trim_start();
            let call = code.split_once(" ret = ").map_or(code, |(_, call)| call);
            if let Some((function, _)) = call.split_once("(instance")
                && function.starts_with("w2c_")
            {
                callee = Some(function.to_owned());
            }
        }
        if global {
            continue;
        }
        let callee = callee.with_context(|| format!("the export {name} calls nothing"))?;
        let name = name.to_owned();
        let signature = String::new();
        found.functions.insert(
            name,
            Name {
                c: callee,
                signature,
            },
        );
    }
    Ok(out)
}

/// The name and the text of a function type's definition.
fn func_type(line: &str) -> Option<(&str, &str)> {
    let rest = line
        .strip_prefix("FUNC_TYPE_EXTERN_T(")
        .or_else(|| line.strip_prefix("FUNC_TYPE_T("))?;
    rest.strip_suffix(';')?.split_once(") = ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappers_become_names() {
        let text = "\
/* export: '__wasm_call_ctors' */
u32 w2c_p_0x5F_wasm_call_ctors(w2c_p* instance, u32 var_p0) {
  u32 ret = w2c_p_0x5F_wasm_call_ctors_0(instance, var_p0);
  return ret;
}

/* export: 'entry' */
u32* w2c_p_entry(w2c_p* instance) {
  return &instance->w2c_entry;
}
int kept;
";
        let mut found = Names::default();
        let out = without_wrappers(text, &mut found).unwrap();
        assert_eq!(
            found.functions["__wasm_call_ctors"].c,
            "w2c_p_0x5F_wasm_call_ctors_0"
        );
        assert_eq!(out.trim(), "int kept;");
        let empty = "/* export: 'a' */\nvoid w2c_p_a(w2c_p* instance) {\n}\n";
        assert!(without_wrappers(empty, &mut found).is_err());
    }

    #[test]
    fn functions_are_declared_in_order_or_it_is_an_error() {
        let header =
            "u32 w2c_p_palloc(w2c_p*, u32);\nvoid w2c_p_init_0(w2c_p*);\nint other(u32);\n";
        let mut core = Core {
            types: vec![9, 1, 2],
            imported: 1,
            ..Core::default()
        };
        core.functions = [("palloc".to_owned(), 1), ("init".to_owned(), 2)].into();
        let found = declared(header, "p", &core).unwrap();
        assert_eq!(found["palloc"].signature, "u32(, u32)");
        assert_eq!(found["init"].c, "w2c_p_init_0");
        core.functions = [("palloc".to_owned(), 2)].into();
        assert!(declared(header, "p", &core).is_err());
        core.types.push(0);
        assert!(declared(header, "p", &core).is_err());
    }
}
