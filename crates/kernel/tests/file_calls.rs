//! File and path system calls as a guest makes them.

mod machine;

use std::any::Any;
use std::sync::{Arc, Mutex};

use machine::{CWD, Guest, nr};
use pglite_oxide_kernel::Errno;
use pglite_oxide_kernel::file::{File, FileKind, Stat};
use pglite_oxide_kernel::fs::OpenHow;
use pglite_oxide_kernel::fs::dev::DevFs;
use pglite_oxide_kernel::fs::image::{ImageFile, ImageFs};
use pglite_oxide_kernel::fs::log::LineSink;
use pglite_oxide_kernel::fs::shm::ShmFs;
use pglite_oxide_kernel::fs::vfs::Vfs;
use pglite_oxide_kernel::wait::{WaitQueue, WakeSource};

const O_WRONLY: u32 = 1;
const O_RDWR: u32 = 2;
const O_CREAT: u32 = 0o100;
const O_EXCL: u32 = 0o200;
const O_APPEND: u32 = 0o2000;
const O_NONBLOCK: u32 = 0o4000;
const O_CLOEXEC: u32 = 0o2_000_000;
/// Scratch memory for results and data.
const OUT: u32 = 0x10_0000;
const IN: u32 = 0x18_0000;

fn guest() -> Guest {
    let mut vfs = Vfs::new();
    vfs.mount("/dev", Arc::new(DevFs::new()));
    vfs.mount(
        "/dev/shm",
        Arc::new(ShmFs::new(Arc::new(machine::TestMachine))),
    );
    let image = ImageFs::new([ImageFile {
        path: "share/postgres.bki",
        mode: 0o444,
        contents: b"bootstrap",
    }])
    .unwrap();
    vfs.mount("/usr", Arc::new(image));
    vfs.mkdir("/", "/data", 0o700).unwrap();
    let null = vfs
        .open(
            "/",
            "/dev/null",
            &OpenHow {
                read: true,
                write: true,
                ..OpenHow::default()
            },
        )
        .unwrap()
        .0;
    Guest::new(vfs, [Arc::clone(&null), Arc::clone(&null), null])
}

fn create(guest: &Guest, path: &str, contents: &[u8]) -> u32 {
    let fd = guest
        .at(nr::OPENAT, path, [O_RDWR | O_CREAT, 0o600])
        .unwrap();
    guest.put(IN, contents);
    let len = u32::try_from(contents.len()).unwrap();
    assert_eq!(guest.call(nr::PWRITE, [fd, IN, len, 0, 0]), Ok(len));
    fd
}

fn size(guest: &Guest, fd: u32) -> u64 {
    guest
        .call(nr::STATX, [fd, guest.text(0, ""), 0x1000, 0x7ff, OUT])
        .unwrap();
    u64::from_le_bytes(guest.get(OUT + 40, 8).try_into().unwrap())
}

