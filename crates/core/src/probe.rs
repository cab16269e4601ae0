//! Probes: the same question asked of one worker again and again, and what a row of answers means.
//!
//! How a question is put (HTTP, a connection, a command) is not known here. Each worker is asked for itself; an answer
//! that belongs to an earlier question does not count.

use crate::{Now, Span};
use serde::{Deserialize, Serialize};

/// As long as a worker is not ready yet it is asked more often than its `interval`: a reload waits for the answer.
const HURRY: Span = Span::from_millis(250);

/// An answer that is later than its `timeout` by this much was lost on the way (the edge itself says when a worker was
/// too late): the question is put again, and nothing is concluded.
const LOST: Span = Span::from_secs(5);

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeKind {
    /// Whether it can take new work now.
    Readiness,
    /// Whether it is worth keeping.
    Liveness,
}

/// How often a worker is asked, and what counts. Names and defaults are those of Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Probe {
    /// Not sooner than this after the worker's start. Default none.
    pub initial_delay: Span,
    /// From an answer to the next question. Default 10 s.
    pub interval: Span,
    /// A worker that has not answered after so long has failed this question; the edge keeps that time. Default 1 s.
    pub timeout: Span,
    /// So many failures in a row mean no. Default 3.
    pub failure_threshold: u32,
    /// So many good answers in a row mean yes, again or for the first time. Default 1.
    pub success_threshold: u32,
}

/// Where one worker stands with one probe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Gauge {
    pulse: Pulse,
    asked: u32,
    failures: u32,
    successes: u32,
    pub(crate) verdict: Verdict,
    /// The last good answer.
    well: Option<Now>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Pulse {
    /// It is not time for questions.
    #[default]
    Idle,
    Resting {
        until: Now,
    },
    Asking {
        until: Now,
    },
}

/// What the answers so far mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Verdict {
    #[default]
    Open,
    Good,
    Bad,
}

/// Both probes of one worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Gauges {
    pub(crate) readiness: Gauge,
    pub(crate) liveness: Gauge,
    /// It is not worth keeping, and is kept until then: others before it were no better.
    pub(crate) renew_at: Option<Now>,
}

/// What an answer changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Nothing,
    Passed,
    Failed,
}

// === impl Probe ===

impl Default for Probe {
    fn default() -> Self {
        Self {
            initial_delay: Span::ZERO,
            interval: Span::from_secs(10),
            timeout: Span::from_secs(1),
            failure_threshold: 3,
            success_threshold: 1,
        }
    }
}

// === impl Gauges ===

