//! Every bound of the store, each with its reason.

/// Longest name or key that a user may give, in bytes. Longer than any sane key, short enough for a log line.
pub const KEY_BYTES_MAX: usize = 64 * 1024;

/// LMDB takes keys up to 511 bytes (its `MDB_MAXKEYSIZE`). Ours carry up to 30 bytes of prefix, so names up to this
/// length are stored as they are; longer ones as a prefix and a hash ([`LONG_NAME_BYTES`] in all).
pub const INLINE_NAME_BYTES_MAX: usize = 448;

/// A hashed name: 417 bytes of the name, then its SHA-256. Its length tells it from a short name.
pub const LONG_NAME_BYTES: usize = INLINE_NAME_BYTES_MAX + 1;

/// Longest value by default, in bytes: a value is copied while the only writer's lock is held.
pub const VALUE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// First size of the data file. It is taken from memory at once, whether anybody uses the store or not: small enough to
/// be forgotten.
pub const DATA_BYTES_INITIAL: u64 = 2 * 1024 * 1024;

/// Largest size of the data file unless the user says otherwise.
pub const DATA_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Smallest data file that LMDB can work in with room for its free list.
pub const DATA_BYTES_MIN: u64 = 256 * 1024;

/// The data file grows by half of its size, at least this much: few growths, little waste.
pub const GROW_BYTES_MIN: u64 = 4 * 1024 * 1024;

/// Where the file system has less than that: what is worth growing by.
pub const GROW_BYTES_LEAST: u64 = 64 * 1024;

/// Space set aside beside the data: LMDB needs fresh pages to remove rows, on a full file system too.
pub const RESERVE_BYTES: u64 = 512 * 1024;

/// And at most this much at once, since the kernel clears what it gives (about 0.3 ms a megabyte).
pub const GROW_BYTES_STEP_MAX: u64 = 64 * 1024 * 1024;

/// Counters: eight bytes each, given once for the life of the store (128 KiB in all).
pub const COUNTER_SLOTS: u32 = 16_384;

/// Processes attached at one time: workers, the supervisor, tools.
pub const WORKERS_MAX: u32 = 1024;

/// LMDB reader slots: one a thread that reads.
pub const READERS_MAX: u32 = 2048;

/// How long one writer waits for another before it says so: a transaction takes microseconds, so a writer that holds
/// the lock this long is frozen (SIGSTOP, or a spent CPU quota).
pub const WRITE_WAIT_US: u32 = 5_000_000;

/// The same for a durable store, whose transactions last until the disk has them: a disk that is busy with something
/// else takes seconds, and who waits is a thread that has nothing else to do.
pub const DISK_WAIT_US: u32 = 30_000_000;

/// Redis's numbered databases, which clients of the Redis door see: as many as Redis has by default.
pub const DATABASES: u16 = 16;

/// So many calls of one process go into one transaction of a durable store: one flush of the disk for all of them, and
/// milliseconds of the writer's lock beside it.
pub const TOGETHER_MAX: usize = 256;

/// So many calls of one process may wait for the disk; then it is told that it goes too fast.
pub const PENDING_MAX: usize = 65_536;

/// And so many bytes of theirs.
pub const PENDING_BYTES_MAX: usize = 256 * 1024 * 1024;

/// After so many microseconds a sleeping writer looks by itself whether the lock is free (a wake-up can die with a
/// killed process); longer than any transaction, so that nearly nobody ever does.
pub const WRITE_SLICE_US: u32 = 20_000;

/// Rounds of looking at the lock before sleeping on it: about 5 µs, a few transactions long.
pub const WRITE_SPINS: u32 = 300;

/// Bytes of channel messages kept for subscribers that have not read them yet; the slowest loses the oldest beyond.
pub const CHANNEL_BACKLOG_BYTES: u64 = 16 * 1024 * 1024;

/// One transaction of so many removes old channel messages: most publishers need not.
pub const CHANNEL_TRIM_EVERY: u64 = 8;

/// Old channel messages removed at one time: keeps a publish short, and shrinks the backlog faster than it grows.
pub const CHANNEL_TRIM: usize = 32;

/// Events handed out by one poll, so that a flood cannot hold the event loop.
pub const POLL_EVENTS_MAX: usize = 64;

/// Expired keys removed by one transaction of the maintenance: about a millisecond of the writer's lock.
pub const SWEEP_KEYS: usize = 256;

/// Expired keys are swept at whole seconds: readers never see them anyway, and an idle daemon may wake once a second.
pub const SWEEP_MS: u64 = 1_000;

/// Elements of a deleted collection removed by one transaction; see [`SWEEP_KEYS`].
pub const SWEEP_ELEMENTS: usize = 1_024;

/// A sorted set counts its members in buckets of at most this many, so that a rank costs a walk over bucket counts.
pub const RANK_BUCKET_MAX: u32 = 512;

/// So many members that come and go are noted before their buckets are counted: many a bucket, and a few hundred
/// kilobytes of positions at most.
pub const RANK_MOVES_MAX: usize = 4_096;

/// Longest error text that waiters of a single flight are told.
pub const ERROR_BYTES_MAX: usize = 4 * 1024;

/// Due or abandoned jobs put back by one pop, so that a pop stays short.
pub const QUEUE_PROMOTE: usize = 16;

/// What groups of transactions may make a store larger than what is in it: this much, or half of that. The longer a group,
/// the more pages it copies, and the copied ones are used again only by the next but one.
pub const GROUP_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// How long a reader waits for a busy Redis door to commit what it has acknowledged, in microseconds. It takes a
/// fraction of a millisecond; a door that got no processor for a while is no reason for a read to fail.
pub const READ_WAIT_US: u32 = 1_000_000;
