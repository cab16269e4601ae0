//! PM2's JSON lines, written piece by piece so that a line may be longer than any buffer.

use std::io::Write as _;

use base64::Engine as _;

use crate::dayjs::DateFormat;
use crate::format::Stamp;

/// The start of a line: what follows is the message's escaped text.
pub(crate) fn open_message(out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"message\":\"");
}

/// The end of a line, from the message's closing quote to the `\n`.
pub(crate) fn close_message(date: Option<&DateFormat>, stamp: &Stamp<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\",\"timestamp\":\"");
    match date {
        Some(date) => {
            let mut printed = Vec::with_capacity(64);
            date.write(&stamp.now.zoned(stamp.zone), &mut printed);
            write_message(&printed, false, out);
        }
        None => {
            let at = stamp.now.zoned(&jiff::tz::TimeZone::UTC);
            // Writing to a Vec cannot fail.
            let _ = write!(out, "{:.3}", at.timestamp());
        }
    }
    out.extend_from_slice(b"\",\"type\":\"");
    out.extend_from_slice(stamp.source.stream.name().as_bytes());
    let _ = write!(out, "\",\"process_id\":{},\"app_name\":\"", stamp.source.slot);
    write_message(stamp.source.app.as_bytes(), true, out);
    out.extend_from_slice(b"\"}\n");
}

/// Appends the escaped text; false when bytes that are not UTF-8 had to be replaced. `utf8` says that there are none.
pub(crate) fn write_message(bytes: &[u8], utf8: bool, out: &mut Vec<u8>) -> bool {
    if utf8 {
        escape(bytes, out);
        return true;
    }
    let mut exact = true;
    for chunk in bytes.utf8_chunks() {
        escape(chunk.valid().as_bytes(), out);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
            exact = false;
        }
    }
    exact
}

/// Closes the message and adds the exact bytes, up to (without) the next key's opening `",`.
pub(crate) fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"\",\"message_base64\":\"");
    out.extend_from_slice(base64::engine::general_purpose::STANDARD.encode(bytes).as_bytes());
}

/// The place of the first byte that needs an escape in a JSON string: a control, `"` or `\\`. Eight bytes at a time,
/// since nearly none does ("Bit Twiddling Hacks", haszero and hasless: the lowest bit found is exact).
fn first_escaped(text: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let (words, rest) = text.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let found =
            controls | zeros(word ^ (ONES * u64::from(b'"'))) | zeros(word ^ (ONES * u64::from(b'\\')));
        if found != 0 {
            return Some(at * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let tail = rest.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\')?;
    Some(words.len() * 8 + tail)
}

fn escape(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = first_escaped(rest) {
        out.extend_from_slice(&rest[..at]);
        let short = match rest[at] {
            b'"' => b'"',
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0c => b'f',
            control => {
                // Writing to a Vec cannot fail.
                let _ = write!(out, "\\u{control:04x}");
                rest = &rest[at + 1..];
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', short]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_text_is_read_back_as_it_was(text: String) {
            let mut out = vec![b'"'];
            proptest::prop_assert!(write_message(text.as_bytes(), true, &mut out));
            out.push(b'"');
            proptest::prop_assert_eq!(serde_json::from_slice::<String>(&out).expect("json"), text);
        }

        #[test]
        fn any_bytes_become_lossy_text(bytes: Vec<u8>) {
            let mut out = vec![b'"'];
            let exact = write_message(&bytes, false, &mut out);
            out.push(b'"');
            let text = String::from_utf8_lossy(&bytes);
            proptest::prop_assert_eq!(exact, std::str::from_utf8(&bytes).is_ok());
            proptest::prop_assert_eq!(serde_json::from_slice::<String>(&out).expect("json"), text);
        }
    }
}
