//! Commands: each checks everything first, then changes wishes. The pass that follows acts on them.

use crate::app::{App, Course, Stage};
use crate::fleet::Fleet;
use crate::op::Wait;
use crate::pick::{Pick, check_instances, find_app, pick};
use crate::slot::Wish;
use crate::turn::Turn;
use crate::{AppId, Cause, Command, Effect, Notice, OpId, Outcome, Rejection, RestartCounts, SlotId};

// === impl Fleet ===

impl Fleet {
    /// Carries out a command, or rejects it.
    pub(crate) fn command(&mut self, turn: &mut Turn<'_>, op: OpId, command: Command) {
        if self.ops.is_active(op) {
            return; // The same message twice.
        }
        match self.apply(turn, op, command) {
            Ok(waits) => {
                // Their first worker starts with a permit, not with a command that fails when the disk does.
                if self.apps.iter().any(|app| app.policy.singleton) {
                    turn.reserve_workers();
                }
                self.ops.begin(op, waits);
            }
            Err(rejection) => turn.fx.push(Effect::OpDone { op, outcome: Outcome::Rejected(rejection) }),
        }
    }

    fn apply(&mut self, turn: &mut Turn<'_>, op: OpId, command: Command) -> Result<Vec<Wait>, Rejection> {
        if self.course == Course::Halt && command != Command::Shutdown {
            return Err(Rejection::ShuttingDown);
        }
        match command {
            Command::Create { name, namespace, policy, instances, revision, up } => {
                check_instances(instances)?;
                self.check_name(&name)?;
                self.check_cycle(&name, &policy.depends_on)?;
                let wish = if up { Wish::Up } else { Wish::Down };
                let app = App::new(turn.next_app(), name, namespace, policy, revision);
                turn.fx.notice(Notice::AppCreated { app: app.id });
                turn.dirty = true;
                self.apps.push(app);
                let at = self.apps.len() - 1;
                if up {
                    self.raise_dependencies(turn, op, at);
                }
                Ok(self.grow(turn, op, at, instances, wish))
            }
            Command::Update { app, name, namespace, policy, instances, revision, how } => {
                check_instances(instances)?;
                let at = find_app(&self.apps, app)?;
                let name = name.unwrap_or_else(|| self.apps[at].name.clone());
                if name != self.apps[at].name {
                    self.check_name(&name)?;
                }
                self.check_cycle(&name, &policy.depends_on)?;
                self.apps[at].name = name;
                if let Some(namespace) = namespace {
                    self.apps[at].namespace = namespace;
                }
                Ok(self.update(turn, op, at, crate::update::Update { policy, instances, revision, how }))
            }
            Command::Start { target } => self.each(turn, op, &target, Self::start),
            Command::Stop { target } => self.each(turn, op, &target, Self::stop),
            Command::Restart { target, cause } => {
                self.each(turn, op, &target, |fleet, turn, op, pick| fleet.restart(turn, op, pick, cause))
            }
            Command::Reload { target, cause } => {
                self.each(turn, op, &target, |fleet, turn, op, pick| fleet.reload(turn, op, pick, cause))
            }
            Command::Renew { target, cause } => self.each(turn, op, &target, |fleet, turn, op, pick| {
                if fleet.apps[pick.at].can_take_turns() {
                    fleet.reload(turn, op, pick, cause)
                } else {
                    fleet.restart(turn, op, pick, cause)
                }
            }),
            Command::Scale { app, instances } => {
                check_instances(instances)?;
                let at = find_app(&self.apps, app)?;
                let mut waits = self.shrink(turn, op, at, instances);
                waits.extend(self.grow(turn, op, at, instances, Wish::Up));
                Ok(waits)
            }
            Command::Delete { target } => self.each(turn, op, &target, Self::delete),
            Command::Reset { target } => self.each(turn, op, &target, Self::reset),
            Command::Shutdown => {
                if self.course == Course::Run {
                    self.ops.release(turn, op, |_| true);
                    self.course = Course::Halt;
                }
                Ok(vec![Wait::Halt])
            }
        }
    }

