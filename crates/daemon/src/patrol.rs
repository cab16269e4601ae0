//! Looking after accept queues that nobody empties: woken by the first connection after a quiet time, then by the
//! times that the steal rule asks for, and not at all when nothing comes.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use skep_core::{AppId, Now, WorkerId};
use skep_listeners::{GroupKey, Selector, Waiting};
use skep_node_ipc::ConnectionKind;
use tokio::io::Interest;
use tokio::sync::Notify;

use crate::driver::{Driver, Shared, now};
use crate::passing::Parcel;

/// How often a queue that is to run empty before its worker is stopped is looked at.
const EMPTYING_LOOK: Duration = Duration::from_millis(5);

/// When each address is to be looked at again.
#[derive(Debug)]
pub(crate) struct Rounds {
    due: BTreeMap<GroupKey, Now>,
    pub(crate) wake: Rc<Notify>,
}

impl Rounds {
    pub(crate) fn new() -> Rounds {
        Rounds { due: BTreeMap::new(), wake: Rc::new(Notify::new()) }
    }

    fn next(&self) -> Option<Now> {
        self.due.values().min().copied()
    }

    fn take_due(&mut self, now: Now) -> Vec<GroupKey> {
        let due: Vec<GroupKey> = self.due.iter().filter(|(_, at)| **at <= now).map(|(key, _)| *key).collect();
        for key in &due {
            self.due.remove(key);
        }
        due
    }
}

/// Patrols as long as the daemon lives.
pub(crate) async fn serve(driver: Shared) -> std::io::Result<()> {
    let watcher = driver.borrow().ports.watcher.as_fd().try_clone_to_owned()?;
    let watcher = crate::watch::watch(watcher, Interest::READABLE)?;
    let wake = Rc::clone(&driver.borrow().rounds.wake);
    let mut alarm = None;
    loop {
        let next = driver.borrow().rounds.next();
        if next != alarm {
            // The rule counts in single milliseconds; the watcher's own timer keeps them, the runtime's rounds up.
            driver.borrow().ports.watcher.set_alarm(next)?;
            alarm = next;
        }
        tokio::select! {
            guard = watcher.readable() => {
                let mut guard = guard?;
                let mut keys = driver.borrow().ports.watcher.fired()?;
                keys.extend(driver.borrow_mut().rounds.take_due(now()));
                if keys.is_empty() {
                    guard.clear_ready();
                }
                driver.borrow_mut().patrol(&keys);
            }
            () = wake.notified() => {}
        }
    }
}

/// Waits for a time of the boot clock; for ever without one.
pub(crate) async fn until(deadline: Option<Now>) {
    match deadline {
        Some(at) => tokio::time::sleep(Duration::from_nanos(at.since(now()).0)).await,
        None => std::future::pending().await,
    }
}

impl Driver {
    fn patrol(&mut self, keys: &[GroupKey]) {
        for key in keys {
            self.measure_load(*key);
            let Some(entry) = self.ports.entries.get_mut(key) else { continue };
            let round = entry.group.patrol(now());
            let label = entry.label.clone();
            match round.again {
                Some(at) => self.rounds.due.insert(*key, at),
                None => self.rounds.due.remove(key),
            };
            for step in round.moves {
                let Some(entry) = self.ports.entries.get(key) else { break };
                let app = entry.app;
                let to = self.server_in(step.to, &label);
                let parcel = match step.connection {
                    Waiting::Queued(queue) if self.passes() => self.expect(queue, app, &label),
                    connection @ (Waiting::Queued(_) | Waiting::Accepted(_)) => match connection.take() {
                        Ok(Some(connection)) => Parcel::Own(connection),
                        Ok(None) | Err(_) => continue,
                    },
                };
                if let Some(back) = self.give(app, &label, parcel, ConnectionKind::Fresh, to, &[]) {
                    self.shelter(app, &label, back);
                }
            }
            self.keep_ports(*key, false);
        }
    }

    /// Looks at the app's queues now: a slot lost or got its worker.
    pub(crate) fn patrol_app(&mut self, app: AppId) {
        let keys: Vec<GroupKey> = self.ports.of(app).map(|(key, _)| key).collect();
        self.patrol(&keys);
        self.rounds.wake.notify_one();
    }

    /// For `least`: a worker's open descriptors stand for its connections.
    fn measure_load(&mut self, key: GroupKey) {
        let Some(entry) = self.ports.entries.get_mut(&key) else { return };
        if entry.group.selection().selector != Selector::EbpfLeast {
            return;
        }
        for worker in self.workers.values().filter(|worker| worker.listens.contains(&entry.label)) {
            if let Some(open) = worker.pid.and_then(crate::usage::open_descriptors) {
                entry.group.set_load(worker.slot, open);
            }
        }
    }

    /// A worker without a channel is to go: new connections are steered around it already, and those that wait in its
    /// queue are left to it before it is told. A successor on the same socket takes them itself.
    pub(crate) fn empty_queue(&mut self, id: WorkerId, successor: Option<WorkerId>) {
        if successor.is_some() {
            self.queue.push_back(skep_core::Event::Drained { worker: id });
            return;
        }
        self.once_empty(id, move |driver| driver.queue.push_back(skep_core::Event::Drained { worker: id }));
    }

    /// Does something as soon as nothing waits in the worker's queues, unless the worker is gone before.
    pub(crate) fn once_empty(&mut self, id: WorkerId, act: impl FnOnce(&mut Driver) + 'static) {
        let Some(driver) = self.me.upgrade() else { return };
        let task = tokio::task::spawn_local(async move {
            while !driver.borrow_mut().is_queue_empty(id) {
                tokio::time::sleep(EMPTYING_LOOK).await;
            }
            let mut driver = driver.borrow_mut();
            act(&mut driver);
            driver.settle();
        });
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.own(task.abort_handle());
        }
    }

    fn is_queue_empty(&mut self, id: WorkerId) -> bool {
        let Some(worker) = self.workers.get(&id) else { return true };
        let (app, slot) = (worker.app, worker.slot);
        self.ports.of(app).all(|(_, entry)| {
            entry
                .group
                .queues()
                .iter()
                .all(|(of, queue)| *of != slot || queue.as_ref().is_none_or(|queue| queue.waiting == 0))
        })
    }
}