#[test]
fn reading_writing_and_seeking() {
    let guest = guest();
    let fd = create(&guest, "/data/f", b"hello world");
    assert_eq!(fd, 3);
    assert_eq!(guest.call(nr::READ, [fd, OUT, 5]), Ok(5));
    assert_eq!(guest.get(OUT, 5), b"hello");
    assert_eq!(guest.call(nr::LLSEEK, [fd, 0, 1, OUT, 1]), Ok(0));
    assert_eq!(guest.get(OUT, 8), 6_u64.to_le_bytes());
    assert_eq!(guest.call(nr::READ, [fd, OUT, 100]), Ok(5));
    assert_eq!(guest.get(OUT, 5), b"world");
    assert_eq!(guest.call(nr::READ, [fd, OUT, 100]), Ok(0));
    assert_eq!(
        guest.call(nr::LLSEEK, [fd, u32::MAX, (-3_i32).cast_unsigned(), OUT, 2]),
        Ok(0)
    );
    assert_eq!(guest.call(nr::PREAD, [fd, OUT, 4, 4, 0]), Ok(4));
    assert_eq!(guest.get(OUT, 4), b"o wo");
    assert_eq!(
        guest.call(nr::LLSEEK, [fd, u32::MAX, 0, OUT, 0]),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        guest.call(nr::PREAD, [fd, OUT, 4, 0, u32::MAX]),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        guest.call(nr::PWRITE, [fd, IN, 4, 0, 0x7fff_ffff]),
        Err(Errno::EFBIG)
    );
    assert_eq!(guest.call(nr::READ, [fd, 0, 4]), Err(Errno::EFAULT));
    assert_eq!(guest.call(nr::READ, [fd, 0, 0]), Ok(0));
    assert_eq!(guest.call(nr::READ, [99, OUT, 4]), Err(Errno::EBADF));
    assert_eq!(guest.call(nr::FTRUNCATE, [fd, 4, 0]), Ok(0));
    assert_eq!(guest.call(nr::FALLOCATE, [fd, 0, 0, 0, 100, 0]), Ok(0));
    assert_eq!(size(&guest, fd), 100);
    assert_eq!(
        guest.call(nr::FALLOCATE, [fd, 0, 0, 0, 0, 0]),
        Err(Errno::EINVAL)
    );
    assert_eq!(guest.call(nr::FSYNC, [fd]), Ok(0));
    assert_eq!(guest.call(nr::CLOSE, [fd]), Ok(0));
    assert_eq!(guest.call(nr::CLOSE, [fd]), Err(Errno::EBADF));
}

#[test]
fn several_buffers_at_once() {
    let guest = guest();
    let fd = create(&guest, "/data/f", b"0123456789");
    let vectors = |list: &[(u32, u32)]| {
        for (at, (base, len)) in (OUT..).step_by(8).zip(list) {
            guest.put(at, &base.to_le_bytes());
            guest.put(at + 4, &len.to_le_bytes());
        }
        u32::try_from(list.len()).unwrap()
    };
    let n = vectors(&[(OUT + 0x100, 3), (0, 0), (OUT + 0x200, 100)]);
    assert_eq!(guest.call(nr::PREADV, [fd, OUT, n, 1, 0]), Ok(9));
    assert_eq!(
        (guest.get(OUT + 0x100, 3), guest.get(OUT + 0x200, 6)),
        (b"123".to_vec(), b"456789".to_vec())
    );
    // Buffers that overlap are filled one after the other.
    let n = vectors(&[(OUT + 0x100, 4), (OUT + 0x102, 4)]);
    assert_eq!(guest.call(nr::PREADV, [fd, OUT, n, 0, 0]), Ok(8));
    assert_eq!(guest.get(OUT + 0x100, 6), b"014567");
    let n = vectors(&[(OUT + 0x100, 2), (OUT + 0x104, 2)]);
    assert_eq!(guest.call(nr::WRITEV, [fd, OUT, n]), Ok(4));
    assert_eq!(guest.call(nr::PREAD, [fd, OUT, 10, 0, 0]), Ok(10));
    assert_eq!(guest.get(OUT, 10), b"0167456789");
    let n = vectors(&[(OUT + 0x100, 0x4000_0000), (OUT + 0x104, 0x4000_0000)]);
    assert_eq!(guest.call(nr::READV, [fd, OUT, n]), Err(Errno::EINVAL));
    assert_eq!(guest.call(nr::READV, [fd, OUT, 1025]), Err(Errno::EINVAL));
    let n = vectors(&[(OUT + 0x100, 2), (0x10, 2)]);
    assert_eq!(guest.call(nr::READV, [fd, OUT, n]), Err(Errno::EFAULT));
}

