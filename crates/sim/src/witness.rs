//! Watches every turn of the core and says what must never happen.

use skep_core::{
    AppId, AppView, Command, Drain, Effect, Effects, Event, Fleet, Now, OpId, Outcome, Permit, PhaseName,
    Singleton, SlotId, SlotView, Target, WorkerId, WorkerView,
};
use std::collections::{BTreeMap, BTreeSet};

/// A promise that was broken, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

/// What a passed check returns.
pub type Checked = Result<(), Violation>;

/// Breaks off with a violation unless the condition holds.
macro_rules! promise {
    ($holds:expr, $($words:tt)+) => {
        if !$holds {
            return Err(crate::witness::Violation(format!($($words)+)));
        }
    };
}
pub(crate) use promise;

/// What an app that is started depends on is started too.
fn called(after: &Fleet, stopped: &mut BTreeSet<SlotId>) {
    for slot in after.apps().iter().flat_map(|app| &app.slots).filter(|slot| slot.up) {
        stopped.remove(&slot.id);
    }
}

/// Everything that has been seen so far.
#[derive(Clone, Debug, Default)]
pub struct Witness {
    ops: BTreeMap<OpId, Option<Outcome>>,
    lost: BTreeSet<OpId>,
    /// Slots that a user stopped or deleted, and nobody started since.
    stopped: BTreeSet<SlotId>,
    halted: bool,
    /// A successor without memory took over on a hostile wire: it may have found two processes where one was thought
    /// dead, and has to end the other first.
    pub(crate) doubles: bool,
    /// What each spawned worker was said to be.
    spawned: BTreeMap<WorkerId, Effect>,
    /// The largest surge that any policy of an app allowed.
    surge: BTreeMap<AppId, usize>,
}

// === impl Witness ===

