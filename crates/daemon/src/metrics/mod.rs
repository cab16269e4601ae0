//! Figures of workers and of skep itself, gathered when somebody asks and not otherwise.
//!
//! Node.js workers are asked over their channels what their event loop, heap and HTTP servers do; nothing is sent
//! unasked, so a fleet that nobody looks at does not wake up for it.

mod collect;
mod exposition;
mod jobs;
pub(crate) mod listen;
mod shared;
pub(crate) mod token;
mod view;

use std::rc::Rc;
use std::time::Duration;

use skep_core::{Now, Span, WorkerId};
use skep_node_ipc::Measured;

use crate::driver::{Driver, Shared, now};

/// A worker is asked no more often than this: several who look at once share an answer.
const ASKED_APART: Span = Span::from_millis(900);
/// A worker that has not answered for so long (its event loop is blocked) is asked again: the question may be lost.
const ASKED_AGAIN: Span = Span::from_secs(5);
/// Older answers say nothing of the present.
const FRESH: Span = Span::from_secs(5);

/// What is known of one worker.
#[derive(Debug, Default)]
pub(crate) struct Vitals {
    /// When it was asked and has not answered since.
    asked: Option<Now>,
    latest: Option<(Now, Measured)>,
    before: Option<(Now, Measured)>,
    /// How long its last answer took.
    reply: Option<Span>,
}

impl Vitals {
    /// Asks, unless it was asked just now. True when there is an answer to wait for.
    fn wants_question(&mut self, at: Now) -> bool {
        let waits = self.asked.is_some_and(|asked| at.since(asked) < ASKED_AGAIN);
        let young = self.latest.as_ref().is_some_and(|(then, _)| at.since(*then) < ASKED_APART);
        if waits || young {
            return false;
        }
        self.asked = Some(at);
        true
    }

    fn answered(&mut self, at: Now, measured: Measured) {
        self.reply = self.asked.take().map(|asked| at.since(asked));
        self.before = self.latest.take();
        self.latest = Some((at, measured));
    }

    /// How long the last answer took; as long as there is none, it is at least so late.
    pub(crate) fn reply(&self, at: Now) -> Option<Span> {
        self.asked.map(|asked| at.since(asked)).or(self.reply)
    }

    /// The last answer, if it is of the present.
    pub(crate) fn fresh(&self, at: Now) -> Option<&Measured> {
        self.latest.as_ref().filter(|(then, _)| at.since(*then) <= FRESH).map(|(_, measured)| measured)
    }

    /// The answer before, and the seconds from it to the last one.
    pub(crate) fn change(&self) -> Option<(&Measured, &Measured, f64)> {
        let ((then, before), (latest_at, latest)) = (self.before.as_ref()?, self.latest.as_ref()?);
        let seconds = seconds(latest_at.since(*then));
        (seconds > 0.0).then_some((before, latest, seconds))
    }
}

fn seconds(span: Span) -> f64 {
    span.0 as f64 / 1e9
}

/// Asks every worker and waits until all have answered, or for `patience`.
pub(crate) async fn refresh(driver: &Shared, patience: Duration) {
    let wake = Rc::clone(&driver.borrow().vitals_wake);
    driver.borrow_mut().ask_vitals();
    let all = async {
        while driver.borrow().awaits_vitals() {
            wake.notified().await;
        }
    };
    // Whoever is late is shown as it was last.
    let _ = tokio::time::timeout(patience, all).await;
    // Another one who waits may have missed the wake-up that we took.
    wake.notify_one();
}

impl Driver {
    fn ask_vitals(&mut self) {
        let at = now();
        let ids: Vec<WorkerId> = self
            .workers
            .values_mut()
            .filter_map(|worker| {
                let able = !worker.exited && worker.channel.as_ref().is_some_and(|channel| !channel.closed);
                (able && worker.vitals.wants_question(at)).then(|| worker.id())
            })
            .collect();
        for id in ids {
            let understood = self.channel_mut(id).is_some_and(|channel| channel.session_mut().measure());
            if !understood && let Some(worker) = self.workers.get_mut(&id) {
                worker.vitals.asked = None; // Without the preload nobody there could answer.
            }
            self.flush_channel(id);
        }
    }

    fn awaits_vitals(&self) -> bool {
        let at = now();
        self.workers.values().any(|worker| {
            let recently = |asked: Now| at.since(asked) < Span::from_secs(1);
            !worker.exited && worker.vitals.asked.is_some_and(recently)
        })
    }

    /// A worker's answer.
    pub(crate) fn measured(&mut self, id: WorkerId, measured: Measured) {
        if let Some(worker) = self.workers.get_mut(&id)
            && measured.is_sound()
        {
            worker.vitals.answered(now(), measured);
            self.vitals_wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now(Span::from_millis(ms).0)
    }

    #[test]
    fn several_who_look_at_once_share_a_question_and_a_lost_one_is_asked_again() {
        let mut vitals = Vitals::default();
        assert!(vitals.wants_question(at(0)));
        assert!(!vitals.wants_question(at(100)), "it has not answered yet");
        vitals.answered(at(200), Measured::default());
        assert!(!vitals.wants_question(at(1000)) && vitals.wants_question(at(1200)));
        assert!(!vitals.wants_question(at(6000)) && vitals.wants_question(at(6300)), "lost, perhaps");
        assert!(vitals.fresh(at(5200)).is_some() && vitals.fresh(at(5300)).is_none());
    }
}
