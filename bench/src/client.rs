//! A plain HTTP client that keeps what it sees.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use skep_sys::clock::boottime_ns;

/// A request that takes longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection(TcpStream);

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Result<Connection> {
        let stream = TcpStream::connect(address).context("connecting")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Connection(stream))
    }

    /// Sends a request and reads its whole answer; gives the body.
    pub(crate) fn get(&mut self, path: &str, last: bool) -> Result<String> {
        let close = if last { "Connection: close\r\n" } else { "" };
        write!(self.0, "GET {path} HTTP/1.1\r\nHost: bench\r\n{close}\r\n")?;
        let mut answer = Vec::new();
        let mut piece = [0; 4096];
        loop {
            if let Some(body) = whole(&answer) {
                return Ok(body);
            }
            match self.0.read(&mut piece)? {
                0 => bail!("the answer was cut off"),
                n => answer.extend_from_slice(&piece[..n]),
            }
        }
    }
}

/// Latencies in milliseconds of short connections that so many clients make at once, each one after the other with a pause
/// between them, until a time.
pub(crate) fn latencies_ms(
    clients: usize,
    address: SocketAddr,
    pause: Duration,
    end: u64,
) -> Result<Vec<f64>> {
    std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..clients).map(|_| scope.spawn(move || latencies_of_one_ms(address, pause, end))).collect();
        let mut latencies = Vec::new();
        for client in clients {
            latencies.extend(client.join().expect("the client does not panic")?);
        }
        Ok(latencies)
    })
}

fn latencies_of_one_ms(address: SocketAddr, pause: Duration, end: u64) -> Result<Vec<f64>> {
    let mut latencies = Vec::new();
    while boottime_ns() < end {
        let begin = boottime_ns();
        Connection::open(address)?.get("/", true)?;
        latencies.push((boottime_ns() - begin) as f64 / 1e6);
        std::thread::park_timeout(pause);
    }
    Ok(latencies)
}

/// The body, once the answer is complete: as long as `Content-Length` says, or one chunk.
fn whole(answer: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    match length {
        Some(length) => (body.len() >= length).then(|| body[..length].to_owned()),
        None => {
            body.strip_suffix("0\r\n\r\n").map(|chunk| chunk.lines().nth(1).unwrap_or_default().to_owned())
        }
    }
}
