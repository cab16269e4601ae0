//! A group in the keeper's safe-box.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};
use skep_core::SlotId;
use skep_sys::net::{UnixIdentity, UnixName, local_address, remove_unix_path};

use super::{Form, Group, Place, Slot};
use crate::steal::{PlaceId, Rule};
use crate::steer::{Engine, Stored};
use crate::{Address, AdoptError, Options};

/// What a new daemon must know of a group besides its descriptors. Fields may be added with a default; a note
/// that does not read makes the daemon open the address anew.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    address: Address,
    options: Options,
    /// Resolved address of a group with a socket for each slot.
    each: Option<SocketAddr>,
    /// In the kernel's order.
    places: Vec<PlaceId>,
    slots: Vec<StoredSlot>,
    /// Device and inode of a Unix path.
    identity: Option<(u64, u64)>,
    engine: Stored,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredSlot {
    id: SlotId,
    place: PlaceId,
    weight: u32,
}

// === impl Group ===

impl Group {
    /// All that a new daemon must know besides the descriptors. Some hundred bytes, up to 2 KB under `ip`.
    #[must_use]
    pub fn note(&self) -> Vec<u8> {
        let note = Note {
            address: self.address.clone(),
            options: self.options,
            each: match self.form {
                Form::Each(at) => Some(at),
                Form::One => None,
            },
            places: self.places.iter().map(|place| place.id).collect(),
            slots: self
                .slots
                .iter()
                .map(|slot| StoredSlot { id: slot.id, place: slot.place, weight: slot.weight })
                .collect(),
            identity: self.identity.map(|identity| (identity.device, identity.inode)),
            engine: self.engine.stored(),
        };
        serde_json::to_vec(&note).expect("a note holds only numbers, texts and lists")
    }

    /// The descriptors to keep, in the order that [`Group::adopt`] wants them back. May be more than one
    /// message can carry (253): store them in portions then.
    #[must_use]
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.places.iter().map(|place| place.socket.as_fd()).chain(self.engine.descriptors()).collect()
    }

    /// Makes the same group again. All slots start as not live: say which ones are. Nothing changes for clients
    /// until then.
    ///
    /// # Errors
    /// [`AdoptError`]; the descriptors are closed then.
    pub fn adopt(note: &[u8], mut descriptors: Vec<OwnedFd>) -> Result<Self, AdoptError> {
        let note: Note = serde_json::from_slice(note)?;
        let expected = note.places.len() + note.engine.descriptors();
        let refuse =
            |found| AdoptError::Descriptors { address: Box::new(note.address.clone()), expected, found };
        let found = descriptors.len();
        let first = match descriptors.first() {
            Some(first) if found == expected && !note.places.is_empty() => first,
            Some(_) | None => return Err(refuse(found)),
        };
        let unix = match &note.address {
            Address::Unix { path, .. } => Some(UnixName::Path(path.clone())),
            Address::Abstract { name } => Some(UnixName::Abstract(name.clone())),
            Address::Tcp { .. } | Address::Udp { .. } => None,
        };
        let local = match unix {
            Some(name) => crate::LocalAddress::Unix(name),
            None => local_address(first).map_err(|_| refuse(found))?,
        };
        let maps = descriptors.split_off(note.places.len());
        let engine: Engine = note.engine.clone().revive(maps).ok_or_else(|| refuse(found))?;
        let places =
            note.places.iter().zip(descriptors).map(|(id, socket)| Place::new(*id, socket)).collect();
        let slot = |s: &StoredSlot| Slot {
            id: s.id,
            place: s.place,
            live: false,
            weight: s.weight,
            load: 0,
            pending: 0,
        };
        Ok(Self {
            local,
            form: note.each.map_or(Form::One, Form::Each),
            places,
            slots: note.slots.iter().map(slot).collect(),
            identity: note.identity.map(|(device, inode)| UnixIdentity { device, inode }),
            engine,
            rule: Rule::new(super::power(&note.options)),
            avoid: Vec::new(),
            turn: 0,
            watch: None,
            changed: false,
            address: note.address,
            options: note.options,
        })
    }

    /// Ends the group: its Unix path is removed if it still is ours. Connections that wait are reset as soon as
    /// the keeper has dropped its copies.
    ///
    /// # Errors
    /// Those of unlink(2).
    pub fn close(self) -> io::Result<()> {
        for place in &self.places {
            // Copies that the keeper or a worker still closes must not listen a moment longer. (A datagram socket that
            // is not connected answers ENOTCONN: its port is free when the last copy is closed.)
            let _ = rustix::net::shutdown(&place.socket, rustix::net::Shutdown::Both);
        }
        if let (Address::Unix { path, .. }, Some(identity)) = (&self.address, self.identity) {
            remove_unix_path(path, identity)?;
        }
        Ok(())
    }
}
