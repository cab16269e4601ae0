//! Continues where a predecessor was killed: takes over its state, or what the disk says, and compares both with what
//! really runs.

use crate::app::{App, Stage};
use crate::fleet::Fleet;
use crate::slot::{Slot, Wish};
use crate::turn::Turn;
use crate::{
    AppId, Desired, DesiredApp, DesiredSlot, Effects, Inventory, Now, OpId, SlotId, Snapshot, WorkerId,
};

// === impl Fleet ===

impl Fleet {
    /// Continues where a predecessor was killed.
    ///
    /// `desired` is what the disk says; `snapshot` what the predecessor stored last (none after a reboot, or when
    /// it cannot be read); `inventory` what the keeper holds now. The newer of `desired` and `snapshot` decides
    /// what is wished for. Effects that may not have been carried out are given again. `seed` is used only
    /// without a snapshot.
    ///
    /// Without a snapshot, running workers are adopted as ready, and a rolling update that had not come to its
    /// end is undone: nobody knows any more how far it was.
    #[must_use]
    pub fn restore(
        desired: Desired,
        snapshot: Option<Snapshot>,
        inventory: Inventory,
        now: Now,
        seed: u64,
        fx: &mut Effects,
    ) -> Self {
        let known = snapshot.is_some();
        let mut fleet = snapshot.map_or_else(|| Self::new(seed), |snapshot| snapshot.0);
        let version = fleet.shared.numbers.version;
        let news = WorkerId(if known { fleet.shared.numbers.worker } else { 0 });
        fleet.turn(now, fx, |fleet, turn| {
            if !known {
                // Nobody knows which numbers of the last block were used: begin a new one, while the disk listens.
                turn.shared.numbers.worker = desired.worker_floor;
                turn.promise_workers();
            }
            if !known || desired.version > version {
                fleet.adopt(turn, desired);
                fleet.waive_stopped_dependencies();
            } else if desired.version < version {
                turn.fx.persist_first();
            }
            fleet.resume(turn, &inventory, news);
        });
        fleet
    }

    /// Makes the wishes those that the disk knows.
    fn adopt(&mut self, turn: &mut Turn<'_>, desired: Desired) {
        let numbers = &mut turn.shared.numbers;
        (numbers.app, numbers.slot) = (desired.next_app, desired.next_slot);
        (numbers.version, numbers.version_by) = (desired.version, desired.changed_by);
        numbers.worker_floor = numbers.worker_floor.max(desired.worker_floor);
        turn.by = desired.changed_by;
        for app in &mut self.apps {
            if app.stage != Stage::Deleting && !desired.apps.iter().any(|wanted| wanted.id == app.id) {
                app.drop_rollout(turn);
                app.stage = Stage::Deleting;
                if let Some(by) = turn.by {
                    self.ops.release(turn, by, |wait| wait.app() == Some(app.id));
                }
            }
        }
        for wanted in desired.apps {
            let at = self.apps.partition_point(|app| app.id < wanted.id);
            if self.apps.get(at).is_none_or(|app| app.id != wanted.id) {
                let (name, namespace) = (wanted.name.clone(), wanted.namespace.clone());
                self.apps
                    .insert(at, App::new(wanted.id, name, namespace, wanted.policy.clone(), wanted.revision));
            }
            self.adopt_app(turn, at, wanted);
        }
    }

    fn adopt_app(&mut self, turn: &mut Turn<'_>, at: usize, wanted: DesiredApp) {
        let app = &mut self.apps[at];
        (app.name, app.namespace) = (wanted.name, wanted.namespace);
        (app.policy, app.revision, app.listened) = (wanted.policy, wanted.revision, wanted.listened);
        let missing: Vec<SlotId> = app
            .slots
            .iter()
            .filter(|slot| slot.wish != Wish::Gone && !wanted.slots.iter().any(|known| known.id == slot.id))
            .map(|slot| slot.id)
            .collect();
        for id in missing {
            self.lower(turn, at, id, Wish::Gone);
        }
        for slot in &wanted.slots {
            self.adopt_slot(turn, at, slot);
        }
        let app = &mut self.apps[at];
        match (&mut app.rollout, wanted.fallback) {
            (Some(rollout), fallback) => (rollout.revision, rollout.fallback) = (app.revision, fallback),
            (None, Some(fallback)) => {
                for slot in app.slots.iter_mut().filter(|slot| slot.revision == app.revision) {
                    slot.revision = fallback.revision;
                }
                (app.policy, app.revision) = (fallback.policy, fallback.revision);
                turn.dirty = true;
            }
            (None, None) => {}
        }
    }

    fn adopt_slot(&mut self, turn: &mut Turn<'_>, at: usize, wanted: &DesiredSlot) {
        let wish = if wanted.up { Wish::Up } else { Wish::Down };
        let app = &mut self.apps[at];
        let id = app.id;
        let Some(slot) = app.slot_mut(wanted.id) else {
            let place = app.slots.partition_point(|slot| slot.index < wanted.index);
            let mut slot = Slot::new(wanted.id, wanted.index, wish, wanted.revision, turn.now);
            slot.finished = wanted.finished;
            app.slots.insert(place, slot);
            return;
        };
        slot.revision = wanted.revision;
        slot.finished = wanted.finished;
        match (slot.wish, wish) {
            (Wish::Up, Wish::Up) | (Wish::Down, Wish::Down) => {}
            (Wish::Down | Wish::Gone, Wish::Up) => {
                slot.wish = Wish::Up;
                slot.forgive();
                if let Some(by) = turn.by {
                    self.ops.release_gone(turn, by, id, wanted.id);
                }
            }
            (Wish::Up, Wish::Down | Wish::Gone) | (Wish::Down | Wish::Gone, Wish::Down | Wish::Gone) => {
                self.lower(turn, at, wanted.id, wish);
            }
        }
    }

    /// A slot that ran shall not.
    fn lower(&mut self, turn: &mut Turn<'_>, at: usize, id: SlotId, wish: Wish) {
        let app = &mut self.apps[at];
        let app_id: AppId = app.id;
        if let Some(slot) = app.slot_mut(id) {
            slot.wish = wish;
            slot.forgive();
        }
        let ended = app.leave_rollout(turn, id);
        let Some(by): Option<OpId> = turn.by else { return };
        self.ops.release_ready(turn, by, app_id, id);
        if ended {
            self.ops.release_rollout(turn, by, app_id);
        }
    }
}
