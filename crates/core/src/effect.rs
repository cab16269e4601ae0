//! What the fleet wants done. Every effect may come twice (after a restore) and must then do no harm.

use crate::{AppId, Notice, OpId, Outcome, ProbeKind, Revision, SlotId, WorkerId};
use serde::{Deserialize, Serialize};

/// One thing to do at the edge, in the order given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// [`crate::Fleet::desired`] changed: write it to disk before anything else. Always first. If a command's write
    /// fails, drop the changed clone and all its effects. After any other event go on and write again at the next
    /// chance. After a restore write it before the first spawn: it promises numbers that no worker had.
    Persist,
    /// Bring a worker to life. Answer with `Spawned` or `SpawnFailed`. A worker that lives already (or is being
    /// brought to life) answers again, it is not doubled.
    Spawn {
        /// Its name for ever.
        worker: WorkerId,
        /// Its app.
        app: AppId,
        /// Its slot: which listening sockets it gets.
        slot: SlotId,
        /// `NODE_APP_INSTANCE`.
        index: u32,
        /// The specification it runs.
        revision: Revision,
        /// The worker whose slot it takes over while that one still serves.
        replaces: Option<WorkerId>,
    },
    /// Ask the worker to take no new work and finish what it has. Answer with `Drained` when it has nothing left; in
    /// [`Leave::Stopped`] with `StopsItself`, at once, if it is better told to stop now.
    Drain {
        /// Who leaves.
        worker: WorkerId,
        /// Who takes its place on the slot, if anybody.
        successor: Option<WorkerId>,
        /// Why.
        leave: Leave,
    },
    /// Put a question to the worker. Answer with `Probed`, in the probe's `timeout` at the latest.
    Probe {
        /// To whom.
        worker: WorkerId,
        /// Which.
        kind: ProbeKind,
        /// Its number; comes back with the answer.
        question: u32,
    },
    /// Whether the worker is to be given new connections.
    Attend {
        /// Who.
        worker: WorkerId,
        /// What its readiness probe says.
        ready: bool,
    },
    /// Send a signal. 9 is the end; any other is the app's polite stop, which the driver may translate
    /// (`shutdown_with_message`). To a worker that is not there: nothing.
    Signal {
        /// To whom.
        worker: WorkerId,
        /// Which.
        signal: i32,
        /// To the whole process tree.
        tree: bool,
    },
    /// The worker is gone: forget its descriptors and its exit.
    Discard {
        /// Who is gone.
        worker: WorkerId,
    },
    /// The slot is gone: its listening sockets may go.
    CloseSlot {
        /// Whose.
        app: AppId,
        /// Which.
        slot: SlotId,
    },
    /// The app is gone with all its slots, or begins anew after all of its workers have ended: what it listened on is
    /// closed.
    CloseApp {
        /// Which.
        app: AppId,
    },
    /// Tell whoever watches.
    Notice(Notice),
    /// A command's end: once for each command.
    OpDone {
        /// Which command.
        op: OpId,
        /// How it ended.
        outcome: Outcome,
    },
}

/// Why a worker is asked to finish what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leave {
    /// Another one took its place, or its slot is scaled away. It ends by itself if it can; the stop comes later.
    Replaced,
    /// It is to stop. A program that handles its stop signal (PM2's way) is signalled at once and finishes by itself;
    /// only one that would just die finishes first.
    Stopped,
}

/// Effects in order. Reusable: take them out with [`Effects::drain`] and hand it in again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects(Vec<Effect>);

// === impl Effects ===

impl Effects {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes all effects out, in order; the list keeps its memory.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Effect> {
        self.0.drain(..)
    }

    /// Nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The effects in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Effect> {
        self.0.iter()
    }

    pub(crate) fn push(&mut self, effect: Effect) {
        self.0.push(effect);
    }

    pub(crate) fn notice(&mut self, notice: Notice) {
        self.0.push(Effect::Notice(notice));
    }

    /// The write to disk precedes whatever it promises.
    pub(crate) fn persist_first(&mut self) {
        if self.0.first() != Some(&Effect::Persist) {
            self.0.insert(0, Effect::Persist);
        }
    }
}

impl<'a> IntoIterator for &'a Effects {
    type Item = &'a Effect;
    type IntoIter = std::slice::Iter<'a, Effect>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Effects {
    type Item = Effect;
    type IntoIter = std::vec::IntoIter<Effect>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
