//! The server alone: without extensions, client programs and packs.

use pglite_oxide::{Pglite, Result};

fn main() -> Result<()> {
    let mut db = Pglite::temporary()?;
    let answer = db.query("SELECT 6 * 7 AS n", &[], None)?;
    assert_eq!(answer.rows[0]["n"].as_i64(), Some(42));
    let answer = db.query(
        "SELECT count(*) AS n FROM pg_available_extensions WHERE name <> 'plpgsql'",
        &[],
        None,
    )?;
    assert_eq!(answer.rows[0]["n"].as_i64(), Some(0));
    Ok(())
}
