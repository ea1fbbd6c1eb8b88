//! What the backend still owes for requests sent raw: tells when an answer is complete.
//!
//! `Query`, `FunctionCall` and `Sync` are each answered up to a `ReadyForQuery`; the messages of the extended protocol each by one of their own, unless one
//! of them failed: then the backend skips all until the next `Sync`.

use std::collections::VecDeque;

/// An answer that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// `ReadyForQuery`, after a `Query` or `FunctionCall`.
    Simple,
    /// `ReadyForQuery`, after a `Sync`.
    Synced,
    Parse,
    Bind,
    Close,
    Describe,
    Execute,
    /// Not an answer: the place where the client ended its `COPY` data.
    CopyEnd,
}

/// The answers that are due, in order.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    due: VecDeque<Due>,
    /// The backend waits for `COPY` data that has not been ended yet.
    copying: bool,
    /// An extended message failed, and no `Sync` has been sent since.
    skipping: bool,
    /// Extended messages were sent, and no `Sync` since.
    unsynced: bool,
}

impl Tracker {
    /// Notes a message that is being sent.
    pub(crate) fn sent(&mut self, tag: u8) {
        if self.copying {
            match tag {
                b'c' | b'f' => self.copying = false,
                // Ignored by a backend that is copying.
                b'S' | b'H' | b'd' => return,
                _ => {}
            }
            if !self.copying {
                return;
            }
        }
        if self.skipping && tag != b'S' {
            return;
        }
        let due = match tag {
            b'Q' | b'F' => Due::Simple,
            b'S' => {
                self.skipping = false;
                self.unsynced = false;
                self.due.push_back(Due::Synced);
                return;
            }
            b'P' => Due::Parse,
            b'B' => Due::Bind,
            b'C' => Due::Close,
            b'D' => Due::Describe,
            b'E' => Due::Execute,
            b'c' | b'f'
                if self
                    .due
                    .iter()
                    .any(|due| matches!(due, Due::Simple | Due::Execute)) =>
            {
                Due::CopyEnd
            }
            _ => return,
        };
        self.unsynced |= !matches!(due, Due::Simple | Due::CopyEnd);
        self.due.push_back(due);
    }

    /// Notes a message that was received.
    pub(crate) fn received(&mut self, tag: u8) {
        let front = self.due.front().copied();
        match (tag, front) {
            (b'Z', _) => {
                self.copying = false;
                while let Some(due) = self.due.pop_front() {
                    if matches!(due, Due::Simple | Due::Synced) {
                        break;
                    }
                }
                while self.due.front() == Some(&Due::CopyEnd) {
                    self.due.pop_front();
                }
            }
            (b'E', Some(Due::Simple | Due::Synced)) => self.copying = false,
            (b'E', _) => {
                self.copying = false;
                while self.due.front().is_some_and(|due| *due != Due::Synced) {
                    self.due.pop_front();
                }
                self.skipping = self.due.is_empty() && self.unsynced;
            }
            (b'1', Some(Due::Parse))
            | (b'2', Some(Due::Bind))
            | (b'3', Some(Due::Close))
            | (b'T' | b'n', Some(Due::Describe))
            | (b'C' | b'I' | b's', Some(Due::Execute)) => {
                self.due.pop_front();
            }
            (b'G' | b'W', Some(command)) => self.copy_begins(command == Due::Execute),
            _ => {}
        }
    }

    fn copy_begins(&mut self, extended: bool) {
        let end = self.due.iter().position(|due| *due == Due::CopyEnd);
        if let Some(end) = end {
            self.due.remove(end);
        } else {
            self.copying = true;
        }
        if extended {
            // A `Sync` among the data is ignored.
            let until = end.unwrap_or(self.due.len());
            let mut index = 0;
            self.due.retain(|due| {
                index += 1;
                index > until || *due != Due::Synced
            });
        }
    }

    /// True when nothing more will come before the client sends something.
    pub(crate) fn is_settled(&self) -> bool {
        self.copying || self.due.is_empty()
    }

    /// True when the backend holds back answers until it is told to flush.
    pub(crate) fn needs_flush(&self) -> bool {
        !self.copying
            && matches!(self.due.back(), Some(due) if !matches!(due, Due::Simple | Due::Synced))
    }

    /// True while the backend waits for `COPY` data.
    pub(crate) fn is_copying(&self) -> bool {
        self.copying
    }

    /// True when a `Sync` is missing before the next statement of another kind.
    pub(crate) fn is_unsynced(&self) -> bool {
        self.unsynced
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(sent: &[u8], received: &[u8]) -> Tracker {
        let mut tracker = Tracker::default();
        sent.iter().for_each(|tag| tracker.sent(*tag));
        received.iter().for_each(|tag| tracker.received(*tag));
        tracker
    }

    #[test]
    fn simple_queries() {
        assert!(!run(b"QQ", b"TDCZTD").is_settled());
        assert!(run(b"QQ", b"TDCZECZ").is_settled());
        assert!(!run(b"Q", b"E").is_settled());
    }

    #[test]
    fn extended_without_sync() {
        assert!(run(b"PBDE", b"").needs_flush());
        assert!(run(b"PBDE", b"12TDDC").is_settled());
        assert!(!run(b"PDE", b"1tT").is_settled());
        let mut tracker = run(b"PBDE", b"1E");
        assert!(tracker.is_settled() && tracker.is_unsynced());
        tracker.sent(b'P');
        assert!(tracker.is_settled());
        tracker.sent(b'S');
        assert!(!tracker.is_settled() && !tracker.needs_flush());
        tracker.received(b'Z');
        assert!(tracker.is_settled() && !tracker.is_unsynced());
    }

    #[test]
    fn errors_skip_to_the_sync() {
        let mut tracker = run(b"PBDESPBES", b"1EZ");
        assert!(!tracker.is_settled());
        b"12CZ".iter().for_each(|tag| tracker.received(*tag));
        assert!(tracker.is_settled());
    }

    #[test]
    fn copy_in_pieces() {
        let mut tracker = run(b"Q", b"G");
        assert!(tracker.is_settled() && tracker.is_copying() && !tracker.needs_flush());
        tracker.sent(b'd');
        assert!(tracker.is_settled());
        tracker.sent(b'c');
        assert!(!tracker.is_settled());
        tracker.received(b'C');
        tracker.received(b'Z');
        assert!(tracker.is_settled());
    }

    #[test]
    fn copy_at_once() {
        assert!(run(b"Qdc", b"GCZ").is_settled());
        assert!(run(b"Qdc", b"EZ").is_settled());
        assert!(!run(b"PBESdcS", b"12GC").is_settled());
        assert!(run(b"PBESdcS", b"12GCZ").is_settled());
        assert!(run(b"PBES", b"12G").is_copying());
    }
}