#[test]
fn descriptors_are_duplicated_and_share_their_position() {
    let guest = guest();
    let fd = create(&guest, "/data/f", b"abcdef");
    let copy = guest.call(nr::DUP, [fd]).unwrap();
    assert_eq!(guest.call(nr::DUP3, [fd, 40, O_CLOEXEC]), Ok(40));
    assert_eq!(guest.call(nr::DUP3, [fd, fd, 0]), Err(Errno::EINVAL));
    assert_eq!(guest.call(nr::DUP3, [fd, 1 << 20, 0]), Err(Errno::EBADF));
    assert_eq!(guest.call(nr::FCNTL, [40, 1]), Ok(1));
    assert_eq!(guest.call(nr::FCNTL, [40, 2, 0]), Ok(0));
    assert_eq!(guest.call(nr::FCNTL, [40, 1]), Ok(0));
    assert_eq!(guest.call(nr::FCNTL, [fd, 1030, 100]), Ok(100));
    assert_eq!(guest.call(nr::READ, [fd, OUT, 2]), Ok(2));
    assert_eq!(guest.call(nr::READ, [copy, OUT, 2]), Ok(2));
    assert_eq!(guest.get(OUT, 2), b"cd");
    assert_eq!(
        guest.call(nr::FCNTL, [fd, 4, O_NONBLOCK | O_APPEND | O_WRONLY]),
        Ok(0)
    );
    assert_eq!(
        guest.call(nr::FCNTL, [copy, 3]),
        Ok(O_RDWR | O_NONBLOCK | O_APPEND | 0o100_000)
    );
    assert_eq!(guest.call(nr::WRITE, [fd, IN, 3]), Ok(3));
    assert_eq!(size(&guest, fd), 9);
    assert_eq!(guest.call(nr::CLOSE_RANGE, [3, u32::MAX, 0]), Ok(0));
    assert_eq!(guest.call(nr::READ, [100, OUT, 2]), Err(Errno::EBADF));
    assert_eq!(guest.call(nr::IOCTL, [0, 0x5401, OUT]), Err(Errno::ENOTTY));
}

#[test]
fn opening_obeys_its_flags() {
    let guest = guest();
    let fd = create(&guest, "/data/f", b"x");
    let open = |path: &str, flags: u32| guest.at(nr::OPENAT, path, [flags, 0o666]);
    assert_eq!(
        open("/data/f", O_RDWR | O_CREAT | O_EXCL),
        Err(Errno::EEXIST)
    );
    assert_eq!(open("/data/missing", O_RDWR), Err(Errno::ENOENT));
    assert_eq!(open("/data", O_WRONLY), Err(Errno::EISDIR));
    assert_eq!(open("/usr/share/postgres.bki", O_RDWR), Err(Errno::EACCES));
    assert_eq!(open("/usr/share/new", O_RDWR | O_CREAT), Err(Errno::EROFS));
    assert_eq!(open("/data/f", 3), Err(Errno::EINVAL));
    guest.put(0x2_0000, b"/data/\xff\0");
    assert_eq!(
        guest.call(nr::OPENAT, [CWD, 0x2_0000, 0]),
        Err(Errno::EINVAL)
    );
    let reader = open("/data/f", 0).unwrap();
    assert_eq!(guest.call(nr::WRITE, [reader, IN, 1]), Err(Errno::EBADF));
    assert_eq!(
        guest.call(nr::FTRUNCATE, [reader, 0, 0]),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        open(&format!("/dev/fd/{fd}"), 0).map(|fd| fd > reader),
        Ok(true)
    );
    assert_eq!(open("/dev/stdout", O_RDWR), Err(Errno::EACCES));
    assert_eq!(guest.call(nr::UMASK, [0o077]), Ok(0o022));
    let masked = open("/data/masked", O_RDWR | O_CREAT).unwrap();
    guest
        .call(nr::STATX, [masked, guest.text(0, ""), 0x1000, 0x7ff, OUT])
        .unwrap();
    assert_eq!(guest.get(OUT + 28, 2), 0o100_600_u16.to_le_bytes());
    assert_eq!(guest.get(OUT + 20, 8), [0xe8, 3, 0, 0, 0xe8, 3, 0, 0]);
}

