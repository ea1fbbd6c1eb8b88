//! `cargo xtask dumps`: the regression database, dumped by our programs, restored, and dumped again.
//!
//! The database is what PostgreSQL's core suite leaves, a few hundred objects of every kind. It is dumped in every format and restored into empty
//! clusters of ours, and as SQL into native PostgreSQL of the same version, from which it comes back: every dump must be the first one again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use pglite_oxide_native::Cluster;
use pglite_oxide_wire::Config;

use super::adjust::{adjusted, first_difference};
use super::source::Files;
use super::target::{GUEST_LIBRARY_DIR, Target};
use super::{Options, Suite, WorkDir, drive, wanted};
use crate::process;

/// The database that `pg_regress` makes.
const DATABASE: &str = "regression";

/// Takes away what a 64-bit server refuses: types made like `int8` by a server of 32 bits are not passed by value, so that they are not binary-compatible with
/// `int8` where that is. (Two 64-bit servers of which one has `USE_FLOAT8_BYVAL` off differ in the same way.) And what the pinned native server was built without: XML, LZ4, ICU.
const UNPORTABLE: &str = r"
SET client_min_messages = warning;
DROP TYPE IF EXISTS public.int8alias1, public.int8alias2 CASCADE;
DO $$
DECLARE
    command text;
BEGIN
    FOR command IN
        SELECT format('DROP %s IF EXISTS %s CASCADE', CASE relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, c.oid::regclass)
        FROM pg_class c
        WHERE relkind IN ('r', 'v') AND c.oid >= 16384
            AND (EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND atttypid = 'xml'::regtype)
                OR relkind = 'v' AND pg_get_viewdef(c.oid) ~* 'xml')
        ORDER BY relkind, c.oid
    LOOP
        EXECUTE command;
    END LOOP;
    FOR command IN
        SELECT format('DROP TABLE IF EXISTS %s CASCADE', c.oid::regclass)
        FROM pg_class c
        WHERE relkind IN ('r', 'p') AND c.oid >= 16384
            AND EXISTS (SELECT FROM pg_attribute a JOIN pg_collation o ON o.oid = attcollation WHERE attrelid = c.oid AND collprovider = 'i' AND o.oid < 16384)
        UNION ALL
        SELECT format('DROP COLLATION IF EXISTS %s CASCADE', oid::regcollation) FROM pg_collation WHERE collprovider = 'i' AND oid >= 16384
    LOOP
        EXECUTE command;
    END LOOP;
    FOR command IN
        SELECT format('ALTER %s %s ALTER COLUMN %I SET COMPRESSION default',
            CASE relkind WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END, attrelid::regclass, attname)
        FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
        WHERE attcompression = 'l' AND relkind IN ('r', 'p', 'm')
        ORDER BY attrelid, attnum
    LOOP
        EXECUTE command;
    END LOOP;
END
$$";

/// What to run.
#[derive(Args, Debug)]
pub(crate) struct DumpsOptions {
    /// Only these tests of the core suite fill the database [default: all]
    #[arg(long, value_delimiter = ',')]
    tests: Vec<String>,
    /// Keeps the working directory even if all is well
    #[arg(long)]
    keep: bool,
    /// Where the working directory is made [default: the temporary directory]
    #[arg(long)]
    work: Option<PathBuf>,
}

