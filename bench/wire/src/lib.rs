//! A small blocking PostgreSQL client for benches and tests.
//!
//! It exists because a bench wants the least possible client between the clock and the server (no runtime, one thread, one write and few reads per
//! request), and because tests want what ordinary clients hide: a connection that is reset in mid-result, a replication stream, a raw cancel request.
//! Applications use `tokio-postgres` or SQLx.

mod client;
mod config;
mod stream;

pub use client::{Client, Rows};
pub use config::{Config, Host};

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection broke, or could not be made.
    #[error("connection: {0}")]
    Io(#[from] std::io::Error),
    /// The server answered with an error.
    #[error("{severity} {code}: {message}")]
    Server {
        /// `ERROR` or `FATAL`.
        severity: String,
        /// SQLSTATE.
        code: String,
        /// The primary message.
        message: String,
    },
    /// The server said something that this client does not understand.
    #[error("protocol: {0}")]
    Protocol(String),
    /// The connection URL is not one.
    #[error("connection URL: {0}")]
    Url(String),
}

impl Error {
    /// The SQLSTATE, if the server sent one.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Server { code, .. } => Some(code),
            _ => None,
        }
    }
}

/// Results of this crate.
pub type Result<T> = std::result::Result<T, Error>;
