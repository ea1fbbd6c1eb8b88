//! Names: which directory entry leads to which inode. Guarded as a whole by one lock of the file system, so that renames are atomic.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use super::Superblock;
use super::inode::Inode;
use crate::errno::Errno;
use crate::file::{DirEntry, FileKind};
use crate::fs::{FsError, FsResult};

/// The root directory's inode number.
pub(super) const ROOT: u64 = 1;

/// Names of a directory, in order, shared with copies until one changes.
pub(super) type Names = Arc<BTreeMap<Box<str>, u64>>;

/// What an inode is in the tree.
#[derive(Clone)]
pub(super) enum Body {
    /// A directory.
    Directory(Names),
    /// A symbolic link and what it says.
    Link(Arc<str>),
    /// Everything else.
    Leaf,
}

/// One inode that has a name (or is the root).
pub(super) struct Node {
    inode: OnceLock<Arc<Inode>>,
    /// In a copy of a tree that does not change: what the inode is made from when it is first looked at, and whose it becomes.
    origin: Option<(Arc<Inode>, Arc<Superblock>)>,
    pub(super) body: Body,
}

impl Node {
    pub(super) fn new(inode: Arc<Inode>, body: Body) -> Self {
        Self {
            inode: OnceLock::from(inode),
            origin: None,
            body,
        }
    }

    /// The node in a copy that belongs to `superblock`; the tree of this one must not change any more.
    pub(super) fn later(&self, superblock: &Arc<Superblock>) -> Self {
        Self {
            inode: OnceLock::new(),
            origin: Some((Arc::clone(self.source()), Arc::clone(superblock))),
            body: self.body.clone(),
        }
    }

    /// What its status and content are to be read from.
    pub(super) fn source(&self) -> &Arc<Inode> {
        match (self.inode.get(), &self.origin) {
            (None, Some((origin, _))) => origin,
            _ => self.inode(),
        }
    }

    pub(super) fn inode(&self) -> &Arc<Inode> {
        self.inode.get_or_init(|| match &self.origin {
            Some((origin, superblock)) => origin.fork(superblock),
            // Not reached: a node without an origin is made with its inode.
            None => unreachable!("a node has an inode or an origin"),
        })
    }

    pub(super) fn number(&self) -> u64 {
        self.source().number
    }

    pub(super) fn kind(&self) -> FileKind {
        self.source().kind
    }
}

/// All named inodes by number.
#[derive(Default)]
pub(super) struct Tree {
    pub(super) nodes: HashMap<u64, Node>,
}

/// The directory of a path, the name in it and the node there, if any.
pub(super) struct Place<'p> {
    pub(super) directory: u64,
    pub(super) name: &'p str,
    pub(super) node: Option<u64>,
}

impl Tree {
    pub(super) fn node(&self, number: u64) -> Result<&Node, Errno> {
        self.nodes.get(&number).ok_or(Errno::ENOENT)
    }

    fn entries(&self, number: u64) -> Result<&Names, Errno> {
        match &self.node(number)?.body {
            Body::Directory(entries) => Ok(entries),
            _ => Err(Errno::ENOTDIR),
        }
    }

    pub(super) fn entries_mut(
        &mut self,
        number: u64,
    ) -> Result<&mut BTreeMap<Box<str>, u64>, Errno> {
        match &mut self.nodes.get_mut(&number).ok_or(Errno::ENOENT)?.body {
            Body::Directory(entries) => Ok(Arc::make_mut(entries)),
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// Walks to the directory of `path` and looks its last name up there; the root has neither: `None`.
    pub(super) fn find<'p>(&self, path: &'p str) -> FsResult<Option<Place<'p>>> {
        if path.is_empty() {
            return Ok(None);
        }
        let mut directory = ROOT;
        let mut start = 0;
        loop {
            let rest = &path[start..];
            let entries = self.entries(directory)?;
            let Some(slash) = rest.find('/') else {
                return Ok(Some(Place {
                    directory,
                    name: rest,
                    node: entries.get(rest).copied(),
                }));
            };
            let number = *entries.get(&rest[..slash]).ok_or(Errno::ENOENT)?;
            if let Body::Link(target) = &self.node(number)?.body {
                return Err(FsError::Symlink {
                    consumed: start + slash,
                    target: target.to_string(),
                });
            }
            directory = number;
            start += slash + 1;
        }
    }

    /// The node at `path`; a link there is an [`FsError::Symlink`] if `follow`.
    pub(super) fn lookup(&self, path: &str, follow: bool) -> FsResult<&Node> {
        let Some(place) = self.find(path)? else {
            return Ok(self.node(ROOT)?);
        };
        let node = self.node(place.node.ok_or(Errno::ENOENT)?)?;
        match &node.body {
            Body::Link(target) if follow => Err(FsError::Symlink {
                consumed: path.len(),
                target: target.to_string(),
            }),
            _ => Ok(node),
        }
    }

    /// Where a new name can go; `EEXIST` if it is taken.
    pub(super) fn vacant<'p>(&self, path: &'p str) -> FsResult<(u64, &'p str)> {
        let place = self.find(path)?.ok_or(Errno::EEXIST)?;
        if place.node.is_some() {
            return Err(Errno::EEXIST.into());
        }
        Ok((place.directory, place.name))
    }

    /// Adds a new inode under a free name.
    pub(super) fn insert(
        &mut self,
        directory: u64,
        name: &str,
        inode: Arc<Inode>,
        body: Body,
    ) -> Result<(), Errno> {
        let number = inode.number;
        let is_directory = matches!(body, Body::Directory(_));
        self.entries_mut(directory)?.insert(name.into(), number);
        self.nodes.insert(number, Node::new(inode, body));
        self.touch(directory, is_directory.then_some(true));
        Ok(())
    }

    /// Removes a name, and the node when it was the last. The caller has checked that a directory is empty.
    pub(super) fn remove(&mut self, directory: u64, name: &str) -> Result<(), Errno> {
        let number = self
            .entries_mut(directory)?
            .remove(name)
            .ok_or(Errno::ENOENT)?;
        let node = self.node(number)?;
        let is_directory = matches!(node.body, Body::Directory(_));
        node.inode().change_links(false);
        if is_directory || node.inode().state().links == 0 {
            self.nodes.remove(&number);
        }
        self.touch(directory, is_directory.then_some(false));
        Ok(())
    }

    /// Notes a change of a directory; `subdirectory` tells whether one was added or removed.
    pub(super) fn touch(&self, directory: u64, subdirectory: Option<bool>) {
        if let Some(node) = self.nodes.get(&directory) {
            node.inode().touch();
            if let Some(added) = subdirectory {
                node.inode().change_links(added);
            }
        }
    }

    pub(super) fn is_empty_directory(&self, number: u64) -> Result<bool, Errno> {
        self.entries(number).map(|entries| entries.is_empty())
    }

    pub(super) fn list(&self, number: u64) -> Result<Vec<DirEntry>, Errno> {
        let entries = self.entries(number)?;
        let mut list = Vec::with_capacity(entries.len());
        for (name, number) in entries.iter() {
            let kind = self.nodes.get(number).map_or(FileKind::Regular, Node::kind);
            list.push(DirEntry {
                name: name.to_string(),
                inode: *number,
                kind,
            });
        }
        Ok(list)
    }
}
