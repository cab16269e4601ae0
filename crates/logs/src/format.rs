//! What a line looks like in a file.

use jiff::tz::TimeZone;

pub use crate::dayjs::DateFormat;
use crate::json::{close_message, open_message, write_message};
use crate::{Moment, Source, Stream};

/// The look of a line.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// As the worker wrote it, byte for byte.
    #[default]
    Raw,
    /// The date, `": "`, the line (PM2's `log_date_format`).
    Prefixed(DateFormat),
    /// `{"message":"…","timestamp":"…","type":"out","process_id":0,"app_name":"…"}` (PM2's `log_type: "json"`).
    /// Without a format the timestamp is ISO 8601 in UTC with milliseconds. Bytes that are not UTF-8 become U+FFFD;
    /// a line of up to 16 KB that has any also carries them exactly, in `"message_base64"`.
    Json(Option<DateFormat>),
    /// `timestamp=… app=… id=… type=out message=…` (PM2's `--format`).
    Pairs(DateFormat),
    /// `0|web      | ` and the line (PM2's `--formatted`).
    Named,
}

/// Where in a line a file is, for one that writes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// At the start of a line.
    LineStart,
    /// In a line of the same stream.
    SameLine,
}

/// Who and when, for the lines of one batch.
pub(crate) struct Stamp<'a> {
    pub(crate) source: &'a Source,
    pub(crate) now: Moment,
    pub(crate) zone: &'a TimeZone,
}

// === impl Format ===

impl Format {
    /// Appends `lines`, the worker's bytes, as they look in the file. What follows the last `\n` is an unfinished
    /// line that later bytes of the same stream go on with, at [`At::SameLine`].
    pub(crate) fn render(&self, lines: &[u8], mut at: At, stamp: &Stamp<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Raw => out.extend_from_slice(lines),
            Self::Prefixed(date) => {
                let mut prefix = Vec::with_capacity(64);
                date.write(&stamp.now.zoned(stamp.zone), &mut prefix);
                prefix.extend_from_slice(b": ");
                put_before_each(&prefix, lines, at, out);
            }
            Self::Pairs(date) => {
                let mut prefix = b"timestamp=".to_vec();
                date.write(&stamp.now.zoned(stamp.zone), &mut prefix);
                let Source { app, slot, stream, .. } = stamp.source;
                let stream = match stream {
                    Stream::Out => "out",
                    Stream::Err => "error",
                };
                prefix.extend_from_slice(format!(" app={app} id={slot} type={stream} message=").as_bytes());
                put_before_each(&prefix, lines, at, out);
            }
            Self::Named => {
                let Source { app, slot, .. } = stamp.source;
                put_before_each(format!("{slot}|{app:<8} | ").as_bytes(), lines, at, out);
            }
            Self::Json(date) => {
                let mut end = Vec::with_capacity(160);
                close_message(date.as_ref(), stamp, &mut end);
                let utf8 = std::str::from_utf8(lines).is_ok();
                let mut rest = lines;
                while let Some(length) = memchr::memchr(b'\n', rest) {
                    let line = &rest[..length];
                    if at == At::LineStart {
                        open_message(out);
                    }
                    let exact = write_message(line, utf8, out);
                    if !exact && at == At::LineStart {
                        crate::json::write_base64(line, out);
                    }
                    out.extend_from_slice(&end);
                    at = At::LineStart;
                    rest = &rest[length + 1..];
                }
                if !rest.is_empty() {
                    if at == At::LineStart {
                        open_message(out);
                    }
                    write_message(rest, utf8, out);
                }
            }
        }
    }

    /// Appends what ends an unfinished line. `stamp` is that of the stream whose line it is, if it is still known.
    pub(crate) fn render_end(&self, stamp: Option<&Stamp<'_>>, out: &mut Vec<u8>) {
        match (self, stamp) {
            (Self::Json(date), Some(stamp)) => close_message(date.as_ref(), stamp, out),
            (Self::Json(_), None) => out.extend_from_slice(b"\"}\n"),
            (Self::Raw | Self::Prefixed(_) | Self::Pairs(_) | Self::Named, _) => out.push(b'\n'),
        }
    }
}

