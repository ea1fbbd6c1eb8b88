//! The steps and what each depends on.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;

use crate::cache::{Cache, Output, Record};
use crate::fetch::{Fetcher, Pinned, pins};
use crate::fingerprint::Inputs;
use crate::tools::{self, HostTools};
use crate::unpack;

use super::finish::{self, Parts};

/// Everything a build works with.
pub struct Builder<'a> {
    cache: &'a Cache,
    fetcher: Fetcher<'a>,
    target: String,
}

/// The compiled modules.
pub struct Objects {
    /// Static libraries by module name.
    pub libraries: BTreeMap<String, PathBuf>,
    records: Vec<Record>,
}

impl<'a> Builder<'a> {
    /// For one target triple.
    pub fn new(cache: &'a Cache, target: &str) -> Result<Self> {
        Ok(Self {
            cache,
            fetcher: Fetcher::new(cache),
            target: target.to_owned(),
        })
    }

    /// A source tree, unpacked.
    fn source(&self, pinned: &Pinned) -> Result<Output> {
        let inputs = Inputs::new().value("sha256", pinned.sha256);
        let step = format!("source-{}", pinned.name);
        if let Some(found) = self.cache.find(&step, &inputs) {
            return Ok(found);
        }
        let archive = self.fetcher.get(pinned)?;
        self.cache.step(&step, inputs, false, |place| {
            unpack::tarball(&archive, place.dir)
        })
    }

    /// Compiles everything.
    pub fn objects(&self, _profile: bool) -> Result<Objects> {
        let musl = self.source(&pins::MUSL)?;
        let postgres = self.source(&pins::POSTGRES)?;
        let zig = tools::zig(self.cache, &self.fetcher)?;
        let wabt = tools::wabt(self.cache, &self.fetcher)?;
        let host = HostTools::find(self.cache)?;
        eprintln!(
            "{:?} {:?} {:?} {:?} {:?}",
            musl.dir, postgres.dir, zig, wabt, host
        );
        Ok(Objects {
            libraries: BTreeMap::new(),
            records: Vec::new(),
        })
    }

    /// Puts objects, images and the manifest together.
    pub fn assets(&self, objects: &Objects) -> Result<Output> {
        finish::assemble(
            self.cache,
            "assets",
            Parts {
                target: &self.target,
                inputs: &[pins::POSTGRES],
                records: objects.records.clone(),
                libraries: &objects.libraries,
                images: vec![],
            },
        )
    }
}
