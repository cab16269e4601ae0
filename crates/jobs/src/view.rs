//! A job, for whoever looks.

use crate::job::Job;
use crate::{JobId, Record, UnixMs};

/// A job as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobView {
    /// Which.
    pub id: JobId,
    /// All that is remembered of it.
    pub record: Record,
    /// Somebody has it at present.
    pub defined: bool,
    /// Its app is wanted to run.
    pub up: bool,
    /// The next fire time.
    pub next: Option<UnixMs>,
}

impl JobView {
    pub(crate) fn of(job: &Job) -> Self {
        Self {
            id: job.id.clone(),
            record: job.record.clone(),
            defined: job.times.is_some(),
            up: job.up,
            next: job.next.filter(|_| job.up && !job.record.paused),
        }
    }
}
