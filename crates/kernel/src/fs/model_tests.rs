//! Random operations on [`MemFs`] and, through [`HostFs`], on the host's own file system: every outcome must be the same, error numbers
//! included. The host is the model: nobody has to write down what POSIX means.

use std::sync::Arc;

use proptest::prelude::*;

use super::host::HostFs;
use super::mem::MemFs;
use super::storage::PowerLossFs;
use super::{FileSystem, FsError, FsResult, OpenHow};
use crate::errno::Errno;
use crate::file::{File, FileKind};

#[derive(Clone, Debug)]
enum Op {
    Open {
        slot: usize,
        path: String,
        read: bool,
        write: bool,
        create: bool,
        exclusive: bool,
        truncate: bool,
        directory: bool,
    },
    Write {
        slot: usize,
        offset: u64,
        len: usize,
        byte: u8,
    },
    Append {
        slot: usize,
        len: usize,
        byte: u8,
    },
    Read {
        slot: usize,
        offset: u64,
        len: usize,
    },
    SetLen {
        slot: usize,
        len: u64,
    },
    Allocate {
        slot: usize,
        offset: u64,
        len: u64,
    },
    Copy {
        from: usize,
        to: usize,
        from_offset: u64,
        to_offset: u64,
        len: u64,
    },
    Close {
        slot: usize,
    },
    Mkdir(String),
    Unlink(String),
    Rmdir(String),
    Rename {
        from: String,
        to: String,
        no_replace: bool,
    },
    Link {
        from: String,
        to: String,
    },
    Symlink {
        target: String,
        path: String,
    },
    ReadLink(String),
    Stat {
        path: String,
        follow: bool,
    },
    ReadDir(String),
    SetMode {
        path: String,
        mode: u32,
    },
}

const SLOTS: usize = 4;

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4)
        .prop_map(|names| names.join("/"))
}

fn offset() -> impl Strategy<Value = u64> {
    prop::sample::select(vec![
        0, 1, 100, 4096, 8191, 8192, 8193, 16_384, 20_000, 40_960,
    ])
}

fn length() -> impl Strategy<Value = usize> {
    prop::sample::select(vec![0, 1, 63, 100, 4096, 8191, 8192, 8193, 16_384, 30_000])
}

fn op() -> impl Strategy<Value = Op> {
    let slot = || 0..SLOTS;
    prop_oneof![
        6 => (slot(), path(), any::<[bool; 6]>()).prop_map(|(slot, path, [read, write, create, exclusive, truncate, directory])| Op::Open {
            slot,
            path,
            read: read || !write,
            write,
            create,
            exclusive: exclusive && create,
            truncate: truncate && write,
            directory: directory && !create && !write,
        }),
        6 => (slot(), offset(), length(), any::<u8>()).prop_map(|(slot, offset, len, byte)| Op::Write { slot, offset, len, byte }),
        2 => (slot(), length(), any::<u8>()).prop_map(|(slot, len, byte)| Op::Append { slot, len, byte }),
        3 => (slot(), offset(), length()).prop_map(|(slot, offset, len)| Op::Read { slot, offset, len }),
        3 => (slot(), offset()).prop_map(|(slot, len)| Op::SetLen { slot, len }),
        1 => (slot(), offset(), offset()).prop_map(|(slot, offset, len)| Op::Allocate { slot, offset, len: len + 1 }),
        3 => (slot(), slot(), offset(), offset(), offset()).prop_map(|(from, to, from_offset, to_offset, len)| Op::Copy { from, to, from_offset, to_offset, len }),
        1 => slot().prop_map(|slot| Op::Close { slot }),
        3 => path().prop_map(Op::Mkdir),
        3 => path().prop_map(Op::Unlink),
        2 => path().prop_map(Op::Rmdir),
        3 => (path(), path(), any::<bool>()).prop_map(|(from, to, no_replace)| Op::Rename { from, to, no_replace }),
        2 => (path(), path()).prop_map(|(from, to)| Op::Link { from, to }),
        2 => (path(), path()).prop_map(|(target, path)| Op::Symlink { target, path }),
        1 => path().prop_map(Op::ReadLink),
        3 => (path(), any::<bool>()).prop_map(|(path, follow)| Op::Stat { path, follow }),
        2 => path().prop_map(Op::ReadDir),
        1 => (path(), prop::sample::select(vec![0o600, 0o640, 0o700, 0o755])).prop_map(|(path, mode)| Op::SetMode { path, mode }),
    ]
}

