//! The workspace as it would be published: each crate with the assets it needs inside.
//!
//! `aot`, `aot-extensions` and `aot-tools` get the static libraries, `assets` the images, all under `prebuilt/<target>` where their build scripts look first: whoever uses the
//! published crates builds nothing of PostgreSQL. The server alone takes most of what a registry allows one crate, hence three of them. Extensions under the GPL are in
//! `extensions-gpl` only, and have their sources beside them; those that are built on request are built for it, and are in `extensions-NAME`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use pglite_oxide_asset_locator::{
    self as locator, Assets, ExtensionFiles, MANIFEST_FILE, Manifest, PREBUILT,
};

use super::CRATES;
use crate::cache::{Cache, remove_tree};
use crate::extensions::{Catalogue, Home};
use crate::fetch::{Fetcher, Origin, Pinned};
use crate::progress::Progress;
use crate::{assets, suite};

/// What the published crates' tests need besides: a member of the staged workspace that is not published.
const DEVELOPMENT: &[&str] = &["aot-dev"];

/// A staged workspace.
pub(super) struct Staged {
    /// Its root.
    pub(super) root: PathBuf,
    /// The target whose assets are inside.
    pub(super) target: String,
}

/// Lays the workspace out in `root`.
pub(super) fn run(root: &Path) -> Result<Staged> {
    let workspace = suite::workspace()?;
    let apart = Apart::read(&workspace)?;
    assets::run(&assets::Options {
        with: apart.on_request.iter().cloned().collect(),
        ..assets::Options::default()
    })?;
    remove_tree(root)?;
    fs::create_dir_all(root.join("crates"))?;
    let target = assets::host_target()?;
    let found = locator::find(&target)?;
    let manifest = fs::read_to_string(workspace.join("Cargo.toml"))?;
    fs::write(root.join("Cargo.toml"), narrowed(&manifest)?)?;
    fs::copy(workspace.join("Cargo.lock"), root.join("Cargo.lock"))?;
    for name in CRATES.iter().chain(DEVELOPMENT) {
        let to = root.join("crates").join(name);
        copy_tree(&workspace.join("crates").join(name), &to)?;
        // They test the checkout: its documents, its catalogue, its examples.
        remove_tree(&to.join("tests"))?;
        let add = |file: &str| {
            fs::copy(workspace.join(file), to.join(file)).with_context(|| file.to_owned())
        };
        add("LICENSE-APACHE")?;
        add("LICENSE-MIT")?;
        if *name == "pglite-oxide" {
            add("README.md")?;
        } else {
            fs::write(to.join("README.md"), readme(&to)?)?;
        }
        let part = part(name, &found, &apart);
        // Where others' software is, or where a user looks for what it is.
        if part.is_some() || *name == "pglite-oxide" {
            add("NOTICE.md")?;
            copy_tree(&workspace.join("licenses"), &to.join("licenses"))?;
        }
        if let Some(part) = part {
            place(&found.dir, &to.join(PREBUILT).join(&target), part)?;
        }
        match *name {
            // Its recipes need the runtime's sources; the profile is for the server's objects only.
            "toolchain" => {
                copy_tree(&workspace.join("guest"), &to.join("guest"))?;
                remove_tree(&to.join("guest/profile"))?;
            }
            "extensions-gpl" => apart.add_sources(&to.join("sources"))?,
            name => {
                if let Some(extension) = apart.of_crate(name) {
                    fs::write(to.join("SOURCES.md"), sources(&workspace, extension)?)?;
                }
            }
        }
    }
    Ok(Staged {
        root: root.to_path_buf(),
        target,
    })
}

/// The extensions that are apart from the others.
struct Apart {
    copyleft: BTreeSet<String>,
    sources: Vec<Pinned>,
    on_request: BTreeSet<String>,
}

