//! Where lines of both streams go together, and how an app's log files are kept from growing for ever.

use crate::cron::none_or_pattern;
use crate::{Bytes, Compress, Cron, SpecError, Zone};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The file for both streams, beside that of each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "true, false or a path")]
#[schemars(inline)]
pub enum LogFile {
    /// The one in the home that is called like the app, or none.
    Usual(bool),
    /// This one.
    Path(String),
}

/// When a log file is put aside and how much of the old ones is kept. On by default: a log that grows for ever fills
/// the disk one night.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rotation {
    /// Put the file aside at the first line end beyond this size (`10M`); 0 never does. Default: 10 MiB.
    pub max_size: Bytes,
    /// How many old files of one log are kept. Default: 30.
    pub retain: u32,
    /// How many bytes all old files of the app may take together; the oldest go first. Default: 100 MiB.
    pub total_size: Bytes,
    /// Also put the file aside whenever so many seconds of local time have begun anew (86400: at midnight).
    /// Default: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_seconds: Option<u32>,
    /// Also put the file aside at the times of this cron pattern (`0 3 * * 1`; 0 or false: never), also when they were
    /// missed. Default: never.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "none_or_pattern")]
    pub cron: Option<Cron>,
    /// The date in the names of old files, in day.js tokens, with year, month and day. Default: `YYYY-MM-DD_HH-mm-ss`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date_format: Option<String>,
    /// The time zone of `date_format`, `cron` and `every_seconds` (`Europe/Berlin`). Default: the machine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<Zone>,
    /// Compress old files: true (gzip), false, `gzip` or `zstd`. Default: true.
    pub compress: Compress,
}

// === impl LogFile ===

impl LogFile {
    /// Whether there is none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::Usual(false)
    }

    /// The path, if one was chosen.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Path(path) => Some(path),
            Self::Usual(_) => None,
        }
    }

    /// The same, to be settled.
    pub(crate) fn path_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Path(path) => Some(path),
            Self::Usual(_) => None,
        }
    }
}

impl Default for LogFile {
    fn default() -> Self {
        Self::Usual(false)
    }
}

impl From<String> for LogFile {
    fn from(path: String) -> Self {
        Self::Path(path)
    }
}

// === impl Rotation ===

impl Default for Rotation {
    fn default() -> Self {
        Self {
            max_size: Bytes(10 << 20),
            retain: 30,
            total_size: Bytes(100 << 20),
            every_seconds: None,
            cron: None,
            date_format: None,
            time_zone: None,
            compress: Compress::Switch(true),
        }
    }
}

impl Rotation {
    /// The first thing that is wrong with it.
    ///
    /// # Errors
    /// Names the field, its value and the remedy.
    pub fn check(&self) -> Result<(), SpecError> {
        if let Some(cron) = &self.cron {
            cron.check("rotate.cron")?;
        }
        if let Some(zone) = &self.time_zone {
            zone.check("rotate.time_zone")?;
        }
        match &self.date_format {
            Some(format) if !names_a_day(format) => Err(SpecError::field(
                "rotate.date_format",
                format,
                "does not tell one old file from another",
                "write the year, the month and the day, without / and __: YYYY-MM-DD_HH-mm-ss",
            )),
            Some(_) | None => Ok(()),
        }
    }
}

/// Whether a date in these day.js tokens stands for one day, and can stand in a file's name.
fn names_a_day(format: &str) -> bool {
    // What stands in brackets is no token.
    let mut tokens = String::new();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('[') {
        tokens.push_str(before);
        rest = after.split_once(']').map_or("", |(_, after)| after);
    }
    tokens.push_str(rest);
    let day = tokens.contains("YY") && tokens.contains('M') && tokens.contains('D');
    (day || tokens.contains(['X', 'x'])) && !format.contains(['/', '\0']) && !format.contains("__")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_old_files_names_a_day_and_is_no_path() {
        for (format, good) in [
            ("YYYY-MM-DD_HH-mm-ss", true),
            ("DD.MM.YY[_at_]HH", true),
            ("X", true),
            ("HH-mm", false),
            ("[YYYY-MM-DD]", false),
            ("YYYY/MM/DD", false),
            ("YYYY__MM-DD", false),
            ("", false),
        ] {
            let rotation = Rotation { date_format: Some(format.into()), ..Rotation::default() };
            assert_eq!(rotation.check().is_ok(), good, "{format:?}");
        }
    }

    #[test]
    fn a_pattern_and_a_zone_are_checked_where_a_person_wrote_them() {
        let read = |text: &str| serde_json::from_str::<Rotation>(text).map(|rotation| rotation.check());
        assert!(read(r#"{"cron": "0 3 * * 1", "time_zone": "Europe/Berlin"}"#).expect("well-formed").is_ok());
        assert!(
            read(r#"{"cron": "banana"}"#).expect("text").expect_err("no").to_string().contains("rotate.cron")
        );
        let zone = read(r#"{"time_zone": "Mars/Olympus"}"#).expect("text").expect_err("no").to_string();
        assert!(zone.contains("rotate.time_zone"), "{zone}");
    }
}
