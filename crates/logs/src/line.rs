//! One line read back from a log.

use std::sync::Arc;

use base64::Engine as _;
use jiff::tz::TimeZone;
use serde::Deserialize;

use crate::{Format, Stream, TailSource};

/// One line read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Whose.
    pub app: Arc<str>,
    /// Slot, when known.
    pub slot: Option<u32>,
    /// Stream, when known.
    pub stream: Option<Stream>,
    /// When it was captured (nanoseconds since the Unix epoch), when the file says so.
    pub unix_ns: Option<i64>,
    /// The worker's own bytes, without `\n`, prefix or JSON.
    pub text: Vec<u8>,
    /// The file's bytes, without `\n`: with prefix or JSON.
    pub raw: Vec<u8>,
    /// False for a last line that has no `\n` (yet).
    pub complete: bool,
}

/// What a JSON line holds; anything else in it is somebody else's.
#[derive(Deserialize)]
struct JsonLine {
    message: String,
    #[serde(default)]
    message_base64: Option<String>,
    #[serde(default)]
    timestamp: Option<String>,
    #[serde(default, rename = "type")]
    stream: Option<Stream>,
    #[serde(default)]
    process_id: Option<u32>,
    #[serde(default)]
    app_name: Option<String>,
}

// === impl Line ===

impl Line {
    /// Reads the file's bytes. A line that does not look like its format is text, without a time.
    pub(crate) fn read(mut raw: Vec<u8>, source: &TailSource, zone: &TimeZone) -> Self {
        let complete = raw.pop_if(|last| *last == b'\n').is_some();
        let mut line = Self {
            app: Arc::clone(&source.app),
            slot: source.slot,
            stream: source.stream,
            unix_ns: None,
            text: Vec::new(),
            raw,
            complete,
        };
        match &source.format {
            Format::Raw => {}
            Format::Prefixed(date) => {
                if let Some((unix_ns, bytes)) = date.read(&line.raw, zone)
                    && let Some(text) = line.raw[bytes..].strip_prefix(b": ")
                {
                    line.text = text.to_vec();
                    line.unix_ns = Some(unix_ns);
                    return line;
                }
            }
            Format::Pairs(date) => {
                let dated = line.raw.strip_prefix(b"timestamp=");
                if let Some((unix_ns, _)) = dated.and_then(|rest| date.read(rest, zone))
                    && let Some(text) = after(&line.raw, b" message=")
                {
                    line.text = text;
                    line.unix_ns = Some(unix_ns);
                    return line;
                }
            }
            Format::Named => {
                if let Some(text) = after(&line.raw, b" | ") {
                    line.text = text;
                    return line;
                }
            }
            Format::Json(date) => {
                if let Ok(json) = serde_json::from_slice::<JsonLine>(&line.raw) {
                    line.unix_ns = json.timestamp.as_ref().and_then(|text| match date {
                        Some(date) => date.read(text.as_bytes(), zone).map(|(ns, _)| ns),
                        None => {
                            let at: jiff::Timestamp = text.parse().ok()?;
                            i64::try_from(at.as_nanosecond()).ok()
                        }
                    });
                    line.stream = json.stream.or(line.stream);
                    line.slot = json.process_id.or(line.slot);
                    if let Some(app) = json.app_name.filter(|app| **app != *line.app) {
                        line.app = app.into();
                    }
                    let exact = json
                        .message_base64
                        .and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok());
                    line.text = exact.unwrap_or(json.message.into_bytes());
                    return line;
                }
            }
        }
        line.text = line.raw.clone();
        line
    }
}
/// What follows the first `mark`.
fn after(raw: &[u8], mark: &[u8]) -> Option<Vec<u8>> {
    let at = memchr::memmem::find(raw, mark)?;
    Some(raw[at + mark.len()..].to_vec())
}
