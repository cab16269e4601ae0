//! Dates in day.js tokens, written and read back.
//!
//! Source of the tokens: the day.js manual, "Display › Format", plus `Do`, `Q`, `X`, `x` of its AdvancedFormat plugin.
//! English names, as PM2 prints them.

use std::io::Write as _;

use jiff::ZonedDateTime;
use jiff::tz::TimeZone;

use crate::date_fields::{Fields, digits, keep};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A date format in day.js tokens (`YYYY-MM-DD HH:mm:ss.SSS Z`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DateFormat {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Token(Token),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Year2,
    Year4,
    Month { pad: bool },
    MonthName { short: bool },
    Day { pad: bool },
    DayOrdinal,
    WeekDay,
    WeekDayName { letters: usize },
    Hour24 { pad: bool },
    Hour12 { pad: bool },
    Minute { pad: bool },
    Second { pad: bool },
    Millisecond,
    Zone { colon: bool },
    Meridiem { upper: bool },
    Quarter,
    UnixSeconds,
    UnixMilliseconds,
}

/// Longest first within a letter, so that `MMMM` is not two `MM`.
const TOKENS: [(&str, Token); 29] = [
    ("YYYY", Token::Year4),
    ("YY", Token::Year2),
    ("MMMM", Token::MonthName { short: false }),
    ("MMM", Token::MonthName { short: true }),
    ("MM", Token::Month { pad: true }),
    ("M", Token::Month { pad: false }),
    ("DD", Token::Day { pad: true }),
    ("Do", Token::DayOrdinal),
    ("D", Token::Day { pad: false }),
    ("dddd", Token::WeekDayName { letters: usize::MAX }),
    ("ddd", Token::WeekDayName { letters: 3 }),
    ("dd", Token::WeekDayName { letters: 2 }),
    ("d", Token::WeekDay),
    ("HH", Token::Hour24 { pad: true }),
    ("H", Token::Hour24 { pad: false }),
    ("hh", Token::Hour12 { pad: true }),
    ("h", Token::Hour12 { pad: false }),
    ("mm", Token::Minute { pad: true }),
    ("m", Token::Minute { pad: false }),
    ("SSS", Token::Millisecond),
    ("ss", Token::Second { pad: true }),
    ("s", Token::Second { pad: false }),
    ("ZZ", Token::Zone { colon: false }),
    ("Z", Token::Zone { colon: true }),
    ("A", Token::Meridiem { upper: true }),
    ("a", Token::Meridiem { upper: false }),
    ("Q", Token::Quarter),
    ("X", Token::UnixSeconds),
    ("x", Token::UnixMilliseconds),
];

// === impl DateFormat ===

impl DateFormat {
    /// What `--time` means in PM2.
    pub const TIME: &'static str = "YYYY-MM-DDTHH:mm:ss";

    /// Reads a format. Any text is one: what is no token is printed as it is and `[…]` is printed without its
    /// brackets, as in day.js.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let escaped = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
            if let Some((escaped, after)) = escaped.filter(|(escaped, _)| !escaped.is_empty()) {
                push_literal(&mut parts, escaped);
                rest = after;
            } else if let Some((name, token)) = TOKENS.iter().find(|(name, _)| rest.starts_with(name)) {
                parts.push(Part::Token(*token));
                rest = &rest[name.len()..];
            } else {
                push_literal(&mut parts, &rest[..first.len_utf8()]);
                rest = &rest[first.len_utf8()..];
            }
        }
        Self { text: text.to_owned(), parts }
    }

    /// The format as the user wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Appends `at`, printed.
    pub fn write(&self, at: &ZonedDateTime, out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.extend_from_slice(text.as_bytes()),
                Part::Token(token) => token.write(at, out),
            }
        }
    }

    /// Reads a printed date back from the start of `text`: (nanoseconds since the epoch, bytes read). A date
    /// without offset is taken to be in `zone`; a format without a full date cannot be read back.
    #[must_use]
    pub fn read(&self, text: &[u8], zone: &TimeZone) -> Option<(i64, usize)> {
        let mut fields = Fields::default();
        let mut rest = text;
        for part in &self.parts {
            match part {
                Part::Literal(literal) => rest = rest.strip_prefix(literal.as_bytes())?,
                Part::Token(token) => rest = token.read(rest, &mut fields)?,
            }
        }
        Some((fields.unix_ns(zone)?, text.len() - rest.len()))
    }
}

fn push_literal(parts: &mut Vec<Part>, text: &str) {
    if let Some(Part::Literal(last)) = parts.last_mut() {
        last.push_str(text);
    } else {
        parts.push(Part::Literal(text.to_owned()));
    }
}

