//! The guest's name space: the mount table and path resolution.
//!
//! Paths are guest paths: absolute, or relative to a directory given by its absolute path (the working directory's, or the one a directory
//! descriptor was opened by; renaming a directory does not change what those say). Names must be UTF-8; other bytes are `EINVAL` at the system call boundary.
//!
//! Back ends never follow symbolic links; they report them ([`FsError::Symlink`]) and resolution goes on here, in the
//! guest's name space, wherever the link leads. `..` is taken textually only after names that are known to be real directories.

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;

use super::mem::MemFs;
use super::{FileSystem, FsError, FsResult, FsUsage, NAME_MAX, OpenHow};
use crate::abi::PATH_MAX;
use crate::copy::Copier;
use crate::errno::Errno;
use crate::file::{DirEntry, File, FileKind, FileTime, Stat, SyncKind};

/// Symbolic links followed in one resolution before it is `ELOOP`.
const MAX_LINKS: u32 = 40;

/// One mounted file system.
#[derive(Clone)]
struct Mount {
    /// Absolute and normalised; empty for the root.
    at: String,
    fs: Arc<dyn FileSystem>,
}

/// The mount table. Built before the kernel starts; shared without locks afterwards.
pub struct Vfs {
    /// Longest mount point first, the root last.
    mounts: Vec<Mount>,
}

impl Default for Vfs {
    fn default() -> Self {
        Self::new()
    }
}

/// Where a path ends, all links on the way resolved.
struct Place<'v> {
    mount: &'v Mount,
    /// Absolute; empty for the root.
    path: String,
    /// The text ended in `/`, `.` or `..`: only a directory will do.
    directory: bool,
}

impl Place<'_> {
    /// The path within the mount.
    fn inner(&self) -> &str {
        inner(self.mount, &self.path)
    }

    fn absolute(self) -> String {
        if self.path.is_empty() {
            "/".to_owned()
        } else {
            self.path
        }
    }
}

fn inner<'p>(mount: &Mount, path: &'p str) -> &'p str {
    path[mount.at.len()..].trim_start_matches('/')
}

/// The last name as written; empty for the root.
fn last_name(path: &str) -> &str {
    path.trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default()
}

/// A text that has been made absolute.
struct Settled {
    path: String,
    directory: bool,
}

impl Vfs {
    /// An empty [`MemFs`] at `/`.
    #[must_use]
    pub fn new() -> Self {
        Self {
            mounts: vec![Mount {
                at: String::new(),
                fs: Arc::new(MemFs::new()),
            }],
        }
    }

    /// Mounts `fs` at the absolute path `at`, in place of what was mounted there. The mount point and what is missing above it are made
    /// where the file system below allows; they show in listings in any case. Mount `/` first.
    pub fn mount(&mut self, at: &str, fs: Arc<dyn FileSystem>) {
        let mut path = String::new();
        for name in at
            .split('/')
            .filter(|name| !name.is_empty() && *name != ".")
        {
            path.push('/');
            path.push_str(name);
            // Best effort: it may be there, or the file system read-only.
            let (mount, inner) = self.mount_of(&path);
            let _ = mount.fs.mkdir(inner, 0o755);
        }
        self.mounts.retain(|mount| mount.at != path);
        self.mounts.push(Mount { at: path, fs });
        self.mounts
            .sort_by_key(|mount| std::cmp::Reverse(mount.at.len()));
    }

    /// The same tree in a copy of the kernel.
    pub(crate) fn copy(&self, copier: &mut Copier) -> Result<Self, Errno> {
        let mut mounts = Vec::with_capacity(self.mounts.len());
        for mount in &self.mounts {
            mounts.push(Mount {
                at: mount.at.clone(),
                fs: mount
                    .fs
                    .copy(copier)?
                    .unwrap_or_else(|| Arc::clone(&mount.fs)),
            });
        }
        Ok(Self { mounts })
    }

    /// Nothing, for what [`Self::add`] adds.
    pub(crate) fn empty() -> Self {
        Self { mounts: Vec::new() }
    }

    /// One more of the mounts that [`Self::mounts`] told, in their order.
    pub(crate) fn add(&mut self, at: &str, fs: Arc<dyn FileSystem>) {
        let at = at.trim_end_matches('/').to_owned();
        self.mounts.push(Mount { at, fs });
    }

