//! Listeners of the host whose connections go to a listener inside the kernel.
//!
//! A guest that was copied cannot be given more addresses to listen on; so what connects to these is handed to a socket on which it listens already. The guest
//! sees a connection of the host with its addresses, as if it had accepted it there.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use super::host::{Granted, HostListener};
use super::{Incoming, Listener, Net};
use crate::errno::Errno;
use crate::file::Ready;
use crate::reactor::{self, Registration, Told};
use crate::wait::lock;

/// Pause after an error that will come again at once, such as too many open files.
const PAUSE: Duration = Duration::from_millis(5);

/// Accepts for a guest. Stops when dropped.
pub(super) struct Forward {
    listener: HostListener,
    to: Weak<Listener>,
    registration: Mutex<Option<Registration>>,
}

impl Forward {
    fn start(granted: Granted, to: &Arc<Listener>) -> Result<Arc<Self>, Errno> {
        let this = Arc::new(Self {
            listener: HostListener::new(granted)?,
            to: Arc::downgrade(to),
            registration: Mutex::new(None),
        });
        let told: Weak<dyn Told> = Arc::<Self>::downgrade(&this);
        let mut registration = lock(&this.registration);
        *registration = Some(reactor::watch(this.listener.descriptor(), Ready::IN, told)?);
        drop(registration);
        Ok(this)
    }
}

impl Told for Forward {
    fn ready(&self) {
        loop {
            match self.listener.accept() {
                Ok((socket, peer)) => {
                    // With nobody listening, or too many waiting, it is closed.
                    if let Some(to) = self.to.upgrade() {
                        let _ = to.offer(Incoming::Host(socket, peer));
                    }
                }
                Err(Errno::EAGAIN) => break,
                Err(Errno::ECONNABORTED | Errno::EINTR) => {}
                Err(error) => {
                    tracing::warn!(?error, "a connection could not be accepted");
                    std::thread::sleep(PAUSE);
                    break;
                }
            }
        }
        if let Some(registration) = &*lock(&self.registration) {
            reactor::rearm(registration, self.listener.descriptor(), Ready::IN);
        }
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        if let Some(registration) = lock(&self.registration).take() {
            reactor::forget(registration, self.listener.descriptor());
        }
    }
}

impl Net {
    /// Hands what connects to `listener` to the guest that listens on `guest_path`, until [`Self::revoke`].
    ///
    /// # Errors
    /// `ECONNREFUSED` when nobody listens there.
    pub fn forward_tcp(&self, listener: TcpListener, guest_path: &str) -> Result<(), Errno> {
        self.forward(Granted::Tcp(Arc::new(listener)), guest_path)
    }

    /// The same for a Unix socket.
    ///
    /// # Errors
    /// As [`Self::forward_tcp`].
    pub fn forward_unix(&self, listener: UnixListener, guest_path: &str) -> Result<(), Errno> {
        self.forward(Granted::Unix(Arc::new(listener)), guest_path)
    }

    fn forward(&self, granted: Granted, guest_path: &str) -> Result<(), Errno> {
        let to = lock(&self.local)
            .get(guest_path)
            .and_then(Weak::upgrade)
            .ok_or(Errno::ECONNREFUSED)?;
        let forward = Forward::start(granted, &to)?;
        lock(&self.forwards).push(forward);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};
    use std::time::Instant;

    use super::super::addr::{AF_UNIX, Address};
    use super::super::socket::Socket;
    use super::*;
    use crate::file::File as _;

    #[test]
    fn a_connection_of_the_host_arrives_with_its_addresses() {
        let net = Net::new();
        let guest = Socket::new(AF_UNIX);
        guest.bind(Address::Unix("/run/s".to_owned())).unwrap();
        guest.listen(&net).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        net.forward_tcp(listener, "/run/s").unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"hello").unwrap();
        let begun = Instant::now();
        let (accepted, peer) = loop {
            match guest.accept() {
                Err(Errno::EAGAIN) if begun.elapsed() < Duration::from_secs(5) => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                other => break other.unwrap(),
            }
        };
        assert_eq!(peer, Address::Inet(client.local_addr().unwrap()));
        assert_eq!(accepted.local(), Address::Inet(address));
        let mut out = [0; 8];
        let n = loop {
            match accepted.read(&mut out) {
                Err(Errno::EAGAIN) => std::thread::sleep(Duration::from_millis(1)),
                other => break other.unwrap(),
            }
        };
        assert_eq!(&out[..n], b"hello");
        net.revoke();
        assert!(TcpStream::connect(address).is_err());
    }
}
