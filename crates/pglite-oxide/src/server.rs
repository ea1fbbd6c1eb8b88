//! Serving a cluster to any PostgreSQL client, over TCP and Unix sockets.

use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pglite_oxide_cluster::{Cluster, Listener, Root, ShutdownMode, TcpAuth};

use crate::cache;
use crate::config::{StartConfig, start_methods};
use crate::connector::Connector;
use crate::error::{Error, Result};
use crate::migrated::Template;
use crate::scram;
use crate::session::Pglite;
use crate::snapshot::Snapshot;
use crate::template::quote_identifier;

/// How long [`PgliteServer::shutdown`] waits.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(60);

/// A cluster that takes connections on sockets of the host.
///
/// Over TCP, clients need the random password that is in [`Self::database_url`], unless the builder turned that off: no other user of the machine gets in.
/// Dropping it ends all sessions and shuts the cluster down, unless [`Connector`]s or direct sessions still use it; sockets that it made are removed.
pub struct PgliteServer {
    cluster: Arc<Cluster>,
    username: String,
    database: String,
    password: Option<String>,
    tcp: Option<SocketAddr>,
    unix: Option<UnixSocket>,
    root: PathBuf,
}

/// A socket file, and the directory made for it alone. Removed when dropped.
struct UnixSocket {
    path: PathBuf,
    directory: Option<PathBuf>,
}

impl UnixSocket {
    /// Where clients look for it.
    fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// The port in its name, if it is named as clients expect.
    fn port(&self) -> Option<u16> {
        let name = self.path.file_name()?.to_str()?;
        name.strip_prefix(".s.PGSQL.")?.parse().ok()
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        if let Some(directory) = &self.directory {
            let _ = std::fs::remove_dir(directory);
        }
    }
}

impl PgliteServer {
    /// Starts to describe a server.
    pub fn builder() -> PgliteServerBuilder {
        PgliteServerBuilder::new()
    }

    /// A temporary database on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// See [`PgliteServerBuilder::start`].
    pub fn temporary_tcp() -> Result<Self> {
        Self::builder()
            .temporary()
            .tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0))
            .start()
    }

    /// A temporary database on a Unix socket in a new directory that only this user can enter.
    ///
    /// # Errors
    /// See [`PgliteServerBuilder::start`].
    pub fn temporary_unix() -> Result<Self> {
        Self::builder().temporary().private_unix().start()
    }

    /// Where the data is; empty for a temporary database.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The TCP address, if it listens on one.
    #[must_use]
    pub fn tcp_addr(&self) -> Option<SocketAddr> {
        self.tcp
    }

    /// The socket file, if it listens on one.
    #[must_use]
    pub fn socket_path(&self) -> Option<&Path> {
        self.unix.as_ref().map(|unix| unix.path.as_path())
    }

    /// The password in the URL, if clients need one over TCP.
    #[must_use]
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// The URL for clients: TCP's if it listens there, otherwise the Unix socket's.
    #[must_use]
    pub fn database_url(&self) -> String {
        let user = encode(self.username.as_bytes());
        let database = encode(self.database.as_bytes());
        match (self.tcp, &self.unix) {
            (Some(address), _) => {
                let password = self.password.as_ref().map_or_else(String::new, |password| {
                    format!(":{}", encode(password.as_bytes()))
                });
                format!("postgresql://{user}{password}@{address}/{database}?sslmode=disable")
            }
            // All in the query: asyncpg takes a host that stands before it, even `localhost`, instead of the socket's.
            (None, Some(unix)) => format!(
                "postgresql:///{database}?host={}&port={}&user={user}&sslmode=disable",
                encode(unix.directory().as_os_str().as_bytes()),
                self.port()
            ),
            (None, None) => String::new(),
        }
    }

    /// `DATABASE_URL`, and the variables that libpq and most other clients read where they are given nothing else: `PGHOST`, `PGPORT`, `PGUSER`, `PGDATABASE`,
    /// `PGSSLMODE`, and `PGPASSWORD` if there is one. For [`Command::envs`](std::process::Command::envs); [`Self::OTHER_VARIABLES`] would overrule them.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        let host = match (self.tcp, &self.unix) {
            (Some(address), _) => address.ip().to_string().into(),
            (None, Some(unix)) => unix.directory().into(),
            (None, None) => OsString::new(),
        };
        let password = self.password.as_ref();
        [
            ("DATABASE_URL", self.database_url().into()),
            ("PGHOST", host),
            ("PGPORT", self.port().to_string().into()),
            ("PGUSER", self.username.clone().into()),
            ("PGDATABASE", self.database.clone().into()),
            ("PGSSLMODE", "disable".into()),
        ]
        .into_iter()
        .chain(password.map(|password| ("PGPASSWORD", password.into())))
        .collect()
    }

    /// Variables that lead libpq elsewhere whatever [`Self::environment`] says. To be removed.
    pub const OTHER_VARIABLES: &[&str] = &["PGHOSTADDR", "PGSERVICE"];

    /// The port that clients name.
    fn port(&self) -> u16 {
        match (self.tcp, &self.unix) {
            // A copied cluster has the port of what it is a copy of.
            (Some(address), _) => address.port(),
            (None, Some(unix)) => unix.port().unwrap_or(self.cluster.port()),
            (None, None) => self.cluster.port(),
        }
    }

    /// The same.
    #[must_use]
    pub fn connection_uri(&self) -> String {
        self.database_url()
    }

    /// What opens direct sessions on the served cluster. It keeps the cluster alive.
    #[must_use]
    pub fn connector(&self) -> Connector {
        Connector::new(Arc::clone(&self.cluster), &self.username, &self.database)
    }

    /// True while the cluster runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.cluster.is_running()
    }

    /// Ends all sessions, writes a checkpoint and waits until the cluster has stopped, at most a minute.
    ///
    /// # Errors
    /// [`Error::Shutdown`] when it has not stopped in order; it is killed then, and recovers at its next start.
    pub fn shutdown(self) -> Result<()> {
        Ok(self
            .cluster
            .shutdown(ShutdownMode::Fast, SHUTDOWN_PATIENCE)?)
    }
}

