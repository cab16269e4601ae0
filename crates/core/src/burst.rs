//! Many changes that belong together, taken as one: a checkout of a thousand files, an editor that writes a file three
//! times.

use crate::{Now, Span};

/// A burst that does not end (a build that writes for minutes) counts so long after its first change all the same.
const LONGEST: Span = Span::from_secs(10);

/// Changes since the last time that they were taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Burst(Option<(Now, Now)>);

// === impl Burst ===

impl Burst {
    /// Something changed.
    pub fn touch(&mut self, now: Now) {
        let first = self.0.map_or(now, |(first, _)| first);
        self.0 = Some((first, now));
    }

    /// When it counts: after `quiet` without a change.
    #[must_use]
    pub fn due(&self, quiet: Span) -> Option<Now> {
        let (first, last) = self.0?;
        Some((last + quiet).min(first + LONGEST.max(quiet)))
    }

    /// Takes it if it counts by now.
    pub fn take(&mut self, now: Now, quiet: Span) -> bool {
        let counts = self.due(quiet).is_some_and(|due| due <= now);
        if counts {
            self.0 = None;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Span = Span::from_millis(200);

    fn at(ms: u64) -> Now {
        Now(Span::from_millis(ms).0)
    }

    #[test]
    fn a_thousand_changes_count_once_when_they_have_ended() {
        let mut burst = Burst::default();
        for ms in 0..1000 {
            burst.touch(at(ms));
            assert!(!burst.take(at(ms), QUIET));
        }
        assert_eq!(burst.due(QUIET), Some(at(1199)));
        assert!(!burst.take(at(1198), QUIET));
        assert!(burst.take(at(1199), QUIET));
        assert!(!burst.take(at(5000), QUIET), "taken once");
    }

    #[test]
    fn changes_that_never_end_count_after_ten_seconds() {
        let mut burst = Burst::default();
        let taken = (0..15_000).step_by(100).filter(|ms| {
            burst.touch(at(*ms));
            burst.take(at(*ms), QUIET)
        });
        assert_eq!(taken.collect::<Vec<_>>(), [10_000]);
    }

    #[test]
    fn a_long_quiet_time_is_kept_and_no_quiet_time_counts_at_once() {
        let mut burst = Burst::default();
        burst.touch(at(0));
        assert_eq!(burst.due(Span::from_secs(60)), Some(at(60_000)));
        assert!(burst.take(at(0), Span::ZERO));
    }
}
