//! The whole: apps, commands under way, and what all of them share.

use crate::app::{App, Course};
use crate::chance::Chance;
use crate::op::Ops;
use crate::probing::Answer;
use crate::ready::Word;
use crate::restart::End;
use crate::stray::Stray;
use crate::turn::{Shared, Turn};
use crate::{AppId, AppView, Command, Desired, Effect, Effects, Event, Now, OpId, SIGKILL, WorkerId};
use serde::{Deserialize, Serialize};

/// Everything that skep decides, and all it needs to know for that.
///
/// Give it each [`Event`] with the time; carry out the [`Effect`]s in order; tick when [`Fleet::next_deadline`] has
/// come. Before carrying out, store [`Fleet::snapshot`] where a successor finds it: [`Fleet::restore`] then continues
/// whatever was under way.
///
/// ```
/// use skep_core::{Command, Effect, Effects, Event, Fleet, Now, OpId, Policy, Revision};
///
/// let (mut fleet, mut fx) = (Fleet::new(42), Effects::new());
/// let command = Command::Create {
///     name: "web".into(),
///     namespace: "default".into(),
///     policy: Policy::default(),
///     instances: 2,
///     revision: Revision(1),
///     up: true,
/// };
/// fleet.handle(Now(0), Event::Command { op: OpId(1), command }, &mut fx);
/// let effects: Vec<Effect> = fx.drain().collect();
/// assert_eq!(effects[0], Effect::Persist);
/// assert_eq!(effects.iter().filter(|fx| matches!(fx, Effect::Spawn { .. })).count(), 2);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleet {
    /// By number.
    pub(crate) apps: Vec<App>,
    pub(crate) ops: Ops,
    pub(crate) course: Course,
    pub(crate) strays: Vec<Stray>,
    pub(crate) shared: Shared,
}

/// A fleet in a box: all of its state, for the supervisor's own successor. Store it after each [`Fleet::handle`] and
/// before its effects; a turn without effects may have changed it, too. A version of skep that cannot read an older
/// one's snapshot restores without it. Serializing the fleet itself gives the same bytes without a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Snapshot(pub(crate) Fleet);

// === impl Fleet ===

