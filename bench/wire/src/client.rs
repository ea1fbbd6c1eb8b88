//! One connection.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use fallible_iterator::FallibleIterator as _;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::{ErrorResponseBody, Message};
use postgres_protocol::message::frontend;

use crate::config::Config;
use crate::stream::Stream;
use crate::{Error, Result};

const READ_CHUNK: usize = 64 << 10;

/// The rows of a simple query, every value as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// The rows of all statements of the string, in order.
    pub rows: Vec<Vec<Option<String>>>,
    /// The command tags, in order.
    pub tags: Vec<String>,
}

impl Rows {
    /// The first column of the first row; empty if there is none.
    pub fn first(&self) -> &str {
        self.rows
            .first()
            .and_then(|row| row.first())
            .and_then(|value| value.as_deref())
            .unwrap_or_default()
    }
}

/// One connection. Dropping it closes the socket without a farewell.
pub struct Client {
    stream: Stream,
    config: Config,
    input: BytesMut,
    output: BytesMut,
    backend: (i32, i32),
}

impl Client {
    /// Connects and authenticates (trust, cleartext, md5, scram-sha-256). Blocks.
    pub fn connect(config: &Config) -> Result<Self> {
        let mut client = Self {
            stream: Stream::open(config)?,
            config: config.clone(),
            input: BytesMut::with_capacity(READ_CHUNK),
            output: BytesMut::with_capacity(4096),
            backend: (0, 0),
        };
        let mut parameters = vec![
            ("user", config.user.as_str()),
            ("database", config.database.as_str()),
        ];
        parameters.extend(
            config
                .params
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        frontend::startup_message(parameters, &mut client.output)?;
        client.flush()?;
        client.authenticate()?;
        loop {
            match client.message()? {
                Message::BackendKeyData(body) => {
                    client.backend = (body.process_id(), body.secret_key());
                }
                Message::ReadyForQuery(_) => return Ok(client),
                Message::ErrorResponse(body) => return Err(server_error(&body)),
                _ => {}
            }
        }
    }

    fn authenticate(&mut self) -> Result<()> {
        let password = self.config.password.clone();
        loop {
            match self.message()? {
                Message::AuthenticationOk => return Ok(()),
                Message::AuthenticationCleartextPassword => {
                    frontend::password_message(password.as_bytes(), &mut self.output)?;
                }
                Message::AuthenticationMd5Password(body) => {
                    let hash = md5_hash(
                        self.config.user.as_bytes(),
                        password.as_bytes(),
                        body.salt(),
                    );
                    frontend::password_message(hash.as_bytes(), &mut self.output)?;
                }
                Message::AuthenticationSasl(_) => {
                    self.scram(password.as_bytes())?;
                    continue;
                }
                Message::ErrorResponse(body) => return Err(server_error(&body)),
                _ => return Err(Error::Protocol("an unknown way to authenticate".to_owned())),
            }
            self.flush()?;
        }
    }

    fn scram(&mut self, password: &[u8]) -> Result<()> {
        let mut scram = ScramSha256::new(password, ChannelBinding::unsupported());
        frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), &mut self.output)?;
        self.flush()?;
        match self.message()? {
            Message::AuthenticationSaslContinue(body) => scram.update(body.data())?,
            Message::ErrorResponse(body) => return Err(server_error(&body)),
            _ => return Err(Error::Protocol("no SASL continuation".to_owned())),
        }
        frontend::sasl_response(scram.message(), &mut self.output)?;
        self.flush()?;
        match self.message()? {
            Message::AuthenticationSaslFinal(body) => Ok(scram.finish(body.data())?),
            Message::ErrorResponse(body) => Err(server_error(&body)),
            _ => Err(Error::Protocol("no SASL final".to_owned())),
        }
    }

    /// The process id of this connection's backend.
    pub fn backend_pid(&self) -> i32 {
        self.backend.0
    }

    /// Makes reads fail after this long.
    pub fn read_timeout(&self, timeout: Option<Duration>) -> Result<()> {
        Ok(self.stream.read_timeout(timeout)?)
    }

    /// Runs a query string and keeps its rows. The connection stays usable after an error of the server.
    pub fn query(&mut self, sql: &str) -> Result<Rows> {
        self.send_query(sql)?;
        let mut result = Rows::default();
        let mut failed = None;
        loop {
            match self.message()? {
                Message::DataRow(body) => {
                    let mut row = Vec::new();
                    let mut ranges = body.ranges();
                    while let Some(range) = ranges.next()? {
                        row.push(range.map(|range| {
                            String::from_utf8_lossy(&body.buffer()[range]).into_owned()
                        }));
                    }
                    result.rows.push(row);
                }
                Message::CommandComplete(body) => result.tags.push(body.tag()?.to_owned()),
                Message::ErrorResponse(body) => failed = Some(server_error(&body)),
                Message::CopyInResponse(_) => frontend::copy_fail("not offered", &mut self.output)?,
                Message::ReadyForQuery(_) => return failed.map_or(Ok(result), Err),
                _ => {}
            }
            self.flush()?;
        }
    }

    /// Runs a query string and drops its rows.
    pub fn run(&mut self, sql: &str) -> Result<()> {
        self.send_query(sql)?;
        self.until_ready()
    }

    /// Sends a query string and does not wait for anything.
    pub fn send_query(&mut self, sql: &str) -> Result<()> {
        frontend::query(sql, &mut self.output)?;
        self.flush()
    }

    /// Prepares a statement without parameters.
    pub fn prepare(&mut self, name: &str, sql: &str) -> Result<()> {
        frontend::parse(name, sql, [], &mut self.output)?;
        frontend::sync(&mut self.output);
        self.flush()?;
        self.until_ready()
    }

    /// Binds, executes and syncs a prepared statement without parameters; drops its rows.
    pub fn execute(&mut self, name: &str) -> Result<()> {
        let no_params: [&[u8]; 0] = [];
        frontend::bind(
            "",
            name,
            [],
            no_params,
            |_, _| unreachable(),
            [1],
            &mut self.output,
        )
        .map_err(|_| Error::Protocol("bind".to_owned()))?;
        frontend::execute("", 0, &mut self.output)?;
        frontend::sync(&mut self.output);
        self.flush()?;
        self.until_ready()
    }

    /// Asks the server, over a connection of its own, to cancel what this connection's backend is doing.
    pub fn cancel(&self) -> Result<()> {
        let mut stream = Stream::open(&self.config)?;
        let mut bytes = BytesMut::new();
        frontend::cancel_request(self.backend.0, self.backend.1, &mut bytes);
        stream.write_all(&bytes)?;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        Ok(())
    }

    /// Reads exactly this many bytes of whatever the server sends, to leave it in mid-result.
    pub fn read_some(&mut self, count: usize) -> Result<()> {
        while self.input.len() < count {
            self.fill()?;
        }
        Ok(())
    }

    /// Starts a copy in both directions (`START_REPLICATION ...`).
    pub fn start_replication(&mut self, command: &str) -> Result<()> {
        self.send_query(command)?;
        // CopyBothResponse: postgres-protocol does not know it, so it is read here.
        loop {
            while self.input.len() < 5 {
                self.fill()?;
            }
            if self.input[0] == b'W' {
                let length = u32::from_be_bytes([
                    self.input[1],
                    self.input[2],
                    self.input[3],
                    self.input[4],
                ]) as usize;
                while self.input.len() <= length {
                    self.fill()?;
                }
                let _ = self.input.split_to(length + 1);
                return Ok(());
            }
            if let Message::ErrorResponse(body) = self.message()? {
                return Err(server_error(&body));
            }
        }
    }

    /// The next message of a replication stream: `w` (data) or `k` (keepalive), as the bytes of its CopyData.
    pub fn replication_message(&mut self) -> Result<Bytes> {
        loop {
            match self.message()? {
                Message::CopyData(body) => return Ok(body.into_bytes()),
                Message::ErrorResponse(body) => return Err(server_error(&body)),
                Message::CopyDone => {
                    return Err(Error::Protocol("the stream has ended".to_owned()));
                }
                _ => {}
            }
        }
    }

    /// Tells the server how far the stream was taken (`lsn` for written, flushed and applied).
    pub fn replication_status(&mut self, lsn: u64) -> Result<()> {
        let mut status = BytesMut::new();
        status.put_u8(b'r');
        for _ in 0..3 {
            status.put_u64(lsn);
        }
        status.put_i64(0);
        status.put_u8(0);
        frontend::CopyData::new(status.freeze())?.write(&mut self.output);
        self.flush()
    }

    /// Says goodbye and closes.
    pub fn close(mut self) -> Result<()> {
        frontend::terminate(&mut self.output);
        self.flush()
    }

    fn until_ready(&mut self) -> Result<()> {
        let mut failed = None;
        loop {
            match self.message()? {
                Message::ErrorResponse(body) => failed = Some(server_error(&body)),
                Message::ReadyForQuery(_) => return failed.map_or(Ok(()), Err),
                _ => {}
            }
        }
    }

    fn flush(&mut self) -> Result<()> {
        if !self.output.is_empty() {
            self.stream.write_all(&self.output)?;
            self.output.clear();
        }
        Ok(())
    }

    fn fill(&mut self) -> Result<()> {
        let have = self.input.len();
        self.input.resize(have + READ_CHUNK, 0);
        let got = self.stream.read(&mut self.input[have..]);
        self.input.truncate(have + *got.as_ref().unwrap_or(&0));
        if got? == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
        Ok(())
    }

    fn message(&mut self) -> Result<Message> {
        loop {
            match Message::parse(&mut self.input)? {
                Some(Message::NoticeResponse(_) | Message::ParameterStatus(_)) => {}
                Some(message) => return Ok(message),
                None => self.fill()?,
            }
        }
    }
}

/// Statements here have no parameters to serialise.
fn unreachable()
-> std::result::Result<postgres_protocol::IsNull, Box<dyn std::error::Error + Sync + Send>> {
    Ok(postgres_protocol::IsNull::Yes)
}

fn server_error(body: &ErrorResponseBody) -> Error {
    let (mut severity, mut code, mut message) = (String::new(), String::new(), String::new());
    let mut fields = body.fields();
    while let Ok(Some(field)) = fields.next() {
        let value = String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'S' => severity = value,
            b'C' => code = value,
            b'M' => message = value,
            _ => {}
        }
    }
    Error::Server {
        severity,
        code,
        message,
    }
}
