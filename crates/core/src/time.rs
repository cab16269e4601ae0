//! Time as an input: nanoseconds that somebody else read from a clock.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Add;

/// A moment in nanoseconds on the driver's clock (`CLOCK_BOOTTIME` at the edge; any start in a test).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Now(pub u64);

/// A length of time in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(pub u64);

// === impl Now ===

impl Now {
    /// The time from `earlier` to `self`; zero when `earlier` is later, so that a clock that steps back
    /// shortens an uptime instead of inventing centuries.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Span> for Now {
    type Output = Self;

    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

// === impl Span ===

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// `ms` milliseconds.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms.saturating_mul(1_000_000))
    }

    /// `secs` seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// Whole milliseconds, rounded down.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }
}

/// Prints as people say it: `250 ms`, `1.6 s`, `15 s`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.as_millis();
        match (ms / 1000, ms % 1000) {
            (0, ms) => write!(f, "{ms} ms"),
            (s, 0) => write!(f, "{s} s"),
            (s, ms) => write!(f, "{s}.{} s", format!("{ms:03}").trim_end_matches('0')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_reads_as_people_say_it() {
        assert_eq!(Span::from_millis(250).to_string(), "250 ms");
        assert_eq!(Span::from_millis(1600).to_string(), "1.6 s");
        assert_eq!(Span::from_millis(1005).to_string(), "1.005 s");
        assert_eq!(Span::from_secs(15).to_string(), "15 s");
    }

    #[test]
    fn a_clock_that_steps_back_yields_no_time_rather_than_centuries() {
        assert_eq!(Now(5).since(Now(9)), Span::ZERO);
        assert_eq!(Now(u64::MAX) + Span(1), Now(u64::MAX));
    }
}
