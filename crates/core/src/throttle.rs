//! The fleet's common allowance of automatic restarts: a crash loop over many apps cannot eat the machine.

use crate::{Now, Span};
use serde::{Deserialize, Serialize};

/// So many restarts may happen at once: all workers of a well-filled machine when their database falls over, so that
/// an ordinary disaster is repaired without any wait.
pub(crate) const RESTARTS_BURST: u64 = 100;

/// After a burst, one restart each so often. 20 a second: starting Node costs some 40 ms of CPU, so crash loops take
/// less than one core however many apps are in one.
pub(crate) const RESTARTS_PAUSE: Span = Span::from_millis(50);

/// The generic cell rate algorithm: one number remembers the whole allowance. A restart over it is delayed and
/// holds its own place in the queue; none is lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Throttle {
    /// When the allowance is whole again.
    whole_at: Now,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { whole_at: Now(0) }
    }
}

impl Throttle {
    /// Takes one restart from the allowance and says how long it has to wait.
    pub(crate) fn take(&mut self, now: Now) -> Span {
        let whole_at = self.whole_at.max(now);
        self.whole_at = whole_at + RESTARTS_PAUSE;
        Span(whole_at.since(now).0.saturating_sub(RESTARTS_PAUSE.0 * (RESTARTS_BURST - 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_the_rest_follows_one_by_one() {
        let mut throttle = Throttle::default();
        let now = Now(1_000_000_000_000);
        let waits: Vec<_> = (0..RESTARTS_BURST + 3).map(|_| throttle.take(now)).collect();
        let (burst, rest) = waits.split_at(RESTARTS_BURST as usize);
        assert!(burst.iter().all(|wait| *wait == Span::ZERO));
        assert_eq!(rest.iter().map(|wait| wait.as_millis()).collect::<Vec<_>>(), [50, 100, 150]);
    }

    #[test]
    fn the_allowance_grows_back() {
        let mut throttle = Throttle::default();
        let now = Now(1_000_000_000_000);
        for _ in 0..2 * RESTARTS_BURST {
            let _ = throttle.take(now);
        }
        assert_ne!(throttle.take(now + Span::from_secs(1)), Span::ZERO);
        assert_eq!(throttle.take(now + Span::from_secs(60)), Span::ZERO);
    }
}
