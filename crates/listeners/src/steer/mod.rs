//! Choosing the slot of a new connection: what the tables say (pure), and the engine that carries it out.

mod engine;
mod sticky;
mod turns;

pub(crate) use engine::{Engine, Stored};
pub(crate) use sticky::Buckets;

use crate::steal::PlaceId;

/// What an engine must know of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) place: PlaceId,
    /// The kernel's number of it in the group.
    pub(crate) position: u32,
    pub(crate) weight: u32,
    /// New connections may go there now.
    pub(crate) wanted: bool,
    /// It has a slot, so that addresses may be bound to it.
    pub(crate) tenanted: bool,
}
