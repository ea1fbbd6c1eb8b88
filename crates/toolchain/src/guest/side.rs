//! From a side module to a native library that is linked beside the server's.
//!
//! A side module has no instance. Its code gets the *server's* instance, so that memory, context, table and stack pointer are where the server's own code finds them, by the same
//! constants; a function of it can stand in the server's table as it is, and a call of one of the server's functions is a direct C call. What is the module's own is constant
//! once the build has given it its place: the base of its data and of its table slots, and the addresses it was told to look up in `GOT.mem` and `GOT.func`.
//!
//! Places follow from the catalogue's order, whether or not a module is linked into a given binary: a gap in memory nobody touches costs nothing.
//!
//! The library of a pack is made in the same way and loaded at run time ([`Build::pack`]): its place is then a variable, and so is the address of each function of the server that it calls.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::core::{Core, Name, Names, without_wrappers};
use super::emscripten::{self, Foreign, Provided};
use super::library::{Constants, Shape};
use super::parallel::Compilations;
use super::rewrite::{self, Made};
use super::{GuestCtx, Marks, compile, fences, flags};
use crate::process;

/// Changes when the recipe's result does.
pub(super) const VERSION: u32 = 2;

/// The descriptor's source, relative to `guest`.
pub(super) const TEMPLATE: &str = "extensions/library.c.in";

/// The same for a pack's library.
const PACK_TEMPLATE: &str = "packs/library.c.in";

/// What the source of a pack's library begins with.
const PACK_HEAD: &str = "packs/head.c.in";

/// The data of each module begins at a multiple of this.
const DATA_ALIGN: u32 = 64;

/// Constants do at a multiple of this, which is one of any host's page.
const CONSTANTS_ALIGN: u32 = 64 << 10;

/// Where a side module's data and table slots are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Address of its data.
    pub memory_base: u32,
    /// Its first slot. Behind its own come the slots of server functions whose address it takes.
    pub table_base: u32,
    /// Slots in all.
    pub table_size: u32,
    /// Address of its constants, behind its data, if it has any.
    pub constants: Option<u32>,
}

impl Place {
    /// The bytes from its data's first to its last, constants included.
    fn data_size(&self, shape: &Shape) -> u32 {
        let end = match (self.constants, &shape.constants) {
            (Some(base), Some(constants)) => base + constants.size,
            _ => self.memory_base + shape.data_size,
        };
        end - self.memory_base
    }
}

/// A module as `translate` takes it.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// As `dlopen` knows it.
    pub name: &'a str,
    /// `NAME.wasm`.
    pub wasm: &'a Path,
    /// What it needs and has.
    pub shape: &'a Shape,
    /// Where it goes.
    pub binding: Binding,
    /// C for the host, with the native functions that it imports.
    pub native: Option<&'a Path>,
}

/// How a module finds its place and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// Linked beside the server: both are constants.
    Linked(Place),
    /// Loaded at run time: both are variables that the loader sets.
    Loaded,
}

impl<'a> Side<'a> {
    /// What a module that others have linked needs besides, and its place. Such a module is always one that is linked beside the server.
    fn foreign(&self) -> Result<Option<(&'a Foreign, Place)>> {
        match (&self.shape.foreign, self.binding) {
            (None, _) => Ok(None),
            (Some(foreign), Binding::Linked(place)) => Ok(Some((foreign, place))),
            (Some(_), Binding::Loaded) => bail!(
                "{} was linked by Emscripten: such a module cannot be a part of a pack, it has to be bundled (or built from its sources)",
                self.name
            ),
        }
    }

    /// Its constants, if it knows them by this name.
    fn constants(&self, symbol: &str) -> Option<&'a Constants> {
        let constants = self.shape.constants.as_ref()?;
        (constants.symbol == symbol).then_some(constants)
    }

    /// What its code is given for a function of the server.
    fn function(&self, c: &str) -> String {
        match self.binding {
            Binding::Linked(_) => c.to_owned(),
            Binding::Loaded => format!("(*{})", pointer(c)),
        }
    }

    /// Slots in all: its own, and those of server functions whose address it takes.
    fn table_size(&self, core: &Core) -> Result<u32> {
        Ok(self.shape.table_size + u32::try_from(unslotted(core, self.shape).count())?)
    }
}

/// The variable that holds the address of a function of the server.
fn pointer(c: &str) -> String {
    format!("pgl_import_{c}")
}

