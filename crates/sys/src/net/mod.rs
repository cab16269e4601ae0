//! Sockets that listen: how they are opened, asked and accepted from.
//!
//! Invariants: every descriptor is close-on-exec; every socket opened here is non-blocking (a blocking listener
//! freezes the event loop of Node 18 and 20); nothing here blocks; an errno is never replaced by a guess.
//! Nothing here knows what an app or a slot is.

mod accept;
mod address;
mod error;
mod inet;
mod queue;
mod unix;

pub use accept::{Accepted, accept, set_nonblocking};
pub use address::{LocalAddress, local_address, peer_address};
pub use error::{NetError, Step};
pub use inet::{DualStack, Sharing, listen, tcp_bound, udp_bound};
pub use queue::{Queue, tcp_queue};
pub use unix::{UnixAccess, UnixIdentity, UnixName, remove_unix_path, unix_bound};

#[cfg(test)]
mod tests;
