//! What the guest sees: PostgreSQL's files, its data, devices, and a few files of an operating system.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use pglite_oxide_assets::Kind;
use pglite_oxide_assets::packed::{PIECE, Packed};
use pglite_oxide_kernel::file::File;
use pglite_oxide_kernel::fs::dev::DevFs;
use pglite_oxide_kernel::fs::granted::GrantedFs;
use pglite_oxide_kernel::fs::host::HostFs;
use pglite_oxide_kernel::fs::mem::MemFs;
use pglite_oxide_kernel::fs::shm::ShmFs;
use pglite_oxide_kernel::fs::vfs::Vfs;
use pglite_oxide_kernel::fs::{FileSystem, FsError, OpenHow};
use pglite_oxide_kernel::image::{ImageBytes, Pieces};
use pglite_oxide_kernel::net::Net;
use pglite_oxide_kernel::{Errno, Kernel, KernelOptions};

use crate::control;
use crate::data::DataDirectory;
use crate::error::StartError;
use crate::options::{Listener, TcpAuth};
use crate::programs::Programs;

/// The data directory in the guest.
pub(crate) const DATA: &str = "/data";
/// Where the guest's own socket is, with `.s.PGSQL.` and the port.
pub(crate) const SOCKETS: &str = "/run/postgresql";
/// Where granted Unix sockets appear to the guest.
const HOST_SOCKETS: &str = "/run/host";
/// Who gets in.
pub(crate) const HBA: &str = "/run/pg_hba.conf";

/// Added to it for data in memory: `CREATE DATABASE` copies files, which share their blocks (guest/patches).
pub(crate) const FILE_COPY: &str = "PGLITE_FILE_COPY=1";
/// Where the programs are, as far as the guest can see.
pub(crate) const PROGRAMS: &str = "/pgsql/bin";
/// Below it are the directories granted to programs, by random names.
pub(crate) const GRANTS: &str = "/host";

/// The environment of the postmaster.
pub(crate) const ENVIRONMENT: [&str; 6] = [
    "PATH=/pgsql/bin",
    "HOME=/data",
    // Where dblink and postgres_fdw connect to when they are told no host: to this cluster.
    "PGHOST=/run/postgresql",
    "TZ=UTC",
    "LC_ALL=C.UTF-8",
    "PG_COLOR=never",
];

/// What is granted to programs, in all clusters of this process: the names are random, so that one cluster's programs find no other's.
pub(crate) fn granted() -> Arc<GrantedFs> {
    static GRANTED: OnceLock<Arc<GrantedFs>> = OnceLock::new();
    Arc::clone(GRANTED.get_or_init(Arc::default))
}

/// The template, or why there is none.
pub(crate) fn template() -> Result<Packed, StartError> {
    if crate::linked::postgres().is_none() {
        return Err(StartError::NoAssets);
    }
    Ok(pglite_oxide_assets::template()?)
}

pub(crate) fn errno(error: FsError) -> Errno {
    match error {
        FsError::Errno(errno) => errno,
        FsError::Symlink { .. } => Errno::ELOOP,
    }
}

/// A tree of an image, in memory; files change by copy.
pub(crate) fn in_memory(tree: &Packed) -> Result<MemFs, Errno> {
    let files = MemFs::new();
    add_tree(&files, tree)?;
    Ok(files)
}

/// Adds the files of an image.
pub(crate) fn add_tree(files: &MemFs, tree: &Packed) -> Result<(), Errno> {
    let (packed, lengths, len) = tree.pieces();
    let pieces = Pieces::new(&ImageBytes::new(packed), lengths, PIECE, len);
    let pieces = pieces.map_err(|_| Errno::EIO)?;
    for entry in tree.entries().filter(|entry| !entry.path.is_empty()) {
        match entry.kind {
            Kind::Directory => files.add_dir(entry.path, entry.mode)?,
            Kind::File => {
                let stored = entry.range.len() as u64;
                files.add_packed(entry.path, entry.mode, &pieces, entry.range)?;
                if entry.len > stored {
                    let how = OpenHow {
                        write: true,
                        ..OpenHow::default()
                    };
                    files
                        .open(entry.path, &how)
                        .map_err(errno)?
                        .set_len(entry.len)?;
                }
            }
            Kind::Symlink => {
                let target = tree.read(entry.range).map_err(|_| Errno::EIO)?;
                files
                    .symlink(&String::from_utf8_lossy(&target), entry.path)
                    .map_err(errno)?;
            }
        }
    }
    Ok(())
}

