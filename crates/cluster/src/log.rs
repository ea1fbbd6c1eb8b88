//! PostgreSQL's log goes to `tracing`, target `pglite_oxide::postgres`; the last lines are kept for error messages.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use pglite_oxide_kernel::file::File;
use pglite_oxide_kernel::fs::log::LineSink;
use pglite_oxide_kernel::wait::lock;

/// Lines kept.
const KEPT: usize = 60;

/// The prefix of each line (`log_line_prefix`): the process alone, as `tracing` has the time.
pub(crate) const PREFIX: &str = "[%p] ";

/// The last lines of a cluster's log.
#[derive(Clone, Default)]
pub(crate) struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    fn push(&self, line: &str) {
        let mut lines = lock(&self.0);
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(line.to_owned());
    }

    /// The lines as one text.
    pub(crate) fn text(&self) -> String {
        let lines = lock(&self.0);
        lines
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// What takes the postmaster's standard output and error.
    pub(crate) fn sink(&self) -> Arc<dyn File> {
        let tail = self.clone();
        let last = AtomicU8::new(Level::Info as u8);
        Arc::new(LineSink::new(move |line| {
            let level = severity(line).unwrap_or_else(|| Level::of(last.load(Ordering::Relaxed)));
            last.store(level as u8, Ordering::Relaxed);
            if line.is_empty() {
                return;
            }
            tail.push(line);
            match level {
                Level::Error => tracing::error!(target: "pglite_oxide::postgres", "{line}"),
                Level::Warn => tracing::warn!(target: "pglite_oxide::postgres", "{line}"),
                Level::Info => tracing::info!(target: "pglite_oxide::postgres", "{line}"),
                Level::Debug => tracing::debug!(target: "pglite_oxide::postgres", "{line}"),
            }
        }))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

impl Level {
    fn of(number: u8) -> Self {
        [Self::Error, Self::Warn, Self::Info, Self::Debug]
            .into_iter()
            .find(|&level| level as u8 == number)
            .unwrap_or(Self::Info)
    }
}

/// The level of a line that begins a message; `None` for one that continues it.
///
/// An `ERROR` is the answer to a statement, which its client has too: a warning here, as far as the embedding program is concerned.
fn severity(line: &str) -> Option<Level> {
    let rest = line
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] "))
        .map_or(line, |(_, rest)| rest);
    let (word, _) = rest.split_once(":  ")?;
    Some(match word {
        "PANIC" | "FATAL" => Level::Error,
        "ERROR" | "WARNING" => Level::Warn,
        "LOG" | "NOTICE" | "INFO" => Level::Info,
        _ if word.strip_prefix("DEBUG").is_some_and(|n| n.len() <= 1) => Level::Debug,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_of_lines() {
        assert_eq!(
            severity("[12] LOG:  database system is ready"),
            Some(Level::Info)
        );
        assert_eq!(severity("[12] FATAL:  no such role"), Some(Level::Error));
        assert_eq!(severity("[7] ERROR:  division by zero"), Some(Level::Warn));
        assert_eq!(severity("DEBUG2:  x"), Some(Level::Debug));
        assert_eq!(severity("[7] STATEMENT:  select 1/0"), None);
        assert_eq!(severity("\tcontinued: LOG:  no"), None);
    }

    #[test]
    fn the_last_lines_are_kept() {
        let tail = Tail::default();
        let sink = tail.sink();
        for n in 0..100 {
            sink.write(format!("[1] LOG:  line {n}\n").as_bytes())
                .unwrap();
        }
        assert!(tail.text().starts_with("[1] LOG:  line 40\n") && tail.text().ends_with("line 99"));
    }
}
