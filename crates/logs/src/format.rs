//! What a line looks like in a file.

/// The look of a line.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// As the worker wrote it, byte for byte.
    #[default]
    Raw,
    /// The date, `": "`, the line (PM2's `log_date_format`).
    Prefixed(DateFormat),
    /// `{"message":"…","timestamp":"…","type":"out","process_id":0,"app_name":"…"}` (PM2's `log_type: "json"`).
    /// Without a format the timestamp is ISO 8601 in UTC with milliseconds.
    Json(Option<DateFormat>),
}

/// A date format in day.js tokens (`YYYY-MM-DD HH:mm:ss.SSS Z`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DateFormat {
    text: String,
}

impl DateFormat {
    /// What `--time` means in PM2.
    pub const TIME: &'static str = "YYYY-MM-DDTHH:mm:ss";

    /// Reads a format. Any text is one: what is no token is printed as it is, as day.js does.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self { text: text.to_owned() }
    }

    /// The format as the user wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}
