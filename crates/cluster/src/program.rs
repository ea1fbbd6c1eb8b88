//! PostgreSQL's client programs (`pg_dump`, `psql`, ...), run in the cluster's own kernel: guest processes beside the backends, which connect through memory.
//!
//! A program sees what the cluster's other guests see, and of the host only what it is given: its arguments, its three standard streams, and
//! directories granted for as long as it runs. Its environment is made from nothing: [`Program::env`] adds to it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pglite_oxide_kernel::file::{File, WindowSize};
use pglite_oxide_kernel::fs::FileSystem;
use pglite_oxide_kernel::fs::granted::Grant;
use pglite_oxide_kernel::fs::host::HostFs;
use pglite_oxide_kernel::fs::log::LineSink;
use pglite_oxide_kernel::fs::mem::MemFs;
use pglite_oxide_kernel::kernel::SpawnOptions;
use pglite_oxide_kernel::net::{HostStream, pipe};
use pglite_oxide_kernel::{Errno, ExitStatus, Kernel, Pid};

use crate::cluster::{Cluster, SIGINT, SIGTERM};
use crate::programs;
use crate::world::{self, GRANTS, PROGRAMS, SOCKETS};

/// How long the threads of a killed program may take to end.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// Answers how large a terminal's window is, in lines and columns.
pub type TerminalSize = Arc<dyn Fn() -> (u16, u16) + Send + Sync>;

/// What a program's standard input is.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Input {
    /// Empty.
    #[default]
    Null,
    /// What is written to [`RunningProgram::stdin`].
    Piped,
    /// The same, and the program takes it for a terminal.
    Terminal(TerminalSize),
}

/// Where a program's standard output or error goes.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Output {
    /// Nowhere.
    #[default]
    Null,
    /// To [`RunningProgram::stdout`] or [`RunningProgram::stderr`]. The program waits while nobody reads.
    Piped,
    /// The same, and the program takes it for a terminal.
    Terminal(TerminalSize),
    /// For standard error: where standard output goes, in the order of writing.
    AsStdout,
    /// To a function, line by line, on the program's thread.
    Lines(Arc<dyn Fn(&str) + Send + Sync>),
}

/// A program to be run, in the manner of [`std::process::Command`].
#[derive(Clone, Default)]
#[must_use = "nothing happens before Cluster::run_program"]
pub struct Program {
    name: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
    stdin: Input,
    stdout: Output,
    stderr: Output,
    current_dir: Option<Arc<GrantedDirectory>>,
    granted: Vec<Arc<GrantedDirectory>>,
}

impl Program {
    /// The program of this name, such as `pg_dump`: one of [`Cluster::programs`].
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let args = args.into_iter();
        self.args.extend(args.map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable of the environment. Without it the program sees where the cluster listens (`PGHOST`, `PGPORT`), `PGUSER=postgres`, a home directory of its own,
    /// no pager and no colours.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let name = name.into();
        self.env.retain(|(other, _)| *other != name);
        self.env.push((name, value.into()));
        self
    }

    /// Its standard input; empty by default.
    pub fn stdin(mut self, input: Input) -> Self {
        self.stdin = input;
        self
    }

    /// Where its standard output goes; nowhere by default.
    pub fn stdout(mut self, output: Output) -> Self {
        self.stdout = output;
        self
    }

    /// Where its standard error goes; nowhere by default.
    pub fn stderr(mut self, output: Output) -> Self {
        self.stderr = output;
        self
    }

    /// Runs in this directory of the host; in an empty one in memory otherwise.
    pub fn current_dir(mut self, directory: Arc<GrantedDirectory>) -> Self {
        self.current_dir = Some(directory);
        self
    }

    /// Keeps a directory granted for as long as the program runs.
    pub fn grant(mut self, directory: Arc<GrantedDirectory>) -> Self {
        self.granted.push(directory);
        self
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the environment: it may hold a password.
        f.debug_struct("Program")
            .field("name", &self.name)
            .field("args", &self.args)
            .finish_non_exhaustive()
    }
}

/// A directory of the host that programs can reach, until this is dropped. Its path in the guest is random: only who is told it finds it.
pub struct GrantedDirectory {
    _grant: Grant,
    path: String,
}

impl GrantedDirectory {
    /// Where the guest finds it.
    #[must_use]
    pub fn guest_path(&self) -> &str {
        &self.path
    }

    fn new(directory: Arc<dyn FileSystem>) -> Result<Self, Errno> {
        let grant = world::granted().grant(directory)?;
        Ok(Self {
            path: format!("{GRANTS}/{}", grant.name()),
            _grant: grant,
        })
    }
}

impl fmt::Debug for GrantedDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrantedDirectory").finish_non_exhaustive()
    }
}

