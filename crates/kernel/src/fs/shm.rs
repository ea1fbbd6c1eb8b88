//! `/dev/shm`: POSIX shared memory. Its files are the machine's segments, which `mmap` maps; there are no directories.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::{FileSystem, FsResult, FsUsage, GUEST_GID, GUEST_UID, OpenHow, next_device, now};
use crate::copy::Copier;
use crate::errno::Errno;
use crate::file::{DirEntry, File, FileKind, FileTime, Stat};
use crate::image::record::{FileRecord, Fs, FsRecord, Kind, ShmObjectRecord, ShmRecord};
use crate::image::{LoadError, SaveError, Saver};
use crate::memory::{Machine, Segment};
use crate::wait::lock;

/// What can change of a file's status.
#[derive(Clone, Copy)]
struct Status {
    mode: u32,
    links: u32,
    modified: FileTime,
}

/// One shared memory object; its memory is freed when its name, all descriptors and all mappings are gone.
pub(crate) struct Object {
    device: u64,
    inode: u64,
    segment: Arc<dyn Segment>,
    status: Mutex<Status>,
    /// Makes an append one step.
    appending: Mutex<()>,
}

#[derive(Default)]
struct Names {
    objects: BTreeMap<String, Arc<Object>>,
    last_inode: u64,
}

/// The file system of shared memory objects.
pub struct ShmFs {
    machine: Arc<dyn Machine>,
    device: u64,
    names: Mutex<Names>,
}

impl ShmFs {
    /// An empty one that makes its segments with `machine`.
    #[must_use]
    pub fn new(machine: Arc<dyn Machine>) -> Self {
        Self {
            machine,
            device: next_device(),
            names: Mutex::new(Names {
                objects: BTreeMap::new(),
                last_inode: 1,
            }),
        }
    }

    fn find(&self, path: &str) -> Result<Arc<Object>, Errno> {
        let (name, rest) = path
            .split_once('/')
            .map_or((path, ""), |(name, rest)| (name, rest));
        let object = lock(&self.names)
            .objects
            .get(name)
            .cloned()
            .ok_or(Errno::ENOENT)?;
        if rest.is_empty() {
            Ok(object)
        } else {
            Err(Errno::ENOTDIR)
        }
    }

    fn root(&self) -> Stat {
        status(
            self.device,
            1,
            FileKind::Directory,
            Status {
                mode: 0o1777,
                links: 2,
                modified: now(),
            },
            0,
        )
    }

    fn list(&self) -> Vec<DirEntry> {
        let names = lock(&self.names);
        names
            .objects
            .iter()
            .map(|(name, object)| DirEntry {
                name: name.clone(),
                inode: object.inode,
                kind: FileKind::Regular,
            })
            .collect()
    }
}

fn status(device: u64, inode: u64, kind: FileKind, status: Status, size: u64) -> Stat {
    let Status {
        mode,
        links,
        modified,
    } = status;
    let blocks = size.div_ceil(512);
    Stat {
        device,
        inode,
        kind,
        mode,
        links,
        uid: GUEST_UID,
        gid: GUEST_GID,
        size,
        blocks,
        accessed: modified,
        modified,
        changed: modified,
    }
}

