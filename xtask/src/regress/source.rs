//! The suites' files and the programs that run them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use pglite_oxide_asset_locator as locator;
use pglite_oxide_native::Install;

use crate::cache::Cache;
use crate::fetch::{Fetcher, pins};
use crate::fingerprint::Inputs;
use crate::progress::Progress;
use crate::{process, tools, unpack};

use super::Suite;

/// Where things are.
pub(crate) struct Files {
    source: PathBuf,
    install: Install,
}

impl Files {
    /// Fetches and unpacks what is missing. `PGLITE_OXIDE_NATIVE` may name a native installation to use instead of the pinned one.
    pub(crate) fn find(_suite: Suite) -> Result<Self> {
        let cache = Cache::open(&locator::cache_root()?, Progress::new())?;
        let fetcher = Fetcher::new(&cache);
        let native = match std::env::var_os("PGLITE_OXIDE_NATIVE") {
            Some(dir) => PathBuf::from(dir),
            None => tools::native_postgres(&cache, &fetcher)?,
        };
        // The same step, with the same inputs, as the asset build's.
        let inputs = Inputs::new().value("sha256", pins::POSTGRES.sha256);
        let source = match cache.find("source-postgresql", &inputs) {
            Some(found) => found,
            None => {
                let archive = fetcher.get(&pins::POSTGRES)?;
                cache.step("source-postgresql", inputs, false, |place| {
                    unpack::tarball(&archive, place.dir)
                })?
            }
        };
        Ok(Self {
            source: source.dir,
            install: Install::at(&native)?,
        })
    }

    /// The native installation.
    pub(crate) fn install(&self) -> &Install {
        &self.install
    }

    /// Copies the suite's files to `work/input` and makes `work/output`, where the server's user too may write.
    pub(crate) fn lay_out(&self, suite: Suite, work: &Path) -> Result<()> {
        let from = self.source.join("src/test").join(suite.name());
        let input = work.join("input");
        fs::create_dir_all(&input)?;
        for part in match suite {
            Suite::Core => &["sql", "expected", "data", "parallel_schedule", "resultmap"][..],
            Suite::Isolation => &["specs", "expected", "isolation_schedule"][..],
        } {
            process::output(
                Command::new("cp")
                    .arg("-r")
                    .arg(from.join(part))
                    .arg(&input),
            )?;
        }
        if suite == Suite::Isolation {
            // isolation_main.c has no resultmap of its own; pg_regress looks for one and is content with none.
            fs::write(input.join("resultmap"), "")?;
        }
        for dir in ["output", "output/results", "output/testtablespace"] {
            let dir = work.join(dir);
            fs::create_dir_all(&dir)?;
            open_to_all(&dir)?;
        }
        Ok(())
    }

    /// Builds `regress.so`, the C functions of the core suite, for a native server; returns its directory.
    pub(crate) fn native_library(&self, work: &Path) -> Result<PathBuf> {
        let dir = work.join("lib");
        fs::create_dir_all(&dir)?;
        let mut cc = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
        cc.args(["-shared", "-fPIC", "-O1", "-w", "-o"])
            .arg(dir.join("regress.so"))
            .arg("-I")
            .arg(self.install.dir().join("include/server"))
            .arg(self.source.join("src/test/regress/regress.c"));
        process::output(&mut cc).context("building regress.so for the native server")?;
        Ok(dir)
    }
}

fn open_to_all(dir: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o777))
        .with_context(|| format!("chmod {}", dir.display()))
}
