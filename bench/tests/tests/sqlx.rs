//! The suite as users of SQLx write it: every test gets a database of its own from `#[sqlx::test]`, on the server that `DATABASE_URL` names.

use pglite_oxide_bench_tests::statements;
use seq_macro::seq;
use sqlx::PgPool;

async fn test(number: usize, pool: &PgPool) {
    for (sql, expected) in statements(number) {
        let found: i64 = sqlx::query_scalar(&sql).fetch_one(pool).await.unwrap();
        assert_eq!(found, expected, "{sql}");
    }
}

seq!(N in 0..200 {
    #(
        #[sqlx::test]
        #[ignore = "a bench: cargo xtask bench tests"]
        async fn test_~N(pool: PgPool) {
            test(N, &pool).await;
        }
    )*
});
