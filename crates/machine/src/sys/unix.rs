//! Unix: `mmap`, `memfd_create`, `/proc/self/pagemap`.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;
use std::sync::OnceLock;

/// Bytes of a host page.
pub fn page_size() -> usize {
    static SIZE: OnceLock<usize> = OnceLock::new();
    *SIZE.get_or_init(|| {
        // SAFETY: no arguments that could be wrong.
        let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        usize::try_from(size).unwrap_or(4096)
    })
}

/// A range of addresses of this process that nothing else uses. Unmapped on drop.
pub struct Reservation {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: it is only a range of addresses; what is mapped there is synchronised by its users.
unsafe impl Send for Reservation {}
// SAFETY: as above.
unsafe impl Sync for Reservation {}

fn check(result: *mut libc::c_void) -> io::Result<()> {
    if result == libc::MAP_FAILED {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

impl Reservation {
    /// Reserves `len` bytes without access and without memory behind them.
    pub fn new(len: usize) -> io::Result<Self> {
        // SAFETY: a fresh mapping at an address of the system's choice touches nothing that exists.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        check(start)?;
        NonNull::new(start.cast())
            .map(|start| Self { start, len })
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))
    }

    /// Reserves `len` bytes at a multiple of `align` (a power of two, 4 GiB at least), where the upper 32 bits of the address are an uncommon number, if there is room: neither small, as counts and
    /// identifiers are, nor at the upper end, where the host puts what it maps by itself.
    #[cfg(all(
        any(target_os = "linux", target_os = "android"),
        target_pointer_width = "64"
    ))]
    pub fn uncommon(len: usize, align: usize) -> io::Result<Self> {
        use std::sync::atomic::{AtomicUsize, Ordering};
        const FIRST: usize = 0x5000 << 32;
        const LAST: usize = 0x7000 << 32;
        const TRIES: usize = 16;
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let step = len.next_multiple_of(align);
        if step < LAST - FIRST {
            let places = (LAST - FIRST) / step;
            // Different in each process: where the host has put this variable.
            let seed = (&raw const NEXT).addr() >> 12;
            for _ in 0..TRIES {
                let place = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(seed) % places;
                let wanted = FIRST + place * step;
                let flags = libc::MAP_PRIVATE
                    | libc::MAP_ANONYMOUS
                    | libc::MAP_NORESERVE
                    | libc::MAP_FIXED_NOREPLACE;
                // SAFETY: with NOREPLACE this touches nothing that exists.
                let start = unsafe {
                    libc::mmap(
                        std::ptr::without_provenance_mut(wanted),
                        len,
                        libc::PROT_NONE,
                        flags,
                        -1,
                        0,
                    )
                };
                if start == libc::MAP_FAILED {
                    continue;
                }
                // Systems that do not know the flag put it anywhere; dropping gives it back.
                let reserved = NonNull::new(start.cast::<u8>()).map(|start| Self { start, len });
                if let Some(reserved) = reserved.filter(|this| this.start.addr().get() == wanted) {
                    return Ok(reserved);
                }
                break;
            }
        }
        Self::aligned(len, align)
    }

    /// Reserves `len` bytes at a multiple of `align`.
    #[cfg(not(all(
        any(target_os = "linux", target_os = "android"),
        target_pointer_width = "64"
    )))]
    pub fn uncommon(len: usize, align: usize) -> io::Result<Self> {
        Self::aligned(len, align)
    }

    /// Reserves `len` bytes at a multiple of `align`; both are whole pages.
    pub fn aligned(len: usize, align: usize) -> io::Result<Self> {
        let too_much = || io::Error::from_raw_os_error(libc::ENOMEM);
        let whole =
            std::mem::ManuallyDrop::new(Self::new(len.checked_add(align).ok_or_else(too_much)?)?);
        let before = whole.start.addr().get().wrapping_neg() % align;
        let unmap = |offset: usize, len: usize| {
            if len > 0 {
                // SAFETY: in the fresh reservation, which nobody knows; what stays of it is named by the result alone.
                unsafe { libc::munmap(whole.start.as_ptr().add(offset).cast(), len) };
            }
        };
        unmap(0, before);
        unmap(before + len, align - before);
        // SAFETY: before <= align, so this is in the reservation.
        let start = unsafe { whole.start.add(before) };
        Ok(Self { start, len })
    }

    /// Its first byte.
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Its size in bytes.
    pub fn size(&self) -> usize {
        self.len
    }

    /// The address of `offset`, which must leave `len` bytes in the reservation.
    fn at(&self, offset: usize, len: usize) -> io::Result<*mut libc::c_void> {
        match offset.checked_add(len) {
            Some(end) if end <= self.len && offset.is_multiple_of(page_size()) => {
                // SAFETY: offset <= self.len, so the result is in or one past the reservation.
                Ok(unsafe { self.start.as_ptr().add(offset) }.cast())
            }
            _ => Err(io::Error::from_raw_os_error(libc::EINVAL)),
        }
    }

    /// Makes `[offset, offset + len)` fresh zero pages, readable and writable, committed when touched.
    pub fn map_zero(&self, offset: usize, len: usize) -> io::Result<()> {
        let at = self.at(offset, len)?;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
        // SAFETY: the range is ours (checked above), so MAP_FIXED replaces only our own mappings.
        check(unsafe { libc::mmap(at, len, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) })
    }

    /// Gives the pages of a private anonymous range back; they read as zero afterwards.
    pub fn discard(&self, offset: usize, len: usize) -> io::Result<()> {
        let at = self.at(offset, len)?;
        // SAFETY: the range is ours; the contents are given up by contract.
        if unsafe { libc::madvise(at, len, libc::MADV_DONTNEED) } == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Makes pages that are about to be written, all at once: cheaper than a fault for each. A host that cannot leaves it to the faults.
    pub fn populate(&self, offset: usize, len: usize) {
        #[cfg(target_os = "linux")]
        if let Ok(at) = self.at(offset, len) {
            // SAFETY: the range is ours; no contents change.
            unsafe { libc::madvise(at, len, libc::MADV_POPULATE_WRITE) };
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (offset, len);
    }

    /// Maps a file there, privately (copy on write) or shared.
    pub fn map_file(
        &self,
        offset: usize,
        len: usize,
        file: &File,
        file_offset: u64,
        shared: bool,
    ) -> io::Result<()> {
        let at = self.at(offset, len)?;
        let kind = if shared {
            libc::MAP_SHARED
        } else {
            libc::MAP_PRIVATE
        };
        let file_offset = libc::off_t::try_from(file_offset)
            .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
        // SAFETY: the range is ours; the descriptor is open for as long as the call lasts.
        check(unsafe {
            libc::mmap(
                at,
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                kind | libc::MAP_NORESERVE | libc::MAP_FIXED,
                file.as_raw_fd(),
                file_offset,
            )
        })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: the range is ours and nobody uses it any more: the owner is being dropped.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// A memory object without a name, `len` zero bytes long.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn memory_object(name: &std::ffi::CStr, len: u64) -> io::Result<File> {
    // SAFETY: the name is NUL-terminated; the result is checked.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: fresh descriptor, owned by nobody else.
    let file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    file.set_len(len)?;
    Ok(file)
}

/// A memory object without a name, `len` zero bytes long.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn memory_object(_name: &std::ffi::CStr, len: u64) -> io::Result<File> {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!(
        "/pgl{}.{}\0",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    // SAFETY: the name is NUL-terminated; the result is checked.
    let fd = unsafe {
        libc::shm_open(
            name.as_ptr().cast(),
            libc::O_RDWR | libc::O_CREAT | libc::O_EXCL,
            0o600,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the name is NUL-terminated; the object lives on through its descriptor.
    unsafe { libc::shm_unlink(name.as_ptr().cast()) };
    // SAFETY: fresh descriptor, owned by nobody else.
    let file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    file.set_len(len)?;
    Ok(file)
}

/// Where data of a memory object begins and ends from `at` on; `None` when only a hole follows.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn next_data(file: &File, at: u64) -> io::Result<Option<(u64, u64)>> {
    let seek = |at: u64, whence| {
        let at =
            libc::off_t::try_from(at).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
        // SAFETY: plain arguments; the descriptor is open. Nobody uses the position of a memory object.
        let found = unsafe { libc::lseek(file.as_raw_fd(), at, whence) };
        u64::try_from(found).map_err(|_| io::Error::last_os_error())
    };
    let start = match seek(at, libc::SEEK_DATA) {
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => return Ok(None),
        other => other?,
    };
    Ok(Some((start, seek(start, libc::SEEK_HOLE)?)))
}

/// Where data of a memory object begins and ends from `at` on: this host does not tell of holes.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn next_data(_file: &File, at: u64) -> io::Result<Option<(u64, u64)>> {
    Ok(Some((at, u64::MAX)))
}

/// A memory object mapped for reading.
pub struct View {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is only read through it, and belongs to no thread.
unsafe impl Send for View {}
// SAFETY: as above.
unsafe impl Sync for View {}

impl View {
    /// Maps `len` of its bytes from `offset` on, a multiple of the page size.
    pub fn of(file: &File, offset: u64, len: u64) -> io::Result<Self> {
        let len = usize::try_from(len).map_err(|_| io::Error::from_raw_os_error(libc::ENOMEM))?;
        if len == 0 {
            return Ok(Self {
                start: NonNull::dangling(),
                len,
            });
        }
        // SAFETY: a fresh mapping at an address of the system's choice.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ,
                libc::MAP_SHARED | libc::MAP_NORESERVE,
                file.as_raw_fd(),
                libc::off_t::try_from(offset)
                    .map_err(|_| io::Error::from_raw_os_error(libc::EOVERFLOW))?,
            )
        };
        check(start)?;
        NonNull::new(start.cast())
            .map(|start| Self { start, len })
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))
    }

    /// Bytes from `start` to `end`, less what lies past the end.
    pub fn bytes(&self, start: u64, end: u64) -> &[u8] {
        let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(self.len);
        // SAFETY: clamped to the mapping, which lives as long as `self`. Others may write meanwhile only through the guests that are stopped for the copy.
        unsafe {
            std::slice::from_raw_parts(self.start.as_ptr().add(at(start)), at(end) - at(start))
        }
    }
}