/// The linked and the translated server.
#[derive(Clone, Copy, Debug)]
pub struct Server<'a> {
    /// What it offers.
    pub core: &'a Core,
    /// Under which names in C.
    pub names: &'a Names,
    /// The directory of its translation.
    pub translated: &'a Path,
}

/// Gives every module its place, in the given order.
pub fn places(core: &Core, shapes: &[(&str, &Shape)]) -> Result<Vec<Place>> {
    let mut data = flags::DATA;
    let mut slot = core.table.next_multiple_of(1024);
    let mut places = Vec::new();
    for (name, shape) in shapes {
        missing(core, shape).with_context(|| format!("side module {name}"))?;
        data = data.next_multiple_of(shape.data_align.max(DATA_ALIGN));
        let table_size = shape.table_size + u32::try_from(unslotted(core, shape).count())?;
        let constants = shape.constants.as_ref();
        let place = Place {
            memory_base: data,
            table_base: slot,
            table_size,
            constants: constants
                .map(|_| (data + shape.data_size).next_multiple_of(CONSTANTS_ALIGN)),
        };
        data += place.data_size(shape);
        places.push(place);
        slot += table_size;
        if data > core.data_start {
            bail!(
                "side modules up to {name} have {data} bytes of data, more than is left below the server's"
            );
        }
        if slot > core.table + TABLE_ROOM {
            bail!("side modules up to {name} take {slot} table slots, more than there are");
        }
    }
    Ok(places)
}

/// `PGL_TABLE_ROOM` of `pglite_module.h`.
const TABLE_ROOM: u32 = 32768;

/// Server functions whose address the module takes and that have no slot of their own.
fn unslotted<'a>(core: &'a Core, shape: &'a Shape) -> impl Iterator<Item = &'a String> {
    shape.addresses.iter().filter(|name| {
        core.functions
            .get(*name)
            .is_none_or(|index| !core.slots.contains_key(index))
    })
}

/// Fails if the module needs what the server does not offer.
fn missing(core: &Core, shape: &Shape) -> Result<()> {
    let functions = shape.functions.iter().chain(&shape.addresses);
    let lacking: Vec<&str> = functions
        .filter(|name| !core.functions.contains_key(*name))
        .chain(
            shape
                .data
                .iter()
                .filter(|name| !core.data.contains_key(*name)),
        )
        .map(String::as_str)
        .filter(|name| *name != "__c_longjmp")
        .collect();
    if lacking.is_empty() {
        return Ok(());
    }
    bail!(
        "the server has no {} (functions of the C library can be added to guest/exports.txt)",
        lacking.join(", ")
    )
}

/// The part of a C name that stands for a library: `uuid-ossp` is `uuid_ossp`.
pub fn identifier(name: &str) -> String {
    name.replace('-', "_")
}

/// One module's way to a native library.
#[derive(Clone, Copy)]
pub struct Build<'a> {
    /// What every recipe works with.
    pub ctx: &'a GuestCtx<'a>,
    /// The module.
    pub side: Side<'a>,
    /// What it is linked beside.
    pub server: Server<'a>,
    /// The target triple.
    pub target: &'a str,
    /// What the library says of itself.
    pub marks: Marks<'a>,
}

