//! Every bound of the door. Where Redis has the same, its default.

/// Longest argument of a command (Redis: `proto-max-bulk-len`). What the store takes as a value is less.
pub(crate) const BULK_BYTES_MAX: usize = 512 * 1024 * 1024;

/// Most arguments of a command (Redis: 1024 * 1024).
pub(crate) const ARGUMENTS_MAX: usize = 1024 * 1024;

/// Longest line of an inline command, or of a length (Redis: `PROTO_INLINE_MAX_SIZE`).
pub(crate) const LINE_BYTES_MAX: usize = 64 * 1024;

/// What a client may have sent without being done with a command (Redis: `client-query-buffer-limit`).
pub(crate) const QUERY_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// Who has not given the password may not fill our memory with it (Redis: the same two figures).
pub(crate) const UNKNOWN_ARGUMENTS_MAX: usize = 10;
/// See [`UNKNOWN_ARGUMENTS_MAX`].
pub(crate) const UNKNOWN_BULK_BYTES_MAX: usize = 16 * 1024;

/// Bytes read from one client before others get their turn.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// Answers that a client has not fetched: beyond this, its further commands wait unread.
pub(crate) const ANSWERS_BYTES_MAX: usize = 1024 * 1024;

/// Messages that a subscriber has not fetched: beyond this it is cut off (Redis: `client-output-buffer-limit pubsub`).
pub(crate) const MESSAGES_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A buffer that grew beyond this is given back when it is empty.
pub(crate) const BUFFER_BYTES_KEPT: usize = 64 * 1024;

/// Clients at one time (Redis: `maxclients`).
pub(crate) const CLIENTS_MAX: usize = 10_000;

/// Commands of one client in one transaction: it holds the writer's lock, which workers wait for.
pub(crate) const BATCH_COMMANDS: usize = 64;

/// A transaction of several commands that somebody waits for ends after so long (or after a few commands that take longer).
pub(crate) const BATCH_NS: u64 = 1_000_000;

/// And one that nobody waits for: who comes meanwhile is seen at the next look, after a few commands.
pub(crate) const BATCH_ALONE_NS: u64 = 4_000_000;

/// How long a script may run, in milliseconds. It holds the writer's lock, and other writers give up after
/// `skep_state::limits::WRITE_WAIT_US`; so it is stopped before, and what it did is undone.
pub(crate) const SCRIPT_MS_MAX: u64 = 4_000;

/// Memory of the Lua machine: a script that asks for more fails.
pub(crate) const SCRIPT_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Compiled scripts kept; beyond, the oldest half is forgotten (Redis keeps all: a program that makes them up for ever
/// fills its memory).
pub(crate) const SCRIPTS_MAX: usize = 4_096;

/// Places of unfinished SCANs that are remembered; beyond, the oldest are forgotten and such a scan begins again.
pub(crate) const CURSORS_MAX: usize = 16_384;

// Databases (Redis: `databases`).
pub(crate) use skep_state::limits::DATABASES;

/// Longest string that SETRANGE, SETBIT and APPEND may make, in bytes: an offset is cheap to send.
pub(crate) const STRING_BYTES_MAX: usize = 512 * 1024 * 1024;

/// Keys cleared by one transaction of FLUSHDB.
pub(crate) const CLEAR_KEYS: usize = 1_024;
