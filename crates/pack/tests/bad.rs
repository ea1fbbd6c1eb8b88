//! Packs that must be refused, each for what is wrong with it.

use std::collections::BTreeMap;
use std::io::Write as _;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use pglite_oxide_pack::{FORMAT, Library, MAX_BYTES, Manifest, Pack, PackError, write};
use tar::EntryType;

fn manifest() -> Manifest {
    Manifest {
        format: FORMAT,
        name: "demo".to_owned(),
        version: "1.0".to_owned(),
        core: "c".repeat(64),
        target: "x86_64-unknown-linux-gnu".to_owned(),
        libraries: vec![Library {
            name: "demo".to_owned(),
            file: "lib/demo.so".to_owned(),
        }],
        requires: vec!["cube".to_owned()],
        preload: Vec::new(),
        files: BTreeMap::new(),
    }
}

fn files() -> BTreeMap<String, Vec<u8>> {
    let files: [(&str, &[u8]); 3] = [
        ("lib/demo.so", b"not really a shared object"),
        ("share/extension/demo.control", b"default_version = '1.0'\n"),
        ("share/extension/demo--1.0.sql", b"SELECT 1;\n"),
    ];
    files
        .map(|(path, bytes)| (path.to_owned(), bytes.to_vec()))
        .into()
}

fn good() -> Vec<u8> {
    write(manifest(), &files()).unwrap()
}

fn refused(bytes: &[u8]) -> PackError {
    match Pack::read("demo.pgpack", bytes) {
        Ok(pack) => panic!("{pack:?} was read"),
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains("demo.pgpack"), "which one? {text}");
            error
        }
    }
}

/// One member of an archive, written as it is: the library that writes packs would not write these.
struct Member {
    path: Vec<u8>,
    kind: EntryType,
    contents: Vec<u8>,
    /// What its header says, if not the truth.
    claimed: Option<u64>,
    link: &'static str,
}

impl Member {
    fn file(path: &str, contents: &[u8]) -> Self {
        Self {
            path: path.as_bytes().to_vec(),
            kind: EntryType::Regular,
            contents: contents.to_vec(),
            claimed: None,
            link: "",
        }
    }
}

fn archive(members: &[Member]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    for member in members {
        let mut header = tar::Header::new_ustar();
        let raw = header.as_old_mut();
        raw.name[..member.path.len()].copy_from_slice(&member.path);
        raw.linkname[..member.link.len()].copy_from_slice(member.link.as_bytes());
        header.set_entry_type(member.kind);
        header.set_mode(0o644);
        header.set_size(member.claimed.unwrap_or(member.contents.len() as u64));
        header.set_cksum();
        out.write_all(header.as_bytes()).unwrap();
        out.write_all(&member.contents).unwrap();
        let padding = member.contents.len().next_multiple_of(512) - member.contents.len();
        out.write_all(&vec![0; padding]).unwrap();
    }
    out.write_all(&[0; 1024]).unwrap();
    out.finish().unwrap()
}

/// The members of a good pack.
fn members() -> Vec<Member> {
    let bytes = good();
    let pack = Pack::read("good", &bytes).unwrap();
    let text = serde_json::to_vec(pack.manifest()).unwrap();
    let files = pack.files().iter();
    [Member::file("manifest.json", &text)]
        .into_iter()
        .chain(files.map(|file| Member::file(&file.path, &file.contents)))
        .collect()
}

/// The members with a changed manifest.
fn with_manifest(change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
    let mut members = members();
    let mut value = serde_json::from_slice(&members[0].contents).unwrap();
    change(&mut value);
    members[0].contents = serde_json::to_vec(&value).unwrap();
    archive(&members)
}

#[test]
fn a_good_one_is_read_and_is_always_the_same() {
    let pack = Pack::read("demo.pgpack", &good()).unwrap();
    assert_eq!(pack.manifest().requires, ["cube"]);
    assert_eq!(
        pack.file("share/extension/demo--1.0.sql"),
        Some(b"SELECT 1;\n".as_slice())
    );
    assert_eq!(pack.files().len(), 3);
    assert_eq!(good(), good());
    Pack::read("by hand", &archive(&members())).unwrap();
}

