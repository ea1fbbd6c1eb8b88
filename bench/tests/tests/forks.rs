//! The suite on forks of a template.

use pglite_oxide::{Pglite, QueryOptions, Result, RowMode};
use pglite_oxide_bench_tests::{MIGRATIONS, statements};
use seq_macro::seq;
use serde_json::json;

fn migrate(db: &mut Pglite) -> Result<()> {
    for migration in MIGRATIONS {
        db.exec(migration, None)?;
    }
    Ok(())
}

fn test(number: usize) {
    let mut db = Pglite::template(MIGRATIONS.concat(), migrate)
        .unwrap()
        .fork()
        .unwrap();
    let options = QueryOptions {
        row_mode: Some(RowMode::Array),
        ..Default::default()
    };
    for (sql, expected) in statements(number) {
        let found = db.query(&sql, &[], Some(&options)).unwrap();
        assert_eq!(found.rows, [json!([expected])], "{sql}");
    }
}

seq!(N in 0..200 {
    #(
        #[test]
        #[ignore = "a bench: cargo xtask bench tests"]
        fn test_~N() {
            test(N);
        }
    )*
});
