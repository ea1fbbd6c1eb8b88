//! Extensions of users: from a directory with a PGXS Makefile to a pack.
//!
//! The Makefile is run with a `pg_config`, a PGXS and a compiler of ours, in a copy of the directory; its objects are linked and translated by the recipes that make the bundled side modules
//! ([`guest::side`]). What the Makefile runs are programs of the host's: building an extension is as safe as `make` in its directory.

mod control;
mod pgxs;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use pglite_oxide_pack::{FORMAT, Library, Manifest};

use crate::builder::{Builder, Server};
use crate::cache::{Workplace, remove_tree};
use crate::fingerprint::Fingerprint;
use crate::guest::{self, Core, GuestCtx, Marks, Names, Shape, side};

use control::Control;
use pgxs::{Described, Pgxs};

/// What to build.
#[derive(Clone, Debug)]
pub struct Options {
    /// The extension's directory.
    pub dir: PathBuf,
    /// Whether its libraries must be in `shared_preload_libraries`: no Makefile says so.
    pub preload: bool,
}

/// A built pack.
#[derive(Clone, Debug)]
pub struct Built {
    /// What it says about itself.
    pub manifest: Manifest,
    /// The file.
    pub bytes: Vec<u8>,
    /// What the Makefile has besides, which a pack has not.
    pub left_out: Vec<String>,
}

/// Builds the extension in a directory. The directory is only read.
///
/// The first build in a cache without assets also builds what extensions are built against, which takes minutes.
pub fn build(builder: &Builder<'_>, options: &Options) -> Result<Built> {
    let source = options
        .dir
        .canonicalize()
        .with_context(|| format!("opening {}", options.dir.display()))?;
    let name = source
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let toolbox = builder.toolbox()?;
    let server = builder.server(&toolbox)?;
    let cache = builder.cache();
    let scratch = cache.root().join("ext");
    fs::create_dir_all(&scratch)?;
    let scratch = tempfile::Builder::new()
        .prefix("build-")
        .tempdir_in(&scratch)?;
    let log = cache.root().join("logs").join(format!("ext-{name}.log"));
    if let Some(logs) = log.parent() {
        fs::create_dir_all(logs)?;
    }
    if log.exists() {
        fs::remove_file(&log)?;
    }
    let bar = cache.progress().step(&name);
    let begun = Instant::now();
    let place = Workplace {
        dir: scratch.path(),
        bar: &bar,
        log: &log,
    };
    let built = builder.context(&toolbox, &place, |context| {
        let steps = Steps {
            context,
            builder,
            server: &server,
            scratch: scratch.path(),
        };
        steps.run(&source, options)
    });
    match built {
        Ok(built) => {
            bar.done(begun.elapsed());
            Ok(built)
        }
        Err(error) => {
            bar.fail();
            Err(error.context(format!(
                "the extension in {} cannot be built (output of its tools: {})",
                source.display(),
                log.display()
            )))
        }
    }
}

struct Steps<'a> {
    context: &'a GuestCtx<'a>,
    builder: &'a Builder<'a>,
    server: &'a Server,
    scratch: &'a Path,
}

