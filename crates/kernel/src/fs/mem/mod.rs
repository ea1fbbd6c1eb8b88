//! A file system in memory, over files linked into the binary where there are some.
//!
//! Contents are shared copy-on-write in three ways: with the binary ([`MemFs::add_static`]), with a clone of the whole tree
//! ([`MemFs::clone_tree`]) and between files (`copy_file_range`). Because a file can start as a slice of the binary, this is
//! also the overlay of a writable layer over a read-only image: no second mechanism is needed for that.
//!
//! Lock order: the tree's lock, then an inode's. Reads and writes of open files take only the inode's.

mod content;
mod copy;
mod image;
mod inode;
mod tree;

use std::any::Any;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use self::content::{Budget, Content};
use self::inode::Inode;
use self::tree::{Body, Names, Node, ROOT, Tree};
use super::{FileSystem, FsError, FsResult, FsUsage, OpenHow, next_device};
use crate::copy::Copier;
use crate::errno::Errno;
use crate::file::{DirEntry, File, FileKind, FileTime, Stat};
use crate::image::{FileRecord, FsRecord, Pieces, SaveError, Saver};

/// What all inodes of one file system share.
struct Superblock {
    device: u64,
    budget: Budget,
    next_inode: AtomicU64,
    read_only: AtomicBool,
}

impl Superblock {
    fn writable(&self) -> Result<(), Errno> {
        if self.read_only.load(Ordering::Relaxed) {
            Err(Errno::EROFS)
        } else {
            Ok(())
        }
    }

    /// A writable one for a copy of the files.
    fn of_copy(&self) -> Arc<Self> {
        Arc::new(Self {
            device: next_device(),
            budget: Budget::new(self.budget.limit()),
            next_inode: AtomicU64::new(self.next_inode.load(Ordering::Relaxed)),
            read_only: AtomicBool::new(false),
        })
    }

    /// One that was saved.
    fn of_image(limit: u64, next_inode: u64, read_only: bool) -> Self {
        Self {
            device: next_device(),
            budget: Budget::new(limit),
            next_inode: AtomicU64::new(next_inode),
            read_only: AtomicBool::new(read_only),
        }
    }

    fn number(&self) -> u64 {
        self.next_inode.fetch_add(1, Ordering::Relaxed)
    }
}

/// A file system in memory. Its contents live as long as it or an open file of it.
pub struct MemFs {
    superblock: Arc<Superblock>,
    tree: Arc<RwLock<Tree>>,
}

impl Default for MemFs {
    fn default() -> Self {
        Self::new()
    }
}

