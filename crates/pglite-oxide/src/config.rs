//! What both builders know: where the database is, and how PostgreSQL is started.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use pglite_oxide_cluster::{ClusterOptions, DataDirectory, Durability, Pack, PackError, Root};

use crate::error::{Error, Result};
use crate::options::DebugLevel;

/// Settings of PostgreSQL (GUCs), given to the postmaster as `-c name=value`: they go before `postgresql.conf`, and `SET`, `ALTER ROLE` and
/// `ALTER DATABASE` go before them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PostgresConfig {
    settings: BTreeMap<String, String>,
}

impl PostgresConfig {
    /// No settings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets or replaces one.
    #[must_use]
    pub fn set(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.insert(name, value);
        self
    }

    pub(crate) fn insert(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.settings.insert(name.into(), value.into());
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for PostgresConfig {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(settings: I) -> Self {
        Self {
            settings: settings
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        }
    }
}

/// The first pack that could not be read; the last call tells of it.
#[derive(Debug, Clone)]
pub(crate) struct Refused(pub(crate) Arc<PackError>);

impl PartialEq for Refused {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// The common part of the builders.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StartConfig {
    pub(crate) root: Root,
    pub(crate) postgres: PostgresConfig,
    pub(crate) username: String,
    pub(crate) database: String,
    pub(crate) debug_level: Option<DebugLevel>,
    pub(crate) relaxed_durability: bool,
    pub(crate) startup_args: Vec<String>,
    pub(crate) granted: Vec<PathBuf>,
    /// To be created, in this order.
    pub(crate) extensions: Vec<crate::extensions::Extension>,
    /// Loaded beside the linked extensions.
    pub(crate) packs: Vec<Pack>,
    /// Why one of them is not there.
    pub(crate) refused_pack: Option<Refused>,
    /// Whether a temporary database may start from a snapshot of one like it.
    pub(crate) template_cache: bool,
    /// What a new database begins with instead of the template.
    pub(crate) data: Option<DataDirectory>,
    /// An error found while building, told by the last call.
    pub(crate) refused: Option<String>,
}

impl Default for StartConfig {
    fn default() -> Self {
        Self {
            root: Root::Temporary,
            postgres: PostgresConfig::default(),
            username: "postgres".to_owned(),
            database: "postgres".to_owned(),
            debug_level: None,
            relaxed_durability: false,
            startup_args: Vec::new(),
            granted: Vec::new(),
            extensions: Vec::new(),
            packs: Vec::new(),
            refused_pack: None,
            template_cache: true,
            data: None,
            refused: None,
        }
    }
}

impl StartConfig {
    /// What the cluster is started with; listeners are still to be added.
    pub(crate) fn cluster_options(&self) -> Result<ClusterOptions> {
        if let Some(reason) = &self.refused {
            return Err(Error::argument("option", reason.clone()));
        }
        if let Some(Refused(error)) = &self.refused_pack {
            return Err(Error::Pack(Arc::clone(error)));
        }
        check_name("username", &self.username)?;
        check_name("database", &self.database)?;
        let mut options = ClusterOptions::new(self.root.clone());
        options.settings = self
            .postgres
            .settings
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        crate::extensions::add_settings(self, &mut options.settings);
        options.startup_args.clone_from(&self.startup_args);
        options.mounts.clone_from(&self.granted);
        options.data.clone_from(&self.data);
        options.packs.clone_from(&self.packs);
        options.debug_level = self.debug_level;
        if self.relaxed_durability {
            options.durability = Durability::Relaxed;
        }
        Ok(options)
    }
}

/// The platform's directory for an application's data.
pub(crate) fn application_root(
    qualifier: &str,
    organisation: &str,
    application: &str,
) -> Result<PathBuf, String> {
    directories::ProjectDirs::from(qualifier, organisation, application)
        .map(|project| project.data_dir().to_owned())
        .ok_or_else(|| "the user has no home directory".to_owned())
}

pub(crate) fn check_name(what: &'static str, name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::argument(what, "it is empty"));
    }
    if name.contains('\0') {
        return Err(Error::argument(what, "it contains a NUL byte"));
    }
    Ok(())
}

/// The builder methods that `PgliteBuilder` and `PgliteServerBuilder` share; both have a field `start: StartConfig`.
macro_rules! start_methods {
    () => {
        /// Keeps the database in this directory of the host; it is made if it is not there. It belongs to one process at a time.
        pub fn path(mut self, root: impl Into<std::path::PathBuf>) -> Self {
            self.start.root = pglite_oxide_cluster::Root::Directory(root.into());
            self
        }

        /// Keeps the database in the platform's data directory of an application.
        pub fn app(
            mut self,
            qualifier: impl AsRef<str>,
            organisation: impl AsRef<str>,
            application: impl AsRef<str>,
        ) -> Self {
            match crate::config::application_root(
                qualifier.as_ref(),
                organisation.as_ref(),
                application.as_ref(),
            ) {
                Ok(root) => self.start.root = pglite_oxide_cluster::Root::Directory(root),
                Err(reason) => self.start.refused = Some(reason),
            }
            self
        }

        /// [`Self::app`] with its three names in one tuple.
        pub fn app_id(self, app_id: (&str, &str, &str)) -> Self {
            self.app(app_id.0, app_id.1, app_id.2)
        }

        /// Keeps the database in memory, for as long as it is open. This is the default.
        pub fn temporary(mut self) -> Self {
            self.start.root = pglite_oxide_cluster::Root::Temporary;
            self
        }

        /// [`Self::temporary`], started in full: without [`Self::template_cache`].
        pub fn fresh_temporary(self) -> Self {
            self.temporary().template_cache(false)
        }

        /// Whether a temporary database may start from a snapshot of a fresh one with the same options, which the process keeps from the second one on (some 20 MB
        /// for each of the last 8 kinds): a millisecond instead of tens. On by default; nothing but the time tells the difference.
        pub fn template_cache(mut self, enabled: bool) -> Self {
            self.start.template_cache = enabled;
            self
        }

        /// Begins with the data directory in this archive ([`crate::Pglite::dump_data_dir`], or a tar of a cleanly stopped PostgreSQL 18 data directory made for this
        /// platform), instead of an empty database. A directory given to [`Self::path`] must be empty then. An archive that cannot be used makes the start fail.
        pub fn load_data_dir_archive(mut self, archive: impl AsRef<[u8]>) -> Self {
            match crate::archive::read(archive.as_ref()) {
                Ok(data) => self.start.data = Some(data),
                Err(error) => self.start.refused = Some(error.to_string()),
            }
            self
        }

        /// Sets a PostgreSQL setting. An invalid name or value makes the start fail, naming the setting.
        pub fn postgres_config(
            mut self,
            name: impl Into<String>,
            value: impl Into<String>,
        ) -> Self {
            self.start.postgres.insert(name, value);
            self
        }

        /// Sets several.
        pub fn postgres_configs<K: Into<String>, V: Into<String>>(
            mut self,
            settings: impl IntoIterator<Item = (K, V)>,
        ) -> Self {
            for (name, value) in settings {
                self.start.postgres.insert(name, value);
            }
            self
        }

        /// The role of the first session, or in the URL; `postgres`, the superuser, by default. It must exist.
        pub fn username(mut self, username: impl Into<String>) -> Self {
            self.start.username = username.into();
            self
        }

        /// The database of the first session, or in the URL; `postgres` by default. It must exist.
        pub fn database(mut self, database: impl Into<String>) -> Self {
            self.start.database = database.into();
            self
        }

        /// PostgreSQL's own debug level, 0 to 5. Its log goes to `tracing`, target `pglite_oxide::postgres`.
        pub fn debug_level(mut self, level: crate::options::DebugLevel) -> Self {
            self.start.debug_level = Some(level);
            self
        }

        /// For a persistent database: commits do not wait for the disk (`synchronous_commit=off`). A crash may then lose the last commits (about 0.6 s),
        /// but nothing is ever corrupted. Temporary databases do not wait anyway.
        pub fn relaxed_durability(mut self, enabled: bool) -> Self {
            self.start.relaxed_durability = enabled;
            self
        }

        /// Lets SQL read and write a directory of the host, and what is below it, at the same absolute path: for `COPY` with server-side files. Symbolic links out of
        /// it lead nowhere. Without this call SQL sees no file of the host.
        pub fn grant_directory(mut self, directory: impl Into<std::path::PathBuf>) -> Self {
            self.start.granted.push(directory.into());
            self
        }

        /// Creates an extension in the database that is opened, with those it needs, and starts the server with the settings it needs.
        pub fn extension(mut self, extension: crate::extensions::Extension) -> Self {
            self.start.extensions.push(extension);
            self
        }

        /// Several, in this order.
        pub fn extensions(
            mut self,
            extensions: impl IntoIterator<Item = crate::extensions::Extension>,
        ) -> Self {
            self.start.extensions.extend(extensions);
            self
        }

        /// Adds an extension that `pglite ext build` made to those that `CREATE EXTENSION` finds, and preloads it if it must be. A database that uses it needs it at every start; forks and
        /// snapshots have it.
        ///
        /// **A pack is native code.** It runs in this process with all of the process's rights, like a C library that the program links: the sandbox that SQL and PostgreSQL's own code live in
        /// does not hold whoever made a pack. Its hashes are checked against damage, which says nothing about where it comes from. Name only packs that you would link.
        ///
        /// The file is read and checked here; if it cannot be used, the last call fails with [`crate::Error::Pack`], before anything is started or made on disk.
        #[cfg(feature = "extension-packs")]
        pub fn extension_pack(mut self, path: impl AsRef<std::path::Path>) -> Self {
            match pglite_oxide_cluster::Pack::open(path) {
                Ok(pack) => self.start.packs.push(pack),
                Err(error) => {
                    self.start
                        .refused_pack
                        .get_or_insert(crate::config::Refused(std::sync::Arc::new(error)));
                }
            }
            self
        }

        /// Adds an argument to the postmaster's command line.
        pub fn startup_arg(mut self, arg: impl Into<String>) -> Self {
            self.start.startup_args.push(arg.into());
            self
        }

        /// Adds several.
        pub fn startup_args(mut self, args: impl IntoIterator<Item = impl Into<String>>) -> Self {
            self.start
                .startup_args
                .extend(args.into_iter().map(Into::into));
            self
        }
    };
}
pub(crate) use start_methods;
