//! When a worker that uses too much memory is replaced: `max_memory_restart`.
//!
//! A worker that stays above its limit is replaced, its successor first. A limit below what the program needs at all
//! would make that an endless loop; so a worker that was above it soon after its start makes the next one wait longer,
//! and the first time that happens it is told. Pure: measurements and the time go in, a verdict comes out.

use crate::{Now, Span, WorkerId};

/// So many measurements in a row above the limit count; one alone may be garbage that is about to be collected.
const SAMPLES_IN_A_ROW: u32 = 2;
/// A worker above its limit sooner than this after its start had no time to leak: the limit is too low for it.
const EARLY: Span = Span::from_secs(60);
/// How old a worker must become before it is replaced after the first early one; twice as old after each next one.
const WAIT_FIRST: Span = Span::from_secs(30);
/// The longest such wait.
const WAIT_MAX: Span = Span::from_secs(3600);
/// A worker that stayed below for so long shows that the limit is right: waits begin anew.
const LONG: Span = Span::from_secs(600);

/// One slot's measurements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryWatch {
    worker: Option<WorkerId>,
    /// Measurements in a row above the limit.
    above: u32,
    /// When this worker was first found above the limit for good.
    crossed: Option<Now>,
    /// When its replacement was last asked for.
    asked: Option<Now>,
    /// Early workers in a row, this one included.
    early: u32,
    told: bool,
}

/// One measurement of a ready worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemorySample {
    /// Of whom.
    pub worker: WorkerId,
    /// When its process began.
    pub started: Now,
    /// What it uses.
    pub bytes: u64,
    /// What it may use.
    pub limit: u64,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryVerdict {
    /// Nothing.
    Fine,
    /// Replace it now.
    Replace,
    /// It is above its limit so soon after its start that the limit looks too low; it is replaced at that age at the
    /// earliest. Said once a worker.
    TooLow {
        /// How old it will be then.
        wait: Span,
    },
}

// === impl MemoryWatch ===

impl MemoryWatch {
    /// Judges a measurement.
    pub fn judge(&mut self, now: Now, sample: MemorySample) -> MemoryVerdict {
        if self.worker != Some(sample.worker) {
            self.welcome(sample.worker);
        }
        let age = now.since(sample.started);
        if sample.bytes <= sample.limit {
            self.above = 0;
            if self.crossed.is_none() && age >= LONG {
                self.early = 0;
            }
            return MemoryVerdict::Fine;
        }
        self.above += 1;
        if self.above < SAMPLES_IN_A_ROW {
            return MemoryVerdict::Fine;
        }
        if self.crossed.is_none() {
            self.crossed = Some(now);
            self.early = if age < EARLY {
                self.early + 1
            } else if age >= LONG {
                0
            } else {
                self.early
            };
        }
        let wait = self.wait();
        // What was asked for may have failed: the successor did not become ready. Not again at once.
        let since_asked = self.asked.map_or(Span(u64::MAX), |asked| now.since(asked));
        if age >= wait && since_asked >= wait.max(WAIT_FIRST) {
            self.asked = Some(now);
            return MemoryVerdict::Replace;
        }
        if age < wait && !self.told {
            self.told = true;
            return MemoryVerdict::TooLow { wait };
        }
        MemoryVerdict::Fine
    }

    fn welcome(&mut self, worker: WorkerId) {
        *self = Self { worker: Some(worker), early: self.early, ..Self::default() };
    }

    /// The first early worker is replaced at once: it may have had a bad start.
    fn wait(&self) -> Span {
        match self.early {
            0 | 1 => Span::ZERO,
            more => {
                let doublings = (more - 2).min(20);
                Span(WAIT_FIRST.0.saturating_mul(1 << doublings)).min(WAIT_MAX)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 100;

    /// Verdicts of a worker that began at `from`, measured each second of its life up to `seconds`.
    fn life(
        watch: &mut MemoryWatch,
        worker: u32,
        from: u64,
        seconds: u64,
        bytes: impl Fn(u64) -> u64,
    ) -> Vec<(u64, MemoryVerdict)> {
        let started = Now(Span::from_secs(from).0);
        (1..=seconds)
            .map(|age| {
                let sample =
                    MemorySample { worker: WorkerId(worker), started, bytes: bytes(age), limit: LIMIT };
                (age, watch.judge(Now(Span::from_secs(from + age).0), sample))
            })
            .filter(|(_, verdict)| *verdict != MemoryVerdict::Fine)
            .collect()
    }

    #[test]
    fn a_worker_that_leaks_is_replaced_two_seconds_after_it_went_above_its_limit() {
        let mut watch = MemoryWatch::default();
        let verdicts = life(&mut watch, 1, 0, 121, |age| age);
        assert_eq!(verdicts, [(102, MemoryVerdict::Replace)]);
    }

    #[test]
    fn a_peak_of_one_second_and_the_limit_itself_are_no_reason() {
        let mut watch = MemoryWatch::default();
        let peaks = |age: u64| if age.is_multiple_of(5) { 500 } else { LIMIT };
        assert_eq!(life(&mut watch, 1, 0, 300, peaks), []);
    }

    #[test]
    fn a_limit_below_what_the_program_needs_makes_no_loop_and_is_told() {
        let mut watch = MemoryWatch::default();
        assert_eq!(life(&mut watch, 1, 0, 2, |_| 200), [(2, MemoryVerdict::Replace)]);
        let wait = Span::from_secs(30);
        assert_eq!(
            life(&mut watch, 2, 10, 30, |_| 200),
            [(2, MemoryVerdict::TooLow { wait }), (30, MemoryVerdict::Replace)]
        );
        let wait = Span::from_secs(60);
        assert_eq!(
            life(&mut watch, 3, 50, 60, |_| 200),
            [(2, MemoryVerdict::TooLow { wait }), (60, MemoryVerdict::Replace)]
        );
        for worker in 4..40 {
            life(&mut watch, worker, 1000, 2, |_| 200);
        }
        let told = life(&mut watch, 50, 1000, 2, |_| 200);
        assert_eq!(told, [(2, MemoryVerdict::TooLow { wait: WAIT_MAX })]);
    }

    #[test]
    fn a_long_life_below_the_limit_forgives() {
        let mut watch = MemoryWatch::default();
        for worker in 1..5 {
            life(&mut watch, worker, 0, 2, |_| 200);
        }
        assert_eq!(life(&mut watch, 9, 0, 700, |age| age / 7), []);
        assert_eq!(life(&mut watch, 10, 1000, 2, |_| 200), [(2, MemoryVerdict::Replace)]);
    }

    #[test]
    fn a_replacement_that_failed_is_asked_for_again_after_a_while() {
        let mut watch = MemoryWatch::default();
        let verdicts = life(&mut watch, 1, 0, 180, |age| if age < 100 { 0 } else { 200 });
        let replace = MemoryVerdict::Replace;
        assert_eq!(verdicts, [(101, replace), (131, replace), (161, replace)]);
    }
}
