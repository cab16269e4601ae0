//! The sockets of one shared address.

mod open;
mod patrol;
mod slots;
mod store;

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use skep_core::SlotId;
use skep_sys::net::{LocalAddress, Queue, UnixIdentity, tcp_queue};

use crate::steal::{PlaceId, Rule};
use crate::{Address, Balance, GroupKey, Options, Selection, Watcher};

pub use patrol::{Move, Round};

/// The sockets of one shared address. See the crate's documentation for how it is used.
///
/// Dropping a group closes our descriptors; connections that wait are reset only when nobody else (a worker,
/// the keeper) holds the sockets. [`Group::close`] is the deliberate end.
#[derive(Debug)]
pub struct Group {
    address: Address,
    local: LocalAddress,
    options: Options,
    form: Form,
    /// In the order in which the kernel numbers them: the order of their `listen`, and the last one takes the
    /// place of one that is closed.
    places: Vec<Place>,
    /// Ascending.
    slots: Vec<Slot>,
    identity: Option<UnixIdentity>,
    rule: Rule,
    avoid: Vec<PlaceId>,
    turn: usize,
    watch: Option<(Watcher, GroupKey)>,
    changed: bool,
}

/// How the slots share the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A socket for each, bound to this resolved address.
    Each(SocketAddr),
    /// One socket.
    One,
}

/// A socket.
#[derive(Debug)]
struct Place {
    id: PlaceId,
    socket: OwnedFd,
    /// Its slot was retired: taken again by the next new slot, else closed when it has been quiet long enough.
    leaving: bool,
}

/// A slot.
#[derive(Debug, Clone, Copy)]
struct Slot {
    id: SlotId,
    place: PlaceId,
    live: bool,
    weight: u32,
    load: u64,
}

// === impl Group ===

impl Group {
    /// The address asked for, with port 0 resolved.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The address as the kernel tells it: what a worker must be told.
    #[must_use]
    pub fn local_address(&self) -> &LocalAddress {
        &self.local
    }

    /// What was asked for.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Who chooses the slot of a new connection, and why.
    #[must_use]
    pub fn selection(&self) -> Selection {
        todo_selection(self.options.balance)
    }

    /// Each slot's accept queue, for people. Slots of a shared socket all show the same queue; UDP and Unix
    /// sockets have none to show.
    #[must_use]
    pub fn queues(&self) -> Vec<(SlotId, Option<Queue>)> {
        self.slots.iter().map(|slot| (slot.id, self.place(slot.place).and_then(Place::queue))).collect()
    }

    /// Says once whether the safe-box is out of date: [`Group::note`] and [`Group::descriptors`] have to be
    /// stored anew.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    fn place(&self, id: PlaceId) -> Option<&Place> {
        self.places.iter().find(|place| place.id == id)
    }

    fn slot_mut(&mut self, id: SlotId) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.id == id)
    }
}

fn todo_selection(_balance: Balance) -> Selection {
    Selection { selector: crate::Selector::KernelHash, why: String::new() }
}

// === impl Place ===

impl Place {
    fn queue(&self) -> Option<Queue> {
        tcp_queue(self.socket.as_fd()).ok()
    }
}