/// Runs everything; success if all dumps are equal.
pub(crate) fn run(options: &DumpsOptions) -> Result<ExitCode> {
    let files = Files::find(Suite::Core)?;
    let work = WorkDir::new(
        Suite::Core,
        &Options {
            tests: options.tests.clone(),
            work: options.work.clone(),
            ..Options::default()
        },
    )?;
    let pglite = Pglite::build(&work.path)?;
    let source = fill(&files, &work.path, &options.tests)?;
    let mut all_equal = true;
    let first = pglite.dump(&source, "first")?;
    println!("the first dump: {} bytes", first.len());
    let mut compare = |what: &str, one: &str, other: &str, begun: Instant| {
        let seconds = begun.elapsed().as_secs_f64();
        match first_difference(&adjusted(one), &adjusted(other)) {
            None => println!("{what}: equal ({seconds:.1} s)"),
            Some(difference) => {
                all_equal = false;
                println!("{what}: DIFFERENT\n{difference}");
            }
        }
    };
    for (format, jobs) in [
        ("plain", "1"),
        ("custom", "1"),
        ("tar", "1"),
        ("directory", "3"),
    ] {
        let begun = Instant::now();
        let copy = pglite.pass_on(&source, format, jobs)?;
        let dump = pglite.dump(&copy, &format!("after-{format}"))?;
        compare(&format!("ours -> {format} -> ours"), &first, &dump, begun);
        fs::remove_dir_all(&copy)?;
    }
    pglite.run("psql", &source, &["-d", DATABASE, "--", "-qc", UNPORTABLE])?;
    let portable = pglite.dump(&source, "portable")?;
    let begun = Instant::now();
    let native = through_native(&files, &work.path, &portable)?;
    compare("ours -> native", &portable, &native, begun);
    let begun = Instant::now();
    let back = pglite.restore(&work.path.join("native.sql"), "from-native")?;
    let dump = pglite.dump(&back, "after-native")?;
    compare("ours -> native -> ours", &portable, &dump, begun);
    work.finish(options.keep || !all_equal);
    Ok(if all_equal {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs the core suite against a server of ours on a directory; returns that.
fn fill(files: &Files, work: &Path, tests: &[String]) -> Result<PathBuf> {
    files.lay_out(Suite::Core, work)?;
    let root = work.join("source");
    let target = Target::embedded_in(work, &root)?;
    let options = Options {
        tests: tests.to_vec(),
        test_limit: 300,
        ..Options::default()
    };
    let total = wanted(Suite::Core, &options, work)?.len();
    let begun = Instant::now();
    let outcome = drive(Suite::Core, &options, files, &target, work, total)?;
    target.stop()?;
    println!(
        "{} tests of {total} filled the database ({:.0} s)",
        outcome.tests().len(),
        begun.elapsed().as_secs_f64()
    );
    Ok(root)
}

/// The command line tool.
struct Pglite {
    program: PathBuf,
    work: PathBuf,
}

impl Pglite {
    fn build(work: &Path) -> Result<Self> {
        let mut command = crate::suite::cargo();
        command.args([
            "build",
            "--release",
            "--package",
            "pglite-oxide-cli",
            "--bin",
            "pglite",
            // The tests make collations of it.
            "--features",
            super::target::FEATURES,
            "--message-format",
            "json-render-diagnostics",
        ]);
        let messages = process::output(&mut command)?;
        let program = messages.lines().rev().find_map(|line| {
            let message: serde_json::Value = serde_json::from_str(line).ok()?;
            message.get("executable")?.as_str().map(PathBuf::from)
        });
        Ok(Self {
            program: program.context("cargo named no executable of pglite")?,
            work: work.to_path_buf(),
        })
    }

    fn run(&self, command: &str, root: &Path, args: &[&str]) -> Result<()> {
        let mut pglite = Command::new(&self.program);
        pglite
            .arg(command)
            .arg("--path")
            .arg(root)
            // What is tested does not depend on it.
            .args(["--set", "fsync=off"])
            .args(args)
            .current_dir(&self.work);
        process::output(&mut pglite).map(drop)
    }

    /// The database as SQL; kept as `NAME.sql`.
    fn dump(&self, root: &Path, name: &str) -> Result<String> {
        let file = format!("{name}.sql");
        let args = ["-d", DATABASE, "-o", &file, "--", "--create"];
        self.run("dump", root, &args)?;
        fs::read_to_string(self.work.join(&file)).with_context(|| format!("reading {file}"))
    }

    /// Dumps in a format and restores into a new cluster; its directory.
    fn pass_on(&self, source: &Path, format: &str, jobs: &str) -> Result<PathBuf> {
        let name = format!("passed.{format}");
        let args = ["-d", DATABASE, "-F", format, "-j", jobs, "-o", &name];
        if format == "plain" {
            self.run("dump", source, &[&args[..], &["--", "--create"]].concat())?;
            return self.restore(&self.work.join(name), format);
        }
        self.run("dump", source, &args)?;
        let root = self.roles_in(format)?;
        self.run("restore", &root, &["-j", jobs, &name, "--", "--create"])?;
        Ok(root)
    }

    /// A new cluster with the roles that own things.
    fn roles_in(&self, name: &str) -> Result<PathBuf> {
        let root = self.work.join(format!("copy-{name}"));
        let source = self.work.join("source");
        let roles = ["--all", "-o", "roles.sql", "--", "--roles-only"];
        self.run("dump", &source, &roles)?;
        // One role, the superuser, is there already.
        self.run("restore", &root, &["--ignore-errors", "roles.sql"])?;
        Ok(root)
    }

    /// Restores SQL into a new cluster; its directory.
    fn restore(&self, dump: &Path, name: &str) -> Result<PathBuf> {
        let root = self.roles_in(name)?;
        let dump = dump.to_str().context("a path in UTF-8")?;
        self.run("restore", &root, &[dump])?;
        Ok(root)
    }
}

/// Restores a dump of ours with native psql into a native server, and dumps it with native `pg_dump`; kept as `native.sql`.
fn through_native(files: &Files, work: &Path, dump: &str) -> Result<String> {
    let library = files.native_library(work)?;
    let (ours, theirs) = (
        format!("'{GUEST_LIBRARY_DIR}/"),
        format!("'{}/", library.display()),
    );
    fs::write(work.join("for-native.sql"), dump.replace(&ours, &theirs))?;
    let settings = [("fsync".to_owned(), "off".to_owned())];
    let mut cluster = Cluster::init_trusting(files.install(), &settings)?;
    cluster.start()?;
    let config = Config::parse(&cluster.tcp_url())?;
    let client = |program: &str, database: &str, args: &[&str]| {
        let mut command = files.install().client(program);
        command
            .current_dir(work)
            .stdin(Stdio::null())
            .arg(format!("--host={}", config.host_argument()))
            .arg(format!("--port={}", config.port))
            .arg(format!("--username={}", config.user))
            .arg(format!("--dbname={database}"))
            .args(args)
            .env("PGPASSWORD", &config.password);
        process::output(&mut command)
    };
    client(
        "psql",
        "postgres",
        &["-Xqf", "roles.sql", "-o", "/dev/null"],
    )?;
    let restore = [
        "-Xqv",
        "ON_ERROR_STOP=1",
        "-f",
        "for-native.sql",
        "-o",
        "/dev/null",
    ];
    client("psql", "postgres", &restore)?;
    client("pg_dump", DATABASE, &["--create", "--file=native-raw.sql"])?;
    cluster.stop()?;
    let text = fs::read_to_string(work.join("native-raw.sql"))?;
    if !text.contains(&theirs) && dump.contains(&ours) {
        bail!("the native dump lost the functions in C");
    }
    let text = text.replace(&theirs, &ours);
    fs::write(work.join("native.sql"), &text)?;
    Ok(text)
}
