//! A program that loads the pack of examples/roman, whose file it is given.

use pglite_oxide::{Pglite, Result};

fn main() -> Result<()> {
    let pack = std::env::args_os().nth(1).expect("the pack's file");
    let mut db = Pglite::builder().extension_pack(pack).open()?;
    db.exec("CREATE EXTENSION roman", None)?;
    let answer = db.query("SELECT to_roman(2026) AS year", &[], None)?;
    assert_eq!(answer.rows[0]["year"].as_str(), Some("MMXXVI"));
    Ok(())
}
