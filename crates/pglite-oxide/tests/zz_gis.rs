mod common;
use common::*;
use pglite_oxide::{Pglite, extensions};
#[test]
fn t() {
    let mut db = Pglite::builder().extension(extensions::POSTGIS).open().unwrap();
    for sql in std::fs::read_to_string("/tmp/q.sql").unwrap().lines() {
        let b = std::time::Instant::now();
        match db.exec(sql, None) { Ok(r) => println!("OK {:?} {} {:?}", b.elapsed(), &sql[..100.min(sql.len())], r.last().map(|r| r.rows.clone())), Err(e) => println!("{e}: {}", &sql[..90.min(sql.len())]) }
    }
    let _ = rows(&mut db, "SELECT 1");
}