// === impl Token ===

impl Token {
    fn write(self, at: &ZonedDateTime, out: &mut Vec<u8>) {
        let month = MONTHS[usize::from(at.month().unsigned_abs()) - 1];
        let week_day = at.weekday().to_sunday_zero_offset().unsigned_abs();
        let name = DAYS[usize::from(week_day)];
        let hour12 = match at.hour() % 12 {
            0 => 12,
            hour => hour,
        };
        let offset = at.offset().seconds();
        let sign = if offset < 0 { '-' } else { '+' };
        let minutes = offset.abs() / 60;
        // Writing to a Vec cannot fail.
        let _ = match self {
            Self::Year2 => write!(out, "{:02}", at.year().rem_euclid(100)),
            Self::Year4 => write!(out, "{:04}", at.year()),
            Self::Month { pad } => number(out, at.month(), pad),
            Self::MonthName { short } => {
                out.write_all(&month.as_bytes()[..if short { 3 } else { month.len() }])
            }
            Self::Day { pad } => number(out, at.day(), pad),
            Self::DayOrdinal => write!(out, "{}{}", at.day(), ordinal(at.day())),
            Self::WeekDay => write!(out, "{week_day}"),
            Self::WeekDayName { letters } => out.write_all(&name.as_bytes()[..letters.min(name.len())]),
            Self::Hour24 { pad } => number(out, at.hour(), pad),
            Self::Hour12 { pad } => number(out, hour12, pad),
            Self::Minute { pad } => number(out, at.minute(), pad),
            Self::Second { pad } => number(out, at.second(), pad),
            Self::Millisecond => write!(out, "{:03}", at.subsec_nanosecond() / 1_000_000),
            Self::Zone { colon } => {
                write!(out, "{sign}{:02}{}{:02}", minutes / 60, if colon { ":" } else { "" }, minutes % 60)
            }
            Self::Meridiem { upper } => out.write_all(match (at.hour() < 12, upper) {
                (true, true) => b"AM",
                (true, false) => b"am",
                (false, true) => b"PM",
                (false, false) => b"pm",
            }),
            Self::Quarter => write!(out, "{}", (at.month() - 1) / 3 + 1),
            Self::UnixSeconds => write!(out, "{}", at.timestamp().as_second()),
            Self::UnixMilliseconds => write!(out, "{}", at.timestamp().as_millisecond()),
        };
    }

    fn read<'a>(self, text: &'a [u8], fields: &mut Fields) -> Option<&'a [u8]> {
        let short_or_full = |letters: usize, name: &'static str| &name[..letters.min(name.len())];
        Some(match self {
            Self::Year2 => {
                let (year, rest) = digits(text, 2, 2)?;
                fields.year = Some(2000 + year);
                rest
            }
            Self::Year4 => keep(&mut fields.year, digits(text, 4, 4)?),
            Self::Month { pad } => keep(&mut fields.month, digits(text, min_digits(pad), 2)?),
            Self::MonthName { short } => {
                let letters = if short { 3 } else { usize::MAX };
                let at =
                    MONTHS.iter().position(|m| text.starts_with(short_or_full(letters, m).as_bytes()))?;
                fields.month = Some(at as i64 + 1);
                &text[short_or_full(letters, MONTHS[at]).len()..]
            }
            Self::Day { pad } => keep(&mut fields.day, digits(text, min_digits(pad), 2)?),
            Self::DayOrdinal => keep(&mut fields.day, digits(text, 1, 2)?).get(2..)?,
            Self::WeekDay | Self::Quarter => digits(text, 1, 1)?.1,
            Self::WeekDayName { letters } => {
                let day = DAYS.iter().find(|d| text.starts_with(short_or_full(letters, d).as_bytes()))?;
                &text[short_or_full(letters, day).len()..]
            }
            Self::Hour24 { pad } => keep(&mut fields.hour, digits(text, min_digits(pad), 2)?),
            Self::Hour12 { pad } => keep(&mut fields.hour12, digits(text, min_digits(pad), 2)?),
            Self::Minute { pad } => keep(&mut fields.minute, digits(text, min_digits(pad), 2)?),
            Self::Second { pad } => keep(&mut fields.second, digits(text, min_digits(pad), 2)?),
            Self::Millisecond => keep(&mut fields.millisecond, digits(text, 3, 3)?),
            Self::Zone { colon } => {
                let sign = match text.first()? {
                    b'+' => 1,
                    b'-' => -1,
                    _ => return None,
                };
                let (hours, rest) = digits(&text[1..], 2, 2)?;
                let rest = if colon { rest.strip_prefix(b":")? } else { rest };
                let (minutes, rest) = digits(rest, 2, 2)?;
                fields.offset_seconds = Some(sign * (hours * 3600 + minutes * 60));
                rest
            }
            Self::Meridiem { .. } => {
                fields.afternoon = match text.get(..2)? {
                    b"AM" | b"am" => Some(false),
                    b"PM" | b"pm" => Some(true),
                    _ => return None,
                };
                &text[2..]
            }
            Self::UnixSeconds => keep(&mut fields.unix_seconds, digits(text, 1, 11)?),
            Self::UnixMilliseconds => keep(&mut fields.unix_milliseconds, digits(text, 1, 14)?),
        })
    }
}

