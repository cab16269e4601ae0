//! What a user may ask of the fleet.

use crate::{AppId, Policy, Revision, SlotId};
use serde::{Deserialize, Serialize};

/// One wish of a user (or of a schedule, a watcher, a memory limit). A command that cannot be carried out is
/// rejected as a whole and changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A new app whose slots all run. Its op ends when every instance is ready or has failed.
    Create {
        /// Unique in the fleet.
        name: String,
        /// A label to address many apps at once.
        namespace: String,
        /// How to treat its workers.
        policy: Policy,
        /// How many slots, at most [`crate::INSTANCES_MAX`].
        instances: u32,
        /// The specification that its workers run.
        revision: Revision,
        /// Whether the slots run now (`autostart`) or wait for a start.
        up: bool,
    },
    /// The app's specification changed.
    Update {
        /// Which app.
        app: AppId,
        /// The name from now on, unique in the fleet; none leaves it as it is.
        name: Option<String>,
        /// The label from now on; none leaves it as it is.
        namespace: Option<String>,
        /// The policy from now on.
        policy: Policy,
        /// The number of slots from now on.
        instances: u32,
        /// The specification from now on.
        revision: Revision,
        /// What has to happen to workers that run already.
        how: UpdateHow,
    },
    /// Run these slots. A slot that runs is left alone; one that waits for a restart or was given up runs now.
    Start {
        /// Which slots.
        target: Target,
    },
    /// Stop these slots and leave them stopped.
    Stop {
        /// Which slots.
        target: Target,
    },
    /// Stop and start in place, all at once. Stopped slots are started.
    Restart {
        /// Which slots.
        target: Target,
        /// Who asked; counted in [`crate::RestartCounts`].
        cause: Cause,
    },
    /// Replace the workers one after another without a gap. Stopped slots are started.
    Reload {
        /// Which slots.
        target: Target,
        /// Who asked; counted in [`crate::RestartCounts`].
        cause: Cause,
    },
    /// New workers, for a reason that nobody watches (a schedule, a changed file, a memory limit): as a reload where
    /// the app serves on an address or has several slots, as a restart where it is a single program that must not run
    /// twice. Stopped slots are started.
    Renew {
        /// Which slots.
        target: Target,
        /// Why; counted in [`crate::RestartCounts`].
        cause: Cause,
    },
    /// More or fewer slots: the lowest free index is used first, the highest goes first, drained.
    Scale {
        /// Which app.
        app: AppId,
        /// The number of slots from now on, at most [`crate::INSTANCES_MAX`].
        instances: u32,
    },
    /// Stop and forget. An app whose last slot is deleted is gone.
    Delete {
        /// Which apps and slots.
        target: Target,
    },
    /// Set the restart counters to zero.
    Reset {
        /// Which slots.
        target: Target,
    },
    /// Stop every worker, keep every desire: the next daemon runs them again. Nothing starts afterwards.
    Shutdown,
}

/// What an update does to workers that run already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateHow {
    /// Nothing: the change concerns only the supervisor, or future workers.
    Hot,
    /// They are replaced one after another, as in a reload.
    Rolling,
    /// All of them end before the first new one starts.
    Recreate,
}

/// Who asked for a restart or a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A person or a script.
    User,
    /// `cron_restart`.
    Schedule,
    /// `max_memory_restart`.
    Memory,
    /// `watch`.
    Watch,
    /// A liveness probe.
    Health,
}

/// Slots, named one by one or by their apps. Doubles are harmless.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Every slot of these apps (for [`Command::Delete`] the apps themselves).
    pub apps: Vec<AppId>,
    /// These slots.
    pub slots: Vec<SlotId>,
}

// === impl Target ===

impl From<AppId> for Target {
    fn from(app: AppId) -> Self {
        Self { apps: vec![app], slots: Vec::new() }
    }
}

impl From<SlotId> for Target {
    fn from(slot: SlotId) -> Self {
        Self { apps: Vec::new(), slots: vec![slot] }
    }
}

impl From<Vec<SlotId>> for Target {
    fn from(slots: Vec<SlotId>) -> Self {
        Self { apps: Vec::new(), slots }
    }
}
