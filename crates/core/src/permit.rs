//! Apps of which there may be only one over several hosts. They run here only while somebody who knows says so.
//!
//! An app of this kind without permission is as good as stopped, whatever is wished for it: its workers are ended, none
//! is started, and its wishes stay. Who gives permission, and how it makes sure that nobody else has it, is not the
//! core's business.

use crate::app::App;
use crate::fleet::Fleet;
use crate::slot::Wish;
use crate::turn::{Ending, Turn};
use crate::{AppId, Span};
use serde::{Deserialize, Serialize};

/// Whether an app of which there may be only one may run here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Permit {
    /// It is being asked: whoever waits for the app goes on waiting.
    #[default]
    Unknown,
    /// It may.
    Granted,
    /// It may not, for the time being: nobody waits for it.
    Refused,
}

/// An app of which there may be only one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Singleton {
    /// Which.
    pub app: AppId,
    /// Its name.
    pub name: String,
    /// It shall run, or something of it still does.
    pub needed: bool,
    /// Whether it may.
    pub permit: Permit,
    /// How long its workers take to end at most, from the moment when its permission is taken away.
    pub farewell: Span,
}

// === impl Fleet ===

impl Fleet {
    /// Gives an app permission to run, or takes it away.
    pub(crate) fn permit(&mut self, app: AppId, permit: Permit) {
        if let Some(app) = self.apps.iter_mut().find(|known| known.id == app) {
            app.permit = permit;
        }
    }

    /// All apps that need permission, by number.
    #[must_use]
    pub fn singletons(&self) -> Vec<Singleton> {
        let apps = self.apps.iter().filter(|app| app.policy.singleton);
        let singleton = |app: &App| Singleton {
            app: app.id,
            name: app.name.clone(),
            needed: !app.is_vacant() || app.slots.iter().any(|slot| slot.wish == Wish::Up),
            permit: app.permit,
            // It may drain first, and is told to stop then.
            farewell: Span(app.policy.drain_timeout.0 + app.policy.kill_timeout.0),
        };
        apps.map(singleton).collect()
    }
}

// === impl App ===

impl App {
    /// It may not run, at least not yet.
    pub(crate) fn is_barred(&self) -> bool {
        self.policy.singleton && self.permit != Permit::Granted
    }

    /// Another host runs it, as far as anybody knows, and nothing of it is left here.
    pub(crate) fn stands_by(&self) -> bool {
        self.policy.singleton && self.permit == Permit::Refused && self.is_vacant()
    }

    /// Everybody goes. A rollout has nobody to renew any more: whoever starts next is of the new revision.
    pub(crate) fn settle_barred(&mut self, turn: &mut Turn<'_>) {
        if self.rollout.is_some() {
            self.drop_rollout(turn);
            for slot in &mut self.slots {
                turn.dirty |= slot.revision != self.revision;
                slot.revision = self.revision;
            }
            turn.endings.push(Ending { app: self.id, failure: None });
        }
        let Self { id, policy, slots, .. } = self;
        for slot in slots {
            slot.stop(turn, *id, policy);
        }
    }
}
