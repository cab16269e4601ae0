//! What daemon and keeper say to each other: own tag–length–value encoding, no text, no schema compiler.
//!
//! One message is one packet on a `SOCK_SEQPACKET` pair: a 4-byte header, then fields. Fields with unknown tags
//! are skipped; a message of an unknown kind is answered with [`Reply::Unknown`] and otherwise ignored. The
//! version is agreed once, by [`Request::Hello`] and [`Reply::Welcome`]: a keeper lives through many versions of
//! the daemon. Payloads that are too long for a packet travel in a memfd (see `channel.rs`).
//!
//! This module knows neither sockets nor descriptors: bytes in, messages out.

mod adopt;
mod pass;
mod reply;
mod request;
mod spawn;
#[cfg(test)]
mod tests;
pub(crate) mod tlv;

pub use adopt::Adopt;
pub use pass::{Origin, Pass, Passed};
pub use reply::{ChildState, Reply};
pub use request::{Request, Scope};
pub use spawn::{Credentials, FdSource, Limit, Spawn, Stop};

/// The protocol version that this build speaks best.
pub const VERSION: u32 = 2;
/// The oldest protocol version that this build still speaks.
pub const VERSION_OLDEST: u32 = 1;
/// The first version that knows [`Request::Pass`].
pub const VERSION_WITH_PASS: u32 = 2;

/// The protocol versions that this process speaks, newest and oldest: a keeper and a daemon of neighbouring releases
/// agree on the newest that both know.
#[must_use]
pub fn speaks() -> (u32, u32) {
    crate::fault::speaks().unwrap_or((VERSION, VERSION_OLDEST))
}

/// The version for a peer that speaks from `oldest` to `newest`; `None` when there is none in common.
pub(crate) fn agreed(newest: u32, oldest: u32) -> Option<u32> {
    let (our_newest, our_oldest) = speaks();
    let common = newest.min(our_newest);
    (common >= oldest.max(our_oldest)).then_some(common)
}

/// The longest payload of a message in bytes. `execve` refuses arguments and environment beyond a quarter of the
/// stack limit (2 MiB by default, 6 MiB at most: `fs/exec.c`, `bprm_stack_limits`), so nothing useful is longer.
pub const PAYLOAD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The longest key of a stored descriptor in bytes: a name, not a document.
pub const KEY_BYTES_MAX: usize = 512;

/// The longest note (of a child or of stored descriptors) in bytes; larger state belongs into a stored memfd, so
/// that the keeper's own memory stays small.
pub const NOTE_BYTES_MAX: usize = 16 * 1024;

/// How many descriptors a single message may carry; below the kernel's 253 so that a memfd for the payload always
/// fits beside them.
pub const FDS_MAX: usize = 240;

/// A packet that is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It ends in the middle of something.
    #[error("the message is cut off")]
    CutOff,
    /// A field's value makes no sense.
    #[error("field {tag} of the message has a value that it cannot have")]
    BadValue {
        /// The field's tag (see the source of `wire`).
        tag: u16,
    },
    /// A field that the message cannot do without is absent.
    #[error("field {tag} of the message is missing")]
    Missing {
        /// The field's tag.
        tag: u16,
    },
    /// The kind of message is unknown to this version.
    #[error("message kind {kind} is unknown to this version of skep")]
    UnknownKind {
        /// The kind's number.
        kind: u16,
    },
}

/// Tags of fields, common to all messages; never reuse a number.
pub(crate) mod tag {
    pub(crate) const CHILD: u16 = 1;
    pub(crate) const VERSION: u16 = 2;
    pub(crate) const VERSION_OLDEST: u16 = 3;
    pub(crate) const PID: u16 = 4;
    pub(crate) const START_TIME: u16 = 5;
    pub(crate) const KEY: u16 = 6;
    pub(crate) const NOTE: u16 = 7;
    pub(crate) const SIGNAL: u16 = 8;
    pub(crate) const SCOPE: u16 = 9;
    pub(crate) const STAGE: u16 = 10;
    pub(crate) const ERRNO: u16 = 11;
    pub(crate) const EXIT_CODE: u16 = 12;
    pub(crate) const EXIT_SIGNAL: u16 = 13;
    pub(crate) const CORE_DUMPED: u16 = 14;
    pub(crate) const PATH: u16 = 15;
    pub(crate) const REASON: u16 = 16;
    pub(crate) const KIND: u16 = 17;
    pub(crate) const GENERATION: u16 = 18;
    pub(crate) const STATE: u16 = 19;
    pub(crate) const GRACE_MS: u16 = 20;
    pub(crate) const BUILD: u16 = 21;
    pub(crate) const EXPIRES: u16 = 22;
    pub(crate) const TICKET: u16 = 23;
    pub(crate) const LINE: u16 = 24;
    pub(crate) const ORIGIN: u16 = 25;
    pub(crate) const OUTCOME: u16 = 26;

    pub(crate) const ARGUMENT: u16 = 40;
    pub(crate) const ENVIRONMENT: u16 = 41;
    pub(crate) const CWD: u16 = 42;
    pub(crate) const UID: u16 = 43;
    pub(crate) const GID: u16 = 44;
    pub(crate) const GROUP: u16 = 45;
    pub(crate) const UMASK: u16 = 46;
    pub(crate) const LIMIT: u16 = 47;
    pub(crate) const NICE: u16 = 48;
    pub(crate) const NO_NEW_PRIVILEGES: u16 = 49;
    pub(crate) const BIND_SHARE: u16 = 50;
    pub(crate) const KILL_TREE: u16 = 51;
    pub(crate) const DESCRIPTOR: u16 = 52;
    pub(crate) const CREDENTIALS: u16 = 53;
    pub(crate) const TARGET: u16 = 54;
    pub(crate) const SOURCE: u16 = 55;
    pub(crate) const INDEX: u16 = 56;
    pub(crate) const RESOURCE: u16 = 57;
    pub(crate) const SOFT: u16 = 58;
    pub(crate) const HARD: u16 = 59;
    pub(crate) const STOP: u16 = 60;

    pub(crate) const FD: u16 = 80;
    pub(crate) const TOLD: u16 = 81;
    pub(crate) const STATUS_FD: u16 = 82;
    pub(crate) const NOTIFY_FD: u16 = 83;
    pub(crate) const CONTROL_FD: u16 = 84;
    pub(crate) const LOCK_FD: u16 = 85;
    pub(crate) const DAEMON: u16 = 86;
    pub(crate) const STORED: u16 = 87;
    pub(crate) const ENDING: u16 = 88;
    pub(crate) const FORGOTTEN: u16 = 90;
    pub(crate) const FOREIGN: u16 = 91;
}

/// Takes an optional field that must be there.
pub(crate) fn needed<T>(value: Option<T>, tag: u16) -> Result<T, Malformed> {
    value.ok_or(Malformed::Missing { tag })
}
