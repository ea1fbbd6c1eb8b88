//! Files of the host that a command line names: guest programs reach them through directories granted for the run.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use pglite_oxide::{Cluster, GrantedDirectory, ProgramError};

/// Letters and long names of options whose value is a file, by program.
const FILE_OPTIONS: &[(&str, &[char], &[&str])] = &[
    ("psql", &['f', 'o', 'L'], &["file", "output", "log-file"]),
    ("pgbench", &['f', 'l'], &["file", "log-prefix"]),
    ("pg_basebackup", &['D'], &["pgdata", "waldir"]),
    (
        "pg_verifybackup",
        &['m', 'w'],
        &["manifest-path", "wal-directory"],
    ),
    ("pg_waldump", &['p'], &["path", "save-fullpage"]),
];

/// Rewrites the values of file options that the working directory does not reach, and grants their directories.
pub struct Files<'a> {
    cluster: &'a Cluster,
    granted: Vec<Arc<GrantedDirectory>>,
}

impl<'a> Files<'a> {
    /// Nothing granted yet.
    #[must_use]
    pub fn new(cluster: &'a Cluster) -> Self {
        Self {
            cluster,
            granted: Vec::new(),
        }
    }

    /// What must stay granted while the program runs.
    #[must_use]
    pub fn granted(self) -> Vec<Arc<GrantedDirectory>> {
        self.granted
    }

    /// The arguments as the guest understands them.
    pub fn arguments(
        &mut self,
        program: &str,
        args: &[String],
    ) -> Result<Vec<String>, ProgramError> {
        let Some((_, letters, names)) = FILE_OPTIONS.iter().find(|(name, ..)| *name == program)
        else {
            return Ok(args.to_vec());
        };
        let mut out = Vec::with_capacity(args.len());
        let mut value_next = false;
        for arg in args {
            if std::mem::take(&mut value_next) {
                out.push(self.path(arg)?);
                continue;
            }
            if let Some(long) = arg.strip_prefix("--") {
                match long.split_once('=') {
                    Some((name, value)) if names.contains(&name) => {
                        out.push(format!("--{name}={}", self.path(value)?));
                        continue;
                    }
                    None => value_next = names.contains(&long),
                    Some(_) => {}
                }
            } else if let Some(short) = arg.strip_prefix('-') {
                let mut chars = short.chars();
                if let Some(letter) = chars.next().filter(|letter| letters.contains(letter)) {
                    let value = chars.as_str();
                    if !value.is_empty() {
                        out.push(format!("-{letter}{}", self.path(value)?));
                        continue;
                    }
                    value_next = true;
                }
            }
            out.push(arg.clone());
        }
        Ok(out)
    }

    /// A path as the guest finds it: those within the working directory are left alone.
    fn path(&mut self, text: &str) -> Result<String, ProgramError> {
        let path = Path::new(text);
        if text == "-" || text.starts_with('|') || is_within(path) {
            return Ok(text.to_owned());
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(text.to_owned());
        };
        let granted = self.cluster.grant(&absolute(parent))?;
        let inside = format!("{}/{}", granted.guest_path(), name.to_string_lossy());
        self.granted.push(granted);
        Ok(inside)
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// True for a relative path that never leaves the working directory.
fn is_within(path: &Path) -> bool {
    path.components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_within_the_working_directory_need_no_grant() {
        assert!(is_within(Path::new("a/b.sql")));
        assert!(is_within(Path::new("./a.sql")));
        assert!(!is_within(Path::new("../a.sql")));
        assert!(!is_within(Path::new("/tmp/a.sql")));
    }
}