/// What new temporary clusters begin with.
pub(crate) fn template_data() -> Result<&'static DataDirectory, StartError> {
    static TEMPLATE: OnceLock<DataDirectory> = OnceLock::new();
    Ok(match TEMPLATE.get() {
        Some(template) => template,
        None => {
            let made = DataDirectory::of_template()?;
            TEMPLATE.get_or_init(|| made)
        }
    })
}

/// The data of a new temporary cluster.
pub(crate) fn temporary_data(identifier: u64) -> Result<Arc<dyn FileSystem>, StartError> {
    let files = template_data()?.file_system()?;
    control::put_into(&files, identifier)?;
    Ok(Arc::new(files))
}

/// The data of a temporary cluster that begins with a backup.
pub(crate) fn given_data(data: Option<&DataDirectory>) -> Result<Arc<dyn FileSystem>, StartError> {
    Ok(Arc::new(data.ok_or(Errno::ENOENT)?.file_system()?))
}

/// The data of a cluster in a directory of the host.
pub(crate) fn host_data(data: &Path) -> Result<Arc<dyn FileSystem>, StartError> {
    let files = HostFs::open(data).map_err(|source| StartError::Root {
        action: "opening",
        path: data.to_owned(),
        source,
    })?;
    Ok(Arc::new(files))
}

/// Addresses that the postmaster listens on, as its settings say them.
#[derive(Default)]
pub(crate) struct Listening {
    pub(crate) addresses: Vec<String>,
    pub(crate) port: u16,
    pub(crate) socket_directories: Vec<String>,
}

/// The default port, where nothing else decides; it only names the guest's socket then.
const DEFAULT_PORT: u16 = 5432;

/// Hands the listeners over. PostgreSQL has one port for all its addresses, so those of several TCP listeners must agree.
fn grant(net: &Net, listeners: Vec<Listener>) -> Result<Listening, StartError> {
    let mut listening = Listening {
        port: DEFAULT_PORT,
        socket_directories: vec![SOCKETS.to_owned()],
        ..Listening::default()
    };
    let mut tcp: Vec<(SocketAddr, std::net::TcpListener)> = Vec::new();
    let mut unix = Vec::new();
    for listener in listeners {
        match listener {
            Listener::Tcp(listener) => tcp.push((
                listener.local_addr().map_err(StartError::Listener)?,
                listener,
            )),
            Listener::Unix(listener) => unix.push(listener),
        }
    }
    if let Some((first, _)) = tcp.first() {
        listening.port = first.port();
        if let Some((other, _)) = tcp
            .iter()
            .find(|(address, _)| address.port() != first.port())
        {
            let reason =
                format!("{first} and {other} have different ports, and PostgreSQL listens on one");
            return Err(StartError::Listener(std::io::Error::new(
                std::io::ErrorKind::InvalidInput,
                reason,
            )));
        }
    }
    for (address, listener) in tcp {
        listening.addresses.push(address.ip().to_string());
        net.grant_tcp(address, listener);
    }
    for (n, listener) in unix.into_iter().enumerate() {
        let directory = format!("{HOST_SOCKETS}/{n}");
        net.grant_unix(
            &format!("{directory}/.s.PGSQL.{}", listening.port),
            listener,
        );
        listening.socket_directories.push(directory);
    }
    Ok(listening)
}

/// The text of `pg_hba.conf`.
fn hba(auth: TcpAuth) -> String {
    let tcp = match auth {
        TcpAuth::Scram => "scram-sha-256",
        TcpAuth::Trust => "trust",
    };
    let mut text = String::from(
        "# Written by pglite-oxide at every start.\nlocal all,replication all trust\n",
    );
    for network in ["0.0.0.0/0", "::/0"] {
        text.push_str(&format!("host all,replication all {network} {tcp}\n"));
    }
    text
}

/// Changes who gets in over TCP; false if it is so already.
pub(crate) fn set_tcp_auth(kernel: &Kernel, auth: TcpAuth) -> Result<bool, Errno> {
    let text = hba(auth);
    if kernel.vfs().read(HBA)? == text.as_bytes() {
        return Ok(false);
    }
    kernel.vfs().write(HBA, 0o600, text.as_bytes())?;
    Ok(true)
}

