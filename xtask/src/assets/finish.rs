//! The last steps: a directory of assets with its manifest, and the pointer to the current one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use pglite_oxide_asset_locator::{
    self as locator, ClusterFile, Current, ExtensionFiles, ImageFile, Input, MANIFEST_FILE,
    MANIFEST_VERSION, Manifest, StepRecord,
};
use pglite_oxide_assets::{Tree, packed};

use crate::cache::{Cache, Output, Record, write_atomically};
use crate::fetch::Pinned;
use crate::fingerprint::{Inputs, hex};

use super::extensions::Extensions;
use super::share::sha256;

/// What goes into a directory of assets.
pub(super) struct Parts<'a> {
    pub(super) target: &'a str,
    pub(super) inputs: &'a [Pinned],
    pub(super) records: Vec<Record>,
    /// Static libraries by module name; each file is called `lib<something>.a`.
    pub(super) libraries: &'a BTreeMap<String, PathBuf>,
    /// Extensions, if they are to be among the assets.
    pub(super) extensions: Option<&'a Extensions>,
    /// Images by name.
    pub(super) images: Vec<(&'static str, PathBuf)>,
    /// Frozen clusters by the name of their template.
    pub(super) clusters: Vec<(&'static str, PathBuf)>,
    /// The sources that they are of.
    pub(super) sources: &'a str,
}

/// Lays out a directory of assets as step `name`.
pub(super) fn assemble(cache: &Cache, name: &str, parts: Parts<'_>) -> Result<Output> {
    let mut inputs = Inputs::new()
        .value("target", parts.target)
        .value("manifest", MANIFEST_VERSION);
    for record in &parts.records {
        inputs = inputs.value(format!("step {}", record.step), &record.fingerprint);
    }
    let fingerprint = inputs.fingerprint(name);
    cache.step(name, inputs, false, |place| {
        let mut manifest = Manifest {
            version: MANIFEST_VERSION,
            fingerprint: fingerprint.to_string(),
            target: parts.target.to_owned(),
            inputs: parts.inputs.iter().map(input).collect(),
            steps: parts.records.iter().map(step_record).collect(),
            libraries: BTreeMap::new(),
            extensions: BTreeMap::new(),
            images: BTreeMap::new(),
            clusters: BTreeMap::new(),
            sizes: BTreeMap::new(),
        };
        fs::create_dir_all(place.dir.join("lib"))?;
        for (module, path) in parts.libraries {
            let file = path
                .file_name()
                .and_then(|name| name.to_str())
                .context("a library's name")?;
            if !(file.starts_with("lib") && file.ends_with(".a")) {
                bail!("{file} is no name for a static library");
            }
            let relative = format!("lib/{file}");
            link_or_copy(path, &place.dir.join(&relative))?;
            manifest
                .sizes
                .insert(relative.clone(), path.metadata()?.len());
            manifest.libraries.insert(module.clone(), relative);
        }
        for (name, path) in &parts.images {
            let record = place_image(place.dir, &format!("{name}.img"), path)?;
            manifest.sizes.insert(record.file.clone(), record.bytes);
            manifest.images.insert((*name).to_owned(), record);
        }
        for (template, path) in &parts.clusters {
            let file = template.replace("template", "cluster") + ".img";
            link_or_copy(path, &place.dir.join(&file))?;
            let bytes = path.metadata()?.len();
            manifest.sizes.insert(file.clone(), bytes);
            let cluster = ClusterFile {
                file,
                sources: parts.sources.to_owned(),
                bytes,
            };
            manifest.clusters.insert((*template).to_owned(), cluster);
        }
        for (name, built) in parts.extensions.iter().flat_map(|all| &all.built) {
            let image = match &built.image {
                Some(path) => {
                    fs::create_dir_all(place.dir.join("extensions"))?;
                    let image = place_image(place.dir, &format!("extensions/{name}.img"), path)?;
                    manifest.sizes.insert(image.file.clone(), image.bytes);
                    Some(image)
                }
                None => None,
            };
            let mut libraries = BTreeMap::new();
            for (library, path) in &built.libraries {
                let file = path.file_name().context("a library's name")?;
                let relative = format!("lib/{}", file.to_string_lossy());
                link_or_copy(path, &place.dir.join(&relative))?;
                manifest
                    .sizes
                    .insert(relative.clone(), path.metadata()?.len());
                libraries.insert(library.clone(), relative);
            }
            manifest.extensions.insert(
                name.clone(),
                ExtensionFiles {
                    sql_name: built.sql_name.clone(),
                    libraries,
                    image,
                },
            );
        }
        fs::write(
            place.dir.join(MANIFEST_FILE),
            serde_json::to_vec_pretty(&manifest)?,
        )?;
        Ok(())
    })
}

/// Puts a checked image into the directory, packed.
fn place_image(dir: &Path, file: &str, path: &Path) -> Result<ImageFile> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let tree = Tree::parse(file, &bytes)?;
    if tree.fingerprint() != sha256(tree.fingerprinted()) {
        bail!(
            "{}: the fingerprint in the header is not that of the contents",
            path.display()
        );
    }
    let packed = packed::pack(file, &bytes)?;
    let to = dir.join(file);
    fs::write(&to, &packed).with_context(|| format!("writing {}", to.display()))?;
    Ok(ImageFile {
        file: file.to_owned(),
        fingerprint: hex(&tree.fingerprint()),
        bytes: packed.len() as u64,
    })
}

fn input(pinned: &Pinned) -> Input {
    let [name, version, file, sha256] =
        [pinned.name, pinned.version, pinned.file, pinned.sha256].map(str::to_owned);
    Input {
        name,
        version,
        file,
        sha256,
    }
}

fn step_record(record: &Record) -> StepRecord {
    StepRecord {
        name: record.step.clone(),
        fingerprint: record.fingerprint.to_string(),
        inputs: record
            .inputs
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        seconds: (record.seconds * 10.0).round() / 10.0,
    }
}

/// The same file under a second name where the file system can, a copy elsewhere.
fn link_or_copy(from: &Path, to: &Path) -> Result<()> {
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to)
            .with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    }
    Ok(())
}

/// Points `current-<target>.json` at `assets`. Left alone when it says so already, so that build scripts need not run again.
pub(super) fn make_current(cache: &Cache, target: &str, assets: &Output) -> Result<()> {
    let current = Current {
        assets: assets.dir.clone(),
        fingerprint: assets.record.fingerprint.to_string(),
    };
    let bytes = serde_json::to_vec_pretty(&current)?;
    let path = locator::current_path(cache.root(), target);
    if fs::read(&path).ok().as_deref() == Some(&bytes) {
        return Ok(());
    }
    write_atomically(&path, &bytes)
}