    /// The mount points and what is mounted there, longest path first.
    pub fn mounts(&self) -> impl Iterator<Item = (&str, &Arc<dyn FileSystem>)> {
        self.mounts.iter().map(|mount| {
            (
                if mount.at.is_empty() {
                    "/"
                } else {
                    mount.at.as_str()
                },
                &mount.fs,
            )
        })
    }

    /// Opens or creates; returns the file and its absolute path without links.
    pub fn open(
        &self,
        cwd: &str,
        path: &str,
        how: &OpenHow,
    ) -> Result<(Arc<dyn File>, String), Errno> {
        let (file, place) = self.walk(cwd, path, |place| {
            if !place.directory {
                return place.mount.fs.open(place.inner(), how);
            }
            if how.create {
                return Err(Errno::EISDIR.into());
            }
            place.mount.fs.open(
                place.inner(),
                &OpenHow {
                    directory: true,
                    no_follow: false,
                    ..*how
                },
            )
        })?;
        let path = place.absolute();
        let below = self.mounted_in(&path);
        if below.is_empty() || file.stat()?.kind != FileKind::Directory {
            return Ok((file, path));
        }
        Ok((
            Arc::new(MountParent {
                directory: file,
                below,
            }),
            path,
        ))
    }

    /// Status; of the link itself if the path ends at one and `follow` is false.
    pub fn stat(&self, cwd: &str, path: &str, follow: bool) -> Result<Stat, Errno> {
        self.walk(cwd, path, |place| place.stat(follow || place.directory))
            .map(|(stat, _)| stat)
    }

    /// The absolute path without links of an existing file.
    pub fn real_path(&self, cwd: &str, path: &str) -> Result<String, Errno> {
        self.walk(cwd, path, |place| place.stat(true))
            .map(|(_, place)| place.absolute())
    }

    /// The absolute path without links of a directory; `ENOTDIR` for anything else (`chdir`).
    pub fn directory(&self, cwd: &str, path: &str) -> Result<String, Errno> {
        let (stat, place) = self.walk(cwd, path, |place| place.stat(true))?;
        if stat.kind == FileKind::Directory {
            Ok(place.absolute())
        } else {
            Err(Errno::ENOTDIR)
        }
    }

    /// Makes a directory; `mode` has the umask applied.
    pub fn mkdir(&self, cwd: &str, path: &str, mode: u32) -> Result<(), Errno> {
        self.walk(cwd, path, |place| place.mount.fs.mkdir(place.inner(), mode))
            .map(drop)
    }

    /// Removes a file or link.
    pub fn unlink(&self, cwd: &str, path: &str) -> Result<(), Errno> {
        self.walk(cwd, path, |place| {
            if place.inner().is_empty() {
                return Err(Errno::EISDIR.into());
            }
            if place.directory {
                let kind = place.stat(false)?.kind;
                return Err(if kind == FileKind::Directory {
                    Errno::EISDIR
                } else {
                    Errno::ENOTDIR
                }
                .into());
            }
            place.mount.fs.unlink(place.inner())
        })
        .map(drop)
    }

    /// Removes an empty directory; `EBUSY` for a mount point.
    pub fn rmdir(&self, cwd: &str, path: &str) -> Result<(), Errno> {
        match last_name(path) {
            "." => return Err(Errno::EINVAL),
            ".." => return Err(Errno::ENOTEMPTY),
            _ => {}
        }
        self.walk(cwd, path, |place| {
            if place.inner().is_empty() || self.mounts_below(&place.path) {
                return Err(Errno::EBUSY.into());
            }
            place.mount.fs.rmdir(place.inner())
        })
        .map(drop)
    }

