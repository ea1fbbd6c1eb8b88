//! A machine for tests: guest memory is a few megabytes of plain bytes, and the "guest" is the test itself, which
//! makes its system calls through [`Guest::call`] on its own thread. `fork_entry` is refused.

#![expect(
    dead_code,
    unreachable_pub,
    reason = "each test file uses what it needs"
)]

use std::any::Any;
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, PoisonError};

use pglite_oxide_kernel::file::File;
use pglite_oxide_kernel::fs::vfs::Vfs;
use pglite_oxide_kernel::kernel::SpawnOptions;
use pglite_oxide_kernel::memory::{AddressSpace, Entry, GuestAddr, Machine, Segment};
use pglite_oxide_kernel::net::Net;
use pglite_oxide_kernel::syscalls::{Outcome, dispatch};
use pglite_oxide_kernel::{Errno, Kernel, KernelOptions, Process};

/// Data, stack and heap of a test guest.
const LOW: std::ops::Range<u32> = 0x1_0000..0x40_0000;
/// Where `mmap` places things.
const HIGH: std::ops::Range<u32> = 0xFFE0_0000..0xFFFF_0000;

/// Two windows of memory; everything else is unmapped.
struct TestSpace {
    low: UnsafeCell<Box<[u64]>>,
    high: UnsafeCell<Box<[u64]>>,
}

// SAFETY: the memory is used as `AddressSpace` promises: by one guest thread at a time, other uses are of atomics.
unsafe impl Sync for TestSpace {}

impl TestSpace {
    fn new() -> Self {
        let window = |range: std::ops::Range<u32>| {
            UnsafeCell::new(vec![0; range.len() / 8].into_boxed_slice())
        };
        Self {
            low: window(LOW),
            high: window(HIGH),
        }
    }

    fn find(&self, addr: GuestAddr, len: u32) -> Result<*mut u8, Errno> {
        let end = addr.0.checked_add(len).ok_or(Errno::EFAULT)?;
        let (window, range) = if addr.0 < LOW.end {
            (&self.low, LOW)
        } else {
            (&self.high, HIGH)
        };
        if addr.0 < range.start || end > range.end {
            return Err(Errno::EFAULT);
        }
        // SAFETY: the box itself is never changed; the offset was checked against its length.
        Ok(unsafe {
            (*window.get())
                .as_mut_ptr()
                .cast::<u8>()
                .add((addr.0 - range.start) as usize)
        })
    }
}

impl AddressSpace for TestSpace {
    fn bytes(&self, addr: GuestAddr, len: u32) -> Result<&[u8], Errno> {
        let start = self.find(addr, len)?;
        // SAFETY: `find` checked the range; see `Sync` for who else may use it.
        Ok(unsafe { std::slice::from_raw_parts(start, len as usize) })
    }

    fn bytes_mut(&self, addr: GuestAddr, len: u32) -> Result<&mut [u8], Errno> {
        let start = self.find(addr, len)?;
        // SAFETY: `find` checked the range; see `Sync` for who else may use it.
        Ok(unsafe { std::slice::from_raw_parts_mut(start, len as usize) })
    }

    fn atomic_u32(&self, addr: GuestAddr) -> Result<&AtomicU32, Errno> {
        if !addr.0.is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        let word = self.find(addr, 4)?;
        // SAFETY: in range, aligned (the windows are of u64), and lives as long as the space.
        Ok(unsafe { AtomicU32::from_ptr(word.cast()) })
    }

    fn map_segment(&self, _: GuestAddr, _: u32, _: &Arc<dyn Segment>, _: u64) -> Result<(), Errno> {
        Err(Errno::ENOMEM)
    }

    fn discard(&self, addr: GuestAddr, len: u32) -> Result<(), Errno> {
        self.bytes_mut(addr, len).map(|bytes| bytes.fill(0))
    }

    fn duplicate(
        &self,
        _: &[(GuestAddr, u32)],
        _: &[(GuestAddr, u32, Arc<dyn Segment>, u64)],
    ) -> Result<Arc<dyn AddressSpace>, Errno> {
        Err(Errno::ENOMEM)
    }

