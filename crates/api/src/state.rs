//! The state that workers share, as the API tells and changes it.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How many entries are told when nobody says.
pub const STATE_ENTRIES_DEFAULT: u32 = 100;

/// What a name stands for. One name may stand for several things of different kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StateKind {
    /// A number.
    Counter,
    /// Keys with values.
    Map,
    /// Members with scores.
    Leaderboard,
    /// Jobs.
    Queue,
    /// What Redis clients keep in one of their databases, `db0` to `db15`. To be looked at only.
    Database,
}

impl StateKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Counter, Self::Map, Self::Leaderboard, Self::Queue, Self::Database];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Map => "map",
            Self::Leaderboard => "leaderboard",
            Self::Queue => "queue",
            Self::Database => "database",
        }
    }
}

impl fmt::Display for StateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for StateKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| format!("{text:?} is no kind; use counter, map, leaderboard, queue or database"))
    }
}

/// One named thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StateName {
    /// Its kind.
    pub kind: StateKind,
    /// Its name.
    pub name: String,
    /// A counter's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<i64>,
    /// Keys, members or jobs in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    /// A queue on the disk, whose jobs survive a restart of the machine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub durable: bool,
}

/// What to tell of one named thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateQuery {
    /// Its name.
    pub name: String,
    /// Its kind, where the name alone does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<StateKind>,
    /// Only this key of a map or a database, or this member of a leaderboard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How many entries at most, and how many elements of a database's key. Default: 100.
    #[serde(default = "entries_default")]
    pub limit: u32,
}

const fn entries_default() -> u32 {
    STATE_ENTRIES_DEFAULT
}

/// One named thing and what is in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StateView {
    /// Its kind.
    pub kind: StateKind,
    /// Its name.
    pub name: String,
    /// A counter's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<i64>,
    /// A map's or a database's keys in order, or a leaderboard's members, the highest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<StateEntry>,
    /// There are more entries, or elements of the one that was named, than were asked for.
    #[serde(default)]
    pub more: bool,
}

/// A key with its value, or a member with its score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StateEntry {
    /// The key, or the member.
    pub key: String,
    /// The value; in base64 where `encoding` says that it is no JSON. Of a database's key that is no string: its elements when
    /// it alone was asked for (a hash's as an object, a sorted set's as pairs of member and score, a stream's as pairs of id
    /// and fields), else null.
    pub value: Value,
    /// What a database's key holds, as Redis names it: `string`, `list`, `set`, `zset`, `hash` or `stream`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub holds: Option<String>,
    /// How many elements it has, if it is no string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elements: Option<u64>,
    /// `bytes`, or `v8` (V8's serialization, which only Node.js reads).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// When it ends, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_unix_ms: Option<u64>,
    /// A member's place, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<u64>,
}

/// What a watched name stands for at a moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StateSeen {
    /// Nothing of that name or key is there, or not any more, if this is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<StateView>,
}

/// A change of one named thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeState {
    /// Its name.
    pub name: String,
    /// Its kind, where the name alone does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<StateKind>,
    /// What to do.
    pub change: StateChange,
}

/// What to do with a named thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum StateChange {
    /// Set a counter (no key), a key, or a member's score.
    Set {
        /// The key, or the member.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// Any JSON value.
        value: Value,
        /// A key's end, so many milliseconds from now. Default: none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ttl_ms: Option<u64>,
    },
    /// Add to a counter (no key), or to a member's score.
    Add {
        /// The member.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// How much.
        by: f64,
    },
    /// Remove keys or members; all of them when none is named. A counter becomes 0.
    Delete {
        /// The keys, or the members.
        #[serde(default)]
        keys: Vec<String>,
    },
}

/// What a change came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StateChanged {
    /// Its kind.
    pub kind: StateKind,
    /// Its name.
    pub name: String,
    /// The value now: of a counter, a key, or a member's score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// How many entries were removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<u64>,
}

/// A lock that is held or waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StateLock {
    /// Its name.
    pub name: String,
    /// Who holds it.
    pub held: Vec<StateHolder>,
    /// Who waits, first come first.
    pub waiting: Vec<StateHolder>,
}

/// One who holds a lock or waits for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StateHolder {
    /// The worker's id; a number of the store's own for programs that workers have started.
    pub worker: u32,
    /// Its app and instance (`web:0`), where the daemon knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// Its process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Shared with others of the same mode.
    pub shared: bool,
    /// Since when, in milliseconds since 1970.
    pub since_unix_ms: u64,
    /// The fencing token of a holder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<u64>,
}

/// A queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StateQueue {
    /// Its name.
    pub name: String,
    /// Jobs that wait for a consumer.
    pub ready: u64,
    /// Jobs whose time has not come.
    pub delayed: u64,
    /// Jobs that are worked on.
    pub active: u64,
    /// Jobs that failed too often.
    pub dead: u64,
    /// Consumers are given nothing.
    #[serde(default)]
    pub paused: bool,
    /// Its jobs are on the disk and survive a restart of the machine.
    #[serde(default)]
    pub durable: bool,
}

/// How large the store is and what has happened in it since it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StateStats {
    /// The store's folder.
    pub dir: String,
    /// Bytes of the data file.
    pub data_bytes: u64,
    /// Bytes that it may have.
    pub data_bytes_max: u64,
    /// Bytes of it that were ever used.
    pub used_bytes: u64,
    /// Rows of all kinds.
    pub rows: u64,
    /// Counters in use.
    pub counters: u32,
    /// Committed write transactions.
    pub writes: u64,
    /// Writers that had to sleep for another.
    pub waits: u64,
    /// Their waiting, added up.
    pub wait_us: u64,
    /// The longest of it.
    pub wait_us_max: u64,
    /// Writers killed in the middle of a write; nothing was lost by it.
    pub owner_deaths: u64,
    /// Times that the file grew.
    pub growths: u64,
    /// Locks granted.
    pub grants: u64,
    /// Channel messages.
    pub messages: u64,
    /// Wake-ups between processes.
    pub wakes: u64,
    /// Processes attached.
    pub attached: u32,
    /// The same of durable queues, which have a store of their own on the disk; none: nobody has made one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durable: Option<Box<StateStats>>,
}

/// A file for a backup, or of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateFile {
    /// Its absolute path.
    pub path: String,
}

/// How the store is kept. What is absent has its default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StateConfig {
    /// Largest size of the data, in bytes. Default: 1 GiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// Largest value, in bytes. Default: 16 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_bytes_max: Option<u64>,
    /// A copy is written to the disk so often, if anything has changed; a new store begins with it. 0 is off, the
    /// default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub save_ms: Option<u64>,
    /// Where the store lies, instead of shared memory: an absolute path. Used when the store is opened next, which is at
    /// once while no worker runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    /// The Redis protocol on this TCP port of 127.0.0.1, for who says the password. 0 is off, the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis_port: Option<u16>,
    /// What clients on the TCP port say (AUTH): 8 to 512 characters. Made up where it is missing and a port is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis_password: Option<String>,
}
