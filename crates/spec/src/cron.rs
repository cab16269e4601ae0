//! When something recurs: a cron pattern in the dialect of croner, which is PM2's, and the time zone that it counts in.
//!
//! Five fields (minute, hour, day of month, month, weekday), six with seconds in front, or a nickname (`@daily`). A text
//! is checked where a person wrote it ([`FromStr`] and [`Cron::check`]) and not where our own files are read back: a
//! pattern that a later version refuses must not make the rest of the state unreadable.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use croner::errors::CronError;
use croner::time::{CivilDate, CivilDateTime, CivilTime, CronDateTime, Resolution, Weekday};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ZonedDateTime};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

use crate::SpecError;

const REMEDY: &str = "write five fields (minute hour day month weekday: `0 3 * * *`), six with seconds in front, or 0 for never";

/// A cron pattern, as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Cron(String);

/// The name of a time zone (`Europe/Berlin`), as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Zone(String);

// === impl Cron ===

impl Cron {
    /// What is wrong with it, if something is.
    ///
    /// # Errors
    /// Names `field`, the pattern and the remedy.
    pub fn check(&self, field: &'static str) -> Result<(), SpecError> {
        let wrong = |problem: String| SpecError::field(field, &self.0, problem, REMEDY);
        let pattern = self.pattern().map_err(|error| wrong(format!("is no cron pattern: {error}")))?;
        let sometime = Moment(ZonedDateTime::new(Timestamp::UNIX_EPOCH, TimeZone::UTC));
        match pattern.find_next_occurrence(&sometime, false) {
            Ok(_) => Ok(()),
            Err(_) => Err(wrong("never comes to pass".to_owned())),
        }
    }

    /// The first time after `after` (both in milliseconds since 1970) that it names in this time zone. A time that the
    /// clocks skip in spring is made up for when they have; one that comes twice in autumn counts once, unless the
    /// pattern recurs all day long anyway.
    #[must_use]
    pub fn next_after(&self, after_unix_ms: i64, zone: &TimeZone) -> Option<i64> {
        let after = ZonedDateTime::new(Timestamp::from_millisecond(after_unix_ms).ok()?, zone.clone());
        let next = self.pattern().ok()?.find_next_occurrence(&Moment(after), false).ok()?;
        Some(next.0.timestamp().as_millisecond())
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn pattern(&self) -> Result<croner::Cron, CronError> {
        croner::parser::CronParser::new().parse(&self.0)
    }
}

impl FromStr for Cron {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let cron = Self(text.trim().to_owned());
        cron.check("cron").map(|()| cron)
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Cron {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

impl JsonSchema for Cron {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Cron".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer"], "description": "A cron pattern; 0 for never." })
    }
}

/// Reads an optional pattern: `0`, `"0"`, `false` and an empty text mean none, as in PM2.
///
/// # Errors
/// When it is neither a text nor one of these.
pub(crate) fn none_or_pattern<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cron>, D::Error> {
    struct Reader;
    impl<'de> Visitor<'de> for Reader {
        type Value = Option<Cron>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a cron pattern: {REMEDY}")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Option<Cron>, E> {
            let text = text.trim();
            Ok((!matches!(text, "" | "0")).then(|| Cron(text.to_owned())))
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<Option<Cron>, E> {
            match number {
                0 => Ok(None),
                other => Err(E::invalid_value(de::Unexpected::Unsigned(other), &self)),
            }
        }

        fn visit_bool<E: de::Error>(self, on: bool) -> Result<Option<Cron>, E> {
            if on { Err(E::invalid_value(de::Unexpected::Bool(on), &self)) } else { Ok(None) }
        }

        fn visit_unit<E: de::Error>(self) -> Result<Option<Cron>, E> {
            Ok(None)
        }

        fn visit_none<E: de::Error>(self) -> Result<Option<Cron>, E> {
            Ok(None)
        }

        fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Option<Cron>, D::Error> {
            inner.deserialize_any(self)
        }
    }
    deserializer.deserialize_any(Reader)
}

// === impl Zone ===

impl Zone {
    /// The zone itself, out of the machine's time zone database.
    ///
    /// # Errors
    /// Names `field`, the zone and the remedy.
    pub fn find(&self, field: &'static str) -> Result<TimeZone, SpecError> {
        TimeZone::get(&self.0).map_err(|_| {
            SpecError::field(
                field,
                &self.0,
                "is no time zone of this machine",
                "write a name such as Europe/Berlin or UTC, and see that the package tzdata is installed",
            )
        })
    }
}

impl FromStr for Zone {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let zone = Self(text.trim().to_owned());
        zone.find("cron_timezone").map(|_| zone)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for Zone {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Zone".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "A time zone's name." })
    }
}

/// A moment in a time zone, in the words of croner, whose own adapter is for another version of jiff.
#[derive(Clone)]
struct Moment(ZonedDateTime);

