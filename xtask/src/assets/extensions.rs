//! The steps of the extensions.
//!
//! ```text
//!        static libraries -\
//! source -> extension-NAME -> library-NAME -> side-NAME (needs the server, linked and translated)
//!                    `-> files-NAME (an image of what is installed)
//! ```
//!
//! Zstandard and ICU, which the server itself calls, are built like libraries of theirs, and install no files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::cache::{Output, Record};
use crate::extensions::{Catalogue, Extension};
use crate::fetch::{Pinned, pins};
use crate::fingerprint::Inputs;
use crate::guest::{self, Core, Names, Shape, side};
use crate::process;

use pglite_oxide_assets::LAYOUT;
use pglite_oxide_toolchain::builder::Server;
use pglite_oxide_toolchain::{Builder, Toolbox};

use super::share;
use super::static_libraries::StaticLibraries;

/// A built extension.
#[derive(Clone)]
pub(super) struct Built {
    /// Native libraries by the name that `dlopen` knows.
    pub(super) libraries: BTreeMap<String, PathBuf>,
    /// What is installed, if anything is.
    pub(super) image: Option<PathBuf>,
    pub(super) sql_name: String,
}

/// All built extensions.
#[derive(Default)]
pub(super) struct Extensions {
    pub(super) built: BTreeMap<String, Built>,
    pub(super) records: Vec<Record>,
    pub(super) sources: Vec<Pinned>,
}

/// A library, compiled and linked.
struct Module {
    extension: String,
    name: String,
    built: Output,
    shape: Shape,
    native: Option<PathBuf>,
}

/// Builds every extension of the catalogue that is not blocked; of those that are built on request, the ones in `requested`.
pub(super) fn build(
    builder: &Builder<'_>,
    toolbox: &Toolbox,
    base: &Server,
    requested: &[String],
) -> Result<Extensions> {
    let guest = builder.guest_dir();
    let catalogue = Catalogue::read(guest)?;
    catalogue.check_requested(requested)?;
    let mut all = Extensions::default();
    let mut modules = Vec::new();
    let (always, wanted): (Vec<&Extension>, Vec<&Extension>) = catalogue
        .built()
        .filter(|extension| !extension.on_request || requested.contains(&extension.name))
        .partition(|extension| !extension.on_request);
    let extensions = [always, wanted].concat();
    let statics = StaticLibraries::build(builder, toolbox, base, &catalogue, &extensions)?;
    all.records.extend(statics.records());
    all.sources.extend(statics.sources.iter().copied());
    for extension in extensions {
        // After all that is always built, so that the places of those, and with them their objects, are the same whatever is asked for.
        if extension.on_request {
            parts_of_server(builder, toolbox, base, &mut all, &mut modules)?;
        }
        let mut sources: Vec<_> = catalogue.pinned(extension)?.into_iter().collect();
        for source in &extension.with {
            sources.push(catalogue.pin(source)?);
        }
        for source in sources {
            if source.name != pins::POSTGRES.name
                && !all.sources.iter().any(|known| known.name == source.name)
            {
                all.sources.push(source);
            }
        }
        let tree = tree(builder, toolbox, &catalogue, extension)?;
        let linked: Vec<String> = extension
            .libraries()
            .into_iter()
            .flat_map(|library| library.links)
            .collect();
        let image = image(builder, extension, &tree, &statics.get(&linked)?)?;
        all.records
            .extend([tree.record.clone(), image.record.clone()]);
        all.built.insert(
            extension.name.clone(),
            Built {
                libraries: BTreeMap::new(),
                image: Some(image.join("files.img")),
                sql_name: extension.sql_name().to_owned(),
            },
        );
        for library in extension.libraries() {
            if let Some(module) = &library.module {
                let inputs = guest::adopt_inputs(module).step(&tree);
                let step = format!("library-{}", library.name);
                let built = builder.recipe(toolbox, &step, inputs, false, |context, place| {
                    guest::adopt(context, &library.name, &tree.join(module), place.dir)
                })?;
                let shape = Shape::read(&built.join("shape.json"))?;
                modules.push(Module {
                    extension: extension.name.clone(),
                    name: library.name,
                    built,
                    shape,
                    native: None,
                });
                continue;
            }
            let recipe = library.recipe();
            let mut inputs = guest::library_inputs(guest, &recipe)?
                .value("compiler", pins::wheel("ziglang")?.sha256)
                .step(&tree)
                .step(&base.libc)
                .step(&base.postgres);
            let mut links = Vec::new();
            for output in statics.get(&library.links)? {
                inputs = inputs.step(output);
                links.push(output.dir.clone());
            }
            let step = format!("library-{}", library.name);
            let built = builder.recipe(toolbox, &step, inputs, false, |context, place| {
                let base = guest::LibraryBase {
                    postgres: &base.postgres.dir,
                    libc: &base.libc.dir,
                    links: &links,
                };
                guest::library(context, &recipe, &tree.dir, base, place.dir)
            })?;
            let shape = Shape::read(&built.join("shape.json"))?;
            let native = library
                .native
                .map(|file| guest.join("extensions").join(&extension.name).join(file));
            modules.push(Module {
                extension: extension.name.clone(),
                name: library.name,
                built,
                shape,
                native,
            });
        }
    }
    parts_of_server(builder, toolbox, base, &mut all, &mut modules)?;
    place_and_compile(builder, toolbox, base, &modules, &mut all)?;
    Ok(all)
}

