//! How a log line looks: with its origin, as it was written, as JSON, or as `key=value`.

use super::bytes_of;
use crate::table::{paint, printable};
use anstyle::{AnsiColor, Style};
use skep_api::{LogLine, Stream};
use skep_logs::DateFormat;

/// The time in front of lines when nobody names a format, as PM2 has it.
pub(crate) const TIMESTAMP_DEFAULT: &str = "YYYY-MM-DD HH:mm:ss";

/// The columns that an id and a name fill at least, as in PM2: names of different lengths stand in a column.
const ORIGIN_WIDTH: usize = 10;

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Form {
    /// `0|web | text`
    #[default]
    Origin,
    /// The text alone.
    Raw,
    /// `{"message":…,"timestamp":…,"type":…,"process_id":…,"app_name":…}`
    Json,
    /// `timestamp=… app=… id=… type=… message=…`
    Pairs,
}

/// How lines are to look.
#[derive(Debug, Clone, Default)]
pub(crate) struct Look {
    pub(crate) form: Form,
    /// day.js tokens.
    pub(crate) timestamp: Option<String>,
    /// A word that is made to stand out.
    pub(crate) highlight: Option<String>,
    pub(crate) color: bool,
}

impl Look {
    /// The line with its end.
    pub(crate) fn line(&self, line: &LogLine) -> Vec<u8> {
        let mut out = Vec::new();
        match self.form {
            Form::Raw => out.extend(bytes_of(line)),
            Form::Json => out.extend(self.json(line).into_bytes()),
            Form::Pairs => out.extend(self.pairs(line)),
            Form::Origin => {
                out.extend(self.origin(line).into_bytes());
                if let Some((format, at)) = self.timestamp.as_ref().zip(line.time_unix_ms) {
                    out.extend(format!("{}: ", date(format, at)).into_bytes());
                }
                out.extend(self.highlighted(&bytes_of(line)));
            }
        }
        out.push(b'\n');
        out
    }

    /// Each app has its colour; standard error is red.
    fn origin(&self, line: &LogLine) -> String {
        let slot = line.slot.map_or_else(|| "-".to_owned(), |slot| slot.to_string());
        let origin = format!("{:<ORIGIN_WIDTH$} | ", format!("{slot}|{}", printable(&line.app)));
        paint(&origin, style(line), self.color)
    }

    fn json(&self, line: &LogLine) -> String {
        let text = String::from_utf8_lossy(&bytes_of(line)).into_owned();
        serde_json::json!({
            "message": text,
            "timestamp": self.date(line),
            "type": word(line.stream),
            "process_id": line.slot,
            "app_name": line.app,
        })
        .to_string()
    }

    fn pairs(&self, line: &LogLine) -> Vec<u8> {
        let id = line.slot.map_or_else(|| "-".to_owned(), |slot| slot.to_string());
        let (app, stream) = (printable(&line.app), word(line.stream));
        let mut out = format!(
            "timestamp={} app={app} id={id} type={stream} message=",
            self.date(line).unwrap_or_else(|| "-".to_owned())
        )
        .into_bytes();
        out.extend(bytes_of(line));
        out
    }

    /// Lines of files without dates have none: their time is not known.
    fn date(&self, line: &LogLine) -> Option<String> {
        let format = self.timestamp.as_deref().unwrap_or("YYYY-MM-DDTHH:mm:ss.SSSZ");
        line.time_unix_ms.map(|at| date(format, at))
    }

    fn highlighted(&self, text: &[u8]) -> Vec<u8> {
        let Some(word) = self.highlight.as_deref().filter(|word| !word.is_empty() && self.color) else {
            return text.to_vec();
        };
        let Ok(text) = std::str::from_utf8(text) else { return text.to_vec() };
        text.replace(word, &paint(word, Style::new().invert(), true)).into_bytes()
    }
}

fn word(stream: Stream) -> &'static str {
    match stream {
        Stream::Out => "out",
        Stream::Err => "err",
    }
}

/// Colours of apps on standard output, by their names: the same each time.
fn style(line: &LogLine) -> Style {
    const COLORS: [AnsiColor; 5] =
        [AnsiColor::Green, AnsiColor::Cyan, AnsiColor::Blue, AnsiColor::Magenta, AnsiColor::Yellow];
    match line.stream {
        Stream::Err => AnsiColor::Red.on_default(),
        Stream::Out => {
            let sum =
                line.app.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
            COLORS[sum % COLORS.len()].on_default()
        }
    }
}

fn date(format: &str, unix_ms: u64) -> String {
    let at = i64::try_from(unix_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let mut out = Vec::new();
    if let Some(at) = at {
        DateFormat::new(format).write(&at.to_zoned_datetime(jiff::tz::TimeZone::system()), &mut out);
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> LogLine {
        LogLine {
            app: "web".into(),
            slot: Some(0),
            worker: None,
            stream: Stream::Err,
            time_unix_ms: Some(1_700_000_000_000),
            text: Some(text.into()),
            base64: None,
        }
    }

    fn check(look: &Look, text: &str) -> String {
        String::from_utf8(look.line(&line(text))).unwrap()
    }

    #[test]
    fn a_line_is_shown_with_its_origin_or_as_it_was_written() {
        assert_eq!(check(&Look::default(), "hi"), "0|web      | hi\n");
        let raw = Look { form: Form::Raw, color: true, ..Look::default() };
        assert_eq!(check(&raw, "hi"), "hi\n");
        let binary = LogLine { text: None, base64: Some("/wA=".into()), ..line("") };
        assert_eq!(raw.line(&binary), b"\xff\0\n");
        let colored = Look { color: true, ..Look::default() };
        assert!(check(&colored, "hi").starts_with("\u{1b}[31m0|web      | \u{1b}[0m"));
    }

    #[test]
    fn machines_get_json_or_pairs_and_the_time_in_the_format_asked_for() {
        let json = Look { form: Form::Json, timestamp: Some("YYYY".into()), ..Look::default() };
        let value: serde_json::Value = serde_json::from_str(&check(&json, "a \"b\"")).unwrap();
        assert_eq!((value["message"].as_str(), value["timestamp"].as_str()), (Some("a \"b\""), Some("2023")));
        assert_eq!((value["type"].as_str(), value["process_id"].as_u64()), (Some("err"), Some(0)));
        let pairs = Look { form: Form::Pairs, timestamp: Some("YYYY".into()), ..Look::default() };
        assert_eq!(check(&pairs, "x y"), "timestamp=2023 app=web id=0 type=err message=x y\n");
        let dated = Look { timestamp: Some("YYYY".into()), ..Look::default() };
        assert_eq!(check(&dated, "x"), "0|web      | 2023: x\n");
    }

    #[test]
    fn a_highlighted_word_is_inverted() {
        let look = Look { highlight: Some("bad".into()), color: true, ..Look::default() };
        assert!(check(&look, "so bad").contains("so \u{1b}[7mbad\u{1b}[0m"));
    }
}
