//! The other end: what the commands use to ask a running gateway.

use super::line::{Budget, LineReader, ReadError};
use super::protocol::{Envelope, Failure, Hello, PROTOCOL, Reply, Request};
use serde_json::Value;
use std::fmt;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Most bytes of a line that is read.
const LONGEST: usize = 1 << 30;

/// A connection to a gateway.
#[derive(Debug)]
pub struct Client {
    lines: LineReader<UnixStream>,
    stream: UnixStream,
    hello: Hello,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum ClientError {
    /// Nobody answers at the socket.
    NotRunning(PathBuf),
    /// The user may not open the socket.
    NotPermitted(PathBuf),
    /// The gateway said so.
    Failed(Failure),
    /// What came back is not the protocol.
    Garbled(String),
    /// The connection broke.
    Broken(io::Error),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::NotRunning(path) => {
                write!(f, "no gateway answers at {}: start it, or say `--socket`", path.display())
            }
            ClientError::NotPermitted(path) => write!(
                f,
                "{} may only be opened by its owner and group: become one of them, root for example",
                path.display()
            ),
            ClientError::Failed(failure) => failure.fmt(f),
            ClientError::Garbled(what) => write!(f, "the gateway's answer can't be understood: {what}"),
            ClientError::Broken(error) => write!(f, "the gateway has gone away: {error}"),
        }
    }
}

impl std::error::Error for ClientError {}

impl Client {
    /// Connects to the gateway at a socket.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn connect(path: &Path) -> Result<Client, ClientError> {
        let stream = UnixStream::connect(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NotRunning(path.to_owned())
            }
            io::ErrorKind::PermissionDenied => ClientError::NotPermitted(path.to_owned()),
            _ => ClientError::Broken(error),
        })?;
        let reader = stream.try_clone().map_err(ClientError::Broken)?;
        let mut lines = LineReader::new(reader, Budget::new(LONGEST));
        let hello: Hello = parse(&read(&mut lines)?)?;
        if hello.protocol != PROTOCOL {
            let what =
                format!("it speaks version {} of the protocol, this program {PROTOCOL}", hello.protocol);
            return Err(ClientError::Garbled(what));
        }
        Ok(Client { lines, stream, hello })
    }

    /// What the gateway said of itself.
    #[must_use]
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Asks, and hands each item to `item`; a loss comes as `Err` with the number of what was lost.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn ask(
        &mut self,
        request: Request,
        mut item: impl FnMut(Result<Value, u64>),
    ) -> Result<Value, ClientError> {
        let answer = self.ask_while(request, |taken| {
            item(taken);
            ControlFlow::Continue(())
        })?;
        Ok(answer.expect("nothing breaks it off"))
    }

    /// As [`Client::ask`], until `item` breaks it off; `None` then, and the client is good for nothing more.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn ask_while(
        &mut self,
        request: Request,
        mut item: impl FnMut(Result<Value, u64>) -> ControlFlow<()>,
    ) -> Result<Option<Value>, ClientError> {
        let mut line = serde_json::to_vec(&Envelope { protocol: PROTOCOL, request })
            .expect("a request is strings and numbers");
        line.push(b'\n');
        self.stream.write_all(&line).map_err(ClientError::Broken)?;
        loop {
            let wants_more = match parse(&read(&mut self.lines)?)? {
                Reply::Item(value) => item(Ok(value)),
                Reply::Lost(count) => item(Err(count)),
                Reply::Ok(value) => return Ok(Some(value)),
                Reply::Error(failure) => return Err(ClientError::Failed(failure)),
            };
            if wants_more.is_break() {
                return Ok(None);
            }
        }
    }
}

fn read(lines: &mut LineReader<UnixStream>) -> Result<Vec<u8>, ClientError> {
    lines.next_line().map_err(|error| match error {
        ReadError::End { .. } => ClientError::Broken(io::ErrorKind::UnexpectedEof.into()),
        ReadError::TooLong => ClientError::Garbled("a line has no end".to_owned()),
        ReadError::Io(error) => ClientError::Broken(error),
    })
}

fn parse<T: serde::de::DeserializeOwned>(line: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(line).map_err(|error| ClientError::Garbled(error.to_string()))
}
