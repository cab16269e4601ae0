//! The place of one instance: what is wished for it, who sits in it, who still has to leave it.

use crate::restart::History;
use crate::turn::Turn;
use crate::worker::{Place, Role, Worker};
use crate::{AppId, ExitView, Failure, Now, Policy, RestartCounts, Revision, SlotId, WorkerId};
use serde::{Deserialize, Serialize};

/// One instance's place in its app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Slot {
    pub(crate) id: SlotId,
    pub(crate) index: u32,
    pub(crate) wish: Wish,
    /// What its next regular worker runs.
    pub(crate) revision: Revision,
    pub(crate) seat: Seat,
    /// Workers on their way out that another one replaced (or that were to replace one and failed).
    /// They and the successors are what a rollout's surge consists of.
    pub(crate) leaving: Vec<Worker>,
    pub(crate) history: History,
    pub(crate) counts: RestartCounts,
    pub(crate) last_exit: Option<ExitView>,
    /// What went wrong since the last command, as long as it has not come right.
    pub(crate) trouble: Option<Failure>,
    pub(crate) created: Now,
    /// Its program has ended by itself and is not to be restarted: whether it was content. A start forgets it.
    #[serde(default)]
    pub(crate) finished: Option<bool>,
}

/// What is wished for a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Wish {
    Up,
    Down,
    /// The slot itself goes when nobody is left in it. No command can name it any more.
    Gone,
}

/// Who sits in the slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Seat {
    /// Nobody; if the slot is wished up, somebody at the end of this turn.
    Empty,
    /// Nobody until then.
    Waiting { until: Now },
    /// Nobody until a command says so.
    Errored,
    /// The current worker (it may be on its way out), and the one that a rollout prepares to take over.
    Held { current: Worker, successor: Option<Box<Worker>> },
}

/// Which seat a worker had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Post {
    Current,
    Successor,
    Leaving,
}

// === impl Slot ===

impl Slot {
    pub(crate) fn new(id: SlotId, index: u32, wish: Wish, revision: Revision, created: Now) -> Self {
        Self {
            id,
            index,
            wish,
            revision,
            seat: Seat::Empty,
            leaving: Vec::new(),
            history: History::default(),
            counts: RestartCounts::default(),
            last_exit: None,
            trouble: None,
            created,
            finished: None,
        }
    }

    pub(crate) fn place(&self, app: AppId) -> Place {
        Place { app, slot: self.id, index: self.index }
    }

    pub(crate) fn current(&self) -> Option<&Worker> {
        match &self.seat {
            Seat::Held { current, .. } => Some(current),
            Seat::Empty | Seat::Waiting { .. } | Seat::Errored => None,
        }
    }

    pub(crate) fn successor(&self) -> Option<&Worker> {
        match &self.seat {
            Seat::Held { successor, .. } => successor.as_deref(),
            Seat::Empty | Seat::Waiting { .. } | Seat::Errored => None,
        }
    }

