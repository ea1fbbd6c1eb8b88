//! The static libraries that side modules are linked with, each a step of its own, built when an extension that is built wants it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use crate::cache::{Output, Record};
use crate::extensions::{Catalogue, Extension, LIBCRYPTO, LIBXSLT};
use crate::fetch::{Pinned, pins};
use crate::fingerprint::Inputs;
use crate::guest;

use pglite_oxide_toolchain::builder::Server;
use pglite_oxide_toolchain::{Builder, Toolbox};

/// Those that were built, by their names in the catalogue.
#[derive(Default)]
pub(super) struct StaticLibraries {
    built: BTreeMap<&'static str, Output>,
    /// What they are made of.
    pub(super) sources: Vec<Pinned>,
}

impl StaticLibraries {
    /// Builds what `extensions` link.
    pub(super) fn build(
        builder: &Builder<'_>,
        toolbox: &Toolbox,
        base: &Server,
        catalogue: &Catalogue,
        extensions: &[&Extension],
    ) -> Result<Self> {
        let mut all = Self::default();
        let libraries = extensions
            .iter()
            .flat_map(|extension| extension.libraries());
        for name in libraries.flat_map(|library| library.links) {
            if all.built.contains_key(name.as_str()) {
                continue;
            }
            let recipe = Recipe {
                builder,
                toolbox,
                base,
                catalogue,
            };
            let (name, output, sources) = recipe.run(&name)?;
            all.built.insert(name, output);
            all.sources.extend(sources);
        }
        Ok(all)
    }

    /// Of `names`.
    pub(super) fn get(&self, names: &[String]) -> Result<Vec<&Output>> {
        let get = |name: &String| {
            let found = self.built.get(name.as_str());
            found.with_context(|| format!("{name} was not built"))
        };
        names.iter().map(get).collect()
    }

    /// What is known of their making.
    pub(super) fn records(&self) -> impl Iterator<Item = Record> {
        self.built.values().map(|output| output.record.clone())
    }
}

struct Recipe<'a> {
    builder: &'a Builder<'a>,
    toolbox: &'a Toolbox,
    base: &'a Server,
    catalogue: &'a Catalogue,
}

impl Recipe<'_> {
    fn run(&self, name: &str) -> Result<(&'static str, Output, Vec<Pinned>)> {
        let guest = self.builder.guest_dir();
        let libc = &self.base.libc.dir;
        Ok(match name {
            LIBCRYPTO => {
                let inputs = guest::libcrypto_inputs(guest)?.value("openssl", pins::OPENSSL.sha256);
                let output = self.step(
                    LIBCRYPTO,
                    inputs,
                    &[pins::OPENSSL],
                    |context, sources, out| guest::libcrypto(context, &sources[0].dir, libc, out),
                )?;
                (LIBCRYPTO, output, vec![pins::OPENSSL])
            }
            LIBXSLT => {
                let libxml2 = self.builder.libxml2(self.toolbox, &self.base.libc)?;
                let inputs = guest::libxslt_inputs()
                    .value("libxslt", pins::LIBXSLT.sha256)
                    .step(&libxml2);
                let output = self.step(
                    LIBXSLT,
                    inputs,
                    &[pins::LIBXSLT],
                    |context, sources, out| {
                        let (source, version) = (&sources[0].dir, pins::LIBXSLT.version);
                        guest::libxslt(context, source, version, &libxml2.dir, libc, out)
                    },
                )?;
                (LIBXSLT, output, vec![pins::LIBXSLT])
            }
            guest::LIBXML2 => {
                let inputs = guest::libxml2_inputs().value("libxml2", pins::LIBXML2.sha256);
                let step = "libxml2-library";
                let output =
                    self.step(step, inputs, &[pins::LIBXML2], |context, sources, out| {
                        guest::libxml2_library(context, &sources[0].dir, libc, out)
                    })?;
                // The server has it, too.
                (guest::LIBXML2, output, Vec::new())
            }
            guest::CXX => {
                let inputs = guest::cxx_library_inputs(guest)?;
                let output = self.step("cxx-library", inputs, &[], |context, _, out| {
                    guest::cxx_library(context, libc, out)
                })?;
                (guest::CXX, output, Vec::new())
            }
            guest::GEOS => {
                let inputs = guest::geos_inputs(guest)?;
                self.of_catalogue(guest::GEOS, inputs, &["geos"], |context, sources, out| {
                    guest::geos(context, &sources[0].dir, libc, out)
                })?
            }
            guest::PROJ => {
                let inputs = guest::proj_inputs(guest)?;
                let names = ["proj", "sqlite"];
                self.of_catalogue(guest::PROJ, inputs, &names, |context, sources, out| {
                    let sqlite = sources[1].join("sqlite3");
                    guest::proj(context, &sources[0].dir, &sqlite, libc, out)
                })?
            }
            guest::JSON_C => {
                let inputs = guest::interchange_inputs();
                self.of_catalogue(
                    guest::JSON_C,
                    inputs,
                    &["json-c"],
                    |context, sources, out| guest::json_c(context, &sources[0].dir, libc, out),
                )?
            }
            guest::PROTOBUF_C => {
                let inputs = guest::interchange_inputs();
                let names = ["protobuf-c"];
                self.of_catalogue(
                    guest::PROTOBUF_C,
                    inputs,
                    &names,
                    |context, sources, out| guest::protobuf_c(context, &sources[0].dir, libc, out),
                )?
            }
            other => anyhow::bail!("there is no recipe for the static library {other}"),
        })
    }

    /// One whose sources are in the catalogue.
    fn of_catalogue(
        &self,
        name: &'static str,
        mut inputs: Inputs,
        sources: &[&str],
        work: impl FnOnce(&guest::GuestCtx<'_>, &[Output], &std::path::Path) -> Result<()>,
    ) -> Result<(&'static str, Output, Vec<Pinned>)> {
        let pinned: Vec<Pinned> = sources
            .iter()
            .map(|source| self.catalogue.pin(source))
            .collect::<Result<_>>()?;
        for source in &pinned {
            inputs = inputs.value(source.name, source.sha256);
        }
        let output = self.step(name, inputs, &pinned, work)?;
        Ok((name, output, pinned))
    }

    fn step(
        &self,
        step: &str,
        inputs: Inputs,
        sources: &[Pinned],
        work: impl FnOnce(&guest::GuestCtx<'_>, &[Output], &std::path::Path) -> Result<()>,
    ) -> Result<Output> {
        let inputs = inputs
            .value("compiler", pins::wheel("ziglang")?.sha256)
            .step(&self.base.libc);
        if let Some(found) = self.builder.cache().find(step, &inputs) {
            return Ok(found);
        }
        let unpacked: Vec<Output> = sources
            .iter()
            .map(|source| self.builder.source(source))
            .collect::<Result<_>>()?;
        self.builder
            .recipe(self.toolbox, step, inputs, false, |context, place| {
                work(context, &unpacked, place.dir)
            })
    }
}
