//! What is shown while steps run: bars on a terminal, plain lines elsewhere.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

#[derive(Clone)]
enum Sink {
    Bars(MultiProgress),
    Lines,
}

/// The screen, shared by all steps.
#[derive(Clone)]
pub struct Progress(Sink);

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress {
    /// Bars if standard error is a terminal, lines otherwise.
    pub fn new() -> Self {
        Self(if std::io::stderr().is_terminal() {
            Sink::Bars(MultiProgress::new())
        } else {
            Sink::Lines
        })
    }

    /// One line that stays.
    pub fn note(&self, text: &str) {
        match &self.0 {
            Sink::Bars(bars) => {
                let _ = bars.println(text);
            }
            Sink::Lines => eprintln!("{text}"),
        }
    }

    /// A step's line.
    pub fn step(&self, name: &str) -> Bar {
        let bar = match &self.0 {
            Sink::Bars(bars) => {
                let bar = bars.add(ProgressBar::new_spinner());
                bar.set_style(spinner());
                bar.set_prefix(name.to_owned());
                bar.enable_steady_tick(Duration::from_millis(120));
                Some(bar)
            }
            Sink::Lines => None,
        };
        if matches!(self.0, Sink::Lines) {
            eprintln!("{name} ...");
        }
        Bar {
            name: name.to_owned(),
            bar,
            lines: matches!(self.0, Sink::Lines),
        }
    }
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {prefix:<14} {elapsed:>4} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn counter() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {prefix:<14} {elapsed:>4} {bar:28} {pos}/{len} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// One step's line. May be used from several threads.
pub struct Bar {
    name: String,
    bar: Option<ProgressBar>,
    lines: bool,
}

impl Bar {
    /// What is being done now.
    pub fn message(&self, text: impl Into<String>) {
        let text = text.into();
        match &self.bar {
            Some(bar) => bar.set_message(text),
            None if self.lines => eprintln!("{}: {text}", self.name),
            None => {}
        }
    }

    /// Begins to count up to `total`.
    pub fn total(&self, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_style(counter());
            bar.set_length(total);
            bar.set_position(0);
        }
    }

    /// One more is done.
    pub fn advance(&self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    pub(crate) fn done(&self, took: Duration) {
        let text = format!("{:<14} {:>6.1} s", self.name, took.as_secs_f64());
        match &self.bar {
            Some(bar) => {
                bar.set_style(
                    ProgressStyle::with_template("{msg}")
                        .unwrap_or_else(|_| ProgressStyle::default_bar()),
                );
                bar.finish_with_message(text);
            }
            None if self.lines => eprintln!("{text}"),
            None => {}
        }
    }

    pub(crate) fn fail(&self) {
        if let Some(bar) = &self.bar {
            bar.abandon_with_message("failed");
        }
    }
}
