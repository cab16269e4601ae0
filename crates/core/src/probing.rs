//! What probes mean for workers, slots and apps: who is asked, who becomes ready by an answer, who is replaced.

use crate::app::{App, Stage};
use crate::fleet::Fleet;
use crate::probe::{Change, Verdict};
use crate::slot::{Slot, Wish};
use crate::turn::Turn;
use crate::worker::{Phase, Role, Worker};
use crate::{
    AppId, Cause, Effect, Failure, Notice, Now, Policy, ProbeKind, ReadyHow, Reason, SlotId, WorkerId,
};

/// The answer to a question.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) kind: ProbeKind,
    pub(crate) question: u32,
    pub(crate) failure: Option<String>,
}

/// What an answer means to the whole app.
#[derive(Debug)]
enum Meaning {
    Nothing,
    /// The rollout under way has failed.
    Failure(Failure),
    /// This slot's worker is to be replaced.
    Replace(SlotId),
}

const KINDS: [ProbeKind; 2] = [ProbeKind::Readiness, ProbeKind::Liveness];

// === impl Fleet ===

impl Fleet {
    pub(crate) fn probed(&mut self, turn: &mut Turn<'_>, worker: WorkerId, answer: &Answer) {
        for app in &mut self.apps {
            app.probed(turn, worker, answer);
        }
    }
}

// === impl App ===

impl App {
    fn probed(&mut self, turn: &mut Turn<'_>, id: WorkerId, answer: &Answer) {
        let Self { id: app, policy, slots, .. } = self;
        let Some(slot) = slots.iter_mut().find(|slot| slot.worker(id).is_some()) else { return };
        match slot.probed(turn, *app, policy, id, answer) {
            Meaning::Nothing => {}
            Meaning::Failure(failure) => self.abort_rollout(turn, failure),
            Meaning::Replace(slot) => self.replace_unhealthy(turn, slot),
        }
    }

    /// A new worker takes the place of one that is not worth keeping, which then leaves as in any reload.
    fn replace_unhealthy(&mut self, turn: &mut Turn<'_>, id: SlotId) {
        let wanted = self.slot(id).is_some_and(|slot| slot.wish == Wish::Up);
        let renewed = self.rollout.as_ref().is_some_and(|rollout| rollout.waiting.contains(&id));
        if self.stage == Stage::Live && wanted && !renewed {
            self.begin_rollout(turn, None, &[id], Some(Cause::Health));
        }
    }

    /// Puts every question whose time has come.
    pub(crate) fn tick_probes(&mut self, turn: &mut Turn<'_>) {
        let Self { policy, slots, .. } = self;
        for worker in slots.iter_mut().flat_map(Slot::workers_mut).filter(|worker| worker.is_launched()) {
            for kind in KINDS {
                let gauge = worker.gauges.of(kind);
                if gauge.deadline().is_none_or(|at| at > turn.now) {
                    continue;
                }
                let before = gauge.verdict;
                match gauge.due(turn.now, policy.probe(kind)) {
                    Some(question) => {
                        turn.fx.push(Effect::Probe { worker: worker.id, kind, question });
                    }
                    None => worker.is_asked_no_more(turn, kind, before, policy),
                }
            }
        }
    }
}

// === impl Slot ===

impl Slot {
    /// Workers that are ready are asked from now on.
    pub(crate) fn begin_probes(&mut self, now: Now, policy: &Policy) {
        for worker in self.workers_mut().filter(|worker| matches!(worker.phase, Phase::Ready { .. })) {
            for kind in KINDS {
                if let Some(rule) = policy.probe(kind) {
                    worker.gauges.of(kind).begin(now, worker.started, kind, rule);
                }
            }
        }
    }

