//! `template-builder SHARE.img TEMPLATE.img`: runs the real `initdb` in our own kernel, tidies up, and writes the data directory it leaves as a tree image.
//!
//! Part of `cargo xtask assets`; nothing else runs it.

mod dump;
mod world;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use pglite_oxide_kernel::{ExitStatus, Kernel};

/// How long a program may take; `initdb` takes about a second.
const PATIENCE: Duration = Duration::from_secs(300);

/// The data directory in the guest.
const DATA: &str = "/data";

/// `initdb` and its arguments. The template is like what native `initdb` makes on a host with UTF-8, with PostgreSQL's own C.UTF-8 as locale
/// provider (no C library's collation changes under an index), and local connections trusted: who may connect is the embedding program's affair.
const COMMAND: [&str; 11] = [
    "initdb",
    "--pgdata=/data",
    "--username=postgres",
    "--auth=trust",
    "--encoding=UTF8",
    "--locale=C.UTF-8",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-sync",
    "--no-instructions",
    "-L/pgsql/share",
];

/// A server of one session, which begins a new segment of the write-ahead log and drops the one that `initdb` has filled: 7 MB that nobody needs would be in every binary.
const TIDY: [&str; 9] = [
    "postgres",
    "--single",
    "-D",
    "/data",
    "-c",
    "wal_recycle=off",
    "-c",
    "log_checkpoints=off",
    "template1",
];
/// What it is told.
const TIDY_INPUT: &[u8] = b"SELECT pg_switch_wal();\nCHECKPOINT;\n";

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(share), Some(template), None) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        eprintln!("usage: template-builder SHARE.img TEMPLATE.img");
        return ExitCode::FAILURE;
    };
    match build(share.as_ref(), template.as_ref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("template-builder: {error}");
            ExitCode::FAILURE
        }
    }
}

fn build(share: &std::path::Path, template: &std::path::Path) -> Result<(), Failure> {
    let kernel = world::boot(share)?;
    let result = run(&kernel, &COMMAND, b"")
        .and_then(|()| run(&kernel, &TIDY, TIDY_INPUT))
        .and_then(|()| dump::tree(kernel.vfs(), DATA));
    kernel.kill_all(Instant::now() + Duration::from_secs(10));
    std::fs::write(template, result?)?;
    Ok(())
}

fn run(kernel: &std::sync::Arc<Kernel>, command: &[&str], input: &[u8]) -> Result<(), Failure> {
    let name = command[0];
    let process = Kernel::spawn(kernel, world::options(kernel.vfs(), command, input)?)?;
    match kernel.wait_exit(process.pid, Some(Instant::now() + PATIENCE)) {
        Ok(ExitStatus::Exited(0)) => Ok(()),
        Ok(ExitStatus::Exited(code)) => Err(format!("{name} ended with status {code}").into()),
        Ok(ExitStatus::Signaled(signo)) => {
            Err(format!("{name} was ended by signal {signo}").into())
        }
        Err(errno) => Err(format!(
            "{name} did not end within {} s ({errno})",
            PATIENCE.as_secs()
        )
        .into()),
    }
}
