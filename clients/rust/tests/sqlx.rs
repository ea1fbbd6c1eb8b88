//! SQLx: `#[sqlx::test]` creates a database for each test and runs the migrations in it.

use std::time::Duration;

use bigdecimal::BigDecimal;
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use clients::LABEL;
use futures_util::TryStreamExt as _;
use ipnetwork::IpNetwork;
use serde_json::{Value, json};
use sqlx::postgres::types::PgInterval;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{Acquire as _, ConnectOptions as _, Connection as _, Executor as _, PgPool, Row as _};
use uuid::Uuid;

#[derive(Debug, Clone, Copy, PartialEq, sqlx::Type)]
#[sqlx(type_name = "mood", rename_all = "lowercase")]
enum Mood {
    Sad,
    Happy,
}

fn code(error: sqlx::Error) -> String {
    let error = error.into_database_error().expect("PostgreSQL's");
    error.code().unwrap_or_default().into_owned()
}

#[derive(Debug, PartialEq, sqlx::FromRow)]
struct Product {
    label: String,
    small: Option<i16>,
    normal: Option<i32>,
    amount: Option<BigDecimal>,
    ratio: Option<f64>,
    raw: Option<Vec<u8>>,
    flag: Option<bool>,
    key: Option<Uuid>,
    day: Option<NaiveDate>,
    clock: Option<NaiveTime>,
    moment: Option<DateTime<Utc>>,
    span: Option<PgInterval>,
    doc: Option<Value>,
    docb: Option<Value>,
    numbers: Option<Vec<Option<i32>>>,
    words: Option<Vec<String>>,
    address: Option<IpNetwork>,
    feeling: Option<Mood>,
}

#[sqlx::test(migrations = "migrations/sqlx")]
async fn types(pool: PgPool) -> sqlx::Result<()> {
    let doc = json!({ "a": [1, 2.5, null, true], "ü": { "nested": "yes" } });
    let full = Product {
        label: LABEL.to_owned(),
        small: Some(-7),
        normal: Some(2_000_000_000),
        amount: Some("12345678.9012".parse().unwrap()),
        ratio: Some(0.1),
        raw: Some((0..=255).collect()),
        flag: Some(true),
        key: Some(Uuid::new_v4()),
        day: NaiveDate::from_ymd_opt(1999, 12, 31),
        clock: NaiveTime::from_hms_micro_opt(23, 59, 59, 999_999),
        moment: DateTime::from_timestamp_micros(1_709_209_845_123_456),
        span: Some(PgInterval {
            months: 14,
            days: 3,
            microseconds: 4_000_005,
        }),
        doc: Some(doc.clone()),
        docb: Some(doc),
        numbers: Some(vec![Some(1), None, Some(3)]),
        words: Some(vec!["a".into(), "b \"c\"".into(), "{d,e}".into()]),
        address: Some("192.168.0.1/32".parse().unwrap()),
        feeling: Some(Mood::Happy),
    };
    sqlx::query(
        "INSERT INTO product (label, small, normal, amount, ratio, raw, flag, key, day, clock, moment, span, doc, docb, numbers, words, address, feeling)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
    )
    .bind(&full.label)
    .bind(full.small)
    .bind(full.normal)
    .bind(&full.amount)
    .bind(full.ratio)
    .bind(&full.raw)
    .bind(full.flag)
    .bind(full.key)
    .bind(full.day)
    .bind(full.clock)
    .bind(full.moment)
    .bind(&full.span)
    .bind(&full.doc)
    .bind(&full.docb)
    .bind(&full.numbers)
    .bind(&full.words)
    .bind(full.address)
    .bind(full.feeling)
    .execute(&pool)
    .await?;
    let got: Product = sqlx::query_as("SELECT * FROM product")
        .fetch_one(&pool)
        .await?;
    assert_eq!(got, full);
    let got: Product =
        sqlx::query_as("INSERT INTO product (label, amount) VALUES ('empty', $1) RETURNING *")
            .bind(None::<BigDecimal>)
            .fetch_one(&pool)
            .await?;
    assert_eq!((got.feeling, got.numbers, got.doc), (None, None, None));
    Ok(())
}

#[sqlx::test(migrations = "migrations/sqlx")]
async fn each_test_has_a_database_of_its_own(pool: PgPool) -> sqlx::Result<()> {
    let name: String = sqlx::query_scalar("SELECT current_database()")
        .fetch_one(&pool)
        .await?;
    assert!(name.starts_with("_sqlx_test_"), "{name}");
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM product")
        .fetch_one(&pool)
        .await?;
    assert_eq!(rows, 0);
    Ok(())
}

