//! The daemon's end of the wire.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::channel::{self, Incoming};
use crate::wire::{Malformed, Reply, Request};

/// How many requests may wait for a keeper that does not read; it always reads within milliseconds unless it is
/// stopped, so this is a storm of several thousand spawns and stores at once.
pub const WAITING_REQUESTS_MAX: usize = 16 * 1024;

/// Why the link does not work.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The keeper has closed its end: it has ended, or it gave this daemon up. The daemon should end.
    #[error("the keeper has closed the link; this daemon should end")]
    Closed,
    /// The keeper does not read and the queue is full.
    #[error("{WAITING_REQUESTS_MAX} requests wait for the keeper, which does not read them: is it stopped?")]
    Full,
    /// The keeper sent something that is no message.
    #[error("the keeper sent something that cannot be understood: {0}")]
    Malformed(#[from] Malformed),
    /// A system call failed.
    #[error("the link to the keeper failed: {0}")]
    Io(#[from] io::Error),
}

/// A reply with its descriptors.
#[derive(Debug)]
pub struct Delivery {
    /// The message.
    pub reply: Reply,
    /// The descriptors that came along, close-on-exec.
    pub fds: Vec<OwnedFd>,
    /// Descriptors were lost because this process has no room for more (`RLIMIT_NOFILE`).
    pub fds_lost: bool,
}

/// A nonblocking link to the keeper. Poll it (`AsFd`) for reading always, and for writing while
/// [`Link::wants_write`].
#[derive(Debug)]
pub struct Link {
    socket: OwnedFd,
    buffer: Box<[u8]>,
    waiting: VecDeque<Queued>,
}

#[derive(Debug)]
struct Queued {
    kind: u16,
    payload: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Link {
    /// Takes the daemon's end of the pair (descriptor [`crate::DAEMON_LINK_FD`] of the daemon).
    #[must_use]
    pub fn new(socket: OwnedFd) -> Self {
        Link { socket, buffer: channel::buffer(), waiting: VecDeque::new() }
    }

    /// Sends a request, in order, with descriptors (duplicated when they have to wait). Never blocks.
    ///
    /// # Errors
    /// [`LinkError::Full`] (nothing was queued), [`LinkError::Closed`], or `InvalidInput` when the request is
    /// longer than [`crate::wire::PAYLOAD_BYTES_MAX`] or has more than [`crate::wire::FDS_MAX`] descriptors.
    pub fn send(&mut self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<(), LinkError> {
        let (kind, payload) = request.encode();
        self.flush()?;
        if self.waiting.is_empty() {
            match channel::send(&self.socket, kind, &payload, fds) {
                Ok(()) => return Ok(()),
                Err(error) if must_wait(&error) => {}
                Err(error) => return Err(closed_or(error)),
            }
        }
        if self.waiting.len() >= WAITING_REQUESTS_MAX {
            return Err(LinkError::Full);
        }
        let fds = fds.iter().map(BorrowedFd::try_clone_to_owned).collect::<io::Result<_>>()?;
        self.waiting.push_back(Queued { kind, payload, fds });
        Ok(())
    }

    /// Sends what waits, as far as it goes. Call it when the link is writable.
    ///
    /// # Errors
    /// [`LinkError::Closed`] or a failed system call.
    pub fn flush(&mut self) -> Result<(), LinkError> {
        while let Some(first) = self.waiting.front() {
            let fds: Vec<_> = first.fds.iter().map(AsFd::as_fd).collect();
            match channel::send(&self.socket, first.kind, &first.payload, &fds) {
                Ok(()) => self.waiting.pop_front(),
                Err(error) if must_wait(&error) => return Ok(()),
                Err(error) => return Err(closed_or(error)),
            };
        }
        Ok(())
    }

    /// Whether requests wait for the link to become writable.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The next reply, or `None` when there is none now. Replies of kinds that this build does not know (a newer
    /// keeper's) are skipped.
    ///
    /// # Errors
    /// [`LinkError::Closed`] when the keeper is gone, [`LinkError::Malformed`] for garbage.
    pub fn receive(&mut self) -> Result<Option<Delivery>, LinkError> {
        loop {
            let packet = match channel::receive(&self.socket, &mut self.buffer)? {
                Incoming::Packet(packet) => packet,
                Incoming::Nothing => return Ok(None),
                Incoming::Closed => return Err(LinkError::Closed),
            };
            match Reply::decode(packet.kind, &packet.payload) {
                Ok(reply) => return Ok(Some(Delivery { reply, fds: packet.fds, fds_lost: packet.fds_lost })),
                Err(Malformed::UnknownKind { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// `ETOOMANYREFS`: this user has too many descriptors in flight; it passes when somebody reads.
pub(crate) fn must_wait(error: &io::Error) -> bool {
    let too_many = rustix::io::Errno::TOOMANYREFS.raw_os_error();
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(too_many)
}

fn closed_or(error: io::Error) -> LinkError {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => LinkError::Closed,
        _ => LinkError::Io(error),
    }
}
