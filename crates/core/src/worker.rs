//! One process: `Spawning → Starting → Ready → Draining → Stopping`, then gone. From `Draining` on there is no way back.

use crate::probe::{Gauges, Verdict};
use crate::turn::Turn;
use crate::{
    AppId, Drain, Effect, Leave, Notice, Now, Policy, ReadyHow, ReadyRule, Revision, SIGKILL, SlotId, Span,
    WorkerId,
};
use serde::{Deserialize, Serialize};

/// A spawn that was not answered after this long is asked for again. A keeper answers within milliseconds; only a lost
/// message takes longer, and asking twice does no harm.
const SPAWN_AGAIN: Span = Span::from_secs(5);

/// A worker that has nothing left to serve may take so long to end by itself (its own clean-up) before the polite stop.
const DRAINED_GRACE: Span = Span::from_millis(300);

/// A worker that was to finish what it has before a stop and has not done so in its whole time: what the signal may take,
/// before it is killed. One that would have seen to its stop by itself had all that time to say so.
const LAST_WORDS: Span = Span::from_millis(300);

/// The pause after the first `SIGKILL`; it doubles up to [`KILL_PAUSE_MAX`]. An exit follows a kill within
/// milliseconds unless the process hangs in the kernel, which no signal mends.
const KILL_PAUSE: Span = Span::from_secs(1);
const KILL_PAUSE_MAX: Span = Span::from_secs(32);

/// After so many kills (31 s) whoever waits is told that the process hangs in the kernel. Killing goes on.
const KILLS_UNTIL_HOPELESS: u32 = 6;

/// A worker that was told to stop before it was there, and of which nothing was heard in the 3 s of so many kills, is
/// taken for gone: the answer to its spawn was lost, and each kill came after that spawn. Should it live against all
/// odds, its next sign of life gets it killed.
const KILLS_UNTIL_VANISHED: u32 = 3;

/// Where a worker belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) app: AppId,
    pub(crate) slot: SlotId,
    pub(crate) index: u32,
}

/// One process, from the wish for it to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Worker {
    pub(crate) id: WorkerId,
    pub(crate) revision: Revision,
    pub(crate) role: Role,
    pub(crate) phase: Phase,
    /// When its process began, or was asked for as long as there is none.
    pub(crate) started: Now,
    pub(crate) said: Said,
    #[serde(default)]
    pub(crate) gauges: Gauges,
}

/// Whether a rollout's fate hangs on this worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    Regular,
    /// Its readiness moves the rollout under way, its failure ends it.
    Trial,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    Spawning {
        replaces: Option<WorkerId>,
        ask_again: Now,
    },
    Starting {
        pid: u32,
        /// When it must be ready; none once that moment has passed in vain.
        until: Option<Now>,
    },
    Ready {
        pid: u32,
        how: ReadyHow,
    },
    Draining {
        pid: u32,
        successor: Option<WorkerId>,
        leave: Leave,
        until: Now,
    },
    Stopping {
        /// None: it was told to stop before it was there.
        pid: Option<u32>,
        until: Now,
        kills: u32,
    },
}

/// What the worker itself has said, in any order, even before we knew its pid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) listening: bool,
    pub(crate) announced: bool,
    /// By living for long enough.
    #[serde(default)]
    pub(crate) alive: bool,
}

/// What a due deadline of a worker means to those above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing: the worker dealt with it.
    Handled,
    /// It was not ready in time.
    NotReady,
    /// It survives `SIGKILL`.
    Unkillable,
    /// It never was there.
    Vanished,
}

// === impl Worker ===

impl Worker {
    /// Asks for a new process.
    pub(crate) fn spawn(
        turn: &mut Turn<'_>,
        place: Place,
        revision: Revision,
        replaces: Option<WorkerId>,
        role: Role,
    ) -> Self {
        let id = turn.next_worker();
        let phase = Phase::Spawning { replaces, ask_again: turn.now + SPAWN_AGAIN };
        let worker = Self {
            id,
            revision,
            role,
            phase,
            started: turn.now,
            said: Said::default(),
            gauges: Gauges::default(),
        };
        worker.ask(turn, place, replaces);
        worker
    }

    /// A process that was found running.
    pub(crate) fn adopted(id: WorkerId, revision: Revision, pid: u32, now: Now) -> Self {
        let phase = Phase::Ready { pid, how: ReadyHow::Adopted };
        Self {
            id,
            revision,
            role: Role::Regular,
            phase,
            started: now,
            said: Said::default(),
            gauges: Gauges::default(),
        }
    }

    fn ask(&self, turn: &mut Turn<'_>, place: Place, replaces: Option<WorkerId>) {
        let Place { app, slot, index } = place;
        turn.fx.push(Effect::Spawn { worker: self.id, app, slot, index, revision: self.revision, replaces });
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        match self.phase {
            Phase::Spawning { .. } => None,
            Phase::Starting { pid, .. } | Phase::Ready { pid, .. } | Phase::Draining { pid, .. } => Some(pid),
            Phase::Stopping { pid, .. } => pid,
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready { .. }) && self.gauges.readiness.verdict != Verdict::Bad
    }

