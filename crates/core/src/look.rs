//! Draws the fleet for those outside.

use crate::app::{App, Stage};
use crate::slot::{Seat, Slot, Wish};
use crate::worker::{Phase, Worker};
use crate::{AppView, DesiredApp, DesiredSlot, PhaseName, RolloutView, SlotView, Status, WorkerView};

// === impl App ===

impl App {
    pub(crate) fn view(&self) -> AppView {
        AppView {
            id: self.id,
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            status: self.slots.iter().map(|slot| self.status(slot)).max().unwrap_or(Status::Stopped),
            revision: self.revision,
            deleting: self.stage == Stage::Deleting,
            slots: self
                .slots
                .iter()
                .map(|slot| SlotView { status: self.status(slot), ..slot.view() })
                .collect(),
            standby: self.stands_by(),
            rollout: self.rollout.as_ref().map(|rollout| RolloutView {
                op: rollout.op,
                revision: rollout.revision,
                total: rollout.total(),
                done: rollout.done(),
                waiting: rollout.waiting.iter().copied().collect(),
                started: rollout.started,
            }),
        }
    }

    /// What another host runs does not run here, whatever is wished for.
    fn status(&self, slot: &Slot) -> Status {
        if self.stands_by() { Status::Stopped } else { slot.status() }
    }

    pub(crate) fn desired(&self) -> Option<DesiredApp> {
        (self.stage != Stage::Deleting).then(|| DesiredApp {
            id: self.id,
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            policy: self.policy.clone(),
            revision: self.revision,
            fallback: self.rollout.as_ref().and_then(|rollout| rollout.fallback.clone()),
            listened: self.listened,
            slots: self.slots.iter().filter_map(Slot::desired).collect(),
        })
    }
}

// === impl Slot ===

impl Slot {
    fn desired(&self) -> Option<DesiredSlot> {
        let up = match self.wish {
            Wish::Up => true,
            Wish::Down => false,
            Wish::Gone => return None,
        };
        let (id, index, finished) = (self.id, self.index, self.finished);
        Some(DesiredSlot { id, index, up, finished, revision: self.revision })
    }

    fn status(&self) -> Status {
        match (&self.seat, self.wish) {
            (Seat::Held { current, .. }, _) => match current.phase {
                Phase::Spawning { .. } | Phase::Starting { .. } => Status::Launching,
                Phase::Ready { .. } => Status::Online,
                Phase::Draining { .. } | Phase::Stopping { .. } => Status::Stopping,
            },
            (Seat::Waiting { .. }, _) => Status::WaitingRestart,
            (Seat::Errored, _) => Status::Errored,
            (Seat::Empty, _) if !self.leaving.is_empty() => Status::Stopping,
            (Seat::Empty, Wish::Up) if self.is_blocked() => Status::Errored,
            (Seat::Empty, Wish::Up) => Status::Launching,
            (Seat::Empty, Wish::Down | Wish::Gone) => Status::Stopped,
        }
    }

    fn view(&self) -> SlotView {
        SlotView {
            id: self.id,
            index: self.index,
            status: self.status(),
            up: self.wish == Wish::Up,
            leaving: self.wish == Wish::Gone,
            revision: self.revision,
            worker: self.current().map(Worker::view),
            successor: self.successor().map(Worker::view),
            old: self.leaving.iter().map(Worker::view).collect(),
            restart_at: match self.seat {
                Seat::Waiting { until } => Some(until),
                Seat::Empty | Seat::Errored | Seat::Held { .. } => None,
            },
            restarts: self.counts,
            unstable: self.history.unstable,
            backoff: self.history.backoff,
            last_exit: self.last_exit,
            trouble: self.trouble.clone(),
            created: self.created,
        }
    }
}

// === impl Worker ===

impl Worker {
    fn view(&self) -> WorkerView {
        let (phase, ready) = match self.phase {
            Phase::Spawning { .. } => (PhaseName::Spawning, None),
            Phase::Starting { .. } => (PhaseName::Starting, None),
            Phase::Ready { how, .. } => (PhaseName::Ready, Some(how)),
            Phase::Draining { .. } => (PhaseName::Draining, None),
            Phase::Stopping { .. } => (PhaseName::Stopping, None),
        };
        WorkerView {
            id: self.id,
            pid: self.pid(),
            phase,
            revision: self.revision,
            started: self.started,
            ready,
        }
    }
}
