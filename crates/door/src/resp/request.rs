//! Bytes to commands (RESP arrays of bulk strings, and inline commands). Errors are Redis's, word for word.
//!
//! Invariant: however the bytes are cut into pieces, the same commands come out; nothing is reserved for what was only
//! announced.

use std::ops::Range;

use crate::limits::{ARGUMENTS_MAX, BULK_BYTES_MAX, LINE_BYTES_MAX, QUERY_BYTES_MAX};
use crate::resp::inline;

/// Digits of a count or a length that is read without searching for the end of its line.
const SHORT_DIGITS: usize = 4;

/// How much a client may ask for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) arguments: usize,
    pub(crate) bulk_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { arguments: ARGUMENTS_MAX, bulk_bytes: BULK_BYTES_MAX }
    }
}

/// Not the protocol: the text of the answer before the connection is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Garbage(pub(crate) String);

/// The receiving end of one connection.
#[derive(Debug, Default)]
pub(crate) struct Request {
    buffer: Vec<u8>,
    /// Where the command that is being read begins; all before is done with.
    begin: usize,
    /// What has been looked at.
    at: usize,
    /// Arguments that are still to come.
    left: usize,
    /// The announced length of the argument that comes next.
    bulk: Option<usize>,
    arguments: Vec<Range<usize>>,
}

