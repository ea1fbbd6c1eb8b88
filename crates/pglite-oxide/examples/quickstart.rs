//! The main job in a minute: an embedded PostgreSQL, first through the direct API, then through SQLx over TCP.

use pglite_oxide::{Pglite, PgliteServer};
use serde_json::json;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("direct:");
    let mut db = Pglite::temporary()?;
    db.exec(
        "CREATE TABLE planet (name text PRIMARY KEY, moons int)",
        None,
    )?;
    db.transaction(|tx| {
        for (name, moons) in [("Earth", 1), ("Mars", 2), ("Jupiter", 95)] {
            tx.query(
                "INSERT INTO planet VALUES ($1, $2)",
                &[json!(name), json!(moons)],
                None,
            )?;
        }
        Ok(())
    })?;
    for row in db
        .query(
            "SELECT name, moons FROM planet WHERE moons > $1 ORDER BY moons",
            &[json!(1)],
            None,
        )?
        .rows
    {
        println!("  {row}");
    }
    // A second session on the same cluster, in another thread.
    let connector = db.connector();
    let count = std::thread::spawn(move || -> pglite_oxide::Result<_> {
        connector
            .connect()?
            .query("SELECT count(*) AS n FROM planet", &[], None)
    });
    println!(
        "  another session sees {}",
        count.join().map_err(|_| "the thread panicked")??.rows[0]
    );
    db.close()?;

    println!("SQLx:");
    let server = PgliteServer::temporary_tcp()?;
    tokio::runtime::Runtime::new()?.block_on(through_sqlx(&server.database_url()))?;
    server.shutdown()?;
    Ok(())
}

async fn through_sqlx(url: &str) -> Result<(), sqlx::Error> {
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(10)
        .connect(url)
        .await?;
    let (version,): (String,) = sqlx::query_as("SELECT version()").fetch_one(&pool).await?;
    println!("  {version}");
    let mut transactions = Vec::new();
    for _ in 0..10 {
        transactions.push(pool.begin().await?);
    }
    let (backends,): (i64,) = sqlx::query_as(
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'",
    )
    .fetch_one(&mut *transactions[0])
    .await?;
    println!("  {backends} connections at the same time");
    for transaction in transactions {
        transaction.commit().await?;
    }
    pool.close().await;
    Ok(())
}
