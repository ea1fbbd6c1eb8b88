//! diesel-async: a test transaction, and a pool.

use diesel::dsl::sql;
use diesel::sql_types::BigInt;
use diesel::{ExpressionMethods as _, QueryDsl as _};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, deadpool};
use diesel_async::{
    AsyncConnection as _, AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _,
};

diesel::table! {
    item (id) {
        id -> BigInt,
        label -> Text,
        words -> Array<Text>,
    }
}

#[tokio::test]
async fn test_transaction() {
    let mut db = AsyncPgConnection::establish(&clients::url()).await.unwrap();
    db.begin_test_transaction().await.unwrap();
    db.batch_execute("CREATE TABLE item (id bigserial PRIMARY KEY, label text, words text[])")
        .await
        .unwrap();
    let words = vec!["a".to_owned(), "{b,c}".to_owned()];
    let row = (item::label.eq(clients::LABEL), item::words.eq(&words));
    let id: i64 = diesel::insert_into(item::table)
        .values(row)
        .returning(item::id)
        .get_result(&mut db)
        .await
        .unwrap();
    let got: Vec<(i64, String, Vec<String>)> = item::table.load(&mut db).await.unwrap();
    assert_eq!(got, [(id, clients::LABEL.to_owned(), words)]);
}

#[tokio::test]
async fn pool() {
    let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new(clients::url());
    let pool = deadpool::Pool::builder(manager)
        .max_size(12)
        .build()
        .unwrap();
    let all = (0..100_i64).map(|i| {
        let pool = pool.clone();
        async move {
            let mut db = pool.get().await.unwrap();
            diesel::select(sql::<BigInt>("").bind::<BigInt, _>(i))
                .get_result::<i64>(&mut db)
                .await
                .unwrap()
        }
    });
    assert_eq!(
        futures_util::future::join_all(all).await,
        (0..100).collect::<Vec<_>>()
    );
}
