//! Where built assets are, and what is among them: shared by [build scripts](build) and by `cargo xtask`.
//!
//! A directory of assets holds `manifest.json` ([`Manifest`]) and the files it names. It is found through `PGLITE_OXIDE_ASSETS` (the directory
//! itself), in the published crates as `prebuilt/<target>` beside the build script, or through `<cache>/current-<target>.json` ([`Current`]), which
//! the last step of `cargo xtask assets` writes.
#![forbid(unsafe_code)]

pub mod build;
mod sources;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use sources::sources;

/// The version of the manifest's form; readers refuse any other.
pub const MANIFEST_VERSION: u32 = 4;
/// The manifest's name in a directory of assets.
pub const MANIFEST_FILE: &str = "manifest.json";
/// Where published packages have their assets, in a directory named after the target.
pub const PREBUILT: &str = "prebuilt";

/// Why there are no assets to be found.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LocateError {
    /// Nothing was built.
    #[error(
        "PostgreSQL's objects are not built for {target} ({path} is not there).\nRun: cargo xtask assets{hint}"
    )]
    NotBuilt {
        /// The wanted target.
        target: String,
        /// The file that was looked for.
        path: PathBuf,
        /// More of the command.
        hint: String,
    },
    /// A published crate has no objects for the target.
    #[error(
        "this version of {package} has PostgreSQL's objects for {}, not for {target}.\nFrom a clone of its repository, `cargo xtask assets` builds them; PGLITE_OXIDE_ASSETS names their directory",
        found.join(", ")
    )]
    Target {
        /// The crate.
        package: String,
        /// The wanted target.
        target: String,
        /// Those that it has.
        found: Vec<String>,
    },
    /// A file could not be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file does not have the form that this version understands.
    #[error("{path}: {reason}.\nRun: cargo xtask assets")]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The assets do not have what is asked for.
    #[error("{path} has no {wanted}; it has {found}.\nRun: {command}")]
    Lacks {
        /// The manifest.
        path: PathBuf,
        /// What was asked for.
        wanted: String,
        /// What is there.
        found: String,
        /// What makes it.
        command: String,
    },
    /// There is no home directory to keep a cache in.
    #[error("no home directory: set PGLITE_OXIDE_CACHE")]
    NoHome,
}

/// The content of `<cache>/current-<target>.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Current {
    /// The directory of assets.
    pub assets: PathBuf,
    /// Its manifest's fingerprint.
    pub fingerprint: String,
}

/// One tree image among the assets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImageFile {
    /// The file, relative to the manifest.
    pub file: String,
    /// The fingerprint in its header.
    pub fingerprint: String,
    /// Its length in bytes.
    pub bytes: u64,
}

/// One frozen cluster among the assets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClusterFile {
    /// The file, relative to the manifest.
    pub file: String,
    /// The [`sources`] of the program that wrote it: others may not understand it.
    pub sources: String,
    /// Its length in bytes.
    pub bytes: u64,
}

/// One input from outside.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The file.
    pub file: String,
    /// sha256 of the file.
    pub sha256: String,
}

/// One step of the build.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StepRecord {
    /// Its name.
    pub name: String,
    /// The hash of its inputs.
    pub fingerprint: String,
    /// The inputs: versions, flags, hashes of files, fingerprints of other steps.
    pub inputs: BTreeMap<String, String>,
    /// How long it took when it was run.
    pub seconds: f64,
}

/// One extension among the assets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExtensionFiles {
    /// Its name in SQL.
    pub sql_name: String,
    /// Static libraries by the name that `dlopen` knows, relative to the manifest.
    pub libraries: BTreeMap<String, String>,
    /// The image of its installed files; none in a package that only links, and for what installs none.
    pub image: Option<ImageFile>,
}

impl ExtensionFiles {
    /// The C symbol of a library's descriptor.
    #[must_use]
    pub fn symbol(library: &str) -> String {
        format!("pgl_library_{}", library.replace('-', "_"))
    }
}

/// The cargo feature of an extension, as cargo tells build scripts: `CARGO_FEATURE_EXT_UUID_OSSP`.
#[must_use]
pub fn feature_variable(extension: &str) -> String {
    format!(
        "{EXTENSION_FEATURE}{}",
        extension.replace('-', "_").to_uppercase()
    )
}

/// How the variables of extensions' features begin.
const EXTENSION_FEATURE: &str = "CARGO_FEATURE_EXT_";

