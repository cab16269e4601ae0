//! The whole: apps, commands under way, and what all of them share.

use crate::{AppId, AppView, Desired, Effects, Event, Inventory, Now};
use serde::{Deserialize, Serialize};

/// Everything that skep decides, and all it needs to know for that.
///
/// Give it each [`Event`] with the time; carry out the [`crate::Effect`]s in order; tick when
/// [`Fleet::next_deadline`] has come. Before carrying out, store [`Fleet::snapshot`] where a successor finds it:
/// [`Fleet::restore`] then continues whatever was under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleet {
    seed: u64,
}

/// A fleet in a box: all of its state, for the supervisor's own successor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot(Fleet);

impl Fleet {
    /// An empty fleet. `seed` feeds the jitter of restart delays.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Takes note of what happened at `now`, decides, and appends what has to be done to `fx`.
    pub fn handle(&mut self, now: Now, event: Event, fx: &mut Effects) {
        let _ = (now, event, fx);
    }

    /// When to hand in an [`Event::Tick`] at the latest. In the past: now.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Now> {
        None
    }

    /// The whole state, for [`Fleet::restore`].
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.clone())
    }

    /// What has to survive a reboot.
    #[must_use]
    pub fn desired(&self) -> Desired {
        Desired::default()
    }

    /// Every app as it is now, by number.
    #[must_use]
    pub fn apps(&self) -> Vec<AppView> {
        Vec::new()
    }

    /// One app as it is now.
    #[must_use]
    pub fn app(&self, app: AppId) -> Option<AppView> {
        self.apps().into_iter().find(|view| view.id == app)
    }

    /// Continues where a predecessor was killed.
    ///
    /// `desired` is what the disk says; `snapshot` what the predecessor stored last (none after a reboot, or when
    /// it cannot be read); `inventory` what the keeper holds now. The newer of `desired` and `snapshot` decides
    /// what is wished for. Effects that may not have been carried out are given again. `seed` is used only
    /// without a snapshot.
    #[must_use]
    pub fn restore(
        desired: Desired,
        snapshot: Option<Snapshot>,
        inventory: Inventory,
        now: Now,
        seed: u64,
        fx: &mut Effects,
    ) -> Self {
        let _ = (desired, inventory, now, fx);
        snapshot.map_or_else(|| Self::new(seed), |snapshot| snapshot.0)
    }
}
