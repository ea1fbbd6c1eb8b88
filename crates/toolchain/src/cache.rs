//! The cache directory: finished steps, each under `<cache>/<step>/<fingerprint>/`.
//!
//! A step works in `<fingerprint>.partial` and is renamed into place when complete, so that a finished directory is always whole. A cut-short
//! step finds its partial directory again and may go on from there. One lock file keeps two invocations apart.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::fingerprint::{Fingerprint, Inputs};
use crate::progress::{Bar, Progress};

/// How many results of one step are kept.
const KEEP: usize = 3;
/// The name of the record in a finished step.
pub const RECORD: &str = ".step.json";

/// What is remembered of a finished step, beside its output.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The step's name.
    pub step: String,
    /// The hash of its inputs.
    pub fingerprint: Fingerprint,
    /// The inputs.
    pub inputs: Inputs,
    /// How long it took.
    pub seconds: f64,
}

/// A finished step.
#[derive(Clone, Debug)]
pub struct Output {
    /// Where its files are. Not to be written to.
    pub dir: PathBuf,
    /// What was done.
    pub record: Record,
}

impl Output {
    /// A file of the output.
    pub fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        self.dir.join(path)
    }
}

/// Where a running step works.
pub struct Workplace<'a> {
    /// Becomes the output directory.
    pub dir: &'a Path,
    /// Its line on the screen.
    pub bar: &'a Bar,
    /// Takes the output of commands; kept when the step fails.
    pub log: &'a Path,
}

/// The cache directory, locked as long as this lives.
pub struct Cache {
    root: PathBuf,
    progress: Progress,
    _lock: File,
}

impl Cache {
    /// Opens and locks the cache; waits while another invocation holds it.
    pub fn open(root: &Path, progress: Progress) -> Result<Self> {
        fs::create_dir_all(root).with_context(|| format!("creating {}", root.display()))?;
        let path = root.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("opening {}", path.display()))?;
        if lock.try_lock().is_err() {
            progress.note(&format!(
                "waiting for another invocation to release {}",
                path.display()
            ));
            lock.lock()
                .with_context(|| format!("locking {}", path.display()))?;
        }
        Ok(Self {
            root: root.to_path_buf(),
            progress,
            _lock: lock,
        })
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where to draw.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The finished step, if it is there.
    pub fn find(&self, name: &str, inputs: &Inputs) -> Option<Output> {
        let fingerprint = inputs.fingerprint(name);
        let dir = self.root.join(name).join(fingerprint.short());
        let record: Record = serde_json::from_slice(&fs::read(dir.join(RECORD)).ok()?).ok()?;
        (record.fingerprint == fingerprint).then_some(Output { dir, record })
    }

