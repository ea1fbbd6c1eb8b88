//! What the tests of this package share.

/// The server that `pglite run` started for them.
pub fn url() -> String {
    std::env::var("DATABASE_URL").expect("run by `pglite run -- cargo test`")
}

/// True where the server is reached through a Unix socket: there is no SSL and no password.
pub fn is_unix() -> bool {
    url().contains("host=%2F")
}

/// The URL with another `sslmode`.
pub fn with_sslmode(mode: &str) -> String {
    url().replace("sslmode=disable", &format!("sslmode={mode}"))
}

/// What every client writes and reads.
pub const LABEL: &str = "naïve 'quoted' \\ text \u{1F418}";
