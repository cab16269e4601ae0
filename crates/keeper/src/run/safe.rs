//! The safe-box: descriptors under opaque keys, with opaque notes.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::os::fd::OwnedFd;

use rustix::io::Errno;

use crate::wire::{KEY_BYTES_MAX, NOTE_BYTES_MAX};

/// How many keys there can be; the descriptor limit is reached long before.
const KEYS_MAX: usize = 256 * 1024;

/// What is kept under one key.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) note: Vec<u8>,
    pub(crate) fds: Vec<OwnedFd>,
}

#[derive(Debug, Default)]
pub(crate) struct SafeBox(BTreeMap<Vec<u8>, Stored>);

impl SafeBox {
    /// Keeps it, in place of what was there; on an error that stays.
    pub(crate) fn store(&mut self, key: Vec<u8>, stored: Stored) -> Result<(), Errno> {
        self.has_room(&key, &stored.note)?;
        self.0.insert(key, stored);
        Ok(())
    }

    /// Whether this could be kept.
    pub(crate) fn has_room(&self, key: &[u8], note: &[u8]) -> Result<(), Errno> {
        if key.len() > KEY_BYTES_MAX || note.len() > NOTE_BYTES_MAX {
            return Err(Errno::TOOBIG);
        }
        if self.0.len() >= KEYS_MAX && !self.0.contains_key(key) {
            return Err(Errno::NOSPC);
        }
        Ok(())
    }

    /// Keeps what another version of the keeper kept, whose bounds may have been wider.
    pub(crate) fn restore(&mut self, key: Vec<u8>, stored: Stored) {
        self.0.insert(key, stored);
    }

    pub(crate) fn remove(&mut self, key: &[u8]) {
        self.0.remove(key);
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&Stored> {
        self.0.get(key)
    }

    /// Gives back what is kept under a key.
    pub(crate) fn take(&mut self, key: &[u8]) -> Option<Stored> {
        self.0.remove(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Vec<u8>, &Stored)> {
        self.0.iter()
    }

    /// The first one behind `after`, for an inventory.
    pub(crate) fn next_after(&self, after: Option<&[u8]>) -> Option<(&Vec<u8>, &Stored)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.0.range::<[u8], _>((from, Bound::Unbounded)).next()
    }
}