    fn probed(
        &mut self,
        turn: &mut Turn<'_>,
        app: AppId,
        policy: &Policy,
        id: WorkerId,
        answer: &Answer,
    ) -> Meaning {
        let Some(rule) = policy.probe(answer.kind) else { return Meaning::Nothing };
        let Some(worker) = self.worker_mut(id).filter(|worker| worker.is_launched()) else {
            return Meaning::Nothing;
        };
        let gauge = worker.gauges.of(answer.kind);
        let before = gauge.verdict;
        let change = gauge.answered(turn.now, rule, answer.question, answer.failure.is_none());
        if matches!(worker.phase, Phase::Starting { .. }) {
            worker.gauges.readiness.hurry(turn.now);
        }
        let reason = answer.failure.clone().unwrap_or_default();
        match (answer.kind, change) {
            (_, Change::Nothing) | (ProbeKind::Liveness, Change::Passed) => Meaning::Nothing,
            (ProbeKind::Liveness, Change::Failed) => {
                let slot = self.id;
                turn.fx.notice(Notice::Unhealthy { app, slot, worker: id, reason });
                Meaning::Replace(slot)
            }
            (ProbeKind::Readiness, Change::Passed) => {
                if before == Verdict::Bad {
                    turn.fx.push(Effect::Attend { worker: id, ready: true });
                }
                self.passes(turn, app, id);
                Meaning::Nothing
            }
            (ProbeKind::Readiness, Change::Failed) => self.fails(turn, app, id, before, reason),
        }
    }

    /// It can take work.
    fn passes(&mut self, turn: &mut Turn<'_>, app: AppId, id: WorkerId) {
        let Some(worker) = self.worker_mut(id) else { return };
        match worker.phase {
            Phase::Starting { .. } => self.worker_ready(turn, app, id, ReadyHow::Probed),
            Phase::Ready { .. } => {
                let slot = self.id;
                turn.fx.notice(Notice::Ready { app, slot, worker: id, how: ReadyHow::Probed });
                if self.is_ready() {
                    self.trouble = None;
                }
            }
            Phase::Spawning { .. } | Phase::Draining { .. } | Phase::Stopping { .. } => {}
        }
    }

    /// It cannot take work (now).
    fn fails(
        &mut self,
        turn: &mut Turn<'_>,
        app: AppId,
        id: WorkerId,
        before: Verdict,
        failure: String,
    ) -> Meaning {
        let slot = self.id;
        if before != Verdict::Bad {
            turn.fx.push(Effect::Attend { worker: id, ready: false });
            turn.fx.notice(Notice::Unready { app, slot, worker: id, reason: failure.clone() });
        }
        let failure = Failure { app, slot, worker: Some(id), reason: Reason::Unready { failure } };
        if self.current().is_some_and(|current| current.id == id) {
            self.trouble = Some(failure.clone());
        }
        let starting =
            |worker: &Worker| worker.role == Role::Trial && matches!(worker.phase, Phase::Starting { .. });
        match self.worker(id).is_some_and(starting) {
            true => Meaning::Failure(failure),
            false => Meaning::Nothing,
        }
    }
}

// === impl Worker ===

impl Worker {
    /// It would be ready: it is, unless its readiness probe has to say so.
    pub(crate) fn asked_first(&mut self, now: Now, policy: &Policy, how: ReadyHow) -> Option<ReadyHow> {
        let Some(rule) = &policy.readiness else { return Some(how) };
        if let Phase::Starting { until, .. } = &mut self.phase {
            *until = None; // From now on it is the probe that counts.
        }
        self.gauges.readiness.begin(now, self.started, ProbeKind::Readiness, rule);
        None
    }

    /// An update took the probe away.
    fn is_asked_no_more(&mut self, turn: &mut Turn<'_>, kind: ProbeKind, before: Verdict, policy: &Policy) {
        if kind == ProbeKind::Liveness {
            return;
        }
        if before == Verdict::Bad {
            turn.fx.push(Effect::Attend { worker: self.id, ready: true });
        }
        self.wait_anew(turn.now, policy); // What it says itself counts again.
    }

    pub(crate) fn probe_deadline(&self) -> Option<Now> {
        self.is_launched().then(|| self.gauges.deadline()).flatten()
    }

    /// Says again what the edge may not have heard.
    pub(crate) fn ask_again(&self, turn: &mut Turn<'_>) {
        let worker = self.id;
        for (kind, gauge) in
            [(ProbeKind::Readiness, &self.gauges.readiness), (ProbeKind::Liveness, &self.gauges.liveness)]
        {
            if let Some(question) = gauge.open_question() {
                turn.fx.push(Effect::Probe { worker, kind, question });
            }
        }
        if self.gauges.readiness.verdict == Verdict::Bad {
            turn.fx.push(Effect::Attend { worker, ready: false });
        }
    }
}