impl Build<'_> {
    /// Translates and compiles it to `libpglite_ext_NAME.a` in `out`.
    pub fn library(self, out: &Path) -> Result<()> {
        let Self { ctx, side, .. } = self;
        if side.native.is_none()
            && let Some(first) = side.shape.native.first()
        {
            bail!(
                "{} imports the native function {first}, and has no `native` source",
                side.name
            );
        }
        let pieces = pieces(side.wasm)?;
        ctx.bar.message("translating");
        let mut all = Compilations::default();
        for source in self.translate(pieces, out)? {
            all.add(self.native_cc()?, &source, source.with_extension("o"));
        }
        let mut objects = all.run(ctx)?;
        if let Some(native) = side.native {
            let object = out.join("native.o");
            let mut command = self.native_cc()?;
            command
                .args(flags::NATIVE_MATH)
                .arg("-c")
                .arg(native)
                .arg("-o")
                .arg(&object);
            process::logged(&mut command, ctx.log)?;
            objects.push(object);
        }
        ctx.archive(&out.join(archive_name(side.name)), &objects)
    }

    /// Translates it and links it to the shared object `NAME.so` in `out`, which is loaded at run time: a part of a pack.
    pub fn pack(self, out: &Path) -> Result<()> {
        let Self { ctx, side, .. } = self;
        if let Some(first) = side.shape.native.first() {
            bail!(
                "{} imports {first} from the module `native`: only bundled extensions have native functions",
                side.name
            );
        }
        missing(self.server.core, side.shape)
            .with_context(|| format!("{} cannot be a part of this server", side.name))?;
        let sources = self.translate(1, out)?;
        let mut command = self.native_cc()?;
        command
            .arg("-I")
            .arg(ctx.guest.join("packs"))
            .arg("-shared");
        if !self.target.contains("apple") {
            // What is still missing is said now and not when it is loaded.
            command.args(["-Wl,-z,defs", "-Wl,-s"]);
        }
        command
            .args(&sources)
            .arg("-o")
            .arg(out.join(format!("{}.so", side.name)));
        process::logged(&mut command, ctx.log)
    }

    /// The compiler for translated C that is a part of the server.
    fn native_cc(self) -> Result<Command> {
        let ctx = self.ctx;
        let mut command = ctx.zig("cc");
        command
            .args(["-target", &compile::zig_target(self.target)?])
            .args(flags::native_flags())
            .arg("-include")
            .arg(ctx.guest.join("runtime/rt.h"))
            .arg("-I")
            .arg(ctx.guest.join("runtime"))
            .arg("-I")
            .arg(ctx.wabt.join("wasm2c"))
            .arg("-I")
            .arg(self.server.translated)
            // SIMDe, for modules that use SIMD.
            .arg("-I")
            .arg(ctx.wabt.join("include"));
        Ok(command)
    }

    /// wasm2c and the rewrites; returns the C files.
    fn translate(self, pieces: u32, out: &Path) -> Result<Vec<PathBuf>> {
        let Self {
            ctx,
            side,
            server,
            marks,
            ..
        } = self;
        // wasm2c would double the underscores.
        let module: String = side
            .name
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .collect();
        let whole = out.join(format!("{module}.c"));
        let mut command = Command::new(ctx.wabt.join("bin/wasm2c"));
        command
            .args(["--enable-threads", "-n", &module])
            .args((pieces > 1).then(|| format!("--num-outputs={pieces}")))
            .arg("-o")
            .arg(&whole)
            .arg(side.wasm);
        process::logged(&mut command, ctx.log)?;
        let header = whole.with_extension("h");
        let declared = fs::read_to_string(&header)?;
        let imports = Imports::read(&declared, &module, side, server)?;
        fs::write(&header, imports.header(&declared))?;

        // What is there once (globals, exports, tables) is in the first piece; what each begins with, in a header that each includes.
        let sources: Vec<PathBuf> = if pieces == 1 {
            vec![whole]
        } else {
            (0..pieces)
                .map(|piece| out.join(format!("{module}_{piece}.c")))
                .collect()
        };
        let common = (pieces > 1).then(|| out.join(format!("{module}-impl.h")));
        let head = match side.binding {
            Binding::Linked(place) => format!(
                "#include \"postgres.h\"\n#define PGL_MAIN(instance) ((w2c_postgres *)(instance))\n#define PGL_MEMORY_BASE {}u\n#define PGL_TABLE_BASE {}u\n",
                place.memory_base, place.table_base
            ),
            Binding::Loaded => fs::read_to_string(ctx.guest.join(PACK_HEAD))?,
        };
        let (tag_declared, tag) = tag(side.binding, server.names);
        let mut exports = Names::default();
        let mut globals_of = BTreeMap::new();
        let mut made = Made::default();
        for (index, path) in sources.iter().chain(&common).enumerate() {
            let mut text = fs::read_to_string(path)?;
            if index == 0 {
                text = without_wrappers(&text, &mut exports)?;
                globals_of = globals(&text, &module, &imports.constants)?;
            }
            let text = imports.source(&text, &module, &tag, &globals_of)?;
            let mut text = rewrite::header(&rewrite::source(&text, &mut made)?, &mut made)?;
            if let Some(line) = text.lines().find(|line| line.contains("instance->w2c_")) {
                bail!("this use of the instance is not known: {}", line.trim());
            }
            if Some(path) == common.as_ref().or(sources.first()) {
                text = format!("{head}{tag_declared}\n{text}");
            }
            if index == 0 {
                text += &imports.glue(ctx, side, &module, server, &exports, marks)?;
            }
            fs::write(path, text)?;
        }
        let counts = fences::count(&fs::read(side.wasm)?)?;
        if (made.atomics, made.fences) != (counts.accesses, counts.fences) {
            bail!(
                "{counts:?} in {}, but {made:?} in its translation",
                side.name
            );
        }
        if side.shape.constants.is_some() {
            let file = Constants::FILE;
            fs::copy(side.wasm.with_file_name(file), out.join(file))
                .with_context(|| format!("the constants of {}", side.name))?;
        }
        Ok(sources)
    }
}

