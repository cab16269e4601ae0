//! What the API shows, as far as the tests look: parsed from JSON by name, so that a field added changes nothing here.

use serde::Deserialize;
use serde_json::Value;

/// One app.
#[derive(Debug, Clone, Deserialize)]
pub struct App {
    /// Number of the app.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// PM2's name of its state.
    pub status: String,
    /// Its slots, by index.
    pub slots: Vec<Slot>,
    /// What it listens on.
    #[serde(default)]
    pub listeners: Vec<Listener>,
    /// A rollout under way.
    #[serde(default)]
    pub rollout: Option<Value>,
}

impl App {
    /// The pids of its current workers.
    pub fn pids(&self) -> Vec<u32> {
        self.slots.iter().filter_map(|slot| slot.pid).collect()
    }

    /// Whether all of `count` slots are ready and nothing is under way.
    pub fn is_settled(&self, count: usize) -> bool {
        self.rollout.is_none()
            && self.slots.len() == count
            && self.slots.iter().all(|slot| slot.status == "online" && slot.pid.is_some())
    }

    /// All restarts of all slots.
    pub fn restarts(&self) -> u32 {
        self.slots.iter().map(|slot| slot.restarts).sum()
    }
}

/// One slot.
#[derive(Debug, Clone, Deserialize)]
pub struct Slot {
    /// PM2's `pm_id`.
    pub id: u32,
    /// `NODE_APP_INSTANCE`.
    pub index: u32,
    /// PM2's name of its state.
    pub status: String,
    /// The current worker.
    #[serde(default)]
    pub worker: Option<u32>,
    /// The current worker's process.
    #[serde(default)]
    pub pid: Option<u32>,
    /// Restarts since the last reset.
    pub restarts: u32,
}

/// One address.
#[derive(Debug, Clone, Deserialize)]
pub struct Listener {
    /// As a person would write it.
    pub address: String,
    /// What balances it now.
    pub selection: String,
}

/// What the daemon says of itself.
#[derive(Debug, Clone, Deserialize)]
pub struct Daemon {
    /// The daemon's process.
    pub pid: u32,
    /// The keeper's process.
    pub keeper_pid: u32,
    /// The program file that both are.
    pub program: String,
    /// Its home.
    pub home: String,
    /// Apps known.
    pub apps: u32,
    /// Workers alive.
    pub workers: u32,
}

/// Something that happened.
#[derive(Debug, Clone, Deserialize)]
pub struct Event {
    /// Running number.
    pub seq: u64,
    /// What kind.
    pub kind: String,
    /// A sentence.
    pub message: String,
    /// The app.
    #[serde(default)]
    pub app: Option<String>,
    /// The slot.
    #[serde(default)]
    pub slot: Option<u32>,
    /// The worker.
    #[serde(default)]
    pub worker: Option<u32>,
    /// Its process.
    #[serde(default)]
    pub pid: Option<u32>,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
}