impl FileSystem for ShmFs {
    fn open(&self, path: &str, how: &OpenHow) -> FsResult<Arc<dyn File>> {
        if path.is_empty() {
            if how.write || how.create {
                return Err(Errno::EISDIR.into());
            }
            return Ok(Arc::new(Root {
                stat: self.root(),
                list: self.list(),
            }));
        }
        match self.find(path) {
            Ok(_) if how.create && how.exclusive => Err(Errno::EEXIST.into()),
            Ok(_) if how.directory => Err(Errno::ENOTDIR.into()),
            Ok(object) => {
                if how.truncate {
                    object.segment.resize(0)?;
                }
                Ok(object)
            }
            Err(Errno::ENOENT) if how.create && !path.contains('/') => {
                let segment = self.machine.create_segment(0)?;
                let mut names = lock(&self.names);
                if let Some(object) = names.objects.get(path) {
                    // Somebody else made it meanwhile.
                    return if how.exclusive {
                        Err(Errno::EEXIST.into())
                    } else {
                        Ok(Arc::clone(object) as Arc<dyn File>)
                    };
                }
                names.last_inode += 1;
                let status = Mutex::new(Status {
                    mode: how.mode & 0o7777,
                    links: 1,
                    modified: now(),
                });
                let object = Arc::new(Object {
                    device: self.device,
                    inode: names.last_inode,
                    segment,
                    status,
                    appending: Mutex::new(()),
                });
                names.objects.insert(path.to_owned(), Arc::clone(&object));
                Ok(object)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn stat(&self, path: &str, _follow: bool) -> FsResult<Stat> {
        if path.is_empty() {
            Ok(self.root())
        } else {
            Ok(self.find(path)?.stat()?)
        }
    }

    fn mkdir(&self, path: &str, _mode: u32) -> FsResult<()> {
        Err(if path.is_empty() || self.find(path).is_ok() {
            Errno::EEXIST
        } else {
            Errno::EPERM
        }
        .into())
    }

    fn unlink(&self, path: &str) -> FsResult<()> {
        if path.is_empty() {
            return Err(Errno::EISDIR.into());
        }
        self.find(path)?;
        let removed = lock(&self.names).objects.remove(path);
        removed.map_or(Err(Errno::ENOENT.into()), |object| {
            lock(&object.status).links = 0;
            Ok(())
        })
    }

    fn rmdir(&self, path: &str) -> FsResult<()> {
        if path.is_empty() {
            return Err(Errno::EBUSY.into());
        }
        self.find(path)?;
        Err(Errno::ENOTDIR.into())
    }

    fn rename(&self, from: &str, to: &str, no_replace: bool) -> FsResult<()> {
        if from.is_empty() || to.is_empty() {
            return Err(Errno::EBUSY.into());
        }
        self.find(from)?;
        if to.contains('/') {
            return Err(Errno::ENOENT.into());
        }
        let mut names = lock(&self.names);
        if no_replace && names.objects.contains_key(to) {
            return Err(Errno::EEXIST.into());
        }
        let object = names.objects.remove(from).ok_or(Errno::ENOENT)?;
        let replaced = names.objects.insert(to.to_owned(), object);
        drop(names);
        if let Some(replaced) = replaced {
            lock(&replaced.status).links = 0;
        }
        Ok(())
    }

    fn link(&self, from: &str, _to: &str) -> FsResult<()> {
        self.find(from)?;
        Err(Errno::EPERM.into())
    }

    fn symlink(&self, _target: &str, path: &str) -> FsResult<()> {
        Err(if self.find(path).is_ok() {
            Errno::EEXIST
        } else {
            Errno::EPERM
        }
        .into())
    }

    fn read_link(&self, path: &str) -> FsResult<String> {
        if !path.is_empty() {
            self.find(path)?;
        }
        Err(Errno::EINVAL.into())
    }

    fn read_dir(&self, path: &str) -> FsResult<Vec<DirEntry>> {
        if path.is_empty() {
            return Ok(self.list());
        }
        self.find(path)?;
        Err(Errno::ENOTDIR.into())
    }

    fn set_mode(&self, path: &str, mode: u32) -> FsResult<()> {
        Ok(self.find(path)?.set_mode(mode)?)
    }

    fn set_times(
        &self,
        path: &str,
        accessed: Option<FileTime>,
        modified: Option<FileTime>,
    ) -> FsResult<()> {
        Ok(self.find(path)?.set_times(accessed, modified)?)
    }

    fn copy(&self, copier: &mut Copier) -> Result<Option<Arc<dyn FileSystem>>, Errno> {
        let copy = Self::new(Arc::clone(&self.machine));
        let objects = lock(&self.names).objects.clone();
        let mut names = lock(&copy.names);
        names.last_inode = lock(&self.names).last_inode;
        for (name, object) in objects {
            names.objects.insert(name, object.copied(copier)?);
        }
        drop(names);
        Ok(Some(Arc::new(copy)))
    }

    fn save(&self, saver: &mut Saver<'_>) -> Result<FsRecord, SaveError> {
        let (objects, last_inode) = {
            let names = lock(&self.names);
            (names.objects.clone(), names.last_inode)
        };
        let mut names = Vec::with_capacity(objects.len());
        for (name, object) in objects {
            names.push((name, object.number(saver)?));
        }
        Ok(FsRecord(Fs::Shm(ShmRecord { last_inode, names })))
    }

    fn usage(&self) -> FsResult<FsUsage> {
        // What Linux's tmpfs says; the machine's real limits show up as ENOMEM or ENOSPC.
        Ok(FsUsage {
            magic: 0x0102_1994,
            block_size: 4096,
            blocks: 1 << 20,
            free: 1 << 20,
            files: 1 << 20,
            files_free: 1 << 20,
        })
    }
}

impl Object {
    /// The copy, the same one each time.
    fn copied(&self, copier: &mut Copier) -> Result<Arc<Self>, Errno> {
        let key = std::ptr::from_ref(self).addr();
        if let Some(copy) = copier.kept::<Arc<Self>>(key) {
            return Ok(Arc::clone(copy));
        }
        let copy = Arc::new(Self {
            device: self.device,
            inode: self.inode,
            segment: copier.segment(&self.segment)?,
            status: Mutex::new(*lock(&self.status)),
            appending: Mutex::default(),
        });
        copier.keep(key, Arc::clone(&copy));
        Ok(copy)
    }
}

impl Object {
    /// Its number in an image.
    fn number(&self, saver: &mut Saver<'_>) -> Result<u32, SaveError> {
        saver.shm_object(std::ptr::from_ref(self).addr(), |saver| {
            let status = *lock(&self.status);
            Ok(ShmObjectRecord {
                inode: self.inode,
                segment: saver.segment(&self.segment)?,
                mode: status.mode,
                links: status.links,
                modified: (status.modified.seconds, status.modified.nanoseconds),
            })
        })
    }

    /// The object that was saved.
    pub(crate) fn load(
        record: &ShmObjectRecord,
        segments: &[Arc<dyn Segment>],
    ) -> Result<Arc<Self>, LoadError> {
        let segment = segments
            .get(record.segment as usize)
            .ok_or(LoadError::Damaged("an object's segment is not there"))?;
        Ok(Arc::new(Self {
            device: 0,
            inode: record.inode,
            segment: Arc::clone(segment),
            status: Mutex::new(Status {
                mode: record.mode,
                links: record.links,
                modified: FileTime {
                    seconds: record.modified.0,
                    nanoseconds: record.modified.1,
                },
            }),
            appending: Mutex::default(),
        }))
    }
}

impl ShmFs {
    /// The file system that was saved, with objects that were.
    pub(crate) fn load(
        machine: Arc<dyn Machine>,
        record: &ShmRecord,
        objects: &[Arc<Object>],
    ) -> Result<Self, LoadError> {
        let fs = Self::new(machine);
        let mut names = lock(&fs.names);
        names.last_inode = record.last_inode;
        for (name, number) in &record.names {
            let object = objects
                .get(*number as usize)
                .ok_or(LoadError::Damaged("a shared memory object is not there"))?;
            names.objects.insert(name.clone(), Arc::clone(object));
        }
        drop(names);
        Ok(fs)
    }
}

impl File for Object {
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(status(
            self.device,
            self.inode,
            FileKind::Regular,
            *lock(&self.status),
            self.segment.len(),
        ))
    }

    fn seekable(&self) -> bool {
        true
    }

    fn size(&self) -> Result<u64, Errno> {
        Ok(self.segment.len())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize, Errno> {
        self.segment.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<usize, Errno> {
        let end = offset.checked_add(bytes.len() as u64).ok_or(Errno::EFBIG)?;
        if end > self.segment.len() {
            self.segment.resize(end)?;
        }
        lock(&self.status).modified = now();
        self.segment.write_at(offset, bytes)
    }

    fn append(&self, bytes: &[u8]) -> Result<(usize, u64), Errno> {
        let _one = lock(&self.appending);
        let end = self.segment.len();
        self.write_at(end, bytes).map(|n| (n, end + n as u64))
    }

    fn set_len(&self, len: u64) -> Result<(), Errno> {
        self.segment.resize(len)
    }

    fn allocate(&self, offset: u64, len: u64, keep_size: bool) -> Result<(), Errno> {
        let end = offset.checked_add(len).ok_or(Errno::EFBIG)?;
        if end > self.segment.len() && !keep_size {
            self.segment.resize(end)
        } else {
            Ok(())
        }
    }

    fn set_mode(&self, mode: u32) -> Result<(), Errno> {
        lock(&self.status).mode = mode & 0o7777;
        Ok(())
    }

    fn set_times(
        &self,
        _accessed: Option<FileTime>,
        modified: Option<FileTime>,
    ) -> Result<(), Errno> {
        if let Some(modified) = modified {
            lock(&self.status).modified = modified;
        }
        Ok(())
    }

    fn copy(&self, _this: &Arc<dyn File>, copier: &mut Copier) -> Result<Arc<dyn File>, Errno> {
        Ok(self.copied(copier)?)
    }

    fn save(&self, saver: &mut Saver<'_>) -> Result<FileRecord, SaveError> {
        self.number(saver)
            .map(|number| FileRecord(Kind::Shm(number)))
    }

    fn segment(&self) -> Option<Arc<dyn Segment>> {
        Some(Arc::clone(&self.segment))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The directory as it was when opened.
struct Root {
    stat: Stat,
    list: Vec<DirEntry>,
}

impl File for Root {
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.stat)
    }

    fn read_dir(&self) -> Result<Vec<DirEntry>, Errno> {
        Ok(self.list.clone())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
