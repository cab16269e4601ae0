//! What renews workers without anybody asking: schedules, changed files, memory limits. None of it costs anything for
//! apps that do not ask for it.

use std::collections::BTreeMap;
use std::rc::Rc;

use skep_api::{Event, EventKind};
use skep_core::{AppId, Cause, Command, MemoryWatch, SlotId, SlotView, Status, Target};
use skep_spec::AppSpec;
use tokio::sync::Notify;

use crate::agenda::Agenda;
use crate::driver::{Driver, unix_ms};
use crate::watching::Watching;

/// Where each of them stands.
#[derive(Debug, Default)]
pub(crate) struct Triggers {
    pub(crate) agenda: Agenda,
    pub(crate) agenda_wake: Rc<Notify>,
    pub(crate) memory: BTreeMap<SlotId, MemoryWatch>,
    pub(crate) memory_wake: Rc<Notify>,
    pub(crate) watching: Watching,
}

impl Triggers {
    /// What apps want has changed, perhaps.
    pub(crate) fn look_again(&self) {
        self.agenda_wake.notify_one();
        self.memory_wake.notify_one();
        self.watching.wake.notify_one();
    }
}

impl Driver {
    /// Apps that are here to stay, with what they run from now on.
    pub(crate) fn present_specs(&self) -> impl Iterator<Item = (AppId, Rc<AppSpec>)> + use<'_> {
        let apps = self.fleet.apps().into_iter().filter(|app| !app.deleting);
        apps.filter_map(|app| Some((app.id, Rc::clone(self.specs.get(&(app.id, app.revision))?))))
    }

    /// New workers for these slots; `why` ends the sentence of the event.
    pub(crate) fn renew(&mut self, app: AppId, target: Target, cause: Cause, why: &str) {
        if cause == Cause::Schedule && self.is_busy(app) {
            return;
        }
        let slot = target.slots.first().copied().filter(|_| target.slots.len() == 1);
        self.renew_by(app, slot, Command::Renew { target, cause }, cause, why);
    }

    /// Gives a command that nobody waits for, and tells of it.
    pub(crate) fn renew_by(
        &mut self,
        app: AppId,
        slot: Option<SlotId>,
        command: Command,
        cause: Cause,
        why: &str,
    ) {
        if self.ending {
            return;
        }
        let mut event = Event::new(0, unix_ms(), EventKind::Triggered, String::new());
        event.reason = Some(word(cause).to_owned());
        self.publish(event, Some(app), slot, |place| format!("{place} gets new workers: {why}"));
        let (op, _) = self.ops.begin(Some(app));
        if let Err(error) = self.command(vec![(op, command)]) {
            self.ops.cancel(op);
            self.trouble(app, None, |place| format!("{place} could not be renewed ({why}): {error}"));
        }
    }

    /// Something is under way. A schedule that is faster than workers become ready would end them for ever, and one that
    /// fires in the middle of a start or stop would make that command fail.
    fn is_busy(&self, app: AppId) -> bool {
        self.fleet.app(app).is_some_and(|view| {
            let moves = |slot: &SlotView| matches!(slot.status, Status::Launching | Status::Stopping);
            view.rollout.is_some() || view.slots.iter().any(moves)
        })
    }

    /// A schedule, a watch or a limit cannot do what was asked of it.
    pub(crate) fn trouble(&mut self, app: AppId, slot: Option<SlotId>, say: impl FnOnce(&str) -> String) {
        let event = Event::new(0, unix_ms(), EventKind::TriggerTrouble, String::new());
        self.publish(event, Some(app), slot, |place| {
            let message = say(place);
            crate::diary::note(format_args!("{message}"));
            message
        });
    }
}

/// The cause in an event's `reason`.
fn word(cause: Cause) -> &'static str {
    match cause {
        Cause::User => "user",
        Cause::Schedule => "schedule",
        Cause::Memory => "memory",
        Cause::Watch => "watch",
        Cause::Health => "health",
    }
}