#[sqlx::test(migrations = "migrations/sqlx")]
async fn transactions_savepoints_and_sqlstate(pool: PgPool) -> sqlx::Result<()> {
    let mut outer = pool.begin().await?;
    outer
        .execute("INSERT INTO product (label) VALUES ('one')")
        .await?;
    let mut inner = outer.begin().await?;
    let refused = inner
        .execute("INSERT INTO product (label) VALUES ('one')")
        .await
        .unwrap_err();
    assert_eq!(code(refused), "23505");
    inner.rollback().await?;
    outer
        .execute("INSERT INTO product (label) VALUES ('two')")
        .await?;
    // Dropped, so rolled back.
    drop(outer);
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM product")
        .fetch_one(&pool)
        .await?;
    assert_eq!(rows, 0);
    Ok(())
}

#[sqlx::test(migrations = "migrations/sqlx")]
async fn copy_both_ways_and_streams(pool: PgPool) -> sqlx::Result<()> {
    let mut session = pool.acquire().await?;
    let mut copy = session
        .copy_in_raw("COPY product (label) FROM STDIN")
        .await?;
    let lines: String = (0..20_000).map(|i| format!("row {i}\n")).collect();
    copy.send(lines.as_bytes()).await?;
    assert_eq!(copy.finish().await?, 20_000);
    let out: Vec<_> = session
        .copy_out_raw("COPY (SELECT label FROM product ORDER BY id) TO STDOUT")
        .await?
        .try_collect()
        .await?;
    assert_eq!(out.concat(), lines.as_bytes());
    let mut rows =
        sqlx::query("SELECT repeat('x', 1000) FROM generate_series(1, 20000)").fetch(&mut *session);
    let mut bytes = 0;
    while let Some(row) = rows.try_next().await? {
        bytes += row.get::<&str, _>(0).len();
    }
    assert_eq!(bytes, 20_000_000);
    Ok(())
}

#[sqlx::test]
async fn notifications_pools_and_reconnects(
    options: PgPoolOptions,
    at: PgConnectOptions,
) -> sqlx::Result<()> {
    let pool = options.max_connections(16).connect_with(at.clone()).await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen("events").await?;
    pool.execute("NOTIFY events, 'hello'").await?;
    let heard = tokio::time::timeout(Duration::from_secs(10), listener.recv())
        .await
        .expect("in time")?;
    assert_eq!(heard.payload(), "hello");
    drop(listener);
    let tasks: Vec<_> = (0..200_i32)
        .map(|i| {
            let pool = pool.clone();
            tokio::spawn(async move {
                sqlx::query_scalar::<_, i32>("SELECT $1 FROM pg_sleep(0.005)")
                    .bind(i)
                    .fetch_one(&pool)
                    .await
            })
        })
        .collect();
    for (i, task) in (0_i32..).zip(tasks) {
        assert_eq!(task.await.expect("no panic")?, i);
    }
    let mut other = at.connect().await?;
    other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()").await?;
    assert_eq!(
        sqlx::query_scalar::<_, i32>("SELECT 1")
            .fetch_one(&pool)
            .await?,
        1
    );
    // A statement that is given up: the server's own timeout ends it.
    other.execute("SET statement_timeout = '200ms'").await?;
    assert_eq!(
        code(other.execute("SELECT pg_sleep(60)").await.unwrap_err()),
        "57014"
    );
    other.close().await
}

#[tokio::test]
async fn migrations_and_sslmodes() -> sqlx::Result<()> {
    let pool = PgPool::connect(&clients::url()).await?;
    pool.execute("DROP SCHEMA IF EXISTS m CASCADE; CREATE SCHEMA m")
        .await?;
    let own = clients::url() + "&options[search_path]=m";
    let pool = PgPool::connect(&own).await?;
    static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("migrations/sqlx");
    MIGRATOR.run(&pool).await.expect("they run");
    MIGRATOR
        .run(&pool)
        .await
        .expect("there is nothing left to do");
    assert_eq!(
        sqlx::query_scalar::<_, i64>("SELECT count(*) FROM m._sqlx_migrations")
            .fetch_one(&pool)
            .await?,
        2
    );
    for mode in ["disable", "allow", "prefer"] {
        PgPool::connect(&clients::with_sslmode(mode))
            .await?
            .close()
            .await;
    }
    if !clients::is_unix() {
        let refused = PgPool::connect(&clients::with_sslmode("require"))
            .await
            .unwrap_err()
            .to_string();
        assert!(refused.to_lowercase().contains("tls"), "{refused}");
    }
    Ok(())
}
