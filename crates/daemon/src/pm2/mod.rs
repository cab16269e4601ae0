//! What PM2's users know a worker by: its environment, the messages it may send, and its entry in `jlist`.
//!
//! Facts of PM2 7.0.4, seen when it ran. Nothing here decides anything about workers.

mod files;
mod identity;
mod package;
mod process;
mod stdin;
mod told;
mod trigger;

pub(crate) use files::user_name;
pub(crate) use identity::{Past, identity, pid_file, pid_folder};
pub(crate) use package::version_near;
pub(crate) use process::past_of;
pub(crate) use told::{Meaning, Told};
pub(crate) use trigger::Asked;

/// The release of PM2 whose interface this is.
pub(crate) const PM2_VERSION: &str = "7.0.4";
