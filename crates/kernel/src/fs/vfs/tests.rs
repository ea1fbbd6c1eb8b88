//! Resolution and mounts; resolution is compared with the host's own.

use super::*;
use crate::fs::dev::DevFs;
use crate::fs::host::HostFs;

fn vfs() -> Vfs {
    let mut vfs = Vfs::new();
    vfs.mount("/dev", Arc::new(DevFs::new()));
    vfs.mount("/pg/share", Arc::new(MemFs::new()));
    vfs.mkdir("/", "/data", 0o700).unwrap();
    vfs.write("/data/PG_VERSION", 0o600, b"18\n").unwrap();
    vfs
}

fn names(vfs: &Vfs, path: &str) -> Vec<String> {
    let mut names: Vec<String> = vfs
        .read_dir("/", path)
        .unwrap()
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    names.sort();
    names
}

#[test]
fn mount_points_show_in_listings_and_cannot_be_removed() {
    let vfs = vfs();
    assert_eq!(names(&vfs, "/"), ["data", "dev", "pg"]);
    assert_eq!(names(&vfs, "/pg"), ["share"]);
    assert!(names(&vfs, "/dev").contains(&"null".to_owned()));
    assert_eq!(vfs.rmdir("/", "/pg/share"), Err(Errno::EBUSY));
    assert_eq!(vfs.rmdir("/", "/pg"), Err(Errno::EBUSY));
    assert_eq!(
        vfs.rename(("/", "/pg"), ("/", "/pg2"), false),
        Err(Errno::EBUSY)
    );
    assert_eq!(
        vfs.rename(("/data", "PG_VERSION"), ("/", "/pg/share/x"), false),
        Err(Errno::EXDEV)
    );
    assert_eq!(
        vfs.link(("/data", "PG_VERSION"), ("/", "/pg/share/x"), false),
        Err(Errno::EXDEV)
    );
    assert_eq!(
        vfs.real_path("/pg/share", "../../data/./PG_VERSION")
            .unwrap(),
        "/data/PG_VERSION"
    );
    assert_eq!(vfs.real_path("/", "../..").unwrap(), "/");
}

#[test]
fn links_lead_across_mounts() {
    let vfs = vfs();
    vfs.mkdir("/", "/ts", 0o700).unwrap();
    vfs.symlink("/ts", "/data", "pg_tblspc_1").unwrap();
    vfs.write("/data/pg_tblspc_1/file", 0o600, b"x").unwrap();
    assert_eq!(
        vfs.real_path("/data", "pg_tblspc_1/file").unwrap(),
        "/ts/file"
    );
    assert_eq!(
        vfs.real_path("/data", "pg_tblspc_1/../data/PG_VERSION")
            .unwrap(),
        "/data/PG_VERSION"
    );
    vfs.symlink("../../data", "/", "/pg/share/up").unwrap();
    assert_eq!(vfs.read("/pg/share/up/PG_VERSION").unwrap(), b"18\n");
    assert_eq!(vfs.read_link("/", "/pg/share/up").unwrap(), "../../data");
    assert_eq!(
        vfs.stat("/", "/pg/share/up", false).unwrap().kind,
        FileKind::Symlink
    );
    assert_eq!(
        vfs.stat("/", "/pg/share/up/", false).unwrap().kind,
        FileKind::Directory
    );
}

#[test]
fn loops_and_lengths_are_limited() {
    let vfs = vfs();
    vfs.symlink("b", "/", "/a").unwrap();
    vfs.symlink("a", "/", "/b").unwrap();
    assert_eq!(vfs.stat("/", "/a", true).unwrap_err(), Errno::ELOOP);
    assert_eq!(vfs.stat("/", "/a/../x", true).unwrap_err(), Errno::ELOOP);
    vfs.symlink("/deep/deep", "/", "/deep").unwrap();
    assert!(matches!(
        vfs.stat("/", "/deep", true).unwrap_err(),
        Errno::ELOOP | Errno::ENAMETOOLONG
    ));
    assert_eq!(
        vfs.stat("/", &"x".repeat(256), true).unwrap_err(),
        Errno::ENAMETOOLONG
    );
    assert_eq!(
        vfs.stat("/", &"x/".repeat(3000), true).unwrap_err(),
        Errno::ENAMETOOLONG
    );
    assert_eq!(vfs.stat("/", "", true).unwrap_err(), Errno::ENOENT);
}

