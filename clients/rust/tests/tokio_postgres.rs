//! tokio-postgres, alone and in the pools deadpool and bb8.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use clients::LABEL;
use futures_util::{SinkExt as _, StreamExt as _, TryStreamExt as _, stream};
use tokio_postgres::binary_copy::{BinaryCopyInWriter, BinaryCopyOutStream};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, IsolationLevel, NoTls};

async fn connect() -> Client {
    let (client, connection) = tokio_postgres::connect(&clients::url(), NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test]
async fn types() {
    let db = connect().await;
    let day = chrono::NaiveDate::from_ymd_opt(1999, 12, 31).unwrap();
    let clock = chrono::NaiveTime::from_hms_micro_opt(23, 59, 59, 999_999).unwrap();
    let moment = chrono::DateTime::from_timestamp_micros(1_709_209_845_123_456).unwrap();
    let key = uuid::Uuid::new_v4();
    let doc = serde_json::json!({ "a": [1, 2.5, null], "ü": {} });
    let (raw, words, numbers) = (
        (0..=255).collect::<Vec<u8>>(),
        vec!["a", "{b,c}"],
        vec![Some(1), None],
    );
    let address: std::net::IpAddr = "192.168.0.1".parse().unwrap();
    let values: [&(dyn ToSql + Sync); 15] = [
        &-7_i16,
        &2_000_000_000_i32,
        &i64::MIN,
        &0.1_f64,
        &LABEL,
        &raw,
        &true,
        &key,
        &day,
        &clock,
        &moment,
        &doc,
        &words,
        &numbers,
        &address,
    ];
    let sql = "SELECT $1::int2, $2::int4, $3::int8, $4::float8, $5::text, $6::bytea, $7::bool, $8::uuid, $9::date, $10::time, $11::timestamptz, $12::jsonb, $13::text[], $14::int[], $15::inet";
    let row = db.query_one(sql, &values).await.unwrap();
    assert_eq!(
        (
            row.get::<_, i16>(0),
            row.get::<_, i32>(1),
            row.get::<_, i64>(2),
            row.get::<_, f64>(3)
        ),
        (-7, 2_000_000_000, i64::MIN, 0.1)
    );
    assert_eq!(
        (
            row.get::<_, &str>(4),
            row.get::<_, Vec<u8>>(5),
            row.get::<_, bool>(6)
        ),
        (LABEL, raw, true)
    );
    assert_eq!(
        (
            row.get::<_, uuid::Uuid>(7),
            row.get::<_, chrono::NaiveDate>(8),
            row.get::<_, chrono::NaiveTime>(9)
        ),
        (key, day, clock)
    );
    assert_eq!(row.get::<_, chrono::DateTime<chrono::Utc>>(10), moment);
    assert_eq!(
        (
            row.get::<_, serde_json::Value>(11),
            row.get::<_, Vec<&str>>(12)
        ),
        (doc, words)
    );
    assert_eq!(
        (
            row.get::<_, Vec<Option<i32>>>(13),
            row.get::<_, std::net::IpAddr>(14)
        ),
        (numbers, address)
    );
    let row = db
        .query_one("SELECT $1::text, $2::int", &[&None::<&str>, &None::<i32>])
        .await
        .unwrap();
    assert_eq!(
        (row.get::<_, Option<&str>>(0), row.get::<_, Option<i32>>(1)),
        (None, None)
    );
}

#[tokio::test]
async fn transactions_savepoints_sqlstate_and_pipelines() {
    let mut db = connect().await;
    let mut outer = db
        .build_transaction()
        .isolation_level(IsolationLevel::Serializable)
        .start()
        .await
        .unwrap();
    outer
        .batch_execute("CREATE TEMP TABLE t (i int PRIMARY KEY); INSERT INTO t VALUES (1)")
        .await
        .unwrap();
    let inner = outer.savepoint("a").await.unwrap();
    let refused = inner
        .execute("INSERT INTO t VALUES (1)", &[])
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Some(&SqlState::UNIQUE_VIOLATION));
    inner.rollback().await.unwrap();
    assert_eq!(
        outer
            .query_one("SELECT count(*) FROM t", &[])
            .await
            .unwrap()
            .get::<_, i64>(0),
        1
    );
    outer.rollback().await.unwrap();
    let twice = db
        .prepare_typed("SELECT $1 * 2", &[Type::INT8])
        .await
        .unwrap();
    let all = futures_util::future::try_join_all((0..500_i64).map(|i| {
        let (db, twice) = (&db, &twice);
        async move {
            db.query_one(twice, &[&i])
                .await
                .map(|row| row.get::<_, i64>(0))
        }
    }));
    assert_eq!(
        all.await.unwrap(),
        (0..500).map(|i| i * 2).collect::<Vec<i64>>()
    );
}

