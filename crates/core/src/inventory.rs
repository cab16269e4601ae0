//! Compares what we believe with what the keeper holds, and believes the keeper.

use crate::app::{App, Stage};
use crate::fleet::Fleet;
use crate::restart::End;
use crate::slot::{Seat, Wish};
use crate::stray::Stray;
use crate::turn::Turn;
use crate::worker::{Phase, Place, Worker};
use crate::{ExitStatus, Inventory, Notice, ReadyHow, SeenWorker, SlotId, WorkerId};
use std::collections::BTreeMap;

/// What to do about effects that were decided earlier.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Earlier {
    /// They were carried out. (A second polite stop makes some programs end rudely.)
    Trust,
    /// Nobody knows: give them again.
    Repeat,
}

// === impl Fleet ===

impl Fleet {
    /// Looks at everything while all is well, or after messages were lost.
    pub(crate) fn compare(&mut self, turn: &mut Turn<'_>, inventory: &Inventory) {
        let newest = turn.shared.numbers.worker;
        self.reconcile(turn, inventory, Earlier::Trust, WorkerId(newest));
    }

    /// Looks at everything after a predecessor was killed. `news`: nobody decided about workers from this number on.
    pub(crate) fn resume(&mut self, turn: &mut Turn<'_>, inventory: &Inventory, news: WorkerId) {
        self.reconcile(turn, inventory, Earlier::Repeat, news);
    }

    fn reconcile(&mut self, turn: &mut Turn<'_>, inventory: &Inventory, earlier: Earlier, news: WorkerId) {
        let mut seen: BTreeMap<WorkerId, &SeenWorker> =
            inventory.children.iter().map(|child| (child.worker, child)).collect();
        let workers = self.apps.iter().flat_map(App::workers).map(|worker| worker.id);
        let known: Vec<WorkerId> = workers.chain(self.strays.iter().map(Stray::id)).collect();
        for id in known {
            match seen.remove(&id).map(|child| (child.pid, child.exited)) {
                Some((pid, None)) => self.found(turn, id, pid, earlier),
                Some((_, Some(status))) => self.ended(turn, id, &End::Exit(status)),
                None => self.missing(turn, id, earlier),
            }
        }
        // The newest first: where two share a slot, it is the older one that was to go.
        for child in seen.into_values().rev() {
            self.unknown(turn, child, news);
        }
    }

    /// A worker of ours lives.
    fn found(&mut self, turn: &mut Turn<'_>, id: WorkerId, pid: u32, earlier: Earlier) {
        let unborn = self.worker(id).is_some_and(|worker| worker.pid().is_none());
        match (unborn, earlier) {
            (true, _) => self.spawned(turn, id, pid),
            (false, Earlier::Trust) => {}
            (false, Earlier::Repeat) => self.repeat(turn, id),
        }
    }

    /// A worker of ours is not there: it has ended, or nobody was asked for it yet.
    fn missing(&mut self, turn: &mut Turn<'_>, id: WorkerId, earlier: Earlier) {
        let asked_for =
            self.apps.iter().filter(|app| app.stage == Stage::Live).flat_map(|app| &app.slots).any(|slot| {
                let spawning =
                    |worker: &Worker| worker.id == id && matches!(worker.phase, Phase::Spawning { .. });
                slot.wish == Wish::Up && slot.workers().any(spawning)
            });
        match (asked_for, earlier) {
            (true, Earlier::Trust) => {} // Its answer is under way, or it is asked for again before long.
            (true, Earlier::Repeat) => self.repeat(turn, id),
            (false, _) => self.ended(turn, id, &End::Exit(ExitStatus::Unknown)),
        }
    }

    fn worker(&self, id: WorkerId) -> Option<&Worker> {
        self.apps.iter().flat_map(App::workers).find(|worker| worker.id == id)
    }

    fn repeat(&self, turn: &mut Turn<'_>, id: WorkerId) {
        for app in &self.apps {
            for slot in &app.slots {
                for worker in slot.workers().filter(|worker| worker.id == id) {
                    worker.repeat(turn, slot.place(app.id), &app.policy);
                }
            }
        }
        for stray in self.strays.iter().filter(|stray| stray.is(id)) {
            stray.repeat(turn);
        }
    }

    /// The keeper holds a process that we know nothing of.
    fn unknown(&mut self, turn: &mut Turn<'_>, child: &SeenWorker, news: WorkerId) {
        let numbers = &mut turn.shared.numbers;
        numbers.worker = numbers.worker.max(child.worker.0.saturating_add(1));
        if let Some(status) = child.exited {
            for app in self.apps.iter_mut().filter(|app| app.id == child.app && child.worker >= news) {
                app.found_dead(turn, child.slot, status);
            }
            return self.ended(turn, child.worker, &End::Exit(status));
        }
        let worker = Worker::adopted(child.worker, child.revision, child.pid, turn.now);
        // A worker that we knew and know no more was given up: its place may be taken.
        let app = self.apps.iter_mut().find(|app| app.id == child.app && child.worker >= news);
        let Some(worker) = (match app {
            Some(app) => app.seat(turn, child, worker),
            None => Some(worker),
        }) else {
            return;
        };
        let place = Place { app: child.app, slot: child.slot, index: 0 };
        let stray = Stray::new(turn, place, worker);
        self.strays.push(stray);
    }
}

// === impl App ===

impl App {
    /// The last worker of a slot ended while nobody remembered it: a program that was to run once has run.
    fn found_dead(&mut self, turn: &mut Turn<'_>, slot: SlotId, status: ExitStatus) {
        let (app, finished) = (self.id, self.policy.finished_by(status));
        let Some(slot) = self.slot_mut(slot).filter(|slot| slot.seat == Seat::Empty && slot.wish == Wish::Up)
        else {
            return;
        };
        if finished {
            slot.wish = Wish::Down;
            turn.dirty = true;
            turn.fx.notice(Notice::Finished { app, slot: slot.id, status });
        }
    }

    /// Finds a place for a process that was found running; gives it back if there is none.
    fn seat(&mut self, turn: &mut Turn<'_>, child: &SeenWorker, mut worker: Worker) -> Option<Worker> {
        let Self { id: app, policy, slots, .. } = self;
        let Some(slot) = slots.iter_mut().find(|slot| slot.id == child.slot) else { return Some(worker) };
        let place = slot.place(*app);
        match &slot.seat {
            Seat::Empty | Seat::Waiting { .. } => {
                let (app, slot_id, id) = (*app, slot.id, worker.id);
                turn.fx.notice(Notice::Ready { app, slot: slot_id, worker: id, how: ReadyHow::Adopted });
                slot.seat = Seat::Held { current: worker, successor: None };
                None
            }
            Seat::Held { current, .. } if current.id > worker.id => {
                worker.drain(turn, place, policy, Some(current.id));
                slot.leaving.push(worker);
                None
            }
            Seat::Held { .. } | Seat::Errored => Some(worker),
        }
    }
}
