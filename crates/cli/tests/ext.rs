//! `pglite ext build`, from C to a running database, and packs that no database may start with.
//!
//! Builds with the cache of `cargo xtask assets`.
#![cfg(feature = "ext")]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use pglite_oxide::{Error, Pack, PackError, Pglite, PgliteServer};
use pglite_oxide_pack::{Manifest, write};

const PGLITE: &str = env!("CARGO_BIN_EXE_pglite");

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/roman")
}

fn build(dir: &Path, output: &Path) -> Result<(), String> {
    let made = Command::new(PGLITE)
        .args(["ext", "build"])
        .arg(dir)
        .arg("-o")
        .arg(output)
        .output()
        .unwrap();
    if made.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&made.stderr).into_owned())
}

/// The example's pack, built once for all tests.
fn roman() -> &'static Path {
    static PACK: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    &PACK
        .get_or_init(|| {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("roman.pgpack");
            build(&example(), &path).unwrap();
            (dir, path)
        })
        .1
}

fn value(db: &mut Pglite, sql: &str) -> serde_json::Value {
    let rows = db.query(sql, &[], None).unwrap().rows;
    rows[0]
        .as_object()
        .unwrap()
        .values()
        .next()
        .unwrap()
        .clone()
}

#[test]
fn the_examples_own_regression_test() {
    let script = File::open(example().join("sql/roman.sql")).unwrap();
    let output = Command::new(PGLITE)
        .args(["psql", "--extension-pack"])
        .arg(roman())
        .args(["--", "-X", "-a", "-q"])
        .stdin(Stdio::from(script))
        .output()
        .unwrap();
    // As pg_regress has it: one file of both streams. Nothing is written to both at a time, so errors can be put where psql's echo says that they belong.
    let mut errors = String::from_utf8(output.stderr).unwrap();
    errors.retain(|c| c != '\r');
    let expected = std::fs::read_to_string(example().join("expected/roman.out")).unwrap();
    let is_error = |line: &&str| {
        ["ERROR:", "HINT:", "DETAIL:"]
            .iter()
            .any(|start| line.starts_with(start))
    };
    let (told, answered): (Vec<&str>, Vec<&str>) = expected.lines().partition(is_error);
    assert_eq!(
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .collect::<Vec<_>>(),
        answered
    );
    assert_eq!(errors.lines().collect::<Vec<_>>(), told);
}

#[test]
fn restarted_forked_served_and_preloaded_databases_have_it() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("db");
    let open = || {
        Pglite::builder()
            .path(&root)
            .extension_pack(roman())
            .open()
            .unwrap()
    };
    let mut db = open();
    db.exec(
        "CREATE EXTENSION roman; CREATE TABLE year (n int); INSERT INTO year VALUES (1994);
         CREATE INDEX ON year (to_roman(n))",
        None,
    )
    .unwrap();
    db.close().unwrap();
    drop(db);
    let mut db = open();
    assert_eq!(value(&mut db, "SELECT to_roman(n) FROM year"), "MCMXCIV");
    drop(db);
    // Without the pack, the database opens; what needs the library says which.
    let mut db = Pglite::open(&root).unwrap();
    assert_eq!(value(&mut db, "SELECT n FROM year"), 1994);
    let error = db
        .query("SELECT to_roman(n) FROM year", &[], None)
        .unwrap_err();
    assert!(error.to_string().contains("roman"), "{error}");
    drop(db);

    let mut db = Pglite::builder().extension_pack(roman()).open().unwrap();
    db.exec("CREATE EXTENSION roman", None).unwrap();
    // Loaded into the session that is copied.
    assert_eq!(
        value(&mut db, "SELECT try_from_roman('IIII')"),
        serde_json::Value::Null
    );
    let mut fork = db.fork().unwrap();
    assert_eq!(value(&mut fork, "SELECT from_roman('MMXXVI')"), 2026);
    assert_eq!(
        value(&mut fork, "SELECT try_from_roman('x!')"),
        serde_json::Value::Null
    );
    let mut other = fork.connector().connect().unwrap();
    assert_eq!(value(&mut other, "SELECT to_roman(4)"), "IV");
    let snapshot = db.snapshot().unwrap();
    let mut opened = snapshot.open().unwrap();
    assert_eq!(value(&mut opened, "SELECT to_roman(9)"), "IX");
    // The second of its kind starts from a snapshot that the process keeps.
    for _ in 0..3 {
        let mut db = Pglite::builder().extension_pack(roman()).open().unwrap();
        db.exec("CREATE EXTENSION roman", None).unwrap();
        assert_eq!(value(&mut db, "SELECT to_roman(14)"), "XIV");
    }
    // One without is another kind.
    let mut plain = Pglite::temporary().unwrap();
    assert!(plain.exec("CREATE EXTENSION roman", None).is_err());

    let server = PgliteServer::builder()
        .extension_pack(roman())
        .start()
        .unwrap();
    let mut session = server.connector().connect().unwrap();
    session.exec("CREATE EXTENSION roman", None).unwrap();
    assert_eq!(value(&mut session, "SELECT to_roman(3)"), "III");

    let mut manifest = read(roman()).0;
    manifest.preload.push("roman".to_owned());
    let preloaded = save(dir.path(), manifest, &read(roman()).1);
    let mut db = Pglite::builder()
        .postgres_config("roman.lower_case", "on")
        .extension_pack(preloaded)
        .open()
        .unwrap();
    assert_eq!(value(&mut db, "SHOW shared_preload_libraries"), "roman");
    db.exec("CREATE EXTENSION roman", None).unwrap();
    assert_eq!(value(&mut db, "SELECT to_roman(21)"), "xxi");
}

