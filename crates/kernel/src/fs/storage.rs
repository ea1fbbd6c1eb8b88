//! The storage seam for crash tests: a file system in memory that knows what would be left of it after a loss of power.
//!
//! **The model.** Changes of names and status (create, rename, unlink, mkdir, ...) form a journal in the order they were made, as on ext4 or
//! XFS: a loss of power keeps a prefix of it that reaches at least to the last `fsync` of anything. Written bytes and changes of length are durable once their own
//! file was synchronised (or written through `O_DSYNC`); of the others a random subset is kept, each write torn at 512-byte sectors.
//! What a file's data lost reads as what was there before.

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use super::mem::MemFs;
use super::{FileSystem, FsError, FsResult, FsUsage, OpenHow};
use crate::errno::Errno;
use crate::file::{DirEntry, File, FileKind, FileTime, Stat, SyncKind};
use crate::wait::lock;

/// Bytes that reach the disk together or not at all.
const SECTOR: usize = 512;

/// A change of names or status, with paths as they were then.
#[derive(Clone, Debug)]
enum NameChange {
    Create { path: String, mode: u32, inode: u64 },
    Mkdir { path: String, mode: u32 },
    Unlink { path: String },
    Rmdir { path: String },
    Rename { from: String, to: String },
    Link { from: String, to: String },
    Symlink { target: String, path: String },
    Socket { path: String, mode: u32 },
    Mode { path: String, mode: u32 },
}

/// A change of a file's bytes.
#[derive(Clone, Debug)]
enum DataChange {
    Write { offset: u64, bytes: Box<[u8]> },
    Length(u64),
}

#[derive(Clone, Debug)]
enum Change {
    Names(NameChange),
    Data { inode: u64, change: DataChange },
}

#[derive(Clone, Debug)]
struct Record {
    change: Change,
    durable: bool,
}

/// Inode numbers of a replayed tree by those of the live one. Files that were there at first have the same in both.
#[derive(Clone)]
struct Numbers {
    first_new: u64,
    new: HashMap<u64, u64>,
}

impl Numbers {
    /// `None` for a file whose creation was lost.
    fn find(&self, live: u64) -> Option<u64> {
        if live < self.first_new {
            Some(live)
        } else {
            self.new.get(&live).copied()
        }
    }
}

/// What is on the disk, and what is on its way there.
struct Disk {
    durable: MemFs,
    /// In the order made.
    journal: VecDeque<Record>,
    inodes: Numbers,
    /// Synchronisations until they begin to fail, and with what.
    fault: Option<(u64, Errno)>,
}

impl Disk {
    /// Marks one file's data, and all names so far, durable; writes out the part of the journal that is durable in one piece.
    fn commit(&mut self, inode: Option<u64>) -> Result<(), Errno> {
        if let Some((left, errno)) = &mut self.fault {
            match left.checked_sub(1) {
                Some(less) => *left = less,
                None => return Err(*errno),
            }
        }
        for record in &mut self.journal {
            record.durable |= match &record.change {
                Change::Names(_) => true,
                Change::Data { inode: of, .. } => inode.is_none_or(|inode| inode == *of),
            };
        }
        while self.journal.front().is_some_and(|record| record.durable)
            && let Some(record) = self.journal.pop_front()
        {
            replay(&self.durable, &mut self.inodes, &record.change);
        }
        Ok(())
    }
}

