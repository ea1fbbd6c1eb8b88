//! tokio-postgres on a fork of a migrated template: no server has to be started, and each test has a database to itself.

use pglite_oxide::{Pglite, PgliteServer, Template};
use tokio_postgres::NoTls;

const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/sqlx/0001_shop.sql"),
    include_str!("../migrations/sqlx/0002_more.sql"),
];

/// Migrated once for all tests of all processes.
fn template() -> Template {
    Pglite::template(MIGRATIONS.concat(), |db| {
        MIGRATIONS
            .iter()
            .try_for_each(|sql| db.exec(sql, None).map(drop))
    })
    .unwrap()
}

async fn only_row_of_a_fork(label: &str) -> i64 {
    let server = PgliteServer::builder()
        .template(&template())
        .start()
        .unwrap();
    let (client, connection) = tokio_postgres::connect(&server.database_url(), NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
        .execute("INSERT INTO product (label) VALUES ($1)", &[&label])
        .await
        .unwrap();
    client
        .query_one("SELECT count(*) FROM product", &[])
        .await
        .unwrap()
        .get(0)
}

#[tokio::test]
async fn one() {
    assert_eq!(only_row_of_a_fork("one").await, 1);
}

#[tokio::test]
async fn two() {
    assert_eq!(only_row_of_a_fork("two").await, 1);
}