    /// The result of step `name` with these inputs: found, or made by `make`. A partial directory of an earlier try is handed to `make` again if
    /// `resumable`, emptied otherwise.
    pub fn step(
        &self,
        name: &str,
        inputs: Inputs,
        resumable: bool,
        make: impl FnOnce(&Workplace<'_>) -> Result<()>,
    ) -> Result<Output> {
        if let Some(found) = self.find(name, &inputs) {
            // Marks it as used, for pruning.
            let _ = File::open(found.dir.join(RECORD))
                .and_then(|file| file.set_modified(SystemTime::now()));
            return Ok(found);
        }
        let fingerprint = inputs.fingerprint(name);
        let parent = self.root.join(name);
        let target = parent.join(fingerprint.short());
        let partial = parent.join(format!("{}.partial", fingerprint.short()));
        let logs = self.root.join("logs");
        fs::create_dir_all(&logs)?;
        let log = logs.join(format!("{name}-{}.log", fingerprint.short()));
        if !resumable {
            remove_tree(&partial)?;
        }
        fs::create_dir_all(&partial).with_context(|| format!("creating {}", partial.display()))?;
        let bar = self.progress.step(name);
        let begun = Instant::now();
        let made = make(&Workplace {
            dir: &partial,
            bar: &bar,
            log: &log,
        });
        if let Err(error) = made {
            bar.fail();
            let hint = if log.exists() {
                format!(" (its output: {})", log.display())
            } else {
                String::new()
            };
            return Err(error.context(format!("step {name} failed{hint}")));
        }
        let record = Record {
            step: name.to_owned(),
            fingerprint,
            inputs,
            seconds: begun.elapsed().as_secs_f64(),
        };
        fs::write(partial.join(RECORD), serde_json::to_vec_pretty(&record)?)?;
        remove_tree(&target)?;
        fs::rename(&partial, &target)
            .with_context(|| format!("moving {} into place", partial.display()))?;
        bar.done(begun.elapsed());
        self.prune(name, &target)?;
        Ok(Output {
            dir: target,
            record,
        })
    }

    /// Removes all but the [`KEEP`] last used results of a step, never `current`; and partial directories nobody touched for two days.
    fn prune(&self, name: &str, current: &Path) -> Result<()> {
        let mut finished = Vec::new();
        for entry in fs::read_dir(self.root.join(name))? {
            let path = entry?.path();
            let modified = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified()).ok();
            if path.extension().is_some_and(|ext| ext == "partial") {
                let old = modified(&path)
                    .and_then(|at| at.elapsed().ok())
                    .is_some_and(|age| age > Duration::from_secs(172_800));
                if old {
                    remove_tree(&path)?;
                }
            } else if path != current {
                finished.push((
                    modified(&path.join(RECORD)).unwrap_or(SystemTime::UNIX_EPOCH),
                    path,
                ));
            }
        }
        finished.sort_by(|one, other| other.cmp(one));
        for (_, path) in finished.into_iter().skip(KEEP - 1) {
            remove_tree(&path)?;
        }
        Ok(())
    }
}

/// Removes a directory tree, read-only directories included; nothing to do if it is not there.
pub fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            bail!("removing {}: {error}", path.display())
        }
        _ => Ok(()),
    }
}

/// Writes a file so that readers see the old or the new one, never half of it.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = path.with_extension(format!("tmp-{}", std::process::id()));
    fs::write(&temporary, bytes).with_context(|| format!("writing {}", temporary.display()))?;
    fs::rename(&temporary, path).with_context(|| format!("moving {} into place", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("xtask-cache-{name}-{}", std::process::id()));
        remove_tree(&dir).unwrap();
        dir
    }

    fn run(cache: &Cache, version: u32, calls: &mut u32) -> Result<Output> {
        cache.step(
            "thing",
            Inputs::new().value("version", version),
            false,
            |place| {
                *calls += 1;
                fs::write(place.dir.join("out"), version.to_string())?;
                Ok(())
            },
        )
    }

    #[test]
    fn a_step_runs_once_per_fingerprint_and_old_results_go() {
        let root = scratch("once");
        let cache = Cache::open(&root, Progress::new()).unwrap();
        let mut calls = 0;
        for version in [1, 1, 2, 3, 4, 5, 5] {
            let output = run(&cache, version, &mut calls).unwrap();
            assert_eq!(
                fs::read_to_string(output.join("out")).unwrap(),
                version.to_string()
            );
        }
        assert_eq!(calls, 5);
        assert_eq!(fs::read_dir(root.join("thing")).unwrap().count(), KEEP);
        remove_tree(&root).unwrap();
    }

    #[test]
    fn a_failed_step_leaves_no_result_and_a_resumable_one_its_work() {
        let root = scratch("failed");
        let cache = Cache::open(&root, Progress::new()).unwrap();
        let inputs = Inputs::new().value("a", 1);
        let failed = cache.step("thing", inputs.clone(), true, |place| {
            fs::write(place.dir.join("half"), "x")?;
            bail!("cut")
        });
        assert!(failed.is_err());
        assert!(cache.find("thing", &inputs).is_none());
        let output = cache.step("thing", inputs, true, |place| {
            assert!(place.dir.join("half").exists());
            Ok(())
        });
        assert!(output.unwrap().join("half").exists());
        remove_tree(&root).unwrap();
    }
}