impl MemFs {
    /// An empty one whose size is limited by the host's memory only.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limit(u64::MAX)
    }

    /// An empty one whose files together may hold `bytes` bytes of their own; more is `ENOSPC`. Files of the binary count once written, page by page;
    /// pages shared between files count for each.
    #[must_use]
    pub fn with_limit(bytes: u64) -> Self {
        let superblock = Arc::new(Superblock {
            device: next_device(),
            budget: Budget::new(bytes),
            next_inode: AtomicU64::new(ROOT + 1),
            read_only: AtomicBool::new(false),
        });
        let mut tree = Tree::default();
        let root = Inode::new(
            &superblock,
            ROOT,
            FileKind::Directory,
            0o755,
            Content::default(),
        );
        tree.nodes
            .insert(ROOT, Node::new(root, Body::Directory(Names::default())));
        Self {
            superblock,
            tree: Arc::new(RwLock::new(tree)),
        }
    }

    /// Adds a file whose bytes stay in the binary until written. Missing parents are made with mode 0755; `path` has no leading slash.
    pub fn add_static(&self, path: &str, mode: u32, contents: &'static [u8]) -> Result<(), Errno> {
        self.add(path, mode, Content::from_static(contents))
    }

    /// Adds a file whose bytes are linked into the program, packed: they are unpacked where and when somebody reads them, for all copies of this tree. `EINVAL` if a page of the
    /// file lies in two pieces, or in none.
    pub fn add_packed(
        &self,
        path: &str,
        mode: u32,
        pieces: &Pieces,
        range: Range<usize>,
    ) -> Result<(), Errno> {
        self.add(path, mode, Content::from_pieces(pieces, range)?)
    }

    /// Adds a file with these bytes; `ENOSPC` when over the limit.
    pub fn add_file(&self, path: &str, mode: u32, contents: Vec<u8>) -> Result<(), Errno> {
        let mut content = Content::default();
        let budget = &self.superblock.budget;
        if content.write_at(0, &contents, budget)? < contents.len() {
            budget.release(content.charged());
            return Err(Errno::ENOSPC);
        }
        // Zeros at the end are a hole.
        content.set_len(contents.len() as u64, budget)?;
        self.add(path, mode, content)
    }

    /// Adds a directory and what is missing above it (0755), or sets the mode of one that is there.
    pub fn add_dir(&self, path: &str, mode: u32) -> Result<(), Errno> {
        let path = path.trim_matches('/');
        self.make_parents(path)?;
        match self.mkdir(path, mode) {
            Err(FsError::Errno(Errno::EEXIST)) => flat(self.set_mode(path, mode)),
            other => flat(other),
        }
    }

    /// A second, independent file system with the same files. Costs some time for each file and directory, none for their bytes, which
    /// are shared until either side writes. Files written to meanwhile are each taken as they are at some instant of the call.
    #[must_use]
    pub fn clone_tree(&self) -> Self {
        let tree = self.tree();
        let superblock = self.superblock.of_copy();
        let nodes = tree
            .nodes
            .iter()
            .map(|(&number, node)| {
                let inode = node.inode().fork(&superblock);
                (number, Node::new(inode, node.body.clone()))
            })
            .collect();
        drop(tree);
        Self {
            superblock,
            tree: Arc::new(RwLock::new(Tree { nodes })),
        }
    }

    /// [`Self::clone_tree`] of one that nobody changes any more: less time for each file, and the rest when it is first used.
    #[must_use]
    pub fn clone_frozen(&self) -> Self {
        let tree = self.tree();
        let superblock = self.superblock.of_copy();
        let mut nodes = HashMap::with_capacity(tree.nodes.len());
        for (&number, node) in &tree.nodes {
            nodes.insert(number, node.later(&superblock));
        }
        drop(tree);
        Self {
            superblock,
            tree: Arc::new(RwLock::new(Tree { nodes })),
        }
    }

    /// Bytes that files hold of their own (see [`Self::with_limit`]).
    #[must_use]
    pub fn used(&self) -> u64 {
        self.superblock.budget.used()
    }

    /// Makes every change fail with `EROFS` from now on, also through files that are open.
    pub fn freeze(&self) {
        self.superblock.read_only.store(true, Ordering::Relaxed);
    }

    /// The regular file with this inode number, if it has a name.
    pub(crate) fn file_by_number(&self, number: u64) -> Option<Arc<dyn File>> {
        let tree = self.tree();
        let node = tree.nodes.get(&number)?;
        (node.kind() == FileKind::Regular).then(|| Arc::clone(node.inode()) as Arc<dyn File>)
    }

    /// The inode number that the next new file gets.
    pub(super) fn next_number(&self) -> u64 {
        self.superblock.next_inode.load(Ordering::Relaxed)
    }

    fn tree(&self) -> RwLockReadGuard<'_, Tree> {
        self.tree.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn tree_mut(&self) -> Result<RwLockWriteGuard<'_, Tree>, Errno> {
        self.superblock.writable()?;
        Ok(self.tree.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn inode(&self, kind: FileKind, mode: u32, content: Content) -> Arc<Inode> {
        Inode::new(
            &self.superblock,
            self.superblock.number(),
            kind,
            mode,
            content,
        )
    }

    fn make_parents(&self, path: &str) -> Result<(), Errno> {
        for (slash, _) in path.match_indices('/') {
            match self.mkdir(&path[..slash], 0o755) {
                Ok(()) | Err(FsError::Errno(Errno::EEXIST)) => {}
                other => return flat(other),
            }
        }
        Ok(())
    }

    fn add(&self, path: &str, mode: u32, content: Content) -> Result<(), Errno> {
        let path = path.trim_matches('/');
        let inode = self.inode(FileKind::Regular, mode, content);
        self.make_parents(path)?;
        let mut tree = self.tree_mut()?;
        let (directory, name) = flat(tree.vacant(path))?;
        tree.insert(directory, name, inode, Body::Leaf)
    }

    /// Adds something that is not a regular file or directory.
    fn add_special(&self, path: &str, inode: Arc<Inode>, body: Body) -> FsResult<()> {
        let mut tree = self.tree_mut()?;
        let (directory, name) = tree.vacant(path)?;
        Ok(tree.insert(directory, name, inode, body)?)
    }
}

