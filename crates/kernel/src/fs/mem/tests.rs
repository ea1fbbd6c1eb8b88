//! What is particular to memory; `fs/model_tests.rs` compares the rest with the host.

use std::time::Instant;

use super::*;
use crate::fs::host::HostFs;

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

fn open(fs: &dyn FileSystem, path: &str) -> Arc<dyn File> {
    fs.open(path, &HOW)
        .unwrap_or_else(|error| panic!("{path}: {error:?}"))
}

fn text(file: &dyn File) -> String {
    let mut out = vec![0; usize::try_from(file.size().unwrap()).unwrap()];
    file.read_at(0, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn an_unlinked_file_lives_while_open_and_a_rename_does_not_touch_it() {
    let fs = MemFs::new();
    let (old, new) = (open(&fs, "old"), open(&fs, "new"));
    old.write_at(0, b"old").unwrap();
    new.write_at(0, b"new").unwrap();
    flat(fs.rename("new", "old", false)).unwrap();
    assert_eq!(
        (text(&*old).as_str(), text(&*open(&fs, "old")).as_str()),
        ("old", "new")
    );
    flat(fs.unlink("old")).unwrap();
    new.write_at(3, b"er").unwrap();
    assert_eq!(text(&*new), "newer");
    assert_eq!(new.stat().unwrap().links, 0);
    assert!(fs.stat("old", false).is_err());
}

#[test]
fn a_removed_directory_lists_nothing() {
    let fs = MemFs::new();
    fs.add_dir("d", 0o700).unwrap();
    let directory = fs
        .open(
            "d",
            &OpenHow {
                read: true,
                ..OpenHow::default()
            },
        )
        .unwrap_or_else(|_| panic!("no d"));
    flat(fs.rmdir("d")).unwrap();
    assert!(directory.read_dir().unwrap().is_empty());
    assert_eq!(flat(fs.open("d/x", &HOW)).err(), Some(Errno::ENOENT));
}

#[test]
fn clones_are_independent_and_share_bytes() {
    static BIG: [u8; 100_000] = [5; 100_000];
    let template = MemFs::new();
    template.add_static("base/1/1259", 0o600, &BIG).unwrap();
    template
        .add_file("postgresql.conf", 0o600, b"a = 1\n".to_vec())
        .unwrap();
    let (a, b) = (template.clone_tree(), template.clone_tree());
    open(&a, "base/1/1259").write_at(8192, b"a").unwrap();
    open(&b, "postgresql.conf").append(b"b = 2\n").unwrap();
    flat(b.unlink("base/1/1259")).unwrap();
    let mut out = [0; 2];
    open(&template, "base/1/1259")
        .read_at(8192, &mut out)
        .unwrap();
    assert_eq!(out, [5, 5]);
    open(&a, "base/1/1259").read_at(8192, &mut out).unwrap();
    assert_eq!(out, [b'a', 5]);
    assert_eq!(text(&*open(&template, "postgresql.conf")), "a = 1\n");
    assert_eq!(a.used(), template.used() + 8192);
}

#[test]
fn files_are_written_from_many_threads() {
    let fs = MemFs::new();
    let file = open(&fs, "shared");
    std::thread::scope(|scope| {
        for number in 0..4_u8 {
            let file = &file;
            scope.spawn(move || {
                for page in 0..64_u64 {
                    file.write_at((page * 4 + u64::from(number)) * 8192, &[number + 1; 8192])
                        .unwrap();
                    file.append(&[]).unwrap();
                }
            });
        }
    });
    let mut page = [0; 8192];
    for at in 0..256 {
        file.read_at(at * 8192, &mut page).unwrap();
        assert_eq!(page, [u8::try_from(at % 4).unwrap() + 1; 8192]);
    }
}

/// `cargo test -p pglite-oxide-kernel --release fs::mem -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn page_reads_and_writes_take() {
    let scratch = tempfile::tempdir_in(if std::path::Path::new("/dev/shm").is_dir() {
        "/dev/shm"
    } else {
        "."
    })
    .unwrap();
    let mem = MemFs::new();
    let host = HostFs::open(scratch.path()).unwrap();
    const PAGES: u64 = 4096;
    let mut page = [1; 8192];
    let time = |what: &str, rounds: u64, run: &mut dyn FnMut(u64)| {
        let start = Instant::now();
        for round in 0..rounds {
            run(round);
        }
        println!(
            "{what:40} {:8.0} ns",
            start.elapsed().as_secs_f64() * 1e9 / rounds as f64
        );
    };
    for (name, fs) in [("memory", &mem as &dyn FileSystem), ("host tmpfs", &host)] {
        let file = open(fs, "relation");
        time(&format!("{name}: write a new page"), PAGES, &mut |n| {
            file.write_at(n * 8192, &page).unwrap();
        });
        time(
            &format!("{name}: write a page again"),
            10 * PAGES,
            &mut |n| {
                file.write_at(n * 7919 % PAGES * 8192, &page).unwrap();
            },
        );
        time(&format!("{name}: read a page"), 10 * PAGES, &mut |n| {
            file.read_at(n * 7919 % PAGES * 8192, &mut page).unwrap();
        });
        time(&format!("{name}: size"), 100 * PAGES, &mut |_| {
            file.size().unwrap();
        });
        time(&format!("{name}: open, close"), PAGES, &mut |_| {
            drop(open(fs, "relation"));
        });
    }
    let clone = mem.clone_tree();
    let file = open(&clone, "relation");
    time("memory: first write to a shared page", PAGES, &mut |n| {
        file.write_at(n * 8192, &page).unwrap();
    });
    let clone = mem.clone_tree();
    let file = open(&clone, "relation");
    time(
        "memory: first 100 bytes to a shared page",
        PAGES,
        &mut |n| {
            file.write_at(n * 8192, &page[..100]).unwrap();
        },
    );
    for number in 0..1000 {
        mem.add_file(&format!("base/5/{number}"), 0o600, vec![1; 16_384])
            .unwrap();
    }
    time("memory: clone a tree of 1000 files", 100, &mut |_| {
        drop(mem.clone_tree());
    });
}

#[test]
fn packed_files_of_the_program_are_unpacked_when_they_are_read_and_cost_nothing_until_written() {
    let contents: Vec<u8> = (0..40_000_u32).map(|at| (at / 100) as u8 | 1).collect();
    let (mut packed, mut lengths) = (Vec::new(), Vec::new());
    for piece in contents.chunks(16_384) {
        let block = lz4_flex::block::compress(piece);
        lengths.push(u32::try_from(block.len()).unwrap());
        packed.extend(block);
    }
    let bytes = crate::image::ImageBytes::new(packed);
    let pieces = || Pieces::new(&bytes, &lengths, 16_384, contents.len()).unwrap();
    let fs = MemFs::new();
    fs.add_packed("all", 0o600, &pieces(), 0..40_000).unwrap();
    fs.add_packed("part", 0o600, &pieces(), 8192..20_000)
        .unwrap();
    fs.add_packed("none", 0o600, &pieces(), 0..0).unwrap();
    let across = fs.add_packed("across", 0o600, &pieces(), 12_000..20_000);
    assert_eq!(across, Err(Errno::EINVAL), "a page in two pieces");
    let beyond = fs.add_packed("beyond", 0o600, &pieces(), 32_768..50_000);
    assert_eq!(beyond, Err(Errno::EINVAL));
    let copy = fs.clone_tree();
    let read = |fs: &MemFs, path: &str| {
        let file = open(fs, path);
        let mut out = vec![0; usize::try_from(file.size().unwrap()).unwrap()];
        assert_eq!(file.read_at(0, &mut out), Ok(out.len()));
        out
    };
    assert_eq!(read(&fs, "part"), contents[8192..20_000]);
    assert_eq!(fs.superblock.budget.used(), 0);
    open(&copy, "all").write_at(10_000, b"changed").unwrap();
    assert_eq!(read(&fs, "all"), contents);
    assert_eq!(&read(&copy, "all")[10_000..10_007], b"changed");
    assert_eq!(&read(&copy, "all")[10_007..], &contents[10_007..]);
    assert!(read(&fs, "none").is_empty());
    assert!(Pieces::new(&bytes, &lengths[..2], 16_384, contents.len()).is_err());
}
