//! Waking up for the first connection after a quiet time, and for no other.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

/// Events taken from the kernel at once; more of them come with the next call.
const EVENTS_MAX: usize = 64;

/// The daemon's number for a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKey(pub u32);

/// An epoll instance over the listening sockets of all groups; itself pollable.
///
/// Each socket is armed for one event (`EPOLLONESHOT`): the first connection after a quiet time makes the
/// watcher readable, the ones behind it cost nothing, and a patrol that finds all queues empty arms again.
#[derive(Debug, Clone)]
pub struct Watcher(Arc<OwnedFd>);

// === impl Watcher ===

impl Watcher {
    /// Makes an empty watcher.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?)))
    }

    /// The groups that got a connection since they were armed, each once. Never blocks.
    ///
    /// # Errors
    /// Those of epoll_wait(2).
    pub fn fired(&self) -> io::Result<Vec<GroupKey>> {
        let mut keys = Vec::new();
        let mut events = Vec::with_capacity(EVENTS_MAX);
        loop {
            events.clear();
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            let n = epoll::wait(&self.0, spare_capacity(&mut events), Some(&now))?;
            keys.extend(events.iter().map(|event| GroupKey(event.data.u64() as u32)));
            if n < EVENTS_MAX {
                break;
            }
        }
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    /// Watches `socket` for one event from now on. A queue that is not empty fires at once.
    pub(crate) fn arm(&self, key: GroupKey, socket: BorrowedFd<'_>) -> io::Result<()> {
        let data = epoll::EventData::new_u64(u64::from(key.0));
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ONESHOT;
        match epoll::modify(&self.0, socket, data, flags) {
            Err(Errno::NOENT) => Ok(epoll::add(&self.0, socket, data, flags)?),
            other => Ok(other?),
        }
    }

    /// Ends the watch. Must precede the close of `socket`: the keeper holds a duplicate, hence closing ours
    /// would leave the entry behind.
    pub(crate) fn forget(&self, socket: BorrowedFd<'_>) {
        // An error means that it was not watched.
        let _ = epoll::delete(&self.0, socket);
    }
}

impl AsFd for Watcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
