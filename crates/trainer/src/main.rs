//! `trainer DIRECTORY --rounds N --native PREFIX`: runs the SQL files of a directory and a few client programs of native PostgreSQL against an embedded server.
//!
//! Linked with instrumented objects by `cargo xtask pgo`: what it runs often is what the optimiser works on. Runs as any other program would with ordinary objects.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use pglite_oxide::PgliteServer;

struct Arguments {
    directory: PathBuf,
    rounds: u32,
    native: PathBuf,
}

fn arguments() -> Option<Arguments> {
    let mut given = std::env::args_os().skip(1);
    let directory = PathBuf::from(given.next()?);
    let (mut rounds, mut native) = (1, None);
    while let Some(name) = given.next() {
        let value = given.next()?;
        match name.to_str()? {
            "--rounds" => rounds = value.to_str()?.parse().ok()?,
            "--native" => native = Some(PathBuf::from(value)),
            _ => return None,
        }
    }
    Some(Arguments {
        directory,
        rounds,
        native: native?,
    })
}

fn main() -> ExitCode {
    let Some(arguments) = arguments() else {
        eprintln!("usage: trainer DIRECTORY [--rounds N] --native PREFIX");
        return ExitCode::FAILURE;
    };
    match train(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("trainer: {error}");
            ExitCode::FAILURE
        }
    }
}

fn train(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(&arguments.directory)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    let server = PgliteServer::temporary_tcp()?;
    let url = server.database_url();
    for round in 1..=arguments.rounds {
        println!("round {round} of {}", arguments.rounds);
        client(
            arguments,
            "psql",
            &url,
            &[
                "-q",
                "-c",
                "DROP SCHEMA public CASCADE",
                "-c",
                "CREATE SCHEMA public",
            ],
        )?;
        for file in &files {
            client(
                arguments,
                "psql",
                &url,
                &[
                    "-q",
                    "-v",
                    "ON_ERROR_STOP=1",
                    "-o",
                    "/dev/null",
                    "-f",
                    text(file)?,
                ],
            )?;
        }
        client(arguments, "pgbench", &url, &["-i", "-q", "-s", "3"])?;
        client(
            arguments,
            "pgbench",
            &url,
            &["-n", "-S", "-M", "prepared", "-c", "4", "-t", "4000"],
        )?;
        client(
            arguments,
            "pgbench",
            &url,
            &["-n", "-M", "prepared", "-c", "2", "-t", "800"],
        )?;
        client(
            arguments,
            "pgbench",
            &url,
            &["-n", "-M", "simple", "-c", "2", "-t", "400"],
        )?;
        client(
            arguments,
            "pgbench",
            &url,
            &["-n", "-S", "-M", "extended", "-c", "1", "-t", "2000"],
        )?;
    }
    server.shutdown()?;
    Ok(())
}

fn text(path: &Path) -> Result<&str, Box<dyn Error>> {
    path.to_str()
        .ok_or_else(|| format!("{} is not UTF-8", path.display()).into())
}

/// Runs a client program of native PostgreSQL, quietly unless it fails.
fn client(
    arguments: &Arguments,
    program: &str,
    url: &str,
    given: &[&str],
) -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    let mut command = Command::new(arguments.native.join("bin").join(program));
    // Options first: the connection string is the last, positional argument of both programs.
    let output = command.args(given).arg(url).output()?;
    println!(
        "  {program} {}: {:.1} s",
        given.join(" "),
        begun.elapsed().as_secs_f64()
    );
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{program} {}: {}\n{}",
        given.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    )
    .into())
}
