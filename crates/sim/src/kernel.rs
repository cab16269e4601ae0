//! The fake kernel and keeper: processes that live, speak and die in simulated time; a list of all of them.

use crate::process::{Behaviour, Draining};
use skep_core::{
    AppId, Effect, Event, ExitStatus, Inventory, Leave, Now, ProbeKind, Revision, SIGKILL, SeenWorker,
    SlotId, Span, WorkerId,
};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Every process, dead ones until they are discarded.
#[derive(Debug, Default)]
pub struct Kernel {
    children: BTreeMap<WorkerId, Child>,
    agenda: BinaryHeap<Reverse<(Now, u64, WorkerId, Deed)>>,
    scheduled: u64,
    pids: u32,
}

/// One process.
#[derive(Debug)]
struct Child {
    app: AppId,
    slot: SlotId,
    revision: Revision,
    pid: u32,
    behaviour: Behaviour,
    born: Now,
    exited: Option<ExitStatus>,
    listening: bool,
    /// It was asked to drain or to stop.
    leaving: bool,
}

/// What a process is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Listen,
    Announce,
    ReportDrained,
    StopItself,
    Answer { kind: ProbeKind, question: u32 },
    End(i32),
    Die(i32),
}

// === impl Kernel ===

impl Kernel {
    /// When something happens next.
    #[must_use]
    pub fn next(&self) -> Option<Now> {
        self.agenda.peek().map(|Reverse((at, ..))| *at)
    }

    fn schedule(&mut self, at: Now, worker: WorkerId, deed: Deed) {
        self.scheduled += 1;
        self.agenda.push(Reverse((at, self.scheduled, worker, deed)));
    }

    /// Lets happen what is due, and returns what can be seen of it.
    pub fn advance(&mut self, now: Now) -> Vec<Event> {
        let mut seen = Vec::new();
        while let Some(Reverse((at, _, worker, deed))) = self.agenda.peek().copied() {
            if at > now {
                break;
            }
            self.agenda.pop();
            seen.extend(self.happen(now, worker, deed));
        }
        seen
    }

    fn happen(&mut self, now: Now, worker: WorkerId, deed: Deed) -> Option<Event> {
        let child = self.children.get_mut(&worker).filter(|child| child.exited.is_none())?;
        match deed {
            Deed::Listen if child.leaving => None,
            Deed::Listen => {
                child.listening = true;
                Some(Event::Listening { worker })
            }
            Deed::Announce => Some(Event::Announced { worker }),
            Deed::ReportDrained => Some(Event::Drained { worker }),
            Deed::Answer { kind, question } => {
                let sick = child.behaviour.sick.is_some_and(|after| child.born + after <= now);
                let failure = (sick || !child.listening).then(|| "it is not well".to_owned());
                Some(Event::Probed { worker, kind, question, failure })
            }
            Deed::StopItself => Some(Event::StopsItself { worker }),
            Deed::End(code) => Some(self.end(worker, ExitStatus::Code(code))),
            Deed::Die(signal) => Some(self.end(worker, ExitStatus::Signal(signal))),
        }
    }

    fn end(&mut self, worker: WorkerId, status: ExitStatus) -> Event {
        if let Some(child) = self.children.get_mut(&worker) {
            child.exited = Some(status);
            child.listening = false;
        }
        Event::Exited { worker, status }
    }

    /// Brings a process to life, or answers again.
    pub fn spawn(&mut self, now: Now, effect: &Effect, behaviour: impl FnOnce() -> Behaviour) -> Vec<Event> {
        let Effect::Spawn { worker, app, slot, revision, .. } = *effect else { return Vec::new() };
        if let Some(child) = self.children.get(&worker) {
            let spawned = Event::Spawned { worker, pid: child.pid };
            let exited = child.exited.map(|status| Event::Exited { worker, status });
            return std::iter::once(spawned).chain(exited).collect();
        }
        let behaviour = behaviour();
        if !behaviour.spawns {
            return vec![Event::SpawnFailed { worker, reason: "exec: no such file".into() }];
        }
        self.pids += 1;
        let pid = self.pids;
        for (at, deed) in [(behaviour.listens, Deed::Listen), (behaviour.announces, Deed::Announce)] {
            if let Some(at) = at {
                self.schedule(now + at, worker, deed);
            }
        }
        if let Some((at, status)) = behaviour.exits {
            let deed = match status {
                ExitStatus::Code(code) => Deed::End(code),
                ExitStatus::Signal(signal) => Deed::Die(signal),
                ExitStatus::Unknown => Deed::Die(SIGKILL),
            };
            self.schedule(now + at, worker, deed);
        }
        let (exited, listening, leaving) = (None, false, false);
        self.children.insert(
            worker,
            Child { app, slot, revision, pid, behaviour, born: now, exited, listening, leaving },
        );
        vec![Event::Spawned { worker, pid }]
    }