    /// Renames, replacing what is at `to` unless `no_replace`; `EXDEV` across mounts.
    pub fn rename(
        &self,
        from: (&str, &str),
        to: (&str, &str),
        no_replace: bool,
    ) -> Result<(), Errno> {
        for (_, path) in [from, to] {
            if matches!(last_name(path), "." | "..") {
                return Err(Errno::EBUSY);
            }
        }
        let (source, target) = (self.locate(from.0, from.1)?, self.locate(to.0, to.1)?);
        if !std::ptr::eq(source.mount, target.mount) {
            return Err(Errno::EXDEV);
        }
        if source.inner().is_empty() || target.inner().is_empty() || self.mounts_below(&source.path)
        {
            return Err(Errno::EBUSY);
        }
        if (source.directory || target.directory) && source.stat_kind()? != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        settled(
            source
                .mount
                .fs
                .rename(source.inner(), target.inner(), no_replace),
        )
    }

    /// A second name for a file, or (unless `follow`) for a link itself; `EXDEV` across mounts.
    pub fn link(&self, from: (&str, &str), to: (&str, &str), follow: bool) -> Result<(), Errno> {
        let source = if follow {
            self.walk(from.0, from.1, |place| place.stat(true))?.1
        } else {
            self.locate(from.0, from.1)?
        };
        let target = self.locate(to.0, to.1)?;
        if target.directory {
            return Err(if target.stat(false).is_ok() {
                Errno::EEXIST
            } else {
                Errno::ENOENT
            });
        }
        if source.directory && source.stat_kind()? != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        if !std::ptr::eq(source.mount, target.mount) {
            return Err(Errno::EXDEV);
        }
        settled(source.mount.fs.link(source.inner(), target.inner()))
    }

    /// A symbolic link at `path` that says `target`.
    pub fn symlink(&self, target: &str, cwd: &str, path: &str) -> Result<(), Errno> {
        if target.is_empty() {
            return Err(Errno::ENOENT);
        }
        self.walk(cwd, path, |place| {
            if place.directory && matches!(place.stat(false), Err(FsError::Errno(Errno::ENOENT))) {
                return Err(Errno::ENOENT.into());
            }
            place.mount.fs.symlink(target, place.inner())
        })
        .map(drop)
    }

    /// A node for a listening `AF_UNIX` socket; returns its absolute path without links.
    pub fn make_socket(&self, cwd: &str, path: &str, mode: u32) -> Result<String, Errno> {
        self.walk(cwd, path, |place| {
            if place.directory || place.inner().is_empty() {
                return Err(Errno::EEXIST.into());
            }
            place.mount.fs.make_socket(place.inner(), mode)
        })
        .map(|(_, place)| place.absolute())
    }

    /// What the symbolic link at `path` says.
    pub fn read_link(&self, cwd: &str, path: &str) -> Result<String, Errno> {
        self.walk(cwd, path, |place| {
            if place.directory {
                place.stat(true)?;
                return Err(Errno::EINVAL.into());
            }
            place.mount.fs.read_link(place.inner())
        })
        .map(|(target, _)| target)
    }

    /// The names in a directory, mount points included.
    pub fn read_dir(&self, cwd: &str, path: &str) -> Result<Vec<DirEntry>, Errno> {
        let how = OpenHow {
            read: true,
            directory: true,
            ..OpenHow::default()
        };
        self.open(cwd, path, &how)?.0.read_dir()
    }

    /// Changes permission bits.
    pub fn set_mode(&self, cwd: &str, path: &str, mode: u32) -> Result<(), Errno> {
        self.walk(cwd, path, |place| {
            place.mount.fs.set_mode(place.inner(), mode)
        })
        .map(drop)
    }

    /// Changes times; `None` leaves one.
    pub fn set_times(
        &self,
        cwd: &str,
        path: &str,
        accessed: Option<FileTime>,
        modified: Option<FileTime>,
    ) -> Result<(), Errno> {
        self.walk(cwd, path, |place| {
            place.mount.fs.set_times(place.inner(), accessed, modified)
        })
        .map(drop)
    }

    /// Space on the file system that holds `path`, and whether it is read-only.
    pub fn usage(&self, cwd: &str, path: &str) -> Result<(FsUsage, bool), Errno> {
        let (_, place) = self.walk(cwd, path, |place| place.stat(true))?;
        Ok((settled(place.mount.fs.usage())?, place.mount.fs.read_only()))
    }