/// The truth about a directory of assets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_VERSION`].
    pub version: u32,
    /// The hash over all inputs.
    pub fingerprint: String,
    /// The target triple that the libraries are for.
    pub target: String,
    /// Everything fetched.
    pub inputs: Vec<Input>,
    /// Every step.
    pub steps: Vec<StepRecord>,
    /// Static libraries by the name of their module (`postgres`, `initdb`), relative to the manifest.
    pub libraries: BTreeMap<String, String>,
    /// Extensions by name. None before the template is made.
    pub extensions: BTreeMap<String, ExtensionFiles>,
    /// Tree images by name (`share`, `template`, `template-icu`). No templates before they are made.
    pub images: BTreeMap<String, ImageFile>,
    /// Frozen clusters by the name of the template they began as. None before they are made, and where the compiled modules have no use for them.
    pub clusters: BTreeMap<String, ClusterFile>,
    /// Sizes in bytes of all files.
    pub sizes: BTreeMap<String, u64>,
}

impl Manifest {
    /// All files that it names, relative to it.
    pub fn files(&self) -> impl Iterator<Item = &String> {
        let images = self.images.values().map(|image| &image.file);
        let clusters = self.clusters.values().map(|cluster| &cluster.file);
        let extensions = self.extensions.values().flat_map(|extension| {
            let image = extension.image.iter().map(|image| &image.file);
            image.chain(extension.libraries.values())
        });
        let libraries = self.libraries.values();
        libraries.chain(images).chain(clusters).chain(extensions)
    }
}

/// A directory of assets and its manifest.
#[derive(Clone, Debug)]
pub struct Assets {
    /// The directory.
    pub dir: PathBuf,
    /// What is in it.
    pub manifest: Manifest,
    /// Files and variables that the finding depended on, for `rerun-if-changed`.
    pub depends_on: Vec<PathBuf>,
}

/// The environment variables that decide which assets are used.
pub const VARIABLES: [&str; 5] = [
    "PGLITE_OXIDE_ASSETS",
    "PGLITE_OXIDE_CACHE",
    "PGLITE_OXIDE_NO_ASSETS",
    "XDG_CACHE_HOME",
    "DOCS_RS",
];

fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// True where a build shall do without assets: documentation and lints.
#[must_use]
pub fn without_assets() -> bool {
    variable("PGLITE_OXIDE_NO_ASSETS").is_some() || variable("DOCS_RS").is_some()
}

/// `PGLITE_OXIDE_CACHE`, or `pglite-oxide` in the user's cache directory.
///
/// # Errors
/// Without a home directory.
pub fn cache_root() -> Result<PathBuf, LocateError> {
    if let Some(dir) = variable("PGLITE_OXIDE_CACHE") {
        return std::path::absolute(&dir).map_err(|source| LocateError::Read { path: dir, source });
    }
    let base = variable("XDG_CACHE_HOME").filter(|dir| dir.is_absolute());
    let base = base
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))
        .ok_or(LocateError::NoHome)?;
    Ok(base.join("pglite-oxide"))
}

/// The pointer to the current assets of a target.
#[must_use]
pub fn current_path(cache: &Path, target: &str) -> PathBuf {
    cache.join(format!("current-{target}.json"))
}

fn read(path: &Path) -> Result<Vec<u8>, LocateError> {
    fs::read(path).map_err(|source| LocateError::Read {
        path: path.to_path_buf(),
        source,
    })
}

/// Reads the manifest of a directory of assets.
///
/// # Errors
/// When it cannot be read or has another form, or a file it names is not there.
pub fn open(dir: &Path) -> Result<Assets, LocateError> {
    let path = dir.join(MANIFEST_FILE);
    let form = |reason: String| LocateError::Form {
        path: path.clone(),
        reason,
    };
    let value: serde_json::Value =
        serde_json::from_slice(&read(&path)?).map_err(|error| form(error.to_string()))?;
    let version = value.get("version").and_then(serde_json::Value::as_u64);
    if version != Some(u64::from(MANIFEST_VERSION)) {
        return Err(form(format!(
            "version wanted {MANIFEST_VERSION}, found {version:?}"
        )));
    }
    let manifest: Manifest =
        serde_json::from_value(value).map_err(|error| form(error.to_string()))?;
    for file in manifest.files() {
        let file = dir.join(file);
        if !file.is_file() {
            return Err(form(format!("{} is not there", file.display())));
        }
    }
    Ok(Assets {
        dir: dir.to_path_buf(),
        manifest,
        depends_on: vec![path.clone()],
    })
}

