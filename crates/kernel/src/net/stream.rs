//! Connected byte streams inside the kernel: the two ends of a pipe, of a `socketpair` or of a local connection.
//!
//! Each direction is a bounded queue of bytes. An end counts as writable again only when a third of its queue is free, as Linux's stream sockets do,
//! so that a slow reader does not wake its writer for every byte.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use crate::copy::Copier;
use crate::errno::Errno;
use crate::file::{File, FileKind, Ready, Stat};
use crate::image::record::Kind;
use crate::image::{FileRecord, SaveError, Saver};
use crate::wait::{WaitQueue, WakeSource, lock};

/// Bytes that a pipe holds, as on Linux.
const PIPE_CAPACITY: usize = 64 * 1024;
/// Bytes that one direction of a socket holds.
const SOCKET_CAPACITY: usize = 208 * 1024;
/// Writes to a pipe of up to this many bytes are never split (`PIPE_BUF`).
const PIPE_BUF: usize = 4096;

#[derive(Clone, Default)]
pub(super) struct Queue {
    pub(super) bytes: VecDeque<u8>,
    /// The writing end is closed or shut down: end of file after the bytes.
    pub(super) finished: bool,
    /// The reading end is closed or shut down: writes fail.
    pub(super) refused: bool,
    /// The reading end was closed with bytes unread: the writer's own reads fail once.
    pub(super) reset: bool,
}

#[derive(Default)]
pub(super) struct Side {
    /// Bytes on their way to this side.
    pub(super) incoming: Mutex<Queue>,
    /// Woken at every change that this side could wait for.
    pub(super) events: WaitQueue,
}

pub(crate) struct Duplex {
    pub(super) sides: [Side; 2],
    pub(super) kind: FileKind,
    pub(super) capacity: usize,
}

/// One end of a stream; dropping it closes it.
pub struct StreamEnd {
    duplex: Arc<Duplex>,
    me: usize,
    /// Process on the other side when the connection was made; 0 is the host.
    peer_pid: i32,
}

impl StreamEnd {
    fn pair_of(kind: FileKind, capacity: usize, pids: [i32; 2]) -> (Self, Self) {
        let duplex = Arc::new(Duplex {
            sides: Default::default(),
            kind,
            capacity,
        });
        let other = Arc::clone(&duplex);
        (
            Self {
                duplex,
                me: 0,
                peer_pid: pids[1],
            },
            Self {
                duplex: other,
                me: 1,
                peer_pid: pids[0],
            },
        )
    }

    /// Two connected sockets of the processes `pids`.
    pub fn socket_pair(pids: [i32; 2]) -> (Self, Self) {
        Self::pair_of(FileKind::Socket, SOCKET_CAPACITY, pids)
    }

    /// The reading and the writing end of a pipe.
    pub fn pipe(pid: i32) -> (Self, Self) {
        Self::pair_of(FileKind::Fifo, PIPE_CAPACITY, [pid; 2])
    }

    /// Who was on the other side when the connection was made.
    pub fn peer_pid(&self) -> i32 {
        self.peer_pid
    }

    pub(super) fn duplex(&self) -> &Duplex {
        &self.duplex
    }

    pub(super) fn duplex_address(&self) -> usize {
        Arc::as_ptr(&self.duplex).addr()
    }

    /// 0 or 1: which end it is.
    pub(super) fn side(&self) -> usize {
        self.me
    }

    /// Another connection with the same bytes on their way.
    pub(super) fn copy_duplex(&self) -> Arc<Duplex> {
        let side = |n: usize| Side {
            incoming: Mutex::new(lock(&self.duplex.sides[n].incoming).clone()),
            events: WaitQueue::new(),
        };
        Arc::new(Duplex {
            sides: [side(0), side(1)],
            kind: self.duplex.kind,
            capacity: self.duplex.capacity,
        })
    }

    /// An end of a connection; each is made once.
    pub(crate) fn of_duplex(duplex: &Arc<Duplex>, side: usize, peer_pid: i32) -> Self {
        Self {
            duplex: Arc::clone(duplex),
            me: side,
            peer_pid,
        }
    }

    /// Forgets what has arrived: closing then is no reset.
    pub(super) fn discard_unread(&self) {
        lock(&self.mine().incoming).bytes.clear();
    }