impl Apart {
    fn read(workspace: &Path) -> Result<Self> {
        let catalogue = Catalogue::read(&workspace.join("guest"))?;
        let mut all = Self {
            copyleft: BTreeSet::new(),
            sources: Vec::new(),
            on_request: BTreeSet::new(),
        };
        for extension in catalogue.built() {
            match catalogue.home(extension)? {
                Home::Free => {}
                Home::Copyleft => {
                    all.copyleft.insert(extension.name.clone());
                    all.sources.extend(catalogue.pinned(extension)?);
                }
                Home::Own(name) => {
                    all.on_request.insert(name);
                }
            }
        }
        Ok(all)
    }

    fn has(&self, name: &str) -> bool {
        self.copyleft.contains(name) || self.on_request.contains(name)
    }

    /// The extension that a crate is for.
    fn of_crate<'a>(&self, name: &'a str) -> Option<&'a str> {
        let extension = name.strip_prefix("extensions-")?;
        self.on_request.contains(extension).then_some(extension)
    }

    /// Their licence wants the sources to come with the objects; what is built of them, and how, is in the catalogue of the toolchain's crate.
    fn add_sources(&self, to: &Path) -> Result<()> {
        fs::create_dir_all(to)?;
        let cache = Cache::open(&locator::cache_root()?, Progress::new())?;
        let fetcher = Fetcher::new(&cache);
        for source in &self.sources {
            fs::copy(fetcher.get(source)?, to.join(source.file))?;
        }
        Ok(())
    }
}

/// Where the sources of an extension are that are too large for the crate: its licence wants to be told beside the objects.
fn sources(workspace: &Path, name: &str) -> Result<String> {
    let catalogue = Catalogue::read(&workspace.join("guest"))?;
    let extension = catalogue
        .built()
        .find(|extension| extension.name == name)
        .with_context(|| format!("{name} is not in the catalogue"))?;
    let mut text = format!(
        "# Sources of {name}\n\nThe objects in this crate were made of the files below, with the patches in `guest/extensions/{name}` of the crate `pglite-oxide-toolchain` and by its recipes and `guest/extensions/catalogue.toml`\n\
         (`cargo xtask assets --with {name}` in the repository fetches and builds them).\n\n| file | sha256 | where |\n|---|---|---|\n"
    );
    for pinned in catalogue.all_sources(extension)? {
        let place = match pinned.origin {
            Origin::Release {
                url, debian_source, ..
            } => format!("<{url}>, or Debian's source package `{debian_source}`"),
            Origin::Debian { package, .. } => format!("Debian's source package `{package}`"),
            Origin::Crate { package } => {
                format!("the crate `{package}` {}", pinned.version)
            }
            other => bail!("{}: {other:?} is no place to name", pinned.name),
        };
        let _ = writeln!(text, "| {} | `{}` | {place} |", pinned.file, pinned.sha256);
    }
    Ok(text)
}

/// The assets that belong into a crate, if any do.
fn part(name: &str, found: &Assets, apart: &Apart) -> Option<Manifest> {
    let whole = &found.manifest;
    let linked = |modules: &[&str]| Manifest {
        // What the libraries were made from is in the manifest that `assets` hands out.
        inputs: Vec::new(),
        steps: Vec::new(),
        libraries: whole
            .libraries
            .iter()
            .filter(|(module, _)| modules.contains(&module.as_str()))
            .map(|(module, file)| (module.clone(), file.clone()))
            .collect(),
        extensions: BTreeMap::new(),
        images: BTreeMap::new(),
        clusters: BTreeMap::new(),
        ..whole.clone()
    };
    match name {
        "aot" => Some(linked(&["postgres"])),
        "aot-extensions" => Some(Manifest {
            extensions: extensions(whole, |name, files| {
                files.image = None;
                !apart.has(name)
            }),
            ..linked(&["exports"])
        }),
        "extensions-gpl" => Some(Manifest {
            extensions: extensions(whole, |name, _| apart.copyleft.contains(name)),
            ..linked(&[])
        }),
        "aot-tools" => Some(linked(&["tools"])),
        "assets" => Some(Manifest {
            libraries: BTreeMap::new(),
            extensions: extensions(whole, |name, files| {
                files.libraries.clear();
                !apart.has(name)
            }),
            ..whole.clone()
        }),
        name => {
            let extension = apart.of_crate(name)?;
            Some(Manifest {
                extensions: extensions(whole, |name, _| name == extension),
                ..linked(&[])
            })
        }
    }
}

