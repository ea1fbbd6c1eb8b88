//! The tree image's reader against its writer, and against bytes that no writer made.
#![cfg(test)]

use pglite_oxide_assets::packed::{CHUNK, PIECE, pack};
use pglite_oxide_assets::{ImageError, Kind, Packed, Tree, TreeWriter, WriteError, image};
use sha2::{Digest, Sha256};

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn sample() -> Vec<u8> {
    let mut tree = TreeWriter::new();
    tree.directory("", 0o700).unwrap();
    tree.directory("base", 0o700).unwrap();
    tree.directory("base/1", 0o700).unwrap();
    tree.directory("base/5", 0o700).unwrap();
    let page: Vec<u8> = (0..8192_u32).map(|at| (at % 251) as u8 + 1).collect();
    tree.file("base/1/1247", 0o600, page.clone()).unwrap();
    tree.file("base/5/1247", 0o600, page).unwrap();
    tree.file("PG_VERSION", 0o600, b"18\n".to_vec()).unwrap();
    tree.file("empty", 0o600, Vec::new()).unwrap();
    let mut wal = vec![0; 1 << 20];
    wal[5000] = 1;
    tree.file("wal", 0o600, wal).unwrap();
    tree.file("zeros", 0o640, vec![0; 100_000]).unwrap();
    tree.symlink("link", "base/1").unwrap();
    tree.finish(sha256).unwrap()
}

#[test]
fn reads_back_what_was_written() {
    let bytes = sample();
    let tree = Tree::parse("sample", &bytes).unwrap();
    assert_eq!(tree.len(), 11);
    assert_eq!(tree.fingerprint(), sha256(tree.fingerprinted()));
    let paths: Vec<_> = tree.entries().map(|entry| entry.path).collect();
    assert!(paths.is_sorted());
    let version = tree.get("PG_VERSION").unwrap();
    assert_eq!(
        (version.kind, version.mode, version.len, version.contents),
        (Kind::File, 0o600, 3, &b"18\n"[..])
    );
    assert_eq!(tree.get("empty").unwrap().len, 0);
    let zeros = tree.get("zeros").unwrap();
    assert_eq!(
        (zeros.len, zeros.contents.len(), zeros.mode),
        (100_000, 0, 0o640)
    );
    assert_eq!(tree.get("link").unwrap().contents, b"base/1");
    assert_eq!(tree.get("base").unwrap().kind, Kind::Directory);
    assert!(tree.get("base/2").is_none());
}

#[test]
fn trailing_zeros_and_copies_are_not_stored_and_pages_are_aligned() {
    let bytes = sample();
    let tree = Tree::parse("sample", &bytes).unwrap();
    let wal = tree.get("wal").unwrap();
    assert_eq!((wal.len, wal.contents.len()), (1 << 20, 8192));
    let (one, five) = (
        tree.get("base/1/1247").unwrap(),
        tree.get("base/5/1247").unwrap(),
    );
    assert!(std::ptr::eq(one.contents, five.contents));
    let offset = one.contents.as_ptr().addr() - bytes.as_ptr().addr();
    assert!(offset.is_multiple_of(image::ALIGNMENT));
    assert!(bytes.len() < 64 * 1024, "{} bytes", bytes.len());
}

#[test]
fn packed_images_have_the_same_entries_and_give_the_image_back() {
    let bytes = sample();
    let packed: &'static [u8] = pack("sample", &bytes).unwrap().leak();
    assert!(packed.len() < bytes.len() / 3, "{}", packed.len());
    let found = Packed::parse("sample", packed).unwrap();
    assert_eq!(found.unpack().unwrap(), bytes);
    let tree = Tree::parse("sample", &bytes).unwrap();
    assert_eq!(found.fingerprint(), tree.fingerprint());
    let entries: Vec<_> = found.entries().collect();
    assert_eq!(entries.len(), tree.len());
    for (stored, entry) in entries.into_iter().zip(tree.entries()) {
        assert_eq!(
            (stored.path, stored.kind, stored.mode, stored.len),
            (entry.path, entry.kind, entry.mode, entry.len)
        );
        assert_eq!(found.read(stored.range).unwrap(), entry.contents);
    }
}

