//! A worker is gone: who takes its seat, and when.

use crate::app::App;
use crate::restart::{End, Verdict};
use crate::slot::{Post, Seat, Slot, Wish};
use crate::turn::Turn;
use crate::worker::{Phase, Role, Worker};
use crate::{AppId, Effect, ExitStatus, ExitView, Failure, Notice, Policy, Reason, Span, WorkerId};

/// So many unstable exits in a row tell whoever waits for this slot that it fails, however many more its policy
/// allows: PM2's `max_restarts`, because people write a million there and still want an answer.
const EXITS_UNTIL_TROUBLE: u32 = 16;

// === impl App ===

impl App {
    /// The worker is gone. Its slot's next worker, if one is due at once, is put there by the pass that follows.
    pub(crate) fn ended(&mut self, turn: &mut Turn<'_>, id: WorkerId, end: &End) {
        let Self { id: app, policy, slots, rollout, .. } = self;
        let Some(slot) = slots.iter_mut().find(|slot| slot.worker(id).is_some()) else { return };
        let unborn = slot.worker(id).is_some_and(Worker::is_unborn);
        match end {
            End::NoSpawn(_) if !unborn => return, // An old answer to a question asked twice: the process lives.
            End::NoSpawn(_) | End::Exit(_) => {}
        }
        let renewing = rollout.as_ref().is_some_and(|rollout| rollout.waiting.contains(&slot.id));
        let Some((worker, post)) = slot.remove(id) else { return };
        slot.note_end(turn, *app, &worker, end);
        let failed = match (post, worker.is_ending()) {
            (Post::Current, false) => slot.crashed(turn, *app, policy, &worker, end, renewing),
            (Post::Successor, _) => Some(slot.failure(turn, *app, &worker, end)),
            (Post::Current, true) | (Post::Leaving, _) => None,
        };
        if let Some(failure) = failed {
            self.abort_rollout(turn, failure);
        }
    }
}

// === impl Slot ===

impl Slot {
    /// Tells everybody, remembers, forgets.
    fn note_end(&mut self, turn: &mut Turn<'_>, app: AppId, worker: &Worker, end: &End) {
        let (slot, id, asked, uptime) = (self.id, worker.id, worker.is_ending(), worker.uptime(turn.now));
        turn.fx.push(Effect::Discard { worker: id });
        match end {
            End::Exit(status) => {
                self.last_exit = Some(ExitView { worker: id, status: *status, at: turn.now, uptime, asked });
                turn.fx.notice(Notice::Exited { app, slot, worker: id, status: *status, uptime, asked });
            }
            End::NoSpawn(reason) => {
                turn.fx.notice(Notice::SpawnFailed { app, slot, worker: id, reason: reason.clone() });
            }
        }
        let solved = |trouble: &Failure| trouble.worker == Some(id) && trouble.reason == Reason::Unkillable;
        self.trouble = self.trouble.take().filter(|trouble| !solved(trouble));
    }

    fn failure(&self, turn: &Turn<'_>, app: AppId, worker: &Worker, end: &End) -> Failure {
        let reason = match end {
            End::Exit(status) => Reason::Exited { status: *status, uptime: worker.uptime(turn.now) },
            End::NoSpawn(error) => Reason::SpawnFailed { error: error.clone() },
        };
        Failure { app, slot: self.id, worker: Some(worker.id), reason }
    }

    /// Its current worker ended unasked. Returns what fails a rollout.
    fn crashed(
        &mut self,
        turn: &mut Turn<'_>,
        app: AppId,
        policy: &Policy,
        worker: &Worker,
        end: &End,
        renewing: bool,
    ) -> Option<Failure> {
        let failure = self.failure(turn, app, worker, end);
        let proven = worker.is_ready() && worker.uptime(turn.now) >= policy.min_uptime;
        match (worker.role, proven) {
            (Role::Trial, false) => {
                if self.revision != worker.revision {
                    // The revision that proved itself here gets its place back at once.
                    self.counts.crash = self.counts.crash.saturating_add(1);
                } else {
                    self.crash_alone(turn, app, policy, worker, end, &failure);
                }
                Some(failure)
            }
            (Role::Trial, true) | (Role::Regular, _) => {
                if self.current().is_some() || renewing {
                    // The rollout has its successor ready, or prepares it now.
                    self.counts.crash = self.counts.crash.saturating_add(1);
                } else {
                    self.crash_alone(turn, app, policy, worker, end, &failure);
                }
                None
            }
        }
    }

    /// Nobody is there to take the seat: the policy decides.
    fn crash_alone(
        &mut self,
        turn: &mut Turn<'_>,
        app: AppId,
        policy: &Policy,
        worker: &Worker,
        end: &End,
        failure: &Failure,
    ) {
        let (slot, uptime) = (self.id, worker.uptime(turn.now));
        let verdict = self.history.judge(turn, policy, end, uptime);
        let unstable = self.history.unstable;
        match verdict {
            Verdict::Again(delay) => {
                self.counts.crash = self.counts.crash.saturating_add(1);
                if delay > Span::ZERO {
                    self.seat = Seat::Waiting { until: turn.now + delay };
                    turn.fx.notice(Notice::WaitingRestart { app, slot, delay, unstable });
                }
                let settled = uptime >= policy.min_uptime && !worker.is_ready();
                if settled || unstable >= EXITS_UNTIL_TROUBLE || matches!(end, End::NoSpawn(_)) {
                    self.trouble = Some(failure.clone());
                }
            }
            Verdict::GiveUp => {
                self.seat = Seat::Errored;
                turn.fx.notice(Notice::GaveUp { app, slot, unstable });
                self.trouble = Some(match end {
                    End::Exit(last) => {
                        Failure { reason: Reason::GaveUp { unstable, last: *last }, ..failure.clone() }
                    }
                    End::NoSpawn(_) => failure.clone(),
                });
            }
            Verdict::Finished => {
                self.wish = Wish::Down;
                turn.dirty = true;
                let status = match end {
                    End::Exit(status) => *status,
                    End::NoSpawn(_) => ExitStatus::Unknown,
                };
                turn.fx.notice(Notice::Finished { app, slot, status });
                let content = status.success() || policy.stops_with(status);
                self.finished = Some(content);
                self.trouble = (!content).then(|| failure.clone());
            }
        }
    }
}

// === impl Worker ===

impl Worker {
    /// There is no process of it that we know of.
    fn is_unborn(&self) -> bool {
        match self.phase {
            Phase::Spawning { .. } | Phase::Stopping { pid: None, .. } => true,
            Phase::Starting { .. }
            | Phase::Ready { .. }
            | Phase::Draining { .. }
            | Phase::Stopping { pid: Some(_), .. } => false,
        }
    }
}
