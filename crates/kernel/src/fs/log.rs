//! A write-only stream that hands complete lines to the host: what a guest's standard error is connected to.

use std::any::Any;
use std::sync::Mutex;

use super::{GUEST_GID, GUEST_UID, next_device, now};
use crate::errno::Errno;
use crate::file::{File, FileKind, Ready, Stat};
use crate::wait::lock;

/// A line longer than this is handed over in pieces.
const MAX_LINE: usize = 64 * 1024;

/// Calls back once a line, without its newline; bytes that are not UTF-8 are replaced. What is left without a newline is
/// handed over when the sink is dropped.
pub struct LineSink {
    /// The unfinished line.
    pending: Mutex<Vec<u8>>,
    line: Box<dyn Fn(&str) + Send + Sync>,
    device: u64,
}

impl LineSink {
    /// A sink for `line`, which is called on the writing guest's thread and must not block for long, nor write to this sink.
    #[must_use]
    pub fn new(line: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self {
            pending: Mutex::new(Vec::new()),
            line: Box::new(line),
            device: next_device(),
        }
    }

    fn emit(&self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        (self.line)(text.trim_end_matches('\r'));
    }
}

impl File for LineSink {
    fn stat(&self) -> Result<Stat, Errno> {
        let time = now();
        Ok(Stat {
            device: self.device,
            inode: 1,
            kind: FileKind::Fifo,
            mode: 0o600,
            links: 1,
            uid: GUEST_UID,
            gid: GUEST_GID,
            size: 0,
            blocks: 0,
            accessed: time,
            modified: time,
            changed: time,
        })
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        let mut pending = lock(&self.pending);
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(end) if pending.is_empty() => self.emit(end),
                Some(end) => {
                    pending.extend_from_slice(end);
                    self.emit(&pending);
                    pending.clear();
                }
                None => {
                    pending.extend_from_slice(piece);
                    if pending.len() >= MAX_LINE {
                        self.emit(&pending);
                        pending.clear();
                    }
                }
            }
        }
        Ok(bytes.len())
    }

    fn ready(&self) -> Ready {
        Ready::OUT
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for LineSink {
    fn drop(&mut self) {
        let rest = std::mem::take(&mut *lock(&self.pending));
        if !rest.is_empty() {
            self.emit(&rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn lines_are_joined_and_split() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let copy = Arc::clone(&seen);
        let sink = LineSink::new(move |line| lock(&copy).push(line.to_owned()));
        sink.write(b"LOG:  st").unwrap();
        sink.write(b"arting\nDETAIL: \xff\n\nlast").unwrap();
        assert_eq!(*lock(&seen), ["LOG:  starting", "DETAIL: \u{fffd}", ""]);
        drop(sink);
        assert_eq!(lock(&seen).last().unwrap(), "last");
    }
}