#[test]
fn a_final_slash_asks_for_a_directory() {
    let vfs = vfs();
    let create = OpenHow {
        write: true,
        create: true,
        ..OpenHow::default()
    };
    let error = |result: Result<_, Errno>| result.err();
    assert_eq!(
        error(vfs.open("/", "/data/new/", &create)),
        Some(Errno::EISDIR)
    );
    assert_eq!(
        error(vfs.open(
            "/",
            "/data/PG_VERSION/",
            &OpenHow {
                read: true,
                ..OpenHow::default()
            }
        )),
        Some(Errno::ENOTDIR)
    );
    assert_eq!(vfs.unlink("/", "/data/PG_VERSION/"), Err(Errno::ENOTDIR));
    assert_eq!(vfs.unlink("/", "/data/"), Err(Errno::EISDIR));
    assert_eq!(vfs.mkdir("/", "/data/base/", 0o700), Ok(()));
    assert_eq!(
        vfs.rename(("/", "/data/base/"), ("/", "/data/other/"), false),
        Ok(())
    );
    assert_eq!(
        vfs.rename(("/", "/data/PG_VERSION"), ("/", "/data/x/"), false),
        Err(Errno::ENOTDIR)
    );
    assert_eq!(vfs.rmdir("/", "/data/other/."), Err(Errno::EINVAL));
    assert_eq!(vfs.rmdir("/", "/data/other/"), Ok(()));
    assert_eq!(vfs.symlink("x", "/", "/data/l/"), Err(Errno::ENOENT));
}

#[test]
fn opening_through_a_dangling_link_creates_its_target() {
    let vfs = vfs();
    vfs.symlink("/data/made", "/", "/link").unwrap();
    let create = OpenHow {
        write: true,
        create: true,
        mode: 0o600,
        ..OpenHow::default()
    };
    assert_eq!(
        vfs.open(
            "/",
            "/link",
            &OpenHow {
                exclusive: true,
                ..create
            }
        )
        .err(),
        Some(Errno::EEXIST)
    );
    assert_eq!(
        vfs.open(
            "/",
            "/link",
            &OpenHow {
                no_follow: true,
                ..create
            }
        )
        .err(),
        Some(Errno::ELOOP)
    );
    assert_eq!(vfs.open("/", "/link", &create).unwrap().1, "/data/made");
}

/// Every path of up to four parts, on the host and here.
#[test]
fn resolution_is_the_hosts() {
    let scratch = tempfile::tempdir().unwrap();
    let deep = scratch.path().join("p/q/r/s/t");
    std::fs::create_dir_all(&deep).unwrap();
    let host = HostFs::open(scratch.path()).unwrap();
    let mut vfs = Vfs::new();
    vfs.mount("/", Arc::new(host));
    let base = "/p/q/r/s/t";
    // The same tree for both: what is made here, the host sees.
    for (path, mode) in [("d", 0o701), ("d/e", 0o702), ("g", 0o703)] {
        vfs.mkdir(base, path, 0o700).unwrap();
        vfs.set_mode(base, path, mode).unwrap();
    }
    for (path, len) in [("f", 1), ("d/f", 2), ("d/e/f", 3), ("g/f", 4)] {
        vfs.write(&format!("{base}/{path}"), 0o600, &vec![b'x'; len])
            .unwrap();
    }
    for (target, path) in [
        ("d/e", "l"),
        ("../g", "d/l"),
        ("f", "m"),
        ("../l/..", "g/m"),
        ("nowhere", "n"),
        ("o", "o"),
        ("../t/", "d/n"),
    ] {
        vfs.symlink(target, base, path).unwrap();
    }
    let parts = ["d", "e", "f", "g", "l", "m", "n", "o", "..", ".", ""];
    let deep = std::fs::File::open(&deep).unwrap();
    let mut compared = 0;
    for number in 1..parts.len().pow(4) {
        let mut rest = number;
        let mut path = String::new();
        while rest > 0 {
            path.push_str(parts[rest % parts.len()]);
            rest /= parts.len();
            if rest > 0 {
                path.push('/');
            }
        }
        if path.is_empty() || path.starts_with('/') {
            continue;
        }
        for (flags, follow) in [
            (rustix::fs::AtFlags::empty(), true),
            (rustix::fs::AtFlags::SYMLINK_NOFOLLOW, false),
        ] {
            let expected = rustix::fs::statat(&deep, path.as_str(), flags)
                .map(|stat| stat.st_ino)
                .map_err(Errno::from);
            let got = vfs.stat(base, &path, follow).map(|stat| stat.inode);
            assert_eq!(got, expected, "{path:?}, follow {follow}");
            compared += 1;
        }
    }
    assert!(compared > 10_000);
}