/// The file name of a module's native library.
pub fn archive_name(name: &str) -> String {
    format!("libpglite_ext_{}.a", identifier(name))
}

/// Bytes of wasm from which on a module is cut into pieces, so that all processors compile it and none needs the memory for all of it.
const LARGE: u64 = 2 << 20;

/// How many.
const PIECES: u32 = 8;

fn pieces(wasm: &Path) -> Result<u32> {
    let size = fs::metadata(wasm)
        .with_context(|| format!("reading {}", wasm.display()))?
        .len();
    Ok(if size < LARGE { 1 } else { PIECES })
}

/// How longjmp's tag is declared, and the expression for its address.
fn tag(binding: Binding, names: &Names) -> (String, String) {
    match binding {
        Binding::Linked(_) => (
            format!("extern const char {};", names.tag),
            format!("&{}", names.tag),
        ),
        Binding::Loaded => {
            let pointer = pointer(&names.tag);
            (format!("static const char *{pointer};"), pointer)
        }
    }
}

/// What the names of a module's imports in its C stand for.
struct Imports {
    /// C expressions for functions of the server by the module's name for them.
    functions: BTreeMap<String, String>,
    /// Constants by the module's name for a `GOT` entry, as C.
    constants: BTreeMap<String, String>,
    /// Slots to fill with server functions: which, the function's export and its type.
    slots: Vec<(String, String, u32)>,
    /// Functions that are called, by their exports.
    called: BTreeMap<String, Name>,
    /// Functions that the glue provides.
    provided: Vec<Provided>,
}

