//! Memory file systems of a copied kernel.

use std::sync::{Arc, PoisonError, RwLock};

use super::inode::Inode;
use super::tree::Tree;
use super::{MemFs, OpenDirectory, Superblock};
use crate::copy::Copier;
use crate::errno::Errno;
use crate::file::File;

/// A file system that was copied, kept under its original's superblock.
struct Copied {
    superblock: Arc<Superblock>,
    tree: Arc<RwLock<Tree>>,
}

impl MemFs {
    pub(super) fn copy_tree(&self, copier: &mut Copier) -> Self {
        let copy = if copier.is_of_frozen() {
            self.clone_frozen()
        } else {
            self.clone_tree()
        };
        let copied = Copied {
            superblock: Arc::clone(&copy.superblock),
            tree: Arc::clone(&copy.tree),
        };
        copier.keep(Arc::as_ptr(&self.superblock).addr(), copied);
        copy
    }
}

impl Inode {
    /// The same file in the copy of its file system, also if it has no name any more; itself if that was not copied.
    pub(super) fn copied(&self, copier: &mut Copier) -> Option<Arc<Self>> {
        let copied = copier.kept::<Copied>(self.superblock_address())?;
        let tree = copied.tree.read().unwrap_or_else(PoisonError::into_inner);
        Some(match tree.nodes.get(&self.number) {
            Some(node) => Arc::clone(node.inode()),
            None => self.fork(&copied.superblock),
        })
    }
}

impl OpenDirectory {
    pub(super) fn copied(&self, copier: &mut Copier) -> Option<Arc<dyn File>> {
        let inode = self.inode.copied(copier)?;
        let copied = copier.kept::<Copied>(self.inode.superblock_address())?;
        Some(Arc::new(Self {
            tree: Arc::clone(&copied.tree),
            inode,
        }))
    }
}

/// For [`File::copy`].
pub(super) fn or_itself(
    copy: Option<Arc<dyn File>>,
    this: &Arc<dyn File>,
) -> Result<Arc<dyn File>, Errno> {
    Ok(copy.unwrap_or_else(|| Arc::clone(this)))
}
