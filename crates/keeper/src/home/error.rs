//! What can be wrong with a home, and what to do about it.

use std::io;
use std::path::PathBuf;

use skep_sys::spawn::Failure;

/// Why a home cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// No variable says where.
    #[error(
        "cannot decide where to live: none of SKEP_HOME, XDG_STATE_HOME and HOME is set; set SKEP_HOME to a directory \
         of your own"
    )]
    Nowhere,
    /// The directory or a file in it cannot be made or opened.
    #[error("cannot {action} {path}: {source}{hint}", path = path.display(), hint = hint(source))]
    File {
        /// "create", "open"…
        action: &'static str,
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something else is there.
    #[error("{} is not a directory; move it away, or set SKEP_HOME to another place", path.display())]
    NotDirectory {
        /// What is there.
        path: PathBuf,
    },
    /// It belongs to another user.
    #[error(
        "{} belongs to user {owner}, and you are user {us}; run skep as that user, or set SKEP_HOME to a directory of \
         your own",
        path.display()
    )]
    ForeignOwner {
        /// The directory.
        path: PathBuf,
        /// Its owner's user id.
        owner: u32,
        /// Ours.
        us: u32,
    },
    /// Others may write to it.
    #[error(
        "other users may write to {} (mode {mode:04o}), so they could command your processes; run: chmod go-w {}",
        path.display(),
        path.display()
    )]
    OpenToOthers {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Whoever listens on the socket is not us.
    #[error("the process that listens on {} belongs to user {owner}, and you are user {us}", path.display())]
    ForeignListener {
        /// The socket.
        path: PathBuf,
        /// The listener's user id.
        owner: u32,
        /// Ours.
        us: u32,
    },
    /// The keeper could not be started.
    #[error("cannot start skep's keeper: {0}")]
    Start(#[from] Failure),
    /// Somebody holds the lock and nobody listens.
    #[error(
        "a keeper{} holds {} but nobody listens on its socket; was the socket's file deleted? End that keeper (its \
         workers end with it) and try again",
        pid.map_or(String::new(), |pid| format!(" (pid {pid})")),
        lock.display()
    )]
    Unreachable {
        /// The lock.
        lock: PathBuf,
        /// The keeper's pid, if it is known.
        pid: Option<i32>,
    },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space there, or set SKEP_HOME"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; set SKEP_HOME to a directory that you can write to"
        }
        _ => "",
    }
}
