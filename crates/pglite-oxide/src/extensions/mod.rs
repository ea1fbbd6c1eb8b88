//! The extensions that are linked into this build: one constant each.
//!
//! `CREATE EXTENSION name` works with all of them, without naming any before. Naming one in a builder ([`crate::PgliteBuilder::extension`]) also creates it in the database that is
//! opened, and makes the settings that some of them need at the server's start. Which ones are linked is decided by the cargo features `ext-NAME`; `extensions`, on by default,
//! is all of them but those under the GPL, which are `extensions-gpl`, and those with another reason not to be linked unasked, which stands with their constants. See
//! `docs/EXTENSIONS.md` for the list.
//!
//! ```no_run
//! # fn main() -> pglite_oxide::Result<()> {
//! use pglite_oxide::{Pglite, extensions};
//! let mut db = Pglite::builder().extension(extensions::by_sql_name("vector").unwrap()).open()?;
//! db.exec("CREATE TABLE item (embedding vector(3))", None)?;
//! # Ok(()) }
//! ```

use std::fmt;
use std::hash::{Hash, Hasher};

use crate::config::StartConfig;
use crate::error::{Error, Result};
use crate::session::Pglite;
use crate::template::quote_identifier;

mod list;

pub use list::*;

/// A linked extension.
#[derive(Clone, Copy)]
pub struct Extension(&'static Data);

struct Data {
    name: &'static str,
    sql_name: &'static str,
    version: &'static str,
    licence: &'static str,
    summary: &'static str,
    dependencies: &'static [&'static str],
    libraries: &'static [&'static str],
    settings: &'static [(&'static str, &'static str)],
    created: bool,
    preloaded: bool,
}

/// The linked extension with this name in SQL, such as `pg_trgm` or `uuid-ossp`.
#[must_use]
pub fn by_sql_name(name: &str) -> Option<Extension> {
    ALL.iter()
        .copied()
        .find(|extension| extension.sql_name() == name)
}

impl Extension {
    /// Its name here, which is that of its cargo feature without `ext-`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0.name
    }

    /// Its name in `CREATE EXTENSION`.
    #[must_use]
    pub const fn sql_name(self) -> &'static str {
        self.0.sql_name
    }

    /// The version of the sources it was built from: PostgreSQL's own for what comes with it.
    #[must_use]
    pub const fn version(self) -> &'static str {
        self.0.version
    }

    /// Its licence.
    #[must_use]
    pub const fn licence(self) -> &'static str {
        self.0.licence
    }

    /// What it is, in one line.
    #[must_use]
    pub const fn summary(self) -> &'static str {
        self.0.summary
    }

    /// The names in SQL of the extensions that it needs.
    #[must_use]
    pub const fn dependencies(self) -> &'static [&'static str] {
        self.0.dependencies
    }

    /// The names of its libraries, as `LOAD` and `shared_preload_libraries` take them.
    #[must_use]
    pub const fn libraries(self) -> &'static [&'static str] {
        self.0.libraries
    }

    /// Settings that the server must be started with, besides preloading; a builder makes them.
    #[must_use]
    pub const fn settings(self) -> &'static [(&'static str, &'static str)] {
        self.0.settings
    }

    /// Whether there is a `CREATE EXTENSION` for it; otherwise it is a module to `LOAD` or to preload.
    #[must_use]
    pub const fn is_created(self) -> bool {
        self.0.created
    }

    /// Whether its library must be preloaded when the server starts; a builder sees to it.
    #[must_use]
    pub const fn must_be_preloaded(self) -> bool {
        self.0.preloaded
    }
}

impl PartialEq for Extension {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Extension {}

impl Hash for Extension {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
    }
}

impl fmt::Debug for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Extension").field(&self.0.name).finish()
    }
}

impl fmt::Display for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.sql_name)
    }
}

const PRELOAD: &str = "shared_preload_libraries";

