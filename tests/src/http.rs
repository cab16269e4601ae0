//! One request on a connection of its own, blocking: for tests that look at an answer instead of counting.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::deadline::LIMIT;

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body, of whatever length.
    pub body: String,
    /// Header lines, names in lower case.
    headers: Vec<(String, String)>,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }
}

/// `GET` over TCP.
///
/// # Errors
/// As the system says: refused, reset, timed out; or an answer that is not HTTP.
pub fn get(address: SocketAddr, path: &str) -> io::Result<Answer> {
    get_with(address, path, "")
}

/// `GET` over TCP with more header lines, each ended by `\r\n`.
///
/// # Errors
/// As [`get`].
pub fn get_with(address: SocketAddr, path: &str, headers: &str) -> io::Result<Answer> {
    let stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    ask(stream, "GET", path, headers, None)
}

/// `GET` over a Unix socket.
///
/// # Errors
/// As [`get`].
pub fn get_unix(socket: &Path, path: &str) -> io::Result<Answer> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LIMIT))?;
    ask(stream, "GET", path, "", None)
}

/// Any request with a JSON body over a Unix socket.
///
/// # Errors
/// As [`get`].
pub fn post_unix(socket: &Path, path: &str, body: &Value) -> io::Result<Answer> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LIMIT))?;
    ask(stream, "POST", path, "", Some(&body.to_string()))
}

/// A response whose body comes line by line, each read waiting at most `patience`.
///
/// # Errors
/// As [`get`].
pub fn stream_unix(socket: &Path, path: &str, patience: Duration) -> io::Result<BufReader<Body>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LIMIT))?;
    send(&mut stream, "GET", path, "", None)?;
    let (_, _, body) = head(Box::new(stream.try_clone()?))?;
    stream.set_read_timeout(Some(patience))?;
    Ok(BufReader::new(body))
}

fn ask(
    mut stream: impl Read + Write + Send + 'static,
    method: &str,
    path: &str,
    headers: &str,
    body: Option<&str>,
) -> io::Result<Answer> {
    send(&mut stream, method, path, headers, body)?;
    let (status, headers, mut reader) = head(Box::new(stream))?;
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes)?;
    Ok(Answer { status, body: String::from_utf8_lossy(&bytes).into_owned(), headers })
}

fn send(
    stream: &mut impl Write,
    method: &str,
    path: &str,
    headers: &str,
    body: Option<&str>,
) -> io::Result<()> {
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}");
    if let Some(body) = body {
        request.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
    }
    request.push_str("\r\n");
    request.push_str(body.unwrap_or_default());
    stream.write_all(request.as_bytes())
}

type Headers = Vec<(String, String)>;

fn head(stream: Box<dyn Read + Send>) -> io::Result<(u16, Headers, Body)> {
    let mut stream = BufReader::new(stream);
    let first = line(&mut stream)?;
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status =
        status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP: {first:?}")))?;
    let mut left = Left::UntilClose;
    let mut headers = Vec::new();
    loop {
        let header = line(&mut stream)?;
        let Some((name, value)) = header.split_once(':') else {
            return Ok((status, headers, Body { stream, left }));
        };
        let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
        match name.as_str() {
            "content-length" => left = Left::Bytes(value.parse().map_err(io::Error::other)?),
            "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => left = Left::Chunk(0),
            _ => {}
        }
        headers.push((name, value));
    }
}

fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

/// A response's body, whichever way its end is told.
pub struct Body {
    stream: BufReader<Box<dyn Read + Send>>,
    left: Left,
}

enum Left {
    Bytes(usize),
    /// Of the present chunk.
    Chunk(usize),
    UntilClose,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Left::Chunk(0) = self.left {
            let size = line(&mut self.stream)?;
            let size = usize::from_str_radix(&size, 16).map_err(io::Error::other)?;
            if size == 0 {
                self.left = Left::Bytes(0);
            } else {
                self.left = Left::Chunk(size);
            }
        }
        let limit = match self.left {
            Left::Bytes(left) | Left::Chunk(left) => left.min(buffer.len()),
            Left::UntilClose => buffer.len(),
        };
        if limit == 0 {
            return Ok(0);
        }
        let count = self.stream.read(&mut buffer[..limit])?;
        match &mut self.left {
            Left::UntilClose => {}
            Left::Bytes(_) | Left::Chunk(_) if count == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            Left::Bytes(left) => *left -= count,
            Left::Chunk(left) => {
                *left -= count;
                if *left == 0 {
                    line(&mut self.stream)?;
                }
            }
        }
        Ok(count)
    }
}
