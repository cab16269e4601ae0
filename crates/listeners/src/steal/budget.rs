//! How often the rule may wake the daemon up.

use skep_core::{Now, Span};

/// One wake-up for each of these spans, on average: 200 a second.
const EARNED_EVERY: Span = Span(5_000_000);
/// Most wake-ups saved up while it was quiet: at 100 connections a second each may still be looked at.
const SAVED_MAX: u64 = 40;

/// A token bucket. A sample costs one; being early is possible, on credit of what was saved.
#[derive(Debug, Clone, Default)]
pub(super) struct Budget {
    /// The time at which the bucket would be empty: now less what was saved.
    empty_at: Option<Now>,
}

// === impl Budget ===

impl Budget {
    /// Takes note of a wake-up.
    pub(super) fn spend(&mut self, now: Now) {
        let fullest = Now(now.0.saturating_sub(EARNED_EVERY.0 * SAVED_MAX));
        let before = self.empty_at.map_or(fullest, |at| at.max(fullest));
        self.empty_at = Some(before + EARNED_EVERY);
    }

    /// How many wake-ups are saved up.
    pub(super) fn saved(&self, now: Now) -> u64 {
        self.empty_at.map_or(SAVED_MAX, |at| (now.since(at).0 / EARNED_EVERY.0).min(SAVED_MAX))
    }

    /// The earliest time not before `wish` that is paid for.
    pub(super) fn at(&self, wish: Now) -> Now {
        self.empty_at.map_or(wish, |at| wish.max(at + EARNED_EVERY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_wishes_a_second_become_two_hundred_wake_ups() {
        let mut budget = Budget::default();
        let mut now = Now(10_000_000_000);
        let end = now + Span::from_secs(1);
        let mut woken = 0;
        while now < end {
            budget.spend(now);
            woken += 1;
            now = budget.at(now + Span::from_millis(1));
        }
        assert!((200..=200 + SAVED_MAX + 1).contains(&woken), "{woken}");
    }

    #[test]
    fn quiet_time_is_saved_up_but_not_for_ever() {
        let mut budget = Budget::default();
        budget.spend(Now(0));
        assert_eq!(budget.saved(Now(3_600_000_000_000)), SAVED_MAX);
    }
}