    /// Makes everything on all mounts durable, or on the one that holds `path`. Blocks for the host's disk; the first error is returned after all were tried.
    pub fn sync(&self, path: Option<&str>) -> Result<(), Errno> {
        if let Some(path) = path {
            let (_, place) = self.walk("/", path, |place| place.stat(true))?;
            return settled(place.mount.fs.sync());
        }
        self.mounts
            .iter()
            .map(|mount| settled(mount.fs.sync()))
            .fold(Ok(()), Result::and)
    }

    /// A whole file, for the host's own use.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, Errno> {
        let (file, _) = self.open(
            "/",
            path,
            &OpenHow {
                read: true,
                ..OpenHow::default()
            },
        )?;
        let mut bytes = vec![0; usize::try_from(file.size()?).map_err(|_| Errno::EFBIG)?];
        let mut done = 0;
        while done < bytes.len() {
            match file.read_at(done as u64, &mut bytes[done..])? {
                0 => break,
                n => done += n,
            }
        }
        bytes.truncate(done);
        Ok(bytes)
    }

    /// Creates or replaces a file, for the host's own use. Not atomic, not synchronised.
    pub fn write(&self, path: &str, mode: u32, bytes: &[u8]) -> Result<(), Errno> {
        let how = OpenHow {
            write: true,
            create: true,
            truncate: true,
            mode,
            ..OpenHow::default()
        };
        let (file, _) = self.open("/", path, &how)?;
        let mut done = 0;
        while done < bytes.len() {
            done += file.write_at(done as u64, &bytes[done..])?;
        }
        Ok(())
    }

    fn mount_of<'p>(&self, path: &'p str) -> (&Mount, &'p str) {
        let covers = |mount: &&Mount| {
            path.strip_prefix(mount.at.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        // The root's empty path is a prefix of every path, and it is never removed.
        let mount = self
            .mounts
            .iter()
            .find(covers)
            .unwrap_or(&self.mounts[self.mounts.len() - 1]);
        (mount, inner(mount, path))
    }

    /// Names of the mount points right in this directory.
    fn mounted_in(&self, path: &str) -> Vec<(String, Arc<dyn FileSystem>)> {
        let path = path.trim_end_matches('/');
        let name = |mount: &Mount| {
            let name = mount.at.strip_prefix(path)?.strip_prefix('/')?;
            (!name.is_empty() && !name.contains('/'))
                .then(|| (name.to_owned(), Arc::clone(&mount.fs)))
        };
        self.mounts.iter().filter_map(name).collect()
    }

    fn mounts_below(&self, path: &str) -> bool {
        self.mounts.iter().any(|mount| {
            mount
                .at
                .strip_prefix(path)
                .is_some_and(|rest| rest.starts_with('/'))
        })
    }

    /// Resolves all of `path` but a final link, whether or not there is something.
    fn locate(&self, cwd: &str, path: &str) -> Result<Place<'_>, Errno> {
        let look = |place: &Place<'_>| match place.stat(place.directory) {
            Ok(_) | Err(FsError::Errno(Errno::ENOENT)) => Ok(()),
            Err(error) => Err(error),
        };
        self.walk(cwd, path, look).map(|(_, place)| place)
    }

    fn walk<T>(
        &self,
        cwd: &str,
        path: &str,
        op: impl FnMut(&Place<'_>) -> FsResult<T>,
    ) -> Result<(T, Place<'_>), Errno> {
        self.follow(cwd, path, &mut 0, op)
    }

    /// Calls `op` with each place that `path` leads to until it meets no more links.
    fn follow<T>(
        &self,
        cwd: &str,
        path: &str,
        links: &mut u32,
        mut op: impl FnMut(&Place<'_>) -> FsResult<T>,
    ) -> Result<(T, Place<'_>), Errno> {
        let (mut base, mut text) = (Cow::Borrowed(cwd), Cow::Borrowed(path));
        loop {
            let Settled { path, directory } = self.settle(&base, &text, links)?;
            let (mount, _) = self.mount_of(&path);
            let place = Place {
                mount,
                path,
                directory,
            };
            match op(&place) {
                Ok(value) => return Ok((value, place)),
                Err(FsError::Errno(errno)) => return Err(errno),
                Err(FsError::Symlink { consumed, target }) => {
                    *links += 1;
                    if *links > MAX_LINKS {
                        return Err(Errno::ELOOP);
                    }
                    let end = place.path.len() - place.inner().len() + consumed;
                    let (link, rest) = place.path.split_at_checked(end).ok_or(Errno::EIO)?;
                    let slash = if place.directory { "/" } else { "" };
                    text = Cow::Owned(format!("{target}{rest}{slash}"));
                    base = Cow::Owned(
                        link.rsplit_once('/')
                            .map_or("", |(parent, _)| parent)
                            .to_owned(),
                    );
                    if target.is_empty() {
                        return Err(Errno::ENOENT);
                    }
                }
            }
        }
    }

    /// Makes `text` absolute and takes `.` and `..` out of it. `base` is free of links.
    fn settle(&self, base: &str, text: &str, links: &mut u32) -> Result<Settled, Errno> {
        if text.is_empty() {
            return Err(Errno::ENOENT);
        }
        if text.len() >= PATH_MAX as usize {
            return Err(Errno::ENAMETOOLONG);
        }
        let base = if text.starts_with('/') {
            ""
        } else {
            base.trim_end_matches('/')
        };
        let mut path = String::with_capacity(base.len() + 1 + text.len());
        path.push_str(base);
        // False as long as everything in `path` is known to be a real directory.
        let mut unknown = false;
        let mut directory = false;
        for name in text.split('/') {
            directory = true;
            match name {
                "" | "." => {}
                ".." => {
                    if unknown {
                        let (stat, place) =
                            self.follow("/", &path, links, |place| place.stat(true))?;
                        if stat.kind != FileKind::Directory {
                            return Err(Errno::ENOTDIR);
                        }
                        path = place.path;
                        unknown = false;
                    }
                    path.truncate(path.rfind('/').unwrap_or(0));
                }
                name if name.len() > NAME_MAX => return Err(Errno::ENAMETOOLONG),
                name => {
                    path.push('/');
                    path.push_str(name);
                    unknown = true;
                    directory = false;
                }
            }
        }
        Ok(Settled { path, directory })
    }
}

impl Place<'_> {
    fn stat(&self, follow: bool) -> FsResult<Stat> {
        let stat = self.mount.fs.stat(self.inner(), follow)?;
        if self.directory && stat.kind != FileKind::Directory {
            return Err(Errno::ENOTDIR.into());
        }
        Ok(stat)
    }

    fn stat_kind(&self) -> Result<FileKind, Errno> {
        settled(self.mount.fs.stat(self.inner(), false)).map(|stat| stat.kind)
    }
}

