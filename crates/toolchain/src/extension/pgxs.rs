//! Running the Makefile of a PGXS extension, with a PGXS of our own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::builder::Server;
use crate::fetch::pins;
use crate::guest::{self, GuestCtx};
use crate::process;

/// Options of native compilers that mean nothing for wasm, left out by the wrapper: who tunes for the machine that builds does so for speed only.
const LEFT_OUT: &str = "-march=*|-mtune=*|-mcpu=*|-msse*|-mavx*|-mfma|-mf16c|-mpopcnt|-pthread|-flto*|-fno-semantic-interposition";
/// Libraries that are in the server anyway.
const LINKED: &[&str] = &["-lm", "-lc", "-lpq", "-lpthread", "-ldl", "-lrt"];
/// Where things would be installed: below it, like in the guest.
const PREFIX: &str = "/pgsql";

/// What a Makefile says.
#[derive(Debug, Default)]
pub(super) struct Described(BTreeMap<String, String>);

impl Described {
    fn parse(text: &str) -> Self {
        Self(
            text.lines()
                .filter_map(|line| line.strip_prefix("pglite:")?.split_once('='))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        )
    }

    /// The words of a variable.
    pub(super) fn words(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .get(name)
            .map_or("", String::as_str)
            .split_whitespace()
    }

    /// The libraries and their objects, relative to the directory.
    pub(super) fn libraries(&self) -> Result<Vec<(String, Vec<PathBuf>)>> {
        let mut libraries = Vec::new();
        let mut big = self.words("MODULE_big");
        if let Some(name) = big.next() {
            let objects: Vec<PathBuf> = self.words("OBJS").map(PathBuf::from).collect();
            if objects.is_empty() || big.next().is_some() {
                bail!("MODULE_big is one name, with its objects in OBJS");
            }
            libraries.push((name.to_owned(), objects));
        }
        for name in self.words("MODULES") {
            let object = PathBuf::from(format!("{name}.o"));
            let name = name.rsplit('/').next().unwrap_or(name);
            libraries.push((name.to_owned(), vec![object]));
        }
        Ok(libraries)
    }

    /// Fails for what cannot become a part of a pack.
    fn check(&self, dir: &Path) -> Result<()> {
        let foreign: Vec<&str> = ["SHLIB_LINK", "PG_LIBS", "LDFLAGS_SL"]
            .iter()
            .flat_map(|name| self.words(name))
            .filter(|word| {
                (word.starts_with("-l") || word.ends_with(".a")) && !LINKED.contains(word)
            })
            .collect();
        if !foreign.is_empty() {
            bail!(
                "it links {}: libraries of the host are no wasm; add their sources to OBJS",
                foreign.join(" ")
            );
        }
        for object in self.words("OBJS") {
            let source = ["cpp", "cc", "cxx", "rs"]
                .map(|kind| dir.join(object).with_extension(kind))
                .into_iter()
                .find(|path| path.is_file());
            if let Some(source) = source {
                bail!("{} is not C, and only C can be built", source.display());
            }
        }
        Ok(())
    }
}

/// Where a Makefile is run.
pub(super) struct Pgxs<'a> {
    /// With its log.
    pub context: &'a GuestCtx<'a>,
    /// What is compiled against.
    pub server: &'a Server,
    /// The copy of the extension's directory.
    pub dir: &'a Path,
    /// For the compiler's wrapper and `pg_config`.
    pub tools: &'a Path,
}