impl Fleet {
    /// An empty fleet. `seed` feeds the jitter of restart delays.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let shared = Shared { chance: Chance::new(seed), ..Shared::default() };
        Self { apps: Vec::new(), ops: Ops::default(), course: Course::Run, strays: Vec::new(), shared }
    }

    /// Takes note of what happened at `now`, decides, and appends what has to be done to `fx`.
    pub fn handle(&mut self, now: Now, event: Event, fx: &mut Effects) {
        self.turn(now, fx, |fleet, turn| match event {
            Event::Command { op, command } => {
                fleet.command(turn, op, command);
                turn.by = Some(op);
            }
            Event::Spawned { worker, pid } => fleet.spawned(turn, worker, pid),
            Event::SpawnFailed { worker, reason } => fleet.ended(turn, worker, &End::NoSpawn(reason)),
            Event::Listening { worker } => fleet.heard(turn, worker, Word::Listening),
            Event::Announced { worker } => fleet.heard(turn, worker, Word::Announced),
            Event::Drained { worker } => fleet.heard(turn, worker, Word::Drained),
            Event::StopsItself { worker } => fleet.heard(turn, worker, Word::StopsItself),
            Event::Probed { worker, kind, question, failure } => {
                fleet.probed(turn, worker, &Answer { kind, question, failure });
            }
            Event::Permit { app, permit } => fleet.permit(app, permit),
            Event::Exited { worker, status } => fleet.ended(turn, worker, &End::Exit(status)),
            Event::Seen(inventory) => fleet.compare(turn, &inventory),
            Event::Tick => fleet.tick(turn),
        });
    }

    /// Several commands in one turn: each as if it came alone, then one pass over everything. Of ten thousand, each
    /// costs what it is about and not a look at all the others.
    pub fn handle_commands(
        &mut self,
        now: Now,
        commands: impl IntoIterator<Item = (OpId, Command)>,
        fx: &mut Effects,
    ) {
        self.turn(now, fx, |fleet, turn| {
            for (op, command) in commands {
                fleet.command(turn, op, command);
                turn.by = Some(op);
            }
        });
    }

    /// One turn: `act`, then a pass over everything.
    pub(crate) fn turn(&mut self, now: Now, fx: &mut Effects, act: impl FnOnce(&mut Self, &mut Turn<'_>)) {
        let mut turn = Turn::new(now, fx, std::mem::take(&mut self.shared));
        act(self, &mut turn);
        self.settle(&mut turn);
        if turn.dirty {
            turn.shared.numbers.version += 1;
            turn.shared.numbers.version_by = turn.by;
            turn.fx.persist_first();
        }
        self.shared = turn.shared;
    }

    /// Makes what is the same as what is wished for, as far as that can be done at once.
    fn settle(&mut self, turn: &mut Turn<'_>) {
        let held = self.held_back();
        for app in &mut self.apps {
            app.settle(turn, self.course, held.contains(&app.name));
        }
        self.apps.retain(|app| {
            if app.is_over() {
                app.close(turn);
            }
            !app.is_over()
        });
        self.open_gates(turn);
        if self.apps.is_empty() && turn.shared.numbers.slot != 0 {
            turn.shared.numbers.slot = 0;
            turn.dirty = true;
        }
        let vacant = self.strays.is_empty() && self.apps.iter().all(App::is_vacant);
        self.ops.evaluate(turn, &self.apps, vacant);
    }

    fn knows(&self, worker: WorkerId) -> bool {
        self.apps.iter().flat_map(App::workers).any(|known| known.id == worker)
    }

    pub(crate) fn spawned(&mut self, turn: &mut Turn<'_>, worker: WorkerId, pid: u32) {
        if !self.knows(worker) && !self.strays.iter().any(|stray| stray.is(worker)) {
            // We took it for gone. If it is not, it must go: its place may be taken.
            turn.fx.push(Effect::Signal { worker, signal: SIGKILL, tree: true });
        }
        for app in &mut self.apps {
            app.spawned(turn, worker, pid);
        }
    }

    pub(crate) fn ended(&mut self, turn: &mut Turn<'_>, worker: WorkerId, end: &End) {
        if self.knows(worker) {
            for app in &mut self.apps {
                app.ended(turn, worker, end);
            }
        } else {
            self.strays.retain(|stray| !stray.is(worker));
            turn.fx.push(Effect::Discard { worker });
        }
    }

    fn heard(&mut self, turn: &mut Turn<'_>, worker: WorkerId, word: Word) {
        for app in &mut self.apps {
            app.heard(turn, worker, word);
        }
    }

    fn tick(&mut self, turn: &mut Turn<'_>) {
        for app in &mut self.apps {
            app.tick(turn);
        }
        for stray in &mut self.strays {
            stray.tick(turn);
        }
    }

    /// When to hand in an [`Event::Tick`] at the latest. In the past: now.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Now> {
        let apps = self.apps.iter().filter_map(App::deadline);
        apps.chain(self.strays.iter().filter_map(Stray::deadline)).min()
    }

    /// The whole state, for [`Fleet::restore`].
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.clone())
    }

    /// What has to survive a reboot.
    #[must_use]
    pub fn desired(&self) -> Desired {
        let numbers = &self.shared.numbers;
        Desired {
            version: numbers.version,
            changed_by: numbers.version_by,
            apps: self.apps.iter().filter_map(App::desired).collect(),
            worker_floor: numbers.worker_floor,
            next_app: numbers.app,
            next_slot: numbers.slot,
        }
    }

    /// Every app as it is now, by number.
    #[must_use]
    pub fn apps(&self) -> Vec<AppView> {
        self.apps.iter().map(App::view).collect()
    }

    /// One app as it is now.
    #[must_use]
    pub fn app(&self, app: AppId) -> Option<AppView> {
        self.apps.iter().find(|known| known.id == app).map(App::view)
    }
}
