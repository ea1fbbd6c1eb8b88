//! SeaORM with its migrations: a migrated database for each test.

use std::time::Duration;

use clients::LABEL;
use sea_orm::entity::prelude::*;
use sea_orm::{
    ConnectOptions, Database, DatabaseConnection, QueryOrder as _, Set, TransactionTrait as _,
};
use sea_orm_migration::prelude::{
    Alias, ColumnDef, MigrationName, MigrationTrait, MigratorTrait, SchemaManager, Table,
};

mod ship {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "ship")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i32,
        #[sea_orm(unique)]
        pub name: String,
        pub big: Option<i64>,
        pub price: Option<Decimal>,
        pub key: Option<Uuid>,
        pub built: Option<Date>,
        pub seen: Option<DateTimeUtc>,
        pub doc: Option<Json>,
        pub raw: Option<Vec<u8>>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(First)]
    }
}

struct First;

impl MigrationName for First {
    fn name(&self) -> &str {
        "m20260101_000001_first"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for First {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = |name: &str| ColumnDef::new(Alias::new(name)).to_owned();
        let table = Table::create()
            .table(Alias::new("ship"))
            .col(column("id").integer().auto_increment().primary_key())
            .col(column("name").text().not_null().unique_key())
            .col(column("big").big_integer())
            .col(column("price").decimal_len(20, 4))
            .col(column("key").uuid())
            .col(column("built").date())
            .col(column("seen").timestamp_with_time_zone())
            .col(column("doc").json_binary())
            .col(column("raw").binary())
            .to_owned();
        manager.create_table(table).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table(Alias::new("ship")).to_owned())
            .await
    }
}

/// A database of this name, migrated.
async fn database(name: &str) -> DatabaseConnection {
    let server = Database::connect(clients::url()).await.unwrap();
    server
        .execute_unprepared(&format!("DROP DATABASE IF EXISTS {name}"))
        .await
        .unwrap();
    server
        .execute_unprepared(&format!("CREATE DATABASE {name}"))
        .await
        .unwrap();
    let mut options =
        ConnectOptions::new(clients::url().replace("/postgres?", &format!("/{name}?")));
    options
        .max_connections(12)
        .acquire_timeout(Duration::from_secs(60));
    let db = Database::connect(options).await.unwrap();
    Migrator::up(&db, None).await.unwrap();
    db
}

#[tokio::test]
async fn entities_migrations_and_transactions() {
    let db = database("sea_one").await;
    let row = ship::ActiveModel {
        name: Set(LABEL.to_owned()),
        big: Set(Some(i64::MAX)),
        price: Set(Some("12345678.9012".parse().unwrap())),
        key: Set(Some(Uuid::new_v4())),
        built: Set(Date::from_ymd_opt(1999, 12, 31)),
        seen: Set(DateTimeUtc::from_timestamp_micros(1_709_209_845_123_456)),
        doc: Set(Some(serde_json::json!({ "a": [1, null], "ü": {} }))),
        raw: Set(Some((0..=255).collect())),
        ..Default::default()
    };
    let inserted = row.clone().insert(&db).await.unwrap();
    assert_eq!(ship::Entity::find().one(&db).await.unwrap(), Some(inserted));
    let transaction = db.begin().await.unwrap();
    ship::ActiveModel {
        name: Set("none".to_owned()),
        ..Default::default()
    }
    .insert(&transaction)
    .await
    .unwrap();
    let nested = transaction.begin().await.unwrap();
    let refused = row.insert(&nested).await.unwrap_err();
    assert!(
        matches!(
            refused.sql_err(),
            Some(SqlErr::UniqueConstraintViolation(_))
        ),
        "{refused}"
    );
    nested.rollback().await.unwrap();
    assert_eq!(ship::Entity::find().count(&transaction).await.unwrap(), 2);
    transaction.rollback().await.unwrap();
    assert_eq!(ship::Entity::find().count(&db).await.unwrap(), 1);
    Migrator::refresh(&db).await.unwrap();
    Migrator::down(&db, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_and_pages() {
    let db = database("sea_two").await;
    let all = (0..100).map(|i| {
        ship::ActiveModel {
            name: Set(format!("s{i:03}")),
            ..Default::default()
        }
        .insert(&db)
    });
    assert!(
        futures_util::future::join_all(all)
            .await
            .into_iter()
            .all(|inserted| inserted.is_ok())
    );
    let mut pages = ship::Entity::find()
        .order_by_asc(ship::Column::Name)
        .paginate(&db, 30);
    let mut seen = 0;
    while let Some(page) = pages.fetch_and_next().await.unwrap() {
        seen += page.len();
    }
    assert_eq!(seen, 100);
}
