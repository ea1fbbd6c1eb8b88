//! Which pages were written. Of private mappings, those that they do not share with anybody; of shared ones, Linux 6.7 and later protect the pages and lift the protection of one by themselves at the first write
//! (`UFFD_FEATURE_WP_ASYNC` of userfaultfd(2), `PAGEMAP_SCAN` of Documentation/admin-guide/mm/pagemap.rst).
//!
//! Errs on the safe side: whatever the host does not know to be protected counts as written, as does a page that it threw out and read again. Nothing of this needs a
//! privilege, but sandboxes may forbid it; then whoever asks has to compare.

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::OnceLock;

const UFFD_USER_MODE_ONLY: libc::c_int = 1;
const UFFD_API: u64 = 0xaa;
const UFFD_FEATURE_WP_HUGETLBFS_SHMEM: u64 = 1 << 12;
const UFFD_FEATURE_WP_UNPOPULATED: u64 = 1 << 13;
const UFFD_FEATURE_WP_ASYNC: u64 = 1 << 15;
const UFFDIO_REGISTER_MODE_WP: u64 = 1 << 1;

/// `struct uffdio_api`.
#[repr(C)]
struct Api {
    api: u64,
    features: u64,
    ioctls: u64,
}
/// `_IOWR(0xaa, 0x3f, struct uffdio_api)`.
const UFFDIO_API: libc::Ioctl = 0xc018_aa3f;

/// `struct uffdio_register`.
#[repr(C)]
struct Register {
    start: u64,
    len: u64,
    mode: u64,
    ioctls: u64,
}
/// `_IOWR(0xaa, 0, struct uffdio_register)`.
const UFFDIO_REGISTER: libc::Ioctl = 0xc020_aa00;

/// `struct page_region`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

/// `struct pm_scan_arg`.
#[repr(C)]
#[derive(Default)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}
/// `_IOWR('f', 16, struct pm_scan_arg)`.
const PAGEMAP_SCAN: libc::Ioctl = 0xc060_6610;
const PM_SCAN_WP_MATCHING: u64 = 1;
/// Fail where pages are not protected in this way.
const PM_SCAN_CHECK_WPASYNC: u64 = 2;
const PAGE_IS_WRITTEN: u64 = 1 << 1;
const PAGE_IS_FILE: u64 = 1 << 2;
const PAGE_IS_PRESENT: u64 = 1 << 3;
const PAGE_IS_SWAPPED: u64 = 1 << 4;
const PAGE_IS_PFNZERO: u64 = 1 << 5;
/// Regions that one call tells of.
const REGIONS: usize = 256;

/// The file that `PAGEMAP_SCAN` is asked of.
fn pagemap() -> Option<&'static File> {
    static PAGEMAP: OnceLock<Option<File>> = OnceLock::new();
    PAGEMAP
        .get_or_init(|| File::open("/proc/self/pagemap").ok())
        .as_ref()
}

struct Host {
    faults: OwnedFd,
    pagemap: &'static File,
}

impl Host {
    fn open() -> Option<Self> {
        // A filter of system calls, as most containers have, need not answer with an error: some end the process.
        // SAFETY: no arguments that could be wrong.
        if unsafe { libc::prctl(libc::PR_GET_SECCOMP) } != 0 {
            return None;
        }
        let pagemap = pagemap()?;
        let flags = libc::O_CLOEXEC | libc::O_NONBLOCK | UFFD_USER_MODE_ONLY;
        // SAFETY: one number; the result is checked.
        let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, flags) };
        let fd = i32::try_from(fd).ok().filter(|&fd| fd >= 0)?;
        // SAFETY: fresh descriptor, owned by nobody else.
        let faults = unsafe { OwnedFd::from_raw_fd(fd) };
        let mut api = Api {
            api: UFFD_API,
            features: UFFD_FEATURE_WP_ASYNC
                | UFFD_FEATURE_WP_UNPOPULATED
                | UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
            ioctls: 0,
        };
        // SAFETY: the structure that this call reads and writes.
        let known = unsafe { libc::ioctl(faults.as_raw_fd(), UFFDIO_API, &raw mut api) };
        (known == 0).then_some(Self { faults, pagemap })
    }

    /// In this process, if it can.
    fn get() -> Option<&'static Self> {
        static HOST: OnceLock<Option<Host>> = OnceLock::new();
        HOST.get_or_init(Self::open).as_ref()
    }
}

/// Begins to watch a shared mapping, of which every page counts as written at first. False if the host cannot.
pub fn watch(start: usize, len: usize) -> bool {
    let Some(host) = Host::get() else {
        return false;
    };
    let mut register = Register {
        start: start as u64,
        len: len as u64,
        mode: UFFDIO_REGISTER_MODE_WP,
        ioctls: 0,
    };
    // SAFETY: the structure that this call reads and writes. Of the mapping, only how the host accounts for writes changes.
    unsafe { libc::ioctl(host.faults.as_raw_fd(), UFFDIO_REGISTER, &raw mut register) == 0 }
}

/// Calls `each(start, end)` for the addresses of pages in `[start, start + len)` that are private to this process: touched anonymous pages, and pages of private file mappings that were
/// written. False if the host does not tell.
pub fn private_pages(start: usize, len: usize, each: impl FnMut(usize, usize)) -> bool {
    let scan = Scan {
        category_inverted: PAGE_IS_FILE | PAGE_IS_PFNZERO,
        category_mask: PAGE_IS_FILE | PAGE_IS_PFNZERO,
        category_anyof_mask: PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
        // All the same, so that neighbours are one region.
        return_mask: PAGE_IS_FILE,
        ..Scan::default()
    };
    pagemap().is_some_and(|pagemap| scan.run(pagemap, start, len, each))
}

/// Calls `each(start, end)` for the addresses of pages in a watched mapping that were written since this was last asked, or since [`watch`]. False if the host does not tell: then
/// any may have been.
pub fn take_written(start: usize, len: usize, each: impl FnMut(usize, usize)) -> bool {
    let scan = Scan {
        flags: PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
        category_mask: PAGE_IS_WRITTEN,
        return_mask: PAGE_IS_WRITTEN,
        ..Scan::default()
    };
    Host::get().is_some_and(|host| scan.run(host.pagemap, start, len, each))
}

impl Scan {
    /// Calls `each(start, end)` for what is found in `[start, start + len)`; false if that was not all.
    fn run(
        mut self,
        pagemap: &File,
        start: usize,
        len: usize,
        mut each: impl FnMut(usize, usize),
    ) -> bool {
        let mut regions = [Region::default(); REGIONS];
        self.size = size_of::<Self>() as u64;
        self.start = start as u64;
        self.end = (start + len) as u64;
        self.vec = regions.as_mut_ptr().expose_provenance() as u64;
        self.vec_len = REGIONS as u64;
        while self.start < self.end {
            // SAFETY: the structure that this call reads and writes, and in it the regions, which are there for as long as it lasts.
            let found = unsafe { libc::ioctl(pagemap.as_raw_fd(), PAGEMAP_SCAN, &raw mut self) };
            let (Ok(found), true) = (usize::try_from(found), self.walk_end > self.start) else {
                return false;
            };
            for region in &regions[..found.min(REGIONS)] {
                let place = |address: u64| usize::try_from(address).unwrap_or(usize::MAX);
                each(place(region.start), place(region.end));
            }
            self.start = self.walk_end;
        }
        true
    }
}