/// For callers that use paths without links.
fn flat<T>(result: FsResult<T>) -> Result<T, Errno> {
    result.map_err(|error| match error {
        FsError::Errno(errno) => errno,
        FsError::Symlink { .. } => Errno::ELOOP,
    })
}

fn check_access(inode: &Inode, how: &OpenHow) -> Result<(), Errno> {
    let mode = inode.state().mode;
    if (how.read && mode & 0o400 == 0) || (how.write && mode & 0o200 == 0) {
        Err(Errno::EACCES)
    } else {
        Ok(())
    }
}

impl MemFs {
    fn open_node(&self, node: &Node, path: &str, how: &OpenHow) -> FsResult<Arc<dyn File>> {
        if how.create && how.exclusive {
            return Err(Errno::EEXIST.into());
        }
        match &node.body {
            Body::Link(_) if how.no_follow => Err(Errno::ELOOP.into()),
            Body::Link(target) => Err(FsError::Symlink {
                consumed: path.len(),
                target: target.to_string(),
            }),
            Body::Directory(_) if how.write || how.create || how.truncate => {
                Err(Errno::EISDIR.into())
            }
            Body::Directory(_) => Ok(Arc::new(OpenDirectory {
                tree: Arc::clone(&self.tree),
                inode: Arc::clone(node.inode()),
            })),
            Body::Leaf if how.directory => Err(Errno::ENOTDIR.into()),
            Body::Leaf if node.kind() != FileKind::Regular => Err(Errno::ENXIO.into()),
            Body::Leaf => {
                check_access(node.inode(), how)?;
                if how.write || how.truncate {
                    self.superblock.writable()?;
                }
                if how.truncate {
                    node.inode().set_len(0)?;
                }
                Ok(Arc::clone(node.inode()) as Arc<dyn File>)
            }
        }
    }
}

impl FileSystem for MemFs {
    fn open(&self, path: &str, how: &OpenHow) -> FsResult<Arc<dyn File>> {
        {
            let tree = self.tree();
            match tree.find(path)? {
                None => return self.open_node(tree.node(ROOT)?, path, how),
                Some(place) => match place.node {
                    Some(number) => return self.open_node(tree.node(number)?, path, how),
                    None if !how.create => return Err(Errno::ENOENT.into()),
                    None if how.directory => return Err(Errno::EINVAL.into()),
                    None => {}
                },
            }
        }
        let mut tree = self.tree_mut()?;
        let place = tree.find(path)?.ok_or(Errno::EISDIR)?;
        if let Some(number) = place.node {
            // Somebody else made it meanwhile.
            return self.open_node(tree.node(number)?, path, how);
        }
        let inode = self.inode(FileKind::Regular, how.mode, Content::default());
        tree.insert(place.directory, place.name, Arc::clone(&inode), Body::Leaf)?;
        Ok(inode)
    }