/// For operations on a path that has just been resolved: a link there now means that somebody changed it meanwhile.
fn settled<T>(result: FsResult<T>) -> Result<T, Errno> {
    result.map_err(|error| match error {
        FsError::Errno(errno) => errno,
        FsError::Symlink { .. } => Errno::ENOENT,
    })
}

/// A directory that holds mount points: its listing shows them, and what they cover not.
struct MountParent {
    directory: Arc<dyn File>,
    below: Vec<(String, Arc<dyn FileSystem>)>,
}

impl File for MountParent {
    fn stat(&self) -> Result<Stat, Errno> {
        self.directory.stat()
    }

    fn read_dir(&self) -> Result<Vec<DirEntry>, Errno> {
        let mut list = self.directory.read_dir()?;
        list.retain(|entry| !self.below.iter().any(|(name, _)| *name == entry.name));
        for (name, fs) in &self.below {
            let root = settled(fs.stat("", true))?;
            list.push(DirEntry {
                name: name.clone(),
                inode: root.inode,
                kind: root.kind,
            });
        }
        Ok(list)
    }

    fn read(&self, out: &mut [u8]) -> Result<usize, Errno> {
        self.directory.read(out)
    }

    fn sync(&self, kind: SyncKind) -> Result<(), Errno> {
        self.directory.sync(kind)
    }

    fn set_mode(&self, mode: u32) -> Result<(), Errno> {
        self.directory.set_mode(mode)
    }

    fn set_times(
        &self,
        accessed: Option<FileTime>,
        modified: Option<FileTime>,
    ) -> Result<(), Errno> {
        self.directory.set_times(accessed, modified)
    }

    fn as_any(&self) -> &dyn Any {
        self.directory.as_any()
    }
}

#[cfg(test)]
mod tests;