/// One file system and the files open on it.
struct World<'f> {
    fs: &'f dyn FileSystem,
    slots: [Option<Arc<dyn File>>; SLOTS],
}

/// What can be seen of an operation.
type Seen = Result<String, FsError>;

fn describe(fs: &dyn FileSystem, path: &str, follow: bool) -> Seen {
    let stat = fs.stat(path, follow)?;
    Ok(match stat.kind {
        FileKind::Directory => format!("directory {:o}", stat.mode),
        FileKind::Regular => format!(
            "file {:o} {} bytes {} links",
            stat.mode, stat.size, stat.links
        ),
        kind => format!("{kind:?} {}", stat.size),
    })
}

impl<'f> World<'f> {
    fn new(fs: &'f dyn FileSystem) -> Self {
        Self {
            fs,
            slots: [const { None }; SLOTS],
        }
    }

    fn on_file(&self, slot: usize, run: impl FnOnce(&dyn File) -> Result<String, Errno>) -> Seen {
        match &self.slots[slot] {
            Some(file) if file.seekable() => Ok(run(&**file)?),
            _ => Ok("no file".to_owned()),
        }
    }

    fn run(&mut self, op: &Op) -> Seen {
        let done = |()| String::new();
        match op {
            Op::Open {
                slot,
                path,
                read,
                write,
                create,
                exclusive,
                truncate,
                directory,
            } => {
                let how = OpenHow {
                    read: *read,
                    write: *write,
                    create: *create,
                    exclusive: *exclusive,
                    truncate: *truncate,
                    directory: *directory,
                    no_follow: false,
                    synchronised: false,
                    mode: 0o600,
                };
                let file = self.fs.open(path, &how)?;
                // Descriptors are checked above this layer: only files that can do everything are kept.
                self.slots[*slot] = (*read && *write).then_some(file);
                Ok(String::new())
            }
            Op::Write {
                slot,
                offset,
                len,
                byte,
            } => self.on_file(*slot, |file| {
                file.write_at(*offset, &vec![*byte; *len])
                    .map(|n| n.to_string())
            }),
            Op::Append { slot, len, byte } => self.on_file(*slot, |file| {
                file.append(&vec![*byte; *len]).map(|n| format!("{n:?}"))
            }),
            Op::Read { slot, offset, len } => self.on_file(*slot, |file| {
                let mut out = vec![0xAA; *len];
                let n = file.read_at(*offset, &mut out)?;
                Ok(runs(&out[..n]))
            }),
            Op::SetLen { slot, len } => self.on_file(*slot, |file| file.set_len(*len).map(done)),
            Op::Allocate { slot, offset, len } => {
                self.on_file(*slot, |file| match file.allocate(*offset, *len, false) {
                    Ok(()) => file.size().map(|size| size.to_string()),
                    Err(error) => Err(error),
                })
            }
            Op::Copy {
                from,
                to,
                from_offset,
                to_offset,
                len,
            } => {
                let (Some(source), Some(target)) = (&self.slots[*from], &self.slots[*to]) else {
                    return Ok(String::new());
                };
                if !source.seekable()
                    || !target.seekable()
                    || source.stat()?.inode == target.stat()?.inode
                {
                    return Ok(String::new());
                }
                let mut done = 0;
                while done < *len {
                    match target.clone_range(
                        &**source,
                        from_offset + done,
                        to_offset + done,
                        len - done,
                    )? {
                        0 => break,
                        n => done += n,
                    }
                }
                Ok(done.to_string())
            }
            Op::Close { slot } => {
                self.slots[*slot] = None;
                Ok(String::new())
            }
            Op::Mkdir(path) => self.fs.mkdir(path, 0o700).map(done),
            Op::Unlink(path) => self.fs.unlink(path).map(done),
            Op::Rmdir(path) => self.fs.rmdir(path).map(done),
            Op::Rename {
                from,
                to,
                no_replace,
            } => self.fs.rename(from, to, *no_replace).map(done),
            Op::Link { from, to } => self.fs.link(from, to).map(done),
            Op::Symlink { target, path } => self.fs.symlink(target, path).map(done),
            Op::ReadLink(path) => self.fs.read_link(path),
            Op::Stat { path, follow } => describe(self.fs, path, *follow),
            Op::ReadDir(path) => listing(self.fs, path).map(|list| format!("{list:?}")),
            Op::SetMode { path, mode } => self.fs.set_mode(path, *mode).map(done),
        }
    }
}