/// How the kernel is made.
pub(crate) struct WorldOptions {
    pub(crate) programs: Programs,
    pub(crate) data: Arc<dyn FileSystem>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) tcp_auth: TcpAuth,
    pub(crate) mounts: Vec<PathBuf>,
    pub(crate) test_hooks: bool,
    pub(crate) memory_limit: Option<u64>,
}

/// A kernel with everything in place, and no process yet.
pub(crate) fn boot(options: WorldOptions) -> Result<(Arc<Kernel>, Listening), StartError> {
    let Programs { machine, installed } = options.programs;
    let net = Net::new();
    let listening = grant(&net, options.listeners)?;
    let mut vfs = Vfs::new();
    vfs.mount("/pgsql", installed);
    vfs.mount("/dev", Arc::new(DevFs::new()));
    vfs.mount("/dev/shm", Arc::new(ShmFs::new(machine.clone())));
    vfs.mount(DATA, options.data);
    vfs.mount(GRANTS, granted());
    for (directory, mode) in [
        ("/tmp", 0o1777),
        ("/etc", 0o755),
        ("/run", 0o755),
        (SOCKETS, 0o755),
        (HOST_SOCKETS, 0o755),
    ] {
        vfs.mkdir("/", directory, mode)?;
    }
    for directory in listening
        .socket_directories
        .iter()
        .filter(|directory| *directory != SOCKETS)
    {
        vfs.mkdir("/", directory, 0o755)?;
    }
    vfs.write(
        "/etc/passwd",
        0o644,
        b"postgres:x:1000:1000:PostgreSQL:/data:/bin/sh\n",
    )?;
    vfs.write("/etc/group", 0o644, b"postgres:x:1000:\n")?;
    vfs.write("/etc/hosts", 0o644, b"127.0.0.1 localhost\n::1 localhost\n")?;
    vfs.write(HBA, 0o600, hba(options.tcp_auth).as_bytes())?;
    for mount in &options.mounts {
        let path = mount
            .to_str()
            .filter(|path| path.starts_with('/') && *path == path.trim_end_matches('/'));
        let path = path.ok_or_else(|| StartError::Mount {
            path: mount.clone(),
            reason: "it is no absolute path in UTF-8",
        })?;
        if TAKEN
            .iter()
            .any(|taken| path == *taken || path.starts_with(&format!("{taken}/")))
        {
            return Err(StartError::Mount {
                path: mount.clone(),
                reason: "the guest has a directory of its own there",
            });
        }
        make_directories(&vfs, path)?;
        vfs.mount(path, host_data(mount)?);
    }
    let kernel = Kernel::new(KernelOptions {
        machine,
        vfs,
        net,
        test_hooks: options.test_hooks,
        trace: is_traced(),
        memory_limit: options.memory_limit,
    });
    Ok((kernel, listening))
}

/// Whether system calls are to be printed.
pub(crate) fn is_traced() -> bool {
    std::env::var_os("PGLITE_STRACE").is_some_and(|value| value != "0")
}

/// Places that mounts must leave alone.
const TAKEN: &[&str] = &["/pgsql", "/dev", DATA, GRANTS, "/run", "/etc"];

/// The parents of a mount point.
fn make_directories(vfs: &Vfs, path: &str) -> Result<(), Errno> {
    for (at, _) in path.match_indices('/').skip(1) {
        match vfs.mkdir("/", &path[..at], 0o755) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What standard input is.
pub(crate) fn null(kernel: &Kernel) -> Result<Arc<dyn File>, Errno> {
    let how = OpenHow {
        read: true,
        ..OpenHow::default()
    };
    kernel
        .vfs()
        .open("/", "/dev/null", &how)
        .map(|(file, _)| file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcp_wants_a_password_unless_told_otherwise() {
        assert!(hba(TcpAuth::Scram).contains("host all,replication all 0.0.0.0/0 scram-sha-256\n"));
        assert!(hba(TcpAuth::Trust).contains("::/0 trust\n"));
        assert!(hba(TcpAuth::Scram).contains("local all,replication all trust"));
    }

    #[test]
    fn listeners_share_one_port() {
        let bind = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (one, two) = (bind(), bind());
        let port = one.local_addr().unwrap().port();
        let listening = grant(&Net::new(), vec![Listener::Tcp(one)]).unwrap();
        assert_eq!(
            (listening.port, listening.addresses),
            (port, vec!["127.0.0.1".to_owned()])
        );
        assert!(grant(&Net::new(), vec![Listener::Tcp(two), Listener::Tcp(bind())]).is_err());
    }
}
