//! The steps that both the assets and users' extensions need: from pinned sources to the translated server.
//!
//! ```text
//! sources, tools -> libc -> libxml2, compression -> postgres -> link -> translate
//! ```

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::cache::{Cache, Output, Workplace};
use crate::fetch::{Fetcher, Pinned, pins};
use crate::fingerprint::Inputs;
use crate::guest::{self, Core, GuestCtx, Names};
use crate::tools::{self, HostTools};
use crate::{process, unpack};

/// Everything a build works with.
pub struct Builder<'a> {
    cache: &'a Cache,
    fetcher: Fetcher<'a>,
    target: String,
    guest: PathBuf,
}

/// The tools of one run.
pub struct Toolbox {
    zig: PathBuf,
    wabt: PathBuf,
    host: HostTools,
}

impl Toolbox {
    /// The same with protobuf-c's compiler.
    pub fn with_protoc_c(&self, cache: &Cache) -> Result<Self> {
        Ok(Self {
            zig: self.zig.clone(),
            wabt: self.wabt.clone(),
            host: self.host.with_protoc_c(cache)?,
        })
    }
}

/// The outputs that extensions are built against.
#[derive(Clone, Debug)]
pub struct Server {
    /// musl for guests.
    pub libc: Output,
    /// PostgreSQL's patched and configured tree.
    pub postgres: Output,
    /// The linked server.
    pub linked: Output,
    /// The translated server.
    pub translated: Output,
}

/// The directory `guest` with patches, port and runtime: of the crate as published, or of the checkout.
pub fn guest_dir() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    [here.join("guest"), here.join("../../guest")]
        .iter()
        .find(|dir| dir.join("exports.txt").is_file())
        .and_then(|dir| dir.canonicalize().ok())
        .with_context(|| {
            format!(
                "the sources of the guest's runtime are not where this program was built ({})",
                here.display()
            )
        })
}

/// The target triple of this host, as rustc names it.
pub fn host_target() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let text = process::output(std::process::Command::new(rustc).arg("-vV"))?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc -vV names no host")
}

impl<'a> Builder<'a> {
    /// For one target triple.
    pub fn new(cache: &'a Cache, target: &str) -> Result<Self> {
        Ok(Self {
            cache,
            fetcher: Fetcher::new(cache),
            target: target.to_owned(),
            guest: guest_dir()?,
        })
    }

