//! How workers become ready, or do not in time. Readiness belongs to one worker.

use crate::app::App;
use crate::restart::End;
use crate::slot::{Seat, Slot};
use crate::turn::Turn;
use crate::worker::{Due, Phase, Role, starting_time};
use crate::{AppId, ExitStatus, Failure, Notice, Policy, ReadyHow, Reason, WorkerId};

/// Something that a worker said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Listening,
    Announced,
    Drained,
    StopsItself,
}

// === impl App ===

impl App {
    /// The worker's process is there.
    pub(crate) fn spawned(&mut self, turn: &mut Turn<'_>, id: WorkerId, pid: u32) {
        let Self { id: app, policy, slots, .. } = self;
        for slot in slots {
            let place = slot.place(*app);
            if let Some(worker) = slot.worker_mut(id) {
                worker.spawned(turn, place, policy, pid);
            }
        }
    }

    /// Notes what a worker said; the pass that follows draws the conclusion.
    pub(crate) fn heard(&mut self, turn: &mut Turn<'_>, id: WorkerId, word: Word) {
        let Self { id: app, policy, slots, .. } = self;
        let found = slots.iter_mut().find_map(|slot| {
            let place = slot.place(*app);
            Some((place, slot.worker_mut(id)?))
        });
        let Some((place, worker)) = found else { return };
        match word {
            Word::Listening => {
                worker.said.listening = true;
                turn.dirty |= !self.listened;
                self.listened = true;
            }
            Word::Announced => worker.said.announced = true,
            Word::Drained => worker.drained(turn, place, policy),
            Word::StopsItself => worker.stops_itself(turn, place, policy),
        }
    }

    /// Workers that have said enough are ready.
    pub(crate) fn settle_ready(&mut self, turn: &mut Turn<'_>) {
        let Self { id: app, policy, slots, .. } = self;
        for slot in slots {
            let proofs = slot.workers().filter_map(|worker| Some((worker.id, worker.proof(policy)?)));
            for (id, how) in proofs.collect::<Vec<_>>() {
                let Some(worker) = slot.worker_mut(id) else { continue };
                if let Some(how) = worker.asked_first(turn.now, policy, how) {
                    slot.worker_ready(turn, *app, id, how);
                }
            }
            slot.begin_probes(turn.now, policy);
        }
    }

    /// Serves every deadline that has come.
    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>) {
        let Self { id: app, policy, slots, listened, .. } = self;
        let (mut failed, mut vanished) = (None, Vec::new());
        for slot in slots {
            if matches!(slot.seat, Seat::Waiting { until } if until <= turn.now) {
                slot.seat = Seat::Empty;
            }
            let due: Vec<_> = slot
                .workers()
                .filter(|worker| worker.deadline().is_some_and(|at| at <= turn.now))
                .map(|worker| worker.id)
                .collect();
            for id in due {
                match slot.worker_due(turn, *app, policy, *listened, id) {
                    Consequence::None => {}
                    Consequence::Failure(failure) => failed = failed.or(Some(failure)),
                    Consequence::Vanished => vanished.push(id),
                }
            }
        }
        self.tick_probes(turn);
        self.tick_renewals(turn);
        for id in vanished {
            self.ended(turn, id, &End::Exit(ExitStatus::Unknown));
        }
        if let Some(failure) = failed {
            self.abort_rollout(turn, failure);
        }
    }
}

/// What a worker's deadline means to its app.
#[derive(Debug)]
enum Consequence {
    None,
    /// The rollout under way has failed.
    Failure(Failure),
    /// The worker is to be taken for gone.
    Vanished,
}

// === impl Slot ===

impl Slot {
    pub(crate) fn worker_ready(&mut self, turn: &mut Turn<'_>, app: AppId, id: WorkerId, how: ReadyHow) {
        let slot = self.id;
        let Some(worker) = self.worker_mut(id) else { return };
        if let Phase::Starting { pid, .. } = worker.phase {
            worker.phase = Phase::Ready { pid, how };
            turn.fx.notice(Notice::Ready { app, slot, worker: id, how });
        }
        if self.is_ready() {
            self.trouble = None;
        }
    }

    /// Serves a worker's deadline.
    fn worker_due(
        &mut self,
        turn: &mut Turn<'_>,
        app: AppId,
        policy: &Policy,
        listened: bool,
        id: WorkerId,
    ) -> Consequence {
        let (slot, place) = (self.id, self.place(app));
        let Some(worker) = self.worker_mut(id) else { return Consequence::None };
        let role = worker.role;
        let failure = |reason| Failure { app, slot, worker: Some(id), reason };
        match worker.due(turn, place, policy, listened) {
            Due::Handled => Consequence::None,
            Due::Vanished => Consequence::Vanished,
            Due::NotReady => {
                let after = starting_time(policy);
                turn.fx.notice(Notice::NotReady { app, slot, worker: id, after });
                let failure = failure(Reason::NotReady { after });
                if self.current().is_some_and(|current| current.id == id) {
                    self.trouble = Some(failure.clone());
                }
                match role {
                    Role::Regular => Consequence::None,
                    Role::Trial => Consequence::Failure(failure),
                }
            }
            Due::Unkillable => {
                self.trouble = Some(failure(Reason::Unkillable));
                Consequence::None
            }
        }
    }
}
