//! The table of children: what was started, what became of it, and what the daemon was told.
//!
//! The table is the truth and messages are derived from it: `dirty` names the children whose latest state the
//! daemon may not know. It is bounded by the table however slow the daemon is.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use skep_sys::pidfd::PidFd;
use skep_sys::spawn::{Failure, Outcome, Stage};
use skep_sys::wait::ExitStatus;

use crate::wire::{ChildState, Reply, Stop};

/// How many children there can be, ended and not yet forgotten ones included: beyond any machine's use, but a
/// daemon that runs wild must not fill the memory.
pub(crate) const CHILDREN_MAX: usize = 32 * 1024;

/// One child.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) note: Vec<u8>,
    pub(crate) kill_tree: bool,
    pub(crate) stop: Stop,
    /// The notify descriptor of the bind interception; kept for the next daemon.
    pub(crate) notify: Option<OwnedFd>,
    pub(crate) state: State,
    /// Set for a process that another keeper had started: its handle.
    pub(crate) foreign: Option<PidFd>,
    pub(crate) told: Told,
    /// The daemon wants to hear no more of it; the entry goes when the process has ended.
    pub(crate) forgotten: bool,
}

/// What became of a child.
#[derive(Debug)]
pub(crate) enum State {
    Starting { pid: i32, start_time: u64, outcome: Outcome },
    Running { pid: i32, start_time: u64 },
    Exited { pid: i32, start_time: u64, status: ExitStatus },
    Failed(Failure),
}

/// What this daemon was told about a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    Nothing,
    Spawned,
    End,
}

impl Told {
    const ALL: [Told; 3] = [Told::Nothing, Told::Spawned, Told::End];