    /// Every process of this slot, the current one first.
    pub(crate) fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.current().into_iter().chain(self.successor()).chain(&self.leaving)
    }

    pub(crate) fn workers_mut(&mut self) -> impl Iterator<Item = &mut Worker> {
        let (current, successor) = match &mut self.seat {
            Seat::Held { current, successor } => (Some(current), successor.as_deref_mut()),
            Seat::Empty | Seat::Waiting { .. } | Seat::Errored => (None, None),
        };
        current.into_iter().chain(successor).chain(&mut self.leaving)
    }

    pub(crate) fn worker(&self, id: WorkerId) -> Option<&Worker> {
        self.workers().find(|worker| worker.id == id)
    }

    pub(crate) fn worker_mut(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.workers_mut().find(|worker| worker.id == id)
    }

    /// Nobody of it lives.
    pub(crate) fn is_vacant(&self) -> bool {
        self.workers().next().is_none()
    }

    /// Its current worker lives and is not on its way out.
    pub(crate) fn is_live(&self) -> bool {
        self.current().is_some_and(|worker| !worker.is_ending())
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.current().is_some_and(Worker::is_ready)
    }

    /// How many workers it has beside the current one.
    pub(crate) fn surplus(&self) -> usize {
        self.leaving.len() + usize::from(self.successor().is_some())
    }

    /// Takes a worker out. A successor moves up when the current one is taken.
    pub(crate) fn remove(&mut self, id: WorkerId) -> Option<(Worker, Post)> {
        if let Some(at) = self.leaving.iter().position(|worker| worker.id == id) {
            return Some((self.leaving.remove(at), Post::Leaving));
        }
        match std::mem::replace(&mut self.seat, Seat::Empty) {
            Seat::Held { current, successor } if current.id == id => {
                if let Some(successor) = successor {
                    self.seat = Seat::Held { current: *successor, successor: None };
                }
                Some((current, Post::Current))
            }
            Seat::Held { current, successor: Some(successor) } if successor.id == id => {
                self.seat = Seat::Held { current, successor: None };
                Some((*successor, Post::Successor))
            }
            seat @ (Seat::Empty | Seat::Waiting { .. } | Seat::Errored | Seat::Held { .. }) => {
                self.seat = seat;
                None
            }
        }
    }

    /// Puts a new worker on the empty seat.
    pub(crate) fn occupy(&mut self, turn: &mut Turn<'_>, app: AppId, revision: Revision, role: Role) {
        let current = Worker::spawn(turn, self.place(app), revision, None, role);
        self.seat = Seat::Held { current, successor: None };
    }

    /// Ends every worker, the politest way that is quick. Says nothing to those that are told already.
    pub(crate) fn stop(&mut self, turn: &mut Turn<'_>, app: AppId, policy: &Policy) {
        let place = self.place(app);
        self.retire_successor(turn, app, policy);
        for worker in self.workers_mut() {
            worker.stop(turn, place, policy);
        }
        self.clear_wait();
    }

    /// Lets the current worker finish what it has, and nobody follow.
    pub(crate) fn drain(&mut self, turn: &mut Turn<'_>, app: AppId, policy: &Policy) {
        let place = self.place(app);
        self.retire_successor(turn, app, policy);
        if let Seat::Held { current, .. } = &mut self.seat {
            current.drain(turn, place, policy, None);
        }
        self.clear_wait();
    }

    /// The worker that was to take over shall not.
    pub(crate) fn retire_successor(&mut self, turn: &mut Turn<'_>, app: AppId, policy: &Policy) {
        let place = self.place(app);
        if let Seat::Held { successor, .. } = &mut self.seat
            && let Some(mut worker) = successor.take()
        {
            worker.stop(turn, place, policy);
            self.leaving.push(*worker);
        }
    }

    /// The successor takes the seat; the worker before it drains.
    pub(crate) fn promote(&mut self, turn: &mut Turn<'_>, app: AppId, policy: &Policy) {
        let place = self.place(app);
        if let Seat::Held { current, successor } = &mut self.seat
            && let Some(next) = successor.take()
        {
            let mut old = std::mem::replace(current, *next);
            old.drain(turn, place, policy, Some(current.id));
            self.leaving.push(old);
        }
    }

    /// A seat that nobody holds is free at once.
    pub(crate) fn clear_wait(&mut self) {
        match self.seat {
            Seat::Waiting { .. } | Seat::Errored => self.seat = Seat::Empty,
            Seat::Empty | Seat::Held { .. } => {}
        }
    }

    /// A command gives it a new beginning.
    pub(crate) fn forgive(&mut self) {
        self.history = History::default();
        self.trouble = None;
        self.clear_wait();
    }

    /// No worker of it decides any rollout any more.
    pub(crate) fn end_trial(&mut self) {
        for worker in self.workers_mut() {
            worker.role = Role::Regular;
        }
    }

    pub(crate) fn deadline(&self) -> Option<Now> {
        let wait = match self.seat {
            Seat::Waiting { until } => Some(until),
            Seat::Empty | Seat::Errored | Seat::Held { .. } => None,
        };
        let probes = self.workers().filter_map(Worker::probe_deadline);
        self.workers().filter_map(Worker::deadline).chain(probes).chain(wait).min()
    }
}