/// What the named extensions need at the start is added to `settings`; what the user has set stays.
pub(crate) fn add_settings(start: &StartConfig, settings: &mut Vec<(String, String)>) {
    for extension in &start.extensions {
        for (name, value) in extension.settings() {
            if !settings.iter().any(|(known, _)| known == name) {
                settings.push(((*name).to_owned(), (*value).to_owned()));
            }
        }
        if extension.must_be_preloaded() {
            for library in extension.libraries() {
                preload(library, settings);
            }
        }
    }
    for library in pglite_oxide_cluster::preloaded(&start.packs) {
        preload(library, settings);
    }
}

fn preload(library: &str, settings: &mut Vec<(String, String)>) {
    match settings.iter_mut().find(|(name, _)| name == PRELOAD) {
        None => settings.push((PRELOAD.to_owned(), library.to_owned())),
        Some((_, list)) => {
            if !list.split(',').any(|known| known.trim() == library) {
                if !list.trim().is_empty() {
                    list.push(',');
                }
                list.push_str(library);
            }
        }
    }
}

/// Creates the named extensions, in their order.
pub(crate) fn create(start: &StartConfig, session: &mut Pglite) -> Result<()> {
    for extension in &start.extensions {
        session.enable_extension(*extension)?;
    }
    Ok(())
}

impl Pglite {
    /// Creates an extension in this session's database, with those it needs, unless it is there. A module without `CREATE EXTENSION` is loaded into this session.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for one that must be preloaded and was not named in the builder; [`Error::Database`] when PostgreSQL refuses.
    pub fn enable_extension(&mut self, extension: Extension) -> Result<()> {
        if extension.must_be_preloaded() {
            let answer = self.query(&format!("SHOW {PRELOAD}"), &[], None)?;
            let list = answer
                .rows
                .first()
                .and_then(|row| row[PRELOAD].as_str())
                .unwrap_or_default();
            let known: Vec<&str> = list
                .split(',')
                .map(|name| name.trim().trim_matches('"'))
                .collect();
            if let Some(missing) = extension
                .libraries()
                .iter()
                .find(|library| !known.contains(*library))
            {
                return Err(Error::argument(
                    "extension",
                    format!(
                        "{missing} must be preloaded when the server starts: name it in the builder, with extension()"
                    ),
                ));
            }
        }
        if extension.is_created() {
            let name = quote_identifier(extension.sql_name());
            self.exec(
                &format!("CREATE EXTENSION IF NOT EXISTS {name} CASCADE"),
                None,
            )?;
        } else if !extension.must_be_preloaded() {
            for library in extension.libraries() {
                self.exec(&format!("LOAD '{library}'"), None)?;
            }
        }
        Ok(())
    }

    /// Does nothing but check that they can be used: a linked extension is a part of PostgreSQL's image, and there is nothing to load ahead of time. For code written for earlier versions.
    ///
    /// # Errors
    /// None today.
    pub fn preload_extensions(extensions: impl IntoIterator<Item = Extension>) -> Result<()> {
        extensions.into_iter().for_each(drop);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for extension in ALL {
            assert_eq!(by_sql_name(extension.sql_name()), Some(*extension));
            for needed in extension.dependencies() {
                assert!(by_sql_name(needed).is_some(), "{extension} needs {needed}");
            }
        }
        assert_eq!(by_sql_name("no such extension"), None);
    }

    #[cfg(all(feature = "ext-pg_stat_statements", feature = "ext-vector"))]
    #[test]
    fn preloading_is_added_to_what_the_user_set() {
        let mut start = StartConfig::default();
        start.extensions.extend([VECTOR, PG_STAT_STATEMENTS]);
        let mut settings = vec![(PRELOAD.to_owned(), "auto_explain".to_owned())];
        add_settings(&start, &mut settings);
        add_settings(&start, &mut settings);
        assert_eq!(
            settings,
            [(
                PRELOAD.to_owned(),
                "auto_explain,pg_stat_statements".to_owned()
            )]
        );
    }
}
