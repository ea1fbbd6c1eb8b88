//! The fence around the host's directory; `fs/model_tests.rs` tests the rest.

use super::*;
use crate::file::SyncKind;
use crate::fs::vfs::Vfs;

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
const READ: OpenHow = OpenHow {
    read: true,
    write: false,
    create: false,
    exclusive: false,
    truncate: false,
    directory: false,
    no_follow: false,
    synchronised: false,
    mode: 0,
};

#[test]
fn links_of_the_host_lead_nowhere_outside() {
    let scratch = tempfile::tempdir().unwrap();
    let outside = scratch.path().join("secret");
    std::fs::write(&outside, "secret").unwrap();
    let inside = scratch.path().join("data");
    std::fs::create_dir(&inside).unwrap();
    for (target, name) in [
        (outside.as_path(), "absolute"),
        (Path::new("../secret"), "relative"),
        (Path::new(".."), "up"),
        (scratch.path(), "dir"),
    ] {
        std::os::unix::fs::symlink(target, inside.join(name)).unwrap();
    }
    let mut vfs = Vfs::new();
    vfs.mount("/data", Arc::new(HostFs::open(&inside).unwrap()));
    for path in [
        "/data/absolute",
        "/data/relative",
        "/data/up/secret",
        "/data/dir/secret",
        "/data/../secret",
    ] {
        assert_eq!(
            vfs.open("/", path, &READ).err(),
            Some(Errno::ENOENT),
            "{path}"
        );
        assert_eq!(
            vfs.stat("/", path, true).err(),
            Some(Errno::ENOENT),
            "{path}"
        );
    }
    // In the guest's name space the same links may lead somewhere.
    vfs.write("/secret", 0o600, b"guest").unwrap();
    assert_eq!(vfs.read("/data/relative").unwrap(), b"guest");
    assert_eq!(vfs.read("/data/up/secret").unwrap(), b"guest");
    assert_eq!(std::fs::read(&outside).unwrap(), b"secret");
}

#[test]
fn devices_and_pipes_of_the_host_stay_closed() {
    let scratch = tempfile::tempdir().unwrap();
    let host = HostFs::open(scratch.path()).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        scratch.path().join("pipe"),
        FileType::Fifo,
        Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    assert_eq!(
        host.open("pipe", &READ).err(),
        Some(FsError::Errno(Errno::ENXIO))
    );
    assert_eq!(host.stat("pipe", true).unwrap().kind, FileKind::Fifo);
    host.make_socket(".s.PGSQL.5432", 0o600).unwrap();
    assert_eq!(
        host.stat(".s.PGSQL.5432", true).unwrap().kind,
        FileKind::Socket
    );
    host.set_mode(".s.PGSQL.5432", 0o777).unwrap();
    assert_eq!(host.stat(".s.PGSQL.5432", true).unwrap().mode, 0o777);
    host.unlink(".s.PGSQL.5432").unwrap();
}

#[test]
fn status_names_the_guests_user_and_keeps_the_mode() {
    let scratch = tempfile::tempdir().unwrap();
    let host = HostFs::open(scratch.path()).unwrap();
    host.mkdir("d", 0o700).unwrap();
    let file = host.open("d/f", &HOW).unwrap_or_else(|_| panic!("no file"));
    assert_eq!(file.stat().unwrap().mode, 0o600);
    assert_eq!(host.stat("d", true).unwrap().mode, 0o700);
    assert_eq!(
        (file.stat().unwrap().uid, host.stat("", true).unwrap().gid),
        (GUEST_UID, GUEST_GID)
    );
    file.set_mode(0o640).unwrap();
    assert_eq!(host.stat("d/f", true).unwrap().mode, 0o640);
    file.set_times(
        None,
        Some(FileTime {
            seconds: 1_000_000,
            nanoseconds: 5,
        }),
    )
    .unwrap();
    assert_eq!(
        host.stat("d/f", true).unwrap().modified,
        FileTime {
            seconds: 1_000_000,
            nanoseconds: 5
        }
    );
    assert_eq!(
        std::fs::metadata(scratch.path().join("d/f")).unwrap().len(),
        0
    );
}

#[test]
fn one_descriptor_serves_all_who_open_a_file_alike() {
    let scratch = tempfile::tempdir().unwrap();
    let host = HostFs::open(scratch.path()).unwrap();
    let files: Vec<_> = (0..50)
        .map(|_| host.open("f", &HOW).unwrap_or_else(|_| panic!("no file")))
        .collect();
    let reader = host.open("f", &READ).unwrap_or_else(|_| panic!("no file"));
    assert_eq!(host.descriptors(), 2);
    files[0].write_at(0, b"abc").unwrap();
    let mut out = [0; 3];
    assert_eq!(reader.read_at(0, &mut out), Ok(3));
    assert_eq!(reader.write_at(0, b"x"), Err(Errno::EBADF));
    // A new file of the same name is another one.
    host.unlink("f").unwrap();
    let other = host.open("f", &HOW).unwrap_or_else(|_| panic!("no file"));
    assert_eq!((other.size(), files[49].size()), (Ok(0), Ok(3)));
    assert_eq!(host.descriptors(), 3);
    drop((files, reader, other));
    assert_eq!(host.descriptors(), 0);
}

#[test]
fn files_and_directories_can_be_synchronised() {
    let scratch = tempfile::tempdir().unwrap();
    let host = HostFs::open(scratch.path()).unwrap();
    let file = host
        .open(
            "f",
            &OpenHow {
                synchronised: true,
                ..HOW
            },
        )
        .unwrap_or_else(|_| panic!("no file"));
    file.write_at(0, b"x").unwrap();
    assert_eq!(
        (file.sync(SyncKind::Data), file.sync(SyncKind::All)),
        (Ok(()), Ok(()))
    );
    let directory = host.open("", &READ).unwrap_or_else(|_| panic!("no root"));
    assert_eq!(directory.sync(SyncKind::All), Ok(()));
    host.sync().unwrap();
    file.allocate(0, 100_000, false).unwrap();
    assert_eq!(file.size(), Ok(100_000));
    assert_eq!(directory.read_dir().unwrap().len(), 1);
}

#[test]
fn a_host_without_openat2_is_walked_step_by_step() {
    let scratch = tempfile::tempdir().unwrap();
    let host = HostFs::open(scratch.path()).unwrap();
    host.mkdir("a", 0o700).unwrap();
    host.mkdir("a/b", 0o700).unwrap();
    host.symlink("/elsewhere", "a/b/l").unwrap();
    host.root.forget_openat2();
    host.open("a/b/f", &HOW)
        .unwrap_or_else(|_| panic!("no file"));
    assert_eq!(host.stat("a/b/f", true).unwrap().size, 0);
    let expected = FsError::Symlink {
        consumed: 5,
        target: "/elsewhere".to_owned(),
    };
    assert_eq!(host.stat("a/b/l/x", true).err(), Some(expected));
    assert_eq!(
        host.stat("a/b/f/x", true).err(),
        Some(FsError::Errno(Errno::ENOTDIR))
    );
    assert_eq!(
        host.stat("a/c/x", true).err(),
        Some(FsError::Errno(Errno::ENOENT))
    );
}
