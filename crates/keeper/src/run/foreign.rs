//! Processes that another keeper started, taken over after its death. They are not our children: each is known by a
//! pidfd and its start time, signalled by it, and its end is seen but not its exit code.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use skep_sys::pidfd::PidFd;
use skep_sys::proc;
use skep_sys::wait::ExitStatus;

use super::children::{Child, State, Told};
use super::{Keeper, SIGKILL};
use crate::wire::{Adopt, NOTE_BYTES_MAX, Scope};

/// Signals a process that is not our child.
pub(crate) fn signal(pid: i32, handle: &PidFd, number: i32, scope: Scope) -> io::Result<()> {
    match scope {
        Scope::Process => handle.signal(number),
        Scope::Group | Scope::Tree => proc::signal_strangers(pid, handle, number),
    }
}

impl Keeper {
    /// Looks after a process that a dead keeper had started.
    pub(crate) fn adopt(&mut self, adopt: Adopt, notify: Option<OwnedFd>) {
        if self.children.contains(adopt.child) {
            return self.children.tell_again(adopt.child);
        }
        if self.children.is_full() || adopt.note.len() > NOTE_BYTES_MAX {
            return super::log(&format!("process {} cannot be taken over: there is no room", adopt.pid));
        }
        let (pid, start_time) = (adopt.pid, adopt.start_time);
        let foreign = PidFd::of(pid, start_time);
        let state = match foreign {
            Some(_) => State::Running { pid, start_time },
            None => State::Exited { pid, start_time, status: ExitStatus::Unknown },
        };
        let child = Child {
            note: adopt.note,
            kill_tree: adopt.kill_tree,
            stop: adopt.stop,
            notify,
            state,
            foreign,
            told: Told::Nothing,
            forgotten: false,
        };
        self.children.insert(adopt.child, child);
    }

    /// The process has ended; what it left behind goes too, if that was ordered.
    pub(crate) fn foreign_ended(&mut self, id: u64) {
        if let Some(child) = self.children.get(id)
            && let (Some(handle), Some(pid)) = (&child.foreign, child.living_pid())
            && child.kill_tree
        {
            // Nobody may be left, and nothing can be done about what may not be signalled.
            let _ = proc::signal_strangers(pid, handle, SIGKILL);
        }
        self.children.ended_as(id, ExitStatus::Unknown);
    }
}

impl super::children::Children {
    /// The foreign processes that live, with the descriptors that tell of their end.
    pub(crate) fn foreign(&self) -> impl Iterator<Item = (u64, BorrowedFd<'_>)> {
        self.iter().filter_map(|(id, child)| {
            child.living_pid()?;
            Some((id, child.foreign.as_ref()?.as_fd()))
        })
    }
}
