//! Which database a command works on.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;

use clap::Args;
use pglite_oxide::{Connector, Extension, Pglite, PgliteServer, extensions};

/// A setting of PostgreSQL, `NAME=VALUE`.
pub fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} is not of the form NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

/// A TCP address to listen on; a name such as `localhost` means the first IPv4 address that it has.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let all = text.to_socket_addrs().map_err(|error| {
        format!("{error}; it is to be an address and a port, such as 127.0.0.1:5432")
    })?;
    all.min_by_key(SocketAddr::is_ipv6)
        .ok_or_else(|| format!("{text} has no address"))
}

/// Where the data is and how PostgreSQL is started.
#[derive(Args, Clone, Debug)]
pub struct Place {
    /// Keeps the data in this directory [default: in memory, gone at the end]
    #[arg(long, short = 'p', value_name = "DIR")]
    pub path: Option<PathBuf>,
    /// A setting of PostgreSQL; may be given several times
    #[arg(long = "set", short = 'c', value_name = "NAME=VALUE", value_parser = setting)]
    pub settings: Vec<(String, String)>,
    /// Extensions.
    #[command(flatten)]
    pub added: Added,
}

/// Extensions beside those that SQL creates by itself.
#[derive(Args, Clone, Debug, Default)]
pub struct Added {
    /// Creates this bundled extension, preloaded if it must be; may be given several times
    #[arg(long = "extension", value_name = "NAME", value_parser = bundled)]
    pub extensions: Vec<Extension>,
    /// Loads a pack that `pglite ext build` made, for CREATE EXTENSION to find. It is native code: name only what you would run. May be given several times
    #[arg(long = "extension-pack", value_name = "FILE")]
    pub packs: Vec<PathBuf>,
}

/// A bundled extension by its name in SQL.
fn bundled(name: &str) -> Result<Extension, String> {
    extensions::by_sql_name(name).ok_or_else(|| {
        let names: Vec<&str> = extensions::ALL
            .iter()
            .map(|extension| extension.sql_name())
            .collect();
        format!(
            "no such extension is bundled; there are {}",
            names.join(", ")
        )
    })
}

/// A database, for commands that connect to it.
#[derive(Args, Clone, Debug)]
pub struct Database {
    #[command(flatten)]
    place: Place,
    /// The database's name
    #[arg(long, short = 'd', value_name = "NAME", default_value = "postgres")]
    dbname: String,
    /// The role to connect as
    #[arg(long, short = 'U', value_name = "NAME", default_value = "postgres")]
    username: String,
}

impl Database {
    /// A database in memory, with these settings.
    #[must_use]
    pub fn at(path: Option<PathBuf>) -> Self {
        Self {
            place: Place {
                path,
                settings: Vec::new(),
                added: Added::default(),
            },
            dbname: "postgres".to_owned(),
            username: "postgres".to_owned(),
        }
    }

    /// Where its data is; `None` for one in memory.
    #[must_use]
    pub fn path(&self) -> Option<&PathBuf> {
        self.place.path.as_ref()
    }

    /// An error if there is no database in the directory yet: commands that only read it should not make one.
    pub fn must_exist(&self) -> Result<(), String> {
        match self.path() {
            None => Err("which database? Give its directory with --path".to_owned()),
            Some(path) if path.join("data/PG_VERSION").is_file() => Ok(()),
            Some(path) => Err(format!("there is no database in {}", path.display())),
        }
    }

    /// Opens it. Its directory is locked meanwhile: no other process has it open.
    pub fn open(&self) -> pglite_oxide::Result<Open> {
        let added = self.place.added.clone();
        let mut builder = Pglite::builder()
            .postgres_configs(self.place.settings.clone())
            .extensions(added.extensions);
        for pack in added.packs {
            builder = builder.extension_pack(pack);
        }
        if let Some(path) = self.path() {
            builder = builder.path(path);
        }
        // The session is of the superuser on the database that is always there; whether the wanted ones are, the program that connects finds out.
        let session = builder.open()?;
        let connector = session
            .connector()
            .username(self.username.clone())
            .database(self.dbname.clone());
        Ok(Open { session, connector })
    }
}

/// An open database.
pub struct Open {
    session: Pglite,
    /// What connects to it, as the role and on the database that the command names.
    pub connector: Connector,
}

/// How long a shutdown may take.
const SHUTDOWN_PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

impl Open {
    /// Shuts it down in order; what was written is in the directory then.
    pub fn close(self) -> pglite_oxide::Result<()> {
        let cluster = self.connector.clone();
        drop(self.session);
        cluster
            .cluster()
            .shutdown(pglite_oxide::ShutdownMode::Fast, SHUTDOWN_PATIENCE)?;
        Ok(())
    }
}

impl Added {
    /// The builder with these.
    #[must_use = "builders do nothing by themselves"]
    pub fn add_to(
        self,
        builder: pglite_oxide::PgliteServerBuilder,
    ) -> pglite_oxide::PgliteServerBuilder {
        self.packs.into_iter().fold(
            builder.extensions(self.extensions),
            pglite_oxide::PgliteServerBuilder::extension_pack,
        )
    }
}

impl Place {
    /// A builder of a server for it.
    pub fn server(self) -> pglite_oxide::PgliteServerBuilder {
        let builder = self
            .added
            .add_to(PgliteServer::builder().postgres_configs(self.settings));
        match self.path {
            Some(path) => builder.path(path),
            None => builder,
        }
    }
}
