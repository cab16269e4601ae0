//! Connections on their way to workers: who was sent which, who refused it already, and who succeeds whom.

use std::collections::BTreeMap;

use skep_core::{AppId, WorkerId};
use skep_node_ipc::{ConnId, ConnectionKind};
use tokio::sync::oneshot;

/// A connection that a worker was sent and has not answered for.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) worker: WorkerId,
    pub(crate) app: AppId,
    pub(crate) kind: ConnectionKind,
    /// Workers that must not get it (again).
    pub(crate) except: Vec<WorkerId>,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    next: u64,
    sent: BTreeMap<ConnId, Sent>,
    pending: BTreeMap<WorkerId, usize>,
    successors: BTreeMap<WorkerId, WorkerId>,
    /// Probes' connections, and who waits for them to be taken.
    knocks: BTreeMap<ConnId, oneshot::Sender<()>>,
}

impl Traffic {
    /// Numbers a connection that is about to be sent.
    pub(crate) fn send(
        &mut self,
        worker: WorkerId,
        app: AppId,
        kind: ConnectionKind,
        except: &[WorkerId],
    ) -> ConnId {
        self.next += 1;
        let conn = ConnId(self.next);
        *self.pending.entry(worker).or_default() += 1;
        self.sent.insert(conn, Sent { worker, app, kind, except: except.to_vec() });
        conn
    }

    /// Numbers a probe's connection. It is nobody's load, and if the worker does not take it, nobody else shall.
    pub(crate) fn knock(&mut self, accepted: oneshot::Sender<()>) -> ConnId {
        self.next += 1;
        // Whoever waited for an earlier one may have given up.
        self.knocks.retain(|_, waiting| !waiting.is_closed());
        self.knocks.insert(ConnId(self.next), accepted);
        ConnId(self.next)
    }

    /// True if this was a probe's connection that has been taken.
    pub(crate) fn answered(&mut self, conn: ConnId) -> bool {
        self.knocks.remove(&conn).map(|waiting| waiting.send(())).is_some()
    }

    /// The worker answered, one way or the other.
    pub(crate) fn settled(&mut self, conn: ConnId) -> Option<Sent> {
        self.knocks.remove(&conn);
        let sent = self.sent.remove(&conn)?;
        if let Some(pending) = self.pending.get_mut(&sent.worker) {
            *pending -= 1;
            if *pending == 0 {
                self.pending.remove(&sent.worker);
            }
        }
        Some(sent)
    }

    /// How many connections the worker has not answered for.
    pub(crate) fn pending(&self, worker: WorkerId) -> usize {
        self.pending.get(&worker).copied().unwrap_or(0)
    }

    /// Connections of `worker` go to `successor` first.
    pub(crate) fn succeed(&mut self, worker: WorkerId, successor: Option<WorkerId>) {
        match successor {
            Some(successor) => self.successors.insert(worker, successor),
            None => self.successors.remove(&worker),
        };
    }

    pub(crate) fn successor(&self, worker: WorkerId) -> Option<WorkerId> {
        self.successors.get(&worker).copied()
    }

    /// The worker is gone for good.
    pub(crate) fn forget(&mut self, worker: WorkerId) {
        self.successors.remove(&worker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pending_is_counted_by_worker_until_it_is_answered() {
        let mut traffic = Traffic::default();
        let worker = WorkerId(4);
        let one = traffic.send(worker, AppId(1), ConnectionKind::Fresh, &[]);
        let two = traffic.send(worker, AppId(1), ConnectionKind::Migrated, &[WorkerId(3)]);
        assert_eq!((traffic.pending(worker), traffic.pending(WorkerId(3))), (2, 0));
        assert_eq!(traffic.settled(two).unwrap().except, [WorkerId(3)]);
        assert!(traffic.settled(two).is_none());
        traffic.settled(one);
        assert_eq!(traffic.pending(worker), 0);
    }

    #[test]
    fn a_successor_is_known_until_its_predecessor_is_forgotten() {
        let mut traffic = Traffic::default();
        traffic.succeed(WorkerId(1), Some(WorkerId(2)));
        assert_eq!(traffic.successor(WorkerId(1)), Some(WorkerId(2)));
        traffic.forget(WorkerId(1));
        assert_eq!(traffic.successor(WorkerId(1)), None);
    }
}
