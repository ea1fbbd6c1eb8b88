//! Templates. Alone in its program: it sets an environment variable.

use pglite_oxide::{Pglite, QueryOptions, RowMode};
use serde_json::{Value, json};

fn first(db: &mut Pglite, sql: &str) -> Value {
    let options = QueryOptions {
        row_mode: Some(RowMode::Array),
        ..Default::default()
    };
    db.query(sql, &[], Some(&options))
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
        .rows[0][0]
        .clone()
}

/// A template migrates once, in this process and for others, and its forks do not know of each other.
#[test]
fn a_template_migrates_once_and_is_kept() {
    let kept = tempfile::tempdir().unwrap();
    // SAFETY: no other test of this program reads or writes the environment meanwhile that depends on this variable.
    unsafe { std::env::set_var("PGLITE_OXIDE_TEMPLATES", kept.path()) };
    let migrations = std::cell::Cell::new(0);
    let migrate = |db: &mut Pglite| {
        migrations.set(migrations.get() + 1);
        db.exec(
            "CREATE TABLE t (i int PRIMARY KEY, x text); INSERT INTO t SELECT g, 'x' FROM generate_series(1, 100) g",
            None,
        )
        .map(drop)
    };
    let template = Pglite::template("one", migrate).unwrap();
    for _ in 0..4 {
        let mut db = template.fork().unwrap();
        assert_eq!(first(&mut db, "SELECT count(*) FROM t"), json!(100));
        db.exec("DELETE FROM t", None).unwrap();
    }
    Pglite::template("one", migrate).unwrap();
    assert_eq!(migrations.get(), 1);
    assert!(Pglite::template("two", |db| db.exec("SELECT 1/0", None).map(drop)).is_err());
    Pglite::template("two", migrate).unwrap();
    assert_eq!(migrations.get(), 2);
    let files: Vec<_> = std::fs::read_dir(kept.path())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| {
            entry
                .path()
                .extension()
                .is_some_and(|end| end == "template")
        })
        .collect();
    assert_eq!(files.len(), 2);
    for file in files {
        let size = file.metadata().unwrap().len();
        assert!(size < 12 << 20, "only differences are kept: {size}");
    }
}
