//! What the machine is told. What comes twice, late or about something unknown does no harm.

use crate::{Definition, JobId, RunId, Seat};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The first event after a restore: what outlived the last machine. `Seat` events came before.
    Begin {
        /// The keeper is the same, so processes that it was asked to start are known to it.
        same_keeper: bool,
    },
    /// A job exists, with this definition.
    Define {
        /// Which.
        job: JobId,
        /// What it is.
        definition: Box<Definition>,
        /// Its app is wanted to run; else nothing fires.
        up: bool,
    },
    /// Nobody has the job any more. It is remembered, so that nothing is run twice when it comes back.
    Undefine {
        /// Which.
        job: JobId,
    },
    /// Its app was deleted: forget it, history and all.
    Forget {
        /// Which.
        job: JobId,
    },
    /// A worker is there, or changed.
    Seat(Seat),
    /// A worker ended.
    Unseat {
        /// Which.
        worker: u32,
    },
    /// A run ended.
    Ended {
        /// Which.
        run: RunId,
        /// As in its start: an older start of the same run is not this one.
        token: u64,
        /// How.
        outcome: Outcome,
    },
    /// The answer to a claim.
    Claimed {
        /// Which run.
        run: RunId,
        /// What the shared store said.
        claim: Claim,
    },
    /// Run it now, beside its schedule.
    RunNow {
        /// Which.
        job: JobId,
    },
    /// End all of its runs.
    CancelRuns {
        /// Which.
        job: JobId,
    },
    /// Let nothing fire.
    Pause {
        /// Which.
        job: JobId,
    },
    /// Let it fire again, from now on.
    Resume {
        /// Which.
        job: JobId,
    },
    /// Time passed, or a clock was set.
    Tick,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Well; what it returned, as JSON.
    Succeeded(Option<String>),
    /// Badly; the error's text.
    Failed(String),
    /// Nobody knows.
    Lost,
    /// It was never begun, and nothing of it ever will be: another place may be tried.
    Refused,
}

/// What the shared store said about a fire time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is ours; the token is the store's.
    Ours {
        /// Above every one that the store gave before, and above the one that was asked for.
        token: u64,
    },
    /// Another host has it.
    Theirs,
    /// The store could not be asked.
    Unknown,
}