    /// Where finished steps are.
    pub fn cache(&self) -> &'a Cache {
        self.cache
    }

    /// The target triple.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The sources of the guest's own parts.
    pub fn guest_dir(&self) -> &Path {
        &self.guest
    }

    /// A source tree, unpacked.
    pub fn source(&self, pinned: &Pinned) -> Result<Output> {
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

    /// The tools, fetched if need be.
    pub fn toolbox(&self) -> Result<Toolbox> {
        Ok(Toolbox {
            zig: tools::zig(self.cache, &self.fetcher)?,
            wabt: tools::wabt(self.cache, &self.fetcher)?,
            host: HostTools::find(self.cache)?,
        })
    }

    /// One step of [`guest`]: `recipe` with its context.
    pub fn recipe(
        &self,
        toolbox: &Toolbox,
        name: &str,
        inputs: Inputs,
        resumable: bool,
        recipe: impl FnOnce(&GuestCtx<'_>, &Workplace<'_>) -> Result<()>,
    ) -> Result<Output> {
        self.cache.step(name, inputs, resumable, |place| {
            self.context(toolbox, place, |context| recipe(context, place))
        })
    }

    /// Calls `work` with the context of recipes that work in `place`.
    pub(crate) fn context<T>(
        &self,
        toolbox: &Toolbox,
        place: &Workplace<'_>,
        work: impl FnOnce(&GuestCtx<'_>) -> T,
    ) -> T {
        let zig_cache = self.cache.root().join("zig");
        work(&GuestCtx::of_step(
            &toolbox.zig,
            &toolbox.wabt,
            &toolbox.host,
            &self.guest,
            zig_cache,
            place,
        ))
    }

    /// musl for guests.
    pub fn libc(&self, toolbox: &Toolbox) -> Result<Output> {
        let musl = self.source(&pins::MUSL)?;
        let inputs = guest::libc_inputs(&self.guest)?
            .value("musl", pins::MUSL.sha256)
            .value("compiler", pins::wheel("ziglang")?.sha256);
        self.recipe(toolbox, "libc", inputs, false, |context, place| {
            guest::libc(context, &musl.dir, place.dir)
        })
    }

    /// PostgreSQL's objects and its configured tree.
    pub fn postgres(&self, toolbox: &Toolbox, libc: &Output) -> Result<Output> {
        let source = self.source(&pins::POSTGRES)?;
        let libxml2 = self.libxml2(toolbox, libc)?;
        let compression = self.compression(toolbox, libc)?;
        let icu = self.source(&pins::ICU)?;
        let inputs = guest::postgres_inputs(&self.guest)?
            .value("postgresql", pins::POSTGRES.sha256)
            .value("icu", pins::ICU.sha256)
            .value("compiler", pins::wheel("ziglang")?.sha256)
            .step(libc)
            .step(&libxml2)
            .step(&compression);
        self.recipe(toolbox, "postgres", inputs, false, |context, place| {
            let parts = guest::ServerParts {
                libc: &libc.dir,
                libxml2: &libxml2.dir,
                compression: &compression.dir,
                icu: &icu.dir,
            };
            guest::postgres(context, &source.dir, parts, place.dir)
        })
    }

    /// libxml2, for the server.
    pub fn libxml2(&self, toolbox: &Toolbox, libc: &Output) -> Result<Output> {
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
    pub fn compression(&self, toolbox: &Toolbox, libc: &Output) -> Result<Output> {
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

    /// The side module `icu`.
    pub fn icu(&self, toolbox: &Toolbox, libc: &Output) -> Result<Output> {
        let inputs = guest::icu_inputs(&self.guest)?
            .value("icu", pins::ICU.sha256)
            .value("compiler", pins::wheel("ziglang")?.sha256)
            .step(libc);
        let source = self.source(&pins::ICU)?;
        self.recipe(toolbox, "library-icu", inputs, false, |context, place| {
            guest::icu(context, &source.dir, &libc.dir, place.dir)
        })
    }

    /// The side module `zstd`.
    pub fn zstd(&self, toolbox: &Toolbox, libc: &Output) -> Result<Output> {
        let inputs = guest::zstd_inputs(&self.guest)?
            .value("zstd", pins::ZSTD.sha256)
            .value("compiler", pins::wheel("ziglang")?.sha256)
            .step(libc);
        let source = self.source(&pins::ZSTD)?;
        self.recipe(toolbox, "library-zstd", inputs, false, |context, place| {
            guest::zstd(context, &source.dir, &libc.dir, place.dir)
        })
    }

    /// A linked program of `objects`.
    pub fn linked(
        &self,
        toolbox: &Toolbox,
        module: &str,
        libc: &Output,
        objects: &Output,
    ) -> Result<Output> {
        let inputs = guest::link_inputs(&self.guest, module)?
            .value("compiler", pins::wheel("ziglang")?.sha256)
            .value("module", module)
            .step(libc)
            .step(objects);
        self.recipe(
            toolbox,
            &format!("link-{module}"),
            inputs,
            false,
            |context, place| guest::link(context, module, &libc.dir, &objects.dir, place.dir),
        )
    }

    /// The C of a linked program.
    pub fn translated(&self, toolbox: &Toolbox, module: &str, linked: &Output) -> Result<Output> {
        let wasm = linked.join(format!("{module}.wasm"));
        let inputs = guest::translate_inputs()
            .value("translator", pins::wheel("wabt")?.sha256)
            .step(linked);
        self.recipe(
            toolbox,
            &format!("translate-{module}"),
            inputs,
            false,
            |context, place| guest::translate(context, module, &wasm, place.dir),
        )
    }

    /// The table of the server's functions, for programs that load packs: `libpglite_exports.a`.
    pub fn exports(&self, toolbox: &Toolbox, server: &Server) -> Result<Output> {
        let inputs = guest::exports_inputs(&self.guest)?
            .value("compiler", pins::wheel("ziglang")?.sha256)
            .value("target", &self.target)
            .step(&server.linked)
            .step(&server.translated);
        let core = Core::read(&server.linked.join(guest::CORE))?;
        let names = Names::read(&server.translated.join(guest::NAMES))?;
        let fingerprint = server.linked.record.fingerprint.as_str();
        self.recipe(toolbox, "exports", inputs, false, |context, place| {
            guest::exports(context, &core, &names, fingerprint, &self.target, place.dir)
        })
    }

    /// Everything that an extension is built against.
    pub fn server(&self, toolbox: &Toolbox) -> Result<Server> {
        let module = guest::MODULES[0];
        let libc = self.libc(toolbox)?;
        let postgres = self.postgres(toolbox, &libc)?;
        let linked = self.linked(toolbox, module, &libc, &postgres)?;
        let translated = self.translated(toolbox, module, &linked)?;
        Ok(Server {
            libc,
            postgres,
            linked,
            translated,
        })
    }
}
