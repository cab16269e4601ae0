//! The rule as a machine: samples and the time in, orders and the time of the next sample out.

use skep_core::Now;

/// A socket of the group, for as long as the group lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
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
}

/// When the next sample is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// At this time.
    At(Now),
    /// When a connection comes.
    WhenReadable,
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orders {
    /// Queues to take connections from, and how many at most.
    pub steal: Vec<(PlaceId, u32)>,
    /// Who gets them, in turn. Empty only if `steal` is.
    pub to: Vec<PlaceId>,
    /// All places that new connections are to avoid from now on, ascending.
    pub avoid: Vec<PlaceId>,
    /// When to look again.
    pub again: Again,
}

/// The rule's memory.
#[derive(Debug, Clone, Default)]
pub struct Rule {}

// === impl Rule ===

impl Rule {
    /// Takes one sample of all queues of a group and says what to do.
    pub fn observe(&mut self, _now: Now, _seen: &[Observation]) -> Orders {
        Orders { steal: Vec::new(), to: Vec::new(), avoid: Vec::new(), again: Again::WhenReadable }
    }
}