#[test]
fn truncated_anywhere() {
    let bytes = good();
    for length in 2..bytes.len() {
        let error = refused(&bytes[..length]);
        assert!(
            matches!(error, PackError::Truncated { .. }),
            "{length}: {error:?}"
        );
    }
    for bytes in [&bytes[..0], b"PK\x03\x04", b"#!/bin/sh"] {
        assert!(matches!(refused(bytes), PackError::NotAPack { .. }));
    }
    // Whole as a file, cut off before it was compressed.
    let mut plain = Vec::new();
    std::io::copy(&mut GzDecoder::new(bytes.as_slice()), &mut plain).unwrap();
    for length in [
        0,
        100,
        512,
        1000,
        plain.len() - 2048,
        plain.len() - 1024 - 300,
    ] {
        let mut out = GzEncoder::new(Vec::new(), Compression::fast());
        out.write_all(&plain[..length]).unwrap();
        let error = refused(&out.finish().unwrap());
        assert!(
            matches!(error, PackError::Truncated { .. }),
            "{length} of {}: {error:?}",
            plain.len()
        );
    }
}

#[test]
fn any_changed_byte_is_noticed() {
    let bytes = good();
    let original = Pack::read("demo.pgpack", &bytes).unwrap();
    // The head of a gzip file has a few bytes without meaning for its contents.
    for at in 10..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        // Compressed streams have a few bits that mean nothing: what is unpacked is the same.
        if let Ok(pack) = Pack::read("demo.pgpack", &changed) {
            assert_eq!(pack.manifest(), original.manifest());
            let [found, wanted] = [&pack, &original]
                .map(|pack| pack.files().iter().map(|file| file.contents.clone()));
            assert!(found.eq(wanted));
        }
    }
    for at in bytes.len() - 8..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        refused(&changed);
    }
}

#[test]
fn another_file_than_the_packed_one() {
    let mut members = members();
    let last = members.last_mut().unwrap();
    last.contents[0] ^= 1;
    let path = String::from_utf8(last.path.clone()).unwrap();
    assert!(matches!(
        refused(&archive(&members)),
        PackError::Hash { member, found, wanted, .. } if member == path && found != wanted
    ));
}

#[test]
fn paths_that_lead_elsewhere() {
    for (path, wanted) in [
        ("../../etc/cron.d/x", "leads out"),
        ("share/../../x", "leads out"),
        ("/etc/passwd", "is absolute"),
        ("share//x", "empty component"),
        ("./share/x", "empty component"),
        ("share\\..\\x", "no part of a plain path"),
    ] {
        let mut members = members();
        members.push(Member::file(path, b"x"));
        let error = refused(&archive(&members));
        assert!(
            matches!(&error, PackError::Path { member, .. } if member == path),
            "{path}: {error:?}"
        );
        assert!(error.to_string().contains(wanted), "{path}: {error}");
        // Listed, it is refused, too: with the manifest, before any member.
        let error = refused(&with_manifest(|value| {
            value["files"][path] = serde_json::json!({"bytes": 1, "sha256": ""});
        }));
        assert!(matches!(error, PackError::Manifest { .. }), "{error:?}");
    }
    let mut members = members();
    members[1].path = b"lib/\xff.so".to_vec();
    assert!(matches!(
        refused(&archive(&members)),
        PackError::Path {
            reason: "is not UTF-8",
            ..
        }
    ));
}

#[test]
fn members_that_are_no_plain_files() {
    for (kind, wanted) in [
        (EntryType::Symlink, "symbolic link"),
        (EntryType::Link, "hard link"),
        (EntryType::Directory, "directory"),
        (EntryType::Char, "device"),
        (EntryType::Fifo, "device"),
        (EntryType::GNULongName, "GNULongName"),
        (EntryType::XHeader, "XHeader"),
        (EntryType::GNUSparse, "GNUSparse"),
    ] {
        // In the place of a file that is listed.
        let mut members = members();
        members[1].kind = kind;
        members[1].contents.clear();
        members[1].link = "/etc/passwd";
        let error = refused(&archive(&members));
        assert!(
            matches!(&error, PackError::Kind { kind, .. } if kind.contains(wanted)),
            "{kind:?}: {error:?}"
        );
    }
}