    fn each(
        &mut self,
        turn: &mut Turn<'_>,
        op: OpId,
        target: &crate::Target,
        mut act: impl FnMut(&mut Self, &mut Turn<'_>, OpId, &Pick) -> Vec<Wait>,
    ) -> Result<Vec<Wait>, Rejection> {
        let picks = pick(&self.apps, target)?;
        Ok(picks.iter().flat_map(|pick| act(self, turn, op, pick)).collect())
    }

    fn check_name(&self, name: &str) -> Result<(), Rejection> {
        let Some(other) = self.apps.iter().find(|app| app.name == name) else { return Ok(()) };
        let (name, app) = (name.to_owned(), other.id);
        Err(match other.stage {
            Stage::Live | Stage::Recreating => Rejection::NameTaken { name, app },
            Stage::Deleting => Rejection::NameLeaving { name, app },
        })
    }

    fn start(&mut self, turn: &mut Turn<'_>, op: OpId, pick: &Pick) -> Vec<Wait> {
        self.raise_dependencies(turn, op, pick.at);
        let app = &mut self.apps[pick.at];
        app.shut_gate();
        for id in &pick.slots {
            app.raise(turn, *id);
            self.ops.release_gone(turn, op, app.id, *id);
        }
        waits_ready(app.id, &pick.slots)
    }

    fn stop(&mut self, turn: &mut Turn<'_>, op: OpId, pick: &Pick) -> Vec<Wait> {
        let app = self.apps[pick.at].id;
        for id in &pick.slots {
            self.take_from_others(turn, op, pick.at, *id);
            if let Some(slot) = self.apps[pick.at].slot_mut(*id) {
                turn.dirty |= slot.wish != Wish::Down;
                slot.wish = Wish::Down;
                slot.forgive();
            }
        }
        waits_gone(app, &pick.slots)
    }

    fn restart(&mut self, turn: &mut Turn<'_>, op: OpId, pick: &Pick, cause: Cause) -> Vec<Wait> {
        self.raise_dependencies(turn, op, pick.at);
        self.apps[pick.at].shut_gate();
        for id in &pick.slots {
            self.take_from_others(turn, op, pick.at, *id);
            let app = &mut self.apps[pick.at];
            self.ops.release_gone(turn, op, app.id, *id);
            app.restart(turn, *id, cause);
        }
        waits_ready(self.apps[pick.at].id, &pick.slots)
    }

    fn reload(&mut self, turn: &mut Turn<'_>, op: OpId, pick: &Pick, cause: Cause) -> Vec<Wait> {
        let app = &mut self.apps[pick.at];
        for id in &pick.slots {
            self.ops.release_gone(turn, op, app.id, *id);
        }
        let nothing_to_protect = app.rollout.is_none()
            && !app.slots.iter().any(|slot| pick.slots.contains(&slot.id) && slot.is_live());
        if nothing_to_protect || app.stage == Stage::Recreating {
            app.shut_gate();
            for id in &pick.slots {
                app.raise(turn, *id);
            }
            let waits = waits_ready(app.id, &pick.slots);
            self.raise_dependencies(turn, op, pick.at);
            return waits;
        }
        app.begin_rollout(turn, Some(op), &pick.slots, Some(cause));
        vec![Wait::Rollout { app: app.id }]
    }

    fn delete(&mut self, turn: &mut Turn<'_>, op: OpId, pick: &Pick) -> Vec<Wait> {
        let id = self.apps[pick.at].id;
        if pick.whole || pick.slots.len() == self.apps[pick.at].instances() {
            self.ops.release(turn, op, |wait| wait.app() == Some(id));
            let app = &mut self.apps[pick.at];
            app.drop_rollout(turn);
            app.stage = Stage::Deleting;
            turn.dirty = true;
            return vec![Wait::AppGone { app: id }];
        }
        for slot in &pick.slots {
            self.take_from_others(turn, op, pick.at, *slot);
            let App { policy, slots, .. } = &mut self.apps[pick.at];
            if let Some(slot) = slots.iter_mut().find(|known| known.id == *slot) {
                slot.wish = Wish::Gone;
                slot.forgive();
                slot.stop(turn, id, policy);
                turn.dirty = true;
            }
        }
        waits_gone(id, &pick.slots)
    }

    fn reset(&mut self, turn: &mut Turn<'_>, _: OpId, pick: &Pick) -> Vec<Wait> {
        for id in &pick.slots {
            if let Some(slot) = self.apps[pick.at].slot_mut(*id) {
                slot.counts = RestartCounts::default();
                slot.history.unstable = 0;
                slot.created = turn.now;
            }
        }
        Vec::new()
    }

    /// More slots; during a rollout they start as its new workers do.
    pub(crate) fn grow(
        &mut self,
        turn: &mut Turn<'_>,
        op: OpId,
        at: usize,
        instances: u32,
        wish: Wish,
    ) -> Vec<Wait> {
        let app = &mut self.apps[at];
        let grown = app.grow(turn, instances, wish, app.stable_revision());
        for id in &grown {
            self.ops.release_gone(turn, op, app.id, *id); // It may have been on its way out.
        }
        match wish {
            Wish::Up => {
                if let Some(rollout) = &mut app.rollout {
                    rollout.waiting.extend(&grown);
                }
                waits_ready(app.id, &grown)
            }
            Wish::Down | Wish::Gone => Vec::new(),
        }
    }

    /// Fewer slots.
    pub(crate) fn shrink(&mut self, turn: &mut Turn<'_>, op: OpId, at: usize, instances: u32) -> Vec<Wait> {
        let gone = self.apps[at].shrink(turn, instances);
        for id in &gone {
            self.take_from_others(turn, op, at, *id);
        }
        waits_gone(self.apps[at].id, &gone)
    }

    /// The slot takes another course: commands that wanted it to run, and a rollout, have lost it.
    fn take_from_others(&mut self, turn: &mut Turn<'_>, op: OpId, at: usize, slot: SlotId) {
        let app = &mut self.apps[at];
        self.ops.release_ready(turn, op, app.id, slot);
        if app.leave_rollout(turn, slot) {
            self.ops.release_rollout(turn, op, app.id);
        }
    }
}

pub(crate) fn waits_ready(app: AppId, slots: &[SlotId]) -> Vec<Wait> {
    slots.iter().map(|slot| Wait::Ready { app, slot: *slot }).collect()
}

fn waits_gone(app: AppId, slots: &[SlotId]) -> Vec<Wait> {
    slots.iter().map(|slot| Wait::Gone { app, slot: *slot }).collect()
}

// === impl App ===

impl App {
    /// The revision that a slot runs which is not part of a rollout: the last one that is not on trial.
    pub(crate) fn stable_revision(&self) -> crate::Revision {
        let fallback = self.rollout.as_ref().and_then(|rollout| rollout.fallback.as_ref());
        fallback.map_or(self.revision, |fallback| fallback.revision)
    }