impl fmt::Debug for PgliteServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgliteServer")
            .field("tcp", &self.tcp)
            .field("unix", &self.socket_path())
            .finish_non_exhaustive()
    }
}

/// Percent-encodes all but RFC 3986's unreserved characters.
fn encode(text: &[u8]) -> String {
    text.iter().fold(String::new(), |mut out, &byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

/// Where a Unix socket is to be.
#[derive(Debug, Clone)]
enum UnixPlace {
    /// In a new directory.
    Private,
    /// There.
    At(PathBuf),
}

/// Describes a server and starts it. Without any call it is a temporary database on a free port of 127.0.0.1.
#[derive(Debug, Clone, Default)]
#[must_use = "nothing happens before start()"]
pub struct PgliteServerBuilder {
    start: StartConfig,
    from: Option<From>,
    tcp: Option<SocketAddr>,
    unix: Option<UnixPlace>,
    password: Password,
    scram_iterations: Option<NonZeroU32>,
}

/// What a served database begins as, if it is no new one.
#[derive(Debug, Clone)]
enum From {
    Snapshot(Snapshot),
    Template(Template),
}

#[derive(Debug, Clone, Default)]
enum Password {
    #[default]
    Random,
    Given(String),
    None,
}

impl PgliteServerBuilder {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    start_methods!();

    /// Serves a new database that goes on from a snapshot; the options that say which database it is and how it is started have no effect then.
    pub fn snapshot(mut self, snapshot: &Snapshot) -> Self {
        self.from = Some(From::Snapshot(snapshot.clone()));
        self
    }

    /// Serves a fork of a template; otherwise as [`Self::snapshot`].
    pub fn template(mut self, template: &Template) -> Self {
        self.from = Some(From::Template(template.clone()));
        self
    }

    /// Listens on this address; port 0 takes a free one.
    pub fn tcp(mut self, address: SocketAddr) -> Self {
        self.tcp = Some(address);
        self
    }

    /// Listens on this socket file. Its name must end in `.s.PGSQL.` and the port for libpq to find it; if `path` is a directory, `.s.PGSQL.5432` in it.
    /// The directory's permissions say who may connect: no password is asked.
    pub fn unix(mut self, path: impl Into<PathBuf>) -> Self {
        self.unix = Some(UnixPlace::At(path.into()));
        self
    }

    /// Listens on a socket file in a new directory that only this user can enter, removed with the server.
    pub fn private_unix(mut self) -> Self {
        self.unix = Some(UnixPlace::Private);
        self
    }

    /// The password that the role gets for TCP connections, instead of a random one. It is stored in the database, as `ALTER ROLE` does.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Password::Given(password.into());
        self
    }

    /// How many times a client hashes the password whenever it connects over TCP (RFC 5802). By default 4,096 for a password that was given, as in PostgreSQL, since it could be guessed; and 1 for a
    /// random one, which nobody can guess. It is the largest part of a connection: a millisecond, and more than 50 in a debug build of a client in Rust. JDBC's client refuses fewer than 4,096.
    pub fn scram_iterations(mut self, iterations: NonZeroU32) -> Self {
        self.scram_iterations = Some(iterations);
        self
    }

    /// Lets everybody in who can reach the TCP address. On a machine with other users that is all of them.
    pub fn without_password(mut self) -> Self {
        self.password = Password::None;
        self
    }

    /// Starts the cluster and listens. Blocks until it takes connections.
    ///
    /// # Errors
    /// [`Error::Listen`] for an address that cannot be had, [`Error::Start`] when the cluster does not start, [`Error::Database`] when the role is not there.
    pub fn start(self) -> Result<PgliteServer> {
        let tcp = match (self.tcp, &self.unix) {
            (None, None) => Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)),
            (tcp, _) => tcp,
        };
        let mut bound = None;
        let mut listeners = Vec::new();
        if let Some(address) = tcp {
            let failed = |source| Error::Listen {
                address: address.to_string(),
                source,
            };
            let listener = TcpListener::bind(address).map_err(failed)?;
            bound = Some(listener.local_addr().map_err(failed)?);
            listeners.push(Listener::Tcp(listener));
        }
        let port = bound.map_or(DEFAULT_PORT, |address| address.port());
        let unix = match self.unix {
            None => None,
            Some(place) => {
                let (listener, socket) = listen_unix(place, port)?;
                listeners.push(Listener::Unix(listener));
                Some(socket)
            }
        };
        let (password, iterations) = match self.password {
            _ if bound.is_none() => (None, None),
            Password::None => (None, None),
            Password::Given(password) => (Some(password), Some(scram::DEFAULT_ITERATIONS)),
            Password::Random => (Some(random_password()?), Some(RANDOM_ITERATIONS)),
        };
        let iterations = self.scram_iterations.or(iterations);
        let verifier = password.as_deref().zip(iterations);
        let verifier = verifier
            .map(|(password, iterations)| scram::verifier(password, iterations))
            .transpose()?;
        let auth = if password.is_some() {
            TcpAuth::Scram
        } else {
            TcpAuth::Trust
        };
        let root = match &self.start.root {
            Root::Temporary => PathBuf::new(),
            Root::Directory(path) => path.clone(),
        };
        let (session, username, database) = match self.from {
            Some(From::Snapshot(snapshot)) => {
                let (username, database) = snapshot.login();
                (
                    Some(snapshot.open_at(bound.as_slice())?),
                    username,
                    database,
                )
            }
            Some(From::Template(template)) => {
                let session = template.fork_at(bound.as_slice())?;
                let (username, database) = session.login();
                (Some(session), username, database)
            }
            None => (
                cache::open(&self.start, bound.as_slice())?,
                self.start.username.clone(),
                self.start.database.clone(),
            ),
        };
        let (cluster, session) = match session {
            Some(mut session) => {
                // Before anybody can connect.
                session.set_password(&username, verifier.as_deref())?;
                crate::extensions::create(&self.start, &mut session)?;
                let cluster = session.connector().cluster;
                cluster.set_tcp_auth(auth)?;
                for listener in listeners {
                    cluster.listen(listener)?;
                }
                (cluster, Some(session))
            }
            None => {
                let mut options = self.start.cluster_options()?;
                options.listeners = listeners;
                options.tcp_auth = auth;
                (Arc::new(Cluster::start(options)?), None)
            }
        };
        let server = PgliteServer {
            cluster,
            username,
            database,
            password,
            tcp: bound,
            unix,
            root,
        };
        if session.is_none() {
            // Without a password in the database nobody has got in over TCP so far.
            let mut session = server.connector().connect()?;
            session.set_password(&server.username, verifier.as_deref())?;
            crate::extensions::create(&self.start, &mut session)?;
        }
        Ok(server)
    }
}

