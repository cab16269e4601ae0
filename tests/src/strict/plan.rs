//! What the strict client is to do.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::body::{Expect, pattern};

/// Where the requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Plain HTTP over TCP.
    Tcp(SocketAddr),
    /// Plain HTTP over a Unix socket.
    Unix(PathBuf),
    /// TLS over TCP, trusting the one certificate in this PEM file, which must be for `localhost`.
    Tls(SocketAddr, PathBuf),
}

/// How long a client waits between an answer and its next request: random between the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Think {
    /// At least this long.
    pub min: Duration,
    /// At most this long.
    pub max: Duration,
}

impl Think {
    /// Not at all: as many requests as go.
    pub const NONE: Self = Self { min: Duration::ZERO, max: Duration::ZERO };

    /// From nothing to `max_ms` milliseconds.
    pub fn up_to_ms(max_ms: u64) -> Self {
        Self { min: Duration::ZERO, max: Duration::from_millis(max_ms) }
    }
}

/// How connections are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A connection a request, closed by the server (`Connection: close`).
    Short(Think),
    /// One connection for as long as the server keeps it.
    KeepAlive(Think),
    /// So many requests are written at once before the first answer is read.
    Pipelined(usize),
    /// Keep-alive, but the request comes in three pieces with a pause between: for a while the connection is neither
    /// idle nor busy.
    Dribble(Duration),
}

/// One load: the same request again and again.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where to.
    pub target: Target,
    /// How connections are used.
    pub mode: Mode,
    /// The request's method.
    pub method: &'static str,
    /// The request's path and query.
    pub path: String,
    /// The request's body; with a `Content-Length` unless empty.
    pub body: Vec<u8>,
    /// What the answer must be.
    pub expect: Expect,
    /// Clients side by side, each with a connection of its own.
    pub clients: usize,
    /// A request that is not answered completely after this long has failed. Generous: it finds what hangs, it does
    /// not measure.
    pub timeout: Duration,
}

/// An unloaded fixture app answers in a millisecond; a machine with two busy cores may need a second.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Plan {
    /// `GET /` over TCP by some clients; the answer must be complete.
    pub fn get(address: SocketAddr, mode: Mode, clients: usize) -> Self {
        Self::at(&Target::Tcp(address), mode, clients)
    }

    /// The same anywhere.
    pub fn at(target: &Target, mode: Mode, clients: usize) -> Self {
        Self {
            target: target.clone(),
            mode,
            method: "GET",
            path: "/".into(),
            body: Vec::new(),
            expect: Expect::Anything,
            clients,
            timeout: TIMEOUT,
        }
    }

    /// The same, somewhere else.
    #[must_use]
    pub fn to(self, target: Target) -> Self {
        Self { target, ..self }
    }

    /// The same for another path.
    #[must_use]
    pub fn path(self, path: &str) -> Self {
        Self { path: path.into(), ..self }
    }

    /// The same, and the answer must be this.
    #[must_use]
    pub fn expect(self, expect: Expect) -> Self {
        Self { expect, ..self }
    }

    /// `POST /upload` of so many bytes; the fixture app answers how many came, and their checksum.
    #[must_use]
    pub fn upload(self, bytes: usize) -> Self {
        let body = pattern(bytes);
        let expect = Expect::Containing(format!("\"bytes\":{bytes},\"sum\":{}", checksum(&body)));
        Self { method: "POST", path: "/upload".into(), body, expect, ..self }
    }

    /// `GET /download`, answered by one `response.end(buffer)`: what `http.Server.close()` truncates.
    #[must_use]
    pub fn download(self, bytes: usize) -> Self {
        Self { path: format!("/download?bytes={bytes}"), expect: Expect::Pattern(bytes), ..self }
    }

    /// `GET /stream`, answered in chunks over some time.
    #[must_use]
    pub fn stream(self, bytes: usize) -> Self {
        Self { path: format!("/stream?bytes={bytes}"), expect: Expect::Pattern(bytes), ..self }
    }

    /// `GET /slow`, answered after so many milliseconds.
    #[must_use]
    pub fn slow(self, ms: u64) -> Self {
        self.path(&format!("/slow?ms={ms}"))
    }
}

/// FNV-1a of 32 bits, which the fixture apps compute in a line of JavaScript.
fn checksum(bytes: &[u8]) -> u32 {
    const OFFSET: u32 = 0x811c_9dc5;
    const PRIME: u32 = 0x0100_0193;
    bytes.iter().fold(OFFSET, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_fnv_1a() {
        assert_eq!(checksum(b""), 0x811c_9dc5);
        assert_eq!(checksum(b"a"), 0xe40c_292c);
        assert_eq!(checksum(b"foobar"), 0xbf9c_f968);
    }
}
