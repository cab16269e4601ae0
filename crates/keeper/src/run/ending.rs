//! The end: by order of the daemon (`Shutdown`), or by the keeper's own hand when a signal came and no daemon acts.

use skep_sys::signal;

use super::daemon::Daemon;
use super::{Keeper, SIGKILL, foreign, log};
use crate::SIGNAL_ANSWER_MS_MAX;
use crate::wire::{Reply, Scope};

#[derive(Debug)]
pub(crate) enum Ending {
    /// The ordinary life.
    No,
    /// `Shutdown` was ordered: when the daemon has ended, what is left is ended too.
    WhenDaemonEnds,
    /// Children were asked politely to end; each has its own time for that: (child, when it is killed).
    Children { kill_at: Vec<(u64, u64)> },
}

impl Ending {
    pub(crate) fn due_ns(&self) -> Option<u64> {
        match self {
            Ending::No | Ending::WhenDaemonEnds => None,
            Ending::Children { kill_at } => kill_at.iter().map(|(_, at_ns)| *at_ns).min(),
        }
    }
}

impl Keeper {
    /// A signal to the keeper is for the daemon to act upon.
    pub(crate) fn pass_on(&mut self, number: i32) {
        // Only a request (log files are to be opened anew): nothing ends for want of an answer.
        let asks_only = number == super::SIGUSR2;
        if !asks_only {
            self.manager.stopping();
        }
        if !asks_only && !self.signalled.iter().any(|(known, _)| *known == number) {
            let answer_by_ns = self.now_ns.saturating_add(SIGNAL_ANSWER_MS_MAX * 1_000_000);
            self.signalled.push((number, answer_by_ns));
        }
        if let Some(peer) = &mut self.peer
            && peer.is_greeted()
        {
            peer.answer(Reply::Signal { signal: number });
        }
    }

    /// The daemon acts upon the signal.
    pub(crate) fn handled(&mut self, number: i32) {
        self.signalled.retain(|(known, _)| *known != number);
    }

    pub(crate) fn shutdown(&mut self) {
        match self.ending {
            Ending::No => {
                self.manager.stopping();
                self.ending = Ending::WhenDaemonEnds;
            }
            Ending::WhenDaemonEnds | Ending::Children { .. } => {}
        }
    }

    /// Asks all children to end; they are killed when their time is over.
    pub(crate) fn end_children(&mut self) {
        if let Ending::Children { .. } = self.ending {
            return;
        }
        let mut kill_at = Vec::new();
        for (id, pid, child) in self.children.living() {
            // Our child and not reaped, hence no stranger. What cannot be asked is killed when its time is over.
            let _ = match &child.foreign {
                Some(handle) => handle.signal(child.stop.signal),
                None => signal::send(pid, child.stop.signal),
            };
            kill_at.push((id, self.now_ns.saturating_add(child.stop.grace_ms.saturating_mul(1_000_000))));
        }
        self.ending = Ending::Children { kill_at };
    }

    pub(crate) fn end_what_is_due(&mut self) {
        if self.signalled.iter().any(|(_, at_ns)| *at_ns <= self.now_ns) {
            log("no daemon acts upon the signal; ending all children");
            self.signalled.clear();
            // It must not start others meanwhile.
            self.peer = None;
            self.kill_daemon();
            self.end_children();
        }
        let Ending::Children { kill_at } = &mut self.ending else { return };
        let now_ns = self.now_ns;
        let due: Vec<_> = kill_at.extract_if(.., |(_, at_ns)| *at_ns <= now_ns).map(|(id, _)| id).collect();
        for id in due {
            self.kill(id);
        }
    }

    fn kill(&self, id: u64) {
        let Some(child) = self.children.get(id) else { return };
        let Some(pid) = child.living_pid() else { return };
        if let Some(handle) = &child.foreign {
            let scope = if child.kill_tree { Scope::Tree } else { Scope::Process };
            let _ = foreign::signal(pid, handle, SIGKILL, scope);
        } else if child.kill_tree {
            skep_sys::proc::kill_descendants(pid, SIGKILL);
        } else {
            let _ = signal::send(pid, SIGKILL);
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        let over = matches!(self.ending, Ending::Children { .. }) && !self.children.any_living();
        over && matches!(self.daemon, Daemon::Over)
    }
}
