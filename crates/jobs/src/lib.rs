//! Decides when a job runs, where, and what counts as done.
//!
//! [`Jobs`] is a pure state machine. Events and the time go in, effects and the next deadlines come out. It does not
//! know that files, processes, sockets or clocks exist.
//!
//! The promise: a fire time is **started at most once** (once an attempt, where the job asks for retries). It rests on
//! two things. [`Effect::Save`] comes before the start that it tells of, so what was started is known to whoever comes
//! later; and a job remembers the spans of the wall clock that it has [lived](Lived), so a clock that is set back
//! brings no fire time back. And no fire time is **forgotten**: it ends as a run or as an [`Entry`] that says why it
//! was not run.
//!
//! Two clocks go in ([`Moment`]): fire times are read from the wall clock, which people set; waits and timeouts are
//! measured with the boot clock, which nobody sets and which counts suspends.

mod cron;
mod definition;
mod due;
mod effect;
mod event;
mod job;
mod lived;
mod machine;
mod record;
mod run;
mod seat;
mod time;
mod view;
mod when;

pub use cron::{Cron, CronProblem};
pub use definition::{Backoff, Definition, Kind, Missed, OnLost, OnUnreachable, Overlap};
pub use effect::{Cancel, Effect, Start};
pub use event::{Claim, Event, Outcome};
pub use lived::Lived;
pub use machine::Jobs;
pub use record::{Entry, JobId, Record, RunId, Status, Totals, Why};
pub use run::{Phase, Place, Run, Under};
pub use seat::Seat;
pub use time::{Deadlines, Moment, UnixMs};
pub use view::JobView;
pub use when::{EVERY_MIN_MS, When, WhenProblem, WhenText};

/// A fire time that is noticed no later than this is on time; later it was missed and the job says what then. Long
/// enough for a restart or an upgrade of skep, and for a machine under load.
pub const GRACE_MS: i64 = 60_000;
/// So many missed fire times are counted; a job of every second after a year off would otherwise be counted for minutes.
pub const MISSED_MAX: usize = 1_000;
/// So many runs of one job may wait for their turn; then fire times are skipped.
pub const WAITING_MAX: usize = 100;
/// So many runs of one job may be under way at once with `overlap: allow`.
pub const RUNNING_MAX: usize = 100;
/// A run waits so long for a worker that has its function: workers restart in seconds.
pub const WORKER_WAIT_MS: u64 = 60_000;
/// A shared fire time older than this is not asked for any more: the store may have forgotten whose it was. Half of the
/// time that claims are kept, so that hosts' clocks may differ by the other half.
pub const CLAIM_AGE_MAX_MS: i64 = CLAIM_KEPT_MS / 2;
/// The shared store remembers so long whose a fire time was.
pub const CLAIM_KEPT_MS: i64 = 24 * 3_600_000;
/// What was asked to end has so long for it.
pub const CANCEL_GRACE_MS: u64 = 5_000;
/// A run that was lost is started again so often at least, with `on_lost: rerun`; what takes its worker with it every
/// time must end some time.
pub const RERUNS_MIN: u32 = 3;

/// A zone for those who only want to know whether a definition makes sense.
#[must_use]
pub fn utc() -> jiff::tz::TimeZone {
    jiff::tz::TimeZone::UTC
}
