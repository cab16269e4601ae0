//! Which moments a cron pattern names, in a time zone of this machine.

use std::cmp::Ordering;

use croner::errors::CronError;
use croner::time::{CivilDate, CivilDateTime, CivilTime, CronDateTime, Resolution, Weekday};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ZonedDateTime};
use skep_spec::{AppSpec, Cron, SpecError, Zone};

/// The first time after `after` (both in milliseconds since 1970) that the pattern names in this time zone. A time that the
/// clocks skip in spring is made up for when they have; one that comes twice in autumn counts once, unless the pattern
/// recurs all day long anyway.
pub(crate) fn next_after(cron: &Cron, after_unix_ms: i64, zone: &TimeZone) -> Option<i64> {
    let after = ZonedDateTime::new(Timestamp::from_millisecond(after_unix_ms).ok()?, zone.clone());
    let next = cron.pattern().ok()?.find_next_occurrence(&Moment(after), false).ok()?;
    Some(next.0.timestamp().as_millisecond())
}

/// The zone itself, out of the machine's time zone database.
///
/// # Errors
/// Names `field`, the zone and the remedy.
pub(crate) fn find_zone(zone: &Zone, field: &'static str) -> Result<TimeZone, SpecError> {
    TimeZone::get(zone.as_str()).map_err(|_| {
        SpecError::field(
            field,
            zone.as_str(),
            "is no time zone of this machine",
            "write a name such as Europe/Berlin or UTC, and see that the package tzdata is installed",
        )
    })
}

/// What [`AppSpec::validate`] cannot know: whether the pattern ever comes to pass, and whether there is such a zone.
///
/// # Errors
/// Names the field, the value and the remedy.
pub(crate) fn check(spec: &AppSpec) -> Result<(), SpecError> {
    if let Some(zone) = &spec.cron_timezone {
        find_zone(zone, "cron_timezone")?;
    }
    match &spec.cron_restart {
        Some(cron) if next_after(cron, 0, &TimeZone::UTC).is_none() => {
            Err(cron.refuse("cron_restart", "never comes to pass"))
        }
        Some(_) | None => Ok(()),
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
        let found = next_after(&pattern.parse().expect("a pattern"), ms(after), &zone);
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
    fn what_never_comes_and_a_zone_that_is_not_here_are_refused() {
        let spec =
            AppSpec { cron_restart: Some("0 0 30 2 *".parse().expect("a pattern")), ..AppSpec::default() };
        assert!(check(&spec).expect_err("no 30 February").to_string().contains("never comes"));
        let zone = Some("Mars/Olympus".parse().expect("a text"));
        let error = check(&AppSpec { cron_timezone: zone, ..AppSpec::default() }).expect_err("not here");
        assert!(error.to_string().contains("Mars/Olympus") && error.remedy().contains("tzdata"));
    }
}