/// Maps an object from its beginning, shared, over what is mapped at `start`.
///
/// # Safety
/// `[start, start + len)` is the caller's, and nobody uses it meanwhile.
pub unsafe fn replace_shared(start: *mut u8, len: usize, file: &File) -> io::Result<()> {
    // SAFETY: the caller's contract.
    check(unsafe {
        libc::mmap(
            start.cast(),
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_NORESERVE | libc::MAP_FIXED,
            file.as_raw_fd(),
            0,
        )
    })
}

impl Drop for View {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: ours alone.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
        }
    }
}

/// `/proc/self/pagemap` (Documentation/admin-guide/mm/pagemap.rst): present, swapped, and "file page or shared anonymous".
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
const FILE_OR_SHARED: u64 = 1 << 61;
/// Pages looked up by one read.
const BATCH: usize = 4096;

/// Calls `dirty(offset, len)` for each run of pages in `[start, start + len)` that are private to this mapping: touched anonymous pages, and pages of a private
/// file mapping that were written. False if this host cannot tell; then nothing was called.
pub fn dirty_runs(start: *const u8, len: usize, mut dirty: impl FnMut(usize, usize)) -> bool {
    static PAGEMAP: OnceLock<Option<File>> = OnceLock::new();
    let Some(pagemap) = PAGEMAP.get_or_init(|| File::open("/proc/self/pagemap").ok()) else {
        return false;
    };
    let page = page_size();
    let first = start.addr() / page;
    let pages = len / page;
    let mut entries = vec![0_u8; BATCH.min(pages) * 8];
    let mut run: Option<usize> = None;
    let mut done = 0;
    while done < pages {
        let now = BATCH.min(pages - done);
        let bytes = &mut entries[..now * 8];
        if pagemap
            .read_exact_at(bytes, ((first + done) * 8) as u64)
            .is_err()
        {
            // Only the first read can fail on a host without the file's contents.
            return done != 0;
        }
        for (n, entry) in bytes.chunks_exact(8).enumerate() {
            let word = u64::from_ne_bytes([
                entry[0], entry[1], entry[2], entry[3], entry[4], entry[5], entry[6], entry[7],
            ]);
            let private = word & (PRESENT | SWAPPED) != 0 && word & FILE_OR_SHARED == 0;
            match (private, run) {
                (true, None) => run = Some(done + n),
                (false, Some(from)) => {
                    dirty(from * page, (done + n - from) * page);
                    run = None;
                }
                _ => {}
            }
        }
        done += now;
    }
    if let Some(from) = run {
        dirty(from * page, (pages - from) * page);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uncommon_places_are_different_and_go_back() {
        let len = (8 << 30) + page_size();
        let many: Vec<_> = (0..50)
            .map(|_| Reservation::uncommon(len, 4 << 30).unwrap())
            .collect();
        let mut starts: Vec<_> = many.iter().map(|at| at.start().addr().get()).collect();
        starts.sort_unstable();
        assert!(starts.windows(2).all(|pair| pair[1] - pair[0] >= len));
        assert!(starts.iter().all(|at| at % (4 << 30) == 0));
        #[cfg(target_os = "linux")]
        assert!(starts.iter().filter(|&&at| at >> 32 < 0x7000).count() > 40);
    }

    #[test]
    fn an_aligned_reservation_begins_at_a_multiple_and_is_whole() {
        let (len, align) = (3 * page_size(), 4 << 30);
        let two = [(); 2].map(|()| Reservation::aligned(len, align).unwrap());
        for reservation in &two {
            assert_eq!(reservation.start().addr().get() % align, 0);
            reservation.map_zero(0, len).unwrap();
            // SAFETY: the last byte of the reservation, which was just mapped.
            unsafe { reservation.start().as_ptr().add(len - 1).write(1) };
        }
        assert_ne!(two[0].start(), two[1].start());
    }
}
