//! A store in memory for one test.
#![allow(dead_code, reason = "each test binary uses a part")]

use skep_state::{Client, Identity, Options, Owner, Supervisor, WallMs};
use tempfile::TempDir;

pub(crate) const NOW: WallMs = WallMs(1_700_000_000_000);

pub(crate) struct Fixture {
    pub(crate) dir: TempDir,
    pub(crate) supervisor: Supervisor,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(&Options::default())
    }

    pub(crate) fn with(options: &Options) -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
        let supervisor = Supervisor::open(&dir.path().join("store"), options, NOW).expect("a fresh store");
        Self { dir, supervisor }
    }

    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("store")
    }

    /// A worker, as if in a process of its own.
    pub(crate) fn worker(&self, id: u32) -> Client {
        let identity = Identity::Worker(Owner { id, generation: 1 });
        Client::attach_to(self.supervisor.store().clone(), identity, NOW).expect("a place in the table")
    }
}

/// All events there are.
pub(crate) fn events(client: &Client) -> Vec<skep_state::Event> {
    let mut all = Vec::new();
    loop {
        let (events, more) = client.poll(NOW).expect("a working store");
        all.extend(events);
        if !more {
            return all;
        }
    }
}
