//! When the daemon is started again.

/// A daemon that lived at least this long did not die of its start, in nanoseconds.
const SOON_NS: u64 = 1_000_000_000;

/// The first delay that is not zero, in milliseconds.
const DELAY_MS_FIRST: u64 = 20;

/// The longest delay in milliseconds: a daemon that cannot start (a full disk) comes back this soon when it can.
const DELAY_MS_MAX: u64 = 2_000;

/// Enough doublings to reach the longest delay, too few to overflow.
const DOUBLINGS_MAX: u32 = 16;

/// How often the daemon died soon after its start, in a row.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    pub(crate) soon_deaths: u32,
}

impl Backoff {
    /// The daemon that was started at `started_ns` has ended now; returns when to start the next one.
    pub(crate) fn next_start_ns(&mut self, started_ns: u64, now_ns: u64) -> u64 {
        if now_ns.saturating_sub(started_ns) >= SOON_NS {
            self.soon_deaths = 0;
        } else {
            self.soon_deaths = self.soon_deaths.saturating_add(1);
        }
        now_ns.saturating_add(self.delay_ms().saturating_mul(1_000_000))
    }

    /// 0 after a long life or the first early death, then 20, 40, … up to the longest.
    fn delay_ms(self) -> u64 {
        match self.soon_deaths {
            0 | 1 => 0,
            more => (DELAY_MS_FIRST << (more - 2).min(DOUBLINGS_MAX)).min(DELAY_MS_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_death_costs_no_time_and_a_series_costs_ever_more_up_to_a_limit() {
        let mut backoff = Backoff::default();
        let delays: Vec<_> =
            (0..100).map(|_| backoff.next_start_ns(0, 10) - 10).map(|ns| ns / 1_000_000).collect();
        assert_eq!(delays[..9], [0, 20, 40, 80, 160, 320, 640, 1280, 2000]);
        assert!(delays[9..].iter().all(|delay| *delay == 2000));
    }

    #[test]
    fn a_long_life_forgives() {
        let mut backoff = Backoff { soon_deaths: 200 };
        assert_eq!(backoff.next_start_ns(0, 1), 1 + DELAY_MS_MAX * 1_000_000);
        assert_eq!(backoff.next_start_ns(0, SOON_NS), SOON_NS);
        assert_eq!(backoff.soon_deaths, 0);
    }
}
