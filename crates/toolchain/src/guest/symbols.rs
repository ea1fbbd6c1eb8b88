//! The symbol table of wasm object files (the custom section `linking` of the tool conventions).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::GuestCtx;
use crate::process;

const LOCAL: usize = 0x02;
const WEAK: u8 = 0x01;
const UNDEFINED: usize = 0x10;
const EXPLICIT_NAME: usize = 0x40;

/// The names of the global symbols that a wasm object file defines.
pub(super) fn defined(object: &[u8]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    each(object, |symbol| {
        if symbol.flags & (LOCAL | UNDEFINED) == 0 {
            names.extend(symbol.name);
        }
    })?;
    Ok(names)
}

/// Makes all symbols that an object defines its own, except those that `keep` names; returns how many were kept. Several programs
/// with clashing globals can then be linked into one.
pub(super) fn localise(object: &mut [u8], keep: impl Fn(&str) -> bool) -> Result<usize> {
    let mut kept = 0;
    let mut to_change = Vec::new();
    each(object, |symbol| {
        if symbol.flags & (LOCAL | UNDEFINED) != 0 {
            return;
        }
        match symbol.name {
            Some(name) if keep(&name) => kept += 1,
            Some(_) => to_change.push(symbol.flags_at),
            None => {}
        }
    })?;
    for at in to_change {
        // The binding is in the lowest two bits, so the number keeps its length.
        object[at] = object[at] & !WEAK | LOCAL as u8;
    }
    Ok(kept)
}

/// Makes one object of many, in which only the symbols called `visible` are global: all of them must be there.
pub(super) fn join(
    ctx: &GuestCtx<'_>,
    objects: &[PathBuf],
    visible: &[&str],
    to: &Path,
) -> Result<()> {
    let mut command = ctx.zig("wasm-ld");
    command.arg("-r").arg("-o").arg(to).args(objects);
    process::logged(&mut command, ctx.log)?;
    let mut bytes = fs::read(to)?;
    let kept = localise(&mut bytes, |name| visible.contains(&name))
        .with_context(|| format!("symbols of {}", to.display()))?;
    if kept != visible.len() {
        let there = defined(&bytes)?;
        let missing: Vec<&str> = visible
            .iter()
            .copied()
            .filter(|name| !there.iter().any(|found| found == name))
            .collect();
        bail!("{} does not define {}", to.display(), missing.join(", "));
    }
    fs::write(to, bytes)?;
    Ok(())
}

/// One entry of the table.
struct Symbol {
    /// Of a function or datum; `None` for others, and where an undefined one has the name of its import.
    name: Option<String>,
    flags: usize,
    /// Offset of the first byte of the flags in the file.
    flags_at: usize,
}

fn each(object: &[u8], mut visit: impl FnMut(Symbol)) -> Result<()> {
    let mut reader = Reader {
        bytes: object,
        at: 8,
    };
    while reader.at < object.len() {
        let id = reader.byte()?;
        let size = reader.leb()?;
        let end = reader.at + size;
        if id == 0 && reader.string()? == "linking" {
            reader.leb()?;
            while reader.at < end {
                let kind = reader.byte()?;
                let size = reader.leb()?;
                let next = reader.at + size;
                const SYMBOL_TABLE: u8 = 8;
                if kind == SYMBOL_TABLE {
                    for _ in 0..reader.leb()? {
                        visit(reader.symbol()?);
                    }
                }
                reader.at = next;
            }
        }
        reader.at = end;
    }
    Ok(())
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8> {
        let byte = self
            .bytes
            .get(self.at)
            .copied()
            .context("the file is cut short")?;
        self.at += 1;
        Ok(byte)
    }

    fn leb(&mut self) -> Result<usize> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        bail!("a number is too long")
    }

    fn string(&mut self) -> Result<String> {
        let length = self.leb()?;
        let bytes = self
            .bytes
            .get(self.at..self.at + length)
            .context("the file is cut short")?;
        self.at += length;
        Ok(String::from_utf8(bytes.to_vec())?)
    }

    fn symbol(&mut self) -> Result<Symbol> {
        let kind = self.byte()?;
        let flags_at = self.at;
        let flags = self.leb()?;
        let name = match kind {
            // A datum.
            1 => {
                let name = self.string()?;
                if flags & UNDEFINED == 0 {
                    for _ in 0..3 {
                        self.leb()?;
                    }
                }
                Some(name)
            }
            // A section.
            3 => {
                self.leb()?;
                None
            }
            // A function, global, tag or table.
            _ => {
                self.leb()?;
                if flags & UNDEFINED != 0 && flags & EXPLICIT_NAME == 0 {
                    None
                } else {
                    let name = self.string()?;
                    (kind == 0).then_some(name)
                }
            }
        };
        Ok(Symbol {
            name,
            flags,
            flags_at,
        })
    }
}