fn put_before_each(prefix: &[u8], lines: &[u8], mut at: At, out: &mut Vec<u8>) {
    let mut rest = lines;
    while !rest.is_empty() {
        let (line, after) = rest.split_at(memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1));
        if at == At::LineStart {
            out.extend_from_slice(prefix);
        }
        out.extend_from_slice(line);
        at = At::LineStart;
        rest = after;
    }
}

/// How many bytes at the end of `bytes` are the beginning of a UTF-8 character whose rest may follow (0 to 3).
pub(crate) fn torn_character(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let byte = bytes[bytes.len() - back];
        let needed = match byte {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => return 0,
        };
        return if needed > back { back } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn rendered(format: &Format, pieces: &[(&[u8], At)]) -> String {
        let source = Source { app: Arc::from("a\"pp"), slot: 3, worker: 9, stream: Stream::Err };
        let now = Moment { boot_ns: 1, unix_ns: 1_767_225_600_123_000_000 };
        let stamp = Stamp { source: &source, now, zone: &TimeZone::UTC };
        let mut out = Vec::new();
        for &(bytes, at) in pieces {
            format.render(bytes, at, &stamp, &mut out);
        }
        String::from_utf8(out).expect("utf-8")
    }

    #[test]
    fn a_prefix_stands_before_every_line_and_only_there() {
        let format = Format::Prefixed(DateFormat::new("HH:mm"));
        let text = rendered(
            &format,
            &[(b"one\n\ntwo\r\nth", At::LineStart), (b"ree", At::SameLine), (b"!\nfour\n", At::SameLine)],
        );
        assert_eq!(text, "00:00: one\n00:00: \n00:00: two\r\n00:00: three!\n00:00: four\n");
    }

    #[test]
    fn who_wrote_a_line_can_stand_before_it_in_pm2s_two_ways() {
        let lines: &[(&[u8], At)] = &[(b"one\ntw", At::LineStart), (b"o\n", At::SameLine)];
        let pairs = rendered(&Format::Pairs(DateFormat::new("HH:mm")), lines);
        let before = "timestamp=00:00 app=a\"pp id=3 type=error message=";
        assert_eq!(pairs, format!("{before}one\n{before}two\n"));
        assert_eq!(rendered(&Format::Named, lines), "3|a\"pp     | one\n3|a\"pp     | two\n");
    }

    #[test]
    fn every_json_line_is_one_object_with_pm2s_keys() {
        let text = rendered(
            &Format::Json(None),
            &[
                (b"a\tb\"\\\x01\n\xff!\nlo", At::LineStart),
                ("ng é".as_bytes(), At::SameLine),
                (b"\n", At::SameLine),
            ],
        );
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect();
        assert_eq!(lines[0]["message"], "a\tb\"\\\u{1}");
        assert_eq!(lines[0]["timestamp"], "2026-01-01T00:00:00.123Z");
        assert_eq!(lines[0]["type"], "err");
        assert_eq!(lines[0]["process_id"], 3);
        assert_eq!(lines[0]["app_name"], "a\"pp");
        assert_eq!(lines[1]["message"], "\u{fffd}!");
        assert_eq!(lines[1]["message_base64"], "/yE=");
        assert_eq!(lines[2]["message"], "long é");
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn a_torn_character_is_measured() {
        for (bytes, torn) in [
            (&b""[..], 0),
            (b"a", 0),
            (b"\xc3", 1),
            ("é".as_bytes(), 0),
            (b"\xe2\x82", 2),
            ("€".as_bytes(), 0),
            (b"\xf0\x9f\x98", 3),
            ("😀".as_bytes(), 0),
            (b"\x80\x80\x80\x80", 0),
            (b"\xff", 0),
        ] {
            assert_eq!(torn_character(bytes), torn, "{bytes:?}");
        }
    }
}