#[test]
fn the_working_directory_and_directory_descriptors_count() {
    let guest = guest();
    guest.at(nr::MKDIRAT, "/data/base/", [0o700]).unwrap();
    let directory = guest.at(nr::OPENAT, "data/base", [0o200_000, 0]).unwrap();
    assert_eq!(
        guest.call(
            nr::OPENAT,
            [directory, guest.text(0, "1"), O_RDWR | O_CREAT, 0o600]
        ),
        Ok(directory + 1)
    );
    assert_eq!(
        guest.call(nr::OPENAT, [directory + 1, guest.text(0, "x"), 0]),
        Err(Errno::ENOTDIR)
    );
    assert_eq!(
        guest.call(nr::CHDIR, [guest.text(0, "/data/base/1")]),
        Err(Errno::ENOTDIR)
    );
    assert_eq!(
        guest.call(nr::CHDIR, [guest.text(0, "/data/./x/../base")]),
        Err(Errno::ENOENT)
    );
    assert_eq!(
        guest.call(nr::CHDIR, [guest.text(0, "/data/./base/..")]),
        Ok(0)
    );
    assert_eq!(guest.call(nr::GETCWD, [OUT, 100]), Ok(6));
    assert_eq!(guest.get(OUT, 6), b"/data\0");
    assert_eq!(guest.call(nr::GETCWD, [OUT, 5]), Err(Errno::ERANGE));
    assert_eq!(guest.call(nr::FCHDIR, [directory]), Ok(0));
    assert_eq!(guest.at(nr::FACCESSAT, "1", [6]), Ok(0));
    assert_eq!(guest.at(nr::FACCESSAT, "1", [1]), Err(Errno::EACCES));
    assert_eq!(
        guest.at(nr::FACCESSAT, "/usr/share", [2]),
        Err(Errno::EROFS)
    );
    assert_eq!(guest.call(nr::FCHOWN, [directory, 1000, u32::MAX]), Ok(0));
    assert_eq!(guest.call(nr::FCHOWN, [directory, 0, 0]), Err(Errno::EPERM));
    assert_eq!(
        guest.call(nr::STATFS, [guest.text(0, "/usr"), 88, OUT]),
        Ok(0)
    );
    assert_eq!(guest.get(OUT + 64, 4), [1, 0, 0, 0]);
    assert_eq!(
        guest.call(nr::STATFS, [guest.text(0, "/usr"), 8, OUT]),
        Err(Errno::EINVAL)
    );
}

/// Names of the `getdents64` entries in `bytes`.
fn names(bytes: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let size = usize::from(u16::from_le_bytes([bytes[at + 16], bytes[at + 17]]));
        let name = &bytes[at + 19..at + size];
        names.push(
            String::from_utf8(name.split(|&byte| byte == 0).next().unwrap().to_vec()).unwrap(),
        );
        at += size;
    }
    names
}