    fn mine(&self) -> &Side {
        &self.duplex.sides[self.me]
    }

    fn theirs(&self) -> &Side {
        &self.duplex.sides[1 - self.me]
    }

    fn is_pipe(&self) -> bool {
        self.duplex.kind == FileKind::Fifo
    }

    fn roomy(&self, used: usize) -> bool {
        self.duplex.capacity.saturating_sub(used) >= self.duplex.capacity / 3
    }

    /// Bytes that can be read now (`FIONREAD`).
    pub fn available(&self) -> usize {
        lock(&self.mine().incoming).bytes.len()
    }

    /// Copies what is there without taking it (`MSG_PEEK`).
    pub fn peek(&self, out: &mut [u8]) -> Result<usize, Errno> {
        let queue = lock(&self.mine().incoming);
        if queue.bytes.is_empty() {
            return if queue.finished || out.is_empty() {
                Ok(0)
            } else {
                Err(Errno::EAGAIN)
            };
        }
        Ok(copy_out(&queue.bytes, out))
    }

    /// Ends reading: the peer's writes fail from now on.
    pub fn shut_read(&self) {
        {
            let mut queue = lock(&self.mine().incoming);
            queue.refused = true;
            queue.finished = true;
        }
        self.wake_both();
    }

    /// Ends writing: the peer reads an end of file.
    pub fn shut_write(&self) {
        lock(&self.theirs().incoming).finished = true;
        self.wake_both();
    }

    fn writing_ended(&self) -> bool {
        lock(&self.theirs().incoming).finished
    }

    fn wake_both(&self) {
        self.mine().events.wake_all();
        self.theirs().events.wake_all();
    }
}

fn copy_out(bytes: &VecDeque<u8>, out: &mut [u8]) -> usize {
    let (front, back) = bytes.as_slices();
    let first = front.len().min(out.len());
    out[..first].copy_from_slice(&front[..first]);
    let second = back.len().min(out.len() - first);
    out[first..first + second].copy_from_slice(&back[..second]);
    first + second
}

impl Drop for StreamEnd {
    fn drop(&mut self) {
        {
            let mut queue = lock(&self.mine().incoming);
            queue.refused = true;
            let unread = !queue.bytes.is_empty() && !self.is_pipe();
            queue.bytes = VecDeque::new();
            drop(queue);
            let mut out = lock(&self.theirs().incoming);
            out.finished = true;
            out.reset |= unread;
        }
        self.theirs().events.wake_all();
    }
}

