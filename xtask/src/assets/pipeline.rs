//! The steps and what each depends on.
//!
//! ```text
//! sources, tools -> libc -> libxml2, compression -> postgres -> link -> translate -> compile -> objects -> template -> assets
//!                                                       `-> share ------------------------------'
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use pglite_oxide_asset_locator as locator;

use crate::cache::{Cache, Output, Record, Workplace};
use crate::fetch::{Fetcher, Pinned, pins};
use crate::fingerprint::Inputs;
use crate::guest::{self, GuestCtx, Profile};
use crate::tools::{self, HostTools};
use crate::{pgo, process, suite, unpack};

use super::extensions::{self, Base, Extensions};
use super::finish::{self, Parts};
use super::{profile_path, share};

/// Everything a build works with.
pub struct Builder<'a> {
    pub(super) cache: &'a Cache,
    fetcher: Fetcher<'a>,
    target: String,
    workspace: PathBuf,
}

/// The tools of one run.
pub(super) struct Toolbox {
    zig: PathBuf,
    wabt: PathBuf,
    host: HostTools,
}

/// The compiled modules and the installed tree that belongs to them.
pub struct Objects {
    libraries: BTreeMap<String, PathBuf>,
    share_image: PathBuf,
    extensions: Extensions,
    records: Vec<Record>,
    instrumented: bool,
}

impl<'a> Builder<'a> {
    /// For one target triple.
    pub fn new(cache: &'a Cache, target: &str) -> Result<Self> {
        Ok(Self {
            cache,
            fetcher: Fetcher::new(cache),
            target: target.to_owned(),
            workspace: suite::workspace()?,
        })
    }