    /// It is on its way out.
    pub(crate) fn is_ending(&self) -> bool {
        match self.phase {
            Phase::Draining { .. } | Phase::Stopping { .. } => true,
            Phase::Spawning { .. } | Phase::Starting { .. } | Phase::Ready { .. } => false,
        }
    }

    /// Its process runs and is not on its way out.
    pub(crate) fn is_launched(&self) -> bool {
        matches!(self.phase, Phase::Starting { .. } | Phase::Ready { .. })
    }

    /// It was to be ready by now, and is not.
    pub(crate) fn is_late(&self) -> bool {
        matches!(self.phase, Phase::Starting { until: None, .. }) && !self.said.alive
    }

    pub(crate) fn uptime(&self, now: Now) -> Span {
        match self.phase {
            Phase::Spawning { .. } | Phase::Stopping { pid: None, .. } => Span::ZERO,
            Phase::Starting { .. }
            | Phase::Ready { .. }
            | Phase::Draining { .. }
            | Phase::Stopping { .. } => now.since(self.started),
        }
    }

    /// Its process is there.
    pub(crate) fn spawned(&mut self, turn: &mut Turn<'_>, place: Place, policy: &Policy, pid: u32) {
        match self.phase {
            Phase::Spawning { .. } => {
                self.started = turn.now;
                self.phase = Phase::Starting { pid, until: Some(turn.now + starting_time(policy)) };
            }
            Phase::Stopping { pid: None, kills, .. } => {
                // The stop may have gone to nobody: say it again.
                self.started = turn.now;
                let signal = if kills == 0 { policy.stop_signal } else { SIGKILL };
                self.phase = Phase::Stopping { pid: Some(pid), until: turn.now + policy.kill_timeout, kills };
                turn.fx.push(Effect::Signal { worker: self.id, signal, tree: policy.kill_tree });
            }
            Phase::Starting { .. }
            | Phase::Ready { .. }
            | Phase::Draining { .. }
            | Phase::Stopping { pid: Some(_), .. } => return,
        }
        turn.fx.notice(Notice::Spawned { app: place.app, slot: place.slot, worker: self.id, pid });
    }

    /// What it said makes it ready (or fit to be asked, if there is a readiness probe).
    pub(crate) fn proof(&self, policy: &Policy) -> Option<ReadyHow> {
        let Phase::Starting { .. } = self.phase else { return None };
        let alive = self.said.alive.then_some(ReadyHow::Alive);
        match policy.ready {
            ReadyRule::Listening | ReadyRule::Spawned => {
                self.said.listening.then_some(ReadyHow::Listening).or(alive)
            }
            ReadyRule::Announced => self.said.announced.then_some(ReadyHow::Announced),
        }
    }

    /// Gives a worker that was late another whole `listen_timeout`, because somebody asks anew.
    pub(crate) fn wait_anew(&mut self, now: Now, policy: &Policy) {
        if let Phase::Starting { until: until @ None, .. } = &mut self.phase {
            *until = Some(now + starting_time(policy));
        }
    }

    /// Asks it to finish what it has; at once to stop where there is nothing to finish.
    pub(crate) fn drain(
        &mut self,
        turn: &mut Turn<'_>,
        place: Place,
        policy: &Policy,
        successor: Option<WorkerId>,
    ) {
        match (&self.phase, policy.drain) {
            (Phase::Ready { pid, .. }, Drain::Migrate | Drain::Close) => {
                self.leave(turn, *pid, successor, Leave::Replaced, turn.now + policy.drain_timeout);
                turn.fx.notice(Notice::Draining { app: place.app, slot: place.slot, worker: self.id });
            }
            (Phase::Ready { .. }, Drain::Signal) | (Phase::Spawning { .. } | Phase::Starting { .. }, _) => {
                self.stop(turn, place, policy);
            }
            (Phase::Draining { .. } | Phase::Stopping { .. }, _) => {}
        }
    }

    fn leave(
        &mut self,
        turn: &mut Turn<'_>,
        pid: u32,
        successor: Option<WorkerId>,
        leave: Leave,
        until: Now,
    ) {
        self.phase = Phase::Draining { pid, successor, leave, until };
        turn.fx.push(Effect::Drain { worker: self.id, successor, leave });
    }

    /// It has nothing left to serve.
    pub(crate) fn drained(&mut self, turn: &mut Turn<'_>, place: Place, policy: &Policy) {
        match &mut self.phase {
            Phase::Draining { leave: Leave::Replaced, until, .. } => {
                *until = (*until).min(turn.now + DRAINED_GRACE);
            }
            Phase::Draining { leave: Leave::Stopped, .. } => {
                self.tell(turn, place, policy, policy.kill_timeout);
            }
            Phase::Spawning { .. }
            | Phase::Starting { .. }
            | Phase::Ready { .. }
            | Phase::Stopping { .. } => {}
        }
    }

    /// It sees to its stop by itself, once it is told.
    pub(crate) fn stops_itself(&mut self, turn: &mut Turn<'_>, place: Place, policy: &Policy) {
        if let Phase::Draining { leave: Leave::Stopped, .. } = self.phase {
            self.tell(turn, place, policy, policy.kill_timeout);
        }
    }