/// Contents by path.
type Files = BTreeMap<String, Vec<u8>>;

/// A pack taken apart.
fn read(path: &Path) -> (Manifest, Files) {
    let pack = Pack::open(path).unwrap();
    let files = pack.files().iter();
    (
        pack.manifest().clone(),
        files
            .map(|file| (file.path.clone(), file.contents.clone()))
            .collect(),
    )
}

fn save(dir: &Path, manifest: Manifest, files: &Files) -> PathBuf {
    let path = dir.join("changed.pgpack");
    std::fs::write(&path, write(manifest, files).unwrap()).unwrap();
    path
}

/// Replaces bytes in the shared object by others of the same length.
fn patched(files: &mut Files, from: &[u8], to: &[u8]) {
    let object = files.get_mut("lib/roman.so").unwrap();
    let at = object
        .windows(from.len())
        .position(|found| found == from)
        .unwrap();
    object[at..at + to.len()].copy_from_slice(to);
}

/// What a start with the pack fails with. Nothing may be left of the attempt.
fn refused(packs: &[&Path]) -> (String, std::sync::Arc<PackError>) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("db");
    let mut builder = Pglite::builder().path(&root);
    for pack in packs {
        builder = builder.extension_pack(pack);
    }
    let Err(error) = builder.open() else {
        panic!("a database started with {packs:?}");
    };
    assert!(!root.exists(), "a directory was made");
    match error {
        Error::Pack(found) => (found.to_string(), found),
        other => panic!("{other:?}"),
    }
}

#[test]
fn packs_that_do_not_fit_are_refused_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let (manifest, files) = read(roman());
    let change = |change: &dyn Fn(&mut Manifest, &mut Files)| {
        let (mut manifest, mut files) = (manifest.clone(), files.clone());
        change(&mut manifest, &mut files);
        refused(&[&save(dir.path(), manifest, &files)])
    };
    let wrong = "0123456789abcdef".repeat(4);

    let (text, error) = change(&|manifest, _| manifest.core.clone_from(&wrong));
    assert!(matches!(&*error, PackError::Core { found, .. } if *found == wrong));
    assert!(
        text.contains("roman") && text.contains("build it again"),
        "{text}"
    );
    // The manifest says the right one, its library another.
    let (_, error) = change(&|manifest, files| {
        patched(files, manifest.core.as_bytes(), wrong.as_bytes());
    });
    assert!(matches!(&*error, PackError::Core { found, .. } if *found == wrong));

    let (text, error) = change(&|manifest, _| manifest.target = "s390x-ibm-os".to_owned());
    assert!(matches!(&*error, PackError::Target { found, .. } if found == "s390x-ibm-os"));
    assert!(text.contains("--target"), "{text}");

    let (text, error) = change(&|_, files| {
        patched(
            files,
            b"\0construct_array_builtin\0",
            b"\0construct_array_bulitin\0",
        );
    });
    assert!(
        matches!(&*error, PackError::MissingSymbol { library, symbols, .. }
            if library == "roman" && symbols == &["construct_array_bulitin"]),
        "{error:?}"
    );
    assert!(text.contains("construct_array_bulitin"), "{text}");

    let (text, error) = change(&|manifest, _| manifest.requires.push("nowhere".to_owned()));
    assert!(
        matches!(&*error, PackError::MissingDependency { dependency, .. } if dependency == "nowhere")
    );
    assert!(text.contains("ext-nowhere"), "{text}");

    // Damaged before it was packed: the hashes are right.
    let (_, error) = change(&|_, files| {
        files.insert(
            "lib/roman.so".to_owned(),
            b"\x7fELF and nothing else".to_vec(),
        );
    });
    assert!(matches!(&*error, PackError::Load { library, .. } if library == "roman"));
    // Of another descriptor's form: the first word of it.
    let (_, error) = change(&|_, files| {
        patched(files, b"pgl_pack_library\0", b"pgl_pack_libarry\0");
    });
    assert!(matches!(&*error, PackError::Load { .. }), "{error:?}");

    for taken in [
        "share/extension/plpgsql.control",
        "share/extension/cube.control",
    ] {
        let (text, error) = change(&|_, files| {
            files.insert(taken.to_owned(), b"mine".to_vec());
        });
        assert!(
            matches!(&*error, PackError::Conflict { what, other, .. } if what == taken && other == "this program"),
            "{error:?}"
        );
        assert!(text.contains(taken), "{text}");
    }
    let mut twin = manifest.clone();
    twin.version = "2".to_owned();
    let (_, error) = refused(&[roman(), &save(dir.path(), twin, &files)]);
    assert!(matches!(&*error, PackError::Conflict { other, .. } if other == "the pack roman"));

    let bytes = std::fs::read(roman()).unwrap();
    let cut = dir.path().join("cut.pgpack");
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    assert!(matches!(&*refused(&[&cut]).1, PackError::Truncated { .. }));
    // The good one beside a bad one is not used either, and still good afterwards.
    assert!(matches!(
        &*refused(&[roman(), &cut]).1,
        PackError::Truncated { .. }
    ));
    let mut db = Pglite::builder()
        .extension_pack(roman())
        .extension_pack(roman())
        .open()
        .unwrap();
    db.exec("CREATE EXTENSION roman", None).unwrap();
    assert_eq!(value(&mut db, "SELECT to_roman(5)"), "V");
}