/// Of a password that has 128 random bits, and no longer life than the server: there is nothing to make expensive.
const RANDOM_ITERATIONS: NonZeroU32 = NonZeroU32::MIN;

/// What libpq assumes.
const DEFAULT_PORT: u16 = 5432;

impl Pglite {
    /// Stores the verifier of a role's password, if there is one.
    fn set_password(&mut self, role: &str, verifier: Option<&str>) -> Result<()> {
        let Some(verifier) = verifier else {
            return Ok(());
        };
        let sql = format!(
            "ALTER ROLE {} PASSWORD '{verifier}'",
            quote_identifier(role)
        );
        self.exec(&sql, None).map(drop)
    }
}

/// 32 hexadecimal digits from the system's random source.
fn random_password() -> Result<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn listen_unix(place: UnixPlace, port: u16) -> Result<(UnixListener, UnixSocket)> {
    let name = format!(".s.PGSQL.{port}");
    // A host that is no absolute path is a name to clients.
    let place = match place {
        UnixPlace::At(path) => UnixPlace::At(std::path::absolute(&path).unwrap_or(path)),
        place => place,
    };
    let mut socket = match place {
        UnixPlace::At(path) if path.is_dir() => UnixSocket {
            path: path.join(name),
            directory: None,
        },
        UnixPlace::At(path) => UnixSocket {
            path,
            directory: None,
        },
        UnixPlace::Private => {
            let directory = std::env::temp_dir().join(format!("pglite-{}", random_password()?));
            let failed = |source| Error::Listen {
                address: directory.display().to_string(),
                source,
            };
            std::fs::DirBuilder::new()
                .mode(0o700)
                .create(&directory)
                .map_err(failed)?;
            UnixSocket {
                path: directory.join(name),
                directory: Some(directory),
            }
        }
    };
    let failed = |source| Error::Listen {
        address: socket.path.display().to_string(),
        source,
    };
    match bind_unix(&socket.path) {
        Ok(listener) => {
            std::fs::set_permissions(&socket.path, std::fs::Permissions::from_mode(0o777))
                .map_err(failed)?;
            Ok((listener, socket))
        }
        Err(source) => {
            let error = failed(source);
            // Not ours: it stays.
            let directory = socket.directory.take();
            if let Some(directory) = directory {
                let _ = std::fs::remove_dir(directory);
            }
            std::mem::forget(socket);
            Err(error)
        }
    }
}