impl Steps<'_> {
    fn run(&self, source: &Path, options: &Options) -> Result<Built> {
        let dir = self.scratch.join("source");
        copy(source, &dir)?;
        self.context.bar.message("compiling");
        let described = Pgxs {
            context: self.context,
            server: self.server,
            dir: &dir,
            tools: &self.scratch.join("tools"),
        }
        .make()?;
        let mut files = installed(&described, &dir)?;
        let libraries = described.libraries()?;
        if files.is_empty() && libraries.is_empty() {
            bail!("its Makefile names neither a library (MODULES, MODULE_big) nor an EXTENSION");
        }
        for (name, objects) in &libraries {
            let bytes = self.library(name, &dir, objects)?;
            files.insert(format!("lib/{name}.so"), bytes);
        }
        let names: Vec<String> = libraries.into_iter().map(|(name, _)| name).collect();
        let manifest = self.manifest(&described, &dir, &names, options)?;
        let bytes = pglite_oxide_pack::write(manifest, &files)?;
        // As whoever loads it reads it.
        let pack = pglite_oxide_pack::Pack::read("the new pack", &bytes)?;
        let left_out = ["PROGRAM", "SCRIPTS", "SCRIPTS_built"]
            .iter()
            .flat_map(|name| described.words(name))
            .map(str::to_owned)
            .collect();
        Ok(Built {
            manifest: pack.manifest().clone(),
            bytes,
            left_out,
        })
    }

    /// Links and translates; the shared object.
    fn library(&self, name: &str, dir: &Path, objects: &[PathBuf]) -> Result<Vec<u8>> {
        self.context.bar.message(format!("translating {name}"));
        let out = self.scratch.join(format!("library-{name}"));
        fs::create_dir_all(&out)?;
        let objects: Vec<PathBuf> = objects.iter().map(|object| dir.join(object)).collect();
        guest::link_library(self.context, name, &objects, &self.server.libc.dir, &out)?;
        let shape = Shape::read(&out.join("shape.json"))?;
        let wasm = out.join(format!("{name}.wasm"));
        let core = Core::read(&self.server.linked.join(guest::CORE))?;
        let names = Names::read(&self.server.translated.join(guest::NAMES))?;
        let fingerprint = Fingerprint::of_file(&wasm)?;
        side::Build {
            ctx: self.context,
            side: side::Side {
                name,
                wasm: &wasm,
                shape: &shape,
                binding: side::Binding::Loaded,
                native: None,
            },
            server: side::Server {
                core: &core,
                names: &names,
                translated: &self.server.translated.dir,
            },
            target: self.builder.target(),
            marks: Marks {
                fingerprint: fingerprint.as_str(),
                core: self.server.linked.record.fingerprint.as_str(),
            },
        }
        .pack(&out)?;
        let object = out.join(format!("{name}.so"));
        fs::read(&object).with_context(|| format!("reading {}", object.display()))
    }

    fn manifest(
        &self,
        described: &Described,
        dir: &Path,
        libraries: &[String],
        options: &Options,
    ) -> Result<Manifest> {
        let mut version = None;
        let mut requires = Vec::new();
        let extensions: Vec<&str> = described.words("EXTENSION").collect();
        for extension in &extensions {
            let path = dir.join(format!("{extension}.control"));
            let text = fs::read_to_string(&path)
                .with_context(|| format!("reading {extension}.control"))?;
            let control = Control::parse(&text);
            version = version.or(control.default_version);
            requires.extend(
                control
                    .requires
                    .into_iter()
                    .filter(|name| !extensions.contains(&name.as_str())),
            );
        }
        let name = extensions
            .first()
            .map(|&name| name.to_owned())
            .or_else(|| libraries.first().cloned())
            .context("it has no name")?;
        Ok(Manifest {
            format: FORMAT,
            name,
            version: version.unwrap_or_else(|| "0".to_owned()),
            core: self.server.linked.record.fingerprint.as_str().to_owned(),
            target: self.builder.target().to_owned(),
            libraries: libraries
                .iter()
                .map(|name| Library {
                    name: name.clone(),
                    file: format!("lib/{name}.so"),
                })
                .collect(),
            requires,
            preload: if options.preload {
                libraries.to_vec()
            } else {
                Vec::new()
            },
            files: BTreeMap::new(),
        })
    }
}

/// What is installed below `share`, by its path in the pack.
fn installed(described: &Described, dir: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut add = |file: &str, to: &str| -> Result<()> {
        let bytes = fs::read(dir.join(file))
            .with_context(|| format!("its Makefile installs {file}, which cannot be read"))?;
        let name = file.rsplit('/').next().unwrap_or(file);
        files.insert(format!("share/{to}/{name}"), bytes);
        Ok(())
    };
    for extension in described.words("EXTENSION") {
        add(&format!("{extension}.control"), "extension")?;
    }
    let to = described.words("MODULEDIR").next().unwrap_or("contrib");
    for list in ["DATA", "DATA_built"] {
        for file in described.words(list) {
            add(file, to)?;
        }
    }
    for list in ["DATA_TSEARCH", "DATA_TSEARCH_built"] {
        for file in described.words(list) {
            add(file, "tsearch_data")?;
        }
    }
    Ok(files)
}

/// What other builds have left in the directory, and what is none of its sources.
fn is_left_behind(name: &str) -> bool {
    name == ".git"
        || name == "target"
        || [".o", ".so", ".bc", ".a", ".dylib", ".pgpack"]
            .iter()
            .any(|end| name.ends_with(end))
}

/// Copies the directory with the times of its files, which make compares.
fn copy(from: &Path, to: &Path) -> Result<()> {
    remove_tree(to)?;
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("listing {}", from.display()))? {
        let entry = entry?;
        if is_left_behind(&entry.file_name().to_string_lossy()) {
            continue;
        }
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        // Links are followed: what they lead to belongs to the extension.
        let metadata =
            fs::metadata(&path).with_context(|| format!("opening {}", path.display()))?;
        if metadata.is_dir() {
            if !entry.file_type()?.is_symlink() {
                copy(&path, &target)?;
            }
            continue;
        }
        fs::copy(&path, &target).with_context(|| format!("copying {}", path.display()))?;
        if let Ok(time) = metadata.modified() {
            // A file that cannot be written is not changed by make either.
            if let Ok(file) = fs::File::options().write(true).open(&target) {
                file.set_modified(time)?;
            }
        }
    }
    Ok(())
}
