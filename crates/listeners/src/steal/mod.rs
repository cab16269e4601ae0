//! The steal rule: what to do about queues that nobody empties. Pure.

mod rule;

pub use rule::{Again, Observation, Occupant, Orders, PlaceId, Rule};
