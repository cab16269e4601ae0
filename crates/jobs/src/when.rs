//! When a job fires: by a cron pattern, at fixed intervals, or once.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::cron::{Cron, CronProblem};
use crate::time::UnixMs;

/// The shortest interval, and the grain of all fire times: each costs a write to the disk before it starts.
pub const EVERY_MIN_MS: u64 = 1_000;

/// When, as it was written; plain data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenText {
    /// A cron pattern.
    Cron {
        /// Five or six fields.
        pattern: String,
        /// A name of the IANA database; none: the machine's zone.
        zone: Option<String>,
    },
    /// At every whole multiple of so many milliseconds since 1970: every host and every restart agrees on them.
    Every {
        /// Whole seconds.
        ms: u64,
    },
    /// Once, at this moment.
    At {
        /// An RFC 3339 date and time; without an offset in `zone`.
        time: String,
        /// As with cron.
        zone: Option<String>,
    },
}

/// When, ready to be asked.
#[derive(Clone, Debug)]
pub enum When {
    /// A cron pattern in its zone.
    Cron(Box<Cron>),
    /// Every so many milliseconds.
    Every(i64),
    /// Once.
    At(UnixMs),
}

/// What is wrong with a time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {value:?} {problem}")]
pub struct WhenProblem {
    /// `cron`, `timezone`, `every` or `at`.
    pub field: &'static str,
    /// What was written.
    pub value: String,
    /// As the end of a sentence.
    pub problem: String,
    /// What to write instead.
    pub remedy: &'static str,
}

impl WhenText {
    /// Makes it ready. `local` is the machine's zone.
    ///
    /// # Errors
    /// When it says nothing that can be scheduled.
    pub fn compile(&self, local: &TimeZone) -> Result<When, WhenProblem> {
        match self {
            Self::Cron { pattern, zone } => {
                let zone = zone_or(zone.as_deref(), local)?;
                let cron = Cron::parse(pattern, zone).map_err(|problem: CronProblem| WhenProblem {
                    field: "cron",
                    value: pattern.clone(),
                    problem: problem.to_string(),
                    remedy: "write five fields (minute hour day month weekday), or six with seconds in front: \
                             \"30 4 * * MON-FRI\"",
                })?;
                Ok(When::Cron(Box::new(cron)))
            }
            Self::Every { ms } if *ms >= EVERY_MIN_MS && ms.is_multiple_of(1_000) => {
                Ok(When::Every(i64::try_from(*ms).unwrap_or(i64::MAX)))
            }
            Self::Every { ms } => Err(WhenProblem {
                field: "every",
                value: format!("{ms} ms"),
                problem: "is no interval of whole seconds".to_owned(),
                remedy: "write at least 1s: \"90s\", \"5m\", \"1h\"",
            }),
            Self::At { time, zone } => at(time, zone_or(zone.as_deref(), local)?),
        }
    }
}

fn zone_or(name: Option<&str>, local: &TimeZone) -> Result<TimeZone, WhenProblem> {
    let Some(name) = name else { return Ok(local.clone()) };
    Cron::zone(name).map_err(|problem| WhenProblem {
        field: "timezone",
        value: name.to_owned(),
        problem: problem.to_string(),
        remedy: "write a name like Europe/Berlin or UTC; the package tzdata has them",
    })
}

fn at(time: &str, zone: TimeZone) -> Result<When, WhenProblem> {
    let exact = time.parse::<Timestamp>().ok();
    let found = exact.or_else(|| {
        let civil = time.parse::<jiff::civil::DateTime>().ok()?;
        Some(civil.to_zoned_datetime(zone).ok()?.timestamp())
    });
    found.map(|at| When::At(UnixMs(at.as_second().saturating_mul(1_000)))).ok_or_else(|| WhenProblem {
        field: "at",
        value: time.to_owned(),
        problem: "is no date and time".to_owned(),
        remedy: "write 2026-12-31T23:59:00, with an offset (+01:00, Z) or in `timezone`",
    })
}

impl When {
    /// The first fire time later than this.
    #[must_use]
    pub fn next_after(&self, after: UnixMs) -> Option<UnixMs> {
        match self {
            Self::Cron(cron) => cron.next_after(after),
            Self::Every(ms) => {
                after.0.div_euclid(*ms).checked_add(1).and_then(|n| n.checked_mul(*ms)).map(UnixMs)
            }
            Self::At(at) => (*at > after).then_some(*at),
        }
    }

    /// The last fire time at this moment or before.
    #[must_use]
    pub fn last_until(&self, until: UnixMs) -> Option<UnixMs> {
        match self {
            Self::Cron(cron) => cron.last_until(until),
            Self::Every(ms) => Some(UnixMs(until.0.div_euclid(*ms) * ms)),
            Self::At(at) => (*at <= until).then_some(*at),
        }
    }

    /// It comes only once.
    #[must_use]
    pub fn is_once(&self) -> bool {
        matches!(self, Self::At(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_multiples_since_1970_whoever_counts_them() {
        let when = WhenText::Every { ms: 90_000 }.compile(&TimeZone::UTC).unwrap();
        assert_eq!(when.next_after(UnixMs(0)), Some(UnixMs(90_000)));
        assert_eq!(when.next_after(UnixMs(89_999)), Some(UnixMs(90_000)));
        assert_eq!(when.last_until(UnixMs(179_999)), Some(UnixMs(90_000)));
        assert_eq!(when.next_after(UnixMs(-1)), Some(UnixMs(0)));
    }

    #[test]
    fn once_is_once_and_the_zone_counts() {
        let berlin = Some("Europe/Berlin".to_owned());
        let when = WhenText::At { time: "2026-07-01T12:00:00".into(), zone: berlin }.compile(&TimeZone::UTC);
        let when = when.unwrap();
        let noon = "2026-07-01T10:00:00Z".parse::<Timestamp>().unwrap().as_millisecond();
        assert_eq!(when.next_after(UnixMs(0)), Some(UnixMs(noon)));
        assert_eq!(when.next_after(UnixMs(noon)), None);
        assert_eq!(when.last_until(UnixMs(noon)), Some(UnixMs(noon)));
    }

    #[test]
    fn what_is_no_time_is_refused_with_a_remedy() {
        let refused = |text: WhenText| text.compile(&TimeZone::UTC).unwrap_err();
        assert_eq!(refused(WhenText::Every { ms: 500 }).field, "every");
        assert_eq!(refused(WhenText::Every { ms: 1_500 }).field, "every");
        assert_eq!(refused(WhenText::At { time: "tomorrow".into(), zone: None }).field, "at");
        let zone = Some("Mars/Phobos".to_owned());
        assert_eq!(refused(WhenText::Cron { pattern: "* * * * *".into(), zone }).field, "timezone");
    }
}
