//! The installation directory, and scratch directories that its server's user can use.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// `nobody`, whom root's servers run as.
const NOBODY: u32 = 65534;

/// An installation: `bin/`, `lib/`, `share/`.
#[derive(Clone, Debug)]
pub struct Install {
    dir: PathBuf,
    /// Holds a copy of the installation if the server's user could not reach the original.
    _copy: Option<std::sync::Arc<Scratch>>,
}

impl Install {
    /// The installation in `dir`; copied aside for this process's life if this is root and `nobody` could not get at it.
    pub fn at(dir: &Path) -> Result<Self> {
        let postgres = dir.join("bin/postgres");
        if !postgres.is_file() {
            bail!(
                "{} is not there: {} is no PostgreSQL installation",
                postgres.display(),
                dir.display()
            );
        }
        if !is_root() || open_to_others(dir) {
            return Ok(Self {
                dir: dir.to_path_buf(),
                _copy: None,
            });
        }
        let scratch = Scratch::new("pglite-oxide-native")?;
        // The wheel's private libraries lie beside the installation.
        let parent = dir
            .parent()
            .context("an installation lies in a directory")?;
        copy_tree(parent, &scratch.path().join("wheel"))?;
        let name = dir.file_name().context("an installation has a name")?;
        let copied = scratch.path().join("wheel").join(name);
        if let (Some(beside), Some(package)) = (parent.parent(), parent.file_name()) {
            let libs = format!("{}.libs", package.to_string_lossy());
            if beside.join(&libs).is_dir() {
                copy_tree(&beside.join(&libs), &scratch.path().join(&libs))?;
            }
            // The libraries are found as ../../../<package>.libs, so that the copy keeps the depth.
            fs::rename(scratch.path().join("wheel"), scratch.path().join(package))?;
            let dir = scratch.path().join(package).join(name);
            return Ok(Self {
                dir,
                _copy: Some(scratch.into()),
            });
        }
        Ok(Self {
            dir: copied,
            _copy: Some(scratch.into()),
        })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A command that runs a client program (`psql`, `pgbench`) as the caller.
    pub fn client(&self, program: &str) -> Command {
        let mut command = Command::new(self.dir.join("bin").join(program));
        command
            .env_remove("PGSERVICE")
            .env_remove("PGHOST")
            .env_remove("PGPORT")
            .env_remove("PGDATABASE");
        command
    }

    /// A command that runs a server program (`initdb`, `postgres`) as a user that PostgreSQL accepts.
    pub fn server(&self, program: &str) -> Command {
        let mut command = self.client(program);
        step_down(&mut command);
        command
    }

    /// A program of the installation's build directory (`src/test/regress/pg_regress`), executable.
    pub fn built(&self, path: &str) -> Result<PathBuf> {
        let program = self.dir.join("lib/pgxs").join(path);
        if let Ok(meta) = program.metadata()
            && meta.mode() & 0o111 != 0
        {
            return Ok(program);
        }
        // Wheels do not keep the executable bit outside of bin/.
        let _ = fs::set_permissions(&program, fs::Permissions::from_mode(0o755));
        if !program.is_file() {
            bail!("{} is not there", program.display());
        }
        Ok(program)
    }
}

/// Whether this process is root's.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Makes the command run as `nobody` if this is root.
pub(crate) fn step_down(command: &mut Command) {
    if is_root() {
        command.uid(NOBODY).gid(NOBODY).current_dir("/");
    }
}

/// A directory of its own in shared memory (or the temporary directory), owned by the server's user, removed when dropped.
#[derive(Debug)]
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    /// Makes one.
    pub fn new(prefix: &str) -> Result<Self> {
        let parent = Path::new("/dev/shm");
        let mut builder = tempfile::Builder::new();
        builder.prefix(prefix);
        let dir = if parent.is_dir() {
            builder.tempdir_in(parent)
        } else {
            builder.tempdir()
        };
        let dir = dir.context("making a scratch directory")?;
        let scratch = Self(dir);
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755))?;
        give_away(scratch.path())?;
        Ok(scratch)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Gives a file or directory to the server's user.
pub(crate) fn give_away(path: &Path) -> Result<()> {
    if is_root() {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY))
            .with_context(|| format!("chown {}", path.display()))?;
    }
    Ok(())
}

fn open_to_others(dir: &Path) -> bool {
    dir.ancestors().all(|part| {
        part.metadata()
            .is_ok_and(|meta| meta.mode() & 0o005 == 0o005)
    })
}

/// Copies a tree, symbolic links as links.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    // One process rather than a walk of our own: cp keeps links, modes and holes.
    let status = Command::new("cp")
        .args([OsStr::new("-a"), from.as_os_str(), to.as_os_str()])
        .status()?;
    if !status.success() {
        bail!("copying {} to {} failed", from.display(), to.display());
    }
    Ok(())
}
