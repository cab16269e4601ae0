//! Decides: which worker starts, drains, is killed, waits, is given up.
//!
//! [`Fleet`] is a pure state machine. Events and the time go in, effects and the next deadline come out. It does not
//! know that Linux, files, clocks, sockets or JSON exist; the same events at the same times always give the same
//! effects, so that any run can be replayed and any bug becomes a test without a process.

mod command;
mod desired;
mod effect;
mod event;
mod fleet;
mod id;
mod notice;
mod outcome;
mod policy;
mod time;
mod view;

pub use command::{Cause, Command, Target, UpdateHow};
pub use desired::{Desired, DesiredApp, DesiredSlot, Fallback};
pub use effect::{Effect, Effects};
pub use event::{Event, ExitStatus, Inventory, SeenWorker};
pub use fleet::{Fleet, Snapshot};
pub use id::{AppId, OpId, Revision, SlotId, WorkerId};
pub use notice::{Notice, ReadyHow};
pub use outcome::{Failure, Outcome, Reason, Rejection};
pub use policy::{Backoff, Drain, Policy, ReadyRule, SIGINT, SIGKILL};
pub use time::{Now, Span};
pub use view::{AppView, ExitView, PhaseName, RestartCounts, RolloutView, SlotView, Status, WorkerView};

/// So many slots one app may have at most: more than any one machine serves well, and few enough that a typing
/// mistake (`-i 10000`) does not take the machine down.
pub const INSTANCES_MAX: u32 = 1024;
