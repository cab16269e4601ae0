//! A fake machine for the core: processes, wire, disk and time, all decided by one seed.
//!
//! [`World`] drives [`skep_core::Fleet`] exactly as the daemon does (decide, write to disk, store the snapshot, carry
//! out) and may kill it after each step. [`Witness`] watches every turn. [`Scenario`] tells one story readably;
//! [`History`] makes up a random one.

mod dice;
mod history;
mod kernel;
mod process;
mod scenario;
mod sights;
mod wire;
mod witness;
mod world;

pub use dice::Dice;
pub use history::{Genre, History};
pub use kernel::Kernel;
pub use process::{Behaviour, Draining};
pub use scenario::Scenario;
pub use sights::Sights;
pub use wire::{Manners, Wire};
pub use witness::{Checked, Violation, Witness};
pub use world::{Cast, Memory, World};
