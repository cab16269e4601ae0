//! What the daemon tells of its slots.

use skep_core::SlotId;
use skep_sys::net::set_nonblocking;

use super::{Form, Group, Slot};
use crate::{Selector, Transfer};

// === impl Group ===

impl Group {
    /// Says whether a worker listens on the slot. While it does not, new connections go to other slots (if the
    /// selector can steer), and patrols rescue those that wait: call [`Group::patrol`] next. Unknown slots are
    /// ignored.
    pub fn set_live(&mut self, slot: SlotId, live: bool) {
        let Some(known) = self.slot_mut(slot).filter(|known| known.live != live) else { return };
        known.live = live;
        known.pending = 0;
        let known = *known;
        if live {
            self.level_load(&known);
        } else if let Some(place) = self.place(known.place).filter(|_| self.form != Form::One) {
            // A program under bind interception may have made the socket blocking; the next one says anew.
            let _ = set_nonblocking(&place.socket);
        }
        self.steer();
        self.arm();
    }

    /// Whether what waits in the slot's queue would be lost with the slot: connections cannot be given to the others, nor
    /// does the kernel move them. Others are there, so that new connections are steered around it and its own worker can
    /// empty the queue before it goes.
    #[must_use]
    pub fn strands(&self, slot: SlotId) -> bool {
        let others = self.slots.iter().any(|other| other.live && other.id != slot);
        let each = self.form != Form::One && !self.datagrams();
        each && others && self.options.transfer == Transfer::Nothing && !self.engine.migrates()
    }

    /// Share of a slot's connections (all balances but `least`, `hash`, `ip`, `shared`): 0 keeps new ones away.
    /// Starts at 1.
    pub fn set_weight(&mut self, slot: SlotId, weight: u32) {
        if let Some(known) = self.slot_mut(slot).filter(|known| known.weight != weight) {
            known.weight = weight;
            self.steer();
        }
    }

    /// Load of a slot under `least` and `ipc`, in connections: the worker's open descriptors, or the
    /// connections it has not acknowledged yet. Between two calls the kernel adds one for each choice.
    pub fn set_load(&mut self, slot: SlotId, load: u64) {
        if let Some(known) = self.slot_mut(slot) {
            known.load = load;
            let place = known.place;
            if self.counts_load() {
                self.engine.set_load(place, load);
            }
        }
    }

    /// How many connections that were handed to the slot's worker are not acknowledged yet. A worker that has not
    /// acknowledged is the last to be handed another one: what is in its channel cannot be taken back.
    pub fn set_pending(&mut self, slot: SlotId, pending: u32) {
        if let Some(known) = self.slot_mut(slot) {
            known.pending = pending;
        }
    }

    /// A worker that comes up starts beside the others, not below them: otherwise it would get every new
    /// connection until it has caught up with what the others have counted since their last feedback.
    fn level_load(&mut self, slot: &Slot) {
        if !self.counts_load() {
            return;
        }
        let others = self.slots.iter().filter(|other| other.live && other.id != slot.id);
        if let Some(least) = others.filter_map(|other| self.engine.load(other.place)).min() {
            self.engine.set_load(slot.place, least);
        }
    }

    pub(super) fn counts_load(&self) -> bool {
        self.engine.selection().selector == Selector::EbpfLeast
    }

    /// Closes a slot for good.
    ///
    /// Call it when its worker has gone, and [`Group::patrol`] next: connections wait there and handshakes may be under
    /// way, so the socket stays a moment longer, avoided by new connections, and patrols rescue what is there and what
    /// still comes in. A slot that is added meanwhile takes the socket over. Datagrams that waited are lost; UDP sockets
    /// stay for the next slot.
    pub fn retire(&mut self, slot: SlotId) {
        let Some(at) = self.slots.iter().position(|s| s.id == slot) else { return };
        let gone = self.slots.remove(at);
        self.changed = true;
        if self.form == Form::One {
            return;
        }
        self.steer();
        self.arm();
        if let Some(place) = self.place(gone.place).filter(|_| !self.datagrams()) {
            let _ = set_nonblocking(&place.socket);
        }
    }
}