#[tokio::test]
async fn copy_both_ways_and_portals() {
    let mut db = connect().await;
    db.batch_execute("CREATE TEMP TABLE t (i int, label text)")
        .await
        .unwrap();
    let writer = BinaryCopyInWriter::new(
        db.copy_in("COPY t FROM STDIN (FORMAT binary)")
            .await
            .unwrap(),
        &[Type::INT4, Type::TEXT],
    );
    let mut writer = pin!(writer);
    for i in 0..20_000 {
        writer
            .as_mut()
            .write(&[&i, &format!("row {i}")])
            .await
            .unwrap();
    }
    assert_eq!(writer.finish().await.unwrap(), 20_000);
    let rows = BinaryCopyOutStream::new(
        db.copy_out("COPY t TO STDOUT (FORMAT binary)")
            .await
            .unwrap(),
        &[Type::INT4, Type::TEXT],
    );
    assert_eq!(
        rows.try_fold(0_i64, async |sum, row| Ok(
            sum + i64::from(row.get::<i32>(0))
        ))
        .await
        .unwrap(),
        199_990_000
    );
    // One that is given up halfway is undone.
    let mut sink = Box::pin(db.copy_in("COPY t FROM STDIN").await.unwrap());
    sink.send(Bytes::from_static(b"1\tx\n")).await.unwrap();
    drop(sink);
    assert_eq!(
        db.query_one("SELECT count(*) FROM t", &[])
            .await
            .unwrap()
            .get::<_, i64>(0),
        20_000
    );
    let transaction = db.transaction().await.unwrap();
    let portal = transaction.bind("SELECT i FROM t", &[]).await.unwrap();
    let mut seen = 0;
    loop {
        let rows = transaction.query_portal(&portal, 777).await.unwrap();
        seen += rows.len();
        if rows.is_empty() {
            break;
        }
    }
    assert_eq!(seen, 20_000);
}

#[tokio::test]
async fn notifications_cancel_and_termination() {
    let (client, mut connection) = tokio_postgres::connect(&clients::url(), NoTls)
        .await
        .unwrap();
    let messages = stream::poll_fn(move |context| connection.poll_message(context))
        // It goes on saying that the connection is closed, and nobody else would run.
        .take_while(|message| std::future::ready(message.is_ok()));
    let (send, mut heard) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(messages.for_each(move |message| {
        if let Ok(AsyncMessage::Notification(note)) = message {
            send.send((note.channel().to_owned(), note.payload().to_owned()))
                .unwrap();
        }
        std::future::ready(())
    }));
    client.batch_execute("LISTEN events").await.unwrap();
    let other = connect().await;
    other.batch_execute("NOTIFY events, 'hello'").await.unwrap();
    let note = tokio::time::timeout(Duration::from_secs(10), heard.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(note, ("events".to_owned(), "hello".to_owned()));

    let token = client.cancel_token();
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        token.cancel_query(NoTls).await.unwrap();
    };
    let (refused, ()) = tokio::join!(client.batch_execute("SELECT pg_sleep(60)"), cancel);
    assert_eq!(refused.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));

    let pid: i32 = client
        .query_one("SELECT pg_backend_pid()", &[])
        .await
        .unwrap()
        .get(0);
    other
        .execute("SELECT pg_terminate_backend($1)", &[&pid])
        .await
        .unwrap();
    assert!(client.batch_execute("SELECT 1").await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pools_replace_what_was_terminated() {
    const OTHERS: &str =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1";
    let other = connect().await;
    let mut config: tokio_postgres::Config = clients::url().parse().unwrap();

    config.application_name("deadpool");
    let manager = deadpool_postgres::ManagerConfig {
        recycling_method: deadpool_postgres::RecyclingMethod::Verified,
    };
    let pool = deadpool_postgres::Pool::builder(deadpool_postgres::Manager::from_config(
        config.clone(),
        NoTls,
        manager,
    ))
    .max_size(16)
    .build()
    .unwrap();
    for round in 0..2 {
        let tasks = (0..100_i32).map(|i| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let client = pool.get().await.unwrap();
                let statement = client
                    .prepare_cached("SELECT $1::int FROM pg_sleep(0.005)")
                    .await
                    .unwrap();
                assert_eq!(
                    client
                        .query_one(&statement, &[&i])
                        .await
                        .unwrap()
                        .get::<_, i32>(0),
                    i
                );
            })
        });
        futures_util::future::try_join_all(tasks).await.unwrap();
        if round == 0 {
            assert!(other.execute(OTHERS, &[&"deadpool"]).await.unwrap() >= 8);
        }
    }

    config.application_name("bb8");
    let manager = bb8_postgres::PostgresConnectionManager::new(config, NoTls);
    let pool = bb8_postgres::bb8::Pool::builder()
        .min_idle(8)
        .max_size(16)
        .build(manager)
        .await
        .unwrap();
    for round in 0..2 {
        let tasks = (0..100_i32).map(|i| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let client = pool.get().await.unwrap();
                assert_eq!(
                    client
                        .query_one("SELECT $1::int FROM pg_sleep(0.005)", &[&i])
                        .await
                        .unwrap()
                        .get::<_, i32>(0),
                    i
                );
            })
        });
        futures_util::future::try_join_all(tasks).await.unwrap();
        if round == 0 {
            assert!(other.execute(OTHERS, &[&"bb8"]).await.unwrap() >= 8);
        }
    }
}

#[tokio::test]
async fn sslmodes() {
    for mode in ["disable", "prefer"] {
        let (client, connection) = tokio_postgres::connect(&clients::with_sslmode(mode), NoTls)
            .await
            .unwrap();
        drop((client, connection));
    }
}