/// Applies a change to a tree. A change that no longer applies (it follows one that was lost) is lost too.
fn replay(tree: &MemFs, inodes: &mut Numbers, change: &Change) {
    let outcome = match change {
        Change::Names(NameChange::Create { path, mode, inode }) => {
            let how = OpenHow {
                write: true,
                create: true,
                mode: *mode | 0o600,
                ..OpenHow::default()
            };
            tree.open(path, &how).and_then(|file| {
                inodes.new.insert(*inode, file.stat()?.inode);
                Ok(file.set_mode(*mode)?)
            })
        }
        Change::Names(NameChange::Mkdir { path, mode }) => tree.mkdir(path, *mode),
        Change::Names(NameChange::Unlink { path }) => tree.unlink(path),
        Change::Names(NameChange::Rmdir { path }) => tree.rmdir(path),
        Change::Names(NameChange::Rename { from, to }) => tree.rename(from, to, false),
        Change::Names(NameChange::Link { from, to }) => tree.link(from, to),
        Change::Names(NameChange::Symlink { target, path }) => tree.symlink(target, path),
        Change::Names(NameChange::Socket { path, mode }) => tree.make_socket(path, *mode),
        Change::Names(NameChange::Mode { path, mode }) => tree.set_mode(path, *mode),
        Change::Data { inode, change } => {
            match (
                inodes
                    .find(*inode)
                    .and_then(|number| tree.file_by_number(number)),
                change,
            ) {
                // Unlinked, or its creation was lost.
                (None, _) => Ok(()),
                (Some(file), DataChange::Write { offset, bytes }) => file
                    .write_at(*offset, bytes)
                    .map(drop)
                    .map_err(FsError::Errno),
                (Some(file), DataChange::Length(len)) => file.set_len(*len).map_err(FsError::Errno),
            }
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(?change, ?error, "a change is lost");
    }
}

/// A small generator of random choices that tests can repeat (xorshift64*).
struct Choices(u64);

impl Choices {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

/// A file system in memory whose power can be cut.
pub struct PowerLossFs {
    live: MemFs,
    disk: Arc<Mutex<Disk>>,
}

impl PowerLossFs {
    /// Begins with the files of `tree`, all durable. `tree` itself is not written to.
    #[must_use]
    pub fn new(tree: &MemFs) -> Self {
        let live = tree.clone_tree();
        let inodes = Numbers {
            first_new: live.next_number(),
            new: HashMap::new(),
        };
        let disk = Disk {
            durable: live.clone_tree(),
            journal: VecDeque::new(),
            inodes,
            fault: None,
        };
        Self {
            live,
            disk: Arc::new(Mutex::new(disk)),
        }
    }

    /// What the disk holds if the power goes now. The same `seed` gives the same losses; the file system itself goes on unharmed, so that
    /// many cuts can be tried at one instant.
    #[must_use]
    pub fn cut_power(&self, seed: u64) -> MemFs {
        let disk = lock(&self.disk);
        let tree = disk.durable.clone_tree();
        let mut inodes = disk.inodes.clone();
        let mut choices = Choices(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let pending_names = disk
            .journal
            .iter()
            .filter(|record| !record.durable && matches!(record.change, Change::Names(_)))
            .count() as u64;
        let mut names_kept = choices.next() % (pending_names + 1);
        for record in &disk.journal {
            match &record.change {
                change if record.durable => replay(&tree, &mut inodes, change),
                change @ Change::Names(_) => {
                    if names_kept > 0 {
                        names_kept -= 1;
                        replay(&tree, &mut inodes, change);
                    }
                }
                Change::Data {
                    inode,
                    change: DataChange::Write { offset, bytes },
                } => {
                    tear(&mut choices, *offset, bytes, |offset, bytes| {
                        let change = DataChange::Write {
                            offset,
                            bytes: bytes.into(),
                        };
                        replay(
                            &tree,
                            &mut inodes,
                            &Change::Data {
                                inode: *inode,
                                change,
                            },
                        );
                    });
                }
                change @ Change::Data { .. } => {
                    if choices.coin() {
                        replay(&tree, &mut inodes, change);
                    }
                }
            }
        }
        tree
    }

    /// The files as the running guests see them, power never lost.
    #[must_use]
    pub fn live(&self) -> &MemFs {
        &self.live
    }

    /// Makes every synchronisation after the next `after` ones fail with `errno`, keeping nothing; `None` heals.
    pub fn fail_sync(&self, fault: Option<(u64, Errno)>) {
        lock(&self.disk).fault = fault;
    }

    /// Changes not yet written out.
    #[must_use]
    pub fn pending(&self) -> usize {
        lock(&self.disk).journal.len()
    }

    /// Makes a change of names and notes it, as one step.
    fn change(
        &self,
        change: NameChange,
        apply: impl FnOnce(&MemFs) -> FsResult<()>,
    ) -> FsResult<()> {
        let mut disk = lock(&self.disk);
        apply(&self.live)?;
        disk.journal.push_back(Record {
            change: Change::Names(change),
            durable: false,
        });
        Ok(())
    }
}

/// Keeps a whole write, none of it or some of its sectors.
fn tear(choices: &mut Choices, offset: u64, bytes: &[u8], mut keep: impl FnMut(u64, &[u8])) {
    match choices.next() % 4 {
        0 => {}
        1 => keep(offset, bytes),
        _ => {
            let mut at = 0;
            while at < bytes.len() {
                let within = usize::try_from((offset + at as u64) % SECTOR as u64).unwrap_or(0);
                let n = (SECTOR - within).min(bytes.len() - at);
                if choices.coin() {
                    keep(offset + at as u64, &bytes[at..at + n]);
                }
                at += n;
            }
        }
    }
}

impl FileSystem for PowerLossFs {
    fn open(&self, path: &str, how: &OpenHow) -> FsResult<Arc<dyn File>> {
        let mut disk = lock(&self.disk);
        let existed = match self.live.stat(path, false) {
            Ok(stat) => Some(stat.size),
            Err(_) => None,
        };
        let file = self.live.open(path, how)?;
        let stat = file.stat()?;
        if existed.is_none() {
            let change = NameChange::Create {
                path: path.to_owned(),
                mode: how.mode,
                inode: stat.inode,
            };
            disk.journal.push_back(Record {
                change: Change::Names(change),
                durable: false,
            });
        } else if how.truncate && existed != Some(0) {
            let change = Change::Data {
                inode: stat.inode,
                change: DataChange::Length(0),
            };
            disk.journal.push_back(Record {
                change,
                durable: false,
            });
        }
        drop(disk);
        let regular = stat.kind == FileKind::Regular;
        Ok(Arc::new(JournaledFile {
            file,
            inode: stat.inode,
            regular,
            path: path.to_owned(),
            through: how.synchronised,
            disk: Arc::clone(&self.disk),
        }))
    }

    fn stat(&self, path: &str, follow: bool) -> FsResult<Stat> {
        self.live.stat(path, follow)
    }

    fn mkdir(&self, path: &str, mode: u32) -> FsResult<()> {
        self.change(
            NameChange::Mkdir {
                path: path.to_owned(),
                mode,
            },
            |live| live.mkdir(path, mode),
        )
    }

    fn unlink(&self, path: &str) -> FsResult<()> {
        self.change(
            NameChange::Unlink {
                path: path.to_owned(),
            },
            |live| live.unlink(path),
        )
    }

    fn rmdir(&self, path: &str) -> FsResult<()> {
        self.change(
            NameChange::Rmdir {
                path: path.to_owned(),
            },
            |live| live.rmdir(path),
        )
    }

    fn rename(&self, from: &str, to: &str, no_replace: bool) -> FsResult<()> {
        let change = NameChange::Rename {
            from: from.to_owned(),
            to: to.to_owned(),
        };
        self.change(change, |live| live.rename(from, to, no_replace))
    }

    fn link(&self, from: &str, to: &str) -> FsResult<()> {
        self.change(
            NameChange::Link {
                from: from.to_owned(),
                to: to.to_owned(),
            },
            |live| live.link(from, to),
        )
    }

    fn symlink(&self, target: &str, path: &str) -> FsResult<()> {
        let change = NameChange::Symlink {
            target: target.to_owned(),
            path: path.to_owned(),
        };
        self.change(change, |live| live.symlink(target, path))
    }

    fn make_socket(&self, path: &str, mode: u32) -> FsResult<()> {
        self.change(
            NameChange::Socket {
                path: path.to_owned(),
                mode,
            },
            |live| live.make_socket(path, mode),
        )
    }

    fn read_link(&self, path: &str) -> FsResult<String> {
        self.live.read_link(path)
    }

    fn read_dir(&self, path: &str) -> FsResult<Vec<DirEntry>> {
        self.live.read_dir(path)
    }

    fn set_mode(&self, path: &str, mode: u32) -> FsResult<()> {
        self.change(
            NameChange::Mode {
                path: path.to_owned(),
                mode,
            },
            |live| live.set_mode(path, mode),
        )
    }

    /// Times are not part of the model.
    fn set_times(
        &self,
        path: &str,
        accessed: Option<FileTime>,
        modified: Option<FileTime>,
    ) -> FsResult<()> {
        self.live.set_times(path, accessed, modified)
    }

    fn usage(&self) -> FsResult<FsUsage> {
        self.live.usage()
    }

    fn sync(&self) -> FsResult<()> {
        Ok(lock(&self.disk).commit(None)?)
    }
}

/// An open file that notes what is written to it.
struct JournaledFile {
    file: Arc<dyn File>,
    inode: u64,
    regular: bool,
    path: String,
    /// Each write is durable before it returns.
    through: bool,
    disk: Arc<Mutex<Disk>>,
}

impl JournaledFile {
    fn note(&self, disk: &mut Disk, change: DataChange) -> Result<(), Errno> {
        disk.journal.push_back(Record {
            change: Change::Data {
                inode: self.inode,
                change,
            },
            durable: false,
        });
        if self.through {
            disk.commit(Some(self.inode))
        } else {
            Ok(())
        }
    }
}

impl File for JournaledFile {
    fn stat(&self) -> Result<Stat, Errno> {
        self.file.stat()
    }

    fn seekable(&self) -> bool {
        self.file.seekable()
    }

    fn size(&self) -> Result<u64, Errno> {
        self.file.size()
    }

    fn read(&self, out: &mut [u8]) -> Result<usize, Errno> {
        self.file.read(out)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize, Errno> {
        self.file.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<usize, Errno> {
        let mut disk = lock(&self.disk);
        let n = self.file.write_at(offset, bytes)?;
        self.note(
            &mut disk,
            DataChange::Write {
                offset,
                bytes: bytes[..n].into(),
            },
        )?;
        Ok(n)
    }

    fn append(&self, bytes: &[u8]) -> Result<(usize, u64), Errno> {
        let mut disk = lock(&self.disk);
        let (n, end) = self.file.append(bytes)?;
        self.note(
            &mut disk,
            DataChange::Write {
                offset: end - n as u64,
                bytes: bytes[..n].into(),
            },
        )?;
        Ok((n, end))
    }

    fn set_len(&self, len: u64) -> Result<(), Errno> {
        let mut disk = lock(&self.disk);
        self.file.set_len(len)?;
        self.note(&mut disk, DataChange::Length(len))
    }

    fn allocate(&self, offset: u64, len: u64, keep_size: bool) -> Result<(), Errno> {
        let mut disk = lock(&self.disk);
        let before = self.file.size()?;
        self.file.allocate(offset, len, keep_size)?;
        let after = self.file.size()?;
        if after == before {
            Ok(())
        } else {
            self.note(&mut disk, DataChange::Length(after))
        }
    }

    fn sync(&self, _kind: SyncKind) -> Result<(), Errno> {
        lock(&self.disk).commit(Some(self.inode))
    }

    fn set_mode(&self, mode: u32) -> Result<(), Errno> {
        let mut disk = lock(&self.disk);
        self.file.set_mode(mode)?;
        let change = NameChange::Mode {
            path: self.path.clone(),
            mode,
        };
        disk.journal.push_back(Record {
            change: Change::Names(change),
            durable: false,
        });
        Ok(())
    }

    fn set_times(
        &self,
        accessed: Option<FileTime>,
        modified: Option<FileTime>,
    ) -> Result<(), Errno> {
        self.file.set_times(accessed, modified)
    }

    fn read_dir(&self) -> Result<Vec<DirEntry>, Errno> {
        if self.regular {
            Err(Errno::ENOTDIR)
        } else {
            self.file.read_dir()
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREATE: OpenHow = OpenHow {
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

    fn open(fs: &dyn FileSystem, path: &str) -> Arc<dyn File> {
        fs.open(path, &CREATE)
            .unwrap_or_else(|error| panic!("{path}: {error:?}"))
    }

    fn contents(tree: &MemFs, path: &str) -> Option<Vec<u8>> {
        let file = tree
            .open(
                path,
                &OpenHow {
                    read: true,
                    ..OpenHow::default()
                },
            )
            .ok()?;
        let mut out = vec![0; usize::try_from(file.size().unwrap()).unwrap()];
        file.read_at(0, &mut out).unwrap();
        Some(out)
    }

    #[test]
    fn synchronised_data_survives_and_the_rest_may_not() {
        let fs = PowerLossFs::new(&MemFs::new());
        let file = open(&fs, "wal");
        file.write_at(0, &[1; 4096]).unwrap();
        file.sync(SyncKind::Data).unwrap();
        file.write_at(4096, &[2; 4096]).unwrap();
        file.write_at(0, &[3; 512]).unwrap();
        let mut shapes = std::collections::HashSet::new();
        for seed in 0..200 {
            let after = contents(&fs.cut_power(seed), "wal").expect("the file was synchronised");
            assert!(after.len() >= 4096);
            assert!(after[..512] == [1; 512] || after[..512] == [3; 512]);
            assert_eq!(after[512..4096], [1; 3584]);
            assert!(
                after[4096..]
                    .chunks(512)
                    .all(|sector| sector.iter().all(|&byte| byte == 2)
                        || sector.iter().all(|&byte| byte == 0))
            );
            shapes.insert(after);
        }
        assert!(shapes.len() > 20, "losses vary: {}", shapes.len());
        fs.sync().unwrap();
        assert_eq!(fs.pending(), 0);
    }

    #[test]
    fn a_durable_rename_shows_the_old_file_or_the_new() {
        let fs = PowerLossFs::new(&MemFs::new());
        let old = open(&fs, "current");
        old.write_at(0, b"old").unwrap();
        old.sync(SyncKind::All).unwrap();
        let new = open(&fs, "current.tmp");
        new.write_at(0, b"new").unwrap();
        new.sync(SyncKind::All).unwrap();
        fs.rename("current.tmp", "current", false).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..64 {
            seen.insert(contents(&fs.cut_power(seed), "current").unwrap());
        }
        assert_eq!(
            seen.into_iter().collect::<Vec<_>>(),
            [b"new".to_vec(), b"old".to_vec()]
        );
        let directory = fs
            .open(
                "",
                &OpenHow {
                    read: true,
                    ..OpenHow::default()
                },
            )
            .unwrap_or_else(|_| panic!("no root"));
        directory.sync(SyncKind::All).unwrap();
        assert!((0..64).all(|seed| contents(&fs.cut_power(seed), "current").unwrap() == b"new"));
    }

    #[test]
    fn a_file_that_was_never_synchronised_can_be_lost_or_empty() {
        let fs = PowerLossFs::new(&MemFs::new());
        open(&fs, "lost").write_at(0, b"data").unwrap();
        let outcomes: std::collections::HashSet<_> = (0..64)
            .map(|seed| contents(&fs.cut_power(seed), "lost"))
            .collect();
        assert!(
            outcomes.contains(&None)
                && outcomes.contains(&Some(Vec::new()))
                && outcomes.contains(&Some(b"data".to_vec()))
        );
    }

    #[test]
    fn a_failing_synchronisation_keeps_nothing() {
        let fs = PowerLossFs::new(&MemFs::new());
        let file = open(&fs, "f");
        file.write_at(0, b"x").unwrap();
        fs.fail_sync(Some((1, Errno::EIO)));
        assert_eq!(file.sync(SyncKind::Data), Ok(()));
        file.write_at(0, b"y").unwrap();
        assert_eq!(file.sync(SyncKind::Data), Err(Errno::EIO));
        assert!((0..64).any(|seed| contents(&fs.cut_power(seed), "f").unwrap() == b"x"));
    }
}
