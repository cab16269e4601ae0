//! One HTTP/1.1 response, read from bytes as they come (sans-io): head, then a body by length, by chunks or to the end
//! of the connection. Strict: what RFC 9112 does not allow is malformed.

use super::body::{Checker, Expect};

/// No fixture app sends a longer head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// A chunk's size line: 16 hexadecimal digits and an extension nobody sends.
const CHUNK_LINE_BYTES_MAX: usize = 256;

/// What came is not HTTP/1.1; the text says what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not HTTP/1.1: {0}")]
pub(crate) struct Malformed(String);

#[derive(Debug)]
enum State {
    Head(Vec<u8>),
    /// Bytes of the body still to come.
    Length(usize),
    ChunkSize(Vec<u8>),
    ChunkData(usize),
    /// The line end after a chunk's data: bytes of it still to come.
    ChunkEnd(usize),
    /// Trailers after the last chunk; the line so far.
    Trailer(Vec<u8>),
    UntilClose,
    Done,
}

/// A response under way.
#[derive(Debug)]
pub(crate) struct Response<'a> {
    state: State,
    status: u16,
    closes: bool,
    body: Checker<'a>,
    begun: bool,
}

impl<'a> Response<'a> {
    pub(crate) fn new(expect: &'a Expect) -> Self {
        Self {
            state: State::Head(Vec::new()),
            status: 0,
            closes: false,
            body: Checker::new(expect),
            begun: false,
        }
    }

    /// Takes bytes up to the end of this response; returns how many it took. What is left belongs to the next one.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        self.begun |= !bytes.is_empty();
        let mut taken = 0;
        while taken < bytes.len() && !self.is_complete() {
            taken += self.step(&bytes[taken..])?;
        }
        Ok(taken)
    }

    /// Takes at least one byte, or changes the state.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        match &mut self.state {
            State::Head(head) => {
                head.push(bytes[0]);
                if head.ends_with(b"\r\n\r\n") {
                    let head = std::mem::take(head);
                    self.state = self.read_head(&head)?;
                } else if head.len() > HEAD_BYTES_MAX {
                    return Err(Malformed(format!("a head of more than {HEAD_BYTES_MAX} bytes")));
                }
                Ok(1)
            }
            State::Length(left) => {
                let taken = bytes.len().min(*left);
                self.body.push(&bytes[..taken]);
                *left -= taken;
                if *left == 0 {
                    self.state = State::Done;
                }
                Ok(taken)
            }
            State::ChunkSize(line) => {
                line.push(bytes[0]);
                if line.ends_with(b"\r\n") {
                    let size = chunk_size(line)?;
                    self.state = if size == 0 { State::Trailer(Vec::new()) } else { State::ChunkData(size) };
                } else if line.len() > CHUNK_LINE_BYTES_MAX {
                    return Err(Malformed("a chunk's size without an end".into()));
                }
                Ok(1)
            }
            State::ChunkData(left) => {
                let taken = bytes.len().min(*left);
                self.body.push(&bytes[..taken]);
                *left -= taken;
                if *left == 0 {
                    self.state = State::ChunkEnd(2);
                }
                Ok(taken)
            }
            State::ChunkEnd(left) => {
                let wanted = if *left == 2 { b'\r' } else { b'\n' };
                if bytes[0] != wanted {
                    return Err(Malformed(format!("byte {:#04x} where a chunk's data end", bytes[0])));
                }
                *left -= 1;
                if *left == 0 {
                    self.state = State::ChunkSize(Vec::new());
                }
                Ok(1)
            }
            State::Trailer(line) => {
                line.push(bytes[0]);
                if line == b"\r\n" {
                    self.state = State::Done;
                } else if line.ends_with(b"\r\n") {
                    line.clear();
                } else if line.len() > HEAD_BYTES_MAX {
                    return Err(Malformed("a trailer without an end".into()));
                }
                Ok(1)
            }
            State::UntilClose => {
                self.body.push(bytes);
                Ok(bytes.len())
            }
            State::Done => Ok(0),
        }
    }

    fn read_head(&mut self, head: &[u8]) -> Result<State, Malformed> {
        let text = std::str::from_utf8(head).map_err(|_| Malformed("a head that is not UTF-8".into()))?;
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let status = first
            .strip_prefix("HTTP/1.1 ")
            .or_else(|| first.strip_prefix("HTTP/1.0 "))
            .and_then(|rest| rest.get(..3))
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| Malformed(format!("first line {first:?}")))?;
        self.closes = first.starts_with("HTTP/1.0");
        let mut length = None;
        let mut chunked = false;
        for line in lines.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').ok_or_else(|| Malformed(format!("header {line:?}")))?;
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => {
                    let parsed = value.parse().map_err(|_| Malformed(format!("Content-Length {value:?}")))?;
                    length = Some(parsed);
                }
                "transfer-encoding" => chunked = value.eq_ignore_ascii_case("chunked"),
                "connection" => self.closes |= value.eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
        if (100..200).contains(&status) {
            return Ok(State::Head(Vec::new()));
        }
        self.status = status;
        Ok(match (chunked, length) {
            (true, _) => State::ChunkSize(Vec::new()),
            (false, Some(0)) => State::Done,
            (false, Some(length)) => State::Length(length),
            (false, None) => {
                self.closes = true;
                State::UntilClose
            }
        })
    }

    /// The connection ended; whether that is this response's proper end.
    pub(crate) fn end(&mut self) -> bool {
        if matches!(self.state, State::UntilClose) {
            self.state = State::Done;
        }
        self.is_complete()
    }

    pub(crate) fn is_complete(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Whether a byte of it came.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// Whether the server said that it closes the connection after this response.
    pub(crate) fn closes(&self) -> bool {
        self.closes
    }

    pub(crate) fn body(&self) -> &Checker<'a> {
        &self.body
    }
}