#[test]
fn claims_of_size_that_are_too_large() {
    for claimed in [MAX_BYTES + 1, 1 << 40, u64::MAX >> 1] {
        for at in [0, 1] {
            let mut members = members();
            members[at].claimed = Some(claimed);
            let error = refused(&archive(&members));
            assert!(
                matches!(error, PackError::TooLarge { claimed: found, .. } if found == claimed),
                "{error:?}"
            );
        }
    }
    // A claim within the limit, which the manifest shares, for bytes that are not there: no memory is taken for it.
    let mut members = members();
    members[1].claimed = Some(MAX_BYTES - 4096);
    let mut value: serde_json::Value = serde_json::from_slice(&members[0].contents).unwrap();
    value["files"]["lib/demo.so"]["bytes"] = (MAX_BYTES - 4096).into();
    members[0].contents = serde_json::to_vec(&value).unwrap();
    assert!(matches!(
        refused(&archive(&members)),
        PackError::Truncated { .. }
    ));
}

#[test]
fn one_that_unpacks_to_too_much() {
    let mut members = members();
    // Zeros compress to a thousandth. Each file is within the limit and all are listed, with the right hashes.
    let zeros = vec![0; usize::try_from(MAX_BYTES / 2).unwrap()];
    let mut value: serde_json::Value = serde_json::from_slice(&members[0].contents).unwrap();
    for name in ["share/a", "share/b"] {
        value["files"][name] = serde_json::json!({"bytes": zeros.len(), "sha256": sha256(&zeros)});
        members.push(Member::file(name, &zeros));
    }
    members[0].contents = serde_json::to_vec(&value).unwrap();
    let bytes = archive(&members);
    assert!(bytes.len() < 4 << 20);
    assert!(matches!(refused(&bytes), PackError::TooLarge { .. }));
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[test]
fn stale_and_strange_manifests() {
    let format = |found: u32| with_manifest(|value| value["format"] = found.into());
    for found in [0, FORMAT + 1] {
        assert!(matches!(
            refused(&format(found)),
            PackError::Format { found: told, wanted: FORMAT, .. } if told == found
        ));
    }
    // A later form may have other fields; it is its version that is told.
    let later = with_manifest(|value| {
        *value = serde_json::json!({"format": 99, "anything": true});
    });
    assert!(matches!(
        refused(&later),
        PackError::Format { found: 99, .. }
    ));
    let unlisted = with_manifest(|value| {
        let files = value["files"].as_object_mut().unwrap();
        files.remove("share/extension/demo.control");
    });
    assert!(
        matches!(refused(&unlisted), PackError::Stale { reason, .. } if reason.contains("demo.control"))
    );
    let shorter = with_manifest(|value| {
        value["files"]["share/extension/demo.control"]["bytes"] = 3.into();
    });
    assert!(matches!(refused(&shorter), PackError::Stale { reason, .. } if reason.contains("3")));
    let mut twice = members();
    twice.push(Member::file(
        "share/extension/demo--1.0.sql",
        b"SELECT 1;\n",
    ));
    assert!(
        matches!(refused(&archive(&twice)), PackError::Stale { reason, .. } if reason.contains("twice"))
    );
    let mut late = members();
    late.rotate_left(1);
    assert!(matches!(
        refused(&archive(&late)),
        PackError::NotAPack { .. }
    ));
    let changes: [fn(&mut serde_json::Value); 7] = [
        |value| value["name"] = "../x".into(),
        |value| value["libraries"][0]["name"] = "a/b".into(),
        |value| value["libraries"][0]["file"] = "share/extension/demo.control".into(),
        |value| value["libraries"] = serde_json::json!([]),
        |value| value["preload"] = serde_json::json!(["other"]),
        |value| value["more"] = 1.into(),
        |value| value["requires"] = "cube".into(),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let error = refused(&with_manifest(change));
        assert!(
            matches!(error, PackError::Manifest { .. }),
            "{number}: {error:?}"
        );
    }
}

#[test]
fn a_file_that_is_not_there() {
    let error = Pack::open("/nowhere/demo.pgpack").unwrap_err();
    assert!(matches!(error, PackError::Read { .. }));
    assert!(error.to_string().contains("/nowhere/demo.pgpack"));
}
