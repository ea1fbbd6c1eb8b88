//! What a user's program may do: a database, an extension, a dump, psql.

use std::io::Read as _;

use pglite_oxide::{ExitStatus, Output, PgDumpOptions, Pglite, Result, extensions};

fn main() -> Result<()> {
    let mut db = Pglite::temporary()?;
    let answer = db.query("SELECT 6 * 7 AS n", &[], None)?;
    assert_eq!(answer.rows[0]["n"].as_i64(), Some(42));
    db.exec(
        "CREATE EXTENSION vector;
         CREATE TABLE item (id int, embedding vector(3));
         INSERT INTO item VALUES (1, '[1,2,3]'), (2, '[4,5,6]');",
        None,
    )?;
    let sql = "SELECT id FROM item ORDER BY embedding <-> '[4,4,4]' LIMIT 1";
    assert_eq!(db.query(sql, &[], None)?.rows[0]["id"].as_i64(), Some(2));
    for extension in extensions::ALL {
        let sql = "SELECT count(*) AS n FROM pg_available_extensions WHERE name = $1";
        if extension.is_created() {
            let found = db.query(sql, &[extension.sql_name().into()], None)?;
            assert_eq!(found.rows[0]["n"].as_i64(), Some(1), "{extension}");
        }
    }

    let dump = db.dump_sql(PgDumpOptions::new())?;
    assert!(dump.contains("COPY public.item"), "{dump}");
    let connector = db.connector();
    let psql = connector
        .program("psql")
        .args(["-Atc", "SELECT count(*) FROM item"]);
    let mut running = connector.run_program(psql.stdout(Output::Piped))?;
    let mut said = String::new();
    if let Some(mut stdout) = running.stdout.take() {
        stdout.read_to_string(&mut said).expect("psql's output");
    }
    assert_eq!(running.wait()?, ExitStatus::Exited(0));
    assert_eq!(said, "2\n");
    Ok(())
}
