//! A new specification for an app: at once, one worker after another, or all anew.

use crate::app::{App, Stage};
use crate::apply::waits_ready;
use crate::fleet::Fleet;
use crate::op::Wait;
use crate::rollout::Rollout;
use crate::slot::{Slot, Wish};
use crate::turn::Turn;
use crate::{Fallback, OpId, Policy, Revision, SlotId, UpdateHow};

/// What becomes new.
#[derive(Debug)]
pub(crate) struct Update {
    pub(crate) policy: Policy,
    pub(crate) instances: u32,
    pub(crate) revision: Revision,
    pub(crate) how: UpdateHow,
}

// === impl Fleet ===

impl Fleet {
    pub(crate) fn update(&mut self, turn: &mut Turn<'_>, op: OpId, at: usize, update: Update) -> Vec<Wait> {
        let app = &self.apps[at];
        let wish = if app.slots.is_empty() || !app.up().is_empty() { Wish::Up } else { Wish::Down };
        turn.dirty = true;
        let Update { policy, instances, revision, how } = update;
        let mut waits = self.shrink(turn, op, at, instances);
        let live = self.apps[at].slots.iter().any(|slot| slot.wish == Wish::Up && slot.is_live());
        match how {
            UpdateHow::Hot => {
                let app = &mut self.apps[at];
                app.adopt_revision(policy, revision);
                if let Some(rollout) = &mut app.rollout {
                    (rollout.revision, rollout.fallback) = (revision, None);
                }
                waits.extend(self.grow(turn, op, at, instances, wish));
            }
            UpdateHow::Rolling if live => {
                self.ops.release_rollout(turn, op, self.apps[at].id);
                self.apps[at].replace_rollout(turn, op, policy, revision);
                let _ = self.grow(turn, op, at, instances, wish);
                let app = &mut self.apps[at];
                let up = app.up();
                app.begin_rollout(turn, Some(op), &up, None);
                waits.push(Wait::Rollout { app: app.id });
            }
            UpdateHow::Rolling | UpdateHow::Recreate => {
                self.ops.release_rollout(turn, op, self.apps[at].id);
                self.apps[at].begin_anew(turn, policy, revision);
                let _ = self.grow(turn, op, at, instances, wish);
                let app = &mut self.apps[at];
                if how == UpdateHow::Recreate {
                    app.listened = false;
                    app.stage = Stage::Recreating;
                }
                waits.extend(waits_ready(app.id, &app.up()));
            }
        }
        waits
    }
}

// === impl App ===

impl App {
    /// Slots that are wished up.
    fn up(&self) -> Vec<SlotId> {
        self.slots.iter().filter(|slot| slot.wish == Wish::Up).map(|slot| slot.id).collect()
    }

    /// From now on everything that starts is of this revision.
    fn adopt_revision(&mut self, policy: Policy, revision: Revision) {
        self.policy = policy;
        self.revision = revision;
        for slot in &mut self.slots {
            slot.revision = revision;
        }
    }

    /// There is nothing to protect: whoever is to start, starts with the new specification.
    fn begin_anew(&mut self, turn: &mut Turn<'_>, policy: Policy, revision: Revision) {
        self.drop_rollout(turn);
        self.adopt_revision(policy, revision);
        self.slots.iter_mut().filter(|slot| slot.wish == Wish::Up).for_each(Slot::forgive);
    }

    /// A rollout to a new specification, instead of the one under way. What is on trial falls back to what ran before
    /// the first of them.
    fn replace_rollout(&mut self, turn: &mut Turn<'_>, op: OpId, policy: Policy, revision: Revision) {
        let unproven = self.rollout.take().and_then(|rollout| rollout.fallback);
        let present = || Fallback { policy: self.policy.clone(), revision: self.revision };
        let fallback = unproven.unwrap_or_else(present);
        self.policy = policy;
        self.revision = revision;
        for slot in self.slots.iter_mut().filter(|slot| slot.wish == Wish::Down) {
            slot.revision = revision;
        }
        self.rollout = Some(Rollout::new(Some(op), revision, turn.now, Some(fallback)));
    }
}
