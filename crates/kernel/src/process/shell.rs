//! The little of a shell that `popen` and `system` need: one simple command with quotes and redirections.
//!
//! Grammar followed: POSIX XCU 2.2 (quoting) and 2.7 (redirection). Pipes, lists, expansions and globs are refused, never guessed at.

use super::{FsContext, Process};
use crate::abi::{O_APPEND, O_CREAT, O_RDONLY, O_TRUNC, O_WRONLY};
use crate::errno::Errno;
use crate::fdtable::FdTable;
use crate::file::OpenFile;
use crate::fs::OpenHow;

/// A program about to be started, while its file actions are carried out.
pub struct Spawning {
    /// Its descriptors.
    pub files: FdTable,
    /// Its working directory and umask.
    pub fs: FsContext,
    /// Its program.
    pub path: String,
    /// Its arguments.
    pub argv: Vec<Vec<u8>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Redirection {
    /// `n<word`, `n>word`, `n>>word`
    Open { fd: i32, path: String, flags: u32 },
    /// `n>&m`, `n<&m`
    Dup { fd: i32, from: i32 },
}

#[derive(Debug, PartialEq, Eq, Default)]
struct Command {
    words: Vec<String>,
    redirections: Vec<Redirection>,
}

impl Spawning {
    /// `dup2(from, to)`.
    pub fn dup(&mut self, from: i32, to: i32) -> Result<(), Errno> {
        let open = self.files.get(from)?;
        if from == to {
            return self.files.set_close_on_exec(to, false);
        }
        self.files.replace(to, open, false).map(drop)
    }

    /// Opens a file at exactly `fd`.
    pub fn open(
        &mut self,
        process: &Process,
        fd: i32,
        path: &str,
        flags: u32,
        mode: u32,
    ) -> Result<(), Errno> {
        let access = flags & crate::abi::O_ACCMODE;
        let how = OpenHow {
            read: access != O_WRONLY,
            write: access != O_RDONLY,
            create: flags & O_CREAT != 0,
            exclusive: flags & crate::abi::O_EXCL != 0,
            truncate: flags & O_TRUNC != 0,
            mode: mode & !self.fs.umask,
            ..OpenHow::default()
        };
        let (file, path) = process.kernel()?.vfs().open(&self.fs.cwd, path, &how)?;
        self.files
            .replace(fd, OpenFile::new(file, flags, Some(path)), false)
            .map(drop)
    }

    /// Changes the working directory.
    pub fn chdir(&mut self, process: &Process, path: &str) -> Result<(), Errno> {
        self.fs.cwd = process.kernel()?.vfs().directory(&self.fs.cwd, path)?;
        Ok(())
    }

    /// Replaces `/bin/sh -c LINE` by the command that LINE says. `ENOEXEC` for what this reader does not know.
    pub fn read_shell_line(&mut self, process: &Process) -> Result<(), Errno> {
        let line = match self.argv.as_slice() {
            [_, flag, line] if flag == b"-c" => {
                String::from_utf8(line.clone()).map_err(|_| Errno::ENOEXEC)?
            }
            [_, flag, dashes, line] if flag == b"-c" && dashes == b"--" => {
                String::from_utf8(line.clone()).map_err(|_| Errno::ENOEXEC)?
            }
            _ => return Err(Errno::ENOEXEC),
        };
        let mut command = parse(&line).ok_or_else(|| {
            tracing::warn!(%line, "a command line that the guest's shell does not know");
            Errno::ENOEXEC
        })?;
        if command.words.first().is_some_and(|word| word == "exec") {
            command.words.remove(0);
        }
        for redirection in command.redirections {
            match redirection {
                Redirection::Open { fd, path, flags } => {
                    self.open(process, fd, &path, flags, 0o666)?;
                }
                Redirection::Dup { fd, from } => self.dup(from, fd)?,
            }
        }
        self.path = command.words.first().cloned().ok_or(Errno::ENOEXEC)?;
        self.argv = command.words.into_iter().map(String::into_bytes).collect();
        Ok(())
    }
}

/// Reads one word, quotes removed; `None` for syntax that is not supported. An empty unquoted word is `Some(None)`.
fn word(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Option<String>> {
    let mut out = String::new();
    let mut any = false;
    while let Some(&c) = chars.peek() {
        match c {
            ' ' | '\t' | '\n' | '<' | '>' => break,
            '\'' => {
                chars.next();
                any = true;
                loop {
                    match chars.next()? {
                        '\'' => break,
                        c => out.push(c),
                    }
                }
            }
            '"' => {
                chars.next();
                any = true;
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => match chars.next()? {
                            c @ ('"' | '\\' | '$' | '`') => out.push(c),
                            c => {
                                out.push('\\');
                                out.push(c);
                            }
                        },
                        '$' | '`' => return None,
                        c => out.push(c),
                    }
                }
            }
            '\\' => {
                chars.next();
                any = true;
                out.push(chars.next()?);
            }
            '|' | '&' | ';' | '(' | ')' | '$' | '`' | '*' | '?' | '[' | '#' | '~' => return None,
            c => {
                chars.next();
                any = true;
                out.push(c);
            }
        }
    }
    Some(any.then_some(out))
}

fn parse(line: &str) -> Option<Command> {
    let mut command = Command::default();
    let mut chars = line.chars().peekable();
    loop {
        while chars.next_if(|c| matches!(c, ' ' | '\t' | '\n')).is_some() {}
        let Some(&next) = chars.peek() else {
            return Some(command);
        };
        let mut fd = None;
        if !matches!(next, '<' | '>') {
            let text = word(&mut chars)??;
            let number = text
                .parse::<i32>()
                .ok()
                .filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
            match (number, chars.peek()) {
                (Some(number), Some('<' | '>')) => fd = Some(number),
                _ => {
                    command.words.push(text);
                    continue;
                }
            }
        }
        let input = chars.next()? == '<';
        let fd = fd.unwrap_or(i32::from(!input));
        let append = !input && chars.next_if_eq(&'>').is_some();
        if !append && chars.next_if_eq(&'&').is_some() {
            let from = word(&mut chars)??.parse().ok()?;
            command.redirections.push(Redirection::Dup { fd, from });
            continue;
        }
        while chars.next_if_eq(&' ').is_some() {}
        let path = word(&mut chars)??;
        let flags = match (input, append) {
            (true, _) => O_RDONLY,
            (false, true) => O_WRONLY | O_CREAT | O_APPEND,
            (false, false) => O_WRONLY | O_CREAT | O_TRUNC,
        };
        command
            .redirections
            .push(Redirection::Open { fd, path, flags });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_initdb() {
        let command = parse(r#""/pgsql/bin/postgres" --check -F -c 'log_checkpoints=false' < "/dev/null" > "/dev/null" 2>&1"#).unwrap();
        assert_eq!(
            command.words,
            [
                "/pgsql/bin/postgres",
                "--check",
                "-F",
                "-c",
                "log_checkpoints=false"
            ]
        );
        assert_eq!(
            command.redirections,
            [
                Redirection::Open {
                    fd: 0,
                    path: "/dev/null".into(),
                    flags: O_RDONLY
                },
                Redirection::Open {
                    fd: 1,
                    path: "/dev/null".into(),
                    flags: O_WRONLY | O_CREAT | O_TRUNC
                },
                Redirection::Dup { fd: 2, from: 1 },
            ]
        );
    }

    #[test]
    fn what_it_cannot_do_is_refused() {
        for line in [
            "a | b",
            "a; b",
            "echo $HOME",
            "ls *",
            "a && b",
            "(a)",
            "'open",
            "a `b`",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
