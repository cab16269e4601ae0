//! What follows when a worker ends by itself: again now, again later, or no more.

use crate::turn::Turn;
use crate::{Backoff, ExitStatus, Policy, Span};
use serde::{Deserialize, Serialize};

/// The least wait after a spawn that failed: what made it fail (no memory, no such file during a deployment) seldom
/// passes within microseconds.
const SPAWN_FAILED_PAUSE: Span = Span::from_millis(500);

/// How a worker ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Its process did.
    Exit(ExitStatus),
    /// There never was one.
    NoSpawn(String),
}

/// What a slot remembers of its workers' misfortunes. A command forgets it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct History {
    /// Exits in a row before `min_uptime`.
    pub(crate) unstable: u32,
    /// The last wait of the backoff, before jitter.
    pub(crate) backoff: Span,
}

/// What to do with the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Again(Span),
    GiveUp,
    /// The program did what it had to do.
    Finished,
}

impl History {
    /// Judges an end that nobody asked for, after `uptime`.
    pub(crate) fn judge(&mut self, turn: &mut Turn<'_>, policy: &Policy, end: &End, uptime: Span) -> Verdict {
        match end {
            End::Exit(status) if policy.finished_by(*status) => return Verdict::Finished,
            End::NoSpawn(_) if !policy.autorestart => return Verdict::GiveUp,
            End::Exit(_) | End::NoSpawn(_) => {}
        }
        if uptime < policy.min_uptime || matches!(end, End::NoSpawn(_)) {
            self.unstable = self.unstable.saturating_add(1);
            if self.unstable >= policy.max_restarts {
                return Verdict::GiveUp;
            }
        } else {
            self.unstable = 0;
        }
        let pause = match end {
            End::Exit(_) => Span::ZERO,
            End::NoSpawn(_) => SPAWN_FAILED_PAUSE,
        };
        let backoff = policy.backoff.map_or(Span::ZERO, |backoff| self.back_off(turn, &backoff, uptime));
        let own = policy.restart_delay.max(backoff).max(pause);
        Verdict::Again(own.max(turn.shared.throttle.take(turn.now)))
    }

    fn back_off(&mut self, turn: &mut Turn<'_>, backoff: &Backoff, uptime: Span) -> Span {
        if uptime >= backoff.reset_after {
            self.backoff = Span::ZERO;
        }
        self.backoff = if self.backoff == Span::ZERO {
            backoff.initial.min(backoff.max)
        } else {
            percent(self.backoff, backoff.factor_percent).min(backoff.max)
        };
        let jitter = percent(self.backoff, backoff.jitter_percent.min(100));
        Span(self.backoff.0 - turn.shared.chance.up_to(jitter).0)
    }
}

// === impl Policy ===

impl Policy {
    /// The program's own wish to stop.
    pub(crate) fn stops_with(&self, status: ExitStatus) -> bool {
        match status {
            ExitStatus::Code(code) => self.stop_exit_codes.contains(&code),
            ExitStatus::Signal(_) | ExitStatus::Unknown => false,
        }
    }

    /// A program that ended like this, unasked, is not restarted.
    pub(crate) fn finished_by(&self, status: ExitStatus) -> bool {
        !self.autorestart || self.stops_with(status)
    }
}

fn percent(span: Span, percent: u32) -> Span {
    Span(span.0.saturating_mul(u64::from(percent)) / 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::Shared;
    use crate::{Effects, Now};

    const CRASH: End = End::Exit(ExitStatus::Code(1));

    fn verdicts(policy: &Policy, ends: &[(End, Span)]) -> Vec<Verdict> {
        let mut fx = Effects::new();
        let mut turn = Turn::new(Now(0), &mut fx, Shared::default());
        let mut history = History::default();
        ends.iter().map(|(end, uptime)| history.judge(&mut turn, policy, end, *uptime)).collect()
    }

    #[test]
    fn the_sixteenth_exit_in_a_row_before_min_uptime_is_the_last() {
        let told = verdicts(&Policy::default(), &vec![(CRASH, Span::from_millis(999)); 16]);
        assert!(told[..15].iter().all(|verdict| *verdict == Verdict::Again(Span::ZERO)));
        assert_eq!(told[15], Verdict::GiveUp);
    }

    #[test]
    fn an_exit_after_min_uptime_begins_the_count_anew() {
        let mut ends = vec![(CRASH, Span::ZERO); 15];
        ends.push((CRASH, Span::from_millis(1000)));
        ends.extend(vec![(CRASH, Span::ZERO); 15]);
        assert!(verdicts(&Policy::default(), &ends).iter().all(|verdict| *verdict != Verdict::GiveUp));
    }

    #[test]
    fn a_program_that_ends_as_it_may_is_not_restarted() {
        let once = Policy { autorestart: false, ..Policy::default() };
        assert_eq!(verdicts(&once, &[(CRASH, Span::ZERO)]), [Verdict::Finished]);
        let code = Policy { stop_exit_codes: vec![1], ..Policy::default() };
        assert_eq!(verdicts(&code, &[(CRASH, Span::ZERO)]), [Verdict::Finished]);
        let signal = (End::Exit(ExitStatus::Signal(1)), Span::from_secs(5));
        assert_eq!(verdicts(&code, &[signal]), [Verdict::Again(Span::ZERO)]);
    }

    #[test]
    fn waits_grow_by_half_up_to_fifteen_seconds_less_some_jitter_and_begin_anew_after_a_long_uptime() {
        let policy = Policy { backoff: Some(Backoff::default()), max_restarts: 100, ..Policy::default() };
        let mut ends = vec![(CRASH, Span::ZERO); 20];
        ends.push((CRASH, Span::from_secs(30)));
        let mut expected = 100.0;
        let told = verdicts(&policy, &ends);
        for verdict in &told[..20] {
            let Verdict::Again(wait) = verdict else { panic!("restarts are never lost: {verdict:?}") };
            let ms = wait.as_millis() as f64;
            assert!(ms <= expected && ms >= expected * 0.9 - 2.0, "{ms} of {expected}");
            expected = f64::min(expected * 1.5, 15_000.0);
        }
        assert!(matches!(told[20], Verdict::Again(wait) if wait <= Span::from_millis(100)));
    }

    #[test]
    fn the_longer_of_restart_delay_and_backoff_counts() {
        let policy = Policy {
            backoff: Some(Backoff::default()),
            restart_delay: Span::from_secs(2),
            ..Policy::default()
        };
        assert_eq!(verdicts(&policy, &[(CRASH, Span::ZERO)]), [Verdict::Again(Span::from_secs(2))]);
    }

    #[test]
    fn a_spawn_that_failed_waits_a_little_and_counts_as_unstable() {
        let failed = (End::NoSpawn("ENOENT".into()), Span::ZERO);
        let policy = Policy { max_restarts: 2, ..Policy::default() };
        let told = verdicts(&policy, &[failed.clone(), failed]);
        assert_eq!(told, [Verdict::Again(SPAWN_FAILED_PAUSE), Verdict::GiveUp]);
    }
}
