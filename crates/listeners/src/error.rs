//! Why an address could not be opened, and what to do about it.

use skep_core::SlotId;
use skep_sys::net::NetError;

use crate::{Address, Holder};

/// An address could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// EADDRINUSE.
    #[error("{address} is in use{}; stop that program or choose another address", held_by(.holder.as_ref()))]
    InUse {
        /// What was to be opened.
        address: Box<Address>,
        /// Who has it, when that can be seen.
        holder: Option<Holder>,
    },
    /// EACCES or EPERM.
    #[error("{address}: permission denied ({source}); {}", denied_hint(.address))]
    Denied {
        /// What was to be opened.
        address: Box<Address>,
        /// Step and errno.
        source: NetError,
    },
    /// EADDRNOTAVAIL.
    #[error("{address}: no network interface of this machine has this address; use * for all of them")]
    NotAvailable {
        /// What was to be opened.
        address: Box<Address>,
    },
    /// Anything else.
    #[error("{address}: {source}")]
    Failed {
        /// What was to be opened.
        address: Box<Address>,
        /// Step and errno.
        source: NetError,
    },
    /// More slots than [`crate::SLOTS_MAX`].
    #[error(
        "{address}: slot {slot} would be one more than {} on one address; lower `instances`",
        crate::SLOTS_MAX
    )]
    TooManySlots {
        /// The group's address.
        address: Box<Address>,
        /// The slot that did not fit.
        slot: SlotId,
    },
}

/// A group could not be rebuilt from the safe-box. Open the address anew: nothing else holds it then.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The note is not one of ours, or of a future version.
    #[error("the note of a stored listener does not read as one ({0}); it will be opened anew")]
    Note(#[from] serde_json::Error),
    /// The note and the descriptors do not belong together.
    #[error(
        "the note of {address} speaks of {expected} descriptors, {found} are here; it will be opened anew"
    )]
    Descriptors {
        /// The group's address.
        address: Box<Address>,
        /// How many the note describes.
        expected: usize,
        /// How many were given.
        found: usize,
    },
}

// === impl ListenError ===

impl ListenError {
    /// The positive errno, as a worker that asked for the address expects to see it.
    #[must_use]
    pub fn errno(&self) -> i32 {
        match self {
            Self::InUse { .. } => rustix::io::Errno::ADDRINUSE.raw_os_error(),
            Self::NotAvailable { .. } => rustix::io::Errno::ADDRNOTAVAIL.raw_os_error(),
            Self::Denied { source, .. } | Self::Failed { source, .. } => source.errno(),
            Self::TooManySlots { .. } => rustix::io::Errno::MFILE.raw_os_error(),
        }
    }

    pub(crate) fn new(address: &Address, source: NetError) -> Self {
        let boxed = || Box::new(address.clone());
        match rustix::io::Errno::from_raw_os_error(source.errno()) {
            rustix::io::Errno::ADDRINUSE => {
                Self::InUse { address: boxed(), holder: crate::holder::find(address) }
            }
            rustix::io::Errno::ACCESS | rustix::io::Errno::PERM => Self::Denied { address: boxed(), source },
            rustix::io::Errno::ADDRNOTAVAIL => Self::NotAvailable { address: boxed() },
            _ => Self::Failed { address: boxed(), source },
        }
    }
}

fn held_by(holder: Option<&Holder>) -> String {
    holder.map_or_else(String::new, |holder| format!(" by {holder}"))
}

fn denied_hint(address: &Address) -> &'static str {
    match address {
        Address::Tcp { .. } | Address::Udp { .. } => {
            "ports below net.ipv4.ip_unprivileged_port_start (1024) need CAP_NET_BIND_SERVICE: choose a higher \
             port, lower that sysctl, or run skep with the capability"
        }
        Address::Unix { .. } => {
            "the directory must be writable, and only root may give a path to someone else"
        }
        Address::Abstract { .. } => "a sandbox forbids it",
    }
}