#[test]
fn files_can_be_removed_while_their_directory_is_read() {
    let guest = guest();
    for number in 0..100 {
        let fd = create(&guest, &format!("/data/file_{number:03}"), b"");
        guest.call(nr::CLOSE, [fd]).unwrap();
    }
    let fd = guest.at(nr::OPENAT, "/data", [0, 0]).unwrap();
    assert_eq!(guest.call(nr::GETDENTS, [fd, OUT, 10]), Err(Errno::EINVAL));
    let mut seen = Vec::new();
    loop {
        let n = guest.call(nr::GETDENTS, [fd, OUT, 200]).unwrap();
        if n == 0 {
            break;
        }
        for name in names(&guest.get(OUT, n)) {
            if name.starts_with("file") {
                guest
                    .at(nr::UNLINKAT, &format!("/data/{name}"), [0])
                    .unwrap();
            }
            seen.push(name);
        }
    }
    assert_eq!(
        (seen.len(), &seen[..3]),
        (
            102,
            &[".".to_owned(), "..".to_owned(), "file_000".to_owned()][..]
        )
    );
    // rewinddir
    assert_eq!(guest.call(nr::LLSEEK, [fd, 0, 0, OUT, 0]), Ok(0));
    let n = guest.call(nr::GETDENTS, [fd, OUT, 2048]).unwrap();
    assert_eq!(names(&guest.get(OUT, n)), [".", ".."]);
    let file = create(&guest, "/data/f", b"");
    assert_eq!(
        guest.call(nr::GETDENTS, [file, OUT, 2048]),
        Err(Errno::ENOTDIR)
    );
    assert_eq!(guest.call(nr::READ, [fd, OUT, 10]), Err(Errno::EISDIR));
}

#[test]
fn names_are_linked_renamed_and_stamped() {
    let guest = guest();
    let fd = create(&guest, "/data/a", b"a");
    let (a, b) = (guest.text(0, "/data/a"), guest.text(1, "/data/b"));
    assert_eq!(guest.call(nr::LINKAT, [CWD, a, CWD, b, 0]), Ok(0));
    assert_eq!(
        guest.call(nr::RENAMEAT2, [CWD, a, CWD, b, 1]),
        Err(Errno::EEXIST)
    );
    assert_eq!(
        guest.call(nr::RENAMEAT2, [CWD, a, CWD, b, 2]),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        guest.call(nr::RENAMEAT2, [CWD, a, CWD, guest.text(2, "/dev/shm/a"), 0]),
        Err(Errno::EXDEV)
    );
    assert_eq!(guest.call(nr::UNLINKAT, [CWD, a, 0]), Ok(0));
    assert_eq!(
        guest.call(nr::SYMLINKAT, [guest.text(2, "../data/b"), CWD, a]),
        Ok(0)
    );
    assert_eq!(guest.call(nr::READLINKAT, [CWD, a, OUT, 4]), Ok(4));
    assert_eq!(guest.get(OUT, 4), b"../d");
    let other = guest.at(nr::OPENAT, "/data/a", [0, 0]).unwrap();
    assert_eq!(guest.call(nr::READ, [other, OUT, 4]), Ok(1));
    let mut times = [0; 32];
    times[..8].copy_from_slice(&1_000_000_000_u64.to_le_bytes());
    times[8..12].copy_from_slice(&7_u32.to_le_bytes());
    times[24..28].copy_from_slice(&0x3fff_fffe_u32.to_le_bytes());
    guest.put(IN, &times);
    assert_eq!(guest.call(nr::UTIMENSAT, [CWD, b, IN, 0]), Ok(0));
    guest
        .call(nr::STATX, [fd, guest.text(0, ""), 0x1000, 0x7ff, OUT])
        .unwrap();
    assert_eq!(guest.get(OUT + 64, 12), times[..12]);
    assert_ne!(guest.get(OUT + 112, 8), [0; 8]);
    assert_eq!(guest.call(nr::UTIMENSAT, [fd, 0, 0, 0]), Ok(0));
}

