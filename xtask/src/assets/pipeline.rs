//! The steps from the translated server on, and what each depends on. Those before are [`pglite_oxide_toolchain::builder`]'s.
//!
//! ```text
//! sources, tools -> libc -> libxml2, compression -> postgres -> link -> translate -> compile -> objects -> template -> cluster -> assets
//!                                                       `-> share ------------------------------'
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use pglite_oxide_asset_locator as locator;
use pglite_oxide_assets::LAYOUT;

use crate::cache::{Cache, Output, Record};
use crate::fetch::pins;
use crate::fingerprint::Inputs;
use crate::guest::{self, Profile};
use crate::{pgo, process, suite};
use pglite_oxide_toolchain as toolchain;

use super::extensions::{self, Extensions};
use super::finish::{self, Parts};
use super::{profile_path, share};

/// Everything a build works with.
pub struct Builder<'a> {
    /// The steps up to the translated server.
    pub(super) steps: toolchain::Builder<'a>,
    workspace: PathBuf,
}

/// The compiled modules and the installed tree that belongs to them.
pub struct Objects {
    libraries: BTreeMap<String, PathBuf>,
    share_image: PathBuf,
    extensions: Extensions,
    records: Vec<Record>,
    instrumented: bool,
}

/// What goes into a directory of assets besides the objects.
struct Contents<'a> {
    extensions: Option<&'a Extensions>,
    records: Vec<Record>,
    images: Vec<(&'static str, PathBuf)>,
    clusters: Vec<(&'static str, PathBuf)>,
}

/// A frozen cluster in the output of its step.
const CLUSTER: &str = "cluster.img";

impl<'a> Builder<'a> {
    /// For one target triple.
    pub fn new(cache: &'a Cache, target: &str) -> Result<Self> {
        Ok(Self {
            steps: toolchain::Builder::new(cache, target)?,
            workspace: suite::workspace()?,
        })
    }

    fn cache(&self) -> &'a Cache {
        self.steps.cache()
    }

    /// Compiles everything; `instrumented` makes `postgres` count what it executes, `requested` are the extensions that are asked for by name.
    pub fn objects(&self, instrumented: bool, requested: &[String]) -> Result<Objects> {
        let steps = &self.steps;
        let toolbox = steps.toolbox()?;
        let guest = steps.guest_dir();
        let compiler = pins::wheel("ziglang")?.sha256;
        let libc = steps.libc(&toolbox)?;
        let libxml2 = steps.libxml2(&toolbox, &libc)?;
        let compression = steps.compression(&toolbox, &libc)?;
        let postgres = steps.postgres(&toolbox, &libc)?;

        let inputs = guest::share_inputs().step(&postgres);
        let tree = steps.recipe(&toolbox, "share", inputs, false, |context, place| {
            guest::share(context, &postgres.dir, place.dir)
        })?;
        let image = self.cache().step(
            "share-image",
            Inputs::new().value("layout", LAYOUT).step(&tree),
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
        let tests_inputs = guest::tests_inputs(guest)?
            .value("compiler", compiler)
            .step(&libc);
        let tests = steps.recipe(&toolbox, "tests", tests_inputs, false, |context, place| {
            guest::tests(context, &libc.dir, place.dir)
        })?;
        let inputs = guest::tools_inputs(guest)?
            .value("compiler", compiler)
            .step(&libc)
            .step(&postgres)
            .step(&compression);
        let tools = steps.recipe(&toolbox, "tools", inputs, false, |context, place| {
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
                steps.linked(&toolbox, module, &libc, objects)?
            };
            let translated = steps.translated(&toolbox, module, &linked)?;
            let profile = self.profile(module, instrumented);
            let inputs = guest::compile_inputs(guest, &profile)?
                .value("compiler", compiler)
                .value("target", steps.target())
                .step(&translated);
            let step = format!("compile-{module}");
            let fingerprint = inputs.fingerprint(&step);
            let compiled = steps.recipe(&toolbox, &step, inputs, true, |context, place| {
                guest::compile(
                    context,
                    module,
                    &translated.dir,
                    steps.target(),
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
                let base = toolchain::builder::Server {
                    libc: libc.clone(),
                    postgres: postgres.clone(),
                    linked: linked.clone(),
                    translated: translated.clone(),
                };
                let exports = steps.exports(&toolbox, &base)?;
                let library = exports.join("libpglite_exports.a");
                libraries.insert("exports".to_owned(), library);
                records.push(exports.record);
                extensions = extensions::build(steps, &toolbox, &base, requested)?;
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
        let output = self.cache().step("profiler", inputs, false, |place| {
            std::fs::copy(&library, place.dir.join("libpglite_profiler.a"))?;
            Ok(())
        })?;
        Ok(output.join("libpglite_profiler.a"))
    }

    /// Puts objects, images and the manifest together.
    pub fn assets(&self, objects: &Objects) -> Result<Output> {
        let template = self.template(objects, None)?;
        let template_icu = self.template(objects, Some(guest::ICU))?;
        let mut records = objects.records.clone();
        records.extend([template.record.clone(), template_icu.record.clone()]);
        let images = vec![
            ("share", objects.share_image.clone()),
            ("template", template.join("template.img")),
            ("template-icu", template_icu.join("template.img")),
        ];
        let clusters = self.clusters(objects, &records, &images)?;
        records.extend(objects.extensions.records.iter().cloned());
        records.extend(clusters.iter().map(|(_, cluster)| cluster.record.clone()));
        self.assemble(
            if objects.instrumented {
                "assets-instrumented"
            } else {
                "assets"
            },
            objects,
            Contents {
                extensions: Some(&objects.extensions),
                records,
                images,
                clusters: clusters
                    .iter()
                    .map(|(template, cluster)| (*template, cluster.join(CLUSTER)))
                    .collect(),
            },
        )
    }

    /// Starts a cluster on each template and freezes it. None is made for another host, and of objects whose functions a linker may move: those of a build without a profile.
    fn clusters(
        &self,
        objects: &Objects,
        records: &[Record],
        images: &[(&'static str, PathBuf)],
    ) -> Result<Vec<(&'static str, Output)>> {
        let gathered = matches!(
            self.profile(guest::MODULES[0], objects.instrumented),
            Profile::Use(_)
        );
        if !gathered || self.steps.target() != super::host_target()? {
            return Ok(Vec::new());
        }
        [("template", None), ("template-icu", Some(guest::ICU))]
            .into_iter()
            .map(|(template, with)| {
                let contents = Contents {
                    extensions: None,
                    records: records.to_vec(),
                    images: images.to_vec(),
                    clusters: Vec::new(),
                };
                Ok((template, self.cluster(objects, template, with, contents)?))
            })
            .collect()
    }

    fn cluster(
        &self,
        objects: &Objects,
        template: &str,
        with: Option<&str>,
        contents: Contents<'_>,
    ) -> Result<Output> {
        let mut inputs = Inputs::new().value("sources", self.sources()?).tree(
            "image-builder",
            &self.workspace.join("crates/image-builder/src"),
        )?;
        let compiled = format!("compile-{}", guest::MODULES[0]);
        for record in &contents.records {
            if record.step == compiled || record.step == template {
                inputs = inputs.value(format!("step {}", record.step), &record.fingerprint);
            }
        }
        let step = template.replace("template", "cluster");
        if let Some(found) = self.cache().find(&step, &inputs) {
            return Ok(found);
        }
        let extensions = with.map(|name| objects.extensions.only(name)).transpose()?;
        let mut records = contents.records;
        records.extend(extensions.iter().flat_map(|all| all.records.clone()));
        let contents = Contents {
            extensions: extensions.as_ref(),
            records,
            ..contents
        };
        let bare = self.assemble("started", objects, contents)?;
        self.cache().step(&step, inputs, false, |place| {
            place.bar.message("building image-builder");
            let builder = build("image-builder", &bare.dir, with, place.log)?;
            place.bar.message("starting a cluster");
            let mut command = std::process::Command::new(builder);
            command.arg(place.dir.join(CLUSTER));
            process::logged(&mut command, place.log)
        })
    }

    /// The hash of the sources that frozen clusters are of.
    fn sources(&self) -> Result<String> {
        let found = locator::sources(&self.workspace).context("reading the crates' sources")?;
        Ok(found.context("this is no checkout")?.0)
    }

    /// Runs `initdb` in our kernel, with ICU linked or without: its collations are a part of what it makes.
    ///
    /// What initdb makes does not depend on how our kernel or the objects are built, so only the programs as linked, the installed tree and the
    /// builder's own source are inputs: a template survives work on the Rust crates. `cargo xtask assets --force template` makes a new one.
    fn template(&self, objects: &Objects, with: Option<&str>) -> Result<Output> {
        let mut inputs = Inputs::new().value("layout", LAYOUT).tree(
            "template-builder",
            &self.workspace.join("crates/template-builder/src"),
        )?;
        let library = with.map(|name| format!("library-{name}"));
        let records = objects.records.iter().chain(&objects.extensions.records);
        for record in records.filter(|record| {
            let linked = guest::MODULES
                .iter()
                .any(|module| record.step == format!("link-{module}"));
            linked || record.step == "share-image" || Some(&record.step) == library.as_ref()
        }) {
            inputs = inputs.value(format!("step {}", record.step), &record.fingerprint);
        }
        let step = with.map_or("template".to_owned(), |name| format!("template-{name}"));
        if let Some(found) = self.cache().find(&step, &inputs) {
            return Ok(found);
        }
        let images = vec![("share", objects.share_image.clone())];
        let extensions = with.map(|name| objects.extensions.only(name)).transpose()?;
        let mut records = objects.records.clone();
        records.extend(extensions.iter().flat_map(|all| all.records.clone()));
        let contents = Contents {
            extensions: extensions.as_ref(),
            records,
            images,
            clusters: Vec::new(),
        };
        let bare = self.assemble("objects", objects, contents)?;
        self.cache().step(&step, inputs, false, |place| {
            place.bar.message("building template-builder");
            let builder = build("template-builder", &bare.dir, with, place.log)?;
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

    fn assemble(&self, name: &str, objects: &Objects, contents: Contents<'_>) -> Result<Output> {
        let mut inputs = vec![
            pins::POSTGRES,
            pins::MUSL,
            pins::LIBXML2,
            pins::ZLIB,
            pins::LZ4,
            pins::ZSTD,
            pins::ICU,
            pins::wheel("ziglang")?,
            pins::wheel("wabt")?,
        ];
        inputs.extend(contents.extensions.iter().flat_map(|all| &all.sources));
        let parts = Parts {
            target: self.steps.target(),
            inputs: &inputs,
            records: contents.records,
            libraries: &objects.libraries,
            extensions: contents.extensions,
            images: contents.images,
            clusters: contents.clusters,
            sources: &self.sources()?,
        };
        let output = finish::assemble(self.cache(), name, parts)?;
        locator::open(&output.dir)?;
        Ok(output)
    }
}

/// Builds a program of this workspace against unfinished assets; its path.
fn build(package: &str, assets: &Path, with: Option<&str>, log: &Path) -> Result<PathBuf> {
    let mut command = suite::cargo();
    command.args([
        "build",
        "--package",
        package,
        "--message-format",
        "json-render-diagnostics",
    ]);
    command.args(with.map(|feature| format!("--features={feature}")));
    command
        .env("PGLITE_OXIDE_ASSETS", assets)
        .env_remove("PGLITE_OXIDE_NO_ASSETS");
    let messages = process::output(&mut command)
        .with_context(|| format!("building {package} (log: {})", log.display()))?;
    let executable = messages.lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message.get("executable")?.as_str().map(PathBuf::from)
    });
    executable.with_context(|| format!("cargo named no executable of {package}"))
}
