//! The driver: collects events, calls the core, carries out effects.
//!
//! One thread, one `Driver`, one task a descriptor. The daemon may be SIGKILLed between any two instructions:
//! the keeper holds every descriptor, the journal in a memfd holds the core's state, the disk holds what users want, and
//! the next daemon goes on from there. An upgrade is a crash that somebody chose.
//!
//! Invariants: nothing is decided here that a test of `skep-core` could not decide; nothing blocks longer than a disk
//! write; nothing wakes up while nothing happens.

mod agenda;
mod applying;
mod bindshare;
mod boot;
mod census;
mod channel;
mod commands;
mod cron;
mod diary;
mod door;
mod door_port;
mod drain;
mod driver;
mod foreground;
mod hosts;
mod jobs;
mod journal;
mod keeper;
mod launch;
mod logging;
mod memory;
mod metrics;
mod node;
mod notices;
mod ops;
mod passing;
mod patrol;
mod pm2;
mod policy;
mod ports;
mod probe;
mod ready;
mod renaming;
mod replies;
mod rest;
mod server;
mod settings;
mod shared_state;
mod spawn;
mod store;
mod strays;
mod succession;
mod tasks;
mod traffic;
mod triggers;
mod upgrade;
mod usage;
mod views;
mod watch;
mod watching;
mod worker;

pub use census::was_killed;
pub use foreground::{RunFile, exit_file};
pub use settings::{LogrotateSetting, logrotate_setting};
pub use strays::end_all as end_left_behind;
pub use tasks::{Options, run};
