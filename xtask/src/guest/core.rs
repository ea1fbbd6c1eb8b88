//! What the linked main module offers to side modules: its functions, its data, the slots of its table.
//!
//! The link exports every global symbol. Here the export section is read, kept as a [`Core`], and rewritten: data exports would be globals that nobody reads, and a function
//! that is exported under its own name would get another name in the translated C, where the profile looks for it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use wasm_encoder::{ExportKind, ExportSection, RawSection};
use wasmparser::{ElementItems, ElementKind, ExternalKind, Operator, Parser, Payload, TypeRef};

use super::fences;
use super::side::prototype;

/// What exported functions are called instead of their own names.
pub(super) const PREFIX: &str = "x.";
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
    /// Type index of each function.
    pub types: Vec<u32>,
    /// Size of its table.
    pub table: u32,
    /// Where its data begins: side modules' data must end before.
    pub data_start: u32,
}

impl Core {
    /// Reads what [`extract`] wrote.
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
    let mut module = wasm_encoder::Module::new();
    for payload in Parser::new(0).parse_all(&bytes) {
        let payload = payload?;
        match &payload {
            Payload::ImportSection(section) => {
                for import in section.clone().into_imports() {
                    match import?.ty {
                        TypeRef::Func(index) => found.types.push(index),
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
                            let name = if kept {
                                export.name.to_owned()
                            } else {
                                format!("{PREFIX}{}", export.name)
                            };
                            exports.export(&name, ExportKind::Func, export.index);
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
        // The bodies of the code section are announced one by one; the section itself is copied as a whole.
        if let Some((id, range)) = payload.as_section() {
            let range = usize::try_from(range.start)?..usize::try_from(range.end)?;
            module.section(&RawSection {
                id,
                data: &bytes[range],
            });
        }
    }
    if found.functions.len() < 2 || found.data.is_empty() || found.slots.is_empty() {
        bail!("{} exports too little", wasm.display());
    }
    fs::write(core, serde_json::to_vec(&found)?)?;
    fs::write(wasm, module.finish())?;
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
    /// Reads what [`take_names`] wrote.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        Ok(serde_json::from_slice(&bytes)?)
    }
}

/// Takes the wrappers of exported functions out of the translated C in `dir`, and writes which function each stood for to `names`.
pub(super) fn take_names(dir: &Path, module: &str, names: &Path) -> Result<()> {
    let mut found = Names::default();
    for path in super::libc::sorted(dir, "c")? {
        let text = fs::read_to_string(&path)?;
        let text = without_wrappers(&text, PREFIX, &mut found)
            .with_context(|| format!("in {}", path.display()))?;
        fs::write(&path, text)?;
    }
    let header = dir.join(format!("{module}.h"));
    let text = fs::read_to_string(&header)?;
    fs::write(&header, without_prototypes(&text))?;
    let implementation = fs::read_to_string(dir.join(format!("{module}-impl.h")))?;
    const TAG: &str = "extern const wasm_tag_placeholder_t ";
    let mut tags = implementation
        .lines()
        .filter_map(|line| line.strip_prefix(TAG)?.strip_suffix(';'));
    found.tag = tags.next().context("the module has no tag")?.to_owned();
    let instance = format!("w2c_{module}*");
    let signatures: BTreeMap<String, String> = implementation
        .lines()
        .filter_map(|line| prototype(line, &instance))
        .collect();
    for name in found.functions.values_mut() {
        let signature = signatures.get(&name.c);
        name.signature = signature
            .with_context(|| format!("{} is not declared", name.c))?
            .clone();
    }
    if tags.next().is_some() || found.functions.is_empty() || found.types.is_empty() {
        bail!(
            "the translator's output is not as expected: {} functions, {} types, or more than one tag",
            found.functions.len(),
            found.types.len()
        );
    }
    fs::write(names, serde_json::to_vec(&found)?)?;
    Ok(())
}

/// Takes out the wrappers of exports whose names begin with `prefix`.
pub(super) fn without_wrappers(text: &str, prefix: &str, found: &mut Names) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some((name, text)) = func_type(line) {
            found.types.insert(text.to_owned(), name.to_owned());
        }
        let Some(name) = line
            .strip_prefix("/* export: '")
            .and_then(|rest| rest.strip_prefix(prefix)?.strip_suffix("' */"))
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

fn without_prototypes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.starts_with(&format!("/* export: '{PREFIX}")) {
            lines.next();
            continue;
        }
        out.push_str(line);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappers_become_names() {
        let text = "\
FUNC_TYPE_EXTERN_T(w2c_p_t0) = \"\\x9d\";
/* export: 'x.palloc' */
u32 w2c_p_x0x2Epalloc(w2c_p* instance, u32 var_p0) {
  u32 ret = w2c_p_palloc(instance, var_p0);
  return ret;
}

/* export: 'guest_start' */
void w2c_p_guest_start(w2c_p* instance) {
  w2c_p_guest_start_0(instance);
}
";
        let mut found = Names::default();
        let out = without_wrappers(text, PREFIX, &mut found).unwrap();
        assert_eq!(found.functions["palloc"].c, "w2c_p_palloc");
        assert_eq!(found.types["\"\\x9d\""], "w2c_p_t0");
        assert!(!out.contains("palloc") && out.contains("w2c_p_guest_start_0(instance)"));
        let empty = "/* export: 'x.a' */\nvoid w2c_p_a(w2c_p* instance) {\n}\n";
        assert!(without_wrappers(empty, PREFIX, &mut found).is_err());
    }
}
