//! libpq inside the server, for `libpqwalreceiver`.
//!
//! libpq brings its own copies of `src/common` and `src/port`, made for programs rather than servers. In one module with the server's copies
//! they would clash, so every function of those is renamed with a prefix.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::{GuestCtx, flags};

/// The sources of libpq itself.
const SOURCES: &[&str] = &[
    "fe-auth",
    "fe-auth-oauth",
    "fe-auth-scram",
    "fe-cancel",
    "fe-connect",
    "fe-exec",
    "fe-lobj",
    "fe-misc",
    "fe-print",
    "fe-protocol3",
    "fe-secure",
    "fe-trace",
    "libpq-events",
    "pqexpbuffer",
];

/// Compiles it; returns the static library.
pub(super) fn build(ctx: &GuestCtx<'_>, tree: &Path, libc: &Path, out: &Path) -> Result<PathBuf> {
    let dir = out.join("libpq");
    fs::create_dir_all(&dir)?;
    let mut sources: Vec<PathBuf> = SOURCES
        .iter()
        .map(|name| {
            Path::new("src/interfaces/libpq")
                .join(name)
                .with_extension("c")
        })
        .collect();
    let mut names = BTreeSet::new();
    for part in ["src/common", "src/port"] {
        for object in super::libc::sorted(&tree.join(part), "o")? {
            let stem = object
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let Some(stem) = stem.strip_suffix("_shlib") else {
                continue;
            };
            names.extend(
                defined(&fs::read(&object)?)
                    .with_context(|| format!("symbols of {}", object.display()))?,
            );
            sources.push(Path::new(part).join(stem).with_extension("c"));
        }
    }
    let renames: String = names
        .iter()
        .map(|name| format!("#define {name} lpq_{name}\n"))
        .collect();
    let header = dir.join("renames.h");
    fs::write(&header, renames)?;
    let mut commands = Vec::new();
    let mut objects = Vec::new();
    for source in sources {
        let object = dir.join(super::parallel::object_name(&source));
        let mut command = ctx.guest_cc(libc);
        command
            .current_dir(tree)
            .args([
                flags::OPTIMISE,
                "-w",
                "-DFRONTEND",
                "-DSO_MAJOR_VERSION=5",
                "-include",
            ])
            .arg(&header);
        command.args(
            [
                "src/include",
                "src/interfaces/libpq",
                "src/common",
                "src/port",
            ]
            .map(|path| format!("-I{path}")),
        );
        command.arg("-c").arg(&source).arg("-o").arg(&object);
        commands.push(command);
        objects.push(object);
    }
    ctx.run_all(commands)?;
    let library = dir.join("libpq.a");
    ctx.archive(&library, &objects)?;
    Ok(library)
}

/// The names of the global symbols that a wasm object file defines.
fn defined(object: &[u8]) -> Result<Vec<String>> {
    let mut reader = Reader {
        bytes: object,
        at: 8,
    };
    let mut names = Vec::new();
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
                        names.extend(reader.symbol()?);
                    }
                }
                reader.at = next;
            }
        }
        reader.at = end;
    }
    Ok(names)
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

    /// One entry of the symbol table; its name if it is a function or datum defined here for all.
    fn symbol(&mut self) -> Result<Option<String>> {
        const LOCAL: usize = 0x02;
        const UNDEFINED: usize = 0x10;
        const EXPLICIT_NAME: usize = 0x40;
        let kind = self.byte()?;
        let flags = self.leb()?;
        let visible = flags & (LOCAL | UNDEFINED) == 0;
        match kind {
            // A datum.
            1 => {
                let name = self.string()?;
                if flags & UNDEFINED == 0 {
                    for _ in 0..3 {
                        self.leb()?;
                    }
                }
                Ok(visible.then_some(name))
            }
            // A section.
            3 => {
                self.leb()?;
                Ok(None)
            }
            // A function, global, tag or table.
            _ => {
                self.leb()?;
                if flags & UNDEFINED != 0 && flags & EXPLICIT_NAME == 0 {
                    return Ok(None);
                }
                let name = self.string()?;
                Ok((visible && kind == 0).then_some(name))
            }
        }
    }
}
