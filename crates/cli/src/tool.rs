//! Guest programs at the host's terminal: `pglite psql`, `pglite tool`.

use std::io;
use std::io::IsTerminal as _;

use clap::Args;
use pglite_oxide::Output;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::database::{Database, Open};
use crate::files::Files;
use crate::outcome::{Outcome, code};
use crate::terminal;

/// `pglite psql`.
#[derive(Args, Debug)]
pub struct Psql {
    #[command(flatten)]
    database: Database,
    /// Gives psql no file of the host, not even those of the working directory
    #[arg(long)]
    no_files: bool,
    /// psql's own options
    #[arg(last = true, value_name = "PSQL OPTION")]
    args: Vec<String>,
}

/// `pglite tool`.
#[derive(Args, Debug)]
pub struct Tool {
    #[command(flatten)]
    database: Database,
    /// Gives the program no file of the host, not even those of the working directory
    #[arg(long)]
    no_files: bool,
    /// The program [default: lists them]
    program: Option<String>,
    /// The program's own options
    #[arg(last = true, value_name = "OPTION")]
    args: Vec<String>,
}

/// Runs psql.
pub fn psql(options: Psql) -> Outcome {
    let open = options.database.open()?;
    let outcome = attach(&open, "psql", &options.args, !options.no_files);
    open.close()?;
    outcome
}

/// Runs any program.
pub fn tool(options: Tool) -> Outcome {
    let open = options.database.open()?;
    let outcome = match &options.program {
        Some(program) => attach(&open, program, &options.args, !options.no_files),
        None => {
            for name in open.connector.cluster().programs() {
                println!("{name}");
            }
            Ok(std::process::ExitCode::SUCCESS)
        }
    };
    open.close()?;
    outcome
}

/// Runs a program with this process's standard streams and signals; its exit code.
pub fn attach(open: &Open, name: &str, args: &[String], files: bool) -> Outcome {
    let cluster = open.connector.cluster();
    let (to_terminal, complains_to_terminal) =
        (io::stdout().is_terminal(), io::stderr().is_terminal());
    let stderr = if to_terminal && complains_to_terminal {
        // One stream, so that messages appear where they belong.
        Output::AsStdout
    } else {
        terminal::output(complains_to_terminal)
    };
    let mut program = open
        .connector
        .program(name)
        .stdin(terminal::input())
        .stdout(terminal::output(to_terminal))
        .stderr(stderr);
    if complains_to_terminal && std::env::var_os("NO_COLOR").is_none() {
        program = program.env("PG_COLOR", "auto");
    }
    if files {
        let mut named = Files::new(cluster);
        program = program.args(named.arguments(name, args)?);
        for directory in named.granted() {
            program = program.grant(directory);
        }
        program = program.current_dir(cluster.grant(&std::env::current_dir()?)?);
    } else {
        program = program.args(args);
    }
    // From here on Ctrl-C is for the program.
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let handle = signals.handle();
    let mut running = open.connector.run_program(program)?;
    let signaller = running.signaller();
    let watcher = std::thread::spawn(move || {
        for signal in signals.forever() {
            if signal == SIGINT {
                signaller.interrupt();
            } else {
                signaller.terminate();
            }
        }
    });
    if let Some(stdin) = running.stdin.take() {
        terminal::feed(stdin);
    }
    let stdout = running
        .stdout
        .take()
        .map(|from| terminal::drain(from, io::stdout()));
    let stderr = running
        .stderr
        .take()
        .map(|from| terminal::drain(from, io::stderr()));
    let status = running.wait()?;
    handle.close();
    let _ = watcher.join();
    for thread in [stdout, stderr].into_iter().flatten() {
        if let Ok(outcome) = thread.join() {
            outcome?;
        }
    }
    Ok(code(status))
}
