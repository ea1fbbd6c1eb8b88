//! The host's terminal, for guest programs.

use std::io::{self, IsTerminal as _, Read, Write};
use std::sync::Arc;
use std::thread::JoinHandle;

use pglite_oxide::{Input, Output, TerminalSize};

/// What is assumed where the size cannot be told.
const DEFAULT_SIZE: (u16, u16) = (24, 80);
/// Bytes moved at a time.
const CHUNK: usize = 64 * 1024;

fn size() -> TerminalSize {
    Arc::new(|| {
        rustix::termios::tcgetwinsize(rustix::stdio::stdout())
            .map_or(DEFAULT_SIZE, |size| (size.ws_row, size.ws_col))
    })
}

/// Standard input as the guest should see it.
#[must_use]
pub fn input() -> Input {
    if io::stdin().is_terminal() {
        Input::Terminal(size())
    } else {
        Input::Piped
    }
}

/// Standard output or error as the guest should see it.
#[must_use]
pub fn output(is_terminal: bool) -> Output {
    if is_terminal {
        Output::Terminal(size())
    } else {
        Output::Piped
    }
}

/// Copies the host's standard input to a program until either ends. The thread may stay blocked in a read; the process's end ends it.
pub fn feed(mut to: impl Write + Send + 'static) {
    std::thread::spawn(move || {
        let mut buffer = vec![0; CHUNK];
        let mut stdin = io::stdin().lock();
        while let Ok(n @ 1..) = stdin.read(&mut buffer) {
            if to.write_all(&buffer[..n]).is_err() {
                break;
            }
        }
    });
}

/// Copies what a program writes, as it comes, until it ends. Its result is the first error of the host's side.
pub fn drain(
    mut from: impl Read + Send + 'static,
    mut to: impl Write + Send + 'static,
) -> JoinHandle<io::Result<()>> {
    std::thread::spawn(move || {
        let mut buffer = vec![0; CHUNK];
        loop {
            let n = from.read(&mut buffer)?;
            if n == 0 {
                return Ok(());
            }
            to.write_all(&buffer[..n])?;
            to.flush()?;
        }
    })
}
