//! The sockets of one shared address.

mod open;
mod patrol;
mod slots;
mod store;

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use skep_core::SlotId;
use skep_sys::net::{LocalAddress, Queue, UnixIdentity, tcp_queue};

use crate::steal::{PlaceId, Power, Rule};
use crate::steer::{Candidate, Engine};
use crate::{Address, GroupKey, Options, Selection, Selector, Transfer, Watcher};

pub use patrol::{Move, Queued, Round, Waiting};

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
    engine: Engine,
    rule: Rule,
    /// Places that the rule wants new connections to avoid.
    avoid: Vec<PlaceId>,
    /// Whose turn it is to get a connection that is handed over.
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

/// A socket. One that no slot uses is taken by the next new slot, or closed when it has been quiet for a while.
#[derive(Debug)]
struct Place {
    id: PlaceId,
    /// Shared with connections that are to be taken out of its queue.
    socket: Arc<OwnedFd>,
    /// One more for each [`Queued`] of it.
    ordered: Arc<()>,
}

/// A slot.
#[derive(Debug, Clone, Copy)]
struct Slot {
    id: SlotId,
    place: PlaceId,
    live: bool,
    weight: u32,
    load: u64,
    pending: u32,
}

fn power(options: &Options) -> Power {
    match options.transfer {
        Transfer::Connections => Power::Move,
        Transfer::Nothing => Power::Steer,
    }
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
        self.engine.selection()
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

    fn datagrams(&self) -> bool {
        matches!(self.address, Address::Udp { .. })
    }

    /// Puts the present state into the selector's tables.
    fn steer(&mut self) {
        let Some(first) = self.places.first() else { return };
        let tenants: Vec<Option<&Slot>> =
            self.places.iter().map(|place| self.slots.iter().find(|slot| slot.place == place.id)).collect();
        // The first of these wishes that anyone fulfils; connections that find nobody wait for a successor.
        let wishes: [&dyn Fn(&Slot) -> bool; 4] = [
            &|slot| slot.live && slot.weight > 0 && !self.avoid.contains(&slot.place),
            &|slot| slot.live && slot.weight > 0,
            &|slot| slot.live,
            &|_| true,
        ];
        let wanted = |slot: Option<&Slot>| {
            let wish = wishes.iter().find(|wish| self.slots.iter().any(wish));
            wish.is_none_or(|wish| slot.is_some_and(wish))
        };
        let candidates: Vec<Candidate> = (0..)
            .zip(self.places.iter().zip(&tenants))
            .map(|(position, (place, slot))| Candidate {
                place: place.id,
                position,
                weight: slot.map_or(1, |slot| slot.weight.max(1)),
                wanted: wanted(*slot),
                tenanted: slot.is_some(),
            })
            .collect();
        self.changed |= self.engine.apply(&candidates, first.socket.as_fd());
    }

    /// Watches all sockets for the next connection.
    fn arm(&self) {
        if self.datagrams() || self.engine.selection().selector == Selector::Shared {
            return;
        }
        for place in &self.places {
            self.arm_place(place);
        }
    }

    fn arm_place(&self, place: &Place) {
        if let Some((watcher, key)) = &self.watch {
            // ENOSPC or ENOMEM: this socket's queue is then seen by the next patrol only.
            let _ = watcher.arm(*key, place.socket.as_fd());
        }
    }

    fn slot_mut(&mut self, id: SlotId) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.id == id)
    }
}

// === impl Place ===

impl Place {
    fn new(id: PlaceId, socket: OwnedFd) -> Self {
        Self { id, socket: Arc::new(socket), ordered: Arc::new(()) }
    }

    /// Connections that are to be taken out, as long as nobody has said that they were.
    fn ordered(&self) -> u32 {
        u32::try_from(Arc::strong_count(&self.ordered) - 1).unwrap_or(u32::MAX)
    }

    fn queue(&self) -> Option<Queue> {
        tcp_queue(self.socket.as_fd()).ok()
    }
}

// === impl Drop ===

impl Drop for Group {
    /// The keeper holds duplicates, so closing alone would leave the sockets in the watcher.
    fn drop(&mut self) {
        if let Some((watcher, _)) = &self.watch {
            for place in &self.places {
                watcher.forget(place.socket.as_fd());
            }
        }
    }
}
