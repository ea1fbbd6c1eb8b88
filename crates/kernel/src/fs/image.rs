//! A read-only tree of files linked into the binary: [`super::mem::MemFs`] over static slices, frozen. For a tree that may be written to,
//! use `MemFs` itself.

use std::sync::{Arc, LazyLock};

use super::mem::MemFs;
use super::{FileSystem, FsError, FsResult, FsUsage, OpenHow};
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

type Build = Box<dyn FnOnce() -> Result<MemFs, Errno> + Send>;

/// A read-only file system; every change is `EROFS`. Takes memory for names and status only.
pub struct ImageFs(LazyLock<Result<MemFs, Errno>, Build>);

impl ImageFs {
    /// What `build` makes, once somebody looks: a session that was started before it was copied hardly needs one of a thousand installed files. All calls fail as `build` does.
    pub fn lazy(build: impl FnOnce() -> Result<MemFs, Errno> + Send + 'static) -> Self {
        Self(LazyLock::new(Box::new(|| {
            let tree = build()?;
            tree.freeze();
            Ok(tree)
        })))
    }

    fn tree(&self) -> FsResult<&MemFs> {
        self.0.as_ref().map_err(|&errno| FsError::Errno(errno))
    }

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
        let this = Self(LazyLock::new(Box::new(|| Ok(tree))));
        LazyLock::force(&this.0);
        this
    }
}

impl FileSystem for ImageFs {
    fn open(&self, path: &str, how: &OpenHow) -> FsResult<Arc<dyn File>> {
        self.tree()?.open(path, how)
    }

    fn stat(&self, path: &str, follow: bool) -> FsResult<Stat> {
        self.tree()?.stat(path, follow)
    }

    fn mkdir(&self, path: &str, mode: u32) -> FsResult<()> {
        self.tree()?.mkdir(path, mode)
    }

    fn unlink(&self, path: &str) -> FsResult<()> {
        self.tree()?.unlink(path)
    }

    fn rmdir(&self, path: &str) -> FsResult<()> {
        self.tree()?.rmdir(path)
    }

    fn rename(&self, from: &str, to: &str, no_replace: bool) -> FsResult<()> {
        self.tree()?.rename(from, to, no_replace)
    }

    fn link(&self, from: &str, to: &str) -> FsResult<()> {
        self.tree()?.link(from, to)
    }

    fn symlink(&self, target: &str, path: &str) -> FsResult<()> {
        self.tree()?.symlink(target, path)
    }

    fn make_socket(&self, path: &str, mode: u32) -> FsResult<()> {
        self.tree()?.make_socket(path, mode)
    }

    fn read_link(&self, path: &str) -> FsResult<String> {
        self.tree()?.read_link(path)
    }

    fn read_dir(&self, path: &str) -> FsResult<Vec<DirEntry>> {
        self.tree()?.read_dir(path)
    }

    fn set_mode(&self, path: &str, mode: u32) -> FsResult<()> {
        self.tree()?.set_mode(path, mode)
    }

    fn set_times(
        &self,
        path: &str,
        accessed: Option<FileTime>,
        modified: Option<FileTime>,
    ) -> FsResult<()> {
        self.tree()?.set_times(path, accessed, modified)
    }

    fn usage(&self) -> FsResult<FsUsage> {
        self.tree()?.usage()
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
    fn a_lazy_one_is_made_once_when_somebody_looks() {
        use std::sync::atomic::{AtomicU32, Ordering};

        static MADE: AtomicU32 = AtomicU32::new(0);
        let image = ImageFs::lazy(|| {
            MADE.fetch_add(1, Ordering::Relaxed);
            let tree = MemFs::new();
            tree.add_static("a", 0o644, b"x")?;
            Ok(tree)
        });
        assert_eq!(MADE.load(Ordering::Relaxed), 0);
        for _ in 0..2 {
            assert_eq!(image.stat("a", true).map(|stat| stat.size), Ok(1));
        }
        assert_eq!(MADE.load(Ordering::Relaxed), 1);
        let erofs = Err(FsError::Errno(Errno::EROFS));
        assert_eq!(image.unlink("a"), erofs);
        let broken = ImageFs::lazy(|| Err(Errno::EIO));
        assert_eq!(
            broken.stat("a", true).err(),
            Some(FsError::Errno(Errno::EIO))
        );
    }

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
