//! One app's shared addresses: who gets a connection, and what happens to those that got stuck.
//!
//! A [`Group`] owns the listening sockets of one address: one socket a *slot* in a `SO_REUSEPORT` group, or one
//! for all where the kernel does not balance. Workers come and go on a slot; its socket stays, and with it
//! every connection that waits. A BPF program chooses the slot of a new connection; [`Group::patrol`] looks
//! after queues that nobody empties: it steers new connections away from them and takes the waiting ones out,
//! for the daemon to hand to workers that are free.
//!
//! How the daemon uses it:
//! 1. [`Group::open`], then [`Group::socket`] for each slot (the descriptor to hand to its worker), and
//!    [`Group::watch`] once.
//! 2. [`Group::set_live`] when a worker listens and when it has gone; [`Group::set_weight`],
//!    [`Group::set_load`] for the balances that use them; [`Group::set_pending`] when a worker was handed a
//!    connection or has acknowledged one; [`Group::retire`] when a slot is closed for good.
//! 3. When the [`Watcher`] is readable: [`Watcher::fired`], and [`Group::patrol`] for each key it names and
//!    each group whose [`Round::again`] has come. It carries out the [`Round::moves`], and gives the earliest
//!    of those times to [`Watcher::set_alarm`].
//! 4. Whenever [`Group::take_changed`] says so, [`Group::note`] and [`Group::descriptors`] go to the keeper;
//!    after a crash [`Group::adopt`] makes the same group of them.
//!
//! Another program of the same user can join a `SO_REUSEPORT` group at any time. Under a BPF selector it gets
//! nothing, because the tables name our sockets only; at opening, a probe without `SO_REUSEPORT` finds whoever
//! is there first.
//!
//! Invariants: no connection that the kernel completed is dropped while the group lives, except when its slot's
//! worker dies with it; nothing runs and nothing wakes up while no connection comes; nothing here blocks; the
//! steal rule ([`steal`]) is pure; nothing here knows what a worker or a process is.

mod address;
mod error;
mod group;
mod holder;
mod options;
mod selection;
pub mod steal;
mod steer;
mod watcher;

pub use address::{Address, Host};
pub use error::{AdoptError, ListenError};
pub use group::{Group, Move, Queued, Round, Waiting};
pub use holder::Holder;
pub use options::{BACKLOG_DEFAULT, Balance, Options, SLOTS_MAX, Transfer};
pub use selection::{Selection, Selector};
pub use skep_sys::net::{LocalAddress, Queue, UnixName};
pub use watcher::{GroupKey, Watcher};
