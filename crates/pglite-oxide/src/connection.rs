//! One connection to a backend: framing, login, and sending without ever deadlocking on full buffers.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read as _, Write as _};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use pglite_oxide_cluster::Stream;
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;

use crate::error::{Error, Result};
use crate::options::NoticeCallback;
use crate::protocol::decode;
use crate::protocol::tracker::Tracker;
use crate::protocol::{DatabaseError, NoticeMessage};

/// Bytes asked for in one read.
const READ_SIZE: usize = 64 * 1024;
/// A buffer grown beyond this by one big message is given back afterwards.
const KEEP_SIZE: usize = 1024 * 1024;
/// How long a write may be stuck before we look whether the backend is stuck too, because nobody reads its answers.
const WRITE_PATIENCE: Duration = Duration::from_millis(20);
/// How long such a look waits.
const PEEK: Duration = Duration::from_millis(1);

/// A notification that nobody was told of yet.
#[derive(Debug)]
pub(crate) struct Notification {
    pub(crate) channel: String,
    pub(crate) payload: String,
}

/// What the connection can be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    /// A request is under way: seen at the start of the next one only if a callback panicked.
    InFlight,
    Broken,
}

/// A connection that has passed login.
pub(crate) struct Connection {
    stream: Stream,
    /// Bytes received and not yet taken.
    incoming: BytesMut,
    scratch: Box<[u8]>,
    /// The read timeout that the stream has now.
    read_timeout: Option<Duration>,
    state: State,
    pub(crate) tracker: Tracker,
    /// Status of the last `ReadyForQuery`: `I`, `T` or `E`.
    pub(crate) transaction: u8,
    pub(crate) process_id: i32,
    pub(crate) secret_key: i32,
    /// Settings that the backend reported.
    pub(crate) parameters: HashMap<String, String>,
    pub(crate) notifications: VecDeque<Notification>,
}

/// A session that was frozen, with the stream to its backend: a [`Connection`] without buffers.
pub(crate) struct Seed {
    stream: Stream,
    process_id: i32,
    transaction: u8,
    parameters: HashMap<String, String>,
}

impl Seed {
    /// `stream` is the copy of the connection's, which is settled.
    pub(crate) fn new(connection: &Connection, stream: Stream) -> Self {
        Self {
            stream,
            process_id: connection.process_id,
            transaction: connection.transaction,
            parameters: connection.parameters.clone(),
        }
    }

    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The same session in another copy.
    pub(crate) fn on(&self, stream: Stream) -> Self {
        Self {
            stream,
            process_id: self.process_id,
            transaction: self.transaction,
            parameters: self.parameters.clone(),
        }
    }

    /// What [`Self::of_json`] takes.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "process": self.process_id,
            "transaction": self.transaction,
            "parameters": self.parameters,
        })
    }

    /// The session that was described, with its stream.
    pub(crate) fn of_json(value: &serde_json::Value, stream: Stream) -> Option<Self> {
        let text = |(name, value): (&String, &serde_json::Value)| {
            Some((name.clone(), value.as_str()?.to_owned()))
        };
        Some(Self {
            stream,
            process_id: i32::try_from(value["process"].as_i64()?).ok()?,
            transaction: u8::try_from(value["transaction"].as_u64()?).ok()?,
            parameters: value["parameters"]
                .as_object()?
                .iter()
                .map(text)
                .collect::<Option<_>>()?,
        })
    }

    /// A connection to the backend.
    pub(crate) fn grow(self, secret_key: i32) -> Result<Connection> {
        let mut connection = Connection::on(self.stream)?;
        connection.process_id = self.process_id;
        connection.transaction = self.transaction;
        connection.secret_key = secret_key;
        connection.parameters = self.parameters;
        Ok(connection)
    }
}

