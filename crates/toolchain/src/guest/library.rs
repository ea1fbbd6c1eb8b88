//! Libraries of extensions as side modules: position-independent wasm in the standard dynamic-linking form (`dylink.0`).
//!
//! The output of [`library()`] is `NAME.wasm` and its [`Shape`]. The module carries, in its own data, the table in which `dlsym` finds its symbols.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use wasmparser::{
    Dylink0Subsection, ExternalKind, KnownCustom, Operator, Parser, Payload, TypeRef,
};

use super::cxx;
use super::emscripten::Foreign;
use super::libc::copy_tree;
use super::parallel::{Compilations, object_name};
use super::postgres::TREE;
use super::{GuestCtx, flags};
use crate::process;

/// Changes when the recipe's result does.
pub(super) const VERSION: u32 = 2;

/// The module's entry in the list that `dlopen` searches.
const ENTRY: &str = "guest_library_entry";
/// The module that native functions are imported from.
pub(super) const NATIVE: &str = "native";
/// What the linker calls the stand-in for a function whose declared type is not its own.
const MISMATCH: &[u8] = b"signature_mismatch:";
/// Functions that the host calls when it puts a module into an image.
pub(super) const HOST_CALLS: &[&str] = &["__wasm_apply_data_relocs", CONSTRUCTORS];
/// The one of them that runs static constructors.
const CONSTRUCTORS: &str = "__wasm_call_ctors";

/// How an extension's directory is prepared.
#[derive(Clone, Debug)]
pub struct ExtensionTree<'a> {
    /// The extension: names the directory of its patches below `guest/extensions`.
    pub name: &'a str,
    /// Programs of the host that make more sources, run in the directory: perl and its arguments. `@own@` stands for the directory of its patches, `@zig@` for the compiler,
    /// `@protoc-c@` for protobuf-c's compiler.
    pub run: &'a [Vec<String>],
    /// Grammars to run bison on: `x.y` becomes `x.c` and `x.h`.
    pub bison: &'a [String],
    /// Scanners to run flex on: `x.l` becomes `x.c`.
    pub flex: &'a [String],
}

impl ExtensionTree<'_> {
    /// Whether the context must have protobuf-c's compiler.
    pub fn needs_protoc_c(&self) -> bool {
        let mut words = self.run.iter().flatten();
        words.any(|word| word.contains("@protoc-c@"))
    }
}

/// How a library is made.
#[derive(Clone, Debug)]
pub struct Library<'a> {
    /// As `dlopen` knows it.
    pub name: &'a str,
    /// Patterns of C sources, relative to the extension's directory; those with a leading `!` take away.
    pub sources: &'a [String],
    /// More flags for the compiler; `@postgres@` stands for PostgreSQL's tree.
    pub flags: &'a [String],
    /// Whether it has C++ in it: sources that end in `.cpp`, or static libraries of such.
    pub cxx: bool,
}

impl Library<'_> {
    /// For fingerprints: what is said of a library in C is what was said before there was C++.
    pub(super) fn describe(&self) -> String {
        let Self {
            name,
            sources,
            flags,
            cxx: _,
        } = self;
        format!("Library {{ name: {name:?}, sources: {sources:?}, flags: {flags:?} }}")
    }

    /// The compiler for a source of it.
    fn compiler(&self, ctx: &GuestCtx<'_>, libc: &Path, source: &Path) -> Result<Command> {
        let is_cxx = source.extension().is_some_and(|end| end == "cpp");
        if is_cxx && !self.cxx {
            bail!(
                "{} is C++: `links` of the library {} must have {:?}",
                source.display(),
                self.name,
                cxx::CXX
            );
        }
        let mut command = if is_cxx {
            cxx::cxx(ctx, libc)
        } else {
            side_cc(ctx, libc)
        };
        if self.cxx {
            command.arg(cxx::RENAMED_INIT);
        }
        Ok(command)
    }
}

/// The output directories that a library is built against.
#[derive(Clone, Copy, Debug)]
pub struct LibraryBase<'a> {
    /// PostgreSQL's step.
    pub postgres: &'a Path,
    /// The C library.
    pub libc: &'a Path,
    /// Static libraries it is linked with: `include` and `lib/*.a` of each.
    pub links: &'a [PathBuf],
}

