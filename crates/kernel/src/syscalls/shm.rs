//! System V shared memory: what PostgreSQL's interlock uses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::Args;
use crate::copy::Copier;
use crate::errno::{Errno, SysResult};
use crate::image::record::SysvRecord;
use crate::image::{LoadError, Loader, SaveError, Saver};
use crate::memory::{AddressSpaceExt, Segment};
use crate::process::Process;
use crate::process::mm::Backing;
use crate::wait::lock;

const IPC_PRIVATE: i32 = 0;
const IPC_CREAT: u32 = 0o1000;
const IPC_EXCL: u32 = 0o2000;
const IPC_RMID: u32 = 0;
const IPC_STAT: u32 = 2;
/// Bytes of musl's `struct shmid_ds` on this architecture.
const SHMID_DS: usize = 88;

struct Entry {
    key: i32,
    segment: Arc<dyn Segment>,
    creator: i32,
}

/// The segments of a kernel.
#[derive(Default)]
pub struct ShmTable {
    entries: Mutex<(u32, BTreeMap<u32, Entry>)>,
}

impl ShmTable {
    /// The same segments' copies.
    pub(crate) fn copy(&self, copier: &mut Copier) -> Result<Self, Errno> {
        let (next, entries) = &*lock(&self.entries);
        let mut copies = BTreeMap::new();
        for (&id, entry) in entries {
            let segment = copier.segment(&entry.segment)?;
            let (key, creator) = (entry.key, entry.creator);
            copies.insert(
                id,
                Entry {
                    key,
                    segment,
                    creator,
                },
            );
        }
        Ok(Self {
            entries: Mutex::new((*next, copies)),
        })
    }
}

impl ShmTable {
    /// The table for an image.
    pub(crate) fn save(&self, saver: &mut Saver<'_>) -> Result<SysvRecord, SaveError> {
        let (next, entries) = &*lock(&self.entries);
        let mut records = Vec::with_capacity(entries.len());
        for (&id, entry) in entries {
            let segment = saver.segment(&entry.segment)?;
            records.push((id, entry.key, segment, entry.creator));
        }
        Ok(SysvRecord {
            next: *next,
            entries: records,
        })
    }

    /// The table that was saved.
    pub(crate) fn load(record: &SysvRecord, loader: &Loader<'_>) -> Result<Self, LoadError> {
        let mut entries = BTreeMap::new();
        for &(id, key, segment, creator) in &record.entries {
            let segment = loader.segment(segment)?;
            entries.insert(
                id,
                Entry {
                    key,
                    segment,
                    creator,
                },
            );
        }
        Ok(Self {
            entries: Mutex::new((record.next, entries)),
        })
    }
}

/// How many processes have the segment mapped.
fn attached(process: &Process, segment: &Arc<dyn Segment>) -> Result<u32, Errno> {
    let kernel = process.kernel()?;
    let count = kernel
        .live()
        .iter()
        .map(|p| {
            p.mm()
                .shared()
                .filter(|(_, _, mapped, _)| mapped.id() == segment.id())
                .count()
        })
        .sum::<usize>();
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// `shmget(key, size, flags)`.
pub(super) fn shmget(process: &Process, args: &Args) -> SysResult {
    let (key, size, flags) = (args.i32(0), args.u32(1), args.u32(2));
    let kernel = process.kernel()?;
    let mut guard = lock(&kernel.shm().entries);
    let (next, entries) = &mut *guard;
    if key != IPC_PRIVATE
        && let Some((&id, entry)) = entries.iter().find(|(_, entry)| entry.key == key)
    {
        if flags & (IPC_CREAT | IPC_EXCL) == IPC_CREAT | IPC_EXCL {
            return Err(Errno::EEXIST);
        }
        return if u64::from(size) > entry.segment.len() {
            Err(Errno::EINVAL)
        } else {
            Ok(id)
        };
    }
    if key != IPC_PRIVATE && flags & IPC_CREAT == 0 {
        return Err(Errno::ENOENT);
    }
    if size == 0 {
        return Err(Errno::EINVAL);
    }
    let segment = kernel.machine().create_segment(u64::from(size))?;
    *next += 1;
    entries.insert(
        *next,
        Entry {
            key,
            segment,
            creator: process.pid.0,
        },
    );
    Ok(*next)
}

/// `shmat(id, address, flags)`.
pub(super) fn shmat(process: &Process, args: &Args) -> SysResult {
    let kernel = process.kernel()?;
    let segment = {
        let guard = lock(&kernel.shm().entries);
        Arc::clone(&guard.1.get(&args.u32(0)).ok_or(Errno::EINVAL)?.segment)
    };
    let len = u32::try_from(segment.len()).map_err(|_| Errno::ENOMEM)?;
    let fixed = !args.ptr(1).is_null();
    let at = process.mm().map(
        args.ptr(1),
        len,
        Backing::Shared(segment, 0),
        fixed,
        process.space(),
    )?;
    Ok(at.0)
}

/// `shmdt(address)`.
pub(super) fn shmdt(process: &Process, args: &Args) -> SysResult {
    let mut mm = process.mm();
    let len = match mm.find(args.ptr(0)) {
        Some((start, vma))
            if start == args.u32(0) && matches!(vma.backing, Backing::Shared(..)) =>
        {
            vma.end - start
        }
        _ => return Err(Errno::EINVAL),
    };
    mm.unmap(args.ptr(0), len, process.space())?;
    Ok(0)
}

/// `shmctl(id, command, out)`: `IPC_RMID` and `IPC_STAT`.
pub(super) fn shmctl(process: &Process, args: &Args) -> SysResult {
    let kernel = process.kernel()?;
    let id = args.u32(0);
    match args.u32(1) & 0xff {
        IPC_RMID => {
            let entry = lock(&kernel.shm().entries)
                .1
                .remove(&id)
                .ok_or(Errno::EINVAL)?;
            drop(entry);
            Ok(0)
        }
        IPC_STAT => {
            let (key, segment, creator) = {
                let guard = lock(&kernel.shm().entries);
                let entry = guard.1.get(&id).ok_or(Errno::EINVAL)?;
                (entry.key, Arc::clone(&entry.segment), entry.creator)
            };
            let count = attached(process, &segment)?;
            let size = u32::try_from(segment.len()).unwrap_or(u32::MAX);
            let at = args.ptr(2);
            let space = process.space();
            space.write(at, &[0; SHMID_DS])?;
            // struct ipc_perm { key, uid, gid, cuid, cgid, mode, seq, 2 longs } is 36 bytes; then shm_segsz, three split times, cpid, lpid, nattch.
            let uid = crate::fs::GUEST_UID;
            for (n, word) in [key.cast_unsigned(), uid, uid, uid, uid, 0o600]
                .into_iter()
                .enumerate()
            {
                space.write_u32(at.offset(u32::try_from(n * 4).unwrap_or(0))?, word)?;
            }
            space.write_u32(at.offset(36)?, size)?;
            space.write_u32(at.offset(64)?, creator.cast_unsigned())?;
            space.write_u32(at.offset(68)?, creator.cast_unsigned())?;
            space.write_u32(at.offset(72)?, count)?;
            Ok(0)
        }
        _ => Err(Errno::EINVAL),
    }
}
