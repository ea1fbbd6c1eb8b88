//! A file, directory or link of a [`super::MemFs`]: its status and, for a regular file, its content. An open regular file *is* its inode.

use std::any::Any;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::Superblock;
use super::content::{Content, MAX_LEN};
use crate::copy::Copier;
use crate::errno::Errno;
use crate::file::{File, FileKind, FileTime, Stat};
use crate::fs::{GUEST_GID, GUEST_UID, now};
use crate::image::{FileRecord, SaveError, Saver};

/// What can change, under the inode's own lock: files do not contend with each other, readers of one file run side by side.
#[derive(Clone)]
pub(super) struct State {
    pub(super) mode: u32,
    pub(super) links: u32,
    pub(super) accessed: FileTime,
    pub(super) modified: FileTime,
    pub(super) changed: FileTime,
    pub(super) content: Content,
}

/// One file of any kind. Lives as long as a name or an open description refers to it.
pub(super) struct Inode {
    pub(super) number: u64,
    pub(super) kind: FileKind,
    superblock: Arc<Superblock>,
    state: RwLock<State>,
}

impl Inode {
    pub(super) fn new(
        superblock: &Arc<Superblock>,
        number: u64,
        kind: FileKind,
        mode: u32,
        content: Content,
    ) -> Arc<Self> {
        let time = now();
        let links = if kind == FileKind::Directory { 2 } else { 1 };
        let state = State {
            mode: mode & 0o7777,
            links,
            accessed: time,
            modified: time,
            changed: time,
            content,
        };
        Arc::new(Self {
            number,
            kind,
            superblock: Arc::clone(superblock),
            state: RwLock::new(state),
        })
    }

    /// One in this state, the charge of which is taken already.
    pub(super) fn with(
        superblock: &Arc<Superblock>,
        number: u64,
        kind: FileKind,
        state: State,
    ) -> Arc<Self> {
        Arc::new(Self {
            number,
            kind,
            superblock: Arc::clone(superblock),
            state: RwLock::new(state),
        })
    }

    /// The same file in another file system: content shared until written, no cost per byte. Its charge is taken without a look at the limit.
    pub(super) fn fork(&self, superblock: &Arc<Superblock>) -> Arc<Self> {
        let state = self.state().clone();
        superblock.budget.force(state.content.charged());
        Arc::new(Self {
            number: self.number,
            kind: self.kind,
            superblock: Arc::clone(superblock),
            state: RwLock::new(state),
        })
    }

    pub(super) fn superblock_address(&self) -> usize {
        Arc::as_ptr(&self.superblock).addr()
    }

    pub(super) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// One name more or fewer; also for a directory's `..` entries.
    pub(super) fn change_links(&self, more: bool) {
        let mut state = self.state_mut();
        state.links = if more {
            state.links.saturating_add(1)
        } else {
            state.links.saturating_sub(1)
        };
        state.changed = now();
    }

    /// For a directory whose entries changed.
    pub(super) fn touch(&self) {
        let mut state = self.state_mut();
        state.modified = now();
        state.changed = state.modified;
    }

    pub(super) fn status(&self) -> Stat {
        let state = self.state();
        let size = if self.kind == FileKind::Directory {
            4096
        } else {
            state.content.len()
        };
        Stat {
            device: self.superblock.device,
            inode: self.number,
            kind: self.kind,
            mode: state.mode,
            links: state.links,
            uid: GUEST_UID,
            gid: GUEST_GID,
            size,
            blocks: size.div_ceil(512),
            accessed: state.accessed,
            modified: state.modified,
            changed: state.changed,
        }
    }

    pub(super) fn chmod(&self, mode: u32) -> Result<(), Errno> {
        self.superblock.writable()?;
        let mut state = self.state_mut();
        state.mode = mode & 0o7777;
        state.changed = now();
        Ok(())
    }

    pub(super) fn utimes(
        &self,
        accessed: Option<FileTime>,
        modified: Option<FileTime>,
    ) -> Result<(), Errno> {
        self.superblock.writable()?;
        let mut state = self.state_mut();
        state.accessed = accessed.unwrap_or(state.accessed);
        state.modified = modified.unwrap_or(state.modified);
        state.changed = now();
        Ok(())
    }

    /// A locked state that is about to be written to.
    fn changing(&self) -> Result<RwLockWriteGuard<'_, State>, Errno> {
        self.superblock.writable()?;
        let mut state = self.state_mut();
        state.modified = now();
        state.changed = state.modified;
        Ok(state)
    }
}

impl Drop for Inode {
    fn drop(&mut self) {
        let charged = self
            .state
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .content
            .charged();
        self.superblock.budget.release(charged);
    }
}

/// Regular files. Access times are not kept by reads (`noatime`).
impl File for Inode {
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.status())
    }

    fn seekable(&self) -> bool {
        true
    }

    fn size(&self) -> Result<u64, Errno> {
        Ok(self.state().content.len())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize, Errno> {
        self.state().content.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<usize, Errno> {
        self.changing()?
            .content
            .write_at(offset, bytes, &self.superblock.budget)
    }

    fn append(&self, bytes: &[u8]) -> Result<(usize, u64), Errno> {
        let mut state = self.changing()?;
        let end = state.content.len();
        let n = state
            .content
            .write_at(end, bytes, &self.superblock.budget)?;
        Ok((n, end + n as u64))
    }

    fn set_len(&self, len: u64) -> Result<(), Errno> {
        self.changing()?
            .content
            .set_len(len, &self.superblock.budget)
    }

    fn allocate(&self, offset: u64, len: u64, keep_size: bool) -> Result<(), Errno> {
        let end = offset
            .checked_add(len)
            .filter(|&end| end <= MAX_LEN)
            .ok_or(Errno::EFBIG)?;
        let mut state = self.changing()?;
        // Space is not set aside, but what cannot fit is refused.
        let missing = end.saturating_sub(state.content.len());
        self.superblock.budget.reserve(missing)?;
        self.superblock.budget.release(missing);
        if !keep_size && missing > 0 {
            state.content.set_len(end, &self.superblock.budget)?;
        }
        Ok(())
    }

    fn set_mode(&self, mode: u32) -> Result<(), Errno> {
        self.chmod(mode)
    }

    fn set_times(
        &self,
        accessed: Option<FileTime>,
        modified: Option<FileTime>,
    ) -> Result<(), Errno> {
        self.utimes(accessed, modified)
    }

    fn clone_range(
        &self,
        source: &dyn File,
        source_offset: u64,
        offset: u64,
        len: u64,
    ) -> Result<u64, Errno> {
        let source = source
            .as_any()
            .downcast_ref::<Self>()
            .ok_or(Errno::EOPNOTSUPP)?;
        // A reference, not a copy; and never two inode locks at once.
        let content = source.state().content.clone();
        self.changing()?.content.clone_range(
            &content,
            source_offset,
            offset,
            len,
            &self.superblock.budget,
        )
    }

    fn copy(&self, this: &Arc<dyn File>, copier: &mut Copier) -> Result<Arc<dyn File>, Errno> {
        let copy = self.copied(copier).map(|inode| inode as Arc<dyn File>);
        super::copy::or_itself(copy, this)
    }

    fn save(&self, saver: &mut Saver<'_>) -> Result<FileRecord, SaveError> {
        self.save_file(saver)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