/// A page that lay in two pieces could not be had from one.
#[test]
fn no_page_of_a_file_lies_in_two_pieces() {
    let mut tree = TreeWriter::new();
    for n in 0..300_usize {
        let contents = vec![n as u8 | 1; (n * 7919) % 40_000];
        tree.file(&format!("{n:03}"), 0o600, contents).unwrap();
    }
    let bytes = tree.finish(sha256).unwrap();
    let packed: &'static [u8] = pack("sizes", &bytes).unwrap().leak();
    let found = Packed::parse("sizes", packed).unwrap();
    for stored in found.entries() {
        for at in stored.range.clone().step_by(CHUNK) {
            let last = (at + CHUNK).min(stored.range.end) - 1;
            assert_eq!(at / PIECE, last / PIECE, "{stored:?}");
        }
    }
}

#[test]
fn damaged_packed_images_are_refused_or_read_without_a_panic() {
    let good = pack("sample", &sample()).unwrap();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..5_000 {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let mut bytes = good.clone();
        let at = (random >> 33) as usize % bytes.len();
        bytes[at] ^= (random >> 20) as u8 | 1;
        bytes.truncate(bytes.len() - (random >> 60) as usize / 4);
        let Ok(found) = Packed::parse("fuzz", bytes.leak()) else {
            continue;
        };
        for stored in found.entries() {
            let _ = found.read(stored.range);
        }
        let _ = found.unpack();
    }
    assert!(pack("no image", &[0; 100]).is_err());
    assert!(Packed::parse("nothing", &[]).is_err());
}

#[test]
fn order_of_calls_does_not_matter() {
    let build = |names: [&str; 3]| {
        let mut tree = TreeWriter::new();
        for name in names {
            tree.file(name, 0o644, name.as_bytes().to_vec()).unwrap();
        }
        tree.finish(sha256).unwrap()
    };
    assert_eq!(build(["a", "b", "c"]), build(["c", "a", "b"]));
}

#[test]
fn the_writer_refuses_what_the_reader_would() {
    let mut tree = TreeWriter::new();
    for path in ["/a", "a/", "a//b", ".", "a/../b", "a\0b"] {
        assert!(
            matches!(tree.file(path, 0, vec![]), Err(WriteError::Path(_))),
            "{path:?}"
        );
    }
    tree.file("a", 0o600, vec![]).unwrap();
    assert!(matches!(
        tree.directory("a", 0o700),
        Err(WriteError::Twice(_))
    ));
    tree.file("a/b", 0o600, vec![]).unwrap();
    assert!(matches!(tree.finish(sha256), Err(WriteError::NoParent(_))));
}

#[test]
fn messages_name_image_wanted_and_found() {
    let bytes = sample();
    let error = Tree::parse("template.img", &bytes[..bytes.len() - 1]).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("template.img") && text.contains("wanted") && text.contains("found"),
        "{text}"
    );
    let mut wrong = bytes.clone();
    wrong[0] = b'X';
    assert!(
        matches!(Tree::parse("x", &wrong), Err(ImageError::Field { field, .. }) if field == "magic")
    );
}

/// Arbitrary bytes, and every kind of damage to the tables of a good image, give an error or a tree whose entries can be read.
#[test]
fn damaged_images_never_panic() {
    let good = sample();
    let tables = image::HEADER_LEN + 11 * image::ENTRY_LEN + 80;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let read = |bytes: &[u8]| {
        if let Ok(tree) = Tree::parse("fuzz", bytes) {
            let total: u64 = tree
                .entries()
                .map(|entry| entry.contents.len() as u64 + entry.path.len() as u64)
                .sum();
            assert!(total < 1 << 40);
            let _ = tree.get("base/1/1247");
        }
    };
    for _ in 0..200_000 {
        let mut bytes = good.clone();
        bytes.truncate(tables + 8192);
        let total = bytes.len() as u64;
        bytes[8..16].copy_from_slice(&total.to_le_bytes());
        for _ in 0..=(next() % 4) {
            let at = usize::try_from(next() % tables as u64).unwrap();
            bytes[at] = match next() % 3 {
                0 => 0xff,
                1 => 0,
                _ => (next() & 0xff) as u8,
            };
        }
        read(&bytes);
    }
    for len in 0..2000 {
        let mut bytes: Vec<u8> = (0..len).map(|_| (next() & 0xff) as u8).collect();
        read(&bytes);
        if len >= 8 {
            bytes[..8].copy_from_slice(&image::MAGIC);
            read(&bytes);
        }
        if len >= 16 {
            bytes[8..16].copy_from_slice(&(len as u64).to_le_bytes());
            read(&bytes);
        }
    }
}