/// Assets for `target` inside a published package; `None` in a checkout, whose packages have none.
///
/// # Errors
/// When it has some, and none for this target.
pub fn prebuilt(package: &Path, target: &str) -> Result<Option<PathBuf>, LocateError> {
    let Ok(entries) = fs::read_dir(package.join(PREBUILT)) else {
        return Ok(None);
    };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let (name, dir) = (entry.file_name(), entry.path());
        if dir.join(MANIFEST_FILE).is_file() {
            if name == target {
                return Ok(Some(dir));
            }
            found.push(name.to_string_lossy().into_owned());
        }
    }
    found.sort();
    Err(LocateError::Target {
        package: env::var("CARGO_PKG_NAME").unwrap_or_else(|_| "pglite-oxide".to_owned()),
        target: target.to_owned(),
        found,
    })
}

/// Finds the assets for `target`.
///
/// # Errors
/// When there are none, with the command that makes them.
pub fn find(target: &str) -> Result<Assets, LocateError> {
    let mut depends_on = Vec::new();
    let dir = if let Some(dir) = variable("PGLITE_OXIDE_ASSETS") {
        dir
    } else if let Some(dir) = variable("CARGO_MANIFEST_DIR")
        .map(|package| prebuilt(&package, target))
        .transpose()?
        .flatten()
    {
        dir
    } else {
        let path = current_path(&cache_root()?, target);
        depends_on.push(path.clone());
        if !path.is_file() {
            let host = env::var("HOST").is_ok_and(|host| host == target);
            let hint = if host {
                String::new()
            } else {
                format!(" --target {target}")
            };
            return Err(LocateError::NotBuilt {
                target: target.to_owned(),
                path,
                hint,
            });
        }
        let current: Current =
            serde_json::from_slice(&read(&path)?).map_err(|error| LocateError::Form {
                path: path.clone(),
                reason: error.to_string(),
            })?;
        current.assets
    };
    let mut assets = open(&dir)?;
    if assets.manifest.target != target {
        let reason = format!("target wanted {target}, found {}", assets.manifest.target);
        return Err(LocateError::Form {
            path: dir.join(MANIFEST_FILE),
            reason,
        });
    }
    assets.depends_on.extend(depends_on);
    Ok(assets)
}

impl Assets {
    /// The static library of a module.
    ///
    /// # Errors
    /// When there is none.
    pub fn library(&self, module: &str) -> Result<PathBuf, LocateError> {
        let found = self
            .manifest
            .libraries
            .get(module)
            .map(|file| self.dir.join(file));
        found.ok_or_else(|| {
            self.lacks(
                format!("library of {module:?}"),
                self.manifest.libraries.keys(),
            )
        })
    }

    /// The extensions whose cargo feature is on in the build script that asks.
    ///
    /// # Errors
    /// When one of them is not among the assets.
    pub fn enabled_extensions(&self) -> Result<Vec<(&String, &ExtensionFiles)>, LocateError> {
        let wanted: Vec<String> = env::vars_os()
            .filter_map(|(name, _)| name.into_string().ok())
            .filter(|name| name.starts_with(EXTENSION_FEATURE))
            .collect();
        let enabled: Vec<_> = self
            .manifest
            .extensions
            .iter()
            .filter(|(name, _)| wanted.contains(&feature_variable(name)))
            .collect();
        if enabled.len() == wanted.len() {
            return Ok(enabled);
        }
        let known: Vec<String> = enabled
            .iter()
            .map(|(name, _)| feature_variable(name))
            .collect();
        let lacking = wanted.iter().filter(|name| !known.contains(name));
        let lacking: Vec<String> = lacking
            .map(|name| name.replace(EXTENSION_FEATURE, "").to_lowercase())
            .collect();
        let mut error = self.lacks(
            format!("extension {}", lacking.join(", ")),
            self.manifest.extensions.keys(),
        );
        if let LocateError::Lacks { command, .. } = &mut error {
            *command = format!(
                "cargo xtask assets, or for extensions that are built on request only (docs/EXTENSIONS.md): cargo xtask assets --with {}",
                lacking.join(" --with ")
            );
        }
        Err(error)
    }

    /// A tree image: its path and record.
    ///
    /// # Errors
    /// When there is none.
    pub fn image(&self, name: &str) -> Result<(PathBuf, &ImageFile), LocateError> {
        let found = self
            .manifest
            .images
            .get(name)
            .map(|image| (self.dir.join(&image.file), image));
        found.ok_or_else(|| self.lacks(format!("image {name:?}"), self.manifest.images.keys()))
    }

    fn lacks<'a>(&self, wanted: String, found: impl Iterator<Item = &'a String>) -> LocateError {
        let found: Vec<_> = found.map(String::as_str).collect();
        let found = if found.is_empty() {
            "none".to_owned()
        } else {
            found.join(", ")
        };
        LocateError::Lacks {
            path: self.dir.join(MANIFEST_FILE),
            wanted,
            found,
            command: "cargo xtask assets".to_owned(),
        }
    }
}