    pub(crate) fn number(self) -> u8 {
        match self {
            Told::Nothing => 0,
            Told::Spawned => 1,
            Told::End => 2,
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|told| told.number() == number)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Children {
    table: BTreeMap<u64, Child>,
    by_pid: BTreeMap<i32, u64>,
    /// When each of those is to be killed that must not live longer, on the boot clock.
    expires_ns: BTreeMap<u64, u64>,
    dirty: BTreeSet<u64>,
}

impl Child {
    /// The pid while it is a process that was not reaped.
    pub(crate) fn living_pid(&self) -> Option<i32> {
        match self.state {
            State::Starting { pid, .. } | State::Running { pid, .. } => Some(pid),
            State::Exited { .. } | State::Failed(_) => None,
        }
    }

    pub(crate) fn public_state(&self) -> ChildState {
        match &self.state {
            State::Starting { .. } => ChildState::Starting,
            State::Running { pid, start_time } => ChildState::Running { pid: *pid, start_time: *start_time },
            State::Exited { pid, status, .. } => ChildState::Exited { pid: *pid, status: *status },
            State::Failed(failure) => ChildState::Failed { stage: failure.stage, errno: failure.errno },
        }
    }

    /// The next thing to tell, and what is told afterwards.
    fn news(&self, id: u64) -> Option<(Reply, Told)> {
        match (&self.state, self.told) {
            (State::Starting { .. }, Told::Nothing | Told::Spawned | Told::End) => None,
            (State::Running { pid, start_time } | State::Exited { pid, start_time, .. }, Told::Nothing) => {
                let reply = Reply::Spawned { child: id, pid: *pid, start_time: *start_time };
                Some((reply, Told::Spawned))
            }
            (State::Running { .. }, Told::Spawned | Told::End) => None,
            (State::Exited { status, .. }, Told::Spawned) => {
                Some((Reply::Exited { child: id, status: *status }, Told::End))
            }
            (State::Failed(failure), Told::Nothing | Told::Spawned) => {
                let reply = Reply::SpawnFailed { child: id, stage: failure.stage, errno: failure.errno };
                Some((reply, Told::End))
            }
            (State::Exited { .. } | State::Failed(_), Told::End) => None,
        }
    }

    /// What is told to a daemon that has just got this child in its inventory.
    fn told_by_inventory(&self) -> Told {
        match self.state {
            State::Starting { .. } => Told::Nothing,
            State::Running { .. } => Told::Spawned,
            State::Exited { .. } | State::Failed(_) => Told::End,
        }
    }
}

impl Children {
    pub(crate) fn contains(&self, id: u64) -> bool {
        self.table.contains_key(&id)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.table.len() >= CHILDREN_MAX
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Child> {
        self.table.get(&id)
    }

    pub(crate) fn insert(&mut self, id: u64, child: Child) {
        // A foreign one's number is not reserved for us: one day it may be another child's.
        if let Some(pid) = child.living_pid().filter(|_| child.foreign.is_none()) {
            self.by_pid.insert(pid, id);
        }
        self.table.insert(id, child);
        self.dirty.insert(id);
    }

    pub(crate) fn id_of(&self, pid: i32) -> Option<u64> {
        self.by_pid.get(&pid).copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Child)> {
        self.table.iter().map(|(id, child)| (*id, child))
    }

    /// All children that are processes.
    pub(crate) fn living(&self) -> impl Iterator<Item = (u64, i32, &Child)> {
        self.table.iter().filter_map(|(id, child)| Some((*id, child.living_pid()?, child)))
    }

    pub(crate) fn any_living(&self) -> bool {
        !self.by_pid.is_empty() || self.foreign().next().is_some()
    }

    /// The first child behind `after`, for an inventory.
    pub(crate) fn next_after(&self, after: Option<u64>) -> Option<(u64, &Child)> {
        let from = match after {
            None => 0,
            Some(last) => last.checked_add(1)?,
        };
        self.table.range(from..).next().map(|(id, child)| (*id, child))
    }

    /// The children that wait for their exec, with the descriptor that tells.
    pub(crate) fn starting(&self) -> impl Iterator<Item = (u64, BorrowedFd<'_>)> {
        self.table.iter().filter_map(|(id, child)| match &child.state {
            State::Starting { outcome, .. } => Some((*id, outcome.as_fd())),
            State::Running { .. } | State::Exited { .. } | State::Failed(_) => None,
        })
    }

    /// Looks whether a starting child was executed meanwhile.
    pub(crate) fn check_start(&mut self, id: u64) {
        let Some(child) = self.table.get_mut(&id) else { return };
        let State::Starting { pid, start_time, outcome } = &mut child.state else { return };
        let (pid, start_time) = (*pid, *start_time);
        match outcome.check() {
            None => {}
            Some(Ok(executed)) => {
                child.notify = executed.notify;
                child.state = State::Running { pid, start_time };
                self.dirty.insert(id);
            }
            // It is a process until it is reaped; ended() then finds the failure here.
            Some(Err(failure)) => {
                child.state = State::Failed(failure);
                self.dirty.insert(id);
            }
        }
    }

    /// The process has been reaped.
    pub(crate) fn ended(&mut self, pid: i32, status: ExitStatus) {
        if let Some(id) = self.by_pid.remove(&pid) {
            self.check_start(id);
            self.ended_as(id, status);
        }
    }

    /// The process is no more.
    pub(crate) fn ended_as(&mut self, id: u64, status: ExitStatus) {
        let Some(child) = self.table.get_mut(&id) else { return };
        match child.state {
            // Killed before its exec: for the outside it ran and was killed.
            State::Starting { pid, start_time, .. } | State::Running { pid, start_time } => {
                child.state = State::Exited { pid, start_time, status };
            }
            State::Exited { .. } | State::Failed(_) => {}
        }
        child.foreign = None;
        self.expires_ns.remove(&id);
        self.dirty.insert(id);
        if child.forgotten {
            self.remove(id);
        }
    }

    /// It is to be killed at this time and no other.
    pub(crate) fn expire(&mut self, id: u64, at_ns: u64) {
        if self.get(id).is_some_and(|child| child.living_pid().is_some()) {
            self.expires_ns.insert(id, at_ns);
        }
    }

    /// When a child is to be killed.
    pub(crate) fn expiry_ns(&self, id: u64) -> Option<u64> {
        self.expires_ns.get(&id).copied()
    }

    /// When the first of them is.
    pub(crate) fn next_expiry_ns(&self) -> Option<u64> {
        self.expires_ns.values().min().copied()
    }

    /// Those whose time has come; each once.
    pub(crate) fn take_expired(&mut self, now_ns: u64) -> Vec<u64> {
        self.expires_ns.extract_if(.., |_, at_ns| *at_ns <= now_ns).map(|(id, _)| id).collect()
    }

    /// The daemon wants to hear no more of it.
    pub(crate) fn forget(&mut self, id: u64) {
        let Some(child) = self.table.get_mut(&id) else { return };
        child.forgotten = true;
        if child.foreign.is_none() && !self.by_pid.values().any(|living| *living == id) {
            self.remove(id);
        }
    }

    fn remove(&mut self, id: u64) {
        self.table.remove(&id);
        self.dirty.remove(&id);
    }

    /// A repeated order: tell everything about it again.
    pub(crate) fn tell_again(&mut self, id: u64) {
        if let Some(child) = self.table.get_mut(&id) {
            child.told = Told::Nothing;
            self.dirty.insert(id);
        }
    }

    /// Another daemon: it knows nothing.
    pub(crate) fn tell_all_again(&mut self) {
        for (id, child) in &mut self.table {
            child.told = Told::Nothing;
            self.dirty.insert(*id);
        }
    }

    /// The inventory has carried this child.
    pub(crate) fn inventoried(&mut self, id: u64) {
        if let Some(child) = self.table.get_mut(&id) {
            child.told = child.told_by_inventory();
            self.dirty.remove(&id);
        }
    }

    /// Something that the daemon does not know, with the descriptor to send along.
    pub(crate) fn next_news(&mut self) -> Option<(u64, Reply, Told, Option<BorrowedFd<'_>>)> {
        while let Some(id) = self.dirty.first().copied() {
            match self.table.get(&id).and_then(|child| child.news(id)) {
                None => self.dirty.remove(&id),
                Some((reply, told)) => {
                    let notify = self.table.get(&id).and_then(|child| child.notify.as_ref());
                    let notify = if told == Told::Spawned { notify } else { None };
                    return Some((id, reply, told, notify.map(AsFd::as_fd)));
                }
            };
        }
        None
    }

    /// The news was sent.
    pub(crate) fn told(&mut self, id: u64, told: Told) {
        if let Some(child) = self.table.get_mut(&id) {
            child.told = told;
        }
    }
}

/// The entry of a child that could not even be forked.
pub(crate) fn failed(note: Vec<u8>, failure: Failure) -> Child {
    Child {
        note,
        kill_tree: false,
        stop: Stop::default(),
        notify: None,
        state: State::Failed(failure),
        foreign: None,
        told: Told::Nothing,
        forgotten: false,
    }
}

/// A failure before the fork.
pub(crate) fn unprepared(errno: rustix::io::Errno) -> Failure {
    Failure { stage: Stage::Prepare, errno: errno.raw_os_error() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(pid: i32) -> Child {
        let failure = Failure { stage: Stage::Exec, errno: 0 };
        Child { state: State::Running { pid, start_time: 1 }, ..failed(Vec::new(), failure) }
    }

    fn table(ids: &[u64]) -> Children {
        let mut children = Children::default();
        for id in ids {
            children.insert(*id, running(i32::try_from(*id).expect("small") + 100));
        }
        children
    }

    #[test]
    fn a_child_is_due_once_at_its_time_and_the_latest_order_counts() {
        let mut children = table(&[1, 2]);
        assert_eq!(children.next_expiry_ns(), None);
        children.expire(1, 50);
        children.expire(2, 40);
        children.expire(1, 70);
        assert_eq!((children.next_expiry_ns(), children.expiry_ns(1)), (Some(40), Some(70)));
        assert_eq!(children.take_expired(39), [0; 0]);
        assert_eq!(children.take_expired(40), [2]);
        assert_eq!(children.take_expired(69), [0; 0]);
        assert_eq!(children.take_expired(100), [1]);
        assert_eq!((children.take_expired(200), children.next_expiry_ns()), (Vec::new(), None));
    }

    #[test]
    fn who_is_no_process_has_no_end_to_come() {
        let mut children = table(&[1]);
        children.insert(2, failed(Vec::new(), Failure { stage: Stage::Exec, errno: 2 }));
        for id in [2, 3] {
            children.expire(id, 10);
        }
        assert_eq!(children.next_expiry_ns(), None, "one failed to start, one is unknown");
        children.expire(1, 10);
        children.ended(101, ExitStatus::Code(0));
        assert_eq!(children.take_expired(10), [0; 0], "its number may be another process's by now");
        children.expire(1, 20);
        assert_eq!(children.next_expiry_ns(), None, "it has ended");
    }

    #[test]
    fn a_forgotten_child_still_ends_at_its_time() {
        let mut children = table(&[1]);
        children.expire(1, 10);
        children.forget(1);
        assert_eq!(children.take_expired(10), [1]);
    }
}
