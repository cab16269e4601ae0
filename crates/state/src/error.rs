//! What can go wrong, each with what to do about it.

use std::path::PathBuf;

/// Why an operation on the store did not happen. Nothing was changed when one of these is returned.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no store at the path.
    #[error("no shared state at {path}: start the program with skep, or create it with Supervisor::open")]
    NoStore {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The path belongs to somebody else, or others may enter it.
    #[error(
        "{path} must be owned by uid {uid} with mode {mode:o}, found uid {found_uid} mode {found_mode:o}: \
             remove it or run `chown`/`chmod`"
    )]
    NotOurs {
        /// The offending path.
        path: PathBuf,
        /// Who should own it.
        uid: u32,
        /// What mode it should have.
        mode: u32,
        /// Who owns it.
        found_uid: u32,
        /// Its mode.
        found_mode: u32,
    },
    /// A file at the path is not ours.
    #[error(
        "{path} is not a skep store ({why}): choose another folder, or remove the file if nothing needs it"
    )]
    Foreign {
        /// The offending path.
        path: PathBuf,
        /// What gave it away.
        why: String,
    },
    /// The store was made by a version of skep with another layout.
    #[error(
        "{path} has layout {found}, this skep reads layout {ours}: \
             use the same version of skep (npm package and daemon), or stop all workers and remove the folder"
    )]
    Version {
        /// The store's control file.
        path: PathBuf,
        /// Its layout number.
        found: u32,
        /// The layout number of this library.
        ours: u32,
    },
    /// The store's files contradict each other or LMDB rejects them.
    #[error("{path} is damaged ({why}): stop all workers and restore a backup, or remove the folder")]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// What contradicts.
        why: String,
    },
    /// The store is at its configured size.
    #[error(
        "the shared state is full: {bytes} of {max} bytes; raise it (`skep state config max_size=2G`), or delete keys or set a ttl"
    )]
    Full {
        /// Its size.
        bytes: u64,
        /// The size that it may have.
        max: u64,
    },
    /// The file system has no room for the store to grow.
    #[error(
        "no space for the shared state to grow to {bytes} bytes in {path} ({errno}): \
             make room there; in memory (Docker gives /dev/shm 64 MB: --shm-size) or use a disk (`skep state config dir=/path`)"
    )]
    NoSpace {
        /// The folder.
        path: PathBuf,
        /// The size that was asked for.
        bytes: u64,
        /// What the kernel said.
        errno: std::io::Error,
    },
    /// A key or name is too long.
    #[error("a {what} of {bytes} bytes is over the limit of {max}: use a shorter one, or a hash of it")]
    KeyTooLong {
        /// Which name.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A value is too long.
    #[error(
        "a value of {bytes} bytes is over the limit of {max}: split it, or raise the limit (`skep state config max_value=64M`)"
    )]
    ValueTooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        max: u64,
    },
    /// Counter slots are given once and for ever; all are given.
    #[error("all {max} counters are in use: use a map for per-user counts")]
    TooManyCounters {
        /// How many there are.
        max: u32,
    },
    /// All places in the table of processes are taken.
    #[error("all {max} places for attached processes are taken: run fewer workers")]
    TooManyWorkers {
        /// How many there are.
        max: u32,
    },
    /// Another writer has held the lock far too long.
    #[error(
        "process {pid} has held the writer's lock for over {waited_ms} ms: \
             it is stopped (SIGSTOP) or out of CPU quota; retry, or end it"
    )]
    Busy {
        /// The holder.
        pid: u32,
        /// How long this call waited.
        waited_ms: u32,
    },
    /// More is asked of a disk than it can write.
    #[error(
        "{pending} operations of durable queues wait for the disk: wait for the promise of a push before the next ones"
    )]
    Behind {
        /// How many wait.
        pending: usize,
    },
    /// The key holds another type.
    #[error("the key holds a {found}, not a {wanted}")]
    WrongType {
        /// What it holds.
        found: &'static str,
        /// What the operation needs.
        wanted: &'static str,
    },
    /// A value that must be a number is none.
    #[error("the value is not {0}")]
    NotANumber(&'static str),
    /// A sum left the range of its type.
    #[error("increment or decrement would overflow")]
    Overflow,
    /// One transaction made too many rows that need a number.
    #[error("one transaction makes at most {most} new keys, jobs or messages: do it in several")]
    TooMuch {
        /// How many.
        most: u64,
    },
    /// The named worker was replaced or has ended: its handle is void.
    #[error(
        "this process is no longer attached to the shared state (worker {id}, generation {generation} was released)"
    )]
    Detached {
        /// Its worker id.
        id: u32,
        /// Its generation.
        generation: u32,
    },
    /// A backup cannot be read.
    #[error("{path} is not a backup of a skep store: {why}")]
    BadBackup {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// Workers go by numbers of names that a backup gives to others.
    #[error(
        "running workers have named things that {path} does not know or numbers differently: \
             stop the apps (`skep stop all`), restore, start them again"
    )]
    NamesInUse {
        /// The backup.
        path: PathBuf,
    },
    /// The kernel refused something.
    #[error("{what} {path}: {errno}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The answer.
        errno: std::io::Error,
    },
    /// LMDB refused something unexpected.
    #[error("storage engine: {0}")]
    Engine(heed::Error),
}

/// Result with this crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<heed::Error> for Error {
    fn from(error: heed::Error) -> Self {
        Self::Engine(error)
    }
}

impl Error {
    pub(crate) fn io(what: &'static str, path: &std::path::Path, errno: impl Into<std::io::Error>) -> Self {
        Self::Io { what, path: path.to_path_buf(), errno: errno.into() }
    }
}
