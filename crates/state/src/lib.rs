//! State that processes of one machine share: maps with expiry, counters, locks, single flight, channels, queues,
//! sorted sets, and a keyspace of Redis's types under them.
//!
//! Every process maps the same store (LMDB in shared memory) and works on it directly: no server is in the path. What
//! is acknowledged is visible to everybody and survives a SIGKILL of anybody at any instant. Locks, leases and jobs
//! belong to a worker ([`Owner`]); the [`Supervisor`] gives back what a dead worker held, at once.
//!
//! What this crate refuses to know: apps, JavaScript, the wire protocol of Redis, and the clock (callers say what time
//! it is: [`WallMs`]).
//!
//! Entrances: [`Supervisor`] for the daemon, [`Client`] for a worker, [`Store`] and the modules of the keyspace
//! ([`strings`], [`hashes`], [`lists`], [`sets`], [`zsets`], [`streams`], [`keys`]) for transactions over both.

mod backup;
mod blocks;
mod chance;
mod channel;
mod client;
mod collection;
mod control;
mod counters;
pub mod durable;
mod engine;
mod error;
mod event;
mod files;
mod flight;
mod foresight;
mod garbage;
pub mod hashes;
mod key;
pub mod keys;
mod limiter;
pub mod limits;
pub mod lists;
mod locks;
mod mapping;
mod medium;
mod mutex;
mod options;
mod owner;
mod putoff;
mod queue;
mod ranks;
mod record;
mod redo;
pub mod sets;
mod spaces;
mod stats;
mod store;
pub mod streams;
pub mod strings;
mod supervisor;
mod tx;
pub mod values;
mod wake;
mod wanted;
mod watch;
mod workers;
pub mod zsets;

pub use client::{Client, Identity};
pub use collection::Save;
pub use control::LAYOUT;
pub use counters::Counter;
pub use error::{Error, Result};
pub use event::Event;
pub use flight::{Begin, Finish, Keep};
pub use limiter::{Allowance, Verdict};
pub use locks::{Ask, Granted, Holder, IfBusy, LockMode, LockView, Waiter};
pub use options::Options;
pub use owner::{Owner, WallMs};
pub use queue::{Failure, Job, JobPart, JobView, Popped, PushOptions, QueueView, Retry, push as push_job};
pub use record::Kind;
pub use spaces::{Space, SpaceKind};
pub use stats::{Stats, WorkerView};
pub use store::Store;
pub use supervisor::{ENV_GENERATION, ENV_QUEUES, ENV_STATE, ENV_WORKER, Supervisor};
pub use tx::{Tx, View};
