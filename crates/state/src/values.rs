//! Values as the SDK stores them: a tag byte, then the value (`npm/skep/lib/values.cjs`). For tools that show and set
//! them; the store itself does not look at values.

/// JSON text in UTF-8.
const JSON: u8 = 1;
/// V8's serialization: only JavaScript can read it.
const V8: u8 = 2;
/// Bytes.
const BINARY: u8 = 3;
/// A text in UTF-8, without JSON's quotes.
const TEXT: u8 = 4;

/// A stored value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored<'a> {
    /// JSON.
    Json(&'a str),
    /// A text.
    Text(&'a str),
    /// Bytes, or whatever this version cannot read.
    Bytes(&'a [u8]),
    /// A structure of V8's.
    V8(&'a [u8]),
}

/// Reads a stored value.
#[must_use]
pub fn read(stored: &[u8]) -> Stored<'_> {
    let Some((tag, rest)) = stored.split_first() else { return Stored::Bytes(stored) };
    match (*tag, std::str::from_utf8(rest)) {
        (JSON, Ok(text)) => Stored::Json(text),
        (TEXT, Ok(text)) => Stored::Text(text),
        (BINARY, _) => Stored::Bytes(rest),
        (V8, _) => Stored::V8(rest),
        _ => Stored::Bytes(stored),
    }
}

/// JSON text as a stored value. Whether it is JSON is the caller's to check.
#[must_use]
pub fn json(text: &str) -> Vec<u8> {
    [&[JSON], text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_as_json_is_read_as_json() {
        assert_eq!(read(&json("{}")), Stored::Json("{}"));
        assert_eq!(read(b"\x04hi"), Stored::Text("hi"));
        assert_eq!(read(b"\x03\xff"), Stored::Bytes(b"\xff"));
        assert_eq!(read(b"\x01\xff"), Stored::Bytes(b"\x01\xff"), "broken text is bytes");
        assert_eq!(read(b""), Stored::Bytes(b""));
    }
}
