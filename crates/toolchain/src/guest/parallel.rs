//! Many commands, a few at a time.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, anyhow};

use super::GuestCtx;
use crate::process;

impl GuestCtx<'_> {
    /// Runs all the commands, [`GuestCtx::jobs`] at a time; after a failure no further one is started, and the first error is returned.
    pub(super) fn run_all(&self, commands: Vec<Command>) -> Result<()> {
        self.bar.total(commands.len() as u64);
        let queue = Mutex::new(commands.into_iter());
        let failed = AtomicBool::new(false);
        let first = Mutex::new(None);
        let work = || {
            while !failed.load(Ordering::Relaxed) {
                let next = queue.lock().map_or(None, |mut queue| queue.next());
                let Some(mut command) = next else { return };
                if let Err(error) = process::logged(&mut command, self.log) {
                    failed.store(true, Ordering::Relaxed);
                    if let Ok(mut first) = first.lock() {
                        first.get_or_insert(error);
                    }
                }
                self.bar.advance();
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(work);
            }
        });
        match first.into_inner() {
            Ok(None) => Ok(()),
            Ok(Some(error)) => Err(error),
            Err(_) => Err(anyhow!("a compiling thread panicked")),
        }
    }

    /// Makes a static library of object files.
    pub(super) fn archive(&self, library: &Path, objects: &[PathBuf]) -> Result<()> {
        if library.exists() {
            std::fs::remove_file(library)?;
        }
        let mut command = self.zig("ar");
        // D: no times and owners, so that the same inputs give the same bytes.
        command.arg("crsD").arg(library).args(objects);
        process::logged(&mut command, self.log)
    }
}

/// Compilations of one recipe, and the objects they make.
#[derive(Default)]
pub(super) struct Compilations {
    commands: Vec<Command>,
    objects: Vec<PathBuf>,
}

impl Compilations {
    /// `command` is to compile `source` to `object`.
    pub(super) fn add(&mut self, command: Command, source: &Path, object: PathBuf) {
        self.add_apart(command, source, &object);
        self.objects.push(object);
    }

    /// The same for an object that is not one of those which belong together.
    pub(super) fn add_apart(&mut self, mut command: Command, source: &Path, object: &Path) {
        command.arg("-c").arg(source).arg("-o").arg(object);
        self.commands.push(command);
    }

    /// Runs them all; the objects, in the order they were added.
    pub(super) fn run(self, ctx: &GuestCtx<'_>) -> Result<Vec<PathBuf>> {
        ctx.run_all(self.commands)?;
        Ok(self.objects)
    }
}

/// A file name of an object for a source, unique among sources that differ in path.
pub(super) fn object_name(source: &Path) -> String {
    let flat: String = source
        .with_extension("")
        .to_string_lossy()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        })
        .collect();
    format!("{}.o", flat.trim_start_matches('_'))
}