/// What a side module needs and has.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shape {
    /// Bytes of its data.
    pub data_size: u32,
    /// Alignment of its data, a power of two.
    pub data_align: u32,
    /// Slots of the table that it fills.
    pub table_size: u32,
    /// Functions it takes from the server.
    pub functions: BTreeSet<String>,
    /// Data it takes from the server.
    pub data: BTreeSet<String>,
    /// Functions of the server whose address it takes.
    pub addresses: BTreeSet<String>,
    /// Native functions that are linked with it.
    #[serde(default)]
    pub native: BTreeSet<String>,
    /// Where its list entry lies in its data.
    pub entry: u32,
    /// Which functions it has for the host to call.
    pub calls: Vec<String>,
    /// Constants that lie beside its data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constants: Option<Constants>,
    /// If others have linked it: what it needs besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign: Option<Foreign>,
}

/// Constant data of a module that is no part of its wasm: its pages are mapped from the file of the program, so that nothing of it is written or copied at a start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Constants {
    /// The module's name for it, which it does not define.
    pub symbol: String,
    /// Bytes.
    pub size: u32,
}

impl Constants {
    /// Its file beside the module's.
    pub const FILE: &'static str = "constants.bin";
}

impl Shape {
    /// Adds constants to what [`link_library`] wrote to `path`.
    pub(super) fn add_constants(path: &Path, constants: Constants) -> Result<()> {
        let mut shape = Self::read(path)?;
        if !shape.data.remove(&constants.symbol) {
            bail!(
                "{}: it does not refer to {}",
                path.display(),
                constants.symbol
            );
        }
        shape.constants = Some(constants);
        shape.write(path)
    }

    fn write(&self, path: &Path) -> Result<()> {
        Ok(fs::write(path, serde_json::to_vec_pretty(self)?)?)
    }

    /// Reads what [`library()`] wrote.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        Ok(serde_json::from_slice(&bytes)?)
    }
}

