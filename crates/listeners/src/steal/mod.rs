//! The steal rule: what to do about queues that nobody empties. Pure: samples and the time in, orders out.
//!
//! A kernel that has put a connection into a worker's queue never takes it out again. A worker whose event
//! loop is blocked thus holds up all that come to it, while others are free. The rule sees the queues only
//! through samples, each of which costs a wake-up, and decides on three things: when to look next, which
//! queues new connections shall avoid, and which waiting connections shall be taken out for whom.
//!
//! How it thinks of a queue that is not empty:
//! * Its worker has accepted something since the last look (*progress*): it is busy, not stuck. If another
//!   queue is less than half as long, half of the difference moves there.
//! * Two or more wait at the first sight of a timed sample while another queue is empty: half of them move at
//!   once. A healthy worker empties its queue in far less than the time between two samples, so this is rarely
//!   wrong, and when it is, it costs a tenth of a millisecond of processor time. (A sample that a connection
//!   itself set off finds a fresh queue and only sets the time of the next.)
//! * Nothing was accepted for [`LOOK`] while another queue is (nearly) empty: *stuck*. All move, and new
//!   connections avoid the place, for [`AVOID_MIN`] at first. When that is over, or when all others have queues
//!   too, the place is tried again with real traffic, and its next connection is looked at specially; each time it
//!   is found stuck again at once, it is avoided twice as long, up to [`AVOID_MAX`].
//! * Nobody listens (*vacant*, *leaving*): all move.
//!
//! Without a place to move to nothing is taken out: a connection is safest in the kernel. What was handed to a
//! worker cannot be had back, so nothing goes to one that has not acknowledged what it was given or that was
//! stuck and has shown no sign of life since ([`SUSPECT`]), and to nobody much at once. When everybody is busy,
//! queues differ by chance, and nothing moves except away from a place that is known to stand still.

mod budget;
mod place;
mod rule;

use skep_core::{Now, Span};

pub use rule::Rule;

/// Time for which a queue must make no progress to be called stuck: many times what a healthy event loop needs
/// to come round and to collect young garbage (1.0 to 1.5 ms of Node.js 24 as it grows), and less than what a person or an
/// SLO notices. It is also the time until the next look at a queue that might be.
pub const LOOK: Span = Span(2_000_000);
/// The same where arrivals are not counted: there a queue that others have filled again looks stuck, the more often the
/// longer the looks are apart (`tests/steal_simulation.rs`).
pub const LOOK_BLIND: Span = Span(1_000_000);
/// Time between samples while traffic is heavy and nothing is wrong.
pub const PACE: Span = Span(6_000_000);
/// Time between looks at a queue that is stuck and cannot be emptied.
pub const WAIT: Span = Span(10_000_000);
/// How long a place is avoided when it is found stuck for the first time: short, because most who are found so had
/// only to wait for a processor, and long connections that go elsewhere meanwhile stay there.
pub const AVOID_MIN: Span = Span(5_000_000);
/// The same where arrivals are not counted, so that a try costs more: nothing tells whether it is stuck again at once.
pub const AVOID_BLIND: Span = Span(40_000_000);
/// Found stuck again so soon after its avoidance, a place has never been well.
pub const RELAPSE: Span = Span(40_000_000);
/// How long it is avoided at most; also the longest time that a recovered worker can be left without work.
pub const AVOID_MAX: Span = Span(160_000_000);
/// How long after it was found stuck a place is given nothing, unless it is seen accepting or acknowledging before.
pub const SUSPECT: Span = Span(1_000_000_000);
/// How long the socket of a retired slot is kept after its queue was last seen non-empty: a client's repeated
/// SYN-ACK answer comes within a second, a second repetition within three.
pub const LINGER: Span = Span(3_000_000_000);

/// A socket of the group, for as long as the group lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct PlaceId(pub u32);

/// Who should be emptying a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occupant {
    /// A worker that listens.
    Live,
    /// Nobody at present: the worker died or does not listen yet.
    Vacant,
    /// Nobody ever again: the slot was retired.
    Leaving,
}

/// What one sample of one queue said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// Whose queue.
    pub place: PlaceId,
    /// Who should be emptying it.
    pub occupant: Occupant,
    /// Connections waiting.
    pub queue: u32,
    /// Connections that were ever put there, where the selector counts them: tells progress from standstill.
    pub arrivals: Option<u64>,
    /// Connections that were handed to its worker and that it has not acknowledged yet.
    pub pending: u32,
    /// Connections that earlier orders take out of the queue and that may be in it still: whoever takes them has not said
    /// yet that he did.
    pub ordered: u32,
}

/// What may be done with waiting connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// They may be taken out and given to other workers.
    Move,
    /// New connections may be steered away; waiting ones stay.
    Steer,
}

/// Which connections that come end the time until the next sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arm {
    /// None.
    Nothing,
    /// The next one, wherever it comes.
    All,
    /// The next one at one of these: only they matter, or they were stuck and are being tried again.
    Only(Vec<PlaceId>),
}

/// What ends the time until the next sample. Neither: nothing can be done until a worker comes or goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Again {
    /// A connection that comes.
    pub arm: Arm,
    /// This time.
    pub at: Option<Now>,
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orders {
    /// Queues to take connections from, and how many at most.
    pub steal: Vec<(PlaceId, u32)>,
    /// Who gets them, in turn, the emptiest first. Empty only if `steal` is.
    pub to: Vec<PlaceId>,
    /// All places that new connections are to avoid from now on, ascending.
    pub avoid: Vec<PlaceId>,
    /// Retired places that have been quiet for long enough to be closed.
    pub close: Vec<PlaceId>,
    /// When to look again.
    pub again: Again,
}

#[cfg(test)]
mod tests;
