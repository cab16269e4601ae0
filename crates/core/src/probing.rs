//! What probes mean for workers, slots and apps: who is asked, who becomes ready by an answer, who is replaced.

use crate::app::{App, Stage};
use crate::fleet::Fleet;
use crate::probe::{self, Change};
use crate::restart::{End, Verdict};
use crate::slot::{Slot, Wish};
use crate::turn::Turn;
use crate::worker::{Phase, Role, Worker};
use crate::{
    AppId, Cause, Effect, ExitStatus, Failure, Notice, Now, Policy, ProbeKind, ReadyHow, Reason, Remedy,
    SlotId, Span, WorkerId,
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
    /// This worker is not worth keeping.
    Unhealthy(Failure),
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
            Meaning::Unhealthy(failure) => self.unhealthy(turn, id, failure),
        }
    }

    /// A worker is not worth keeping. The restart policy counts it as an exit after the time for which it was well.
    fn unhealthy(&mut self, turn: &mut Turn<'_>, id: WorkerId, failure: Failure) {
        let Self { id: app, policy, slots, rollout, stage, .. } = self;
        let Some(slot) = slots.iter_mut().find(|slot| slot.id == failure.slot) else { return };
        let renewed = rollout.as_ref().is_some_and(|rollout| rollout.waiting.contains(&slot.id));
        let wanted = *stage == Stage::Live && slot.wish == Wish::Up;
        let remedy = if renewed || !wanted { Remedy::Replace } else { slot.judge_health(turn, policy, id) };
        let Reason::Unwell { failure: reason, .. } = &failure.reason else { return };
        let (slot_id, reason) = (slot.id, reason.clone());
        turn.fx.notice(Notice::Unhealthy {
            app: *app,
            slot: slot_id,
            worker: id,
            reason: reason.clone(),
            remedy,
        });
        match remedy {
            Remedy::Replace => self.replace_unhealthy(turn, slot_id),
            Remedy::ReplaceAfter(_) => {}
            Remedy::Keep(tries) => {
                slot.trouble = Some(Failure { reason: Reason::Unwell { failure: reason, tries }, ..failure });
            }
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

    /// Replaces those that have waited for it.
    pub(crate) fn tick_renewals(&mut self, turn: &mut Turn<'_>) {
        let mut due = Vec::new();
        for slot in &mut self.slots {
            let id = slot.id;
            for worker in slot.workers_mut().filter(|worker| worker.is_launched()) {
                if worker.gauges.renew_at.is_some_and(|at| at <= turn.now) {
                    worker.gauges.renew_at = None;
                    due.push(id);
                }
            }
        }
        for id in due {
            self.replace_unhealthy(turn, id);
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
            (_, Change::Nothing) => Meaning::Nothing,
            (ProbeKind::Liveness, Change::Passed) => {
                worker.gauges.renew_at = None;
                self.is_well(id);
                Meaning::Nothing
            }
            (ProbeKind::Liveness, Change::Failed) => {
                let reason = Reason::Unwell { failure: reason, tries: 1 };
                Meaning::Unhealthy(Failure { app, slot: self.id, worker: Some(id), reason })
            }
            (ProbeKind::Readiness, Change::Passed) => {
                if before == probe::Verdict::Bad {
                    turn.fx.push(Effect::Attend { worker: id, ready: true });
                }
                self.passes(turn, app, id);
                Meaning::Nothing
            }
            (ProbeKind::Readiness, Change::Failed) => self.fails(turn, app, id, before, reason),
        }
    }

    /// What the restart policy makes of a worker that is not worth keeping.
    fn judge_health(&mut self, turn: &mut Turn<'_>, policy: &Policy, id: WorkerId) -> Remedy {
        let tries = self.history.unstable;
        if tries >= policy.max_restarts {
            return Remedy::Keep(tries); // Until a command gives it a new beginning.
        }
        let Some(worker) = self.worker(id) else { return Remedy::Replace };
        if let Some(at) = worker.gauges.renew_at {
            return Remedy::ReplaceAfter(at.since(turn.now));
        }
        let well = worker.gauges.liveness.well_for(worker.started);
        // It was not killed yet, so there is no status that could mean a wish to stop.
        match self.history.judge(turn, policy, &End::Exit(ExitStatus::Unknown), well) {
            Verdict::Again(Span::ZERO) => Remedy::Replace,
            Verdict::Again(wait) => {
                if let Some(worker) = self.worker_mut(id) {
                    worker.gauges.renew_at = Some(turn.now + wait);
                }
                Remedy::ReplaceAfter(wait)
            }
            Verdict::GiveUp | Verdict::Finished => Remedy::Keep(self.history.unstable.max(1)),
        }
    }

    /// What its probe had against it is over.
    fn is_well(&mut self, id: WorkerId) {
        let over =
            |trouble: &Failure| trouble.worker == Some(id) && matches!(trouble.reason, Reason::Unwell { .. });
        self.trouble = self.trouble.take().filter(|trouble| !over(trouble));
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
        before: probe::Verdict,
        failure: String,
    ) -> Meaning {
        let slot = self.id;
        if before != probe::Verdict::Bad {
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
    fn is_asked_no_more(
        &mut self,
        turn: &mut Turn<'_>,
        kind: ProbeKind,
        before: probe::Verdict,
        policy: &Policy,
    ) {
        if kind == ProbeKind::Liveness {
            self.gauges.renew_at = None;
            return;
        }
        if before == probe::Verdict::Bad {
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
        if self.gauges.readiness.verdict == probe::Verdict::Bad {
            turn.fx.push(Effect::Attend { worker, ready: false });
        }
    }
}
