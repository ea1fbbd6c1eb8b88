//! Every extension of the catalogue: created, used, and used again after the database was closed and opened.

use std::collections::BTreeMap;
use std::path::Path;

use pglite_oxide::extensions::{self, Extension};
use pglite_oxide::{Error, Pglite, PgliteServer, QueryOptions, RowMode};
use serde_json::Value;

/// SQL and the first value of its last result, by extension: of `guest/extensions/catalogue.toml`.
fn smoke_tests() -> BTreeMap<String, Vec<(String, String)>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest/extensions/catalogue.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let catalogue: toml::Table = text.parse().unwrap();
    let mut found = BTreeMap::new();
    for extension in catalogue["extension"].as_array().unwrap() {
        if extension.get("blocked").is_some() {
            continue;
        }
        let pairs = extension["smoke"].as_array().unwrap().iter().map(|pair| {
            let text = |index: usize| pair[index].as_str().unwrap().to_owned();
            (text(0), text(1))
        });
        found.insert(
            extension["name"].as_str().unwrap().to_owned(),
            pairs.collect(),
        );
    }
    found
}

/// The first value of the last result, as text.
fn last_value(db: &mut Pglite, sql: &str) -> Result<String, Error> {
    let options = QueryOptions {
        row_mode: Some(RowMode::Array),
        ..QueryOptions::default()
    };
    let results = db.exec(sql, Some(&options))?;
    let row = results.last().and_then(|last| last.rows.first());
    Ok(match row.map(|row| &row[0]) {
        None => "(no row)".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) => "(null)".to_owned(),
        Some(other) => other.to_string(),
    })
}

/// Runs the smoke tests in a schema of their own; what went wrong.
fn run(db: &mut Pglite, schema: &str, pairs: &[(String, String)]) -> Vec<String> {
    let mut wrong = Vec::new();
    let schema = format!("CREATE SCHEMA {schema}; SET search_path = {schema}, public");
    if let Err(error) = db.exec(&schema, None) {
        wrong.push(error.to_string());
    }
    for (sql, wanted) in pairs {
        match last_value(db, sql) {
            Ok(found) if found == *wanted => {}
            Ok(found) => wrong.push(format!("{sql}: wanted {wanted}, found {found}")),
            Err(error) => wrong.push(format!("{sql}: {error}")),
        }
    }
    wrong
}