impl Connection {
    /// On a stream that nothing was sent on.
    fn on(stream: Stream) -> Result<Self> {
        let lost = |source| Error::ConnectionLost { source };
        stream
            .set_write_timeout(Some(WRITE_PATIENCE))
            .map_err(lost)?;
        stream.set_read_timeout(None).map_err(lost)?;
        Ok(Self {
            stream,
            incoming: BytesMut::new(),
            scratch: vec![0; READ_SIZE].into_boxed_slice(),
            read_timeout: None,
            state: State::Idle,
            tracker: Tracker::default(),
            transaction: b'I',
            process_id: 0,
            secret_key: 0,
            parameters: HashMap::new(),
            notifications: VecDeque::new(),
        })
    }

    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Logs in. Blocks until the backend is ready for queries, until it refuses, or until the deadline.
    pub(crate) fn open<'a>(
        stream: Stream,
        parameters: impl Iterator<Item = (&'a str, &'a str)>,
        deadline: Instant,
    ) -> Result<Self> {
        let mut connection = Self::on(stream)?;
        let mut startup = BytesMut::new();
        frontend::startup_message(parameters, &mut startup)
            .map_err(|error| Error::argument("session parameter", error.to_string()))?;
        connection.write(&startup)?;
        loop {
            let Some(frame) = connection.frame(Some(deadline))? else {
                let source = io::Error::new(io::ErrorKind::TimedOut, "no answer to the login");
                return Err(Error::ConnectionLost { source });
            };
            let length = frame.len() - 1;
            match decode::parse(frame)? {
                Message::AuthenticationOk => {}
                Message::BackendKeyData(body) => {
                    connection.process_id = body.process_id();
                    connection.secret_key = body.secret_key();
                }
                Message::ParameterStatus(body) => connection.note_parameter(&body)?,
                Message::NoticeResponse(body) => {
                    log_notice(&decode::notice(length, &mut body.fields())?);
                }
                Message::ErrorResponse(body) => {
                    return Err(decode::error(length, &mut body.fields())?.into());
                }
                Message::ReadyForQuery(body) => {
                    connection.transaction = body.status();
                    return Ok(connection);
                }
                _ => {
                    return Err(Error::protocol(
                        "the login wants what this crate does not have",
                    ));
                }
            }
        }
    }

    /// True until something made the connection unusable.
    pub(crate) fn is_usable(&self) -> bool {
        self.state == State::Idle
    }

    /// Runs a request. If it fails by other than PostgreSQL's refusal, or panics, the connection is unusable from then on.
    pub(crate) fn request<T>(&mut self, run: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.state != State::Idle {
            self.state = State::Broken;
            return Err(Error::Closed);
        }
        self.state = State::InFlight;
        let held = self.stream.hold();
        let result = run(self);
        drop(held);
        if self.state == State::InFlight {
            let fatal = matches!(
                result,
                Err(Error::ConnectionLost { .. } | Error::Protocol(_))
            );
            self.state = if fatal { State::Broken } else { State::Idle };
        }
        if self.incoming.is_empty() && self.incoming.capacity() > KEEP_SIZE {
            self.incoming = BytesMut::new();
        }
        result
    }

    /// Makes the connection unusable, after a fatal error.
    pub(crate) fn give_up(&mut self) {
        self.state = State::Broken;
    }

    /// Sends whole messages and notes what answers they will have.
    pub(crate) fn send(&mut self, messages: &[u8]) -> Result<()> {
        let mut rest = messages;
        while let Some(length) = decode::frame_length(rest)? {
            self.tracker.sent(decode::tag(rest));
            rest = rest
                .get(length..)
                .ok_or_else(|| Error::argument("message", "it ends early"))?;
        }
        if rest.is_empty() {
            self.write(messages)
        } else {
            Err(Error::argument("message", "it ends early"))
        }
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(0) => return Err(self.lost(io::ErrorKind::WriteZero.into())),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if is_timeout(&error) => {
                    // Both sides may be writing into full buffers: take what there is.
                    self.fill(Some(PEEK))?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // A backend that ended may have said why before.
                    while matches!(self.fill(Some(PEEK)), Ok(true)) {}
                    if self.incoming.is_empty() {
                        return Err(self.lost(error));
                    }
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The next message but `ParameterStatus`, notifications and notices, which are taken care of. Blocks.
    pub(crate) fn next(&mut self, on_notice: Option<&NoticeCallback>) -> Result<BytesMut> {
        loop {
            let Some(frame) = self.frame(None)? else {
                continue;
            };
            if let Some(frame) = self.absorb(frame, on_notice)? {
                self.tracker.received(decode::tag(&frame));
                return Ok(frame);
            }
        }
    }

    /// Takes care of a message that may come at any time; gives back any other.
    pub(crate) fn absorb(
        &mut self,
        frame: BytesMut,
        on_notice: Option<&NoticeCallback>,
    ) -> Result<Option<BytesMut>> {
        if !matches!(decode::tag(&frame), b'S' | b'A' | b'N') {
            return Ok(Some(frame));
        }
        let length = frame.len() - 1;
        match decode::parse(frame)? {
            Message::ParameterStatus(body) => self.note_parameter(&body)?,
            Message::NotificationResponse(body) => self.notifications.push_back(Notification {
                channel: body.channel().map_err(Error::protocol)?.to_owned(),
                payload: body.message().map_err(Error::protocol)?.to_owned(),
            }),
            Message::NoticeResponse(body) => {
                let notice = decode::notice(length, &mut body.fields())?;
                match on_notice {
                    Some(callback) => callback(&notice),
                    None => log_notice(&notice),
                }
            }
            _ => {}
        }
        Ok(None)
    }

    fn note_parameter(
        &mut self,
        body: &postgres_protocol::message::backend::ParameterStatusBody,
    ) -> Result<()> {
        let (name, value) = (
            body.name().map_err(Error::protocol)?,
            body.value().map_err(Error::protocol)?,
        );
        self.parameters.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    /// The next message, whatever it is; `None` at the deadline.
    pub(crate) fn frame(&mut self, deadline: Option<Instant>) -> Result<Option<BytesMut>> {
        loop {
            if let Some(length) = decode::frame_length(&self.incoming)? {
                if self.incoming.len() >= length {
                    return Ok(Some(self.incoming.split_to(length)));
                }
                self.incoming.reserve(length - self.incoming.len());
            }
            let patience = match deadline {
                None => None,
                Some(deadline) => match deadline.saturating_duration_since(Instant::now()) {
                    Duration::ZERO => return Ok(None),
                    left => Some(left),
                },
            };
            self.fill(patience)?;
        }
    }

    /// Reads what there is, waiting for the first byte at most this long; false if none came.
    fn fill(&mut self, patience: Option<Duration>) -> Result<bool> {
        if self.read_timeout != patience {
            self.stream
                .set_read_timeout(patience)
                .map_err(|error| self.lost(error))?;
            self.read_timeout = patience;
        }
        match self.stream.read(&mut self.scratch) {
            Ok(0) => Err(self.lost(io::ErrorKind::UnexpectedEof.into())),
            Ok(read) => {
                self.incoming.extend_from_slice(&self.scratch[..read]);
                Ok(true)
            }
            Err(error) if is_timeout(&error) || error.kind() == io::ErrorKind::Interrupted => {
                Ok(false)
            }
            Err(error) => Err(self.lost(error)),
        }
    }

    fn lost(&mut self, source: io::Error) -> Error {
        self.state = State::Broken;
        Error::ConnectionLost { source }
    }

    /// Reads to the next `ReadyForQuery`, ignoring everything; gives the first error among it.
    pub(crate) fn drain(&mut self) -> Result<Option<DatabaseError>> {
        let mut first = None;
        loop {
            let frame = self.next(None)?;
            let length = frame.len() - 1;
            match decode::tag(&frame) {
                b'E' => {
                    if let Message::ErrorResponse(body) = decode::parse(frame)? {
                        first.get_or_insert(decode::error(length, &mut body.fields())?);
                    }
                }
                b'Z' => {
                    self.transaction = frame.get(decode::HEADER).copied().unwrap_or(b'I');
                    return Ok(first);
                }
                _ => {}
            }
        }
    }

    /// Sends a `Sync` if messages sent raw left one missing, so that statements of other kinds can follow.
    pub(crate) fn settle(&mut self) -> Result<()> {
        if self.tracker.is_copying() {
            return Err(Error::Busy(
                "a COPY begun through the raw protocol is not ended",
            ));
        }
        if self.tracker.is_unsynced() {
            let mut sync = BytesMut::new();
            frontend::sync(&mut sync);
            self.send(&sync)?;
            self.drain()?;
        }
        Ok(())
    }

    /// Says goodbye and waits until the backend is gone, at most until the deadline.
    pub(crate) fn terminate(&mut self, deadline: Instant) {
        let mut bye = BytesMut::new();
        frontend::terminate(&mut bye);
        if self.state != State::Broken && self.write(&bye).is_ok() {
            while matches!(self.frame(Some(deadline)), Ok(Some(_))) {}
        }
        self.state = State::Broken;
    }

    /// Says goodbye without waiting.
    pub(crate) fn say_goodbye(&mut self) {
        let mut bye = BytesMut::new();
        frontend::terminate(&mut bye);
        if self.state != State::Broken {
            // The backend also notices the end of the stream.
            let _ = self.stream.write(&bye);
            self.state = State::Broken;
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// What happens to notices that no callback wants.
fn log_notice(notice: &NoticeMessage) {
    let severity = notice.severity.as_deref().unwrap_or("NOTICE");
    let message = notice.message.as_deref().unwrap_or_default();
    tracing::debug!(target: "pglite_oxide::notice", severity, message);
}
