//! Cron patterns in a time zone: croner reads the pattern, jiff knows the calendar.
//!
//! Daylight saving, as Vixie cron has it: a job at one fixed time a day that falls into the hour that is left out runs
//! right after it, and one that falls into the hour that comes twice runs the first time only. Patterns with `*` or a
//! step go by elapsed time: they run in both hours and in none that is not there.

use croner::errors::CronError;
use croner::parser::CronParser;
use croner::{CivilDateTime, CronDateTime, Resolution, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ZonedDateTime};

use crate::UnixMs;

/// A pattern and the zone whose clocks it is about.
#[derive(Clone, Debug)]
pub struct Cron {
    pattern: croner::Cron,
    zone: TimeZone,
}

/// Why a pattern cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronProblem {
    /// It is no pattern.
    #[error("is no cron pattern ({0})")]
    Pattern(String),
    /// No day has this date.
    #[error("never comes")]
    Never,
    /// The zone's name is not known on this machine.
    #[error("is no time zone that this machine knows")]
    Zone,
}

/// Other schedulers' names for patterns.
const NAMES: [(&str, &str); 8] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
    ("@minutely", "* * * * *"),
];

impl Cron {
    /// Reads five fields, or six with seconds in front; names (`MON`, `JAN`), `L`, `W`, `#`, `@daily` and the like.
    ///
    /// # Errors
    /// When the pattern cannot be read, or matches no date at all.
    pub fn parse(pattern: &str, zone: TimeZone) -> Result<Self, CronProblem> {
        let text = pattern.trim();
        let named = NAMES.iter().find(|(name, _)| text.eq_ignore_ascii_case(name));
        let text = named.map_or(text, |(_, pattern)| pattern);
        let pattern =
            CronParser::new().parse(text).map_err(|error| CronProblem::Pattern(plain(&error.to_string())))?;
        let cron = Self { pattern, zone };
        // Any day will do: what matches at all matches within the 400 years after which the calendar repeats.
        cron.next_after(UnixMs(946_684_800_000)).map(|_| cron.clone()).ok_or(CronProblem::Never)
    }

    /// The zone of this name, as in the IANA database (`Europe/Berlin`, `UTC`).
    ///
    /// # Errors
    /// When the machine's database does not have it.
    pub fn zone(name: &str) -> Result<TimeZone, CronProblem> {
        TimeZone::get(name).map_err(|_| CronProblem::Zone)
    }

    /// The first match later than this.
    #[must_use]
    pub fn next_after(&self, at: UnixMs) -> Option<UnixMs> {
        let from = self.clock(at)?;
        self.pattern.find_next_occurrence(&from, false).ok().map(|clock| clock.unix())
    }

    /// The last match at this moment or before.
    #[must_use]
    pub fn last_until(&self, at: UnixMs) -> Option<UnixMs> {
        let from = self.clock(at)?;
        self.pattern.find_previous_occurrence(&from, true).ok().map(|clock| clock.unix())
    }

    /// In words, in English.
    #[must_use]
    pub fn describe(&self) -> String {
        self.pattern.describe()
    }

    /// Whole seconds: matches have no others.
    fn clock(&self, at: UnixMs) -> Option<Clock> {
        let at = Timestamp::from_second(at.0.div_euclid(1_000)).ok()?;
        Some(Clock(at.to_zoned_datetime(self.zone.clone())))
    }
}

/// croner's errors begin with its own names for things.
fn plain(text: &str) -> String {
    let text = text.split_once(": ").map_or(text, |(_, rest)| rest);
    text.trim_end_matches('.').to_owned()
}

/// A moment as a zone's clocks show it.
#[derive(Clone, Debug)]
struct Clock(ZonedDateTime);

impl Clock {
    fn unix(&self) -> UnixMs {
        UnixMs(self.0.timestamp().as_second().saturating_mul(1_000))
    }
}

fn civil(at: CivilDateTime) -> Result<jiff::civil::DateTime, CronError> {
    // jiff counts to the year 9999, croner searches to 5000.
    let year = i16::try_from(at.year()).map_err(|_| CronError::InvalidDate)?;
    let part = |value: u32| i8::try_from(value).map_err(|_| CronError::InvalidDate);
    jiff::civil::DateTime::new(
        year,
        part(at.month())?,
        part(at.day())?,
        part(at.hour())?,
        part(at.minute())?,
        part(at.second())?,
        0,
    )
    .map_err(|_| CronError::InvalidDate)
}

impl CronDateTime for Clock {
    fn to_civil(&self) -> CivilDateTime {
        let at = self.0.datetime();
        let part = |value: i8| u32::from(value.unsigned_abs());
        CivilDateTime::from_ymd_hms_opt(
            i32::from(at.year()),
            part(at.month()),
            part(at.day()),
            part(at.hour()),
            part(at.minute()),
            part(at.second()),
        )
        .expect("jiff's dates are dates")
    }

    fn civil_weekday(&self) -> Weekday {
        match self.0.weekday() {
            jiff::civil::Weekday::Sunday => Weekday::Sunday,
            jiff::civil::Weekday::Monday => Weekday::Monday,
            jiff::civil::Weekday::Tuesday => Weekday::Tuesday,
            jiff::civil::Weekday::Wednesday => Weekday::Wednesday,
            jiff::civil::Weekday::Thursday => Weekday::Thursday,
            jiff::civil::Weekday::Friday => Weekday::Friday,
            jiff::civil::Weekday::Saturday => Weekday::Saturday,
        }
    }

