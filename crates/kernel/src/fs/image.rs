//! A read-only tree of files linked into the binary: [`super::mem::MemFs`] over static slices, frozen. For a tree that may be written to,
//! use `MemFs` itself.

use std::sync::Arc;

use super::mem::MemFs;
use super::{FileSystem, FsResult, FsUsage, OpenHow};
use crate::errno::Errno;
use crate::file::{DirEntry, File, FileTime, Stat};

/// One file of an image.
#[derive(Clone, Copy, Debug)]
pub struct ImageFile {
    /// Path in the image without a leading slash; missing parents are made.
    pub path: &'static str,
    /// Permission bits.
    pub mode: u32,
    /// The bytes.
    pub contents: &'static [u8],
}

/// A read-only file system; every change is `EROFS`. Takes memory for names and status only.
pub struct ImageFs(MemFs);

impl ImageFs {
    /// The image of these files; `EEXIST` for a path given twice, `ENOTDIR` for one below a file.
    pub fn new(files: impl IntoIterator<Item = ImageFile>) -> Result<Self, Errno> {
        let tree = MemFs::new();
        for file in files {
            tree.add_static(file.path, file.mode, file.contents)?;
        }
        Ok(Self::from(tree))
    }
}

impl From<MemFs> for ImageFs {
    /// Freezes a tree built otherwise (one with directories of their own modes, or with links).
    fn from(tree: MemFs) -> Self {
        tree.freeze();
        Self(tree)
    }
}

impl FileSystem for ImageFs {
    fn open(&self, path: &str, how: &OpenHow) -> FsResult<Arc<dyn File>> {
        self.0.open(path, how)
    }

    fn stat(&self, path: &str, follow: bool) -> FsResult<Stat> {
        self.0.stat(path, follow)
    }

    fn mkdir(&self, path: &str, mode: u32) -> FsResult<()> {
        self.0.mkdir(path, mode)
    }

    fn unlink(&self, path: &str) -> FsResult<()> {
        self.0.unlink(path)
    }

    fn rmdir(&self, path: &str) -> FsResult<()> {
        self.0.rmdir(path)
    }

    fn rename(&self, from: &str, to: &str, no_replace: bool) -> FsResult<()> {
        self.0.rename(from, to, no_replace)
    }

    fn link(&self, from: &str, to: &str) -> FsResult<()> {
        self.0.link(from, to)
    }

    fn symlink(&self, target: &str, path: &str) -> FsResult<()> {
        self.0.symlink(target, path)
    }

    fn make_socket(&self, path: &str, mode: u32) -> FsResult<()> {
        self.0.make_socket(path, mode)
    }

    fn read_link(&self, path: &str) -> FsResult<String> {
        self.0.read_link(path)
    }

    fn read_dir(&self, path: &str) -> FsResult<Vec<DirEntry>> {
        self.0.read_dir(path)
    }

    fn set_mode(&self, path: &str, mode: u32) -> FsResult<()> {
        self.0.set_mode(path, mode)
    }

    fn set_times(
        &self,
        path: &str,
        accessed: Option<FileTime>,
        modified: Option<FileTime>,
    ) -> FsResult<()> {
        self.0.set_times(path, accessed, modified)
    }

    fn usage(&self) -> FsResult<FsUsage> {
        self.0.usage()
    }

    fn read_only(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::FsError;

    #[test]
    fn reads_and_refuses_changes() {
        let image = ImageFs::new([ImageFile {
            path: "share/timezone/UTC",
            mode: 0o644,
            contents: b"TZif",
        }])
        .unwrap();
        let file = image
            .open(
                "share/timezone/UTC",
                &OpenHow {
                    read: true,
                    ..OpenHow::default()
                },
            )
            .unwrap_or_else(|_| panic!("no file"));
        let mut out = [0; 8];
        assert_eq!(file.read_at(1, &mut out), Ok(3));
        assert_eq!(&out[..3], b"Zif");
        assert_eq!(file.set_mode(0), Err(Errno::EROFS));
        let erofs = Err(FsError::Errno(Errno::EROFS));
        assert_eq!(image.unlink("share/timezone/UTC"), erofs);
        assert_eq!(image.mkdir("share/new", 0o700), erofs);
        assert_eq!(
            image.mkdir("share", 0o700),
            Err(FsError::Errno(Errno::EEXIST))
        );
        let write = OpenHow {
            write: true,
            ..OpenHow::default()
        };
        assert!(matches!(
            image.open("share/timezone/UTC", &write),
            Err(FsError::Errno(Errno::EROFS | Errno::EACCES))
        ));
    }
}