impl Pgxs<'_> {
    /// Reads the Makefile, then makes what it makes: objects, generated files.
    pub(super) fn make(&self) -> Result<Described> {
        if !["GNUmakefile", "makefile", "Makefile"]
            .iter()
            .any(|name| self.dir.join(name).is_file())
        {
            bail!("there is no Makefile in it");
        }
        fs::create_dir_all(self.tools)?;
        self.write_tools()?;
        // Twice: lists made by $(wildcard) may grow by what is made.
        self.describe()?.check(self.dir)?;
        let mut command = self.command()?;
        process::logged(
            command.arg(format!("-j{}", self.context.jobs)).arg("all"),
            self.context.log,
        )
        .context("its Makefile fails")?;
        self.describe()
    }

    fn describe(&self) -> Result<Described> {
        let text = process::output(self.command()?.args(["-s", "pglite-describe"]))
            .context("its Makefile cannot be read; does it include $(PGXS)?")?;
        Ok(Described::parse(&text))
    }

    fn command(&self) -> Result<Command> {
        let mut command = Command::new("make");
        self.context.host.apply(&mut command);
        self.context.zig_environment(&mut command);
        // What the caller's own environment would change.
        for name in ["MAKEFLAGS", "MAKELEVEL", "CFLAGS", "CPPFLAGS", "LDFLAGS"] {
            command.env_remove(name);
        }
        let tree = self.server.postgres.join(guest::TREE);
        command
            .current_dir(self.dir)
            .arg("USE_PGXS=1")
            .arg(format!(
                "PG_CONFIG={}",
                self.tools.join("pg_config").display()
            ))
            .arg(format!("PGLITE_CC={}", self.tools.join("cc").display()))
            .arg(format!("PGLITE_POSTGRES={}", tree.display()))
            .arg(format!("VERSION={}", pins::POSTGRES.version));
        Ok(command)
    }

    fn write_tools(&self) -> Result<()> {
        let compiler = guest::side_cc(self.context, &self.server.libc.dir);
        let mut words = quoted(&compiler.get_program().to_string_lossy());
        for word in compiler.get_args() {
            let _ = write!(words, " {}", quoted(&word.to_string_lossy()));
        }
        // Parameters are moved from the front to the back, but for those left out.
        let text = format!(
            "#!/bin/sh\nfor word; do\n  shift\n  case \"$word\" in\n  {LEFT_OUT}) ;;\n  *) set -- \"$@\" \"$word\" ;;\n  esac\ndone\nexec {words} \"$@\"\n"
        );
        program(&self.tools.join("cc"), &text)?;
        let include = self.server.postgres.join(guest::TREE).join("src/include");
        let include = include.to_string_lossy();
        let pgxs = self.context.guest.join("packs/pgxs.mk");
        let below = |dir: &str| format!("{PREFIX}/{dir}");
        let answers = [
            ("--pgxs", pgxs.to_string_lossy().into_owned()),
            (
                "--version",
                format!("PostgreSQL {}", pins::POSTGRES.version),
            ),
            ("--includedir", include.to_string()),
            ("--includedir-server", include.to_string()),
            ("--pkgincludedir", include.to_string()),
            ("--bindir", below("bin")),
            ("--libdir", below("lib")),
            ("--pkglibdir", below("lib")),
            ("--sharedir", below("share")),
            ("--docdir", below("doc")),
            ("--mandir", below("man")),
            ("--localedir", below("share/locale")),
            ("--sysconfdir", "/etc".to_owned()),
            ("--cc", self.tools.join("cc").display().to_string()),
        ];
        let mut text = String::from("#!/bin/sh\ncase \"$1\" in\n");
        for (option, answer) in answers {
            let _ = writeln!(text, "{option}) echo {} ;;", quoted(&answer));
        }
        // Flags and libraries of a native build: none.
        text.push_str("*) echo ;;\nesac\n");
        program(&self.tools.join("pg_config"), &text)
    }
}

/// A word of a shell's.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn program(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_of_both_kinds() {
        let both = Described::parse(
            "noise\npglite:MODULE_big=big\npglite:OBJS=a.o src/b.o\npglite:MODULES=one dir/two\n",
        );
        let libraries = both.libraries().unwrap();
        let names: Vec<&str> = libraries.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["big", "one", "two"]);
        assert_eq!(libraries[0].1.len(), 2);
        assert_eq!(libraries[2].1, [PathBuf::from("dir/two.o")]);
        assert!(
            Described::parse("pglite:MODULE_big=a\n")
                .libraries()
                .is_err()
        );
    }

    #[test]
    fn libraries_of_the_host_are_refused_by_name() {
        let error = Described::parse("pglite:SHLIB_LINK=-lm -lcurl\n")
            .check(Path::new("."))
            .unwrap_err();
        assert!(error.to_string().contains("-lcurl"), "{error}");
        Described::parse("pglite:SHLIB_LINK=-lm -L/x\n")
            .check(Path::new("."))
            .unwrap();
    }

    #[test]
    fn shell_words() {
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