    /// A source tree, unpacked.
    pub(super) fn source(&self, pinned: &Pinned) -> Result<Output> {
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

    /// The target triple.
    pub(super) fn target(&self) -> &str {
        &self.target
    }

    pub(super) fn toolbox(&self) -> Result<Toolbox> {
        Ok(Toolbox {
            zig: tools::zig(self.cache, &self.fetcher)?,
            wabt: tools::wabt(self.cache, &self.fetcher)?,
            host: HostTools::find(self.cache)?,
        })
    }

    /// One step of [`guest`]: `recipe` with its context.
    pub(super) fn recipe(
        &self,
        toolbox: &Toolbox,
        name: &str,
        inputs: Inputs,
        resumable: bool,
        recipe: impl FnOnce(&GuestCtx<'_>, &Workplace<'_>) -> Result<()>,
    ) -> Result<Output> {
        self.cache.step(name, inputs, resumable, |place| {
            let guest = self.guest_dir();
            let zig_cache = self.cache.root().join("zig");
            let context = GuestCtx::of_step(
                &toolbox.zig,
                &toolbox.wabt,
                &toolbox.host,
                &guest,
                zig_cache,
                place,
            );
            recipe(&context, place)
        })
    }

    pub(super) fn guest_dir(&self) -> PathBuf {
        self.workspace.join("guest")
    }

    /// Compiles everything; `instrumented` makes `postgres` count what it executes.
    pub fn objects(&self, instrumented: bool) -> Result<Objects> {
        let toolbox = self.toolbox()?;
        let guest = self.guest_dir();
        let compiler = pins::wheel("ziglang")?.sha256;
        let translator = pins::wheel("wabt")?.sha256;
        let (musl, source) = (self.source(&pins::MUSL)?, self.source(&pins::POSTGRES)?);

        let inputs = guest::libc_inputs(&guest)?
            .value("musl", pins::MUSL.sha256)
            .value("compiler", compiler);
        let libc = self.recipe(&toolbox, "libc", inputs, false, |context, place| {
            guest::libc(context, &musl.dir, place.dir)
        })?;

        let libxml2 = self.libxml2(&toolbox, &libc)?;
        let compression = self.compression(&toolbox, &libc)?;
        let inputs = guest::postgres_inputs(&guest)?
            .value("postgresql", pins::POSTGRES.sha256)
            .value("compiler", compiler)
            .step(&libc)
            .step(&libxml2)
            .step(&compression);
        let postgres = self.recipe(&toolbox, "postgres", inputs, false, |context, place| {
            let parts = guest::ServerParts {
                libc: &libc.dir,
                libxml2: &libxml2.dir,
                compression: &compression.dir,
            };
            guest::postgres(context, &source.dir, parts, place.dir)
        })?;

        let inputs = guest::share_inputs().step(&postgres);
        let tree = self.recipe(&toolbox, "share", inputs, false, |context, place| {
            guest::share(context, &postgres.dir, place.dir)
        })?;
        let image = self.cache.step(
            "share-image",
            Inputs::new().value("layout", 1).step(&tree),
            false,
            |place| {
                std::fs::write(place.dir.join("share.img"), share::image(&tree.dir)?)?;
                Ok(())
            },
        )?;

        let mut records: Vec<Record> = [&libc, &libxml2, &postgres, &tree, &image]
            .map(|output| output.record.clone())
            .into();
        let mut libraries = BTreeMap::new();
        let mut extensions = Extensions::default();
        let tests_inputs = guest::tests_inputs(&guest)?
            .value("compiler", compiler)
            .step(&libc);
        let tests = self.recipe(&toolbox, "tests", tests_inputs, false, |context, place| {
            guest::tests(context, &libc.dir, place.dir)
        })?;
        let inputs = guest::tools_inputs(&guest)?
            .value("compiler", compiler)
            .step(&libc)
            .step(&postgres)
            .step(&compression);
        let tools = self.recipe(&toolbox, "tools", inputs, false, |context, place| {
            guest::tools(
                context,
                &postgres.dir,
                &compression.dir,
                &libc.dir,
                place.dir,
            )
        })?;
        records.push(compression.record.clone());
        records.push(tools.record.clone());
        let all = guest::MODULES.iter().copied();
        for module in all.chain([guest::TOOLS_MODULE, guest::TESTS_MODULE]) {
            let objects = if module == guest::TOOLS_MODULE {
                &tools
            } else {
                &postgres
            };
            let linked = if module == guest::TESTS_MODULE {
                tests.clone()
            } else {
                let inputs = guest::link_inputs(&guest, module)?
                    .value("compiler", compiler)
                    .value("module", module)
                    .step(&libc)
                    .step(objects);
                self.recipe(
                    &toolbox,
                    &format!("link-{module}"),
                    inputs,
                    false,
                    |context, place| {
                        guest::link(context, module, &libc.dir, &objects.dir, place.dir)
                    },
                )?
            };
            let wasm = linked.join(format!("{module}.wasm"));
            let inputs = guest::translate_inputs()
                .value("translator", translator)
                .step(&linked);
            let translated = self.recipe(
                &toolbox,
                &format!("translate-{module}"),
                inputs,
                false,
                |context, place| guest::translate(context, module, &wasm, place.dir),
            )?;
            let profile = self.profile(module, instrumented);
            let inputs = guest::compile_inputs(&guest, &profile)?
                .value("compiler", compiler)
                .value("target", &self.target)
                .step(&translated);
            let step = format!("compile-{module}");
            let fingerprint = inputs.fingerprint(&step);
            let compiled = self.recipe(&toolbox, &step, inputs, true, |context, place| {
                guest::compile(
                    context,
                    module,
                    &translated.dir,
                    &self.target,
                    &profile,
                    guest::Marks {
                        fingerprint: fingerprint.as_str(),
                        core: linked.record.fingerprint.as_str(),
                    },
                    place.dir,
                )
            })?;
            libraries.insert(
                module.to_owned(),
                compiled.join(format!("libpglite_{module}.a")),
            );
            if module == guest::MODULES[0] {
                let base = Base {
                    libc: &libc,
                    postgres: &postgres,
                    linked: &linked,
                    translated: &translated,
                };
                extensions = extensions::build(self, &toolbox, &base)?;
            }
            records.extend([linked.record, translated.record, compiled.record]);
        }
        if instrumented {
            libraries.insert("profiler".to_owned(), self.profiler()?);
        }
        Ok(Objects {
            libraries,
            share_image: image.join("share.img"),
            extensions,
            records,
            instrumented,
        })
    }

    /// libxml2, for the server.
    fn libxml2(&self, toolbox: &Toolbox, libc: &Output) -> Result<Output> {
        let inputs = guest::libxml2_inputs()
            .value("libxml2", pins::LIBXML2.sha256)
            .value("compiler", pins::wheel("ziglang")?.sha256)
            .step(libc);
        if let Some(found) = self.cache.find("libxml2", &inputs) {
            return Ok(found);
        }
        let source = self.source(&pins::LIBXML2)?;
        self.recipe(toolbox, "libxml2", inputs, false, |context, place| {
            guest::libxml2(context, &source.dir, &libc.dir, place.dir)
        })
    }

    /// zlib, LZ4 and Zstandard, for the server and the client programs.
    fn compression(&self, toolbox: &Toolbox, libc: &Output) -> Result<Output> {
        let [zlib, lz4, zstd] = [&pins::ZLIB, &pins::LZ4, &pins::ZSTD].map(|pin| self.source(pin));
        let (zlib, lz4, zstd) = (zlib?, lz4?, zstd?);
        let inputs = guest::compression_inputs()
            .value("compiler", pins::wheel("ziglang")?.sha256)
            .step(libc)
            .step(&zlib)
            .step(&lz4)
            .step(&zstd);
        self.recipe(toolbox, "compression", inputs, false, |context, place| {
            let sources = guest::CompressionSources {
                zlib: &zlib.dir,
                lz4: &lz4.dir,
                zstd: &zstd.dir,
            };
            guest::compression(context, &sources, &libc.dir, place.dir)
        })
    }

    /// What the optimiser is told of a module: `postgres` alone is worth a profile.
    fn profile(&self, module: &str, instrumented: bool) -> Profile {
        let trained = profile_path(&self.workspace);
        match module {
            "postgres" if instrumented => Profile::Generate,
            "postgres" if trained.is_file() => Profile::Use(trained),
            _ => Profile::Off,
        }
    }

    /// The run-time of instrumented objects under a name that a linker finds.
    fn profiler(&self) -> Result<PathBuf> {
        let library = pgo::runtime_library()?;
        let inputs = Inputs::new().value("rlib", library.display());
        let output = self.cache.step("profiler", inputs, false, |place| {
            std::fs::copy(&library, place.dir.join("libpglite_profiler.a"))?;
            Ok(())
        })?;
        Ok(output.join("libpglite_profiler.a"))
    }

    /// Puts objects, images and the manifest together.
    pub fn assets(&self, objects: &Objects) -> Result<Output> {
        let template = self.template(objects)?;
        let mut records = objects.records.clone();
        records.push(template.record.clone());
        records.extend(objects.extensions.records.iter().cloned());
        let images = vec![
            ("share", objects.share_image.clone()),
            ("template", template.join("template.img")),
        ];
        self.assemble(
            if objects.instrumented {
                "assets-instrumented"
            } else {
                "assets"
            },
            objects,
            Some(&objects.extensions),
            records,
            images,
        )
    }

    /// Runs `initdb` in our kernel.
    ///
    /// What initdb makes does not depend on how our kernel or the objects are built, so only the programs as linked, the installed tree and the
    /// builder's own source are inputs: a template survives work on the Rust crates. `cargo xtask assets --force template` makes a new one.
    fn template(&self, objects: &Objects) -> Result<Output> {
        let mut inputs = Inputs::new().tree(
            "template-builder",
            &self.workspace.join("crates/template-builder/src"),
        )?;
        for record in objects.records.iter().filter(|record| {
            let linked = guest::MODULES
                .iter()
                .any(|module| record.step == format!("link-{module}"));
            linked || record.step == "share-image"
        }) {
            inputs = inputs.value(format!("step {}", record.step), &record.fingerprint);
        }
        if let Some(found) = self.cache.find("template", &inputs) {
            return Ok(found);
        }
        let images = vec![("share", objects.share_image.clone())];
        let bare = self.assemble("objects", objects, None, objects.records.clone(), images)?;
        self.cache.step("template", inputs, false, |place| {
            place.bar.message("building template-builder");
            let builder = self.build_template_builder(&bare.dir, place.log)?;
            place.bar.message("running initdb");
            let template = place.dir.join("template.img");
            let mut command = std::process::Command::new(builder);
            command
                .arg(&objects.share_image)
                .arg(&template)
                .env("LLVM_PROFILE_FILE", "/dev/null");
            process::logged(&mut command, place.log)
        })
    }

    /// Builds the template builder against bare objects; the program's path.
    fn build_template_builder(&self, assets: &Path, log: &Path) -> Result<PathBuf> {
        let mut command = suite::cargo();
        command.args([
            "build",
            "--package",
            "template-builder",
            "--message-format",
            "json-render-diagnostics",
        ]);
        command
            .env("PGLITE_OXIDE_ASSETS", assets)
            .env_remove("PGLITE_OXIDE_NO_ASSETS");
        let messages = process::output(&mut command)
            .with_context(|| format!("building template-builder (log: {})", log.display()))?;
        let executable = messages.lines().rev().find_map(|line| {
            let message: serde_json::Value = serde_json::from_str(line).ok()?;
            message.get("executable")?.as_str().map(PathBuf::from)
        });
        executable.context("cargo named no executable of template-builder")
    }

    fn assemble(
        &self,
        name: &str,
        objects: &Objects,
        extensions: Option<&Extensions>,
        records: Vec<Record>,
        images: Vec<(&'static str, PathBuf)>,
    ) -> Result<Output> {
        let mut inputs = vec![
            pins::POSTGRES,
            pins::MUSL,
            pins::LIBXML2,
            pins::ZLIB,
            pins::LZ4,
            pins::ZSTD,
            pins::wheel("ziglang")?,
            pins::wheel("wabt")?,
        ];
        inputs.extend(extensions.iter().flat_map(|all| &all.sources));
        let parts = Parts {
            target: &self.target,
            inputs: &inputs,
            records,
            libraries: &objects.libraries,
            extensions,
            images,
        };
        let output = finish::assemble(self.cache, name, parts)?;
        locator::open(&output.dir)?;
        Ok(output)
    }
}