#[test]
fn ranges_are_copied() {
    let guest = guest();
    let bytes: Vec<u8> = (0..50_000_u32)
        .map(|n| u8::try_from(n % 253).unwrap())
        .collect();
    let source = create(&guest, "/data/source", &bytes);
    let target = create(&guest, "/data/target", b"");
    assert_eq!(
        guest.call(nr::COPY_FILE_RANGE, [source, 0, target, 0, 60_000, 0]),
        Ok(50_000)
    );
    assert_eq!(
        guest.call(nr::COPY_FILE_RANGE, [source, 0, target, 0, 60_000, 0]),
        Ok(0)
    );
    assert_eq!(
        guest.call(nr::PREAD, [target, OUT, 50_000, 0, 0]),
        Ok(50_000)
    );
    assert!(guest.get(OUT, 50_000) == bytes);
    // Into shared memory, which shares no pages with files.
    let shared = guest
        .at(nr::OPENAT, "/dev/shm/segment", [O_RDWR | O_CREAT, 0o600])
        .unwrap();
    guest.put(OUT, &100_u64.to_le_bytes());
    assert_eq!(
        guest.call(nr::COPY_FILE_RANGE, [source, OUT, shared, 0, 1000, 0]),
        Ok(1000)
    );
    assert_eq!(guest.get(OUT, 8), 1100_u64.to_le_bytes());
    assert_eq!(guest.call(nr::PREAD, [shared, OUT, 1000, 0, 0]), Ok(1000));
    assert!(guest.get(OUT, 1000) == bytes[100..1100]);
    guest.put(OUT, &[0; 8]);
    assert_eq!(
        guest.call(nr::COPY_FILE_RANGE, [source, OUT, source, OUT, 10, 0]),
        Err(Errno::EINVAL)
    );
    guest.put(OUT, &10_u64.to_le_bytes());
    assert_eq!(
        guest.call(nr::SENDFILE, [target, source, OUT, 70_000]),
        Ok(49_990)
    );
}

/// A pipe of one byte, to see streams wait.
#[derive(Default)]
struct Narrow {
    byte: Mutex<Option<u8>>,
    queue: WaitQueue,
    closed: bool,
}

impl File for Narrow {
    fn stat(&self) -> Result<Stat, Errno> {
        let time = pglite_oxide_kernel::file::FileTime::default();
        Ok(Stat {
            device: 0,
            inode: 0,
            kind: FileKind::Fifo,
            mode: 0,
            links: 1,
            uid: 0,
            gid: 0,
            size: 0,
            blocks: 0,
            accessed: time,
            modified: time,
            changed: time,
        })
    }

    fn read(&self, out: &mut [u8]) -> Result<usize, Errno> {
        let byte = self.byte.lock().unwrap().take().ok_or(Errno::EAGAIN)?;
        out[0] = byte;
        self.queue.wake_all();
        Ok(1)
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        if self.closed {
            return Err(Errno::EPIPE);
        }
        let mut byte = self.byte.lock().unwrap();
        if byte.is_some() {
            return Err(Errno::EAGAIN);
        }
        *byte = Some(bytes[0]);
        drop(byte);
        self.queue.wake_all();
        Ok(1)
    }

