//! The embedding program's end of a connection into the guest.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::stream::StreamEnd;
use crate::errno::Errno;
use crate::file::File as _;
use crate::handoff::{self, Held};
use crate::wait::{HostThread, WaitQueue, WakeSource, lock, wait_until};

thread_local! {
    /// The calling thread's parking place.
    static THREAD: HostThread = HostThread::default();
}

#[derive(Default)]
struct Timeouts {
    read: Option<Duration>,
    write: Option<Duration>,
}

/// A connection to a guest through memory: no descriptor, no system call of the host except to sleep. Reads and writes block, up to the timeouts.
/// Clones share the connection; it is closed when the last one is dropped.
pub struct HostStream {
    end: Arc<StreamEnd>,
    timeouts: Arc<Mutex<Timeouts>>,
}

impl HostStream {
    pub(crate) fn new(end: StreamEnd) -> Self {
        Self {
            end: Arc::new(end),
            timeouts: Arc::default(),
        }
    }

    pub(super) fn end(&self) -> &StreamEnd {
        &self.end
    }

    /// The longest that a read blocks; then it fails with [`io::ErrorKind::WouldBlock`]. `None` waits for ever. Shared by clones.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for a timeout of zero, as `TcpStream` has it.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        lock(&self.timeouts).read = checked(timeout)?;
        Ok(())
    }

    /// The longest that a write blocks without moving a byte; otherwise like [`Self::set_read_timeout`].
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for a timeout of zero.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        lock(&self.timeouts).write = checked(timeout)?;
        Ok(())
    }

    /// Another handle of the same connection.
    ///
    /// # Errors
    /// None; the signature is `TcpStream`'s.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            end: Arc::clone(&self.end),
            timeouts: Arc::clone(&self.timeouts),
        })
    }

    /// While the result lives, a guest that this thread wakes by writing is run by this thread itself when it reads without a timeout, instead of by
    /// another one. The thread must not wait for anything else meanwhile.
    pub fn hold(&self) -> Held {
        Held::new()
    }

    /// Ends one direction or both.
    ///
    /// # Errors
    /// None; the signature is `TcpStream`'s.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if how != Shutdown::Write {
            self.end.shut_read();
        }
        if how != Shutdown::Read {
            self.end.shut_write();
        }
        Ok(())
    }

    fn wait(
        &self,
        timeout: Option<Duration>,
        mut step: impl FnMut() -> Result<usize, Errno>,
    ) -> io::Result<usize> {
        let sources = self
            .end
            .wait_queue()
            .map(|queue: &WaitQueue| WakeSource::Queue(queue));
        loop {
            match step() {
                Err(Errno::EAGAIN) if timeout.is_none() && handoff::carry_one() => {}
                Err(Errno::EAGAIN) => break,
                other => return other.map_err(failure),
            }
        }
        handoff::flush();
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let outcome = THREAD.with(|thread| {
            wait_until(thread, sources.as_slice(), deadline, || match step() {
                Err(Errno::EAGAIN) => Ok(None),
                other => other.map(Some),
            })
        });
        outcome.map_err(failure)
    }
}

fn failure(error: Errno) -> io::Error {
    match error {
        Errno::ETIMEDOUT => io::ErrorKind::WouldBlock.into(),
        error => io::Error::from_raw_os_error(error.number()),
    }
}

fn checked(timeout: Option<Duration>) -> io::Result<Option<Duration>> {
    if timeout == Some(Duration::ZERO) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a timeout of zero",
        ));
    }
    Ok(timeout)
}

impl Read for &HostStream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let timeout = lock(&self.timeouts).read;
        self.wait(timeout, || self.end.read(out))
    }
}

impl Write for &HostStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let timeout = lock(&self.timeouts).write;
        self.wait(timeout, || self.end.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for HostStream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        (&*self).read(out)
    }
}

impl Write for HostStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for HostStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostStream").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Incoming, Net};

    #[test]
    fn a_connection_into_the_guest_blocks_times_out_and_ends() {
        let net = Net::new();
        assert_eq!(net.connect_unix("/run/s").unwrap_err(), Errno::ECONNREFUSED);
        let listener = net.listen_local("/run/s");
        let mut stream = net.connect_unix("/run/s").unwrap();
        let Incoming::Stream(end) = listener.accept().unwrap() else {
            panic!("it came from the host")
        };
        stream
            .set_read_timeout(Some(Duration::from_millis(10)))
            .unwrap();
        assert_eq!(
            stream.read(&mut [0; 4]).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        stream.set_read_timeout(None).unwrap();
        let mut reader = stream.try_clone().unwrap();
        let thread = std::thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).map(|_| text)
        });
        std::thread::sleep(Duration::from_millis(10));
        end.write(b"hello").unwrap();
        drop(end);
        assert_eq!(thread.join().unwrap().unwrap(), "hello");
        assert_eq!(
            stream.write(b"x").unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
        drop(listener);
        assert_eq!(net.connect_unix("/run/s").unwrap_err(), Errno::ECONNREFUSED);
    }
}