impl File for StreamEnd {
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(super::stat_of(self.duplex.kind))
    }

    fn read(&self, out: &mut [u8]) -> Result<usize, Errno> {
        let side = self.mine();
        let (n, freed) = {
            let mut queue = lock(&side.incoming);
            if queue.bytes.is_empty() {
                if std::mem::take(&mut queue.reset) {
                    return Err(Errno::ECONNRESET);
                }
                return if queue.finished || out.is_empty() {
                    Ok(0)
                } else {
                    Err(Errno::EAGAIN)
                };
            }
            let roomy = self.roomy(queue.bytes.len());
            let n = copy_out(&queue.bytes, out);
            queue.bytes.drain(..n);
            (n, !roomy && self.roomy(queue.bytes.len()))
        };
        if freed {
            self.theirs().events.wake_all();
        }
        Ok(n)
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        let side = self.theirs();
        let (n, first) = {
            let mut queue = lock(&side.incoming);
            if queue.refused || queue.finished {
                return Err(Errno::EPIPE);
            }
            let room = self.duplex.capacity - queue.bytes.len().min(self.duplex.capacity);
            let whole = self.is_pipe() && bytes.len() <= PIPE_BUF;
            if bytes.is_empty() {
                return Ok(0);
            }
            if room == 0 || whole && room < bytes.len() {
                return Err(Errno::EAGAIN);
            }
            let n = room.min(bytes.len());
            let first = queue.bytes.is_empty();
            queue.bytes.extend(&bytes[..n]);
            (n, first)
        };
        // Nobody waits for bytes while there are some.
        if first {
            side.events.wake_all();
        }
        Ok(n)
    }

    fn ready(&self) -> Ready {
        let mut ready = Ready::empty();
        let (their_end, my_end) = {
            let queue = lock(&self.mine().incoming);
            if !queue.bytes.is_empty() || queue.finished {
                ready |= Ready::IN;
            }
            if queue.reset {
                ready |= Ready::ERR;
            }
            (queue.finished, queue.refused)
        };
        let (room, refused, ended) = {
            let queue = lock(&self.theirs().incoming);
            (self.roomy(queue.bytes.len()), queue.refused, queue.finished)
        };
        if self.is_pipe() {
            // Of a pipe's ends one only reads, the other only writes.
            return if self.me == 0 {
                if their_end { ready | Ready::HUP } else { ready }
            } else if refused {
                Ready::OUT | Ready::ERR
            } else if room {
                Ready::OUT
            } else {
                Ready::empty()
            };
        }
        if room || refused || ended {
            ready |= Ready::OUT;
        }
        if their_end && !my_end {
            ready |= Ready::RDHUP;
        }
        if their_end && (refused || ended) {
            ready |= Ready::HUP;
        }
        ready
    }

    fn wake_source(&self, _interest: Ready) -> Option<WakeSource<'_>> {
        Some(WakeSource::Queue(&self.mine().events))
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.mine().events)
    }

    fn copy(&self, _this: &Arc<dyn File>, copier: &mut Copier) -> Result<Arc<dyn File>, Errno> {
        Ok(Arc::new(copier.streams.end(self)))
    }

    fn save(&self, saver: &mut Saver<'_>) -> Result<FileRecord, SaveError> {
        self.save_end(saver)
            .map(|end| FileRecord(Kind::Stream(end)))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl StreamEnd {
    /// True when this end can no longer write.
    pub fn write_closed(&self) -> bool {
        self.writing_ended()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_keeps_small_writes_whole_and_tells_of_its_ends() {
        let (reader, writer) = StreamEnd::pipe(1);
        assert_eq!(reader.read(&mut [0; 4]), Err(Errno::EAGAIN));
        assert_eq!(
            writer.write(&vec![1; PIPE_CAPACITY - 10]).unwrap(),
            PIPE_CAPACITY - 10
        );
        assert_eq!(
            writer.write(&[2; 11]),
            Err(Errno::EAGAIN),
            "a short write is not split"
        );
        assert_eq!(writer.write(&[2; 10]).unwrap(), 10);
        assert!(!writer.ready().contains(Ready::OUT));
        let mut out = vec![0; PIPE_CAPACITY];
        assert_eq!(reader.read(&mut out).unwrap(), PIPE_CAPACITY);
        assert!(writer.ready().contains(Ready::OUT));
        drop(writer);
        assert_eq!(reader.ready(), Ready::IN | Ready::HUP);
        assert_eq!(reader.read(&mut out).unwrap(), 0);
        let (reader, writer) = StreamEnd::pipe(1);
        drop(reader);
        assert_eq!(writer.write(b"x"), Err(Errno::EPIPE));
        assert!(writer.ready().contains(Ready::ERR));
    }

    #[test]
    fn half_closed_sockets_deliver_what_was_sent() {
        let (a, b) = StreamEnd::socket_pair([1, 2]);
        assert_eq!((a.peer_pid(), b.peer_pid()), (2, 1));
        assert_eq!(a.write(b"last words").unwrap(), 10);
        a.shut_write();
        assert_eq!(a.write(b"more"), Err(Errno::EPIPE));
        assert!(b.ready().contains(Ready::RDHUP | Ready::IN) && !b.ready().contains(Ready::HUP));
        let mut out = [0; 16];
        assert_eq!(b.peek(&mut out).unwrap(), 10);
        assert_eq!(b.read(&mut out).unwrap(), 10);
        assert_eq!(b.read(&mut out).unwrap(), 0);
        assert_eq!(b.write(b"answer").unwrap(), 6);
        assert_eq!(a.available(), 6);
    }

    #[test]
    fn closing_with_bytes_unread_resets_the_peer_once() {
        let (a, b) = StreamEnd::socket_pair([1, 2]);
        a.write(b"never read").unwrap();
        drop(b);
        assert_eq!(a.read(&mut [0; 4]), Err(Errno::ECONNRESET));
        assert_eq!(a.read(&mut [0; 4]), Ok(0));
        assert!(a.ready().contains(Ready::HUP));
    }
}