impl CronDateTime for Moment {
    fn to_civil(&self) -> CivilDateTime {
        let at = self.0.datetime();
        CivilDateTime::new(
            CivilDate::from_parts_unchecked(at.year().into(), unsigned(at.month()), unsigned(at.day())),
            CivilTime::from_parts_unchecked(
                unsigned(at.hour()),
                unsigned(at.minute()),
                unsigned(at.second()),
            ),
        )
    }

    fn civil_weekday(&self) -> Weekday {
        Weekday::from_days_from_sunday(unsigned(self.0.weekday().to_sunday_zero_offset()))
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        let ambiguous = self.0.time_zone().to_ambiguous_zoned_datetime(datetime(civil)?);
        let found =
            |zoned: Result<ZonedDateTime, jiff::Error>| zoned.map(Self).map_err(|_| CronError::InvalidTime);
        Ok(match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } => Resolution::Single(found(ambiguous.unambiguous())?),
            AmbiguousOffset::Fold { .. } => {
                Resolution::Ambiguous(found(ambiguous.clone().earlier())?, found(ambiguous.later())?)
            }
            AmbiguousOffset::Gap { .. } => Resolution::Gap,
        })
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        self.0.checked_add(SignedDuration::from_secs(seconds)).ok().map(Self)
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.0.timestamp().cmp(&other.0.timestamp())
    }
}

/// Parts of a date and a time of day are never negative.
fn unsigned(part: i8) -> u32 {
    u32::try_from(part).unwrap_or_default()
}

fn datetime(civil: CivilDateTime) -> Result<DateTime, CronError> {
    let part = |number: u32| i8::try_from(number).map_err(|_| CronError::InvalidDate);
    let year = i16::try_from(civil.year()).map_err(|_| CronError::InvalidDate)?;
    let (month, day) = (part(civil.month())?, part(civil.day())?);
    let (hour, minute, second) = (part(civil.hour())?, part(civil.minute())?, part(civil.second())?);
    DateTime::new(year, month, day, hour, minute, second, 0).map_err(|_| CronError::InvalidDate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().expect("a timestamp").as_millisecond()
    }

    #[track_caller]
    fn check(pattern: &str, zone: &str, after: &str, next: &str) {
        let zone = if zone == "Berlin" { "CET-1CEST,M3.5.0,M10.5.0/3" } else { zone };
        let zone = TimeZone::posix(zone).expect("a POSIX zone needs no database");
        let found = pattern.parse::<Cron>().expect("a pattern").next_after(ms(after), &zone);
        assert_eq!(
            found.map(|at| Timestamp::from_millisecond(at).unwrap().to_string()).as_deref(),
            Some(next)
        );
    }

    #[test]
    fn a_pattern_names_the_next_time_in_its_zone() {
        check("0 3 * * *", "UTC0", "2026-05-01T10:00:00Z", "2026-05-02T03:00:00Z");
        check("0 3 * * *", "Berlin", "2026-05-01T10:00:00Z", "2026-05-02T01:00:00Z");
        check("*/5 * * * * *", "UTC0", "2026-05-01T10:00:05Z", "2026-05-01T10:00:10Z");
        check("@daily", "UTC0", "2026-05-01T10:00:00.5Z", "2026-05-02T00:00:00Z");
    }

    #[test]
    fn a_time_that_the_clocks_skip_is_made_up_for_and_one_that_comes_twice_counts_once() {
        // 02:30 does not exist on 29 March 2026 and comes twice on 25 October 2026.
        check("30 2 * * *", "Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z");
        check("30 2 * * *", "Berlin", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z");
        check("30 2 * * *", "Berlin", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z");
        check("*/30 * * * *", "Berlin", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z");
    }

    #[test]
    fn nonsense_is_refused_with_the_pattern_and_the_remedy() {
        for bad in ["banana", "* * *", "61 * * * *", "0 0 30 2 *", ""] {
            let error = bad.parse::<Cron>().expect_err(bad);
            assert!(error.to_string().contains("cron"), "{error}");
            assert!(error.remedy().contains("five fields"), "{}", error.remedy());
        }
        let error = "Mars/Olympus".parse::<Zone>().expect_err("not here");
        assert!(error.to_string().contains("Mars/Olympus") && error.remedy().contains("tzdata"));
    }

    #[test]
    fn zero_means_never() {
        #[derive(Deserialize)]
        struct Holder {
            #[serde(default, deserialize_with = "none_or_pattern")]
            cron: Option<Cron>,
        }
        for none in [r#"{"cron":0}"#, r#"{"cron":"0"}"#, r#"{"cron":false}"#, r#"{"cron":null}"#, "{}"] {
            assert_eq!(serde_json::from_str::<Holder>(none).expect(none).cron, None, "{none}");
        }
        let some: Holder = serde_json::from_str(r#"{"cron":"0 3 * * *"}"#).expect("a pattern");
        assert_eq!(some.cron.map(|cron| cron.to_string()).as_deref(), Some("0 3 * * *"));
        assert!(serde_json::from_str::<Holder>(r#"{"cron":5}"#).is_err());
    }
}
