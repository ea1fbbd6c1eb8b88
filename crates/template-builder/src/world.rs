//! The guest's world in which `initdb` runs: PostgreSQL's files at `/pgsql`, an empty `/data`, devices, nothing of the host.

use std::path::Path;
use std::sync::Arc;

use pglite_oxide_assets::{Kind, Tree};
use pglite_oxide_kernel::file::File;
use pglite_oxide_kernel::fs::OpenHow;
use pglite_oxide_kernel::fs::dev::DevFs;
use pglite_oxide_kernel::fs::log::LineSink;
use pglite_oxide_kernel::fs::mem::MemFs;
use pglite_oxide_kernel::fs::shm::ShmFs;
use pglite_oxide_kernel::fs::vfs::Vfs;
use pglite_oxide_kernel::kernel::SpawnOptions;
use pglite_oxide_kernel::net::Net;
use pglite_oxide_kernel::{Kernel, KernelOptions};
use pglite_oxide_machine::NativeMachine;

use crate::Failure;

/// The environment of `initdb` and of the servers it starts.
const ENVIRONMENT: [&str; 5] = [
    "PATH=/pgsql/bin",
    "HOME=/data",
    "TZ=UTC",
    "LC_ALL=C.UTF-8",
    "PG_COLOR=never",
];

/// A kernel with the installed tree of `share` (an image) and room for a data directory.
pub(crate) fn boot(share: &Path) -> Result<Arc<Kernel>, Failure> {
    let (Some(postgres), Some(initdb)) =
        (pglite_oxide_aot::postgres(), pglite_oxide_aot_dev::initdb())
    else {
        return Err("built without assets (PGLITE_OXIDE_NO_ASSETS)".into());
    };
    #[cfg(feature = "icu")]
    let libraries = pglite_oxide_aot_extensions::libraries();
    #[cfg(not(feature = "icu"))]
    let libraries = &[];
    let machine = Arc::new(NativeMachine::with_libraries(
        &[postgres, initdb],
        libraries,
    )?);
    // One image for the life of the process.
    let bytes: &'static [u8] = Vec::leak(std::fs::read(share)?);
    let tree = Tree::parse(&share.display().to_string(), bytes)?;
    let mut vfs = Vfs::new();
    vfs.mount("/pgsql", Arc::new(installed(tree)?));
    vfs.mount("/dev", Arc::new(DevFs::new()));
    vfs.mount("/dev/shm", Arc::new(ShmFs::new(machine.clone())));
    vfs.mkdir("/", "/data", 0o700)?;
    vfs.mkdir("/", "/tmp", 0o1777)?;
    vfs.mkdir("/", "/etc", 0o755)?;
    vfs.write(
        "/etc/passwd",
        0o644,
        b"postgres:x:1000:1000:PostgreSQL:/data:/bin/sh\n",
    )?;
    vfs.write("/etc/group", 0o644, b"postgres:x:1000:\n")?;
    Ok(Kernel::new(KernelOptions {
        machine,
        vfs,
        net: Net::new(),
        memory_limit: None,
        test_hooks: false,
        trace: std::env::var_os("PGLITE_STRACE").is_some(),
    }))
}

fn installed(tree: Tree<'static>) -> Result<MemFs, Failure> {
    let files = MemFs::new();
    for entry in tree.entries().filter(|entry| !entry.path.is_empty()) {
        match entry.kind {
            Kind::Directory => files.add_dir(entry.path, entry.mode)?,
            Kind::File if entry.len == entry.contents.len() as u64 => {
                files.add_static(entry.path, entry.mode, entry.contents)?;
            }
            Kind::File | Kind::Symlink => {
                return Err(format!("{} has a form that no installed file has", entry.path).into());
            }
        }
    }
    Ok(files)
}

/// How to start a program from `/pgsql/bin` with some input; what it prints goes to our standard error.
pub(crate) fn options(vfs: &Vfs, command: &[&str], input: &[u8]) -> Result<SpawnOptions, Failure> {
    const INPUT: &str = "/tmp/input";
    let output: Arc<dyn File> = Arc::new(LineSink::new(|line| eprintln!("{line}")));
    vfs.write(INPUT, 0o600, input)?;
    let how = OpenHow {
        read: true,
        ..OpenHow::default()
    };
    let (input, _) = vfs.open("/", INPUT, &how)?;
    Ok(SpawnOptions {
        path: format!("/pgsql/bin/{}", command[0]),
        argv: command.iter().map(|&word| word.to_owned()).collect(),
        envp: ENVIRONMENT.iter().map(|&word| word.to_owned()).collect(),
        cwd: "/".to_owned(),
        stdio: [input, Arc::clone(&output), output],
    })
}