fn listing(fs: &dyn FileSystem, path: &str) -> FsResult<Vec<(String, FileKind)>> {
    let mut list: Vec<_> = fs
        .read_dir(path)?
        .into_iter()
        .map(|entry| (entry.name, entry.kind))
        .collect();
    list.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(list)
}

/// Bytes, run-length encoded, so that failures can be read.
fn runs(bytes: &[u8]) -> String {
    bytes
        .chunk_by(|a, b| a == b)
        .map(|run| format!("{}x{} ", run[0], run.len()))
        .collect()
}

/// Everything there is, as text.
fn dump(fs: &dyn FileSystem, path: &str, out: &mut String) {
    let Ok(list) = listing(fs, path) else { return };
    for (name, kind) in list {
        let path = if path.is_empty() {
            name
        } else {
            format!("{path}/{name}")
        };
        out.push_str(&format!("{path}: {:?}", describe(fs, &path, false)));
        match kind {
            FileKind::Directory => {
                out.push('\n');
                dump(fs, &path, out);
            }
            FileKind::Symlink => out.push_str(&format!(" -> {:?}\n", fs.read_link(&path))),
            _ => {
                let file = fs
                    .open(
                        &path,
                        &OpenHow {
                            read: true,
                            ..OpenHow::default()
                        },
                    )
                    .unwrap_or_else(|error| panic!("{path}: {error:?}"));
                let mut bytes = vec![0; usize::try_from(file.size().unwrap()).unwrap()];
                file.read_at(0, &mut bytes).unwrap();
                out.push_str(&runs(&bytes));
                out.push('\n');
            }
        }
    }
}

fn dumped(fs: &dyn FileSystem) -> String {
    let mut out = String::new();
    dump(fs, "", &mut out);
    out
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_does_what_the_host_does(ops in prop::collection::vec(op(), 1..80), clone_at in 0_usize..80) {
        let scratch = tempfile::tempdir().unwrap();
        let host = HostFs::open(scratch.path()).unwrap();
        let mem = MemFs::new();
        let (mut on_host, mut on_mem) = (World::new(&host), World::new(&mem));
        let mut clone = None;
        for (number, op) in ops.iter().enumerate() {
            if number == clone_at {
                clone = Some((mem.clone_tree(), dumped(&mem)));
            }
            prop_assert_eq!(on_mem.run(op), on_host.run(op), "operation {}: {:?}", number, op);
        }
        prop_assert_eq!(dumped(&mem), dumped(&host));
        if let Some((clone, then)) = clone {
            prop_assert_eq!(dumped(&clone), then, "the clone kept what was there when it was made");
            drop(on_mem);
            drop(mem);
            let mut on_clone = World::new(&clone);
            for op in &ops {
                let _ = on_clone.run(op);
            }
        }
    }

    #[test]
    fn nothing_synchronised_is_lost(ops in prop::collection::vec(op(), 1..60), seed in any::<u64>()) {
        let fs = PowerLossFs::new(&MemFs::new());
        let mut world = World::new(&fs);
        for op in &ops {
            let _ = world.run(op);
        }
        // Whatever the cut, what is left can be read; after a sync nothing is missing.
        let _ = dumped(&fs.cut_power(seed));
        fs.sync().map_err(|_| TestCaseError::fail("sync"))?;
        prop_assert_eq!(fs.pending(), 0);
        prop_assert_eq!(dumped(&fs.cut_power(seed)), dumped(fs.live()));
    }
}

#[test]
fn a_limited_file_system_gives_back_everything() {
    let mem = MemFs::with_limit(1 << 20);
    let how = OpenHow {
        read: true,
        write: true,
        create: true,
        mode: 0o600,
        ..OpenHow::default()
    };
    for round in 0..3 {
        let file = mem.open("big", &how).unwrap_or_else(|_| panic!("no file"));
        let mut done = 0;
        let error = loop {
            match file.write_at(done, &[7; 5000]) {
                Ok(n) => done += n as u64,
                Err(error) => break error,
            }
        };
        assert_eq!(
            (error, done > 1_000_000),
            (Errno::ENOSPC, true),
            "round {round}"
        );
        mem.unlink("big").unwrap_or_else(|_| panic!("unlink"));
        assert!(mem.used() > 0, "an open file keeps its bytes");
        drop(file);
        assert_eq!(mem.used(), 0);
    }
}