    fn wake_source(&self, _: pglite_oxide_kernel::file::Ready) -> Option<WakeSource<'_>> {
        Some(WakeSource::Queue(&self.queue))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[test]
fn streams_wait_in_blocking_mode_only() {
    let pipe: Arc<dyn File> = Arc::new(Narrow::default());
    let sink: Arc<dyn File> = Arc::new(LineSink::new(|_| {}));
    let reader = Guest::new(
        Vfs::new(),
        [Arc::clone(&pipe), Arc::clone(&sink), Arc::clone(&sink)],
    );
    let writer = Guest::new(Vfs::new(), [Arc::clone(&pipe), Arc::clone(&pipe), sink]);
    let thread = std::thread::spawn(move || {
        writer.put(IN, b"stream");
        assert_eq!(writer.call(nr::WRITE, [1, IN, 6]), Ok(6));
        writer
    });
    let mut seen = Vec::new();
    while seen.len() < 6 {
        assert_eq!(reader.call(nr::READ, [0, OUT, 10]), Ok(1));
        seen.extend(reader.get(OUT, 1));
    }
    assert_eq!(seen, b"stream");
    let writer = thread.join().unwrap();
    assert_eq!(reader.call(nr::FCNTL, [0, 4, O_NONBLOCK]), Ok(0));
    assert_eq!(reader.call(nr::READ, [0, OUT, 10]), Err(Errno::EAGAIN));
    assert_eq!(
        reader.call(nr::LLSEEK, [0, 0, 0, OUT, 0]),
        Err(Errno::ESPIPE)
    );
    assert_eq!(
        reader.call(nr::PREAD, [0, OUT, 1, 0, 0]),
        Err(Errno::ESPIPE)
    );
    assert_eq!(writer.call(nr::FCNTL, [1, 4, O_NONBLOCK]), Ok(0));
    assert_eq!(writer.call(nr::WRITE, [1, IN, 6]), Ok(1));
    assert_eq!(writer.call(nr::WRITE, [1, IN, 6]), Err(Errno::EAGAIN));
}

#[test]
fn a_broken_pipe_kills_unless_ignored() {
    let broken: Arc<dyn File> = Arc::new(Narrow {
        closed: true,
        ..Narrow::default()
    });
    let guest = Guest::new(
        Vfs::new(),
        [Arc::clone(&broken), Arc::clone(&broken), broken],
    );
    // rt_sigaction(SIGPIPE, SIG_IGN)
    guest.put(IN, &1_u32.to_le_bytes());
    assert_eq!(guest.call(134, [13, IN, 0, 8]), Ok(0));
    assert_eq!(guest.call(nr::WRITE, [1, IN, 1]), Err(Errno::EPIPE));
    assert_eq!(guest.process.ending(), None);
    guest.put(IN, &0_u32.to_le_bytes());
    assert_eq!(guest.call(134, [13, IN, 0, 8]), Ok(0));
    let outcome =
        pglite_oxide_kernel::syscalls::dispatch(&guest.process, nr::WRITE, [1, IN, 1, 0, 0, 0]);
    assert_eq!(outcome, pglite_oxide_kernel::syscalls::Outcome::Unwind);
    assert_eq!(
        guest.process.ending(),
        Some(pglite_oxide_kernel::ExitStatus::Signaled(13))
    );
}

/// Random arguments give errors, never a panic (which would end the process).
#[test]
fn garbage_is_answered_with_errors() {
    let guest = guest();
    for number in 0..8 {
        create(&guest, &format!("/data/{number}"), b"some bytes");
    }
    let fd = guest.at(nr::OPENAT, "/data", [0, 0]).unwrap();
    assert_eq!(fd, 11);
    let mut state = 0x1234_5678_9abc_def1_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        u32::try_from(state >> 32).unwrap()
    };
    // All file and path calls but those that wait for somebody.
    let calls: Vec<u32> = (17..=84)
        .filter(|n| !matches!(n, 19..=22 | 57 | 59 | 72..=74))
        .chain([
            166, 213, 223, 267, 276, 285, 286, 287, 291, 412, 437, 439, 452,
        ])
        .collect();
    let pool = [
        0,
        1,
        2,
        3,
        8,
        11,
        CWD,
        u32::MAX,
        0x7fff_ffff,
        0x8000_0000,
        OUT,
        IN,
        0x2_0000,
        0x40_0000 - 3,
        0xFFFF_FFF0,
        100,
        4096,
        0x1000,
    ];
    let mut done = 0;
    for round in 0..200_000 {
        guest.text(
            0,
            [
                "/data/1",
                "/data",
                "x",
                "",
                "/dev/null",
                "..",
                "/dev/shm/y",
                "/usr/share/postgres.bki",
                "/dev/fd/5",
            ][next() as usize % 9],
        );
        let args = std::array::from_fn(|_| match next() % 8 {
            0 => next(),
            _ => pool[next() as usize % pool.len()],
        });
        let number = calls[next() as usize % calls.len()];
        done += u32::from(guest.call::<6>(number, args).is_ok());
        assert_eq!(
            guest.process.ending(),
            None,
            "round {round}: call {number} with {args:x?}"
        );
    }
    assert!(done > 10_000, "many succeed: {done}");
}
