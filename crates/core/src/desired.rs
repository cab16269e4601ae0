//! What must survive a reboot: the users' wishes, nothing that can be observed.

use crate::{AppId, OpId, Policy, Revision, SlotId};
use serde::{Deserialize, Serialize};

/// The durable state of the fleet. Written to disk at each [`crate::Effect::Persist`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Desired {
    /// Grows with each change, so that a newer one is told from an older.
    pub version: u64,
    /// The command that made this version; none if an event did.
    pub changed_by: Option<OpId>,
    /// Every app that is not being deleted, by number.
    pub apps: Vec<DesiredApp>,
    /// No worker had this number or a higher one; reserved in blocks, so that a spawn need not touch the disk.
    pub worker_floor: u32,
    /// The next app's number.
    pub next_app: u32,
    /// The next slot's number.
    pub next_slot: u32,
}

/// One app's durable state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredApp {
    /// Its number.
    pub id: AppId,
    /// Its name.
    pub name: String,
    /// Its label.
    pub namespace: String,
    /// Its rules.
    pub policy: Policy,
    /// What a command starts from now on. After a failed rolling update it is the old one again.
    pub revision: Revision,
    /// What [`DesiredApp::policy`] and [`DesiredApp::revision`] become if the rollout under way fails.
    #[serde(default)]
    pub fallback: Option<Fallback>,
    /// A worker of this app has listened once: the next ones must, too.
    #[serde(default)]
    pub listened: bool,
    /// Its slots by index.
    pub slots: Vec<DesiredSlot>,
}

/// What an app was before the update that is being rolled out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallback {
    /// Its rules.
    pub policy: Policy,
    /// Its specification.
    pub revision: Revision,
}

/// One slot's durable state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredSlot {
    /// Its number.
    pub id: SlotId,
    /// Its place in the app.
    pub index: u32,
    /// It shall run.
    pub up: bool,
    /// Its program has ended by itself for good: whether it was content.
    #[serde(default)]
    pub finished: Option<bool>,
    /// What its next worker runs: the last revision that proved itself here or that a command asked for.
    pub revision: Revision,
}

// === impl Desired ===

impl Default for Desired {
    fn default() -> Self {
        Self { version: 0, changed_by: None, apps: Vec::new(), worker_floor: 1, next_app: 1, next_slot: 0 }
    }
}

impl Desired {
    /// Every revision that may still be spawned, app by app: the driver keeps their specifications (and those of
    /// live workers, for as long as they live).
    pub fn revisions(&self) -> impl Iterator<Item = (AppId, Revision)> + '_ {
        self.apps.iter().flat_map(|app| {
            let fallback = app.fallback.iter().map(|fallback| fallback.revision);
            let slots = app.slots.iter().map(|slot| slot.revision);
            std::iter::once(app.revision).chain(fallback).chain(slots).map(|revision| (app.id, revision))
        })
    }
}