impl Witness {
    /// Looks at one turn before it is made durable.
    pub fn judge(&self, before: &Fleet, after: &Fleet, now: Now, event: &Event, fx: &Effects) -> Checked {
        let persists = fx.iter().filter(|fx| **fx == Effect::Persist).count();
        let first = fx.iter().next() == Some(&Effect::Persist);
        let changed = before.desired() != after.desired();
        promise!(persists == usize::from(changed), "desired changed: {changed}, Persist effects: {persists}");
        promise!(persists == 0 || first, "Persist is not the first effect");
        let rejected = fx.iter().any(|fx| matches!(fx, Effect::OpDone { outcome: Outcome::Rejected(_), .. }));
        promise!(!rejected || before == after, "a rejected command changed something");
        if *event == Event::Tick {
            self.judge_tick(after, now)?;
        }
        for app in &after.apps() {
            judge_app(app)?;
        }
        let stopped = match event {
            Event::Command { command, .. } if !rejected => self.stopped_by(before, after, command),
            Event::Command { .. }
            | Event::Spawned { .. }
            | Event::SpawnFailed { .. }
            | Event::Listening { .. }
            | Event::Announced { .. }
            | Event::Drained { .. }
            | Event::StopsItself { .. }
            | Event::Probed { .. }
            | Event::Exited { .. }
            | Event::Permit { .. }
            | Event::Seen(_)
            | Event::Tick => self.stopped.clone(),
        };
        for effect in fx {
            match effect {
                Effect::Spawn { worker, .. } => self.judge_spawn(after, *worker, effect, &stopped)?,
                Effect::Signal { worker, .. } => judge_signal(before, after, *worker)?,
                Effect::Probe { worker, .. } => {
                    // It may be told to go in the same turn.
                    let apps = before.apps();
                    let mut known = apps.iter().flat_map(|app| &app.slots).flat_map(workers);
                    let leaves = known.any(|known| known.id == *worker && ending(known));
                    promise!(!leaves, "a question to {worker}, which is on its way out");
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn judge_tick(&self, after: &Fleet, now: Now) -> Checked {
        let due = after.next_deadline();
        promise!(
            due.is_none_or(|at| at >= now),
            "after a tick at {now:?} a deadline lies in the past: {due:?}"
        );
        if due.is_none_or(|at| at > now) {
            let (mut again, mut fx) = (after.clone(), Effects::new());
            again.handle(now, Event::Tick, &mut fx);
            promise!(
                fx.is_empty() && again == *after,
                "a second look at the same state does something: {fx:?}"
            );
        }
        Ok(())
    }

    fn judge_spawn(
        &self,
        after: &Fleet,
        worker: WorkerId,
        effect: &Effect,
        stopped: &BTreeSet<SlotId>,
    ) -> Checked {
        promise!(!self.halted, "a spawn after the shutdown: {effect:?}");
        let Effect::Spawn { app, slot, .. } = effect else { return Ok(()) };
        promise!(!stopped.contains(slot), "a spawn on a stopped slot: {effect:?}");
        match self.spawned.get(&worker) {
            Some(known) => promise!(known == effect, "worker number used twice: {known:?}, {effect:?}"),
            None => {
                let last = self.spawned.last_key_value().map(|(last, _)| *last);
                promise!(last.is_none_or(|last| last < worker), "{worker} is spawned after {last:?}");
            }
        }
        let view = after.app(*app);
        let place = view.as_ref().and_then(|view| view.slots.iter().find(|known| known.id == *slot));
        let wanted = place.is_some_and(|slot| slot.up && !slot.leaving);
        promise!(wanted, "a spawn that nobody wants: {effect:?} in {view:?}");
        let view = view.expect("its slot was found in it");
        let barred = |known: &Singleton| known.app == *app && known.permit != Permit::Granted;
        // One that was ordered before is ordered again after a restore; the daemon knows by then whose the app is.
        let again = self.spawned.contains_key(&worker);
        promise!(again || !after.singletons().iter().any(barred), "a spawn without permission: {effect:?}");
        let (live, surge) = (view.slots.iter().flat_map(workers).count(), self.surge(after, *app));
        let most = view.slots.len() + surge;
        promise!(live <= most || self.doubles, "{live} workers of app {app}, allowed are {most}");
        Ok(())
    }

    /// The largest surge that this app was ever allowed: after a policy gets stricter, workers of the old one may
    /// still be there.
    #[must_use]
    pub fn surge(&self, fleet: &Fleet, app: AppId) -> usize {
        let now =
            fleet.desired().apps.iter().find(|known| known.id == app).map_or(0, |app| app.policy.surge());
        self.surge.get(&app).copied().unwrap_or(0).max(now)
    }

    /// A turn became durable: a snapshot of it was stored.
    pub fn commit(&mut self, before: &Fleet, after: &Fleet, event: &Event, fx: &Effects) -> Checked {
        if let Event::Command { op, command } = event {
            promise!(!self.ops.contains_key(op), "the history used op {op} twice");
            self.ops.insert(*op, None);
            let rejected = fx.iter().any(
                |fx| matches!(fx, Effect::OpDone { op: done, outcome: Outcome::Rejected(_) } if done == op),
            );
            if !rejected {
                self.stopped = self.stopped_by(before, after, command);
                self.halted |= *command == Command::Shutdown;
            }
        }
        self.note_ends(fx)?;
        for app in after.desired().apps {
            let known = self.surge.entry(app.id).or_default();
            *known = (*known).max(app.policy.surge());
        }
        self.note_spawns(fx);
        if after.apps().is_empty() {
            self.stopped.clear(); // Slot numbers begin anew.
        }
        Ok(())
    }

    fn note_ends(&mut self, fx: &Effects) -> Checked {
        for effect in fx {
            if let Effect::OpDone { op, outcome } = effect {
                match self.ops.get_mut(op) {
                    Some(end @ None) => *end = Some(outcome.clone()),
                    Some(Some(first)) => promise!(false, "op {op} ended twice: {first:?}, {outcome:?}"),
                    None => promise!(false, "op {op} ended and never began: {outcome:?}"),
                }
            }
        }
        Ok(())
    }

    /// The slots that nothing may be spawned on after a command that was accepted.
    fn stopped_by(&self, before: &Fleet, after: &Fleet, command: &Command) -> BTreeSet<SlotId> {
        let mut stopped = self.stopped.clone();
        match command {
            Command::Stop { target } | Command::Delete { target } => stopped.extend(slots(before, target)),
            Command::Start { target }
            | Command::Restart { target, .. }
            | Command::Reload { target, .. }
            | Command::Renew { target, .. } => {
                for slot in slots(before, target) {
                    stopped.remove(&slot);
                }
                called(after, &mut stopped);
            }
            Command::Scale { app, .. } | Command::Update { app, .. } => {
                // A slot that was on its way out may be called back.
                let leaving =
                    before.app(*app).into_iter().flat_map(|app| app.slots).filter(|slot| slot.leaving);
                let up = after.app(*app).into_iter().flat_map(|app| app.slots).filter(|slot| slot.up);
                let up: BTreeSet<SlotId> = up.map(|slot| slot.id).collect();
                for slot in leaving.filter(|slot| up.contains(&slot.id)) {
                    stopped.remove(&slot.id);
                }
            }
            Command::Create { .. } => called(after, &mut stopped),
            Command::Shutdown | Command::Reset { .. } => {}
        }
        stopped
    }

    fn note_spawns(&mut self, fx: &Effects) {
        for effect in fx {
            if let Effect::Spawn { worker, .. } = effect {
                self.spawned.insert(*worker, effect.clone());
            }
        }
    }

    /// A successor took over. Without a snapshot it knows nothing of ops; what was written to disk but not into the
    /// snapshot may have changed what is stopped.
    pub fn restored(&mut self, fleet: &Fleet, with_snapshot: bool, fx: &Effects) -> Checked {
        if !with_snapshot {
            let open = self.ops.iter().filter(|(_, end)| end.is_none()).map(|(op, _)| *op);
            self.lost.extend(open);
            self.halted = false;
        }
        let down =
            fleet.apps().into_iter().flat_map(|app| app.slots).filter(|slot| !slot.up).map(|slot| slot.id);
        self.stopped = down.collect();
        for effect in fx {
            if let Effect::Spawn { worker, .. } = effect {
                self.judge_spawn(fleet, *worker, effect, &self.stopped)?;
            }
        }
        for worker in fleet.apps().iter().flat_map(|app| &app.slots).flat_map(workers) {
            let told = fx.iter().any(|effect| match (effect, worker.phase) {
                (Effect::Spawn { worker: told, .. }, PhaseName::Spawning)
                | (Effect::Drain { worker: told, .. }, PhaseName::Draining)
                | (Effect::Signal { worker: told, .. }, PhaseName::Stopping) => *told == worker.id,
                _ => false,
            });
            let settled = matches!(worker.phase, PhaseName::Starting | PhaseName::Ready);
            promise!(settled || told, "after a restore nobody tells {worker:?}: {fx:?}");
        }
        self.note_spawns(fx);
        self.note_ends(fx)
    }

    /// How a command ended; none: not yet (or nobody knows any more).
    #[must_use]
    pub fn outcome(&self, op: OpId) -> Option<&Outcome> {
        self.ops.get(&op)?.as_ref()
    }

    /// Commands that have not ended and whose fate is not excused by a lost snapshot.
    pub fn open_ops(&self) -> impl Iterator<Item = OpId> {
        let open = self.ops.iter().filter(|(op, end)| end.is_none() && !self.lost.contains(op));
        open.map(|(op, _)| *op)
    }

    /// A shutdown was asked for.
    #[must_use]
    pub fn halted(&self) -> bool {
        self.halted
    }

    /// How many workers were spawned.
    #[must_use]
    pub fn spawns(&self) -> usize {
        self.spawned.len()
    }
}

/// Whoever can finish what it has is asked to before it is told to stop.
fn judge_signal(before: &Fleet, after: &Fleet, worker: WorkerId) -> Checked {
    let drains = |fleet: &Fleet, app: AppId| {
        let known = fleet.desired().apps.into_iter().find(|known| known.id == app);
        known.is_some_and(|app| app.policy.drain != Drain::Signal)
    };
    for app in before.apps().iter().filter(|app| drains(before, app.id) && drains(after, app.id)) {
        let told = app.slots.iter().flat_map(workers).find(|known| known.id == worker);
        let served = told.is_some_and(|told| matches!(told.phase, PhaseName::Starting | PhaseName::Ready));
        promise!(!served, "{worker} is told to stop with all that it has in hand");
    }
    Ok(())
}

fn judge_app(app: &AppView) -> Checked {
    for slot in &app.slots {
        if let (Some(current), Some(successor)) = (&slot.worker, &slot.successor) {
            promise!(app.rollout.is_some(), "two workers on slot {} without a rollout", slot.id);
            promise!(!ending(successor), "an ending successor: {current:?}, {successor:?}");
        }
        for old in &slot.old {
            promise!(ending(old), "an old worker that nobody told to go: {old:?}");
        }
    }
    Ok(())
}

fn ending(worker: &WorkerView) -> bool {
    match worker.phase {
        PhaseName::Draining | PhaseName::Stopping => true,
        PhaseName::Spawning | PhaseName::Starting | PhaseName::Ready => false,
    }
}

/// Every worker of a slot.
pub(crate) fn workers(slot: &SlotView) -> impl Iterator<Item = &WorkerView> {
    slot.worker.iter().chain(&slot.successor).chain(&slot.old)
}

/// The slots that a target means.
fn slots(fleet: &Fleet, target: &Target) -> Vec<SlotId> {
    let apps = fleet.apps();
    let whole = apps.iter().filter(|app| target.apps.contains(&app.id));
    let named = whole.flat_map(|app| &app.slots).filter(|slot| !slot.leaving).map(|slot| slot.id);
    named.chain(target.slots.iter().copied()).collect()
}
