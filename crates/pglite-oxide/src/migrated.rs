//! Templates: databases that were migrated once and are handed out as forks.

use std::collections::HashMap;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pglite_oxide_cluster::{Cluster, DataDirectory, Root, ShutdownMode};

use crate::builder::PgliteBuilder;
use crate::cache::lock;
use crate::config::StartConfig;
use crate::connector::Connector;
use crate::error::{Error, Result};
use crate::kept_file;
use crate::kept_image::KeptImage;
use crate::session::Pglite;
use crate::snapshot::Snapshot;

/// Where templates are kept, instead of the user's cache directory; empty keeps none.
const DIRECTORY_VARIABLE: &str = "PGLITE_OXIDE_TEMPLATES";
/// Files that nobody has used for so long are removed when another is written.
const KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long the migrated database may take to write everything down.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(60);

/// A migrated database, ready to be forked: see [`Pglite::template`]. Cheap to clone; `Send` and `Sync`.
#[derive(Clone, Debug)]
pub struct Template(Arc<Kept>);

#[derive(Debug)]
struct Kept {
    start: StartConfig,
    /// Not there if there is a snapshot, which came from an image: the data is in that, too.
    data: Option<DataDirectory>,
    image: Option<KeptImage>,
    forks: Mutex<Forks>,
}

#[derive(Debug, Default)]
struct Forks {
    /// There was a first fork: without an image to open from or to make, it was started in full, as one alone is not worth a snapshot.
    begun: bool,
    snapshot: Option<Snapshot>,
}

/// A template, once it is made; locked while somebody makes it.
type Slot = Arc<Mutex<Option<Template>>>;

/// Templates of this process by their full keys.
static TEMPLATES: Mutex<Option<HashMap<String, Slot>>> = Mutex::new(None);

impl Pglite {
    /// The template `key`: a temporary database on which `migrate` has run, once. Forks of it take about a millisecond each.
    ///
    /// `key` names everything that `migrate` depends on: put a hash of the migration files into it. The result is kept on disk, too (in the user's cache directory, or where
    /// `PGLITE_OXIDE_TEMPLATES` says; empty: nowhere), so that other processes and later runs do not migrate again; one made by another build of this crate is not used. Of several threads and
    /// processes that want a template at the same time one migrates and the others wait.
    ///
    /// ```no_run
    /// # fn main() -> pglite_oxide::Result<()> {
    /// # const MIGRATIONS: &str = "";
    /// let template = pglite_oxide::Pglite::template(MIGRATIONS, |db| db.exec(MIGRATIONS, None).map(drop))?;
    /// let mut db = template.fork()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of `migrate`, and of opening a database. Nothing is kept then. A cache that cannot be written is only a warning.
    pub fn template(
        key: impl AsRef<str>,
        migrate: impl FnOnce(&mut Pglite) -> Result<()>,
    ) -> Result<Template> {
        Self::builder().template(key, migrate)
    }
}

impl PgliteBuilder {
    /// [`Pglite::template`] with the options of this builder, which become part of the key.
    ///
    /// # Errors
    /// As there; [`Error::InvalidArgument`] for a database in a directory.
    pub fn template(
        self,
        key: impl AsRef<str>,
        migrate: impl FnOnce(&mut Pglite) -> Result<()>,
    ) -> Result<Template> {
        let start = self.into_start();
        if start.root != Root::Temporary || start.data.is_some() {
            return Err(Error::argument(
                "template",
                "it is made of a new temporary database, not of one in a directory or archive",
            ));
        }
        let full_key = format!(
            "{} {} {}\n{start:?}\n{}",
            env!("CARGO_PKG_VERSION"),
            pglite_oxide_cluster::fingerprint(),
            pglite_oxide_cluster::template_fingerprint(),
            key.as_ref()
        );
        let slot = Arc::clone(
            lock(&TEMPLATES)
                .get_or_insert_default()
                .entry(full_key.clone())
                .or_default(),
        );
        let mut slot = lock(&slot);
        if let Some(template) = &*slot {
            return Ok(template.clone());
        }
        let path = directory().map(|all| file(&all, &full_key));
        let image = path
            .as_deref()
            .and_then(|path| KeptImage::beside(path, &full_key));
        let kept = match image.as_ref().and_then(KeptImage::open) {
            Some(snapshot) => Kept {
                start,
                data: None,
                image: None,
                forks: Mutex::new(Forks {
                    begun: true,
                    snapshot: Some(snapshot),
                }),
            },
            None => {
                let make = || migrated(&start, migrate);
                let (data, is_stored) = match &path {
                    Some(path) => stored(path, &full_key, image.as_ref(), make)?,
                    None => (make()?, false),
                };
                Kept {
                    start,
                    data: Some(data),
                    image: image.filter(|_| is_stored),
                    forks: Mutex::default(),
                }
            }
        };
        let template = Template(Arc::new(kept));
        *slot = Some(template.clone());
        Ok(template)
    }
}