fn chunk_size(line: &[u8]) -> Result<usize, Malformed> {
    let text = String::from_utf8_lossy(line);
    let digits = text.trim_end().split(';').next().unwrap_or_default();
    usize::from_str_radix(digits, 16).map_err(|_| Malformed(format!("chunk size {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The outcome of `text` cut at every position: (complete, status, closes, body, bytes left over).
    fn check(text: &str, expected: (bool, u16, bool, &str, usize)) {
        let expect = Expect::Anything;
        for cut in 0..=text.len() {
            let mut response = Response::new(&expect);
            let mut taken = response.push(&text.as_bytes()[..cut]).expect("is HTTP");
            if taken == cut {
                taken += response.push(&text.as_bytes()[cut..]).expect("is HTTP");
            }
            let body = String::from_utf8_lossy(response.body().kept()).into_owned();
            let seen = (
                response.is_complete(),
                response.status(),
                response.closes(),
                body.as_str(),
                text.len() - taken,
            );
            assert_eq!(seen, expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_body_by_length_ends_where_the_next_response_begins() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP", (true, 200, false, "hello", 4));
    }

    #[test]
    fn a_chunked_body_is_put_together() {
        let text = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: x\r\n\r\n";
        check(text, (true, 200, false, "abcde", 0));
    }

    #[test]
    fn an_announced_close_is_seen() {
        check(
            "HTTP/1.1 503 No\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno",
            (true, 503, true, "no", 0),
        );
    }

    #[test]
    fn a_short_body_is_not_complete() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", (false, 200, false, "hello", 0));
    }

    #[test]
    fn an_interim_response_is_passed_over() {
        let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
        check(text, (true, 200, false, "x", 0));
    }

    #[test]
    fn without_a_length_the_end_of_the_connection_ends_the_body() {
        let expect = Expect::Anything;
        let mut response = Response::new(&expect);
        response.push(b"HTTP/1.1 200 OK\r\n\r\nabc").expect("is HTTP");
        assert!(!response.is_complete());
        assert!(response.end());
    }

    #[test]
    fn something_else_is_malformed() {
        let expect = Expect::Anything;
        for wrong in [
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno\r\n\r\n",
        ] {
            assert!(Response::new(&expect).push(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