fn number(out: &mut Vec<u8>, value: i8, pad: bool) -> std::io::Result<()> {
    if pad { write!(out, "{value:02}") } else { write!(out, "{value}") }
}

fn ordinal(day: i8) -> &'static str {
    match (day % 10, day / 10) {
        (1, 0 | 2 | 3) => "st",
        (2, 0 | 2) => "nd",
        (3, 0 | 2) => "rd",
        _ => "th",
    }
}

fn min_digits(pad: bool) -> usize {
    if pad { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> ZonedDateTime {
        text.parse().expect("a zoned date-time")
    }

    fn written(format: &str, when: &str) -> String {
        let mut out = Vec::new();
        DateFormat::new(format).write(&at(when), &mut out);
        String::from_utf8(out).expect("ascii")
    }

    #[test]
    fn tokens_print_as_the_day_js_manual_says() {
        let when = "2026-01-02T03:04:05.006+05:30[Asia/Kolkata]";
        for (format, expected) in [
            (DateFormat::TIME, "2026-01-02T03:04:05"),
            ("YYYY-MM-DD HH:mm Z", "2026-01-02 03:04 +05:30"),
            ("YY M D H h m s SSS ZZ", "26 1 2 3 3 4 5 006 +0530"),
            ("dddd ddd dd d MMMM MMM Do", "Friday Fri Fr 5 January Jan 2nd"),
            ("hh:mm A a", "03:04 AM am"),
            ("Q X x", "1 1767303245 1767303245006"),
            ("[at YYYY] YYYY, été", "at YYYY 2026, été"),
            ("", ""),
        ] {
            assert_eq!(written(format, when), expected, "{format}");
        }
        assert_eq!(written("h A hh a", "2026-01-02T00:00:00Z[UTC]"), "12 AM 12 am");
        assert_eq!(written("h A", "2026-01-02T12:00:00Z[UTC]"), "12 PM");
        assert_eq!(written("Z", "2026-01-02T12:00:00-03:30[America/St_Johns]"), "-03:30");
        for (day, name) in [(1, "1st"), (3, "3rd"), (11, "11th"), (13, "13th"), (22, "22nd"), (31, "31st")] {
            assert_eq!(written("Do", &format!("2026-01-{day:02}T12:00:00Z[UTC]")), name);
        }
    }

    #[test]
    fn what_was_printed_is_read_back() {
        let when = at("2026-12-31T23:59:58.123+01:00[Europe/Berlin]");
        let zone = when.time_zone().clone();
        for (format, precision) in [
            (DateFormat::TIME, 1_000_000_000),
            ("YYYY-MM-DD HH:mm:ss.SSS Z", 1_000_000),
            ("ddd MMM Do YYYY hh:mm:ss A ZZ", 1_000_000_000),
            ("dddd D MMMM YY, h:m:s.SSS a", 1_000_000),
            ("x", 1_000_000),
            ("X", 1_000_000_000),
        ] {
            let format = DateFormat::new(format);
            let mut text = Vec::new();
            format.write(&when, &mut text);
            let bytes = text.len();
            text.extend_from_slice(b": a line");
            let ns = i64::try_from(when.timestamp().as_nanosecond()).expect("fits");
            assert_eq!(format.read(&text, &zone), Some((ns - ns % precision, bytes)), "{}", format.as_str());
        }
    }

    #[test]
    fn what_is_no_date_is_not_read() {
        let format = DateFormat::new(DateFormat::TIME);
        for text in ["", "2026", "2026-13-01T00:00:00", "hello world, this is a line", "2026-01-02T03:04:0x"]
        {
            assert_eq!(format.read(text.as_bytes(), &TimeZone::UTC), None, "{text}");
        }
        assert_eq!(DateFormat::new("HH:mm").read(b"03:04", &TimeZone::UTC), None);
    }
}