impl Extensions {
    /// Only the one called `name`.
    pub(super) fn only(&self, name: &str) -> Result<Self> {
        let (key, built) = self
            .built
            .get_key_value(name)
            .with_context(|| format!("{name} was not built"))?;
        Ok(Self {
            built: [(key.clone(), built.clone())].into(),
            records: self.records.clone(),
            sources: self.sources.clone(),
        })
    }
}

/// The side modules that the server calls itself, unless they are among `modules` already.
fn parts_of_server(
    builder: &Builder<'_>,
    toolbox: &Toolbox,
    base: &Server,
    all: &mut Extensions,
    modules: &mut Vec<Module>,
) -> Result<()> {
    if all.built.contains_key(guest::ICU) {
        return Ok(());
    }
    let zstd = builder.zstd(toolbox, &base.libc)?;
    modules.push(of_server(guest::ZSTD, zstd, all)?);
    // The last one in memory of those that are always built, so that its constants are in nobody's way.
    let icu = builder.icu(toolbox, &base.libc)?;
    modules.push(of_server(guest::ICU, icu, all)?);
    Ok(())
}

/// A side module that the server calls itself.
fn of_server(name: &str, built: Output, all: &mut Extensions) -> Result<Module> {
    all.built.insert(
        name.to_owned(),
        Built {
            libraries: BTreeMap::new(),
            image: None,
            sql_name: name.to_owned(),
        },
    );
    Ok(Module {
        extension: name.to_owned(),
        name: name.to_owned(),
        shape: Shape::read(&built.join("shape.json"))?,
        built,
        native: None,
    })
}

/// The prepared directories of all built extensions; of those that are built on request, the ones in `requested`.
pub(super) fn trees(
    builder: &Builder<'_>,
    requested: &[String],
) -> Result<BTreeMap<String, PathBuf>> {
    let toolbox = builder.toolbox()?;
    let catalogue = Catalogue::read(builder.guest_dir())?;
    catalogue
        .built()
        .filter(|extension| !extension.on_request || requested.contains(&extension.name))
        .map(|extension| {
            let tree = tree(builder, &toolbox, &catalogue, extension)?;
            Ok((extension.name.clone(), tree.dir))
        })
        .collect()
}

/// The extension's directory, patched and with its generated sources.
fn tree(
    builder: &Builder<'_>,
    toolbox: &Toolbox,
    catalogue: &Catalogue,
    extension: &Extension,
) -> Result<Output> {
    let pinned = catalogue.pinned(extension)?;
    let recipe = extension.tree();
    let mut inputs = guest::extension_tree_inputs(builder.guest_dir(), &recipe)?
        .value("sha256", pinned.map_or("own", |pinned| pinned.sha256))
        .value("dir", extension.dir().display());
    for source in &extension.with {
        inputs = inputs.value(format!("with {source}"), catalogue.pin(source)?.sha256);
    }
    let step = format!("extension-{}", extension.name);
    if let Some(found) = builder.cache().find(&step, &inputs) {
        return Ok(found);
    }
    let source = match &pinned {
        Some(pinned) => builder.source(pinned)?.join(extension.dir()),
        None => builder.guest_dir().join("extensions").join(&extension.name),
    };
    let mut with = Vec::new();
    for name in &extension.with {
        with.push((name.clone(), builder.source(&catalogue.pin(name)?)?.dir));
    }
    let with_protoc_c = if recipe.needs_protoc_c() {
        Some(toolbox.with_protoc_c(builder.cache())?)
    } else {
        None
    };
    let toolbox = with_protoc_c.as_ref().unwrap_or(toolbox);
    builder.recipe(toolbox, &step, inputs, false, |context, place| {
        guest::extension_tree(context, &recipe, &source, &with, place.dir)
    })
}