#[test]
fn what_a_pack_requires_may_come_with_another() {
    let dir = tempfile::tempdir().unwrap();
    let (mut manifest, _) = read(roman());
    manifest.name = "upon_roman".to_owned();
    manifest.requires = ["roman", "cube", "plpgsql"].map(str::to_owned).into();
    manifest.libraries.clear();
    let files = [
        (
            "share/extension/upon_roman.control",
            "default_version = '1'\nrequires = 'roman'\n",
        ),
        (
            "share/extension/upon_roman--1.sql",
            "CREATE FUNCTION year() RETURNS text RETURN to_roman(2026);",
        ),
    ]
    .map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()));
    let upon = save(dir.path(), manifest, &files.into());
    let (_, error) = refused(&[&upon]);
    assert!(
        matches!(&*error, PackError::MissingDependency { dependency, .. } if dependency == "roman")
    );
    let mut db = Pglite::builder()
        .extension_pack(upon)
        .extension_pack(roman())
        .open()
        .unwrap();
    db.exec("CREATE EXTENSION upon_roman CASCADE", None)
        .unwrap();
    assert_eq!(value(&mut db, "SELECT year()"), "MMXXVI");
}

#[test]
fn what_cannot_be_built_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let failed = |makefile: &str, source: &str| {
        std::fs::write(dir.join("Makefile"), makefile).unwrap();
        std::fs::write(dir.join("a.c"), source).unwrap();
        build(dir, &dir.join("a.pgpack")).unwrap_err()
    };
    const END: &str = "\nPGXS := $(shell $(PG_CONFIG) --pgxs)\ninclude $(PGXS)\n";
    let source = "#include \"postgres.h\"\n#include \"fmgr.h\"\nPG_MODULE_MAGIC;\n";
    let error = failed(
        &format!("MODULES = a{END}"),
        &format!("{source}int f(void) {{ return no_such_thing; }}"),
    );
    assert!(error.contains("no_such_thing"), "{error}");
    let error = failed(
        &format!("MODULES = a{END}"),
        &format!(
            "{source}extern int server_lacks(void); PGDLLEXPORT int f(void);\nint f(void) {{ return server_lacks(); }}"
        ),
    );
    assert!(error.contains("the server has no server_lacks"), "{error}");
    let error = failed(&format!("MODULES = a\nSHLIB_LINK = -lcurl{END}"), source);
    assert!(error.contains("-lcurl"), "{error}");
    let error = failed(&format!("MODULES = a\nEXTENSION = a{END}"), source);
    assert!(error.contains("a.control"), "{error}");
    let error = failed("all:\n\ttrue\n", source);
    assert!(error.contains("PGXS"), "{error}");
    std::fs::remove_file(dir.join("Makefile")).unwrap();
    let error = build(dir, &dir.join("a.pgpack")).unwrap_err();
    assert!(error.contains("there is no Makefile"), "{error}");
    assert!(!dir.join("a.pgpack").exists() && !dir.join("a.o").exists());
}
