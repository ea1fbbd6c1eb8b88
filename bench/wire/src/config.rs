//! Where and as whom to connect.

use std::path::PathBuf;
use std::str::FromStr;

use crate::{Error, Result};

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// Host name or address.
    Tcp(String),
    /// The directory that has the socket file.
    Unix(PathBuf),
}

/// What a connection needs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where.
    pub host: Host,
    /// TCP port; part of the socket file's name for Unix sockets.
    pub port: u16,
    /// Role.
    pub user: String,
    /// Password; empty if none.
    pub password: String,
    /// Database.
    pub database: String,
    /// Further startup parameters, such as `replication`.
    pub params: Vec<(String, String)>,
}

impl Config {
    /// Reads a `postgres://` URL or a `key=value` string as libpq does.
    pub fn parse(text: &str) -> Result<Self> {
        let parsed = tokio_postgres::Config::from_str(text)
            .map_err(|error| Error::Url(error.to_string()))?;
        let host = match parsed.get_hosts().first() {
            Some(tokio_postgres::config::Host::Tcp(name)) => Host::Tcp(name.clone()),
            #[cfg(unix)]
            Some(tokio_postgres::config::Host::Unix(path)) => Host::Unix(path.clone()),
            None => return Err(Error::Url(format!("no host in {text}"))),
        };
        let user = parsed.get_user().unwrap_or("postgres").to_owned();
        Ok(Self {
            host,
            port: parsed.get_ports().first().copied().unwrap_or(5432),
            database: parsed.get_dbname().unwrap_or(&user).to_owned(),
            user,
            password: String::from_utf8_lossy(parsed.get_password().unwrap_or_default())
                .into_owned(),
            params: Vec::new(),
        })
    }

    /// The same server, another database.
    #[must_use]
    pub fn database(mut self, name: &str) -> Self {
        name.clone_into(&mut self.database);
        self
    }

    /// With one more startup parameter.
    #[must_use]
    pub fn param(mut self, name: &str, value: &str) -> Self {
        self.params.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What libpq's programs take as `--host`.
    pub fn host_argument(&self) -> String {
        match &self.host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(dir) => dir.display().to_string(),
        }
    }

    /// The same as a URL.
    pub fn url(&self) -> String {
        let Self {
            user,
            password,
            database,
            port,
            ..
        } = self;
        match &self.host {
            Host::Tcp(name) => format!("postgres://{user}:{password}@{name}:{port}/{database}"),
            Host::Unix(dir) => format!(
                "postgres://{user}:{password}@{}:{port}/{database}",
                dir.display()
                    .to_string()
                    .replace('%', "%25")
                    .replace('/', "%2F")
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_survive_a_round_trip() {
        for url in [
            "postgres://u:secret@127.0.0.1:5433/d",
            "postgres://u:secret@%2Ftmp%2Fx%20y:5433/d",
        ] {
            let config = Config::parse(url).unwrap();
            let again = Config::parse(&config.url()).unwrap();
            assert_eq!(
                (&config.host, config.port, &config.database),
                (&again.host, again.port, &again.database)
            );
            assert_eq!(again.password, "secret");
        }
        let unix = Config::parse("postgres://u@%2Frun%2Fpg:5433/d").unwrap();
        assert_eq!(unix.host, Host::Unix("/run/pg".into()));
    }
}