impl Request {
    /// Takes bytes that have come.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.compact();
        self.buffer.extend_from_slice(bytes);
    }

    /// Forgets the commands that are done with.
    fn compact(&mut self) {
        if self.begin == 0 {
            return;
        }
        let gone = self.begin;
        self.buffer.drain(..gone);
        self.begin = 0;
        self.at -= gone;
        for argument in &mut self.arguments {
            *argument = argument.start - gone..argument.end - gone;
        }
        if self.buffer.is_empty() && self.buffer.capacity() > crate::limits::BUFFER_BYTES_KEPT * 2 {
            self.buffer = Vec::new();
        }
    }

    /// The received bytes, for the ranges that [`Request::next`] told; they hold until [`Request::give_back`].
    pub(crate) fn take_bytes(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// The inverse of [`Request::take_bytes`].
    pub(crate) fn give_back(&mut self, bytes: Vec<u8>) {
        self.buffer = bytes;
    }

    /// Where the next command begins, for [`Request::rewind`].
    pub(crate) fn mark(&self) -> usize {
        self.begin
    }

    /// Has the command at a mark, and all after it, come again. No bytes may have been filled in since.
    pub(crate) fn rewind(&mut self, mark: usize) {
        (self.begin, self.at, self.left, self.bulk) = (mark, mark, 0, None);
        self.arguments.clear();
    }

    /// Bytes that wait.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.buffer.len() - self.begin
    }

    /// The next whole command's arguments, appended to `out`; false: it has not come wholly. Empty commands are passed
    /// over. Ranges hold until bytes are filled in again.
    pub(crate) fn next(&mut self, bounds: Bounds, out: &mut Vec<Range<usize>>) -> Result<bool, Garbage> {
        loop {
            if self.left == 0 && !self.head(bounds)? {
                return Ok(false);
            }
            while self.left > 0 {
                if !self.argument(bounds)? {
                    if self.pending_bytes() > QUERY_BYTES_MAX {
                        return Err(Garbage("Protocol error: too much data for one command".into()));
                    }
                    return Ok(false);
                }
            }
            self.begin = self.at;
            if !self.arguments.is_empty() {
                out.append(&mut self.arguments);
                return Ok(true);
            }
        }
    }

    /// The line from `at` on without its end, if it is whole; `at` moves behind it.
    fn line(&mut self, too_long: &str) -> Result<Option<Range<usize>>, Garbage> {
        let Some(length) = memchr::memchr(b'\n', &self.buffer[self.at..]) else {
            if self.buffer.len() - self.at > LINE_BYTES_MAX {
                return Err(Garbage(format!("Protocol error: {too_long}")));
            }
            return Ok(None);
        };
        let start = self.at;
        let mut end = start + length;
        self.at = end + 1;
        if end > start && self.buffer[end - 1] == b'\r' {
            end -= 1;
        }
        Ok(Some(start..end))
    }

    /// A short count or length with its line's end, as every client writes it, and where the next line begins. `None`: it
    /// takes a closer look.
    fn short(&self, at: usize) -> Option<(usize, usize)> {
        let line = self.buffer.get(at..)?;
        let mut number = 0;
        for (index, byte) in line.iter().take(SHORT_DIGITS + 1).enumerate() {
            match byte {
                b'0'..=b'9' if index < SHORT_DIGITS => number = number * 10 + usize::from(byte - b'0'),
                b'\r' if index > 0 && (line[0] != b'0' || index == 1) => {
                    return (line.get(index + 1) == Some(&b'\n')).then_some((number, at + index + 2));
                }
                _ => return None,
            }
        }
        None
    }

    /// The first line of a command.
    fn head(&mut self, bounds: Bounds) -> Result<bool, Garbage> {
        if self.buffer.get(self.at).is_none() {
            return Ok(false);
        }
        if self.buffer[self.at] != b'*' {
            return self.inline();
        }
        if let Some((count, next)) = self.short(self.at + 1)
            && count <= bounds.arguments
        {
            (self.left, self.at) = (count, next);
            return Ok(true);
        }
        let before = self.at;
        let Some(line) = self.line("too big mbulk count string")? else {
            self.at = before;
            return Ok(false);
        };
        let count = crate::numbers::integer(&self.buffer[line.start + 1..line.end]);
        let count = count.filter(|count| *count <= ARGUMENTS_MAX as i64);
        let Some(count) = count else {
            return Err(Garbage("Protocol error: invalid multibulk length".into()));
        };
        let count = usize::try_from(count).unwrap_or(0);
        if count > bounds.arguments {
            return Err(Garbage("Protocol error: unauthenticated multibulk length".into()));
        }
        self.left = count;
        Ok(true)
    }

    fn argument(&mut self, bounds: Bounds) -> Result<bool, Garbage> {
        if self.bulk.is_none()
            && self.buffer.get(self.at) == Some(&b'$')
            && let Some((length, next)) = self.short(self.at + 1)
            && length <= bounds.bulk_bytes
        {
            (self.bulk, self.at) = (Some(length), next);
        }
        let length = match self.bulk {
            Some(length) => length,
            None => {
                let before = self.at;
                let Some(line) = self.line("too big bulk count string")? else {
                    self.at = before;
                    return Ok(false);
                };
                let length = self.bulk_length(&line, bounds)?;
                self.bulk = Some(length);
                length
            }
        };
        if self.buffer.len() < self.at + length + 2 {
            return Ok(false);
        }
        self.arguments.push(self.at..self.at + length);
        self.at += length + 2;
        self.bulk = None;
        self.left -= 1;
        Ok(true)
    }

    fn bulk_length(&self, line: &Range<usize>, bounds: Bounds) -> Result<usize, Garbage> {
        let text = &self.buffer[line.clone()];
        if text.first() != Some(&b'$') {
            let found = char::from(text.first().copied().unwrap_or(b'\r'));
            return Err(Garbage(format!("Protocol error: expected '$', got '{}'", found.escape_default())));
        }
        let length = crate::numbers::integer(&text[1..]).and_then(|length| usize::try_from(length).ok());
        let length = length.filter(|length| *length <= BULK_BYTES_MAX);
        let Some(length) = length else { return Err(Garbage("Protocol error: invalid bulk length".into())) };
        if length > bounds.bulk_bytes {
            return Err(Garbage("Protocol error: unauthenticated bulk length".into()));
        }
        Ok(length)
    }

    /// A line of words. Where one is quoted it is written anew as an array, in its place.
    fn inline(&mut self) -> Result<bool, Garbage> {
        let before = self.at;
        let Some(line) = self.line("too big inline request")? else {
            self.at = before;
            return Ok(false);
        };
        if inline::plain(&self.buffer[line.clone()], |word| {
            self.arguments.push(line.start + word.start..line.start + word.end);
        }) {
            return Ok(true);
        }
        let Some(words) = inline::words(&self.buffer[line]) else {
            return Err(Garbage("Protocol error: unbalanced quotes in request".into()));
        };
        let mut array = format!("*{}\r\n", words.len()).into_bytes();
        for word in &words {
            array.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            array.extend_from_slice(word);
            array.extend_from_slice(b"\r\n");
        }
        self.buffer.splice(before..self.at, array);
        // Behind the new first line, whose count is known.
        self.at = before + format!("*{}\r\n", words.len()).len();
        self.left = words.len();
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What comes out when the bytes arrive in pieces of these lengths.
    fn commands(bytes: &[u8], pieces: impl Iterator<Item = usize>) -> (Vec<Vec<Vec<u8>>>, Option<Garbage>) {
        let mut request = Request::default();
        let mut commands = Vec::new();
        let mut rest = bytes;
        for piece in pieces {
            let (now, later) = rest.split_at(piece.min(rest.len()));
            rest = later;
            request.feed(now);
            let mut ranges = Vec::new();
            loop {
                match request.next(Bounds::default(), &mut ranges) {
                    Ok(true) => {
                        let bytes = request.take_bytes();
                        commands.push(ranges.drain(..).map(|range| bytes[range].to_vec()).collect());
                        request.give_back(bytes);
                    }
                    Ok(false) => break,
                    Err(garbage) => return (commands, Some(garbage)),
                }
            }
            if rest.is_empty() {
                break;
            }
        }
        (commands, None)
    }

    fn whole(bytes: &[u8]) -> (Vec<Vec<Vec<u8>>>, Option<Garbage>) {
        commands(bytes, std::iter::once(bytes.len()))
    }

    #[test]
    fn commands_are_the_same_wherever_the_bytes_are_cut() {
        let bytes = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING \"a b\"\r\n*0\r\n\r\n*-1\r\n*1\r\n$0\r\n\r\n*1\r\n$4\r\nPI\r\n\r\n";
        let (all, garbage) = whole(bytes);
        assert_eq!(garbage, None);
        assert_eq!(all.len(), 4);
        assert_eq!(all[1], [b"PING".to_vec(), b"a b".to_vec()]);
        for cut in 1..bytes.len() {
            assert_eq!(commands(bytes, [cut, bytes.len()].into_iter()).0, all, "cut at {cut}");
        }
        assert_eq!(commands(bytes, std::iter::repeat(1)).0, all, "byte by byte");
    }

    #[test]
    fn garbage_is_told_as_redis_tells_it() {
        let told = |bytes: &[u8]| whole(bytes).1.map(|garbage| garbage.0);
        let says = |text: &str| Some(format!("Protocol error: {text}"));
        assert_eq!(told(b"*1\r\n$2147483648\r\n"), says("invalid bulk length"));
        assert_eq!(told(b"*1\r\n$-1\r\n"), says("invalid bulk length"));
        assert_eq!(told(b"*1048577\r\n"), says("invalid multibulk length"));
        assert_eq!(told(b"*x\r\n"), says("invalid multibulk length"));
        assert_eq!(told(b"*1\r\n:1\r\n"), says("expected '$', got ':'"));
        assert_eq!(told(b"SET \"x\r\n"), says("unbalanced quotes in request"));
        assert_eq!(told(&vec![b'x'; LINE_BYTES_MAX + 1]), says("too big inline request"));
        assert_eq!(told(b"*1\r\n$536870912\r\n"), None, "only announced: nothing is reserved");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_in_any_pieces_give_the_same(
            bytes in proptest::collection::vec(prop_oneof![
                Just(b'*'), Just(b'$'), Just(b'\r'), Just(b'\n'), Just(b'1'), Just(b'2'), Just(b'"'), any::<u8>()
            ], 0..300),
            pieces in proptest::collection::vec(1..20usize, 300),
        ) {
            prop_assert_eq!(commands(&bytes, pieces.into_iter()), whole(&bytes));
        }
    }
}