/// Copies an extension's directory, with other sources in directories of their names, its patches applied and its generated sources made.
pub fn extension_tree(
    ctx: &GuestCtx<'_>,
    extension: &ExtensionTree<'_>,
    source: &Path,
    with: &[(String, PathBuf)],
    out: &Path,
) -> Result<()> {
    copy_tree(ctx, source, out)?;
    for (name, source) in with {
        copy_tree(ctx, source, &out.join(name))?;
    }
    let patches = ctx.guest.join("extensions").join(extension.name);
    if patches.is_dir() {
        super::libc::patch_all(ctx, &patches, out)?;
    }
    let run = |words: &[&str]| -> Result<()> {
        let (program, arguments) = words.split_first().context("an empty command")?;
        let mut command = Command::new(program);
        ctx.host.apply(&mut command);
        ctx.zig_environment(&mut command);
        for argument in arguments {
            command.arg(
                argument
                    .replace("@own@", &patches.to_string_lossy())
                    .replace("@zig@", &ctx.zig.to_string_lossy())
                    .replace("@protoc-c@", &ctx.host.protoc_c),
            );
        }
        process::logged(command.current_dir(out), ctx.log)
    };
    for words in extension.run {
        run(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
    }
    for file in extension.bison {
        let to = file.replace(".y", ".c");
        run(&["bison", "-Wno-deprecated", "-d", "-o", &to, file])?;
    }
    for file in extension.flex {
        let to = file.replace(".l", ".c");
        run(&["flex", "-b", "-o", &to, file])?;
    }
    Ok(())
}

/// Compiles and links `library` from its extension's prepared directory.
pub fn library(
    ctx: &GuestCtx<'_>,
    library: &Library<'_>,
    dir: &Path,
    base: LibraryBase<'_>,
    out: &Path,
) -> Result<()> {
    let libc = base.libc;
    let tree = base.postgres.join(TREE);
    let objects_dir = out.join("objects");
    fs::create_dir_all(&objects_dir)?;
    let mut all = Compilations::default();
    for (number, path) in sources(library, dir)?.into_iter().enumerate() {
        let relative = path.strip_prefix(dir)?;
        let object = objects_dir.join(format!("{number}-{}", object_name(relative)));
        let mut command = library.compiler(ctx, libc, relative)?;
        command.current_dir(dir);
        for flag in library.flags {
            command.arg(flag.replace("@postgres@", &tree.to_string_lossy()));
        }
        for links in base.links {
            command.arg(format!("-I{}", links.join("include").display()));
        }
        command
            .arg("-I.")
            .arg(format!("-I{}", tree.join("src/include").display()));
        all.add(command, relative, object);
    }
    if library.cxx {
        let start = ctx.guest.join(cxx::OURS).join(cxx::START);
        all.add(side_cc(ctx, libc), &start, objects_dir.join("start.o"));
    }
    let mut objects = all.run(ctx)?;
    for links in base.links {
        objects.extend(super::libc::sorted(&links.join("lib"), "a")?);
    }
    link_library(ctx, library.name, &objects, base.libc, out)?;
    if library.cxx {
        // Its constructors are for the process that loads it.
        let path = out.join("shape.json");
        let mut shape = Shape::read(&path)?;
        shape.calls.retain(|name| name != CONSTRUCTORS);
        shape.write(&path)?;
    }
    crate::cache::remove_tree(&objects_dir)
}

/// Links the objects of the library `name`, compiled by [`side_cc`], to `NAME.wasm` in `out`, and writes its [`Shape`].
pub(crate) fn link_library(
    ctx: &GuestCtx<'_>,
    name: &str,
    objects: &[PathBuf],
    libc: &Path,
    out: &Path,
) -> Result<()> {
    let mut objects = objects.to_vec();
    let wasm = out.join(format!("{name}.wasm"));
    link(ctx, &objects, &[], &wasm)?;
    let symbols = functions(&fs::read(&wasm)?)?;
    let table = out.join(format!("{name}.dl_entry.c"));
    fs::write(&table, entry_source(name, &symbols))?;
    let object = table.with_extension("o");
    let mut command = side_cc(ctx, libc);
    command.arg("-c").arg(&table).arg("-o").arg(&object);
    process::logged(&mut command, ctx.log)?;
    objects.push(object.clone());
    link(ctx, &objects, &[format!("--export={ENTRY}")], &wasm)?;
    let bytes = fs::read(&wasm)?;
    ctx.check_no_paths(&wasm, &bytes)?;
    let shape = shape(&bytes, true).with_context(|| format!("in {}", wasm.display()))?;
    shape.write(&out.join("shape.json"))?;
    // The object is named after its place: gone, like the table that it was made of.
    fs::remove_file(&table)?;
    Ok(fs::remove_file(&object)?)
}

/// A command that compiles for side modules.
pub(crate) fn side_cc(ctx: &GuestCtx<'_>, libc: &Path) -> Command {
    let mut command = ctx.guest_cc(libc);
    command.args([flags::OPTIMISE, "-w"]).args(flags::SIDE);
    command
}

fn sources(library: &Library<'_>, dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = BTreeSet::new();
    for pattern in library.sources {
        let (add, pattern) = match pattern.strip_prefix('!') {
            Some(pattern) => (false, pattern),
            None => (true, pattern.as_str()),
        };
        let before = found.len();
        for path in glob::glob(&dir.join(pattern).to_string_lossy())? {
            let path = path?;
            if add {
                found.insert(path);
            } else {
                found.remove(&path);
            }
        }
        if found.len() == before {
            bail!("{}: {pattern} names no source", library.name);
        }
    }
    Ok(found.into_iter().collect())
}

fn link(ctx: &GuestCtx<'_>, objects: &[PathBuf], more: &[String], wasm: &Path) -> Result<()> {
    let mut command = ctx.zig("wasm-ld");
    command
        .args(flags::SIDE_LINK)
        .args(more)
        .arg("-o")
        .arg(wasm)
        .args(objects);
    process::logged(&mut command, ctx.log)
}

/// The exported functions: what `dlsym` can be asked for.
fn functions(wasm: &[u8]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::ExportSection(section) = payload? {
            for export in section {
                let export = export?;
                if export.kind == ExternalKind::Func && !HOST_CALLS.contains(&export.name) {
                    names.push(export.name.to_owned());
                }
            }
        }
    }
    names.sort();
    Ok(names)
}

