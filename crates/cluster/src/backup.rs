//! Copies of a running cluster's data in a directory of the host.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cluster::Cluster;
use crate::data::LEFT_OUT;
use crate::error::{BackupError, StartError};
use crate::options::Root;
use crate::root::{Contents, RootDirectory, failed, make_directory};

impl Cluster {
    /// Writes the cluster's data, as it is at this instant, to a new root directory, which [`Cluster::start`] opens: it recovers then, as after a loss of power, and has everything that was
    /// committed. Blocks until the copy is durable. Sessions stand still for as long as the files are copied: no longer than it takes to share their blocks, where the host's
    /// file system can (btrfs, XFS) and the cluster is in a directory of the same one.
    ///
    /// # Errors
    /// [`BackupError`]; an unfinished copy is not left behind under a name that could be opened.
    pub fn backup(&self, to: &Path) -> Result<(), BackupError> {
        match self.root() {
            Root::Temporary => {
                let data = self.data_directory()?;
                RootDirectory::create(to, &Contents::Archive(&data))?;
            }
            Root::Directory(from) => {
                let from = from.join(RootDirectory::DATA);
                self.kernel()
                    .while_stopped(|| {
                        RootDirectory::create(to, &Contents::Directory(&from)).map(drop)
                    })
                    .map_err(StartError::from)??;
            }
        }
        Ok(())
    }
}

/// Copies a tree of the host; the directories, which are still to be synced.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> Result<Vec<PathBuf>, StartError> {
    let mut directories = Vec::new();
    let mut left = vec![PathBuf::new()];
    while let Some(path) = left.pop() {
        let (source, target) = (from.join(&path), to.join(&path));
        make_directory(&target)?;
        for entry in fs::read_dir(&source).map_err(failed("listing", &source))? {
            let entry = entry.map_err(failed("listing", &source))?;
            let kind = entry.file_type().map_err(failed("listing", &source))?;
            let name = path.join(entry.file_name());
            let source = entry.path();
            if path.as_os_str().is_empty() && LEFT_OUT.iter().any(|left| name == Path::new(left)) {
                if kind.is_dir() {
                    make_directory(&to.join(&name))?;
                }
                continue;
            }
            let target = to.join(&name);
            if kind.is_dir() {
                left.push(name);
            } else if kind.is_symlink() {
                let says = fs::read_link(&source).map_err(failed("reading", &source))?;
                std::os::unix::fs::symlink(says, &target).map_err(failed("linking", &target))?;
            } else if kind.is_file() {
                // Shares blocks where the file system can.
                fs::copy(&source, &target).map_err(failed("copying to", &target))?;
                fs::File::open(&target)
                    .and_then(|file| file.sync_all())
                    .map_err(failed("syncing", &target))?;
            }
        }
        directories.push(target);
    }
    Ok(directories)
}