#[test]
fn every_extension_works_on_a_temporary_database_and_on_its_fork() {
    let tests = smoke_tests();
    let mut wrong = Vec::new();
    for extension in extensions::ALL {
        let pairs = &tests[extension.name()];
        let opened = Pglite::builder().temporary().extension(*extension).open();
        let found = opened.and_then(|mut db| {
            let mut found = run(&mut db, "one", pairs);
            // Slots stay with the original.
            let drop_slots = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots";
            db.exec(drop_slots, None)?;
            let mut fork = db.fork()?;
            found.extend(run(&mut fork, "two", pairs));
            Ok(found)
        });
        let found = found.unwrap_or_else(|error| vec![error.to_string()]);
        wrong.extend(found.into_iter().map(|what| format!("{extension}: {what}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Over TCP, as any client has them.
#[tokio::test]
async fn every_extension_works_on_a_server() {
    let tests = smoke_tests();
    let mut wrong = Vec::new();
    for extension in extensions::ALL {
        let server = PgliteServer::builder()
            .temporary()
            .extension(*extension)
            .start()
            .unwrap();
        let url = server.database_url();
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
            .await
            .unwrap();
        let connection = tokio::spawn(connection);
        for (sql, _) in &tests[extension.name()] {
            if let Err(error) = client.simple_query(sql).await {
                wrong.push(format!("{extension}: {sql}: {error:?}"));
            }
        }
        drop(client);
        connection.await.unwrap().unwrap();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_extension_works_after_its_database_was_closed_and_opened() {
    let tests = smoke_tests();
    let preloaded: Vec<&str> = extensions::ALL
        .iter()
        .filter(|extension| extension.must_be_preloaded())
        .flat_map(|extension| extension.libraries().iter().copied())
        .collect();
    let root = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for schema in ["one", "two"] {
        let mut builder = Pglite::builder()
            .path(root.path().join("db"))
            .postgres_config("fsync", "off")
            .postgres_config("shared_preload_libraries", preloaded.join(","));
        for (name, value) in extensions::ALL.iter().flat_map(|e| e.settings()) {
            builder = builder.postgres_config(*name, *value);
        }
        let mut db = builder.open().unwrap();
        // A slot outlives the server.
        let drop_slots = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots";
        db.exec(drop_slots, None).unwrap();
        for extension in extensions::ALL {
            let database = format!("with_{}", extension.name().replace('-', "_"));
            if schema == "one" {
                let create = format!("CREATE DATABASE {database}");
                db.exec(&create, None).unwrap();
            }
            let session = db.connector().database(&database).connect();
            let found = session.and_then(|mut session| {
                session.enable_extension(*extension)?;
                let found = run(&mut session, schema, &tests[extension.name()]);
                session.close()?;
                Ok(found)
            });
            let found = found.unwrap_or_else(|error| vec![error.to_string()]);
            wrong.extend(
                found
                    .into_iter()
                    .map(|what| format!("{extension}, {schema}: {what}")),
            );
        }
        db.close().unwrap();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_linked_is_there_without_being_named() {
    let mut db = Pglite::temporary().unwrap();
    let answer = db
        .query("SELECT name FROM pg_available_extensions", &[], None)
        .unwrap();
    let available: Vec<&str> = answer
        .rows
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    let mut wanted: Vec<&str> = extensions::ALL
        .iter()
        .filter(|extension| extension.is_created())
        .map(|extension| extension.sql_name())
        .collect();
    wanted.push("plpgsql");
    for name in &wanted {
        assert!(available.contains(name), "{name} is not available");
    }
    for name in &available {
        assert!(wanted.contains(name), "{name} is available, but not linked");
    }
    // An extension creates what it needs.
    db.exec("CREATE EXTENSION earthdistance CASCADE", None)
        .unwrap();
    assert_eq!(
        last_value(&mut db, "SELECT count(*) FROM pg_extension").unwrap(),
        "3"
    );
}

#[test]
fn one_that_must_be_preloaded_says_so() {
    let mut db = Pglite::temporary().unwrap();
    let error = db
        .enable_extension(extensions::PG_STAT_STATEMENTS)
        .unwrap_err();
    assert!(
        matches!(&error, Error::InvalidArgument { what: "extension", reason } if reason.contains("pg_stat_statements must be preloaded")),
        "{error}"
    );
    db.enable_extension(extensions::HSTORE).unwrap();
    db.enable_extension(extensions::HSTORE).unwrap();
}

#[test]
fn a_served_database_has_them_in_every_session_and_in_parallel_workers() {
    let server = PgliteServer::builder()
        .temporary()
        .extensions([extensions::VECTOR, extensions::PG_STAT_STATEMENTS])
        .start()
        .unwrap();
    let mut one = server.connector().connect().unwrap();
    let mut two = server.connector().connect().unwrap();
    one.exec(
        "CREATE TABLE item AS SELECT g AS id, ARRAY[g % 17, g % 5, 1]::vector(3) AS e FROM generate_series(1, 20000) g",
        None,
    )
    .unwrap();
    let parallel = "SET debug_parallel_query = on; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; \
        SELECT count(*) FROM item WHERE e <-> '[1,1,1]' < 2";
    let serial = "SET debug_parallel_query = off; SET max_parallel_workers_per_gather = 0; SELECT count(*) FROM item WHERE e <-> '[1,1,1]' < 2";
    let found = last_value(&mut two, parallel).unwrap();
    assert_eq!(found, last_value(&mut one, serial).unwrap());
    assert_ne!(found, "0");
    assert_eq!(
        last_value(&mut two, "SELECT count(*) > 0 FROM pg_stat_statements").unwrap(),
        "true"
    );
    let _: Extension = extensions::by_sql_name("vector").unwrap();
}

#[test]
fn a_fork_goes_on_with_loaded_libraries() {
    let mut db = Pglite::builder()
        .temporary()
        .extension(extensions::VECTOR)
        .open()
        .unwrap();
    db.exec(
        "CREATE TABLE item AS SELECT g AS id, ARRAY[g, g % 7, 1]::vector(3) AS e FROM generate_series(1, 1000) g; \
         CREATE INDEX ON item USING hnsw (e vector_l2_ops)",
        None,
    )
    .unwrap();
    let mut fork = db.fork().unwrap();
    // Only there.
    fork.exec(
        "CREATE EXTENSION hstore; INSERT INTO item VALUES (0, '[-5,0,0]')",
        None,
    )
    .unwrap();
    let nearest = "SET enable_seqscan = off; SELECT id FROM item ORDER BY e <-> '[-9,0,0]' LIMIT 1";
    assert_eq!(last_value(&mut fork, nearest).unwrap(), "0");
    assert_eq!(last_value(&mut db, nearest).unwrap(), "1");
    let count = "SELECT count(*) FROM pg_extension";
    assert_eq!(last_value(&mut fork, count).unwrap(), "3");
    assert_eq!(last_value(&mut db, count).unwrap(), "2");
}

/// PGlite's modules on npm were compiled for one process alone: here several change the same views and indexes. `pg_textsearch` is linked in the workspace's own build.
#[cfg(feature = "ext-pg_textsearch")]
#[test]
fn modules_of_others_serve_concurrent_sessions_and_forks() {
    let mut db = Pglite::builder()
        .temporary()
        .extensions([extensions::PG_IVM, extensions::PG_TEXTSEARCH])
        .open()
        .unwrap();
    db.exec(
        "CREATE TABLE doc (id serial PRIMARY KEY, writer int, body text); \
         SELECT pgivm.create_immv('written', 'SELECT writer, count(*) AS n FROM doc GROUP BY writer'); \
         CREATE INDEX doc_bm25 ON doc USING bm25 (body) WITH (text_config = 'english')",
        None,
    )
    .unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let connector = db.connector();
            scope.spawn(move || {
                let mut session = connector.connect().unwrap();
                for n in 0..50 {
                    let insert = format!(
                        "INSERT INTO doc (writer, body) SELECT {writer}, 'word{n} common' FROM generate_series(1, 4)"
                    );
                    session.exec(&insert, None).unwrap();
                    // An error that passes through their functions, from the server to the server.
                    let error = session.exec("SELECT pgivm.create_immv('bad', 'SELECT nowhere FROM doc')", None);
                    assert_eq!(error.unwrap_err().sqlstate(), Some("42703"));
                }
                session.close().unwrap();
            });
        }
    });
    let written = "SELECT string_agg(writer || ':' || n, ' ' ORDER BY writer) FROM written";
    let ranked = |word: &str| {
        format!(
            "SELECT count(DISTINCT id) FROM (SELECT id FROM doc ORDER BY body <@> to_bm25query('{word}', 'doc_bm25') LIMIT 10000) AS found"
        )
    };
    let mut fork = db.fork().unwrap();
    for db in [&mut db, &mut fork] {
        assert_eq!(last_value(db, written).unwrap(), "0:200 1:200 2:200 3:200");
        assert_eq!(last_value(db, &ranked("common")).unwrap(), "800");
        assert_eq!(last_value(db, &ranked("word7")).unwrap(), "16");
    }
    let more = "INSERT INTO doc (writer, body) VALUES (9, 'word7 alone')";
    fork.exec(more, None).unwrap();
    assert_eq!(last_value(&mut fork, &ranked("word7")).unwrap(), "17");
    assert_eq!(last_value(&mut db, &ranked("word7")).unwrap(), "16");
    assert_eq!(
        last_value(&mut fork, written).unwrap(),
        "0:200 1:200 2:200 3:200 9:1"
    );
}

/// pgvector's distances are native functions (guest/extensions/vector/native.c), in strides of many numbers: every length of the last stride, against SQL's own arithmetic. pgvector's tests have
/// vectors of three.
#[cfg(feature = "ext-vector")]
#[test]
fn distances_of_vectors_of_any_length() {
    let mut db = Pglite::builder()
        .extension(extensions::VECTOR)
        .open()
        .unwrap();
    let wrong = last_value(
        &mut db,
        "CREATE TABLE pair AS
           SELECT n, array_agg((random() * 2 - 1)::float4) AS a, array_agg((random() * 2 - 1)::float4) AS b
           FROM unnest(array(SELECT generate_series(1, 100)) || ARRAY[383, 384, 385, 1536, 2000, 15999]) AS n, generate_series(1, n) GROUP BY n;
         CREATE TABLE sum AS
           SELECT n, a::vector AS a, b::vector AS b, s.*
           FROM pair, LATERAL (
             SELECT sqrt(sum((x - y) ^ 2)) AS l2, sum(abs(x - y)) AS l1, sum(x * y) AS ab, sqrt(sum(x * x) * sum(y * y)) AS norms
             FROM unnest(a::float8[], b::float8[]) AS u(x, y)
           ) AS s;
         SELECT count(*) FILTER (WHERE abs((a <-> b) - l2) > 1e-5 * (1 + l2))
             || ' ' || count(*) FILTER (WHERE abs((a <+> b) - l1) > 1e-5 * (1 + l1))
             || ' ' || count(*) FILTER (WHERE abs((a <#> b) + ab) > 1e-4 * (1 + sqrt(n)))
             || ' ' || count(*) FILTER (WHERE abs((a <=> b) - (1 - ab / norms)) > 1e-5)
             || ' of ' || count(*) FROM sum",
    )
    .unwrap();
    assert_eq!(wrong, "0 0 0 0 of 106");
    // Not a number stays one.
    assert_eq!(
        last_value(&mut db, "SELECT ('[0,0]'::vector <=> '[1,2]')::text").unwrap(),
        "NaN"
    );
}

/// Calls of every function of an extension with nothing but NULL.
const CALLS_WITH_NULL: &str = "
    SELECT format('SELECT %I.%I(%s)', n.nspname, p.proname,
             (SELECT string_agg('NULL::' || CASE format_type(t, NULL)
                       WHEN 'anyelement' THEN 'integer' WHEN 'anynonarray' THEN 'integer' WHEN 'anyarray' THEN 'integer[]' ELSE format_type(t, NULL) END, ', ' ORDER BY i)
              FROM unnest(p.proargtypes) WITH ORDINALITY AS args(t, i)))
           || CASE p.prokind WHEN 'w' THEN ' OVER () FROM generate_series(1, 2)' ELSE '' END AS call
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
         JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
         JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
    WHERE e.extname = $1 AND p.prokind IN ('f', 'w', 'a') AND p.pronargs > 0 AND NOT 'internal'::regtype = ANY (p.proargtypes)
          AND p.prorettype NOT IN ('internal'::regtype, 'trigger'::regtype, 'event_trigger'::regtype)
    ORDER BY call";

/// A `float8` that is NULL is a null pointer where a Datum has 32 bits. PostGIS's `ST_ClusterDBSCAN` read it before it asked whether it is NULL, and the backend was gone, the cluster's other sessions with it.
#[test]
fn no_function_ends_the_backend_with_null() {
    let open = |extension: &Extension| {
        let mut db = Pglite::builder().extension(*extension).open().unwrap();
        db.exec("SET statement_timeout = '10s'", None).unwrap();
        db
    };
    let mut wrong = Vec::new();
    let mut tried = 0;
    for extension in extensions::ALL
        .iter()
        .filter(|extension| extension.is_created())
    {
        let mut db = open(extension);
        let calls = db
            .query(CALLS_WITH_NULL, &[extension.sql_name().into()], None)
            .unwrap();
        for row in calls.rows {
            let call = row["call"].as_str().unwrap().to_owned();
            tried += 1;
            // A refusal is an answer.
            if let Err(error) = db.exec(&call, None)
                && error.sqlstate().is_none()
            {
                wrong.push(format!("{call}: {error}"));
                db = open(extension);
            }
        }
    }
    println!("{tried} functions");
    assert!(tried > 1000, "{tried}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
