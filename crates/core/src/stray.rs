//! A process that belongs nowhere: found running, with no place for it. It is stopped as politely as any.

use crate::turn::Turn;
use crate::worker::{Place, Worker};
use crate::{Now, Policy, WorkerId};
use serde::{Deserialize, Serialize};

/// A process that belongs nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stray {
    place: Place,
    worker: Worker,
}

// === impl Stray ===

impl Stray {
    /// Begins to stop it.
    pub(crate) fn new(turn: &mut Turn<'_>, place: Place, mut worker: Worker) -> Self {
        worker.stop(turn, place, &Policy::default());
        Self { place, worker }
    }

    pub(crate) fn is(&self, worker: WorkerId) -> bool {
        self.worker.id == worker
    }

    pub(crate) fn id(&self) -> WorkerId {
        self.worker.id
    }

    pub(crate) fn repeat(&self, turn: &mut Turn<'_>) {
        self.worker.repeat(turn, self.place, &Policy::default());
    }

    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>) {
        if self.deadline().is_some_and(|at| at <= turn.now) {
            // It has a pid, so it cannot vanish; whether it can be killed, nobody asks.
            let _ = self.worker.due(turn, self.place, &Policy::default(), false);
        }
    }

    pub(crate) fn deadline(&self) -> Option<Now> {
        self.worker.deadline()
    }
}