    /// Delivers a signal.
    pub fn signal(&mut self, now: Now, worker: WorkerId, signal: i32) {
        let Some(child) = self.children.get_mut(&worker).filter(|child| child.exited.is_none()) else {
            return;
        };
        child.leaving = true;
        if signal == SIGKILL {
            let at = now + child.behaviour.dies;
            self.schedule(at, worker, Deed::Die(SIGKILL));
        } else if let Some(after) = child.behaviour.stops {
            self.schedule(now + after, worker, Deed::End(0));
        }
    }

    /// Asks to drain. Asking again changes nothing, but whoever sees to its stop by itself says so again.
    pub fn drain(&mut self, now: Now, worker: WorkerId, leave: Leave) {
        let Some(child) = self.children.get_mut(&worker) else { return };
        if leave == Leave::Stopped && child.behaviour.stops_itself {
            return self.schedule(now, worker, Deed::StopItself);
        }
        if std::mem::replace(&mut child.leaving, true) {
            return;
        }
        match child.behaviour.drains {
            Draining::Ignores => {}
            Draining::Reports(after) => self.schedule(now + after, worker, Deed::ReportDrained),
            Draining::Ends(after) => self.schedule(now + after, worker, Deed::End(0)),
        }
    }

    /// Puts a probe's question: the answer takes a moment.
    pub fn probe(&mut self, now: Now, worker: WorkerId, kind: ProbeKind, question: u32) {
        self.schedule(now + Span::from_millis(2), worker, Deed::Answer { kind, question });
    }

    /// Forgets a dead process.
    pub fn discard(&mut self, worker: WorkerId) {
        if self.children.get(&worker).is_some_and(|child| child.exited.is_some()) {
            self.children.remove(&worker);
        }
    }

    /// A process ends at once, at the worst moment.
    pub fn kill(&mut self, worker: WorkerId, status: ExitStatus) -> Option<Event> {
        self.children.get(&worker).filter(|child| child.exited.is_none())?;
        Some(self.end(worker, status))
    }

    /// Every process of the machine ends and is forgotten.
    pub fn reboot(&mut self) {
        self.children.clear();
        self.agenda.clear();
    }

    /// Processes that live.
    pub fn living(&self) -> impl Iterator<Item = (WorkerId, AppId, SlotId)> {
        self.children.iter().filter(|(_, child)| child.exited.is_none()).map(|(id, c)| (*id, c.app, c.slot))
    }

    /// Processes of an app that listen and have not been asked to leave.
    #[must_use]
    pub fn serving(&self, app: AppId) -> usize {
        self.children.values().filter(|child| child.app == app && child.listening && !child.leaving).count()
    }

    /// What the keeper would tell.
    #[must_use]
    pub fn inventory(&self) -> Inventory {
        let seen = |(worker, child): (&WorkerId, &Child)| SeenWorker {
            worker: *worker,
            app: child.app,
            slot: child.slot,
            revision: child.revision,
            pid: child.pid,
            exited: child.exited,
        };
        Inventory { children: self.children.iter().map(seen).collect() }
    }

    /// From now on every living process does what it is told, and dies when it is killed.
    pub fn pacify(&mut self, now: Now) {
        let living: Vec<WorkerId> = self.living().map(|(id, ..)| id).collect();
        for id in living {
            if let Some(child) = self.children.get_mut(&id) {
                let dies = Span::from_millis(1);
                child.behaviour = Behaviour { dies, ..Behaviour::healthy() };
                if !child.listening && !child.leaving {
                    self.schedule(now, id, Deed::Listen);
                    self.schedule(now, id, Deed::Announce);
                }
            }
        }
    }
}
