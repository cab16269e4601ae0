//! The native add-on: what `npm/skep` calls to work on the shared store. Thin: arguments in, one call of `skep-state`,
//! answer out. It keeps no state of its own and never calls JavaScript while a transaction is open. The only thread is
//! that of durable queues, which waits for the disk.

mod atomic;
mod bytes;
mod client;
mod convert;
mod counters;
mod durable;
mod errors;
mod events;
mod hot;
mod keys;
mod locks;
mod queues;
mod supervisor;

/// The clock of this edge: the library takes time as an input.
#[expect(clippy::disallowed_methods, reason = "this is the edge: an add-on has no skep_sys")]
fn now() -> skep_state::WallMs {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    skep_state::WallMs(since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)))
}