/// What the extension installs, as an image of files below `/pgsql`: its own, and what the static libraries have in `share`.
fn image(
    builder: &Builder<'_>,
    extension: &Extension,
    tree: &Output,
    linked: &[&Output],
) -> Result<Output> {
    let libraries: Vec<String> = extension
        .libraries()
        .into_iter()
        .map(|library| library.name)
        .collect();
    let mut inputs = Inputs::new()
        .value("layout", format!("2, {LAYOUT}"))
        .value("share", extension.describe_share())
        .value("libraries", libraries.join(" "))
        .step(tree);
    let shared: Vec<&Output> = linked
        .iter()
        .copied()
        .filter(|output| output.join("share").is_dir())
        .collect();
    for output in &shared {
        inputs = inputs.step(output);
    }
    let step = format!("files-{}", extension.name);
    builder.cache().step(&step, inputs, false, |place| {
        let files = place.dir.join("files");
        for (patterns, to) in extension.share() {
            let found = matching(&tree.dir, &patterns)
                .with_context(|| format!("the files of {}", extension.name))?;
            let to = files.join("share").join(to);
            if to.extension().is_some() {
                let mut whole = Vec::new();
                for path in &found {
                    whole.extend(fs::read(path)?);
                }
                fs::create_dir_all(to.parent().context("a directory")?)?;
                fs::write(&to, whole)?;
                continue;
            }
            fs::create_dir_all(&to)?;
            for path in found {
                let name = path.file_name().context("a file's name")?;
                fs::copy(&path, to.join(name))?;
            }
        }
        for output in &shared {
            let (from, to) = (output.join("share"), files.join("share"));
            fs::create_dir_all(&to)?;
            let mut command = std::process::Command::new("cp");
            command.arg("-R").arg(from.join(".")).arg(to);
            process::logged(&mut command, place.log)?;
        }
        for library in &libraries {
            let dir = files.join("lib");
            fs::create_dir_all(&dir)?;
            fs::write(dir.join(format!("{library}.so")), guest::MARKER)?;
        }
        fs::create_dir_all(&files)?;
        fs::write(place.dir.join("files.img"), share::image(&files)?)?;
        Ok(())
    })
}

/// The files that match, pattern by pattern; each must match something.
fn matching(dir: &Path, patterns: &[String]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for pattern in patterns {
        let before = found.len();
        for path in glob::glob(&dir.join(pattern).to_string_lossy())? {
            found.push(path?);
        }
        if found.len() == before {
            bail!("{pattern} names no file");
        }
    }
    Ok(found)
}

fn place_and_compile(
    builder: &Builder<'_>,
    toolbox: &Toolbox,
    base: &Server,
    modules: &[Module],
    all: &mut Extensions,
) -> Result<()> {
    let guest = builder.guest_dir();
    let core = Core::read(&base.linked.join(guest::CORE))?;
    let names = Names::read(&base.translated.join(guest::NAMES))?;
    let server = side::Server {
        core: &core,
        names: &names,
        translated: &base.translated.dir,
    };
    let shapes: Vec<_> = modules
        .iter()
        .map(|module| (module.name.as_str(), &module.shape))
        .collect();
    let places = side::places(&core, &shapes)?;
    for (module, place) in modules.iter().zip(places) {
        let Module {
            extension,
            name,
            built,
            shape,
            native,
        } = module;
        let wasm = built.join(format!("{name}.wasm"));
        let side = side::Side {
            name,
            wasm: &wasm,
            shape,
            binding: side::Binding::Linked(place),
            native: native.as_deref(),
        };
        let inputs = guest::side_inputs(guest, &place, shape, native.as_deref())?
            .value("compiler", pins::wheel("ziglang")?.sha256)
            .value("translator", pins::wheel("wabt")?.sha256)
            .value("target", builder.target())
            .step(built)
            .step(&base.translated);
        let step = format!("side-{name}");
        let fingerprint = inputs.fingerprint(&step);
        let marks = guest::Marks {
            fingerprint: fingerprint.as_str(),
            core: base.linked.record.fingerprint.as_str(),
        };
        let native = builder.recipe(toolbox, &step, inputs, false, |ctx, place| {
            let target = builder.target();
            side::Build {
                ctx,
                side,
                server,
                target,
                marks,
            }
            .library(place.dir)
        })?;
        let library = native.join(side::archive_name(name));
        if let Some(entry) = all.built.get_mut(extension) {
            entry.libraries.insert(name.clone(), library);
        }
        all.records
            .extend([built.record.clone(), native.record.clone()]);
    }
    Ok(())
}