fn entry_source(name: &str, symbols: &[String]) -> String {
    let mut text = String::from("/* Written by the build. */\n#include <dl_table.h>\n\n");
    for symbol in symbols {
        let _ = writeln!(text, "extern void {symbol}(void);");
    }
    text.push_str("static const struct guest_symbol symbols[] = {\n");
    for symbol in symbols {
        let _ = writeln!(text, "\t{{\"{symbol}\", (void *){symbol}}},");
    }
    let _ = write!(
        text,
        "\t{{0, 0}},\n}};\n\n__attribute__((visibility(\"default\"))) struct guest_linked_library {ENTRY} = {{{{\"{name}\", symbols}}, 0}};\n"
    );
    text
}

/// Reads a side module; `ours` has its list entry in its data.
pub(super) fn shape(wasm: &[u8], ours: bool) -> Result<Shape> {
    // The linker only warns, and calls something that traps.
    if wasm.windows(MISMATCH.len()).any(|bytes| bytes == MISMATCH) {
        bail!("a function is declared with another type than it has: see the linker's warnings");
    }
    let mut memory = None;
    let (mut functions, mut data, mut addresses) =
        (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut native = BTreeSet::new();
    let mut offsets: Vec<Option<u32>> = Vec::new();
    let (mut entry, mut calls) = (None, Vec::new());
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::CustomSection(section) => {
                if let KnownCustom::Dylink0(parts) = section.as_known() {
                    for part in parts {
                        if let Dylink0Subsection::MemInfo(info) = part? {
                            memory = Some(info);
                        }
                    }
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    let name = import.name.to_owned();
                    match (import.module, import.ty) {
                        ("env", TypeRef::Func(_)) => {
                            functions.insert(name);
                        }
                        (NATIVE, TypeRef::Func(_)) => {
                            native.insert(name);
                        }
                        ("GOT.mem", _) => {
                            data.insert(name);
                        }
                        ("GOT.func", _) => {
                            addresses.insert(name);
                        }
                        ("env", _) => {}
                        (module, _) => bail!("it imports {module}.{name}"),
                    }
                    if matches!(import.ty, TypeRef::Global(_)) {
                        offsets.push(None);
                    }
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    offsets.push(offset(&global?.init_expr)?);
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.kind == ExternalKind::Global && export.name == ENTRY {
                        entry = offsets.get(export.index as usize).copied().flatten();
                    }
                    if HOST_CALLS.contains(&export.name) {
                        calls.push(export.name.to_owned());
                    }
                }
            }
            _ => {}
        }
    }
    let memory = memory.context("no dylink.0 section")?;
    calls.sort();
    Ok(Shape {
        data_size: memory.memory_size,
        data_align: 1 << memory.memory_alignment,
        table_size: memory.table_size,
        functions,
        data,
        addresses,
        native,
        entry: match entry {
            Some(entry) => entry,
            None if !ours => 0,
            None => bail!("it does not export {ENTRY}"),
        },
        calls,
        constants: None,
        foreign: None,
    })
}

/// An exported address: a constant, relative to the module's memory base.
fn offset(expression: &wasmparser::ConstExpr<'_>) -> Result<Option<u32>> {
    let mut value = None;
    for operator in expression.get_operators_reader() {
        if let Operator::I32Const { value: found } = operator? {
            value = Some(found.cast_unsigned());
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::entry_source;

    #[test]
    fn the_entry_lists_every_function() {
        let text = entry_source("uuid-ossp", &["a".to_owned(), "Pg_magic_func".to_owned()]);
        assert!(text.contains("extern void a(void);"));
        assert!(text.contains("{\"Pg_magic_func\", (void *)Pg_magic_func},"));
        assert!(text.contains("guest_library_entry = {{\"uuid-ossp\", symbols}, 0};"));
    }
}
