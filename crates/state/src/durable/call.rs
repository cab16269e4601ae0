//! What may be asked of durable queues, as data: it waits in a line.

use crate::event::Event;
use crate::queue::{Popped, PushOptions, QueueView, Retry};

/// A call of a worker. Names and data are what the functions of [`crate::Client`] with the same names take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Puts a job in: [`Answer::Job`].
    Push {
        /// Which queue.
        queue: Vec<u8>,
        /// The job.
        data: Vec<u8>,
        /// How.
        options: PushOptions,
    },
    /// Takes a job, or a place among those who are told of the next one: [`Answer::Popped`].
    Pop {
        /// Which queue.
        queue: Vec<u8>,
        /// The number in [`Event::QueueReady`].
        request: u32,
        /// How long others do not see it.
        visibility_ms: u64,
    },
    /// A job is done: [`Answer::Settled`].
    Done {
        /// Which queue.
        queue: Vec<u8>,
        /// Which job.
        job: u64,
        /// The receipt.
        attempt: u32,
    },
    /// A job failed: [`Answer::Settled`].
    Failed {
        /// Which queue.
        queue: Vec<u8>,
        /// Which job.
        job: u64,
        /// The receipt.
        attempt: u32,
        /// The error's text.
        error: String,
        /// How often and after what rest it is tried again; `None`: as it was pushed.
        policy: Option<(u32, Retry)>,
    },
    /// A job needs more time: [`Answer::Settled`].
    Extend {
        /// Which queue.
        queue: Vec<u8>,
        /// Which job.
        job: u64,
        /// The receipt.
        attempt: u32,
        /// So long from now.
        ms: u64,
    },
    /// Consumes no longer: [`Answer::Left`].
    Leave {
        /// Which queue.
        queue: Vec<u8>,
    },
    /// How many jobs there are: [`Answer::Counts`].
    Counts {
        /// Which queue.
        queue: Vec<u8>,
    },
    /// The first of the dead: [`Answer::Dead`].
    Dead {
        /// Which queue.
        queue: Vec<u8>,
        /// So many at most.
        most: usize,
    },
    /// Puts dead jobs back: [`Answer::Revived`].
    Revive {
        /// Which queue.
        queue: Vec<u8>,
        /// So many at most.
        most: usize,
    },
}

/// The answer to a [`Call`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The job's number.
    Job(u64),
    /// A job, or when to look again.
    Popped(Popped),
    /// Whether the job was still the caller's.
    Settled(bool),
    /// Done.
    Left,
    /// How many jobs each part has.
    Counts(QueueView),
    /// Number, data, last error.
    Dead(Vec<(u64, Vec<u8>, String)>),
    /// How many.
    Revived(usize),
}

/// What one transaction did for a batch of calls.
#[derive(Debug, Default)]
pub(super) struct Together {
    pub(super) answers: Vec<Answer>,
    pub(super) events: Vec<Event>,
}

impl Call {
    /// What it costs to keep it in line.
    pub(super) fn bytes(&self) -> usize {
        let data = match self {
            Self::Push { data, .. } => data.len(),
            Self::Failed { error, .. } => error.len(),
            Self::Pop { .. }
            | Self::Done { .. }
            | Self::Extend { .. }
            | Self::Leave { .. }
            | Self::Counts { .. }
            | Self::Dead { .. }
            | Self::Revive { .. } => 0,
        };
        size_of::<Self>() + data
    }

    /// It changes nothing.
    pub(super) fn only_reads(&self) -> bool {
        matches!(self, Self::Counts { .. } | Self::Dead { .. })
    }

    /// It gives something back, so that a full store must not refuse it.
    pub(super) fn frees(&self) -> bool {
        matches!(self, Self::Done { .. } | Self::Failed { .. } | Self::Leave { .. }) || self.only_reads()
    }
}