    /// Two of its workers may run side by side: it serves what the kernel hands out, or has several workers anyway. A
    /// single worker that never listened may be one that must not run twice (a job, a bot, a consumer of a queue).
    fn can_take_turns(&self) -> bool {
        self.listened || self.instances() > 1
    }

    /// The slot shall run. If it does, or is about to, nothing changes.
    pub(crate) fn raise(&mut self, turn: &mut Turn<'_>, id: SlotId) {
        let (stable, now) = (self.stable_revision(), turn.now);
        let Self { policy, slots, rollout, .. } = self;
        let Some(slot) = slots.iter_mut().find(|slot| slot.id == id) else { return };
        if slot.wish == Wish::Up && slot.current().is_some() {
            slot.trouble = None;
            slot.workers_mut().for_each(|worker| worker.wait_anew(now, policy));
            return;
        }
        turn.dirty |= slot.wish != Wish::Up || slot.revision != stable;
        slot.wish = Wish::Up;
        slot.finished = None;
        slot.revision = stable;
        slot.forgive();
        if let Some(rollout) = rollout {
            rollout.waiting.insert(id);
        }
    }

    /// The slot's worker ends and another one follows.
    fn restart(&mut self, turn: &mut Turn<'_>, id: SlotId, cause: Cause) {
        let Self { id: app, policy, slots, rollout, revision, .. } = self;
        let Some(slot) = slots.iter_mut().find(|slot| slot.id == id) else { return };
        if slot.is_live() {
            slot.counts.asked(cause);
        }
        slot.stop(turn, *app, policy);
        slot.forgive();
        turn.dirty |= slot.wish != Wish::Up || slot.revision != *revision;
        slot.wish = Wish::Up;
        slot.finished = None;
        slot.revision = *revision;
        if let Some(rollout) = rollout {
            // Something runs the new revision by command: there is no way back to the old one.
            turn.dirty |= rollout.fallback.take().is_some();
        }
    }
}
