//! Pipes between the embedding program and a guest program's standard descriptors, and what makes such a descriptor look like a terminal.

use std::any::Any;
use std::sync::Arc;

use super::HostStream;
use super::stream::StreamEnd;
use crate::errno::Errno;
use crate::file::{File, FileKind, Ready, Stat, WindowSize};
use crate::wait::{WaitQueue, WakeSource};

/// A pipe that the host writes and a guest reads. The guest reads an end of file when the host's end is dropped.
#[must_use]
pub fn to_guest() -> (HostStream, Arc<dyn File>) {
    let (reader, writer) = StreamEnd::pipe(0);
    (HostStream::new(writer), Arc::new(reader))
}

/// A pipe that a guest writes and the host reads. The guest gets `SIGPIPE` or `EPIPE` when the host's end is dropped.
#[must_use]
pub fn to_host() -> (Arc<dyn File>, HostStream) {
    let (reader, writer) = StreamEnd::pipe(0);
    (Arc::new(writer), HostStream::new(reader))
}

/// A file that a guest takes for a terminal: `isatty` says yes. Lines are edited by the host's terminal, if there is one; there are no modes to set.
pub struct Terminal {
    inner: Arc<dyn File>,
    size: Box<dyn Fn() -> WindowSize + Send + Sync>,
}

impl Terminal {
    /// `inner` carries the bytes, `size` answers how large the window is now.
    pub fn new(
        inner: Arc<dyn File>,
        size: impl Fn() -> WindowSize + Send + Sync + 'static,
    ) -> Self {
        Self {
            inner,
            size: Box::new(size),
        }
    }
}

impl File for Terminal {
    fn stat(&self) -> Result<Stat, Errno> {
        self.inner.stat().map(|stat| Stat {
            kind: FileKind::CharDevice,
            ..stat
        })
    }

    fn read(&self, out: &mut [u8]) -> Result<usize, Errno> {
        self.inner.read(out)
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        self.inner.write(bytes)
    }

    fn ready(&self) -> Ready {
        self.inner.ready()
    }

    fn wake_source(&self, interest: Ready) -> Option<WakeSource<'_>> {
        self.inner.wake_source(interest)
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        self.inner.wait_queue()
    }

    fn window_size(&self) -> Option<WindowSize> {
        Some((self.size)())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn both_directions_end_when_the_host_lets_go() {
        let (mut host, guest) = to_guest();
        host.write_all(b"SELECT 1;\n").unwrap();
        drop(host);
        let mut line = [0; 16];
        assert_eq!(guest.read(&mut line), Ok(10));
        assert_eq!(guest.read(&mut line), Ok(0), "end of file");
        let (guest, mut host) = to_host();
        assert_eq!(guest.write(b"1\n"), Ok(2));
        assert_eq!(host.read(&mut line).unwrap(), 2);
        drop(host);
        assert_eq!(guest.write(b"2\n"), Err(Errno::EPIPE));
    }

    #[test]
    fn a_terminal_has_a_size_and_a_pipe_has_none() {
        let (_host, pipe) = to_guest();
        assert_eq!(pipe.window_size(), None);
        let size = WindowSize {
            rows: 24,
            columns: 80,
        };
        let terminal = Terminal::new(pipe, move || size);
        assert_eq!(terminal.window_size(), Some(size));
        assert_eq!(terminal.stat().unwrap().kind, FileKind::CharDevice);
    }
}