/// Migrates; what the cluster has written when it has stopped in order.
fn migrated(
    start: &StartConfig,
    migrate: impl FnOnce(&mut Pglite) -> Result<()>,
) -> Result<DataDirectory> {
    let mut session = PgliteBuilder::of(start.clone()).open()?;
    migrate(&mut session)?;
    let connector = session.connector();
    session.close()?;
    let cluster = connector.cluster();
    cluster.shutdown(ShutdownMode::Fast, SHUTDOWN_PATIENCE)?;
    Ok(cluster.data_directory()?)
}

/// The directory of templates, if there is to be one.
fn directory() -> Option<PathBuf> {
    match std::env::var_os(DIRECTORY_VARIABLE) {
        Some(path) if path.is_empty() => None,
        Some(path) => Some(PathBuf::from(path)),
        None => Some(
            directories::BaseDirs::new()?
                .cache_dir()
                .join("pglite-oxide")
                .join("templates"),
        ),
    }
}

/// The file of the template with this key.
fn file(directory: &Path, key: &str) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    directory.join(format!("{:016x}.template", hasher.finish()))
}

/// What is stored in this file under the key, or what `make` makes, stored; and whether it is stored there now.
fn stored(
    path: &Path,
    key: &str,
    image: Option<&KeptImage>,
    make: impl FnOnce() -> Result<DataDirectory>,
) -> Result<(DataDirectory, bool)> {
    let _lock = match locked(path) {
        Ok(lock) => lock,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "templates are not kept");
            return Ok((make()?, false));
        }
    };
    if let Some(data) = load(path, key)? {
        return Ok((data, true));
    }
    let data = make()?;
    if let Err(error) = store(path, key, &data) {
        tracing::warn!(path = %path.display(), %error, "the template is not kept");
        return Ok((data, false));
    }
    // Of a template that was there before, under the same name.
    if let Some(image) = image {
        image.forget();
    }
    Ok((data, true))
}

/// Keeps other processes from making the same template, until dropped.
fn locked(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let file = kept_file::lock_file(&path.with_extension("lock"))?;
    file.lock()?;
    Ok(file)
}

/// What is stored there, if it is of this key and build.
fn load(path: &Path, key: &str) -> Result<Option<DataDirectory>> {
    let Ok(bytes) = fs::read(path) else {
        return Ok(None);
    };
    let Some(rest) = bytes.strip_prefix(kept_file::head(key).as_slice()) else {
        return Ok(None);
    };
    let data = DataDirectory::from_delta(rest)?;
    if data.is_some() {
        kept_file::mark_used(path);
    }
    Ok(data)
}

fn store(path: &Path, key: &str, data: &DataDirectory) -> Result<()> {
    let delta = data.to_delta()?;
    let part = path.with_extension("part");
    let write = || {
        let bytes = [kept_file::head(key), delta].concat();
        fs::write(&part, bytes)?;
        fs::rename(&part, path)
    };
    write().map_err(|source| Error::File {
        what: format!("cannot write {}", path.display()),
        source,
    })?;
    if let Some(directory) = path.parent() {
        sweep(directory);
    }
    Ok(())
}

/// Removes what nobody has used for long.
fn sweep(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let old = entry
            .metadata()
            .and_then(|data| data.modified())
            .is_ok_and(|at| at.elapsed().is_ok_and(|age| age > KEPT_FOR));
        if old {
            let _ = fs::remove_file(entry.path());
        }
    }
}

impl Template {
    /// A new temporary database as the migration left it, with a fresh session. Blocks for about a millisecond; the first fork of a process for half as long as a start in full
    /// takes, if a process of the same executable has left an image beside the template, and for somewhat longer than one if it is the one to leave it.
    ///
    /// # Errors
    /// Those of opening a database.
    pub fn fork(&self) -> Result<Pglite> {
        self.fork_at(&[])
    }

    /// [`Self::fork`] for a server that is going to listen on these addresses.
    pub(crate) fn fork_at(&self, tcp: &[SocketAddr]) -> Result<Pglite> {
        let mut forks = lock(&self.0.forks);
        if let Some(snapshot) = &forks.snapshot {
            let snapshot = snapshot.clone();
            drop(forks);
            return snapshot.open_at(tcp);
        }
        let first = !std::mem::replace(&mut forks.begun, true);
        let image = self.0.image.as_ref().filter(|_| first);
        let making = image.and_then(KeptImage::begin);
        if tcp.is_empty() && first && making.is_none() {
            drop(forks);
            return self.0.open();
        }
        let mut session = self.0.open()?;
        session.warm_up()?;
        let snapshot = session.snapshot()?;
        if let Some(making) = making {
            making.keep(&snapshot);
        }
        forks.snapshot = Some(snapshot.clone());
        drop(forks);
        snapshot.open_at(tcp)
    }
}

impl Kept {
    /// Starts the migrated database in full.
    fn open(&self) -> Result<Pglite> {
        let mut options = self.start.cluster_options()?;
        options.data.clone_from(&self.data);
        let cluster = Arc::new(Cluster::start(options)?);
        Connector::new(cluster, &self.start.username, &self.start.database).connect()
    }
}
