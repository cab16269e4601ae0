//! What the machine wants done.

use crate::{Entry, JobId, Place, Record, RunId, UnixMs, Why};

/// One thing to do, in the order given. A [`Effect::Save`] that fails holds up all that come after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make this durable, in one transaction, before going on.
    Save {
        /// Whose.
        job: JobId,
        /// In place of the last one.
        record: Box<Record>,
        /// New lines of history, or lines that changed.
        entries: Vec<Entry>,
        /// So many entries are kept.
        keep: u32,
        /// The next fencing token.
        next_token: u64,
    },
    /// Remove the job's record and history.
    Erase {
        /// Whose.
        job: JobId,
    },
    /// Start a run. May come again after a restore, for a place that knows whether it has begun already (a worker, the
    /// keeper): that one is not begun twice, and its end is told again.
    Start(Start),
    /// Ask a run to end.
    Cancel(Cancel),
    /// Ask the shared store for the fire time; answer with `Claimed`. May come again for a run that is asked for
    /// already: the store says the same again, with a higher token.
    Claim {
        /// Which run.
        run: RunId,
        /// The token has to be above this one.
        above: u64,
    },
    /// Tell whoever watches: something came to its end, or did not begin.
    Told {
        /// Which job.
        job: JobId,
        /// Its new line of history.
        entry: Box<Entry>,
    },
}

/// A run to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Which.
    pub run: RunId,
    /// Its fencing token.
    pub token: u64,
    /// Where.
    pub place: Place,
    /// Somebody asked for it by hand.
    pub by_hand: bool,
}

/// A run to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancel {
    /// Which.
    pub run: RunId,
    /// As in its start.
    pub token: u64,
    /// Where.
    pub place: Place,
    /// Why.
    pub why: Why,
    /// It was asked before, in vain.
    pub hard: bool,
}

impl Start {
    /// The fire time.
    #[must_use]
    pub fn scheduled(&self) -> UnixMs {
        self.run.scheduled
    }
}
