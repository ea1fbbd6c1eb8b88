//! What the tests of the suite do: 200 tests of five statements each on a migrated schema of 60 tables (`cargo xtask bench tests`).

/// How many tables the migrations make.
pub const TABLES: usize = 60;

/// The migrations, as `#[sqlx::test]` runs them.
pub const MIGRATIONS: [&str; 6] = [
    include_str!("../migrations/0001_tables.sql"),
    include_str!("../migrations/0002_tables.sql"),
    include_str!("../migrations/0003_tables.sql"),
    include_str!("../migrations/0004_tables.sql"),
    include_str!("../migrations/0005_tables.sql"),
    include_str!("../migrations/0006_tables.sql"),
];

/// The statements of a test: each gives one row with one `bigint`, the second of the pair if the test has its database to itself.
#[must_use]
pub fn statements(test: usize) -> [(String, i64); 5] {
    let child = test % (TABLES - 1) + 1;
    let (table, parent) = (format!("thing_{child}"), format!("thing_{}", child - 1));
    [
        (
            format!(
                "INSERT INTO {table} (name, amount, parent) VALUES ('of the test', {test}, 3) RETURNING id"
            ),
            11,
        ),
        (
            format!(
                "UPDATE {table} SET amount = amount + 1, tags = '{{a,b}}' WHERE name = 'of the test' RETURNING amount::bigint"
            ),
            i64::try_from(test).unwrap_or(i64::MAX) + 1,
        ),
        (format!("SELECT count(*) FROM {table}"), 11),
        (
            format!(
                "SELECT p.amount::bigint FROM {table} c JOIN {parent} p ON p.id = c.parent WHERE c.name = 'of the test'"
            ),
            3,
        ),
        (
            format!(
                "WITH gone AS (DELETE FROM {table} WHERE details @> '{{\"n\": 4}}' RETURNING 1) SELECT count(*) FROM gone"
            ),
            1,
        ),
    ]
}