/// Why a program could not be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// This build has no client programs.
    #[error(
        "this program was built without PostgreSQL's client programs: build it with the feature `tools` and without PGLITE_OXIDE_NO_ASSETS"
    )]
    NotBuilt,
    /// The client programs in this build cannot be used.
    #[error(
        "the compiled client programs cannot be used: build the assets again (cargo xtask assets)"
    )]
    Module(#[from] pglite_oxide_machine::module::ModuleError),
    /// There is no such program.
    #[error("there is no program {name:?}; there are {}", known.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A directory of the host could not be granted.
    #[error("cannot grant {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The kernel refused.
    #[error("the program could not be run")]
    Kernel(#[from] Errno),
}

impl Cluster {
    /// The names of the programs that [`Self::run_program`] knows.
    #[must_use]
    pub fn programs(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .kernel()
            .vfs()
            .read_dir("/", PROGRAMS)
            .unwrap_or_default()
            .into_iter()
            .map(|entry| entry.name)
            .filter(|name| name != "postgres")
            .collect();
        names.sort();
        names
    }

    /// Makes a directory of the host reachable for programs, and all that is below it. Symbolic links out of it lead nowhere.
    ///
    /// # Errors
    /// [`ProgramError::Directory`] when it cannot be opened.
    pub fn grant(&self, directory: &Path) -> Result<Arc<GrantedDirectory>, ProgramError> {
        let files = HostFs::open(directory).map_err(|source| ProgramError::Directory {
            path: directory.to_owned(),
            source,
        })?;
        Ok(Arc::new(GrantedDirectory::new(Arc::new(files))?))
    }

    /// Starts a program; any number may run at once. Does not wait for its end. The cluster needs not run: some programs only read its files.
    ///
    /// # Errors
    /// See [`ProgramError`].
    pub fn run_program(&self, program: Program) -> Result<RunningProgram, ProgramError> {
        programs::add_tools()?;
        let kernel = Arc::clone(self.kernel());
        let path = format!("{PROGRAMS}/{}", program.name);
        if program.name.contains('/') || kernel.vfs().stat("/", &path, true).is_err() {
            return Err(ProgramError::Unknown {
                name: program.name,
                known: self.programs(),
            });
        }
        let home = Arc::new(GrantedDirectory::new(Arc::new(MemFs::new()))?);
        let (stdin, given_input) = input(&kernel, program.stdin)?;
        let (stdout, taken_output) = output(&kernel, program.stdout)?;
        let (stderr, taken_error) = match program.stderr {
            Output::AsStdout => (Arc::clone(&stdout), None),
            other => output(&kernel, other)?,
        };
        let mut argv = vec![path.clone()];
        argv.extend(program.args);
        let mut granted = program.granted;
        granted.push(Arc::clone(&home));
        granted.extend(program.current_dir.clone());
        let cwd = program.current_dir.as_ref().unwrap_or(&home);
        let process = kernel.spawn(SpawnOptions {
            path,
            argv,
            envp: environment(self.port(), home.guest_path(), program.env),
            cwd: cwd.guest_path().to_owned(),
            stdio: [stdin, stdout, stderr],
        })?;
        Ok(RunningProgram {
            stdin: given_input,
            stdout: taken_output,
            stderr: taken_error,
            pid: process.pid,
            status: None,
            kernel,
            _granted: granted,
        })
    }
}

fn environment(port: u16, home: &str, given: Vec<(String, String)>) -> Vec<String> {
    let port = port.to_string();
    let ours = [
        ("PATH", PROGRAMS),
        ("HOME", home),
        ("TMPDIR", home),
        ("TZ", "UTC"),
        ("LC_ALL", "C.UTF-8"),
        ("TERM", "dumb"),
        ("PG_COLOR", "never"),
        ("PSQL_PAGER", ""),
        ("PSQL_HISTORY", "/dev/null"),
        ("PGHOST", SOCKETS),
        ("PGPORT", &port),
        ("PGUSER", "postgres"),
    ];
    let kept = ours
        .iter()
        .filter(|(name, _)| !given.iter().any(|(other, _)| other == name))
        .map(|(name, value)| format!("{name}={value}"));
    kept.chain(given.iter().map(|(name, value)| format!("{name}={value}")))
        .collect()
}

fn terminal(file: Arc<dyn File>, size: TerminalSize) -> Arc<dyn File> {
    Arc::new(pipe::Terminal::new(file, move || {
        let (rows, columns) = size();
        WindowSize { rows, columns }
    }))
}

type Descriptor = (Arc<dyn File>, Option<HostStream>);

fn input(kernel: &Kernel, input: Input) -> Result<Descriptor, Errno> {
    Ok(match input {
        Input::Null => (world::null(kernel)?, None),
        Input::Piped => {
            let (host, guest) = pipe::to_guest();
            (guest, Some(host))
        }
        Input::Terminal(size) => {
            let (host, guest) = pipe::to_guest();
            (terminal(guest, size), Some(host))
        }
    })
}

fn output(kernel: &Kernel, output: Output) -> Result<Descriptor, Errno> {
    Ok(match output {
        Output::Null | Output::AsStdout => (world::null(kernel)?, None),
        Output::Piped => {
            let (guest, host) = pipe::to_host();
            (guest, Some(host))
        }
        Output::Terminal(size) => {
            let (guest, host) = pipe::to_host();
            (terminal(guest, size), Some(host))
        }
        Output::Lines(line) => (Arc::new(LineSink::new(move |text| line(text))), None),
    })
}

/// A program that was started, in the manner of [`std::process::Child`]. **Dropping it kills it** and its children, and blocks until they are gone (milliseconds).
pub struct RunningProgram {
    /// Its standard input, if that was [`Input::Piped`]. Take and drop it to end the input.
    pub stdin: Option<HostStream>,
    /// Its standard output, if that was [`Output::Piped`].
    pub stdout: Option<HostStream>,
    /// Its standard error, if that was [`Output::Piped`].
    pub stderr: Option<HostStream>,
    pid: Pid,
    /// Known once it was waited for.
    status: Option<ExitStatus>,
    kernel: Arc<Kernel>,
    _granted: Vec<Arc<GrantedDirectory>>,
}

impl RunningProgram {
    /// Its process number in the guest.
    #[must_use]
    pub fn process_id(&self) -> i32 {
        self.pid.0
    }

    /// Waits for its end. Its standard input is closed first, as nothing could be written to it any more.
    ///
    /// # Errors
    /// When the whole cluster was torn down meanwhile.
    pub fn wait(&mut self) -> Result<ExitStatus, ProgramError> {
        drop(self.stdin.take());
        self.wait_until(None)?
            .ok_or(ProgramError::Kernel(Errno::ETIMEDOUT))
    }

    /// Waits for its end, at most for this long; `None` if it still runs then. Its standard input stays open.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub fn wait_timeout(&mut self, patience: Duration) -> Result<Option<ExitStatus>, ProgramError> {
        self.wait_until(Instant::now().checked_add(patience))
    }

    fn wait_until(
        &mut self,
        deadline: Option<Instant>,
    ) -> Result<Option<ExitStatus>, ProgramError> {
        if self.status.is_none() {
            match self.kernel.wait_exit(self.pid, deadline) {
                Ok(status) => self.status = Some(status),
                Err(Errno::ETIMEDOUT) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.status)
    }

    /// What sends it signals, from any thread.
    #[must_use]
    pub fn signaller(&self) -> Signaller {
        Signaller {
            kernel: Arc::clone(&self.kernel),
            pid: self.pid,
        }
    }

    /// Kills it and its children. They are gone when [`Self::wait`] returns.
    pub fn kill(&self) {
        for process in self.kernel.live() {
            let group = process.family().group;
            if group == self.pid {
                let _ = self.kernel.kill(process.pid, SIGKILL);
            }
        }
    }
}

const SIGKILL: u8 = 9;

/// Sends signals to a program.
#[derive(Clone)]
pub struct Signaller {
    kernel: Arc<Kernel>,
    pid: Pid,
}

impl Signaller {
    /// As Ctrl-C does at a terminal: `psql` cancels the statement that runs, other programs cancel theirs and end.
    pub fn interrupt(&self) {
        self.send(SIGINT);
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        self.send(SIGTERM);
    }

    fn send(&self, signo: u8) {
        // It may have ended already.
        let _ = self.kernel.kill(self.pid, signo);
    }
}

impl fmt::Debug for Signaller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signaller").field(&self.pid.0).finish()
    }
}

impl Drop for RunningProgram {
    fn drop(&mut self) {
        self.kill();
        if !matches!(
            self.wait_until(Instant::now().checked_add(KILL_PATIENCE)),
            Ok(Some(_)) | Err(ProgramError::Kernel(Errno::ECHILD))
        ) {
            tracing::error!(pid = self.pid.0, "a killed guest program did not end");
        }
    }
}

impl fmt::Debug for RunningProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningProgram")
            .field("pid", &self.pid.0)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_ours_but_for_what_is_given() {
        let given = vec![("PGUSER".to_owned(), "app".to_owned())];
        let words = environment(5433, "/home", given);
        assert!(words.contains(&"PGPORT=5433".to_owned()));
        assert!(words.contains(&"PGUSER=app".to_owned()));
        assert!(!words.contains(&"PGUSER=postgres".to_owned()));
        assert!(
            words.iter().all(|word| !word.starts_with("USER=")),
            "nothing of the host's"
        );
    }
}