    fn stat(&self, path: &str, follow: bool) -> FsResult<Stat> {
        Ok(self.tree().lookup(path, follow)?.inode().status())
    }

    fn mkdir(&self, path: &str, mode: u32) -> FsResult<()> {
        let mut tree = self.tree.write().unwrap_or_else(PoisonError::into_inner);
        let (directory, name) = tree.vacant(path)?;
        self.superblock.writable()?;
        let inode = self.inode(FileKind::Directory, mode, Content::default());
        Ok(tree.insert(directory, name, inode, Body::Directory(Names::default()))?)
    }

    fn unlink(&self, path: &str) -> FsResult<()> {
        let mut tree = self.tree_mut()?;
        let place = tree.find(path)?.ok_or(Errno::EISDIR)?;
        let node = tree.node(place.node.ok_or(Errno::ENOENT)?)?;
        if matches!(node.body, Body::Directory(_)) {
            return Err(Errno::EISDIR.into());
        }
        Ok(tree.remove(place.directory, place.name)?)
    }

    fn rmdir(&self, path: &str) -> FsResult<()> {
        let mut tree = self.tree_mut()?;
        let place = tree.find(path)?.ok_or(Errno::EBUSY)?;
        if !tree.is_empty_directory(place.node.ok_or(Errno::ENOENT)?)? {
            return Err(Errno::ENOTEMPTY.into());
        }
        Ok(tree.remove(place.directory, place.name)?)
    }

    fn rename(&self, from: &str, to: &str, no_replace: bool) -> FsResult<()> {
        let mut tree = self.tree_mut()?;
        // The order of the checks is Linux's: it decides which error is told.
        let (source, target) = (
            tree.find(from)?.ok_or(Errno::EBUSY)?,
            tree.find(to)?.ok_or(Errno::EBUSY)?,
        );
        let number = source.node.ok_or(Errno::ENOENT)?;
        if no_replace && target.node.is_some() {
            return Err(Errno::EEXIST.into());
        }
        let below = |path: &str, directory: &str| {
            path.strip_prefix(directory)
                .is_some_and(|rest| rest.starts_with('/'))
        };
        let is_directory = matches!(tree.node(number)?.body, Body::Directory(_));
        if below(to, from) {
            return Err(Errno::EINVAL.into());
        }
        if below(from, to) {
            return Err(Errno::ENOTEMPTY.into());
        }
        if let Some(replaced) = target.node {
            if replaced == number {
                return Ok(());
            }
            match (&tree.node(replaced)?.body, is_directory) {
                (Body::Directory(entries), true) if !entries.is_empty() => {
                    return Err(Errno::ENOTEMPTY.into());
                }
                (Body::Directory(_), true) => {}
                (Body::Directory(_), false) => return Err(Errno::EISDIR.into()),
                (_, true) => return Err(Errno::ENOTDIR.into()),
                (_, false) => {}
            }
            tree.remove(target.directory, target.name)?;
        }
        tree.entries_mut(source.directory)?.remove(source.name);
        tree.entries_mut(target.directory)?
            .insert(target.name.into(), number);
        tree.touch(source.directory, is_directory.then_some(false));
        tree.touch(target.directory, is_directory.then_some(true));
        tree.node(number)?.inode().state_mut().changed = super::now();
        Ok(())
    }

    fn link(&self, from: &str, to: &str) -> FsResult<()> {
        let mut tree = self.tree_mut()?;
        let (source, target) = (
            tree.find(from)?.ok_or(Errno::EPERM)?,
            tree.find(to)?.ok_or(Errno::EEXIST)?,
        );
        let number = source.node.ok_or(Errno::ENOENT)?;
        if target.node.is_some() {
            return Err(Errno::EEXIST.into());
        }
        if matches!(tree.node(number)?.body, Body::Directory(_)) {
            return Err(Errno::EPERM.into());
        }
        tree.entries_mut(target.directory)?
            .insert(target.name.into(), number);
        tree.node(number)?.inode().change_links(true);
        tree.touch(target.directory, None);
        Ok(())
    }