/// Binds a socket file. One that a killed server left there, to which nobody listens any more, is replaced.
fn bind_unix(path: &Path) -> std::io::Result<UnixListener> {
    use std::io::ErrorKind::{AddrInUse, ConnectionRefused};
    let refused = match UnixListener::bind(path) {
        Err(error) if error.kind() == AddrInUse => error,
        bound => return bound,
    };
    // Connecting to a file of another kind is refused as well.
    if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(refused);
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ConnectionRefused => {
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        _ => Err(refused),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_encode_what_would_break_them() {
        assert_eq!(encode("a b@/ü".as_bytes()), "a%20b%40%2F%C3%BC");
        assert_eq!(random_password().unwrap().len(), 32);
        assert_ne!(random_password().unwrap(), random_password().unwrap());
    }

    #[test]
    fn socket_files_are_private_and_removed() {
        let (listener, socket) = listen_unix(UnixPlace::Private, 5432).unwrap();
        let directory = socket.directory.clone().unwrap();
        assert_eq!(
            std::fs::metadata(&directory).unwrap().permissions().mode() & 0o777,
            0o700
        );
        assert!(
            listen_unix(UnixPlace::At(socket.path.clone()), 5432).is_err(),
            "in use"
        );
        assert!(socket.path.exists(), "the other one's socket stays");
        drop((listener, socket));
        assert!(!directory.exists());
    }

    /// Bug: the socket file of a server that was killed (`kill -9`, a power cut) made each later start on the same path fail with "Address already in use", until
    /// somebody removed it by hand.
    #[test]
    fn a_socket_file_that_nobody_listens_to_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".s.PGSQL.6000");
        drop(UnixListener::bind(&path).unwrap());
        let (listener, socket) = listen_unix(UnixPlace::At(path.clone()), 5432).unwrap();
        assert_eq!(socket.port(), Some(6000));
        assert!(listen_unix(UnixPlace::At(path.clone()), 5432).is_err());
        drop((listener, socket));
        std::fs::write(&path, "a file").unwrap();
        assert!(listen_unix(UnixPlace::At(path.clone()), 5432).is_err());
        assert!(path.exists(), "what is no socket stays");
    }
}
