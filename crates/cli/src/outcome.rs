//! How a command ends: exit codes, and errors on standard error.

use std::error::Error;
use std::process::ExitCode;

use pglite_oxide::ExitStatus;

/// What a command returns: the code that the process exits with.
pub type Outcome = Result<ExitCode, Box<dyn Error>>;

/// What a shell tells of a process that a signal ended is this plus the signal's number.
const SIGNALLED: u8 = 128;
const SIGPIPE: u8 = 13;

/// Prints an error with its causes, and gives the exit code.
pub fn finish(program: &str, outcome: Outcome) -> ExitCode {
    let error = match outcome {
        Ok(code) => return code,
        Err(error) => error,
    };
    // Nobody is there to read it: as quiet as a program that the signal ends.
    if is_broken_pipe(&*error) {
        return ExitCode::from(SIGNALLED + SIGPIPE);
    }
    let mut text = format!("{program}: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Errors that only pass another one on would say it twice.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    eprintln!("{text}");
    ExitCode::FAILURE
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
        {
            return true;
        }
        next = error.source();
    }
    false
}

/// A guest program's status as an exit code, as a shell tells it.
#[must_use]
pub fn code(status: ExitStatus) -> ExitCode {
    match status {
        ExitStatus::Exited(code) => ExitCode::from(code),
        ExitStatus::Signaled(signo) => ExitCode::from(SIGNALLED.saturating_add(signo)),
    }
}
