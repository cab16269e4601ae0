//! A group in the keeper's safe-box.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use skep_sys::net::{UnixName, remove_unix_path};

use super::Group;
use crate::{Address, AdoptError};

// === impl Group ===

impl Group {
    /// All that a new daemon must know besides the descriptors.
    #[must_use]
    pub fn note(&self) -> Vec<u8> {
        Vec::new()
    }

    /// The descriptors to keep, in the order that [`Group::adopt`] wants them back. May be more than one
    /// message can carry (253): store them in portions then.
    #[must_use]
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.places.iter().map(|place| place.socket.as_fd()).collect()
    }

    /// Makes the same group again. All slots start as not live: say which ones are.
    ///
    /// # Errors
    /// [`AdoptError`]; the descriptors are closed then.
    pub fn adopt(note: &[u8], descriptors: Vec<OwnedFd>) -> Result<Self, AdoptError> {
        let _ = descriptors;
        Err(AdoptError::Note(serde_json::from_slice::<()>(note).expect_err("not written yet")))
    }

    /// Ends the group: its Unix path is removed if it still is ours. Connections that wait are reset as soon as
    /// the keeper has dropped its copies.
    ///
    /// # Errors
    /// Those of unlink(2).
    pub fn close(self) -> io::Result<()> {
        if let (Address::Unix { path, .. }, Some(identity)) = (&self.address, self.identity) {
            remove_unix_path(path, identity)?;
        }
        let _ = UnixName::Abstract;
        Ok(())
    }
}
