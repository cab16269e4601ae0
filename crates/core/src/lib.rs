//! Decides: which worker starts, drains, is killed, waits, is given up.
//!
//! [`Fleet`] is a pure state machine. Events and the time go in, effects and the next deadline come out. It does not
//! know that Linux, files, clocks, sockets or JSON exist; the same events at the same times always give the same
//! effects, so that any run can be replayed and any bug becomes a test without a process.
//!
//! The shape of one turn: an event or a command changes facts and wishes (`apply`, `update`, `ready`, `exit`,
//! `inventory`); then one pass over everything (`App::settle`) does whatever is missing between what is and what is
//! wished for. The pass is idempotent, so a lost event is healed by the next one.
//!
//! Who owns what: a fleet its apps, an app its slots and at most one rollout, a slot its workers. A worker on its way
//! out never comes back. Ops only watch.

mod app;
mod apply;
mod burst;
mod chance;
mod command;
mod desired;
mod effect;
mod event;
mod exit;
mod fleet;
mod id;
mod inventory;
mod look;
mod memory;
mod notice;
mod op;
mod order;
mod outcome;
mod permit;
mod pick;
mod policy;
mod probe;
mod probing;
mod ready;
mod restart;
mod restore;
mod rollout;
mod scale;
mod slot;
mod stray;
mod throttle;
mod time;
mod turn;
mod update;
mod view;
mod worker;

pub use burst::Burst;
pub use command::{Cause, Command, Target, UpdateHow};
pub use desired::{Desired, DesiredApp, DesiredSlot, Fallback};
pub use effect::{Effect, Effects, Leave};
pub use event::{Event, ExitStatus, Inventory, SeenWorker};
pub use fleet::{Fleet, Snapshot};
pub use id::{AppId, OpId, Revision, SlotId, WorkerId};
pub use memory::{MemorySample, MemoryVerdict, MemoryWatch};
pub use notice::{Notice, ReadyHow, Remedy};
pub use order::{Condition, Dependency};
pub use outcome::{Failure, Outcome, Reason, Rejection};
pub use permit::{Permit, Singleton};
pub use policy::{Backoff, Drain, Policy, ReadyRule, SIGINT, SIGKILL};
pub use probe::{Probe, ProbeKind};
pub use time::{Now, Span};
pub use view::{AppView, ExitView, PhaseName, RestartCounts, RolloutView, SlotView, Status, WorkerView};

/// So many slots one app may have at most: more than any one machine serves well, and few enough that a typing
/// mistake (`-i 10000`) does not take the machine down.
pub const INSTANCES_MAX: u32 = 1024;