    fn symlink(&self, target: &str, path: &str) -> FsResult<()> {
        let mut content = Content::default();
        content.set_len(target.len() as u64, &self.superblock.budget)?;
        let inode = self.inode(FileKind::Symlink, 0o777, content);
        self.add_special(path, inode, Body::Link(target.into()))
    }

    fn make_socket(&self, path: &str, mode: u32) -> FsResult<()> {
        self.add_special(
            path,
            self.inode(FileKind::Socket, mode, Content::default()),
            Body::Leaf,
        )
    }

    fn read_link(&self, path: &str) -> FsResult<String> {
        match &self.tree().lookup(path, false)?.body {
            Body::Link(target) => Ok(target.to_string()),
            _ => Err(Errno::EINVAL.into()),
        }
    }

    fn read_dir(&self, path: &str) -> FsResult<Vec<DirEntry>> {
        let tree = self.tree();
        let number = tree.lookup(path, true)?.number();
        Ok(tree.list(number)?)
    }

    fn set_mode(&self, path: &str, mode: u32) -> FsResult<()> {
        Ok(self.tree().lookup(path, true)?.inode().chmod(mode)?)
    }

    fn set_times(
        &self,
        path: &str,
        accessed: Option<FileTime>,
        modified: Option<FileTime>,
    ) -> FsResult<()> {
        Ok(self
            .tree()
            .lookup(path, true)?
            .inode()
            .utimes(accessed, modified)?)
    }

    fn read_only(&self) -> bool {
        self.superblock.writable().is_err()
    }

    fn copy(&self, copier: &mut Copier) -> Result<Option<Arc<dyn FileSystem>>, Errno> {
        Ok(Some(Arc::new(self.copy_tree(copier))))
    }

    fn save(&self, saver: &mut Saver<'_>) -> Result<FsRecord, SaveError> {
        self.save_tree(saver)
    }

    fn usage(&self) -> FsResult<FsUsage> {
        let files = self.tree().nodes.len() as u64;
        let budget = &self.superblock.budget;
        let total = budget.limit().min(1 << 50);
        let free = total.saturating_sub(budget.used());
        Ok(FsUsage {
            magic: 0x0102_1994,
            block_size: 4096,
            blocks: total / 4096,
            free: free / 4096,
            files: 1 << 32,
            files_free: (1 << 32) - files,
        })
    }
}

/// An open directory; once removed, it is empty.
struct OpenDirectory {
    tree: Arc<RwLock<Tree>>,
    inode: Arc<Inode>,
}

impl File for OpenDirectory {
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.inode.status())
    }

    fn read(&self, _out: &mut [u8]) -> Result<usize, Errno> {
        Err(Errno::EISDIR)
    }

    fn read_dir(&self) -> Result<Vec<DirEntry>, Errno> {
        let tree = self.tree.read().unwrap_or_else(PoisonError::into_inner);
        match tree.list(self.inode.number) {
            Err(Errno::ENOENT) => Ok(Vec::new()),
            other => other,
        }
    }

    fn set_mode(&self, mode: u32) -> Result<(), Errno> {
        self.inode.chmod(mode)
    }

    fn set_times(
        &self,
        accessed: Option<FileTime>,
        modified: Option<FileTime>,
    ) -> Result<(), Errno> {
        self.inode.utimes(accessed, modified)
    }

    fn copy(&self, this: &Arc<dyn File>, copier: &mut Copier) -> Result<Arc<dyn File>, Errno> {
        copy::or_itself(self.copied(copier), this)
    }

    fn save(&self, saver: &mut Saver<'_>) -> Result<FileRecord, SaveError> {
        self.save_directory(saver)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests;
