//! Getting pinned files: from the cache, the project's own release site, a package registry through its ordinary client, or a mirror directory.
//!
//! Whatever the source, only the sha256 in [`pins`] decides whether a file is accepted.

mod apt;
mod cargo;
mod npm;
pub mod pins;
mod pip;
mod web;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};

pub use apt::{DebianMirror, unpacked as apt_packages};
pub use pins::{Origin, Pinned};
pub use pip::pip;

use crate::cache::{Cache, remove_tree};
use crate::fingerprint::Fingerprint;
use crate::progress::Bar;

/// The directory of source archives that `PGLITE_OXIDE_SOURCES` names, if any.
pub fn mirror_dir() -> Option<PathBuf> {
    std::env::var_os("PGLITE_OXIDE_SOURCES")
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from)
}

/// Fetches pinned files into a cache.
pub struct Fetcher<'a> {
    cache: &'a Cache,
    /// Hosts that did not answer in this run: not asked again.
    silent_hosts: RefCell<BTreeSet<String>>,
}

/// Where an accepted file lies.
pub fn cached_path(cache_root: &Path, pinned: &Pinned) -> PathBuf {
    cache_root
        .join("fetch")
        .join(&pinned.sha256[..16])
        .join(pinned.file)
}

impl<'a> Fetcher<'a> {
    /// A fetcher for one run.
    pub fn new(cache: &'a Cache) -> Self {
        Self {
            cache,
            silent_hosts: RefCell::default(),
        }
    }

    /// The path of the pinned file, fetched if need be.
    ///
    /// Files in the cache got there by a rename after their sum was checked, and are trusted from then on.
    pub fn get(&self, pinned: &Pinned) -> Result<PathBuf> {
        let target = cached_path(self.cache.root(), pinned);
        if target.is_file() {
            return Ok(target);
        }
        let bar = self.cache.progress().step("fetch");
        let begun = std::time::Instant::now();
        let scratch = self
            .cache
            .root()
            .join("fetch")
            .join(format!(".tmp-{}", pinned.name));
        remove_tree(&scratch)?;
        fs::create_dir_all(&scratch)?;
        let result = self.try_ways(pinned, &scratch, &bar).and_then(|file| {
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::rename(&file, &target)
                .with_context(|| format!("moving {} into place", target.display()))
        });
        remove_tree(&scratch)?;
        match result {
            Ok(()) => {
                bar.done(begun.elapsed());
                Ok(target)
            }
            Err(error) => {
                bar.fail();
                Err(error)
            }
        }
    }

    /// Tries every way in turn; the error tells what each said.
    fn try_ways(&self, pinned: &Pinned, scratch: &Path, bar: &Bar) -> Result<PathBuf> {
        let mut said = Vec::new();
        for way in Way::to(pinned) {
            bar.message(format!("{} from {}", pinned.file, way.describe(pinned)));
            let got = match way {
                Way::ReleaseSite(url) => self.fetch_from_site(url, pinned, scratch),
                Way::Registry => self.fetch_from_registry(pinned, scratch),
                Way::Mirror => from_mirror(pinned, scratch),
            };
            match got.and_then(|file| check(pinned, &file).map(|()| file)) {
                Ok(file) => return Ok(file),
                Err(error) => said.push(format!("  {}: {error:#}", way.describe(pinned))),
            }
        }
        Err(anyhow!(
            "{} {} (sha256 {}) could not be had:\n{}\nPGLITE_OXIDE_SOURCES may name a directory that has {}",
            pinned.name,
            pinned.version,
            pinned.sha256,
            said.join("\n"),
            pinned.file
        ))
    }

    fn fetch_from_site(&self, url: &str, pinned: &Pinned, scratch: &Path) -> Result<PathBuf> {
        let host = web::host(url);
        if self.silent_hosts.borrow().contains(host) {
            bail!("{host} did not answer earlier in this run");
        }
        let file = scratch.join(pinned.file);
        web::download(url, &file).inspect_err(|_| {
            self.silent_hosts.borrow_mut().insert(host.to_owned());
        })?;
        Ok(file)
    }

    fn fetch_from_registry(&self, pinned: &Pinned, scratch: &Path) -> Result<PathBuf> {
        let (version, file) = (pinned.version, pinned.file);
        match pinned.origin {
            Origin::Release {
                debian_source: package,
                suites,
                ..
            }
            | Origin::Debian { package, suites } => {
                self.fetch_from_debian(package, suites, file, scratch)
            }
            Origin::Wheel { package } => pip::download(package, version, file, scratch, self.cache),
            Origin::Crate { package } => cargo::download(package, version, file, scratch),
            Origin::Sdist { package, backend } => {
                pip::sdist(package, backend, version, file, scratch, self.cache)
            }
            Origin::Npm { package } => npm::download(package, version, file, scratch),
        }
    }

    fn fetch_from_debian(
        &self,
        package: &str,
        suites: &[&str],
        file: &str,
        scratch: &Path,
    ) -> Result<PathBuf> {
        let mirror = DebianMirror::of_this_machine()?;
        let mut said = Vec::new();
        for suite in suites {
            let root = self
                .cache
                .root()
                .join("apt")
                .join(format!("source-{suite}"));
            match mirror
                .root(&root, &format!("deb-src {suite} main"))
                .and_then(|root| root.source(package, file, scratch))
            {
                Ok(file) => return Ok(file),
                Err(error) => said.push(format!("{suite}: {error:#}")),
            }
        }
        bail!("{}", said.join("; "))
    }
}

fn from_mirror(pinned: &Pinned, scratch: &Path) -> Result<PathBuf> {
    let dir = mirror_dir().context("PGLITE_OXIDE_SOURCES is not set")?;
    let copy = scratch.join(pinned.file);
    fs::copy(dir.join(pinned.file), &copy)
        .with_context(|| format!("{}", dir.join(pinned.file).display()))?;
    Ok(copy)
}

/// One way to a file.
#[derive(Clone, Copy)]
enum Way {
    /// The project's own site.
    ReleaseSite(&'static str),
    /// What the file's [`Origin`] names: Debian or a package registry.
    Registry,
    /// The directory of source archives.
    Mirror,
}

impl Way {
    /// All ways to a file, in the order to try.
    fn to(pinned: &Pinned) -> impl Iterator<Item = Self> {
        let site = match pinned.origin {
            Origin::Release { url, .. } => Some(Self::ReleaseSite(url)),
            _ => None,
        };
        site.into_iter().chain([Self::Registry, Self::Mirror])
    }

    fn describe(self, pinned: &Pinned) -> String {
        match self {
            Self::ReleaseSite(url) => web::host(url).to_owned(),
            Self::Registry => pinned.origin.describe(),
            Self::Mirror => "the mirror directory".to_owned(),
        }
    }
}

/// The file called `file`, if it is what was downloaded into `scratch`.
fn wanted(file: &str, scratch: &Path) -> Result<PathBuf> {
    let path = scratch.join(file);
    if !path.is_file() {
        let got: Vec<_> = fs::read_dir(scratch)?
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        bail!("wanted {file}, found {}", got.join(", "));
    }
    Ok(path)
}

fn check(pinned: &Pinned, file: &Path) -> Result<()> {
    let found = Fingerprint::of_file(file)?;
    if found.as_str() != pinned.sha256 {
        bail!(
            "{}: sha256 wanted {}, found {found}",
            pinned.file,
            pinned.sha256
        );
    }
    Ok(())
}