/// The extensions that `keep` keeps, with what it keeps of their files.
fn extensions(
    manifest: &Manifest,
    keep: impl Fn(&str, &mut ExtensionFiles) -> bool,
) -> BTreeMap<String, ExtensionFiles> {
    let mut part = manifest.extensions.clone();
    part.retain(|name, files| keep(name, files));
    part
}

/// The workspace's manifest with the staged crates as only members.
fn narrowed(manifest: &str) -> Result<String> {
    let members: Vec<String> = CRATES
        .iter()
        .chain(DEVELOPMENT)
        .map(|name| format!("\"crates/{name}\""))
        .collect();
    let line = manifest
        .lines()
        .find(|line| line.starts_with("members = "))
        .context("no members in Cargo.toml")?;
    Ok(manifest.replace(line, &format!("members = [{}]", members.join(", "))))
}

/// What a registry shows of a crate that is a part of another.
fn readme(package: &Path) -> Result<String> {
    let manifest: toml::Table = toml::from_str(&fs::read_to_string(package.join("Cargo.toml"))?)?;
    let field = |name: &str| {
        let value = manifest["package"].get(name).and_then(toml::Value::as_str);
        value.with_context(|| format!("{} has no {name}", package.display()))
    };
    // Else the workspace's.
    let licence = field("license").unwrap_or("Apache-2.0 or MIT");
    Ok(format!(
        "# {}\n\n{}.\n\nA part of [pglite-oxide](https://crates.io/crates/pglite-oxide), of the same version and for no other use. Licensed under {licence}; compiled-in software under what `NOTICE.md` says, if there is one.\n",
        field("name")?,
        field("description")?
    ))
}

/// The files that `part` names, with `part` as their manifest.
fn place(from: &Path, to: &Path, mut part: Manifest) -> Result<()> {
    let files: Vec<String> = part.files().cloned().collect();
    part.sizes.retain(|file, _| files.contains(file));
    for file in files {
        let target = to.join(&file);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::copy(from.join(&file), &target).with_context(|| format!("copying {file}"))?;
    }
    fs::write(to.join(MANIFEST_FILE), serde_json::to_vec_pretty(&part)?)?;
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("listing {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)
                .with_context(|| format!("copying {}", entry.path().display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A crate that is linked by a published one and not among them would be missing from the registry.
    #[test]
    fn all_that_published_crates_depend_on_is_published() {
        let crates = suite::workspace().unwrap().join("crates");
        let manifest = |name: &str| -> toml::Table {
            toml::from_str(&fs::read_to_string(crates.join(name).join("Cargo.toml")).unwrap())
                .unwrap()
        };
        let published: Vec<String> = CRATES
            .iter()
            .map(|name| {
                manifest(name)["package"]["name"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        for name in CRATES {
            let manifest = manifest(name);
            assert!(manifest["package"].get("publish").is_none(), "{name}");
            for kind in ["dependencies", "build-dependencies"] {
                let Some(dependencies) = manifest.get(kind).and_then(toml::Value::as_table) else {
                    continue;
                };
                for (dependency, how) in dependencies {
                    if dependency.starts_with("pglite-oxide") {
                        assert!(published.contains(dependency), "{name}: {dependency}");
                        // The workspace's table has the versions, without which cargo publishes nothing.
                        assert!(how.get("workspace").is_some(), "{name}: {dependency}");
                    }
                }
            }
        }
    }
}
