//! A rolling reload: each slot gets a new worker, proven before the old one leaves, within the policy's surge and
//! unavailability. The first new worker that fails ends it; whoever is not renewed yet stays as it is, and whoever runs a
//! new specification by then goes back to the old one in the same way.

use crate::app::App;
use crate::slot::{Seat, Slot, Wish};
use crate::turn::{Ending, Turn};
use crate::worker::{Role, Worker};
use crate::{AppId, Cause, Failure, Fallback, Notice, Now, OpId, Policy, Revision, SlotId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A rollout under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rollout {
    /// The latest command behind it; none: a liveness probe began it.
    pub(crate) op: Option<OpId>,
    /// What the new workers run.
    pub(crate) revision: Revision,
    /// Who asked for it; none: a new specification.
    pub(crate) cause: Option<Cause>,
    /// Slots that have no proven new worker yet.
    pub(crate) waiting: BTreeSet<SlotId>,
    /// Slots whose new worker is proven.
    pub(crate) done: BTreeSet<SlotId>,
    pub(crate) started: Now,
    /// What the app goes back to if this fails.
    pub(crate) fallback: Option<Fallback>,
}

// === impl Rollout ===

impl Rollout {
    pub(crate) fn new(
        op: Option<OpId>,
        revision: Revision,
        started: Now,
        fallback: Option<Fallback>,
    ) -> Self {
        let (waiting, done) = (BTreeSet::new(), BTreeSet::new());
        Self { op, revision, cause: None, waiting, done, started, fallback }
    }

    pub(crate) fn done(&self) -> u32 {
        count(&self.done)
    }

    pub(crate) fn total(&self) -> u32 {
        count(&self.done) + count(&self.waiting)
    }
}

fn count(slots: &BTreeSet<SlotId>) -> u32 {
    u32::try_from(slots.len()).expect("an app has at most INSTANCES_MAX slots, and those that are leaving")
}

// === impl App ===

impl App {
    /// Renews these slots as well: every worker that is not asked for after this moment is an old one.
    pub(crate) fn begin_rollout(
        &mut self,
        turn: &mut Turn<'_>,
        op: Option<OpId>,
        ids: &[SlotId],
        cause: Option<Cause>,
    ) {
        let Self { id: app, policy, slots, revision, rollout, .. } = self;
        let rollout =
            rollout.get_or_insert_with(|| Rollout { cause, ..Rollout::new(op, *revision, turn.now, None) });
        rollout.op = op.or(rollout.op);
        for slot in slots.iter_mut().filter(|slot| ids.contains(&slot.id)) {
            slot.retire_successor(turn, *app, policy);
            slot.end_trial();
            match cause {
                // Replacements in a row are counted.
                Some(Cause::Health) => slot.clear_wait(),
                Some(Cause::User | Cause::Memory | Cause::Schedule | Cause::Watch) | None => slot.forgive(),
            }
            turn.dirty |= slot.wish != Wish::Up;
            slot.wish = Wish::Up;
            slot.finished = None;
            rollout.waiting.insert(slot.id);
            rollout.done.remove(&slot.id);
        }
        turn.fx.notice(Notice::RolloutStarted { app: *app, total: rollout.total() });
    }

    /// Goes as far as it can.
    pub(crate) fn advance_rollout(&mut self, turn: &mut Turn<'_>) {
        let Some(mut rollout) = self.rollout.take() else { return };
        rollout.waiting.retain(|id| self.slot(*id).is_some_and(|slot| slot.wish == Wish::Up));
        self.take_over(turn, &mut rollout);
        self.prepare(turn, &rollout);
        if rollout.waiting.is_empty() && self.slots.iter().all(|slot| slot.leaving.is_empty()) {
            self.end_trials();
            turn.fx.notice(Notice::RolloutDone { app: self.id });
            turn.endings.push(Ending { app: self.id, failure: None });
            turn.dirty |= rollout.fallback.is_some();
        } else {
            self.rollout = Some(rollout);
        }
    }

    /// New workers that are ready take over.
    fn take_over(&mut self, turn: &mut Turn<'_>, rollout: &mut Rollout) {
        let Self { id: app, policy, slots, .. } = self;
        for slot in slots {
            if !rollout.waiting.contains(&slot.id) {
                continue;
            }
            if slot.successor().is_some_and(Worker::is_ready) {
                slot.promote(turn, *app, policy);
            }
            if !slot.current().is_some_and(|worker| worker.role == Role::Trial && worker.is_ready()) {
                continue;
            }
            turn.dirty |= slot.revision != rollout.revision;
            slot.revision = rollout.revision;
            slot.trouble = None;
            match rollout.cause {
                Some(cause) => slot.counts.asked(cause),
                None => slot.counts.update = slot.counts.update.saturating_add(1),
            }
            rollout.waiting.remove(&slot.id);
            rollout.done.insert(slot.id);
            let (done, total) = (rollout.done(), rollout.total());
            turn.fx.notice(Notice::RolloutStep { app: *app, slot: slot.id, done, total });
        }
    }

    /// Prepares new workers, as many at a time as the policy lets be.
    fn prepare(&mut self, turn: &mut Turn<'_>, rollout: &Rollout) {
        let Self { id: app, policy, slots, .. } = self;
        let mut surplus: usize = slots.iter().map(Slot::surplus).sum();
        let mut without: usize =
            slots.iter().filter(|slot| rollout.waiting.contains(&slot.id) && !slot.is_ready()).count();
        for slot in slots.iter_mut().filter(|slot| rollout.waiting.contains(&slot.id)) {
            slot.clear_wait();
            let (place, ready) = (slot.place(*app), slot.is_ready());
            let Seat::Held { current, successor: successor @ None } = &mut slot.seat else { continue };
            if current.is_ending() || current.role == Role::Trial {
                continue;
            }
            if surplus < policy.surge() {
                surplus += 1;
                let next = Worker::spawn(turn, place, rollout.revision, Some(current.id), Role::Trial);
                *successor = Some(Box::new(next));
            } else if without < policy.unavailable() || (!ready && policy.unavailable() > 0) {
                without += usize::from(ready);
                current.drain(turn, place, policy, None);
            }
        }
    }

    /// A new worker failed: the others of this rollout that have not taken over go, the old ones stay.
    pub(crate) fn abort_rollout(&mut self, turn: &mut Turn<'_>, failure: Failure) {
        let Some(rollout) = self.rollout.take() else { return };
        for slot in &mut self.slots {
            slot.retire_successor(turn, self.id, &self.policy);
            slot.reject_current(turn, self.id, &self.policy);
        }
        self.end_trials();
        let (app, done, total) = (self.id, rollout.done(), rollout.total());
        let renewed = rollout.fallback.map(|fallback| self.fall_back(turn, fallback)).unwrap_or_default();
        let back = u32::try_from(renewed.len()).expect("an app has at most INSTANCES_MAX slots");
        turn.fx.notice(Notice::RolloutFailed { app, failure: failure.clone(), done, total, back });
        turn.endings.push(Ending { app, failure: Some(failure) });
        if !renewed.is_empty() {
            self.begin_rollout(turn, None, &renewed, None);
        }
    }

    /// The old specification counts again. Slots whose workers run another one by now are to be renewed, one after
    /// another too: the command has failed already, so nobody waits for this.
    fn fall_back(&mut self, turn: &mut Turn<'_>, Fallback { policy, revision }: Fallback) -> Vec<SlotId> {
        turn.dirty = true;
        (self.policy, self.revision) = (policy, revision);
        let mut renewed = Vec::new();
        for slot in &mut self.slots {
            slot.revision = revision;
            let runs_another = |worker: &Worker| !worker.is_ending() && worker.revision != revision;
            if slot.wish == Wish::Up && slot.current().is_some_and(runs_another) {
                renewed.push(slot.id);
            }
        }
        renewed
    }

    /// A later command takes the slot out of the rollout. True when that was the last one: there is no rollout any more.
    pub(crate) fn leave_rollout(&mut self, turn: &mut Turn<'_>, id: SlotId) -> bool {
        let Some(rollout) = &mut self.rollout else { return false };
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.id == id) {
            slot.retire_successor(turn, self.id, &self.policy);
            slot.end_trial();
        }
        rollout.waiting.remove(&id) && rollout.waiting.is_empty() && {
            self.drop_rollout(turn);
            true
        }
    }

    /// A later command makes the rollout pointless. What it renewed stays renewed.
    pub(crate) fn drop_rollout(&mut self, turn: &mut Turn<'_>) {
        if let Some(rollout) = self.rollout.take() {
            turn.dirty |= rollout.fallback.is_some();
            for slot in &mut self.slots {
                slot.retire_successor(turn, self.id, &self.policy);
            }
            self.end_trials();
        }
    }

    fn end_trials(&mut self) {
        for slot in &mut self.slots {
            slot.end_trial();
        }
    }
}

// === impl Slot ===

impl Slot {
    /// A new revision that has not proved itself makes way for the one before, whose worker had to go first.
    fn reject_current(&mut self, turn: &mut Turn<'_>, app: AppId, policy: &Policy) {
        let (place, proven) = (self.place(app), self.revision);
        if let Seat::Held { current, .. } = &mut self.seat
            && current.role == Role::Trial
            && current.revision != proven
        {
            current.stop(turn, place, policy);
        }
    }
}
