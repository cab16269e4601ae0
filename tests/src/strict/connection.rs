//! One connection: bytes both ways, and what was read beyond the last response.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::body::Expect;
use super::failure::Failure;
use super::plan::Target;
use super::response::Response;

/// As much as one read takes; large enough that a 20 MB download is not a thousand wake-ups.
const READ_BYTES: usize = 64 * 1024;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// What came of waiting on a connection on which nothing is asked.
pub(crate) enum Idle {
    /// The time is over, the connection stands.
    Quiet,
    /// The server closed it.
    Closed,
    /// The server sent something that nobody asked for.
    Spoke,
}

pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    /// Our side's TCP port.
    port: Option<u16>,
    /// Bytes read and not yet taken by a response.
    spare: Vec<u8>,
    buffer: Box<[u8; READ_BYTES]>,
}

impl Connection {
    pub(crate) async fn open(
        target: &Target,
        tls: Option<&TlsConnector>,
        limit: Duration,
    ) -> Result<Self, Failure> {
        let opened = timeout(limit, Self::connect(target, tls)).await;
        let (stream, port) = opened.unwrap_or(Err(Failure::ConnectTimeout))?;
        Ok(Self { stream, port, spare: Vec::new(), buffer: Box::new([0; READ_BYTES]) })
    }

    pub(crate) fn port(&self) -> Option<u16> {
        self.port
    }

    async fn connect(
        target: &Target,
        tls: Option<&TlsConnector>,
    ) -> Result<(Box<dyn Stream>, Option<u16>), Failure> {
        let refused = |error: io::Error| match error.kind() {
            // During connect(2) a reset means the same as a refusal: nobody took the connection.
            io::ErrorKind::ConnectionReset => Failure::Refused,
            _ => Failure::from_io(&error, false),
        };
        match target {
            Target::Unix(path) => Ok((Box::new(Self::connect_unix(path).await.map_err(refused)?), None)),
            Target::Tcp(address) | Target::Tls(address, _) => {
                let stream = TcpStream::connect(address).await.map_err(refused)?;
                stream.set_nodelay(true).map_err(refused)?;
                let port = stream.local_addr().ok().map(|address| address.port());
                let Some(connector) = tls else { return Ok((Box::new(stream), port)) };
                let name = ServerName::try_from("localhost").map_err(|_| Failure::Local)?;
                match connector.connect(name, stream).await {
                    Ok(stream) => Ok((Box::new(stream), port)),
                    Err(error) => Err(match Failure::from_io(&error, false) {
                        Failure::Malformed | Failure::Local => Failure::Handshake,
                        failure => failure,
                    }),
                }
            }
        }
    }

    async fn connect_unix(path: &Path) -> io::Result<UnixStream> {
        UnixStream::connect(path).await
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        written.await.map_err(|error| Failure::from_io(&error, false))
    }

    /// Reads one whole response into `response`.
    pub(crate) async fn read(&mut self, response: &mut Response<'_>) -> Result<(), Failure> {
        loop {
            let taken = response.push(&self.spare).map_err(|_| Failure::Malformed)?;
            self.spare.drain(..taken);
            if response.is_complete() {
                return Ok(());
            }
            let read = self.stream.read(&mut self.buffer[..]).await;
            match read {
                Ok(0) if response.end() => return Ok(()),
                Ok(0) => {
                    return Err(Failure::from_io(&io::ErrorKind::UnexpectedEof.into(), response.has_begun()));
                }
                Ok(count) => {
                    // Straight from the buffer: `spare` is only for what belongs to the next response.
                    let taken = response.push(&self.buffer[..count]).map_err(|_| Failure::Malformed)?;
                    self.spare.extend_from_slice(&self.buffer[taken..count]);
                }
                Err(error) => return Err(Failure::from_io(&error, response.has_begun())),
            }
        }
    }

    /// Watches a connection on which nothing is asked, as a pool of connections would.
    pub(crate) async fn rest(&mut self, pause: Duration) -> Idle {
        if !self.spare.is_empty() {
            return Idle::Spoke;
        }
        match timeout(pause, self.stream.read(&mut self.buffer[..1])).await {
            Err(_) => Idle::Quiet,
            Ok(Ok(0) | Err(_)) => Idle::Closed,
            Ok(Ok(_)) => Idle::Spoke,
        }
    }
}

/// A response that expects `expect`, read within `limit`.
pub(crate) async fn answer<'e>(
    connection: &mut Connection,
    expect: &'e Expect,
    limit: Duration,
) -> (Response<'e>, Result<(), Failure>) {
    let mut response = Response::new(expect);
    let read = timeout(limit, connection.read(&mut response)).await;
    let outcome = read.unwrap_or(Err(if response.has_begun() {
        Failure::TimeoutMidResponse
    } else {
        Failure::TimeoutBeforeResponse
    }));
    (response, outcome)
}
