//! Files of an image are unpacked when they are used: two copies that use them at once are what plain bytes would be.

use proptest::prelude::*;

use super::*;

/// Files in the image.
const FILES: usize = 3;
/// Where operations begin at most, some way past the ends of the files.
const REACH: usize = 60_000;

#[derive(Clone, Debug)]
enum Op {
    Read(usize, usize, usize),
    Write(usize, usize, usize, u8),
    SetLen(usize, usize),
    /// From one file and place to another.
    Clone(usize, usize, usize, usize, usize),
}

/// Places and lengths: any, and whole pages, which are treated apart.
fn place() -> impl Strategy<Value = usize> {
    prop_oneof![0..REACH, (0..REACH / 8192).prop_map(|page| page * 8192)]
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![1..300_usize, 1..20_000_usize, Just(8192_usize)]
}

fn op() -> impl Strategy<Value = Op> {
    let file = || 0..FILES;
    prop_oneof![
        (file(), place(), length()).prop_map(|(file, at, len)| Op::Read(file, at, len)),
        (file(), place(), length(), any::<u8>())
            .prop_map(|(file, at, len, byte)| Op::Write(file, at, len, byte)),
        (file(), place()).prop_map(|(file, len)| Op::SetLen(file, len)),
        (file(), place(), file(), place(), length())
            .prop_map(|(from, at, to, place, len)| Op::Clone(from, at, to, place, len)),
    ]
}

/// Runs of bytes, some of them zeros.
fn contents() -> impl Strategy<Value = Vec<u8>> {
    let run = (
        0..20_000_usize,
        prop_oneof![Just(None), any::<u8>().prop_map(Some)],
    );
    prop::collection::vec(run, 0..4).prop_map(|runs| {
        let mut all = Vec::new();
        for (len, first) in runs {
            all.extend((0..len).map(|n| match first {
                None => 0,
                // Too irregular to be one repeated page.
                Some(first) => first.wrapping_add((n / 7 % 251) as u8),
            }));
        }
        all
    })
}

fn name(file: usize) -> String {
    format!("/tmp/{file}")
}

fn fill(model: &mut Vec<u8>, len: usize) {
    if model.len() < len {
        model.resize(len, 0);
    }
}

/// Does it to a file system and to the plain bytes.
fn apply(op: &Op, vfs: &Vfs, model: &mut [Vec<u8>]) {
    let file = |number: usize| open(vfs, &name(number)).file.clone();
    match *op {
        Op::Read(number, at, len) => {
            let mut out = vec![1; len];
            let n = file(number).read_at(at as u64, &mut out).unwrap();
            let bytes = &model[number];
            let expected = &bytes[at.min(bytes.len())..(at + len).min(bytes.len())];
            assert!(out[..n] == *expected, "{op:?}");
        }
        Op::Write(number, at, len, byte) => {
            let written = file(number).write_at(at as u64, &vec![byte; len]);
            assert_eq!(written, Ok(len));
            fill(&mut model[number], at + len);
            model[number][at..at + len].fill(byte);
        }
        Op::SetLen(number, len) => {
            file(number).set_len(len as u64).unwrap();
            model[number].resize(len, 0);
        }
        Op::Clone(from, at, to, place, len) => {
            let (source, target) = (file(from), file(to));
            let n = target.clone_range(&*source, at as u64, place as u64, len as u64);
            let bytes = &model[from];
            let bytes = bytes[at.min(bytes.len())..(at + len).min(bytes.len())].to_vec();
            assert_eq!(n, Ok(bytes.len() as u64), "{op:?}");
            if !bytes.is_empty() {
                fill(&mut model[to], place + bytes.len());
                model[to][place..place + bytes.len()].copy_from_slice(&bytes);
            }
        }
    }
}

fn same(vfs: &Vfs, model: &[Vec<u8>]) {
    for (number, bytes) in model.iter().enumerate() {
        assert!(contents_of(vfs, number) == *bytes, "file {number}");
    }
}

fn contents_of(vfs: &Vfs, number: usize) -> Vec<u8> {
    super::contents(vfs, &name(number))
}

/// A kernel that has only files.
fn image_of(files: &[Vec<u8>]) -> Vec<u8> {
    let vfs = Vfs::new();
    vfs.mkdir("/", "/tmp", 0o1777).unwrap();
    for (number, bytes) in files.iter().enumerate() {
        vfs.write(&name(number), 0o600, bytes).unwrap();
    }
    let kernel = Kernel::new(KernelOptions {
        machine: machine(),
        vfs,
        net: Net::new(),
        test_hooks: false,
        trace: false,
        memory_limit: None,
    });
    let copy = kernel.duplicate(&CopyOptions::default()).unwrap();
    copy.kernel.save(&SaveOptions::default()).unwrap()
}

/// It again, from memory or from a file.
fn loaded(image: Vec<u8>, on_disk: bool) -> Arc<Kernel> {
    let image = if on_disk {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &image).unwrap();
        ImageBytes::of_file(file, 0).unwrap()
    } else {
        ImageBytes::new(image)
    };
    let options = LoadOptions {
        machine: machine(),
        files: &[],
        trees: &[],
        bases: &[],
        test_hooks: false,
        trace: false,
    };
    Kernel::load(&image, &options).unwrap().kernel
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn two_copies_use_the_files_at_once(
        files in prop::collection::vec(contents(), FILES),
        ops in [prop::collection::vec(op(), 1..30), prop::collection::vec(op(), 1..30)],
        on_disk in any::<bool>(),
    ) {
        let frozen = loaded(image_of(&files), on_disk);
        std::thread::scope(|scope| {
            for ops in &ops {
                let copy = frozen.duplicate(&CopyOptions::default()).unwrap().kernel;
                let mut model = files.clone();
                scope.spawn(move || {
                    for op in ops {
                        apply(op, copy.vfs(), &mut model);
                    }
                    same(copy.vfs(), &model);
                });
            }
        });
        same(frozen.vfs(), &files);
        // What was unpacked and what was not goes into another image.
        let again = frozen.save(&SaveOptions::default()).unwrap();
        same(loaded(again, !on_disk).vfs(), &files);
    }
}

#[test]
fn files_that_cannot_be_read_any_more_are_an_error_of_their_own() {
    let files = [vec![7; 50_000], Vec::new(), vec![9; 200_000]];
    let image = image_of(&files);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &image).unwrap();
    let bytes = ImageBytes::of_file(file.reopen().unwrap(), 0).unwrap();
    let options = LoadOptions {
        machine: machine(),
        files: &[],
        trees: &[],
        bases: &[],
        test_hooks: false,
        trace: false,
    };
    let kernel = Kernel::load(&bytes, &options).unwrap().kernel;
    assert!(contents_of(kernel.vfs(), 0) == files[0], "unpacked now");
    // In place, which whoever keeps images does not do.
    file.as_file().set_len(10).unwrap();
    assert!(contents_of(kernel.vfs(), 0) == files[0]);
    let last = open(kernel.vfs(), &name(2));
    let mut out = [0; 10];
    assert_eq!(last.file.read_at(190_000, &mut out), Err(Errno::EIO));
    assert_eq!(last.file.write_at(190_000, b"x"), Err(Errno::EIO));
    // Nothing of what was there is needed for these.
    assert_eq!(last.file.write_at(8192 * 20, &[1; 8192]), Ok(8192));
    last.file.set_len(0).unwrap();
    assert_eq!(last.file.read_at(0, &mut out), Ok(0));
}
