//! What the daemon tells of its slots.

use std::os::fd::{AsFd, OwnedFd};

use skep_core::SlotId;
use skep_sys::net::{Accepted, accept, set_nonblocking};

use super::{Form, Group};

// === impl Group ===

impl Group {
    /// Says whether a worker listens on the slot. While it does not, new connections go to other slots (if the
    /// selector can steer), and patrols rescue those that wait. Unknown slots are ignored.
    pub fn set_live(&mut self, slot: SlotId, live: bool) {
        let Some(known) = self.slot_mut(slot) else { return };
        if known.live == live {
            return;
        }
        known.live = live;
        let place = known.place;
        if !live
            && let Some(place) = self.place(place)
        {
            // A program under bind interception may have made the socket blocking; the next one says anew.
            let _ = set_nonblocking(&place.socket);
        }
    }

    /// Share of a slot under `weighted` (and `random`, `rr`): 0 keeps new connections away. Starts at 1.
    pub fn set_weight(&mut self, slot: SlotId, weight: u32) {
        if let Some(known) = self.slot_mut(slot) {
            known.weight = weight;
        }
    }

    /// Load of a slot under `least` and `ipc`, in connections: the worker's open descriptors, or the
    /// connections it has not acknowledged yet.
    pub fn set_load(&mut self, slot: SlotId, load: u64) {
        if let Some(known) = self.slot_mut(slot) {
            known.load = load;
        }
    }

    /// Closes a slot for good and returns the connections that waited there, for other slots.
    ///
    /// Call it when its worker has gone. The socket stays a moment longer, avoided by new connections, because
    /// handshakes may be under way; patrols rescue those, so call [`Group::patrol`] next.
    pub fn retire(&mut self, slot: SlotId) -> Vec<OwnedFd> {
        let Some(at) = self.slots.iter().position(|s| s.id == slot) else { return Vec::new() };
        let gone = self.slots.remove(at);
        self.changed = true;
        if self.form == Form::One {
            return Vec::new();
        }
        let Some(place) = self.places.iter_mut().find(|place| place.id == gone.place) else {
            return Vec::new();
        };
        place.leaving = true;
        let _ = set_nonblocking(&place.socket);
        let mut waiting = Vec::new();
        while let Ok(Accepted::Connection(connection)) = accept(place.socket.as_fd()) {
            waiting.push(connection);
        }
        waiting
    }
}
