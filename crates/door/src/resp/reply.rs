//! Answers to bytes, in RESP2 or RESP3. What only RESP3 has is told in RESP2 as Redis does.

use crate::numbers;

/// The sending end of one connection.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    pub(crate) bytes: Vec<u8>,
    pub(crate) resp3: bool,
}

impl Reply {
    pub(crate) fn new(resp3: bool) -> Self {
        Self { bytes: Vec::new(), resp3 }
    }

    fn head(&mut self, kind: u8, number: i64) {
        self.bytes.push(kind);
        numbers::push_integer(&mut self.bytes, number);
        self.bytes.extend_from_slice(b"\r\n");
    }

    fn count(&mut self, kind: u8, count: usize) {
        self.head(kind, i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(crate) fn ok(&mut self) {
        self.bytes.extend_from_slice(b"+OK\r\n");
    }

    pub(crate) fn status(&mut self, text: &str) {
        self.bytes.push(b'+');
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// `text` begins with the code (`ERR …`); line ends in it become spaces.
    pub(crate) fn error(&mut self, text: &str) {
        self.bytes.push(b'-');
        let text = text.trim_end_matches(['\r', '\n']);
        self.bytes.extend(text.bytes().map(|byte| if byte == b'\r' || byte == b'\n' { b' ' } else { byte }));
        self.bytes.extend_from_slice(b"\r\n");
    }

    pub(crate) fn integer(&mut self, number: i64) {
        self.head(b':', number);
    }

    pub(crate) fn size(&mut self, number: u64) {
        self.integer(i64::try_from(number).unwrap_or(i64::MAX));
    }

    /// 1 or 0, in both protocols.
    pub(crate) fn flag(&mut self, yes: bool) {
        self.bytes.extend_from_slice(if yes { b":1\r\n" } else { b":0\r\n" });
    }

    pub(crate) fn bulk(&mut self, bytes: &[u8]) {
        self.count(b'$', bytes.len());
        self.bytes.extend_from_slice(bytes);
        self.bytes.extend_from_slice(b"\r\n");
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.bulk(text.as_bytes());
    }

    pub(crate) fn maybe(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }

    pub(crate) fn null(&mut self) {
        self.bytes.extend_from_slice(if self.resp3 { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// Where RESP2 says "no array".
    pub(crate) fn null_array(&mut self) {
        self.bytes.extend_from_slice(if self.resp3 { b"_\r\n" } else { b"*-1\r\n" });
    }

    pub(crate) fn array(&mut self, count: usize) {
        self.count(b'*', count);
    }

    /// `count` pairs follow.
    pub(crate) fn map(&mut self, count: usize) {
        if self.resp3 { self.count(b'%', count) } else { self.count(b'*', count * 2) }
    }

    pub(crate) fn set(&mut self, count: usize) {
        self.count(if self.resp3 { b'~' } else { b'*' }, count);
    }

    pub(crate) fn push(&mut self, count: usize) {
        self.count(if self.resp3 { b'>' } else { b'*' }, count);
    }

    pub(crate) fn double(&mut self, number: f64) {
        let text = numbers::double(number);
        if self.resp3 {
            self.bytes.push(b',');
            self.bytes.extend_from_slice(text.as_bytes());
            self.bytes.extend_from_slice(b"\r\n");
        } else {
            self.text(&text);
        }
    }

    /// A text for people (INFO).
    pub(crate) fn verbatim(&mut self, text: &str) {
        if self.resp3 {
            self.count(b'=', text.len() + 4);
            self.bytes.extend_from_slice(b"txt:");
            self.bytes.extend_from_slice(text.as_bytes());
            self.bytes.extend_from_slice(b"\r\n");
        } else {
            self.text(text);
        }
    }

    /// The elements that `f` writes, and before them their number, which it returns.
    pub(crate) fn counted<E>(
        &mut self,
        head: impl FnOnce(&mut Self, usize),
        f: impl FnOnce(&mut Self) -> Result<usize, E>,
    ) -> Result<(), E> {
        let start = self.bytes.len();
        let count = f(self)?;
        let mut front = Self::new(self.resp3);
        head(&mut front, count);
        self.bytes.splice(start..start, front.bytes);
        Ok(())
    }
}
