//! One app, and the pass over it that makes what is the same as what is wished for.

use crate::order::Gate;
use crate::rollout::Rollout;
use crate::slot::{Seat, Slot, Wish};
use crate::turn::Turn;
use crate::worker::{Role, Worker};
use crate::{AppId, Effect, Notice, Now, Permit, Policy, Revision, SlotId};
use serde::{Deserialize, Serialize};

/// One app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct App {
    pub(crate) id: AppId,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) policy: Policy,
    pub(crate) revision: Revision,
    /// By index.
    pub(crate) slots: Vec<Slot>,
    pub(crate) rollout: Option<Rollout>,
    /// A worker of it has listened once.
    pub(crate) listened: bool,
    pub(crate) stage: Stage,
    #[serde(default)]
    pub(crate) gate: Gate,
    #[serde(default)]
    pub(crate) permit: Permit,
}

/// What the app as a whole is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// Its slots do what is wished for each.
    Live,
    /// All of its workers end before the first new one starts.
    Recreating,
    /// All of its workers end, then it is gone.
    Deleting,
}

/// Whether the fleet is to run or to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Course {
    #[default]
    Run,
    Halt,
}

// === impl App ===

impl App {
    pub(crate) fn new(
        id: AppId,
        name: String,
        namespace: String,
        policy: Policy,
        revision: Revision,
    ) -> Self {
        let (slots, rollout, listened, stage) = (Vec::new(), None, false, Stage::Live);
        let gate = if policy.depends_on.is_empty() { Gate::Open } else { Gate::Shut };
        let permit = Permit::Unknown;
        Self { id, name, namespace, policy, revision, slots, rollout, listened, stage, gate, permit }
    }

    pub(crate) fn slot(&self, id: SlotId) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.id == id)
    }

    pub(crate) fn slot_mut(&mut self, id: SlotId) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.id == id)
    }

    /// Every process of the app.
    pub(crate) fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.slots.iter().flat_map(Slot::workers)
    }

    pub(crate) fn is_vacant(&self) -> bool {
        self.workers().next().is_none()
    }

    /// One pass: looks at everything, does what is missing. A second pass right after finds nothing to do.
    /// `held`: an app that needs this one is still being stopped.
    pub(crate) fn settle(&mut self, turn: &mut Turn<'_>, course: Course, held: bool) {
        self.settle_ready(turn);
        let barred = self.is_barred();
        if barred {
            self.settle_barred(turn);
        }
        if !held {
            self.settle_wishes(turn, course);
        }
        if course == Course::Run && self.stage == Stage::Recreating && self.is_vacant() {
            self.stage = Stage::Live;
            // What comes next may share its addresses in another way.
            turn.fx.push(Effect::CloseApp { app: self.id });
        }
        if course == Course::Run && self.stage == Stage::Live && !barred {
            self.advance_rollout(turn);
            if self.gate == Gate::Open {
                self.settle_seats(turn);
            }
        }
        self.sweep(turn);
    }

    /// Ends whoever is not wished for.
    fn settle_wishes(&mut self, turn: &mut Turn<'_>, course: Course) {
        let Self { id, policy, slots, stage, .. } = self;
        for slot in slots {
            match (course, *stage, slot.wish) {
                (Course::Halt, _, _) | (Course::Run, Stage::Deleting | Stage::Recreating, _) => {
                    slot.stop(turn, *id, policy);
                }
                (Course::Run, Stage::Live, Wish::Up) => {}
                (Course::Run, Stage::Live, Wish::Down) => slot.stop(turn, *id, policy),
                (Course::Run, Stage::Live, Wish::Gone) => slot.drain(turn, *id, policy),
            }
        }
    }

    /// Puts somebody on each empty seat that is wished up.
    fn settle_seats(&mut self, turn: &mut Turn<'_>) {
        let Self { id, policy, slots, rollout, .. } = self;
        for slot in slots {
            let alone = policy.overlap || slot.leaving.is_empty();
            match (&slot.seat, slot.wish) {
                (Seat::Empty, Wish::Up) if alone => match rollout {
                    Some(rollout) if rollout.waiting.contains(&slot.id) => {
                        slot.occupy(turn, *id, rollout.revision, Role::Trial);
                    }
                    Some(_) | None => slot.occupy(turn, *id, slot.revision, Role::Regular),
                },
                // A program that cannot share its port waits for its predecessor's end.
                (Seat::Empty, Wish::Up | Wish::Down | Wish::Gone)
                | (Seat::Waiting { .. } | Seat::Errored | Seat::Held { .. }, _) => {}
            }
        }
    }

    /// Forgets slots that are gone.
    fn sweep(&mut self, turn: &mut Turn<'_>) {
        let app = self.id;
        self.slots.retain(|slot| {
            let keep = slot.wish != Wish::Gone || !slot.is_vacant();
            if !keep {
                turn.fx.push(Effect::CloseSlot { app, slot: slot.id });
            }
            keep
        });
    }

    /// True once the app may be forgotten.
    pub(crate) fn is_over(&self) -> bool {
        self.stage == Stage::Deleting && self.is_vacant()
    }

    /// Says farewell.
    pub(crate) fn close(&self, turn: &mut Turn<'_>) {
        turn.fx.push(Effect::CloseApp { app: self.id });
        turn.fx.notice(Notice::AppDeleted { app: self.id });
    }

    pub(crate) fn deadline(&self) -> Option<Now> {
        self.slots.iter().filter_map(Slot::deadline).min()
    }
}
