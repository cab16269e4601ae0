//! What the door knows of a client.

use std::collections::BTreeSet;

use skep_state::Space;

/// Whether a client wants answers (CLIENT REPLY).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Answers {
    #[default]
    On,
    Off,
    /// Not to the next command.
    SkipNext,
}

/// Commands that wait for EXEC.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) commands: Vec<Vec<Vec<u8>>>,
    /// One could not be queued: EXEC will refuse.
    pub(crate) broken: bool,
}

/// A key and its version when it was watched.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) space: Space,
    pub(crate) key: Vec<u8>,
    pub(crate) version: Option<u64>,
}

/// What a blocked command gets when its time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nothing {
    Null,
    NullArray,
}

/// A command that waits for a key.
#[derive(Debug)]
pub(crate) struct Blocked {
    pub(crate) command: Vec<Vec<u8>>,
    pub(crate) keys: Vec<(Space, Vec<u8>)>,
    /// Nanoseconds since boot.
    pub(crate) deadline_ns: Option<u64>,
    pub(crate) nothing: Nothing,
}

/// The state of one connection, apart from its bytes.
#[derive(Debug, Default)]
pub(crate) struct Client {
    pub(crate) id: u64,
    /// Its place in the door's row of clients.
    pub(crate) slot: usize,
    pub(crate) address: String,
    pub(crate) name: Vec<u8>,
    pub(crate) library: (Vec<u8>, Vec<u8>),
    pub(crate) database: u16,
    pub(crate) known: bool,
    pub(crate) since_ms: u64,
    pub(crate) used_ms: u64,
    pub(crate) last_command: &'static str,
    pub(crate) queue: Option<Queue>,
    /// The queue whose EXEC is not committed yet.
    pub(crate) executing: Option<Queue>,
    pub(crate) watched: Vec<Watched>,
    pub(crate) channels: BTreeSet<Vec<u8>>,
    pub(crate) patterns: BTreeSet<Vec<u8>>,
    pub(crate) shards: BTreeSet<Vec<u8>>,
    pub(crate) answers: Answers,
    pub(crate) blocked: Option<Blocked>,
    /// To be closed when it has its answers.
    pub(crate) leaving: bool,
    pub(crate) no_evict: bool,
    pub(crate) no_touch: bool,
    pub(crate) speaks_resp3: bool,
}

impl Client {
    pub(crate) fn subscriptions(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }

    /// In RESP2, a subscriber may do little else.
    pub(crate) fn only_listens(&self) -> bool {
        self.subscriptions() + self.shards.len() > 0
    }
}