impl Gauges {
    pub(crate) fn of(&mut self, kind: ProbeKind) -> &mut Gauge {
        match kind {
            ProbeKind::Readiness => &mut self.readiness,
            ProbeKind::Liveness => &mut self.liveness,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Now> {
        let gauges = [&self.readiness, &self.liveness].into_iter();
        gauges.filter_map(Gauge::deadline).chain(self.renew_at).min()
    }
}

// === impl Gauge ===

impl Gauge {
    /// From now on it may be asked. Saying so again changes nothing.
    pub(crate) fn begin(&mut self, now: Now, started: Now, kind: ProbeKind, rule: &Probe) {
        let first = match kind {
            ProbeKind::Readiness => now,
            // It has just shown that it is well. Without this pause a question that is always answered by no would
            // replace worker after worker as fast as they start.
            ProbeKind::Liveness => now + rule.interval,
        };
        if self.pulse == Pulse::Idle {
            self.pulse = Pulse::Resting { until: first.max(started + rule.initial_delay) };
        }
    }

    /// The question under way.
    pub(crate) fn open_question(&self) -> Option<u32> {
        match self.pulse {
            Pulse::Asking { .. } => Some(self.asked),
            Pulse::Idle | Pulse::Resting { .. } => None,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Now> {
        match self.pulse {
            Pulse::Idle => None,
            Pulse::Resting { until } | Pulse::Asking { until } => Some(until),
        }
    }

    /// Its deadline has come: the number of the question to put.
    pub(crate) fn due(&mut self, now: Now, rule: Option<&Probe>) -> Option<u32> {
        let Some(rule) = rule else {
            // The probe was taken away by an update.
            *self = Self { asked: self.asked, ..Self::default() };
            return None;
        };
        self.asked = self.asked.wrapping_add(1);
        self.pulse = Pulse::Asking { until: now + rule.timeout + LOST };
        Some(self.asked)
    }

    /// An answer came. A row of them that is long enough changes the verdict; a bad one that lasts is told each time its
    /// row is full.
    pub(crate) fn answered(&mut self, now: Now, rule: &Probe, question: u32, good: bool) -> Change {
        if self.open_question() != Some(question) {
            return Change::Nothing;
        }
        let change = if good {
            (self.failures, self.well) = (0, Some(now));
            self.successes = self.successes.saturating_add(1);
            let enough = self.successes >= rule.success_threshold && self.verdict != Verdict::Good;
            if enough { Change::Passed } else { Change::Nothing }
        } else {
            self.successes = 0;
            self.failures = self.failures.saturating_add(1);
            if self.failures >= rule.failure_threshold { Change::Failed } else { Change::Nothing }
        };
        match change {
            Change::Nothing => {}
            Change::Passed => self.verdict = Verdict::Good,
            Change::Failed => (self.verdict, self.failures) = (Verdict::Bad, 0),
        }
        self.pulse = Pulse::Resting { until: now + rule.interval };
        change
    }

    /// How long it was well, of all the time since it `started`.
    pub(crate) fn well_for(&self, started: Now) -> Span {
        self.well.map_or(Span::ZERO, |at| at.since(started))
    }

    /// The next question comes soon: somebody waits for the verdict.
    pub(crate) fn hurry(&mut self, now: Now) {
        if let Pulse::Resting { until } = &mut self.pulse {
            *until = (*until).min(now + HURRY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Probe = Probe {
        initial_delay: Span::from_secs(2),
        interval: Span::from_secs(10),
        timeout: Span::from_secs(1),
        failure_threshold: 3,
        success_threshold: 2,
    };

    /// Asks and answers in turn.
    fn told(gauge: &mut Gauge, answers: &[bool]) -> Vec<Change> {
        let mut answer = |good: &bool| {
            let now = gauge.deadline().expect("it was begun");
            let question = gauge.due(now, Some(&RULE)).expect("there is a rule");
            gauge.answered(now, &RULE, question, *good)
        };
        answers.iter().map(&mut answer).collect()
    }

    fn begun() -> Gauge {
        let mut gauge = Gauge::default();
        gauge.begin(Now(0), Now(0), ProbeKind::Readiness, &RULE);
        gauge
    }

    #[test]
    fn only_a_whole_row_counts() {
        use Change::{Failed, Nothing, Passed};
        let mut gauge = begun();
        let answers = [true, false, true, true, true, false, false, true, false, false, false];
        let expected =
            [Nothing, Nothing, Nothing, Passed, Nothing, Nothing, Nothing, Nothing, Nothing, Nothing, Failed];
        assert_eq!(told(&mut gauge, &answers), expected);
        assert_eq!(
            told(&mut gauge, &[false, false, false, true, true]),
            [Nothing, Nothing, Failed, Nothing, Passed]
        );
    }

    #[test]
    fn nothing_is_asked_before_the_initial_delay_and_soon_again_while_somebody_waits() {
        let mut gauge = begun();
        assert_eq!(gauge.deadline(), Some(Now(0) + RULE.initial_delay));
        told(&mut gauge, &[false]);
        let asked = Now(0) + RULE.initial_delay;
        assert_eq!(gauge.deadline(), Some(asked + RULE.interval));
        gauge.hurry(asked);
        assert_eq!(gauge.deadline(), Some(asked + HURRY));
        let mut alive = Gauge::default();
        alive.begin(Now(0), Now(0), ProbeKind::Liveness, &RULE);
        assert_eq!(alive.deadline(), Some(Now(0) + RULE.interval));
    }

    #[test]
    fn an_answer_to_an_earlier_question_does_not_count_and_a_lost_one_is_asked_for_again() {
        let mut gauge = begun();
        let first = gauge.due(Now(0), Some(&RULE)).expect("a question");
        let second = gauge.due(gauge.deadline().expect("it waits"), Some(&RULE)).expect("again");
        assert_ne!(first, second);
        for _ in 0..5 {
            assert_eq!(gauge.answered(Now(0), &RULE, first, false), Change::Nothing);
        }
        assert_eq!(gauge.failures, 0);
        assert_eq!(gauge.open_question(), Some(second));
    }
}
