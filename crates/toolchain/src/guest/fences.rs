//! What a linked module contains: its imports, the address where its heap begins, and its atomic instructions.
//!
//! PostgreSQL's lock-free code relies on fences. An optimiser that dropped them, or a port that defined them away, would show only as rare corruption; so they are counted.

use anyhow::{Context as _, Result};
use wasmparser::{ConstExpr, ExternalKind, Operator, Parser, Payload, TypeRef};

/// Instructions of the threads proposal in a module.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// `atomic.fence`.
    pub fences: usize,
    /// Atomic loads, stores and read-modify-writes.
    pub accesses: usize,
}

/// Counts the atomic instructions of a module.
pub(super) fn count(wasm: &[u8]) -> Result<Counts> {
    let mut counts = Counts::default();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::CodeSectionEntry(body) = payload? {
            for operator in body.get_operators_reader()? {
                let operator = operator?;
                if matches!(operator, Operator::AtomicFence { .. }) {
                    counts.fences += 1;
                } else if is_atomic(&operator) {
                    counts.accesses += 1;
                }
            }
        }
    }
    Ok(counts)
}

fn is_atomic(operator: &Operator<'_>) -> bool {
    let name = format!("{operator:?}");
    let name = name.split([' ', '{']).next().unwrap_or_default();
    name.contains("Atomic")
}

/// The module and name of every import.
pub(super) fn imports(wasm: &[u8]) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::ImportSection(section) = payload? {
            for import in section.into_imports() {
                let import = import?;
                found.push((import.module.to_owned(), import.name.to_owned()));
            }
        }
    }
    Ok(found)
}

/// The value of an exported constant global, such as `__heap_base`.
pub(super) fn exported_global(wasm: &[u8], wanted: &str) -> Result<u32> {
    let mut values = Vec::new();
    let mut index = None;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    if matches!(import?.ty, TypeRef::Global(_)) {
                        values.push(None);
                    }
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    values.push(constant(&global?.init_expr)?);
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.name == wanted && export.kind == ExternalKind::Global {
                        index = Some(export.index as usize);
                    }
                }
            }
            _ => {}
        }
    }
    let index = index.with_context(|| format!("the module does not export {wanted}"))?;
    values
        .get(index)
        .copied()
        .flatten()
        .with_context(|| format!("{wanted} is not a constant"))
}

pub(super) fn constant(expression: &ConstExpr<'_>) -> Result<Option<u32>> {
    Ok(match expression.get_operators_reader().read()? {
        Operator::I32Const { value } => Some(value.cast_unsigned()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `(import "env" "memory" (memory 1 1 shared)) (global i32 (i32.const 70)) (export "__heap_base" (global 0)) (func (atomic.fence) (drop (i32.atomic.load (i32.const 0))))`
    const MODULE: &[u8] = &[
        0, b'a', b's', b'm', 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 2, 16, 1, 3, b'e', b'n', b'v', 6,
        b'm', b'e', b'm', b'o', b'r', b'y', 2, 3, 1, 1, 3, 2, 1, 0, 6, 7, 1, 0x7f, 0, 0x41, 0xc6,
        0, 0x0b, 7, 15, 1, 11, b'_', b'_', b'h', b'e', b'a', b'p', b'_', b'b', b'a', b's', b'e', 3,
        0, 10, 14, 1, 12, 0, 0xfe, 3, 0, 0x41, 0, 0xfe, 0x10, 2, 0, 0x1a, 0x0b,
    ];

    #[test]
    fn counts_and_names_of_a_small_module() {
        assert_eq!(
            count(MODULE).unwrap(),
            Counts {
                fences: 1,
                accesses: 1
            }
        );
        assert_eq!(
            imports(MODULE).unwrap(),
            [("env".to_owned(), "memory".to_owned())]
        );
        assert_eq!(exported_global(MODULE, "__heap_base").unwrap(), 70);
        assert!(exported_global(MODULE, "memory").is_err());
    }
}
