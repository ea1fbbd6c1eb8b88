//! Memory: `brk`, `mmap` and its kin.

use super::Args;
use crate::errno::{Errno, SysResult};
use crate::memory::{AddressSpaceExt, GuestAddr, MAP_GRANULE, PAGE_SIZE};
use crate::process::Process;
use crate::process::mm::Backing;

const MAP_SHARED: u32 = 1;
const MAP_PRIVATE: u32 = 2;
const MAP_TYPE: u32 = 0xf;
const MAP_FIXED: u32 = 0x10;
const MAP_ANONYMOUS: u32 = 0x20;
const MREMAP_MAYMOVE: u32 = 1;
const MREMAP_FIXED: u32 = 2;
const MADV_DONTNEED: u32 = 4;
const MADV_FREE: u32 = 8;

pub(super) fn brk(process: &Process, args: &Args) -> SysResult {
    Ok(process.mm().set_brk(args.u32(0), process.space()))
}

/// `mmap2(addr, length, protection, flags, fd, offset / 4096)`.
pub(super) fn mmap2(process: &Process, args: &Args) -> SysResult {
    let (hint, len, flags) = (args.ptr(0), args.u32(1), args.u32(3));
    let offset = u64::from(args.u32(5)) * u64::from(PAGE_SIZE);
    let space = process.space();
    let fixed = flags & MAP_FIXED != 0;
    let shared = match flags & MAP_TYPE {
        MAP_PRIVATE => false,
        MAP_SHARED | 3 => true,
        _ => return Err(Errno::EINVAL),
    };
    if len == 0 {
        return Err(Errno::EINVAL);
    }
    let backing = match (shared, flags & MAP_ANONYMOUS != 0) {
        (true, true) => Backing::Shared(
            process.kernel()?.machine().create_segment(u64::from(len))?,
            0,
        ),
        (true, false) => {
            let segment = process
                .file(args.i32(4))?
                .file
                .segment()
                .ok_or(Errno::ENODEV)?;
            if offset % u64::from(MAP_GRANULE) != 0 {
                return Err(Errno::EINVAL);
            }
            Backing::Shared(segment, offset)
        }
        (false, _) => Backing::Private,
    };
    let open = if !shared && flags & MAP_ANONYMOUS == 0 {
        Some(process.file(args.i32(4))?)
    } else {
        None
    };
    let at = process.mm().map(hint, len, backing, fixed, space)?;
    if let Some(open) = open {
        // A private file mapping is a copy made now: nobody here changes a file under its mapping.
        let target = space.bytes_mut(at, len)?;
        let mut done = 0;
        while done < target.len() {
            match open
                .file
                .read_at(offset + done as u64, &mut target[done..])?
            {
                0 => break,
                n => done += n,
            }
        }
    }
    Ok(at.0)
}

pub(super) fn munmap(process: &Process, args: &Args) -> SysResult {
    process
        .mm()
        .unmap(args.ptr(0), args.u32(1), process.space())
        .map(|()| 0)
}

/// `mremap(old, old_length, new_length, flags)`: private mappings only.
pub(super) fn mremap(process: &Process, args: &Args) -> SysResult {
    let (old, old_len, new_len, flags) = (args.ptr(0), args.u32(1), args.u32(2), args.u32(3));
    if old.0 % PAGE_SIZE != 0 || new_len == 0 || flags & MREMAP_FIXED != 0 {
        return Err(Errno::EINVAL);
    }
    let space = process.space();
    let mut mm = process.mm();
    let (start, end) = match mm.find(old) {
        Some((start, vma)) if matches!(vma.backing, Backing::Private) => (start, vma.end),
        Some(_) => return Err(Errno::EINVAL),
        None => return Err(Errno::EFAULT),
    };
    let old_end = u64::from(old.0) + u64::from(old_len);
    if old_end.div_ceil(u64::from(PAGE_SIZE)) * u64::from(PAGE_SIZE) > u64::from(end) {
        return Err(Errno::EFAULT);
    }
    if new_len <= old_len {
        let keep = new_len.div_ceil(PAGE_SIZE) * PAGE_SIZE;
        let had = old_len.div_ceil(PAGE_SIZE) * PAGE_SIZE;
        if had > keep {
            mm.unmap(GuestAddr(old.0 + keep), had - keep, space)?;
        }
        return Ok(old.0);
    }
    if start == old.0
        && old_end.div_ceil(u64::from(PAGE_SIZE)) * u64::from(PAGE_SIZE) == u64::from(end)
        && mm.grow_in_place(start, new_len, process.space())
    {
        return Ok(old.0);
    }
    if flags & MREMAP_MAYMOVE == 0 {
        return Err(Errno::ENOMEM);
    }
    let new = mm.map(GuestAddr::NULL, new_len, Backing::Private, false, space)?;
    space.write(new, space.bytes(old, old_len)?)?;
    mm.unmap(old, old_len, space)?;
    Ok(new.0)
}

/// `madvise(addr, length, advice)`: gives memory back on `MADV_DONTNEED`; other advice is ignored.
pub(super) fn madvise(process: &Process, args: &Args) -> SysResult {
    let (at, advice) = (args.ptr(0), args.u32(2));
    if at.0 % PAGE_SIZE != 0 {
        return Err(Errno::EINVAL);
    }
    if matches!(advice, MADV_DONTNEED | MADV_FREE) {
        let len = args
            .u32(1)
            .div_ceil(PAGE_SIZE)
            .checked_mul(PAGE_SIZE)
            .ok_or(Errno::EINVAL)?;
        let mm = process.mm();
        let shared = mm
            .find(at)
            .is_some_and(|(_, vma)| matches!(vma.backing, Backing::Shared(..)));
        let in_heap = mm.find(at).is_none();
        if !shared && !in_heap && len > 0 {
            process.space().discard(at, len)?;
        }
    }
    Ok(0)
}

/// Protection, locking and flushing change nothing: all of a guest's memory is readable and writable.
pub(super) fn accepted(_process: &Process, _args: &Args) -> SysResult {
    Ok(0)
}
