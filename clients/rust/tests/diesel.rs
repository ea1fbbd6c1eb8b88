//! Diesel, with libpq from its source, its migrations.

use bigdecimal::BigDecimal;
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use clients::LABEL;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};
use diesel::result::{DatabaseErrorKind, Error};
use diesel::sql_types::Integer;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};
use ipnetwork::IpNetwork;
use serde_json::{Value, json};
use uuid::Uuid;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/diesel");

table! {
    product (id) {
        id -> BigInt,
        label -> Text,
        small -> Nullable<SmallInt>,
        normal -> Nullable<Integer>,
        amount -> Nullable<Numeric>,
        ratio -> Nullable<Double>,
        raw -> Nullable<Binary>,
        flag -> Nullable<Bool>,
        key -> Nullable<Uuid>,
        day -> Nullable<Date>,
        clock -> Nullable<Time>,
        moment -> Nullable<Timestamptz>,
        doc -> Nullable<Json>,
        docb -> Nullable<Jsonb>,
        numbers -> Nullable<Array<Nullable<Integer>>>,
        words -> Nullable<Array<Text>>,
        address -> Nullable<Inet>,
    }
}

#[derive(Debug, Clone, Default, PartialEq, Insertable, Queryable, Selectable)]
#[diesel(table_name = product)]
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
    doc: Option<Value>,
    docb: Option<Value>,
    numbers: Option<Vec<Option<i32>>>,
    words: Option<Vec<String>>,
    address: Option<IpNetwork>,
}

fn full() -> Product {
    let doc = json!({ "a": [1, 2.5, null, true], "ü": { "nested": "yes" } });
    Product {
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
        doc: Some(doc.clone()),
        docb: Some(doc),
        numbers: Some(vec![Some(1), None]),
        words: Some(vec!["a".into(), "{b,c}".into()]),
        address: Some("192.168.0.1/32".parse().unwrap()),
    }
}

/// A connection to a migrated schema that only this test sees.
fn connect(schema: &str) -> PgConnection {
    let mut db = PgConnection::establish(&clients::url()).unwrap();
    let sql = format!(
        "DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}; SET search_path = {schema}"
    );
    diesel::connection::SimpleConnection::batch_execute(&mut db, &sql).unwrap();
    db.run_pending_migrations(MIGRATIONS).unwrap();
    db
}

#[test]
fn test_transactions_leave_nothing() {
    let mut db = connect("d1");
    db.test_transaction::<_, Error, _>(|db| {
        diesel::insert_into(product::table)
            .values(full())
            .execute(db)?;
        assert_eq!(
            product::table.select(Product::as_select()).first(db)?,
            full_with_key(db)?
        );
        let none = Product {
            label: "none".to_owned(),
            ..Default::default()
        };
        let got = diesel::insert_into(product::table)
            .values(&none)
            .returning(Product::as_returning())
            .get_result(db)?;
        assert_eq!(got, none);
        Ok(())
    });
    assert_eq!(
        product::table.count().get_result::<i64>(&mut db).unwrap(),
        0
    );
    db.revert_all_migrations(MIGRATIONS).unwrap();
}

/// The key is a new one each time.
fn full_with_key(db: &mut PgConnection) -> QueryResult<Product> {
    let key = product::table.select(product::key).first(db)?;
    Ok(Product { key, ..full() })
}

#[test]
fn savepoints_and_errors() {
    let mut db = connect("d2");
    let none = Product {
        label: "none".to_owned(),
        ..Default::default()
    };
    db.transaction::<_, Error, _>(|db| {
        diesel::insert_into(product::table)
            .values(&none)
            .execute(db)?;
        let refused = db
            .transaction(|db| {
                diesel::insert_into(product::table)
                    .values(&none)
                    .execute(db)
            })
            .unwrap_err();
        assert!(
            matches!(
                refused,
                Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _)
            ),
            "{refused}"
        );
        Ok(())
    })
    .unwrap();
    assert_eq!(
        product::table.count().get_result::<i64>(&mut db).unwrap(),
        1
    );
    let lines: Vec<_> = (0..5_000)
        .map(|i| {
            (
                product::label.eq(format!("row {i}")),
                product::flag.eq(true),
            )
        })
        .collect();
    let copied = diesel::copy_from(product::table)
        .from_insertable(lines)
        .execute(&mut db)
        .unwrap();
    assert_eq!(copied, 5_000);
    let rows = product::table
        .select(product::label)
        .load_iter::<String, diesel::pg::PgRowByRowLoadingMode>(&mut db)
        .unwrap();
    assert_eq!(rows.filter(|row| row.is_ok()).count(), 5_001);
}

#[test]
fn pool_of_sixteen() {
    let pool = Pool::builder()
        .max_size(16)
        .build(ConnectionManager::<PgConnection>::new(clients::url()))
        .unwrap();
    std::thread::scope(|scope| {
        for i in 0..32 {
            let pool = pool.clone();
            scope.spawn(move || {
                let mut db = pool.get().unwrap();
                for j in 0..20 {
                    let got = diesel::select((i + j).into_sql::<Integer>())
                        .get_result::<i32>(&mut db)
                        .unwrap();
                    assert_eq!(got, i + j);
                }
            });
        }
    });
    for mode in ["disable", "prefer"] {
        PgConnection::establish(&clients::with_sslmode(mode)).unwrap();
    }
    if !clients::is_unix() {
        let Err(refused) = PgConnection::establish(&clients::with_sslmode("require")) else {
            panic!("no SSL")
        };
        assert!(refused.to_string().contains("SSL"), "{refused}");
    }
}