impl Imports {
    fn read(header: &str, own: &str, side: Side<'_>, server: Server<'_>) -> Result<Self> {
        let core = server.core;
        let name_of = |wanted: &str| {
            server
                .names
                .functions
                .get(wanted)
                .with_context(|| format!("the translated server has no {wanted}"))
        };
        let mut found = Self {
            functions: BTreeMap::new(),
            constants: BTreeMap::new(),
            slots: Vec::new(),
            called: BTreeMap::new(),
            provided: Vec::new(),
        };
        let foreign = side.foreign()?;
        let mut next_slot = side.shape.table_size;
        let mut lines = header.lines();
        while let Some(line) = lines.next() {
            let Some((module, name)) = line
                .trim()
                .strip_prefix("/* import: '")
                .and_then(|rest| rest.strip_suffix("' */")?.split_once("' '"))
            else {
                continue;
            };
            let declaration = lines.next().unwrap_or_default();
            match module {
                "GOT.mem" => {
                    let own = match side.binding {
                        Binding::Linked(place) => side.constants(name).and(place.constants),
                        Binding::Loaded => None,
                    };
                    let address = match own.or_else(|| {
                        let (foreign, place) = foreign?;
                        Some(place.memory_base + foreign.word(name)?)
                    }) {
                        Some(address) => address,
                        None => *core.data.get(name).context("unknown data")?,
                    };
                    found
                        .constants
                        .insert(last_word(declaration), format!("{address}u"));
                }
                "GOT.func" => {
                    if let Some(slot) = foreign
                        .and_then(|(foreign, place)| Some(place.table_base + foreign.slot(name)?))
                    {
                        // It would call the one and take the address of the other.
                        if core.functions.contains_key(name) {
                            bail!("{} and the server both have a function {name}", side.name);
                        }
                        found
                            .constants
                            .insert(last_word(declaration), format!("{slot}u"));
                        continue;
                    }
                    let index = core.functions.get(name).context("unknown function")?;
                    let slot = match core.slots.get(index) {
                        Some(slot) => format!("{slot}u"),
                        None => {
                            let ty = core.types.get(*index as usize).context("its type")?;
                            let slot = match side.binding {
                                Binding::Linked(place) => {
                                    format!("{}u", place.table_base + next_slot)
                                }
                                Binding::Loaded => format!("PGL_TABLE_BASE + {next_slot}u"),
                            };
                            found.slots.push((slot.clone(), name.to_owned(), *ty));
                            next_slot += 1;
                            slot
                        }
                    };
                    found.constants.insert(last_word(declaration), slot);
                }
                "env" if declaration.contains('(') => {
                    let (ours, signature) = prototype(declaration, "struct w2c_env*")
                        .with_context(|| format!("no prototype: {declaration}"))?;
                    if let Some(c) = foreign.and_then(|_| Foreign::provided(own, name)) {
                        found.functions.insert(ours, c.clone());
                        found.provided.push((name.to_owned(), c, signature));
                        continue;
                    }
                    let known = name_of(name)?;
                    if known.signature != signature {
                        bail!(
                            "{} takes {} as {signature}, but it is {}",
                            side.name,
                            known.c,
                            known.signature
                        );
                    }
                    found.functions.insert(ours, side.function(&known.c));
                    found.called.insert(name.to_owned(), known.clone());
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// The header without what is only for other linkers, its imports under the server's names.
    fn header(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if line.starts_with("/* export: '") {
                lines.next();
                continue;
            }
            if line.starts_with("void wasm_tailcall_") || line.starts_with("void wasm2c_") {
                continue;
            }
            if line.starts_with("extern const wasm_rt_tag_t ") {
                continue;
            }
            out.push_str(&self.functions_in(line));
            out.push('\n');
        }
        out
    }

    /// Replaces the names of imported functions.
    fn functions_in(&self, line: &str) -> String {
        replace_words(line, "w2c_env_", |word| self.functions.get(word).cloned())
    }

    fn source(
        &self,
        text: &str,
        module: &str,
        tag: &str,
        globals: &BTreeMap<String, String>,
    ) -> Result<String> {
        let instantiate = format!("void wasm2c_{module}_instantiate(");
        let mut out = String::with_capacity(text.len());
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if line.starts_with("/* handler for missing tail-call")
                || line.starts_with("static void init_instance_import(")
                || line.starts_with("static void init_globals(")
            {
                for line in lines.by_ref() {
                    if line == "}" {
                        break;
                    }
                }
                continue;
            }
            if line.starts_with("  init_instance_import(") || line.starts_with("  init_globals(") {
                continue;
            }
            if line.starts_with(&instantiate) {
                let _ = writeln!(
                    out,
                    "static void pgl_instantiate_module(w2c_{module}* instance) {{"
                );
                continue;
            }
            let mut line = self.functions_in(line);
            if line.contains("w2c_env_0x5F_c_longjmp") {
                line = line.replace("w2c_env_0x5F_c_longjmp", tag);
            }
            if line.contains("instance->") {
                line = self.instance_in(&line, globals)?;
            }
            out.push_str(&line);
            out.push('\n');
        }
        Ok(out)
    }

    fn instance_in(&self, line: &str, globals: &BTreeMap<String, String>) -> Result<String> {
        const TABLE: &str = "(*instance->w2c_env_0x5F_indirect_function_table)";
        let mut line = line.to_owned();
        while let Some(end) = line.find("].module_instance") {
            let start = line[..end]
                .rfind(&format!("{TABLE}.data["))
                .with_context(|| format!("a call through another table: {}", line.trim()))?;
            line.replace_range(start..end + "].module_instance".len(), "instance");
        }
        let mut line = line
            .replace(TABLE, "(PGL_MAIN(instance)->w2c_T0)")
            .replace(
                "instance->w2c_env_0x5F_indirect_function_table",
                "&PGL_MAIN(instance)->w2c_T0",
            )
            .replace(
                "(*instance->w2c_env_0x5F_stack_pointer)",
                "(PGL_MAIN(instance)->w2c_0x5F_stack_pointer)",
            )
            .replace("(*instance->w2c_env_0x5F_memory_base)", "PGL_MEMORY_BASE")
            .replace("(*instance->w2c_env_0x5F_table_base)", "PGL_TABLE_BASE")
            .replace("(*instance->w2c_env_memory)", "(*pgl_instantiating)")
            .replace("instance->w2c_env_instance", "(struct w2c_env *)instance")
            .replace(
                "instance->w2c_native_instance",
                "(struct w2c_native *)instance",
            );
        if line.contains("(*instance->w2c_GOT") {
            line = replace_words(&line, "(*instance->", |word| {
                let address = self.constants.get(word.strip_prefix("(*instance->")?)?;
                Some(format!("({address}"))
            });
        }
        // A linker that leaves no names has numbers for globals.
        if line.contains("instance->w2c_") {
            line = replace_words(&line, "instance->", |word| {
                globals.get(word.strip_prefix("instance->")?).cloned()
            });
        }
        Ok(line)
    }

    /// What is appended to the translation: the library's descriptor.
    fn glue(
        &self,
        ctx: &GuestCtx<'_>,
        side: Side<'_>,
        module: &str,
        server: Server<'_>,
        exports: &Names,
        marks: Marks<'_>,
    ) -> Result<String> {
        let (mut before, mut slots) = match side.foreign()? {
            Some((foreign, place)) => emscripten::glue(
                ctx,
                side,
                (foreign, place),
                module,
                server,
                &self.provided,
                exports,
            )?,
            None => (String::new(), String::new()),
        };
        let mut addressed = BTreeMap::new();
        for (slot, function, ty) in &self.slots {
            let name = (server.names.functions.get(function))
                .with_context(|| format!("the translated server has no {function}"))?;
            let wanted = format!("w2c_postgres_t{ty}");
            let ty = server
                .names
                .types
                .iter()
                .find_map(|(text, name)| (*name == wanted).then_some(text))
                .with_context(|| format!("the translated server has no type {wanted}"))?;
            let value = match side.binding {
                Binding::Linked(_) => {
                    let _ = writeln!(before, "{};", name.prototype("struct w2c_env*"));
                    name.c.clone()
                }
                Binding::Loaded => {
                    if !self.called.contains_key(function) {
                        let _ = writeln!(before, "static const void *{};", pointer(&name.c));
                    }
                    pointer(&name.c)
                }
            };
            addressed.insert(function.clone(), name.clone());
            let _ = writeln!(
                slots,
                "\tPGL_MAIN(instance)->w2c_T0.data[{slot}] = (wasm_rt_funcref_t){{.func_type = {ty}, .func = (wasm_rt_function_ptr_t){value}}};"
            );
        }
        addressed.extend(self.called.clone());
        let mut listed = format!(
            "\t{{\"{}\", (const void **)&{}}},\n",
            super::exports::TAG,
            pointer(&server.names.tag)
        );
        for (name, known) in &addressed {
            let _ = writeln!(
                listed,
                "\t{{\"{name}\", (const void **)&{}}},",
                pointer(&known.c)
            );
        }
        let mut calls = String::new();
        for call in &side.shape.calls {
            let name = exports.functions.get(call).context("its host calls")?;
            let _ = writeln!(calls, "\t{}(instance);", name.c);
        }
        let head = server
            .core
            .data
            .get("guest_linked_libraries")
            .context("the server has no guest_linked_libraries")?;
        let template = match side.binding {
            Binding::Linked(_) => TEMPLATE,
            Binding::Loaded => PACK_TEMPLATE,
        };
        let template = fs::read_to_string(ctx.guest.join(template))?;
        let data_size = match side.binding {
            Binding::Linked(place) => place.data_size(side.shape),
            Binding::Loaded => side.shape.data_size,
        };
        let (constants, load) = match (side.binding, &side.shape.constants) {
            (
                Binding::Linked(Place {
                    constants: Some(base),
                    ..
                }),
                Some(_),
            ) => (
                format!(
                    "static const u8 pgl_constants[] PGL_PAGE_ALIGNED = {{\n#embed \"{}\"\n}};\n",
                    Constants::FILE
                ),
                format!(
                    "\tpgl_present = present;\n\tpgl_present_state = state;\n\tpgl_load_data(base + {base}u, {base}u, pgl_constants, sizeof pgl_constants);\n\tpgl_present = NULL;\n"
                ),
            ),
            (_, None) => (String::new(), String::new()),
            (_, Some(constants)) => bail!(
                "{} has constants ({}), which only a linked module can have",
                side.name,
                constants.symbol
            ),
        };
        let text = template
            .replace("@CONSTANTS@", &constants)
            .replace("@LOAD@", &load)
            .replace("@TYPE@", &format!("w2c_{module}"))
            .replace(
                "@ENTRY@",
                &format!("PGL_MEMORY_BASE + {}u", side.shape.entry),
            )
            .replace("@SLOTS@", &slots)
            .replace("@CALLS@", &calls)
            .replace("@HEAD@", &format!("{head}u"))
            .replace("@IDENTIFIER@", &identifier(side.name))
            .replace("@NAME@", side.name)
            .replace("@DATA_SIZE@", &format!("{data_size}u"))
            .replace(
                "@DATA_ALIGN@",
                &format!("{}u", side.shape.data_align.max(DATA_ALIGN)),
            )
            .replace(
                "@TABLE_SIZE@",
                &format!("{}u", side.table_size(server.core)?),
            )
            .replace("@IMPORTS@", &listed)
            .replace("@CORE@", marks.core)
            .replace("@FINGERPRINT@", marks.fingerprint);
        Ok(before + &text)
    }
}

/// The values of the module's own globals, all of which are constants: addresses inside it.
fn globals(
    text: &str,
    module: &str,
    constants: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let head = format!("static void init_globals(w2c_{module}* instance) {{");
    let body = text.lines().skip_while(|line| **line != head).skip(1);
    for line in body.take_while(|line| *line != "}") {
        let (name, value) = line
            .trim()
            .strip_prefix("instance->")
            .and_then(|rest| rest.strip_suffix(';')?.split_once(" = "))
            .with_context(|| format!("an unknown global: {line}"))?;
        let value = value
            .replace("(*instance->w2c_env_0x5F_memory_base)", "PGL_MEMORY_BASE")
            .replace("(*instance->w2c_env_0x5F_table_base)", "PGL_TABLE_BASE");
        if value.contains("instance->") {
            bail!(
                "a global that is not a constant ({} known): {line}",
                constants.len()
            );
        }
        found.insert(name.to_owned(), format!("({value})"));
    }
    Ok(found)
}

/// `u32 *w2c_GOT0x2Emem_x;` has the last word `w2c_GOT0x2Emem_x`.
fn last_word(declaration: &str) -> String {
    let words = declaration.trim().trim_end_matches(';');
    words
        .rsplit([' ', '*'])
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Name and signature of a prototype whose first parameter has the type `first`.
pub(super) fn prototype(line: &str, first: &str) -> Option<(String, String)> {
    let (head, rest) = line.strip_suffix(");")?.split_once('(')?;
    let (result, name) = head.rsplit_once(' ')?;
    let result = result.strip_prefix("static ").unwrap_or(result);
    let parameters = rest.strip_prefix(first)?;
    Some((name.to_owned(), format!("{result}({parameters})")))
}

/// Replaces words that begin with `start` by what `by` says; a word goes on as a C identifier does.
fn replace_words(line: &str, start: &str, by: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(start) {
        let inside = rest[..at].chars().next_back().is_some_and(is_word);
        let end = rest[at + start.len()..]
            .find(|c| !is_word(c))
            .map_or(rest.len(), |end| at + start.len() + end);
        out.push_str(&rest[..at]);
        match by(&rest[at..end]) {
            Some(word) if !inside => out.push_str(&word),
            _ => out.push_str(&rest[at..end]),
        }
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_replaced_whole() {
        let by = |word: &str| (word == "w2c_env_a").then(|| "b".to_owned());
        assert_eq!(
            replace_words("w2c_env_a(w2c_env_ab, xw2c_env_a)", "w2c_env_", by),
            "b(w2c_env_ab, xw2c_env_a)"
        );
    }

    #[test]
    fn signatures_without_their_first_parameter() {
        assert_eq!(
            prototype(
                "u32 w2c_env_f(struct w2c_env*, u32, f64);",
                "struct w2c_env*"
            ),
            Some(("w2c_env_f".to_owned(), "u32(, u32, f64)".to_owned()))
        );
        assert_eq!(
            prototype("static void g(w2c_p*);", "w2c_p*"),
            Some(("g".to_owned(), "void()".to_owned()))
        );
        assert_eq!(last_word("  u32 *w2c_GOT0x2Emem_x;"), "w2c_GOT0x2Emem_x");
    }

    /// A module that Emscripten has linked, with one function of its own that it takes the address of, and what its C header says it imports.
    fn adopted() -> (Shape, &'static str) {
        let mut foreign = Foreign::default();
        foreign.symbols.push(("own".to_owned(), 0));
        let shape = Shape {
            data_size: 100,
            data_align: 16,
            table_size: 3,
            functions: [].into(),
            data: ["work_mem".to_owned()].into(),
            addresses: ["pfree".to_owned()].into(),
            native: [].into(),
            entry: 0,
            calls: Vec::new(),
            constants: None,
            foreign: Some(foreign),
        };
        let header = "/* import: 'GOT.mem' '__threwValue' */\nu32 *threw;\n\
             /* import: 'GOT.mem' 'work_mem' */\nu32 *mem;\n\
             /* import: 'GOT.func' 'own' */\nu32 *own;\n\
             /* import: 'GOT.func' 'pfree' */\nu32 *pfree;\n\
             /* import: 'env' 'invoke_vi' */\nvoid w2c_env_invoke_vi(struct w2c_env*, u32, u32);\n";
        (shape, header)
    }

    fn read(shape: &Shape, header: &str, binding: Binding) -> Result<Imports> {
        let mut core = Core::default();
        core.data.insert("work_mem".to_owned(), 9000);
        core.functions.insert("pfree".to_owned(), 0);
        core.types.push(4);
        let side = Side {
            name: "lib",
            wasm: Path::new("lib.wasm"),
            shape,
            binding,
            native: None,
        };
        let server = Server {
            core: &core,
            names: &Names::default(),
            translated: Path::new("translated"),
        };
        Imports::read(header, "lib", side, server)
    }

    #[test]
    fn a_module_of_others_is_bound_to_its_place() {
        let (shape, header) = adopted();
        let place = Place {
            memory_base: 4096,
            table_base: 50,
            table_size: 4,
            constants: None,
        };
        let imports = read(&shape, header, Binding::Linked(place)).unwrap();
        let constants: Vec<_> = imports.constants.iter().collect();
        let expected = [
            ("mem", "9000u"),
            ("own", "50u"),
            ("pfree", "53u"),
            ("threw", "4100u"),
        ];
        assert_eq!(constants.len(), expected.len());
        for ((name, value), expected) in constants.into_iter().zip(expected) {
            assert_eq!((name.as_str(), value.as_str()), expected);
        }
        assert_eq!(imports.slots, [("53u".to_owned(), "pfree".to_owned(), 4)]);
        // What the glue provides is no function of the server.
        assert_eq!(imports.provided[0].0, "invoke_vi");
        assert_eq!(
            imports.functions["w2c_env_invoke_vi"],
            imports.provided[0].1
        );
        assert!(imports.called.is_empty());
    }

    #[test]
    fn a_module_of_others_that_hides_a_function_of_the_server_is_refused() {
        let (mut shape, header) = adopted();
        let foreign = shape.foreign.as_mut().unwrap();
        foreign.symbols.push(("pfree".to_owned(), 0));
        let place = Place {
            memory_base: 4096,
            table_base: 50,
            table_size: 4,
            constants: None,
        };
        let error = read(&shape, header, Binding::Linked(place)).err().unwrap();
        assert!(
            format!("{error:#}").contains("lib and the server both have a function pfree"),
            "{error:#}"
        );
    }

    #[test]
    fn a_module_of_others_is_no_part_of_a_pack() {
        let (mut shape, header) = adopted();
        let error = read(&shape, header, Binding::Loaded).err().unwrap();
        assert!(format!("{error:#}").contains("lib was linked by Emscripten"));
        // The same without what only Emscripten's modules need is one.
        shape.foreign = None;
        let header = header
            .lines()
            .filter(|line| line.contains("pfree"))
            .fold(String::new(), |all, line| all + line + "\n");
        let imports = read(&shape, &header, Binding::Loaded).unwrap();
        assert_eq!(imports.constants["pfree"], "PGL_TABLE_BASE + 3u");
    }

    #[test]
    fn places_follow_each_other_and_what_is_missing_is_named() {
        let mut core = Core {
            table: 100,
            data_start: 8 << 20,
            ..Core::default()
        };
        core.functions.insert("f".to_owned(), 7);
        let mut shape = Shape {
            data_size: 100,
            data_align: 16,
            table_size: 3,
            functions: ["f".to_owned()].into(),
            data: [].into(),
            addresses: ["f".to_owned()].into(),
            native: [].into(),
            entry: 0,
            calls: Vec::new(),
            constants: None,
            foreign: None,
        };
        let found = places(&core, &[("a", &shape), ("b", &shape)]).unwrap();
        assert_eq!(
            (
                found[1].memory_base,
                found[1].table_base,
                found[1].table_size
            ),
            (0x1_0000 + 128, 1024 + 4, 4)
        );
        // Constants begin at a page of their own, whatever the host's page is, and what follows comes behind them.
        shape.constants = Some(Constants {
            symbol: "table".to_owned(),
            size: 70_000,
        });
        let found = places(&core, &[("a", &shape), ("b", &shape)]).unwrap();
        assert_eq!(found[0].constants, Some(0x2_0000));
        assert_eq!(found[0].data_size(&shape), 0x1_0000 + 70_000);
        assert_eq!(
            found[1].memory_base,
            (0x2_0000_u32 + 70_000).next_multiple_of(64)
        );
        shape.constants = None;
        shape.data.insert("gone".to_owned());
        let error = format!("{:#}", places(&core, &[("a", &shape)]).unwrap_err());
        assert!(
            error.contains("gone") && error.contains("side module a"),
            "{error}"
        );
    }
}