    fn resolve_civil(&self, at: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        let ambiguous = self.0.time_zone().to_ambiguous_zoned_datetime(civil(at)?);
        let invalid = |_| CronError::InvalidTime;
        Ok(match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } => {
                Resolution::Single(Self(ambiguous.unambiguous().map_err(invalid)?))
            }
            AmbiguousOffset::Fold { .. } => Resolution::Ambiguous(
                Self(ambiguous.clone().earlier().map_err(invalid)?),
                Self(ambiguous.later().map_err(invalid)?),
            ),
            AmbiguousOffset::Gap { .. } => Resolution::Gap,
        })
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        self.0.checked_add(SignedDuration::from_secs(seconds)).ok().map(Self)
    }

    fn cmp_instant(&self, other: &Self) -> std::cmp::Ordering {
        self.0.timestamp().cmp(&other.0.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The next `count` matches after `from`, as that zone's clocks show them.
    fn matches(pattern: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
        let zone = Cron::zone(zone).unwrap();
        let cron = Cron::parse(pattern, zone.clone()).unwrap();
        let from = from.parse::<jiff::civil::DateTime>().unwrap().to_zoned_datetime(zone.clone()).unwrap();
        let mut at = UnixMs(from.timestamp().as_millisecond());
        (0..count)
            .map(|_| {
                at = cron.next_after(at).unwrap();
                let shown = Timestamp::from_millisecond(at.0).unwrap().to_zoned_datetime(zone.clone());
                shown.strftime("%a %F %T%:z").to_string()
            })
            .collect()
    }

    #[test]
    fn five_fields_six_fields_and_names() {
        assert_eq!(matches("30 4 * * *", "UTC", "2026-01-01T00:00:00", 1), ["Thu 2026-01-01 04:30:00+00:00"]);
        assert_eq!(
            matches("*/20 30 4 * * *", "UTC", "2026-01-01T04:30:10", 2),
            ["Thu 2026-01-01 04:30:20+00:00", "Thu 2026-01-01 04:30:40+00:00"]
        );
        assert_eq!(
            matches("0 0 * FEB MON", "UTC", "2026-01-01T00:00:00", 1),
            ["Mon 2026-02-02 00:00:00+00:00"]
        );
        assert_eq!(matches("@daily", "UTC", "2026-01-01T00:00:00", 1), ["Fri 2026-01-02 00:00:00+00:00"]);
    }

    #[test]
    fn last_days_nearest_weekdays_and_nth_weekdays() {
        assert_eq!(matches("0 0 L * *", "UTC", "2028-02-01T00:00:00", 1), ["Tue 2028-02-29 00:00:00+00:00"]);
        // The 15th of August 2026 is a Saturday.
        assert_eq!(
            matches("0 0 15W 8 *", "UTC", "2026-01-01T00:00:00", 1),
            ["Fri 2026-08-14 00:00:00+00:00"]
        );
        assert_eq!(
            matches("0 0 * * FRI#2", "UTC", "2026-01-01T00:00:00", 1),
            ["Fri 2026-01-09 00:00:00+00:00"]
        );
        assert_eq!(
            matches("0 0 * * FRI#L", "UTC", "2026-01-01T00:00:00", 1),
            ["Fri 2026-01-30 00:00:00+00:00"]
        );
    }

    #[test]
    fn a_daily_job_runs_once_on_the_day_that_lacks_its_hour() {
        // On the 29th of March 2026 Berlin's clocks go from 2 to 3.
        assert_eq!(
            matches("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00", 2),
            ["Sun 2026-03-29 03:00:00+02:00", "Mon 2026-03-30 02:30:00+02:00"]
        );
    }

    #[test]
    fn a_daily_job_runs_once_on_the_day_that_has_its_hour_twice() {
        // On the 25th of October 2026 Berlin's clocks go from 3 back to 2.
        assert_eq!(
            matches("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00", 2),
            ["Sun 2026-10-25 02:30:00+02:00", "Mon 2026-10-26 02:30:00+01:00"]
        );
    }

    #[test]
    fn a_job_of_every_half_hour_goes_by_elapsed_time() {
        assert_eq!(
            matches("*/30 * * * *", "Europe/Berlin", "2026-10-25T01:30:00", 5),
            [
                "Sun 2026-10-25 02:00:00+02:00",
                "Sun 2026-10-25 02:30:00+02:00",
                "Sun 2026-10-25 02:00:00+01:00",
                "Sun 2026-10-25 02:30:00+01:00",
                "Sun 2026-10-25 03:00:00+01:00"
            ]
        );
        assert_eq!(
            matches("*/30 * * * *", "Europe/Berlin", "2026-03-29T01:00:00", 2),
            ["Sun 2026-03-29 01:30:00+01:00", "Sun 2026-03-29 03:00:00+02:00"]
        );
    }

    #[test]
    fn backwards_finds_the_same_matches() {
        let cron = Cron::parse("7 */3 * * *", Cron::zone("America/New_York").unwrap()).unwrap();
        let mut at = UnixMs(1_772_000_000_000);
        for _ in 0..2_000 {
            let next = cron.next_after(at).unwrap();
            assert_eq!(cron.last_until(next), Some(next));
            assert_eq!(cron.next_after(next.plus(-1_000)), Some(next));
            at = next;
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused_and_says_why() {
        let refused = |pattern: &str| Cron::parse(pattern, TimeZone::UTC).unwrap_err().to_string();
        assert!(refused("61 * * * *").starts_with("is no cron pattern"));
        assert!(refused("often").starts_with("is no cron pattern"));
        assert_eq!(refused("0 0 30 2 *"), "never comes");
        assert_eq!(Cron::zone("Europe/Berlim").unwrap_err(), CronProblem::Zone);
    }
}
