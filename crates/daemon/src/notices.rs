//! The core's notices as events for people: a kind, a sentence, and the fields that scripts filter by.

use std::collections::{BTreeMap, VecDeque};

use skep_api::{Event, EventKind};
use skep_core::{AppId, ExitStatus, Fleet, Notice, ReadyHow, Remedy, SlotId};
use tokio::sync::broadcast;

/// Events that a late listener can still read: an evening's worth of an ordinary fleet, about 100 KB at most.
const REMEMBERED_MAX: usize = 256;
/// Events that a listener may be behind before it is told that it missed some.
const BEHIND_MAX: usize = 256;

/// What the core does not know: names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    pub(crate) app: String,
    pub(crate) namespace: String,
    pub(crate) index: Option<u32>,
}

impl Names {
    /// `web`, or `web:0` for a slot.
    pub(crate) fn place(&self) -> String {
        match self.index {
            Some(index) => format!("{}:{index}", self.app),
            None => self.app.clone(),
        }
    }
}

/// Names by number, also of what has just gone: an app's last notices come when the core has forgotten it.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    apps: BTreeMap<AppId, Known>,
}

/// What is known of one app.
#[derive(Debug, Default)]
struct Known {
    name: String,
    namespace: String,
    indexes: BTreeMap<SlotId, u32>,
}

impl Registry {
    /// The names behind numbers.
    pub(crate) fn names(&mut self, fleet: &Fleet, app: AppId, slot: Option<SlotId>) -> Names {
        if let Some(view) = fleet.app(app) {
            let known = self.apps.entry(app).or_default();
            (known.name, known.namespace) = (view.name, view.namespace);
            // A slot's last notice comes when the core has forgotten it.
            known.indexes.retain(|id, _| Some(*id) == slot);
            known.indexes.extend(view.slots.iter().map(|seen| (seen.id, seen.index)));
        }
        let Some(known) = self.apps.get(&app) else { return Names::default() };
        let index = slot.and_then(|slot| known.indexes.get(&slot).copied());
        Names { app: known.name.clone(), namespace: known.namespace.clone(), index }
    }

    /// Forgets an app.
    pub(crate) fn forget(&mut self, app: AppId) {
        self.apps.remove(&app);
    }
}

/// Every event, to whoever listens, and the last ones for whoever comes later.
#[derive(Debug)]
pub(crate) struct Hub {
    seq: u64,
    remembered: VecDeque<Event>,
    sender: broadcast::Sender<Event>,
}

impl Hub {
    pub(crate) fn new() -> Hub {
        Hub { seq: 0, remembered: VecDeque::new(), sender: broadcast::channel(BEHIND_MAX).0 }
    }

    /// Numbers, remembers and sends an event; answers it as sent.
    pub(crate) fn publish(&mut self, mut event: Event) -> Event {
        self.seq += 1;
        event.seq = self.seq;
        if self.remembered.len() == REMEMBERED_MAX {
            self.remembered.pop_front();
        }
        self.remembered.push_back(event.clone());
        // Nobody listening is no error.
        let _ = self.sender.send(event.clone());
        event
    }

    /// Sends an event to those who listen just now; it is not remembered, since there are many of its kind.
    pub(crate) fn mention(&mut self, mut event: Event) {
        if self.sender.receiver_count() > 0 {
            self.seq += 1;
            event.seq = self.seq;
            let _ = self.sender.send(event);
        }
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.sender.subscribe()
    }

    pub(crate) fn remembered(&self, after: u64) -> Vec<Event> {
        self.remembered.iter().filter(|event| event.seq > after).cloned().collect()
    }
}

/// The event for a notice; `None` for one that is only for whoever gave the command.
pub(crate) fn event(
    notice: &Notice,
    now_unix_ms: u64,
    mut names: impl FnMut(AppId, Option<SlotId>) -> Names,
) -> Option<Event> {
    let app = notice.app()?;
    let known = names(app, notice.slot());
    let place = known.place();
    let mut event = Event::new(0, now_unix_ms, EventKind::Other, String::new());
    event.app = Some(known.app);
    event.namespace = Some(known.namespace);
    event.slot = notice.slot().map(|slot| slot.0);
    event.index = known.index;
    let (kind, message) = describe(notice, &place, &mut event);
    event.kind = kind;
    event.message = message;
    Some(event)
}

