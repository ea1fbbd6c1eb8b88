mod files;

use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::*;
use crate::abi::{O_RDONLY, O_RDWR};
use crate::copy::CopyOptions;
use crate::fdtable::FdTable;
use crate::file::{OpenFile, Ready};
use crate::fs::OpenHow;
use crate::fs::dev::DevFs;
use crate::fs::log::LineSink;
use crate::fs::shm::ShmFs;
use crate::fs::vfs::Vfs;
use crate::kernel::{Kernel, KernelOptions};
use crate::memory::{AddressSpace, Entry, GuestAddr, Segment};
use crate::net::Net;
use crate::net::event::{Epoll, EventFd, SignalFd};
use crate::net::socket::Socket;
use crate::net::stream::StreamEnd;
use crate::process::mm::{Backing, Mm};
use crate::process::rest::{Idle, Rest};
use crate::process::signal::{SIGALRM, SigInfo, SigSet, SignalState};
use crate::process::{ExitStatus, FsContext, NewProcess, Pid, Process, Zombie};
use crate::syscalls::time;
use crate::wait::lock;

/// A space without memory, that has a name.
struct NamedSpace(Vec<u8>);

impl AddressSpace for NamedSpace {
    fn bytes(&self, _: GuestAddr, _: u32) -> Result<&[u8], Errno> {
        Err(Errno::EFAULT)
    }
    fn bytes_mut(&self, _: GuestAddr, _: u32) -> Result<&mut [u8], Errno> {
        Err(Errno::EFAULT)
    }
    fn atomic_u32(&self, _: GuestAddr) -> Result<&AtomicU32, Errno> {
        Err(Errno::EFAULT)
    }
    fn map_segment(&self, _: GuestAddr, _: u32, _: &Arc<dyn Segment>, _: u64) -> Result<(), Errno> {
        Ok(())
    }
    fn discard(&self, _: GuestAddr, _: u32) -> Result<(), Errno> {
        Ok(())
    }
    fn duplicate(
        &self,
        _: &[(GuestAddr, u32)],
        _: &[(GuestAddr, u32, Arc<dyn Segment>, u64)],
    ) -> Result<Arc<dyn AddressSpace>, Errno> {
        Ok(Arc::new(Self(self.0.clone())))
    }
    fn save(
        &self,
        _: &[(GuestAddr, u32)],
        _: Scope,
        _: &mut BlobWriter,
    ) -> Result<Vec<u8>, SaveError> {
        Ok(self.0.clone())
    }
    fn heap_base(&self) -> GuestAddr {
        GuestAddr(0x20_0000)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

struct VecSegment(Mutex<Vec<u8>>);

impl Segment for VecSegment {
    fn id(&self) -> u64 {
        std::ptr::from_ref(self).addr() as u64
    }
    fn len(&self) -> u64 {
        lock(&self.0).len() as u64
    }
    fn resize(&self, len: u64) -> Result<(), Errno> {
        lock(&self.0).resize(usize::try_from(len).map_err(|_| Errno::ENOMEM)?, 0);
        Ok(())
    }
    fn duplicate(&self, _: &Arc<AtomicBool>) -> Result<Arc<dyn Segment>, Errno> {
        Ok(Arc::new(Self(Mutex::new(lock(&self.0).clone()))))
    }
    fn save(&self, blobs: &mut BlobWriter) -> Result<Vec<u8>, SaveError> {
        Ok(blobs.add(&lock(&self.0)).to_le_bytes().to_vec())
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize, Errno> {
        let bytes = lock(&self.0);
        let from = usize::try_from(offset).map_err(|_| Errno::EINVAL)?;
        out.copy_from_slice(&bytes[from..from + out.len()]);
        Ok(out.len())
    }
    fn write_at(&self, offset: u64, new: &[u8]) -> Result<usize, Errno> {
        let from = usize::try_from(offset).map_err(|_| Errno::EINVAL)?;
        lock(&self.0)[from..from + new.len()].copy_from_slice(new);
        Ok(new.len())
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

struct NoMachine(&'static [u8]);

impl Machine for NoMachine {
    fn create_segment(&self, len: u64) -> Result<Arc<dyn Segment>, Errno> {
        let segment = VecSegment(Mutex::default());
        segment.resize(len)?;
        Ok(Arc::new(segment))
    }
    fn load(&self, _: &str) -> Result<Arc<dyn AddressSpace>, Errno> {
        Err(Errno::ENOENT)
    }
    fn fork(
        &self,
        _: &dyn AddressSpace,
        _: &[(GuestAddr, u32)],
    ) -> Result<Arc<dyn AddressSpace>, Errno> {
        Err(Errno::ENOMEM)
    }
    fn identity(&self, _: Scope) -> Result<Vec<u8>, SaveError> {
        Ok(self.0.to_vec())
    }
    fn load_space(
        &self,
        record: &[u8],
        _: Scope,
        _: &Blobs,
        _: &[(GuestAddr, u32, Arc<dyn Segment>, u64)],
    ) -> Result<Arc<dyn AddressSpace>, LoadError> {
        Ok(Arc::new(NamedSpace(record.to_vec())))
    }
    fn load_segment(
        &self,
        record: &[u8],
        blobs: &Blobs,
        _: &Arc<AtomicBool>,
    ) -> Result<Arc<dyn Segment>, LoadError> {
        let number = record.try_into().map_err(|_| LoadError::Damaged("test"))?;
        let bytes = blobs.get(u32::from_le_bytes(number))?.unpack()?;
        Ok(Arc::new(VecSegment(Mutex::new(bytes))))
    }
    fn start(&self, _: Arc<Process>, _: Entry) -> Result<(), Errno> {
        Ok(())
    }
    fn native_stack_size(&self) -> u64 {
        1 << 20
    }
}

fn machine() -> Arc<dyn Machine> {
    Arc::new(NoMachine(b"one program"))
}

static CONTENTS: [u8; 50_000] = [7; 50_000];

fn base() -> MemFs {
    let base = MemFs::new();
    base.add_static("base/same", 0o600, &CONTENTS).unwrap();
    base.add_static("base/changed", 0o600, &CONTENTS).unwrap();
    base.add_static("gone", 0o600, b"gone").unwrap();
    base.freeze();
    base
}

const HOW: OpenHow = OpenHow {
    read: true,
    write: true,
    create: true,
    exclusive: false,
    truncate: false,
    directory: false,
    no_follow: false,
    synchronised: false,
    mode: 0o600,
};

fn open(vfs: &Vfs, path: &str) -> Arc<OpenFile> {
    let (file, path) = vfs.open("/", path, &HOW).unwrap();
    OpenFile::new(file, O_RDWR, Some(path))
}

fn contents(vfs: &Vfs, path: &str) -> Vec<u8> {
    vfs.read(path).unwrap()
}

/// A kernel with one process that has one of everything.
fn everything(base: &MemFs, output: &Arc<dyn File>) -> (Arc<Kernel>, HostStream) {
    let mut vfs = Vfs::new();
    vfs.mount("/dev", Arc::new(DevFs::new()));
    vfs.mount("/dev/shm", Arc::new(ShmFs::new(machine())));
    vfs.mount("/data", Arc::new(base.clone_frozen()));
    vfs.mkdir("/", "/tmp", 0o1777).unwrap();
    vfs.write("/tmp/own", 0o640, b"own contents").unwrap();
    vfs.unlink("/", "/data/gone").unwrap();
    let changed = open(&vfs, "/data/base/changed");
    changed.file.write_at(10_000, b"new").unwrap();
    let kernel = Kernel::new(KernelOptions {
        machine: machine(),
        vfs,
        net: Net::new(),
        test_hooks: false,
        trace: false,
        memory_limit: None,
    });
    let vfs = kernel.vfs();
    let mut files = FdTable::default();
    let mut put = |open: &Arc<OpenFile>, fd| {
        assert_eq!(files.insert(Arc::clone(open), fd == 5, 0), Ok(fd));
    };
    put(&OpenFile::new(Arc::clone(output), O_RDWR, None), 0);
    *lock(&changed.position) = 123;
    put(&changed, 1);
    put(&changed, 2);
    let nameless = open(vfs, "/tmp/nameless");
    nameless.file.write_at(0, b"still here").unwrap();
    vfs.unlink("/", "/tmp/nameless").unwrap();
    put(&nameless, 3);
    put(&open(vfs, "/dev/null"), 4);
    let (reader, writer) = StreamEnd::pipe(9);
    writer.write(b"in the pipe").unwrap();
    let reader = OpenFile::new(Arc::new(reader), O_RDONLY, None);
    put(&reader, 5);
    put(&OpenFile::new(Arc::new(writer), O_RDWR, None), 6);
    let counter = OpenFile::new(Arc::new(EventFd::new(3, true)), O_RDWR, None);
    put(&counter, 7);
    put(
        &OpenFile::new(Arc::new(SignalFd::new(SigSet::of(SIGALRM))), O_RDWR, None),
        8,
    );
    let epoll = Epoll::default();
    epoll.add(5, &reader, Ready::IN.bits(), 55).unwrap();
    epoll.add(7, &counter, Ready::OUT.bits(), 77).unwrap();
    put(&OpenFile::new(Arc::new(epoll), O_RDWR, None), 9);
    let listener = Socket::new(1);
    listener
        .bind(crate::net::addr::Address::Unix("/run/s".to_owned()))
        .unwrap();
    listener.listen(kernel.net()).unwrap();
    let host = kernel.net().connect_unix("/run/s").unwrap();
    let (accepted, _) = listener.accept().unwrap();
    put(&OpenFile::new(Arc::new(listener), O_RDWR, None), 10);
    accepted.write(b"to the host").unwrap();
    put(&OpenFile::new(Arc::new(accepted), O_RDWR, None), 11);
    let shared = open(vfs, "/dev/shm/segment");
    shared.file.set_len(0x2_0000).unwrap();
    shared.file.write_at(70_000, b"shared").unwrap();
    put(&shared, 12);
    let space = NamedSpace(b"the space".to_vec());
    let mut mm = Mm::new(space.heap_base(), 1 << 30);
    mm.set_brk(0x30_0000, &space);
    mm.map(GuestAddr::NULL, 0x1_0000, Backing::Private, false, &space)
        .unwrap();
    let segment = shared.file.segment().unwrap();
    mm.map(
        GuestAddr::NULL,
        0x2_0000,
        Backing::Shared(segment, 0),
        false,
        &space,
    )
    .unwrap();
    let signals = SignalState::default();
    signals.load_for_test(SigInfo {
        signo: SIGALRM,
        code: 5,
        ..SigInfo::default()
    });
    let process = Process::create(NewProcess {
        pid: Pid(17),
        name: "test".to_owned(),
        kernel: kernel.weak().clone(),
        space: Arc::new(space),
        files,
        fs: FsContext {
            cwd: "/data".to_owned(),
            umask: 0o77,
        },
        mm,
        signals,
        parent: Pid(0),
        group: Pid(17),
        session: Pid(16),
        gate: Arc::clone(kernel.gate()),
        rest: Rest::frozen(Some(Idle {
            watches: vec![(reader, Ready::IN)],
            deadline: Some(Instant::now() + Duration::from_secs(100)),
        })),
    });
    process.family().zombies.push_back(Zombie {
        pid: Pid(18),
        group: Pid(17),
        status: ExitStatus::Exited(3),
    });
    kernel.adopt(process);
    (kernel, host)
}

fn save(base: &MemFs) -> Result<Vec<u8>, SaveError> {
    let output: Arc<dyn File> = Arc::new(LineSink::new(|_| {}));
    let (kernel, host) = everything(base, &output);
    let options = SaveOptions {
        files: &[Arc::clone(&output)],
        bases: &[("/data", base)],
        ..SaveOptions::default()
    };
    assert!(matches!(kernel.save(&options), Err(SaveError::Running)));
    let copy = kernel
        .duplicate(&CopyOptions {
            keep: vec![&host],
            ..CopyOptions::default()
        })
        .unwrap();
    copy.kernel.save(&SaveOptions {
        keep: &[&copy.streams[0]],
        ..options
    })
}

fn load(image: Vec<u8>, base: &MemFs, machine: Arc<dyn Machine>) -> Result<Loaded, LoadError> {
    let output: Arc<dyn File> = Arc::new(LineSink::new(|_| {}));
    Kernel::load(
        &ImageBytes::new(image),
        &LoadOptions {
            machine,
            files: &[output],
            trees: &[],
            bases: &[("/data", base)],
            test_hooks: false,
            trace: false,
        },
    )
}

#[test]
fn a_kernel_comes_back_as_it_was() {
    let image = save(&base()).unwrap();
    // The base of another process: other addresses, the same numbers.
    let base = base();
    let loaded = load(image, &base, machine()).unwrap();
    let kernel = loaded.kernel;
    let vfs = kernel.vfs();
    assert_eq!(contents(vfs, "/tmp/own"), b"own contents");
    assert_eq!(contents(vfs, "/data/base/same"), CONTENTS);
    let changed = contents(vfs, "/data/base/changed");
    assert_eq!((&changed[10_000..10_003], changed[9_999]), (&b"new"[..], 7));
    assert!(vfs.read("/data/gone").is_err());
    let process = kernel.process(Pid(17)).unwrap();
    assert_eq!(
        (process.name.as_str(), lock(&process.fs).umask),
        ("test", 0o77)
    );
    assert_eq!(process.family().session, Pid(16));
    assert_eq!(process.family().zombies[0].status, ExitStatus::Exited(3));
    assert!(process.signals().pending().has(SIGALRM));
    assert!(Arc::ptr_eq(
        &process.file(1).unwrap(),
        &process.file(2).unwrap()
    ));
    assert_eq!(*lock(&process.file(1).unwrap().position), 123);
    assert!(lock(&process.files).descriptor(5).unwrap().close_on_exec);
    let mut out = [0; 16];
    let nameless = process.file(3).unwrap();
    assert_eq!(nameless.file.read_at(0, &mut out), Ok(10));
    assert_eq!(&out[..10], b"still here");
    assert_eq!(nameless.file.stat().unwrap().links, 0);
    assert_eq!(process.file(4).unwrap().file.read_at(0, &mut out), Ok(0));
    assert_eq!(process.file(5).unwrap().file.read(&mut out), Ok(11));
    assert_eq!(&out[..11], b"in the pipe");
    process.file(6).unwrap().file.write(b"more").unwrap();
    assert_eq!(process.file(5).unwrap().file.read(&mut out), Ok(4));
    let epoll = process.file(9).unwrap();
    let epoll = epoll.file.as_any().downcast_ref::<Epoll>().unwrap();
    let watched = epoll.watched();
    assert_eq!((watched[0].0, watched[0].2.data), (5, 55));
    assert!(Arc::ptr_eq(&watched[1].1, &process.file(7).unwrap()));
    assert!(kernel.net().connect_unix("/run/s").is_ok());
    assert!(process.file(10).unwrap().file.ready().contains(Ready::IN));
    let [mut host] = <[HostStream; 1]>::try_from(loaded.streams).ok().unwrap();
    let n = std::io::Read::read(&mut host, &mut out).unwrap();
    assert_eq!(&out[..n], b"to the host");
    let shared = process.file(12).unwrap();
    assert_eq!(shared.file.read_at(70_000, &mut out[..6]), Ok(6));
    assert_eq!(&out[..6], b"shared");
    let mm = process.mm();
    let (_, len, segment, _) = mm.shared().next().unwrap();
    assert_eq!(
        (len, segment.id()),
        (0x2_0000, shared.file.segment().unwrap().id())
    );
    assert_eq!(mm.private_ranges().len(), 2);
    drop(mm);
    let deadline = process.rest().idle.as_ref().unwrap().deadline.unwrap();
    let left = deadline - Instant::now();
    assert!(
        left > Duration::from_secs(90) && left <= Duration::from_secs(100),
        "{left:?}"
    );
    // It can be copied, like any frozen kernel.
    assert!(kernel.duplicate(&CopyOptions::default()).is_ok());
}

/// A host that has started since has a monotonic clock that says less. A guest that had noted the time would wait for the difference, hours perhaps.
#[test]
fn the_guests_clock_never_goes_back() {
    let base = base();
    let (mut record, _) = load::parts(&ImageBytes::new(save(&base).unwrap())).unwrap();
    let later = time::now(1) + Duration::from_secs(10_000);
    record.monotonic = u64::try_from(later.as_nanos()).unwrap();
    // Its pieces are not looked at for this.
    record.segments.clear();
    record.shm_objects.clear();
    record.sysv.entries.clear();
    record.processes.clear();
    record.objects.clear();
    record.mounts = vec![record::MountRecord {
        at: "/".to_owned(),
        fs: FsRecord(record::Fs::Dev),
    }];
    let image = save::container(&record, Vec::new(), &[]).unwrap();
    let kernel = load(image, &base, machine()).unwrap().kernel;
    assert!(kernel.clock(time::now(1)) >= later);
    let copy = kernel.duplicate(&CopyOptions::default()).unwrap().kernel;
    assert!(
        copy.clock(time::now(1)) >= later,
        "nor in what is opened from it"
    );
    assert!(kernel.clock(time::now(1)) < later + Duration::from_secs(60));
}

#[test]
fn other_programs_and_damage_are_refused() {
    let base = base();
    let image = save(&base).unwrap();
    let other = Arc::new(NoMachine(b"another program"));
    assert!(matches!(
        load(image.clone(), &base, other),
        Err(LoadError::Foreign(_))
    ));
    for at in 0..image.len() {
        // Any answer will do, as long as there is one.
        let _ = load(image[..at].to_vec(), &base, machine());
        let mut bytes = image.clone();
        bytes[at] ^= 1 << (at % 8);
        let _ = load(bytes, &base, machine());
    }
    assert!(load(image[..image.len() / 2].to_vec(), &base, machine()).is_err());
}

#[test]
fn what_cannot_be_saved_is_named() {
    let base = base();
    let output: Arc<dyn File> = Arc::new(LineSink::new(|_| {}));
    let (kernel, host) = everything(&base, &output);
    let copy = kernel
        .duplicate(&CopyOptions {
            keep: vec![&host],
            ..CopyOptions::default()
        })
        .unwrap();
    // Its standard output is not given.
    let error = copy.kernel.save(&SaveOptions::default()).unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("LineSink") && said.contains("process 17"),
        "{said}"
    );
}
