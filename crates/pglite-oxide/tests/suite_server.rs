//! Served to other people's clients: SQLx, tokio-postgres and native psql, many connections at once.

use std::time::{Duration, Instant};

use pglite_oxide::{PgliteServer, PgliteServerBuilder};
use sqlx::postgres::{PgListener, PgPool, PgPoolOptions};
use sqlx::{Connection as _, Executor as _, PgConnection};

fn code(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.code().unwrap_or_default().into_owned(),
        other => panic!("not PostgreSQL's: {other}"),
    }
}

async fn pool(server: &PgliteServer) -> PgPool {
    PgPoolOptions::new()
        .max_connections(10)
        .acquire_timeout(Duration::from_secs(60))
        .connect(&server.database_url())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_concurrent_transactions() {
    let server = PgliteServer::temporary_tcp().unwrap();
    let pool = pool(&server).await;
    pool.execute("CREATE TABLE t (i int)").await.unwrap();
    let mut open = Vec::new();
    for i in 0..10 {
        let mut transaction = pool.begin().await.unwrap();
        sqlx::query("INSERT INTO t VALUES ($1)")
            .bind(i)
            .execute(&mut *transaction)
            .await
            .unwrap();
        open.push(transaction);
    }
    let (backends,): (i64,) =
        sqlx::query_as("SELECT count(DISTINCT pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND state LIKE 'idle in%'")
            .fetch_one(&mut *open[0])
            .await
            .unwrap();
    assert_eq!(backends, 9, "and the asking one is active");
    for transaction in open {
        transaction.commit().await.unwrap();
    }
    let (count,): (i64,) = sqlx::query_as("SELECT count(*) FROM t")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(count, 10);
    let kinds: Vec<(String,)> =
        sqlx::query_as("SELECT backend_type FROM pg_stat_activity ORDER BY 1")
            .fetch_all(&pool)
            .await
            .unwrap();
    let kinds: Vec<_> = kinds.iter().map(|(kind,)| kind.as_str()).collect();
    for kind in [
        "autovacuum launcher",
        "background writer",
        "checkpointer",
        "walwriter",
        "logical replication launcher",
        "client backend",
    ] {
        assert!(kinds.contains(&kind), "{kind} is not in {kinds:?}");
    }
    pool.close().await;
    server.shutdown().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_locks_wait_and_deadlocks_are_detected() {
    let server = PgliteServer::temporary_tcp().unwrap();
    let pool = pool(&server).await;
    pool.execute("CREATE TABLE t (i int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0), (2, 0)")
        .await
        .unwrap();
    let (mut one, mut two) = (pool.begin().await.unwrap(), pool.begin().await.unwrap());
    one.execute("SET LOCAL deadlock_timeout = '100ms'; UPDATE t SET n = 1 WHERE i = 1")
        .await
        .unwrap();
    two.execute("SET LOCAL deadlock_timeout = '100ms'; UPDATE t SET n = 2 WHERE i = 2")
        .await
        .unwrap();
    let waiting = tokio::spawn(async move {
        let outcome = one.execute("UPDATE t SET n = 1 WHERE i = 2").await;
        (outcome.map(drop), one)
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished(), "a row lock makes the other wait");
    let second = two
        .execute("UPDATE t SET n = 2 WHERE i = 1")
        .await
        .map(drop);
    if second.is_ok() {
        two.commit().await.unwrap();
    } else {
        two.rollback().await.unwrap();
    }
    let (first, one) = waiting.await.unwrap();
    let failures: Vec<_> = [first, second]
        .into_iter()
        .filter_map(Result::err)
        .collect();
    assert_eq!(failures.len(), 1, "one of the two is sacrificed");
    assert_eq!(code(&failures[0]), "40P01");
    drop(one);
    // An advisory lock is exclusive between sessions.
    let (mut one, mut two) = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    one.execute("SELECT pg_advisory_lock(7)").await.unwrap();
    let (got,): (bool,) = sqlx::query_as("SELECT pg_try_advisory_lock(7)")
        .fetch_one(&mut *two)
        .await
        .unwrap();
    assert!(!got);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serializable_anomalies_are_refused() {
    let server = PgliteServer::temporary_tcp().unwrap();
    let pool = pool(&server).await;
    pool.execute("CREATE TABLE doctor (name text, on_call bool); INSERT INTO doctor VALUES ('a', true), ('b', true)").await.unwrap();
    let (mut one, mut two) = (pool.begin().await.unwrap(), pool.begin().await.unwrap());
    for transaction in [&mut one, &mut two] {
        transaction
            .execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
            .await
            .unwrap();
        let (count,): (i64,) = sqlx::query_as("SELECT count(*) FROM doctor WHERE on_call")
            .fetch_one(&mut **transaction)
            .await
            .unwrap();
        assert_eq!(count, 2);
    }
    one.execute("UPDATE doctor SET on_call = false WHERE name = 'a'")
        .await
        .unwrap();
    let skewed = two
        .execute("UPDATE doctor SET on_call = false WHERE name = 'b'")
        .await;
    let (first, second) = (one.commit().await, two.commit().await);
    let failures: Vec<_> = [skewed.map(drop), first, second]
        .into_iter()
        .filter_map(Result::err)
        .collect();
    assert!(!failures.is_empty(), "write skew went through");
    assert_eq!(code(&failures[0]), "40001");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notifications_cross_sessions() {
    let server = PgliteServer::temporary_tcp().unwrap();
    let pool = pool(&server).await;
    let mut listener = PgListener::connect_with(&pool).await.unwrap();
    listener.listen("events").await.unwrap();
    pool.execute("NOTIFY events, 'hello'").await.unwrap();
    let got = tokio::time::timeout(Duration::from_secs(10), listener.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!((got.channel(), got.payload()), ("events", "hello"));
}

/// Each acts within 50 ms of when it is due: the median of five, as the machine may be busy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timeouts_and_terminations_act_quickly() {
    const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 1000000000000)";
    const DUE: Duration = Duration::from_millis(100);
    let server = PgliteServer::temporary_tcp().unwrap();
    let pool = pool(&server).await;
    pool.execute("CREATE TABLE t (i int)").await.unwrap();
    let mut late: [Vec<Duration>; 4] = Default::default();
    for _ in 0..5 {
        let mut session = pool.acquire().await.unwrap();
        session
            .execute("SET statement_timeout = '100ms'")
            .await
            .unwrap();
        let begun = Instant::now();
        assert_eq!(code(&session.execute(ENDLESS).await.unwrap_err()), "57014");
        late[0].push(begun.elapsed().saturating_sub(DUE));
        session
            .execute("SET statement_timeout = 0; SET lock_timeout = '100ms'")
            .await
            .unwrap();
        let mut holder = pool.begin().await.unwrap();
        holder.execute("LOCK TABLE t").await.unwrap();
        let begun = Instant::now();
        let refused = session.execute("SELECT * FROM t").await.unwrap_err();
        late[1].push(begun.elapsed().saturating_sub(DUE));
        assert_eq!(code(&refused), "55P03");
        holder.rollback().await.unwrap();
        session.execute("SET lock_timeout = 0").await.unwrap();

        // tokio-postgres, whose connection ends are seen as they are.
        let (client, connection) =
            tokio_postgres::connect(&server.database_url(), tokio_postgres::NoTls)
                .await
                .unwrap();
        let ended = tokio::spawn(connection);
        client
            .batch_execute("SET idle_in_transaction_session_timeout = '100ms'; BEGIN")
            .await
            .unwrap();
        let begun = Instant::now();
        let end = tokio::time::timeout(Duration::from_secs(10), ended)
            .await
            .unwrap()
            .unwrap();
        late[2].push(begun.elapsed().saturating_sub(DUE));
        assert_eq!(end.unwrap_err().code().unwrap().code(), "25P03");

        let (client, connection) =
            tokio_postgres::connect(&server.database_url(), tokio_postgres::NoTls)
                .await
                .unwrap();
        let ended = tokio::spawn(connection);
        let row = client.query_one("SELECT pg_backend_pid()", &[]).await;
        let pid: i32 = row.unwrap().get(0);
        let busy = tokio::spawn(async move { client.execute(ENDLESS, &[]).await });
        tokio::time::sleep(Duration::from_millis(50)).await;
        let asked = Instant::now();
        sqlx::query("SELECT pg_terminate_backend($1)")
            .bind(pid)
            .execute(&pool)
            .await
            .unwrap();
        let refused = busy.await.unwrap().unwrap_err();
        late[3].push(asked.elapsed());
        assert_eq!(refused.code().unwrap().code(), "57P01");
        let _ = ended.await;
    }
    let names = ["statement", "lock", "idle in transaction", "terminate"];
    for (name, late) in names.iter().zip(&mut late) {
        late.sort();
        println!("{name}: {late:?}");
        assert!(late[2] < Duration::from_millis(50), "{name}: {late:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_do_not_get_in() {
    let server = PgliteServer::temporary_tcp().unwrap();
    let address = server.tcp_addr().unwrap();
    let wrong = format!("postgresql://postgres:wrong@{address}/postgres");
    assert_eq!(
        code(&PgConnection::connect(&wrong).await.unwrap_err()),
        "28P01"
    );
    let none = format!("postgresql://postgres@{address}/postgres");
    assert!(PgConnection::connect(&none).await.is_err());
    let open = PgliteServerBuilder::new()
        .temporary()
        .without_password()
        .start()
        .unwrap();
    let mut session = PgConnection::connect(&open.database_url()).await.unwrap();
    let (answer,): (i32,) = sqlx::query_as("SELECT 42")
        .fetch_one(&mut session)
        .await
        .unwrap();
    assert_eq!(answer, 42);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unix_sockets_and_resets() {
    let server = PgliteServer::temporary_unix().unwrap();
    let path = server.socket_path().unwrap().to_owned();
    let mut session = PgConnection::connect(&server.database_url()).await.unwrap();
    // A client that goes away in the middle of a result.
    let mut rude = PgConnection::connect(&server.database_url()).await.unwrap();
    {
        use futures_core::Stream as _;
        let mut rows = std::pin::pin!(
            sqlx::query("SELECT repeat('x', 1000) FROM generate_series(1, 100000)")
                .fetch(&mut rude)
        );
        std::future::poll_fn(|context| rows.as_mut().poll_next(context))
            .await
            .unwrap()
            .unwrap();
    }
    drop(rude);
    let (answer,): (i32,) = sqlx::query_as("SELECT 42")
        .fetch_one(&mut session)
        .await
        .unwrap();
    assert_eq!(answer, 42);
    session.close().await.unwrap();
    server.shutdown().unwrap();
    assert!(
        !path.exists() && !path.parent().unwrap().exists(),
        "the socket is removed"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn background_work_happens() {
    let server = PgliteServer::builder()
        .temporary()
        .postgres_config("autovacuum_naptime", "1s")
        .postgres_config("max_prepared_transactions", "5")
        .postgres_config("wal_level", "logical")
        .start()
        .unwrap();
    let pool = pool(&server).await;
    pool.execute("CREATE TABLE t AS SELECT i, i % 7 AS m FROM generate_series(1, 300000) i; DELETE FROM t WHERE i % 2 = 0").await.unwrap();
    // A parallel plan starts its workers.
    let mut session = pool.acquire().await.unwrap();
    session.execute("SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0").await.unwrap();
    let plan: Vec<(String,)> =
        sqlx::query_as("EXPLAIN (ANALYZE) SELECT m, count(*) FROM t GROUP BY m")
            .fetch_all(&mut *session)
            .await
            .unwrap();
    let plan: String = plan.into_iter().map(|(line,)| line + "\n").collect();
    assert!(plan.contains("Workers Launched: 2"), "{plan}");
    // Two-phase commit.
    session
        .execute("BEGIN; INSERT INTO t VALUES (0, 0); PREPARE TRANSACTION 'two'")
        .await
        .unwrap();
    session.execute("COMMIT PREPARED 'two'").await.unwrap();
    // A large object.
    session
        .execute("SELECT lo_from_bytea(4242, repeat('x', 100000)::bytea)")
        .await
        .unwrap();
    let (size,): (i32,) = sqlx::query_as("SELECT length(lo_get(4242))")
        .fetch_one(&mut *session)
        .await
        .unwrap();
    assert_eq!(size, 100_000);
    // Full-text search in every shipped language.
    let languages: Vec<(String,)> =
        sqlx::query_as("SELECT cfgname::text FROM pg_ts_config ORDER BY 1")
            .fetch_all(&mut *session)
            .await
            .unwrap();
    assert!(languages.len() >= 29, "{languages:?}");
    for (language,) in languages {
        sqlx::query("SELECT to_tsvector($1::regconfig, 'The quick brown foxes jumped')")
            .bind(language)
            .execute(&mut *session)
            .await
            .unwrap();
    }
    // Logical decoding.
    session
        .execute("SELECT pg_create_logical_replication_slot('s', 'test_decoding')")
        .await
        .unwrap();
    session
        .execute("INSERT INTO t VALUES (-5, 3)")
        .await
        .unwrap();
    let changes: Vec<(String,)> =
        sqlx::query_as("SELECT data FROM pg_logical_slot_get_changes('s', NULL, NULL)")
            .fetch_all(&mut *session)
            .await
            .unwrap();
    assert!(
        changes
            .iter()
            .any(|(change,)| change.contains("INSERT: i[integer]:-5")),
        "{changes:?}"
    );
    // Autovacuum comes by.
    let deadline = Instant::now() + Duration::from_secs(40);
    loop {
        let (vacuums,): (i64,) =
            sqlx::query_as("SELECT autovacuum_count FROM pg_stat_user_tables WHERE relname = 't'")
                .fetch_one(&mut *session)
                .await
                .unwrap();
        if vacuums > 0 {
            break;
        }
        assert!(Instant::now() < deadline, "autovacuum did not come");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