/// The kind and the sentence; sets the fields that belong to this kind alone.
fn describe(notice: &Notice, place: &str, event: &mut Event) -> (EventKind, String) {
    match notice {
        Notice::AppCreated { .. } => (EventKind::AppCreated, format!("{place} was added")),
        Notice::WaitingFor { on, condition, .. } => {
            (EventKind::Other, format!("{place} waits for {on} {condition}"))
        }
        Notice::AppDeleted { .. } => (EventKind::AppDeleted, format!("{place} was deleted")),
        Notice::Spawned { worker, pid, .. } => {
            event.worker = Some(worker.0);
            event.pid = Some(*pid);
            (EventKind::WorkerSpawned, format!("{place} started as process {pid}"))
        }
        Notice::SpawnFailed { worker, reason, .. } => {
            event.worker = Some(worker.0);
            event.reason = Some(reason.clone());
            (EventKind::SpawnFailed, format!("{place} could not be started: {reason}"))
        }
        Notice::Ready { worker, how, .. } => {
            event.worker = Some(worker.0);
            let how = match how {
                ReadyHow::Listening => "it listens",
                ReadyHow::Announced => "it said so",
                ReadyHow::Alive => "it stays alive",
                ReadyHow::Adopted => "it was found running",
                ReadyHow::Probed => "its probe says so",
            };
            (EventKind::WorkerReady, format!("{place} is ready: {how}"))
        }
        Notice::NotReady { worker, after, .. } => {
            event.worker = Some(worker.0);
            (EventKind::WorkerNotReady, format!("{place} is not ready after {after}"))
        }
        Notice::Unready { worker, reason, .. } => {
            event.worker = Some(worker.0);
            event.reason = Some(reason.clone());
            (EventKind::WorkerNotReady, format!("{place} cannot take new connections: {reason}"))
        }
        Notice::Unhealthy { worker, reason, remedy, .. } => {
            event.worker = Some(worker.0);
            event.reason = Some(reason.clone());
            let remedy = match remedy {
                Remedy::Replace => "is replaced".to_owned(),
                Remedy::ReplaceAfter(wait) => {
                    format!("is replaced in {wait}, as others before it were not well")
                }
                Remedy::Keep(tries) => format!("stays, as {tries} in a row were never well"),
            };
            (EventKind::WorkerNotReady, format!("{place} is not well and {remedy}: {reason}"))
        }
        Notice::Draining { worker, .. } => {
            event.worker = Some(worker.0);
            (EventKind::WorkerDraining, format!("{place} takes no new work and finishes what it has"))
        }
        Notice::Signalled { worker, signal, .. } => {
            event.worker = Some(worker.0);
            event.signal = Some(*signal);
            if *signal == skep_core::SIGKILL {
                (EventKind::WorkerKilled, format!("{place} did not stop in time and was killed"))
            } else {
                (EventKind::WorkerStopping, format!("{place} was asked to stop (signal {signal})"))
            }
        }
        Notice::Exited { worker, status, uptime, .. } => {
            event.worker = Some(worker.0);
            exit_fields(*status, event);
            (EventKind::WorkerExited, format!("{place} ended with {status} after {uptime}"))
        }
        Notice::WaitingRestart { delay, unstable, .. } => {
            event.delay_ms = Some(delay.as_millis());
            (
                EventKind::RestartDelayed,
                format!("{place} starts again in {delay} ({unstable} unstable exits)"),
            )
        }
        Notice::GaveUp { unstable, .. } => (
            EventKind::GaveUp,
            format!("{place} was given up after {unstable} exits in a row before min_uptime"),
        ),
        Notice::Finished { status, .. } => {
            exit_fields(*status, event);
            (EventKind::SlotStopped, format!("{place} is finished ({status})"))
        }
        Notice::RolloutStarted { total, .. } => {
            (EventKind::RolloutStarted, format!("{place} is being renewed, {total} in all"))
        }
        Notice::RolloutStep { done, total, .. } => {
            (EventKind::RolloutSlotDone, format!("{place} is renewed ({done} of {total})"))
        }
        Notice::RolloutDone { .. } => (EventKind::RolloutDone, format!("{place} is renewed")),
        Notice::RolloutFailed { failure, done, total, back, .. } => {
            event.worker = failure.worker.map(|worker| worker.0);
            event.slot = Some(failure.slot.0);
            event.reason = Some(failure.reason.to_string());
            let back = if *back > 0 { format!(" ({back} go back)") } else { String::new() };
            let text =
                format!("renewing {place} was given up after {done} of {total}{back}: {}", failure.reason);
            (EventKind::RolloutFailed, text)
        }
        Notice::Launched { .. } => (EventKind::Other, String::new()),
    }
}

fn exit_fields(status: ExitStatus, event: &mut Event) {
    match status {
        ExitStatus::Code(code) => event.exit_code = Some(code),
        ExitStatus::Signal(signal) => event.signal = Some(signal),
        ExitStatus::Unknown => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_core::{Span, WorkerId};

    fn of(notice: &Notice) -> Option<Event> {
        event(notice, 5, |_, slot| Names {
            app: "web".into(),
            namespace: "default".into(),
            index: slot.map(|slot| slot.0 + 10),
        })
    }

    #[test]
    fn an_exit_names_the_place_the_code_and_the_uptime() {
        let event = of(&Notice::Exited {
            app: AppId(1),
            slot: SlotId(2),
            worker: WorkerId(3),
            status: ExitStatus::Code(7),
            uptime: Span::from_millis(1500),
            asked: false,
        })
        .unwrap();
        assert_eq!(event.message, "web:12 ended with exit code 7 after 1.5 s");
        assert_eq!((event.kind, event.exit_code, event.worker), (EventKind::WorkerExited, Some(7), Some(3)));
    }

    #[test]
    fn a_notice_for_the_commander_alone_is_no_event() {
        assert_eq!(of(&Notice::Launched { op: skep_core::OpId(1) }), None);
    }

    #[test]
    fn a_late_listener_reads_the_last_events_and_no_more_than_are_kept() {
        let mut hub = Hub::new();
        for _ in 0..REMEMBERED_MAX + 5 {
            hub.publish(Event::new(0, 0, EventKind::Other, "x"));
        }
        let all = hub.remembered(0);
        assert_eq!((all.len(), all[0].seq), (REMEMBERED_MAX, 6));
        assert_eq!(hub.remembered(REMEMBERED_MAX as u64 + 4).len(), 1);
    }
}