    fn heap_base(&self) -> GuestAddr {
        GuestAddr(0x20_0000)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

struct TestSegment(Mutex<Vec<u8>>);

impl TestSegment {
    fn bytes(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Segment for TestSegment {
    fn id(&self) -> u64 {
        std::ptr::from_ref(self) as u64
    }

    fn len(&self) -> u64 {
        self.bytes().len() as u64
    }

    fn resize(&self, len: u64) -> Result<(), Errno> {
        let len = usize::try_from(len)
            .ok()
            .filter(|&len| len <= 1 << 24)
            .ok_or(Errno::ENOMEM)?;
        self.bytes().resize(len, 0);
        Ok(())
    }

    fn duplicate(&self, _: &Arc<AtomicBool>) -> Result<Arc<dyn Segment>, Errno> {
        Ok(Arc::new(Self(Mutex::new(self.bytes().clone()))))
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize, Errno> {
        let bytes = self.bytes();
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| bytes.get(offset..))
            .unwrap_or_default();
        let n = rest.len().min(out.len());
        out[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn write_at(&self, offset: u64, new: &[u8]) -> Result<usize, Errno> {
        let mut bytes = self.bytes();
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| bytes.get_mut(offset..))
            .unwrap_or_default();
        let n = rest.len().min(new.len());
        rest[..n].copy_from_slice(&new[..n]);
        Ok(n)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// See the module's documentation.
pub struct TestMachine;

impl Machine for TestMachine {
    fn create_segment(&self, len: u64) -> Result<Arc<dyn Segment>, Errno> {
        let segment = TestSegment(Mutex::default());
        segment.resize(len)?;
        Ok(Arc::new(segment))
    }

    fn load(&self, _name: &str) -> Result<Arc<dyn AddressSpace>, Errno> {
        Ok(Arc::new(TestSpace::new()))
    }

    fn fork(
        &self,
        _: &dyn AddressSpace,
        _: &[(GuestAddr, u32)],
    ) -> Result<Arc<dyn AddressSpace>, Errno> {
        Err(Errno::ENOMEM)
    }

    fn start(&self, _: Arc<Process>, _: Entry) -> Result<(), Errno> {
        Ok(())
    }

    fn native_stack_size(&self) -> u64 {
        1 << 20
    }
}

/// A guest process that is the test.
pub struct Guest {
    pub kernel: Arc<Kernel>,
    pub process: Arc<Process>,
}

/// Numbers of the calls the tests make.
pub mod nr {
    pub const GETCWD: u32 = 17;
    pub const DUP: u32 = 23;
    pub const DUP3: u32 = 24;
    pub const FCNTL: u32 = 25;
    pub const IOCTL: u32 = 29;
    pub const MKDIRAT: u32 = 34;
    pub const UNLINKAT: u32 = 35;
    pub const SYMLINKAT: u32 = 36;
    pub const LINKAT: u32 = 37;
    pub const STATFS: u32 = 43;
    pub const FTRUNCATE: u32 = 46;
    pub const FALLOCATE: u32 = 47;
    pub const FACCESSAT: u32 = 48;
    pub const CHDIR: u32 = 49;
    pub const FCHDIR: u32 = 50;
    pub const FCHOWN: u32 = 55;
    pub const OPENAT: u32 = 56;
    pub const CLOSE: u32 = 57;
    pub const GETDENTS: u32 = 61;
    pub const LLSEEK: u32 = 62;
    pub const READ: u32 = 63;
    pub const WRITE: u32 = 64;
    pub const READV: u32 = 65;
    pub const WRITEV: u32 = 66;
    pub const PREAD: u32 = 67;
    pub const PWRITE: u32 = 68;
    pub const PREADV: u32 = 69;
    pub const SENDFILE: u32 = 71;
    pub const READLINKAT: u32 = 78;
    pub const FSYNC: u32 = 82;
    pub const UMASK: u32 = 166;
    pub const RENAMEAT2: u32 = 276;
    pub const COPY_FILE_RANGE: u32 = 285;
    pub const STATX: u32 = 291;
    pub const UTIMENSAT: u32 = 412;
    pub const CLOSE_RANGE: u32 = 436;
}

/// Strings go here.
const TEXT: u32 = 0x2_0000;
/// The working directory, as a descriptor argument.
pub const CWD: u32 = (-100_i32).cast_unsigned();

impl Guest {
    /// A process with `stdio` in a kernel with `vfs`.
    pub fn new(vfs: Vfs, stdio: [Arc<dyn File>; 3]) -> Self {
        let kernel = Kernel::new(KernelOptions {
            machine: Arc::new(TestMachine),
            vfs,
            net: Net::new(),
            test_hooks: false,
            trace: false,
            memory_limit: None,
        });
        let options = SpawnOptions {
            path: "/bin/test".into(),
            argv: vec!["test".into()],
            envp: vec![],
            cwd: "/".into(),
            stdio,
        };
        let process = kernel
            .spawn(options)
            .expect("the test machine can load anything");
        Self { kernel, process }
    }

    /// One system call: its result, or its error.
    pub fn call<const N: usize>(&self, number: u32, args: [u32; N]) -> Result<u32, Errno> {
        let mut six = [0; 6];
        six[..N].copy_from_slice(&args);
        match dispatch(&self.process, number, six) {
            Outcome::Return(value @ 0..) => Ok(value.cast_unsigned()),
            Outcome::Return(value) if value >= -4095 => {
                Err(Errno::from(std::io::Error::from_raw_os_error(-value)))
            }
            Outcome::Return(value) => Ok(value.cast_unsigned()),
            Outcome::Park | Outcome::Unwind => panic!("the guest is to leave"),
        }
    }

    /// Stores bytes in guest memory.
    pub fn put(&self, addr: u32, bytes: &[u8]) {
        let len = u32::try_from(bytes.len()).expect("short");
        self.process
            .space()
            .bytes_mut(GuestAddr(addr), len)
            .expect("mapped")
            .copy_from_slice(bytes);
    }

    /// Reads guest memory.
    pub fn get(&self, addr: u32, len: u32) -> Vec<u8> {
        self.process
            .space()
            .bytes(GuestAddr(addr), len)
            .expect("mapped")
            .to_vec()
    }

    /// A C string argument; `slot` keeps several apart.
    pub fn text(&self, slot: u32, text: &str) -> u32 {
        let at = TEXT + slot * 0x2000;
        self.put(at, text.as_bytes());
        self.put(at + u32::try_from(text.len()).expect("short"), &[0]);
        at
    }

    /// A call whose only path is its second argument, after the working directory.
    pub fn at<const N: usize>(
        &self,
        number: u32,
        path: &str,
        rest: [u32; N],
    ) -> Result<u32, Errno> {
        let mut args = [0; 6];
        (args[0], args[1]) = (CWD, self.text(0, path));
        args[2..2 + N].copy_from_slice(&rest);
        self.call(number, args)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.process
            .terminate(pglite_oxide_kernel::ExitStatus::Exited(0));
        self.process.finish(None);
    }
}
