//! The parts of a printed date while it is read back, and the instant they make.

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::{Offset, TimeZone};

/// A number of `min` to `max` digits at the start of `text`, and what follows it.
pub(crate) fn digits(text: &[u8], min: usize, max: usize) -> Option<(i64, &[u8])> {
    let count = text.iter().take(max).take_while(|b| b.is_ascii_digit()).count();
    if count < min {
        return None;
    }
    let value = text[..count].iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
    Some((value, &text[count..]))
}

/// Keeps what `digits` read.
pub(crate) fn keep<'a>(field: &mut Option<i64>, (value, rest): (i64, &'a [u8])) -> &'a [u8] {
    *field = Some(value);
    rest
}

/// What a date's text said.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    pub(crate) year: Option<i64>,
    pub(crate) month: Option<i64>,
    pub(crate) day: Option<i64>,
    pub(crate) hour: Option<i64>,
    pub(crate) hour12: Option<i64>,
    pub(crate) afternoon: Option<bool>,
    pub(crate) minute: Option<i64>,
    pub(crate) second: Option<i64>,
    pub(crate) millisecond: Option<i64>,
    pub(crate) offset_seconds: Option<i64>,
    pub(crate) unix_seconds: Option<i64>,
    pub(crate) unix_milliseconds: Option<i64>,
}

// === impl Fields ===

impl Fields {
    /// Nanoseconds since the Unix epoch; without an offset the date is taken to be in `zone`.
    pub(crate) fn unix_ns(&self, zone: &TimeZone) -> Option<i64> {
        if let Some(milliseconds) = self.unix_milliseconds {
            return milliseconds.checked_mul(1_000_000);
        }
        if let Some(seconds) = self.unix_seconds {
            return seconds.checked_mul(1_000_000_000);
        }
        let twelve = self.hour12.map(|hour| hour % 12 + if self.afternoon == Some(true) { 12 } else { 0 });
        let small = |value: Option<i64>| i8::try_from(value.unwrap_or(0)).ok();
        let date =
            Date::new(i16::try_from(self.year?).ok()?, small(Some(self.month?))?, small(Some(self.day?))?)
                .ok()?;
        let millisecond = i32::try_from(self.millisecond.unwrap_or(0)).ok()?;
        let civil = date.to_datetime(
            Time::new(
                small(self.hour.or(twelve))?,
                small(self.minute)?,
                small(self.second)?,
                millisecond * 1_000_000,
            )
            .ok()?,
        );
        let at: Timestamp = match self.offset_seconds {
            Some(seconds) => {
                Offset::from_seconds(i32::try_from(seconds).ok()?).ok()?.to_timestamp(civil).ok()?
            }
            None => zone.to_timestamp(civil).ok()?,
        };
        i64::try_from(at.as_nanosecond()).ok()
    }
}
