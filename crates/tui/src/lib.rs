//! `skep monit`: the fleet on a terminal, live.
//!
//! A pure machine in the middle: [`State`] takes an [`Event`] (a key, a look at the fleet, a line of log) and returns
//! [`Effect`]s (follow a log, give a command); [`draw`] turns it into a picture. Around it the edge: the keyboard, the
//! terminal's modes, the connections to the daemon.
//!
//! Invariants: the machine knows no clock, no socket and no terminal; everything that it keeps is bounded; the terminal is
//! given back in every way in which this can end but SIGKILL. What it refuses to know: how a worker is started or where the
//! socket is. Whoever calls hands over a way to connect.

mod edge;
mod event;
mod filter;
mod history;
pub mod human;
mod keys;
mod log;
mod plain;
#[cfg(test)]
mod sample;
mod state;
mod update;
mod view;

pub use edge::{Connect, End, MonitError, Options, run};
pub use event::{Command, Effect, Event, Key, Seen, Verb};
pub use state::State;
pub use view::{Theme, draw};
