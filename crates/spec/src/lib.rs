//! What the user asked for: flags and files to a validated [`AppSpec`].
//!
//! An `AppSpec` says everything about one app in the user's own terms: it is what the CLI sends to the daemon, what
//! the daemon keeps on disk, and what a configuration file contains. Its doc comments are the JSON Schema's
//! descriptions and the manual's text.
//!
//! Everything here is pure. What has to be looked up on the machine (does this file exist, where is `node`) is asked
//! of [`Facts`], so that every decision can be tested without a machine. This crate does not know that processes,
//! sockets or a daemon exist.

mod app;
mod choices;
mod command_line;
mod compress;
mod cron;
mod depends;
mod diff;
mod error;
mod facts;
mod file;
mod folder;
mod instances;
mod interpreter;
mod limits;
mod listen;
mod logging;
mod name;
mod probe;
mod program;
mod quantity;
mod resolve;
mod runtime;
mod schedule;
mod signal;
mod validate;
mod watch;

pub use app::AppSpec;
pub use choices::{Balance, Drain, DrainWebSockets, ExecMode, LogType, Runtime};
pub use compress::{Compress, Compressor};
pub use cron::{Cron, Zone};
pub use depends::{Condition, DependsOn, OrderError, check_order};
pub use diff::{Change, Effect, Plan, diff};
pub use error::SpecError;
pub use facts::{Entry, Facts, Seen, absolute as absolute_path};
pub use file::{
    Document, Field, FileApp, FileError, Problem, Selection, Syntax, fields, is_attribute, parse, read,
    schema, table, write,
};
pub use instances::{INSTANCES_MAX, Instances, InstancesChange};
pub use limits::{Account, LimitValue, Resource, ResourceLimit};
pub use listen::{Listen, ListenAddress};
pub use logging::{LogFile, Rotation};
pub use name::{Clash, Existing, settle_clash};
pub use probe::Probe;
pub use program::{NO_INTERPRETER, split_words};
pub use quantity::{Bytes, Millis, Share};
pub use resolve::{RawStart, Resolved, resolve};
pub use runtime::RuntimeChoice;
pub use schedule::{MissedChoice, OnLostChoice, OnUnreachableChoice, OverlapChoice, Schedule};
pub use signal::{Signal, Umask};
pub use watch::{Ignored, Watch, WatchAction};
