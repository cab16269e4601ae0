//! Commands under way: what each still waits for, and its one end.

use crate::app::App;
use crate::slot::{Slot, Wish};
use crate::turn::{Ending, Turn};
use crate::worker::Worker;
use crate::{AppId, Effect, Failure, Notice, OpId, Outcome, Reason, SlotId};
use serde::{Deserialize, Serialize};

/// Something that an op waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Wait {
    /// The slot has a ready worker.
    Ready { app: AppId, slot: SlotId },
    /// Nobody of the slot lives.
    Gone { app: AppId, slot: SlotId },
    /// The app is no more.
    AppGone { app: AppId },
    /// The app's rollout has ended.
    Rollout { app: AppId },
    /// Nobody lives at all.
    Halt,
}

/// A command under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Op {
    id: OpId,
    waits: Vec<Wait>,
    launched: bool,
    /// The first thing that went wrong.
    failure: Option<Failure>,
}

/// Every command under way, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Ops(Vec<Op>);

/// How a wait stands.
enum Standing {
    Pending { launched: bool },
    Met,
    Failed(Failure),
}

// === impl Wait ===

impl Wait {
    /// The app that the wait is about.
    pub(crate) fn app(&self) -> Option<AppId> {
        match self {
            Self::Ready { app, .. }
            | Self::Gone { app, .. }
            | Self::AppGone { app }
            | Self::Rollout { app } => Some(*app),
            Self::Halt => None,
        }
    }

    fn standing(&self, apps: &[App], vacant: bool) -> Standing {
        let find = |id: AppId| apps.get(apps.partition_point(|app| app.id < id)).filter(|app| app.id == id);
        match *self {
            Self::Ready { app, .. } if find(app).is_some_and(App::stands_by) => Standing::Met,
            Self::Ready { app, slot } => match find(app).and_then(|app| app.slot(slot)) {
                Some(slot) => ready_standing(slot),
                None => Standing::Met,
            },
            Self::Gone { app, slot } => match find(app).and_then(|app| app.slot(slot)) {
                Some(slot) if !slot.is_vacant() => hopeless(slot),
                Some(_) | None => Standing::Met,
            },
            Self::AppGone { app } => match find(app) {
                Some(app) => any_hopeless(app.slots.iter()),
                None => Standing::Met,
            },
            Self::Rollout { app } => match find(app).and_then(|app| app.rollout.as_ref()) {
                Some(_) => any_hopeless(find(app).into_iter().flat_map(|app| &app.slots)),
                None => Standing::Met,
            },
            Self::Halt if vacant => Standing::Met,
            Self::Halt => any_hopeless(apps.iter().flat_map(|app| &app.slots)),
        }
    }
}

fn ready_standing(slot: &Slot) -> Standing {
    if slot.is_ready() {
        return Standing::Met;
    }
    if let Some(trouble) = &slot.trouble {
        return Standing::Failed(trouble.clone());
    }
    match slot.wish {
        Wish::Up => Standing::Pending { launched: slot.current().is_some_and(Worker::is_launched) },
        // Its program ended by itself, content, and is not to be restarted.
        Wish::Down | Wish::Gone => Standing::Met,
    }
}

fn hopeless(slot: &Slot) -> Standing {
    match &slot.trouble {
        Some(trouble) if trouble.reason == Reason::Unkillable => Standing::Failed(trouble.clone()),
        Some(_) | None => Standing::Pending { launched: true },
    }
}

fn any_hopeless<'a>(mut slots: impl Iterator<Item = &'a Slot>) -> Standing {
    let found = slots.find_map(|slot| match hopeless(slot) {
        Standing::Failed(failure) => Some(failure),
        Standing::Pending { .. } | Standing::Met => None,
    });
    found.map_or(Standing::Pending { launched: true }, Standing::Failed)
}

// === impl Ops ===

impl Ops {
    pub(crate) fn is_active(&self, id: OpId) -> bool {
        self.0.iter().any(|op| op.id == id)
    }

    /// A command was accepted. It ends when it waits for nothing any more.
    pub(crate) fn begin(&mut self, id: OpId, waits: Vec<Wait>) {
        self.0.push(Op { id, waits, launched: false, failure: None });
    }

    /// A later command takes over what others wait for. Those left with nothing are superseded.
    pub(crate) fn release(&mut self, turn: &mut Turn<'_>, by: OpId, taken: impl Fn(&Wait) -> bool) {
        self.0.retain_mut(|op| {
            let before = op.waits.len();
            op.waits.retain(|wait| !taken(wait));
            let superseded = op.waits.is_empty() && before > 0;
            if superseded {
                let outcome = op.failure.take().map_or(Outcome::Superseded { by }, Outcome::Failed);
                turn.fx.push(Effect::OpDone { op: op.id, outcome });
            }
            !superseded
        });
    }

    /// A slot shall not run any more.
    pub(crate) fn release_ready(&mut self, turn: &mut Turn<'_>, by: OpId, app: AppId, slot: SlotId) {
        self.release(turn, by, |wait| *wait == Wait::Ready { app, slot });
    }

    /// A slot shall run again.
    pub(crate) fn release_gone(&mut self, turn: &mut Turn<'_>, by: OpId, app: AppId, slot: SlotId) {
        self.release(turn, by, |wait| *wait == Wait::Gone { app, slot });
    }

    /// A rollout was given up for a later command.
    pub(crate) fn release_rollout(&mut self, turn: &mut Turn<'_>, by: OpId, app: AppId) {
        self.release(turn, by, |wait| *wait == Wait::Rollout { app });
    }

    fn note_ending(&mut self, ending: &Ending) {
        for op in &mut self.0 {
            let before = op.waits.len();
            op.waits.retain(|wait| *wait != Wait::Rollout { app: ending.app });
            if op.waits.len() < before && op.failure.is_none() {
                op.failure.clone_from(&ending.failure);
            }
        }
    }

    /// Looks at what each op waits for and ends those that wait for nothing any more.
    pub(crate) fn evaluate(&mut self, turn: &mut Turn<'_>, apps: &[App], vacant: bool) {
        for ending in std::mem::take(&mut turn.endings) {
            self.note_ending(&ending);
        }
        self.0.retain_mut(|op| {
            let mut launched = true;
            let failure = &mut op.failure;
            op.waits.retain(|wait| match wait.standing(apps, vacant) {
                Standing::Pending { launched: going } => {
                    launched &= going;
                    true
                }
                Standing::Met => false,
                Standing::Failed(first) => {
                    failure.get_or_insert(first);
                    false
                }
            });
            if op.waits.is_empty() {
                let outcome = op.failure.take().map_or(Outcome::Done, Outcome::Failed);
                turn.fx.push(Effect::OpDone { op: op.id, outcome });
                return false;
            }
            if launched && !op.launched {
                op.launched = true;
                turn.fx.notice(Notice::Launched { op: op.id });
            }
            true
        });
    }
}