    /// Ends it. One that can is asked first to finish what it has, unless it does that by itself when it is told to
    /// stop; then it is told. Saying it again changes nothing.
    pub(crate) fn stop(&mut self, turn: &mut Turn<'_>, place: Place, policy: &Policy) {
        let finished = turn.now + policy.drain_timeout;
        match (&self.phase, policy.drain) {
            (Phase::Starting { pid, .. } | Phase::Ready { pid, .. }, Drain::Migrate | Drain::Close) => {
                self.leave(turn, *pid, None, Leave::Stopped, finished);
            }
            (Phase::Draining { pid, successor, leave: Leave::Replaced, until }, _) => {
                self.leave(turn, *pid, *successor, Leave::Stopped, (*until).min(finished));
            }
            (Phase::Starting { .. } | Phase::Ready { .. }, Drain::Signal) | (Phase::Spawning { .. }, _) => {
                self.tell(turn, place, policy, policy.kill_timeout);
            }
            (Phase::Draining { leave: Leave::Stopped, .. } | Phase::Stopping { .. }, _) => {}
        }
    }

    /// Tells it to end, and how long it may take.
    fn tell(&mut self, turn: &mut Turn<'_>, place: Place, policy: &Policy, patience: Span) {
        self.phase = Phase::Stopping { pid: self.pid(), until: turn.now + patience, kills: 0 };
        self.signal(turn, place, policy, policy.stop_signal);
    }

    fn signal(&self, turn: &mut Turn<'_>, place: Place, policy: &Policy, signal: i32) {
        let Place { app, slot, .. } = place;
        turn.fx.push(Effect::Signal { worker: self.id, signal, tree: policy.kill_tree });
        turn.fx.notice(Notice::Signalled { app, slot, worker: self.id, signal });
    }

    /// Says again whatever may not have been heard: the supervisor was killed between deciding and doing.
    pub(crate) fn repeat(&self, turn: &mut Turn<'_>, place: Place, policy: &Policy) {
        match self.phase {
            Phase::Spawning { replaces, .. } => self.ask(turn, place, replaces),
            Phase::Starting { .. } | Phase::Ready { .. } => self.ask_again(turn),
            Phase::Draining { successor, leave, .. } => {
                turn.fx.push(Effect::Drain { worker: self.id, successor, leave });
            }
            Phase::Stopping { kills, .. } => {
                let signal = if kills == 0 { policy.stop_signal } else { SIGKILL };
                turn.fx.push(Effect::Signal { worker: self.id, signal, tree: policy.kill_tree });
            }
        }
    }

    pub(crate) fn deadline(&self) -> Option<Now> {
        match self.phase {
            Phase::Spawning { ask_again, .. } => Some(ask_again),
            Phase::Starting { until, .. } => until,
            Phase::Ready { .. } => None,
            Phase::Draining { until, .. } | Phase::Stopping { until, .. } => Some(until),
        }
    }

    /// Its deadline has come. `listened`: some worker of its app has listened once.
    pub(crate) fn due(&mut self, turn: &mut Turn<'_>, place: Place, policy: &Policy, listened: bool) -> Due {
        match &mut self.phase {
            Phase::Spawning { replaces, ask_again } => {
                *ask_again = turn.now + SPAWN_AGAIN;
                let replaces = *replaces;
                self.ask(turn, place, replaces);
                Due::Handled
            }
            Phase::Starting { until, .. } => match (policy.ready, listened) {
                (ReadyRule::Spawned, _) | (ReadyRule::Listening, false) => {
                    *until = None;
                    self.said.alive = true;
                    Due::Handled
                }
                (ReadyRule::Listening, true) | (ReadyRule::Announced, _) => {
                    *until = None;
                    Due::NotReady
                }
            },
            Phase::Ready { .. } => Due::Handled,
            Phase::Draining { leave, .. } => {
                let patience = match leave {
                    Leave::Replaced => policy.kill_timeout,
                    Leave::Stopped => LAST_WORDS.min(policy.kill_timeout),
                };
                self.tell(turn, place, policy, patience);
                Due::Handled
            }
            Phase::Stopping { pid: None, kills: KILLS_UNTIL_VANISHED.., .. } => Due::Vanished,
            Phase::Stopping { until, kills, .. } => {
                *until = turn.now + Span((KILL_PAUSE.0 << (*kills).min(5)).min(KILL_PAUSE_MAX.0));
                *kills = kills.saturating_add(1);
                let verdict = if *kills >= KILLS_UNTIL_HOPELESS { Due::Unkillable } else { Due::Handled };
                self.signal(turn, place, policy, SIGKILL);
                verdict
            }
        }
    }
}

/// How long a worker may take from its spawn until it is ready.
pub(crate) fn starting_time(policy: &Policy) -> Span {
    match policy.ready {
        ReadyRule::Listening | ReadyRule::Announced => policy.listen_timeout,
        ReadyRule::Spawned => policy.alive_time,
    }
}
