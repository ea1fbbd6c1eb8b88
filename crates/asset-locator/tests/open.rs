//! Reading a directory of assets fails closed.

use std::fs;

use pglite_oxide_asset_locator::{LocateError, MANIFEST_FILE, PREBUILT, open, prebuilt};

const GOOD: &str = r#"{"version": 4, "fingerprint": "f", "target": "t", "inputs": [], "steps": [], "libraries": {"postgres": "lib/libp.a"}, "extensions": {},
    "images": {"share": {"file": "share.img", "fingerprint": "0", "bytes": 3}}, "clusters": {}, "sizes": {}}"#;

fn directory(manifest: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("lib")).unwrap();
    fs::write(dir.path().join("lib/libp.a"), "x").unwrap();
    fs::write(dir.path().join("share.img"), "xyz").unwrap();
    fs::write(dir.path().join(MANIFEST_FILE), manifest).unwrap();
    dir
}

#[test]
fn finds_what_is_there_and_names_what_is_not() {
    let dir = directory(GOOD);
    let assets = open(dir.path()).unwrap();
    assert!(assets.library("postgres").unwrap().ends_with("lib/libp.a"));
    assert_eq!(assets.image("share").unwrap().1.bytes, 3);
    let error = assets.library("initdb").unwrap_err().to_string();
    assert!(
        error.contains("initdb")
            && error.contains("it has postgres")
            && error.contains("cargo xtask assets"),
        "{error}"
    );
    assert!(matches!(
        assets.image("template"),
        Err(LocateError::Lacks { .. })
    ));
}

#[test]
fn refuses_another_version_a_broken_manifest_and_missing_files() {
    let dir = directory(&GOOD.replace("\"version\": 4", "\"version\": 1"));
    let error = open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("wanted 4") && error.contains('1'), "{error}");
    assert!(matches!(
        open(directory("{").path()),
        Err(LocateError::Form { .. })
    ));
    assert!(matches!(
        open(directory("{\"version\": 4}").path()),
        Err(LocateError::Form { .. })
    ));
    let dir = directory(GOOD);
    fs::remove_file(dir.path().join("lib/libp.a")).unwrap();
    assert!(open(dir.path()).unwrap_err().to_string().contains("libp.a"));
    assert!(matches!(
        open(&dir.path().join("nowhere")),
        Err(LocateError::Read { .. })
    ));
}

#[test]
fn a_published_package_names_the_targets_it_has() {
    let package = tempfile::tempdir().unwrap();
    assert!(prebuilt(package.path(), "one").unwrap().is_none());
    for target in ["one", "two"] {
        let dir = package.path().join(PREBUILT).join(target);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(MANIFEST_FILE), GOOD).unwrap();
    }
    let dir = prebuilt(package.path(), "two").unwrap().unwrap();
    assert!(dir.ends_with("prebuilt/two"));
    let error = prebuilt(package.path(), "three").unwrap_err().to_string();
    assert!(error.contains("for one, two, not for three"), "{error}");
}
