//! How the parent learns what became of a child before `exec`: a message socket that closes when the program is
//! executed.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};

use super::{Failure, Stage};
use crate::fdpass::{self, Receive};

/// The first byte of a message that carries the notify descriptor; all others are stage numbers.
const FILTER_INSTALLED: u8 = 0xff;

/// A message: the kind or stage, then the errno.
pub(super) const MESSAGE_BYTES: usize = 5;

/// Whether the program gets executed. Readable (poll) when there is news.
#[derive(Debug)]
pub struct Outcome {
    socket: OwnedFd,
    notify: Option<OwnedFd>,
}

/// The program was executed.
#[derive(Debug)]
pub struct Executed {
    /// The notify descriptor of the bind interception, if one was asked for. (`None` also when the child was
    /// killed before it came to that: then its exit says so.)
    pub notify: Option<OwnedFd>,
}

impl Outcome {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Outcome { socket, notify: None }
    }

    /// Takes the descriptors of an outcome that another incarnation of this process was waiting for.
    #[must_use]
    pub fn from_fds(socket: OwnedFd, notify: Option<OwnedFd>) -> Self {
        Outcome { socket, notify }
    }

    /// The notify descriptor, when it has come already but the program is not yet executed.
    #[must_use]
    pub fn early_notify(&self) -> Option<BorrowedFd<'_>> {
        self.notify.as_ref().map(AsFd::as_fd)
    }

    /// The outcome if it is known already; does not block. After `Some` it must not be asked again.
    pub fn check(&mut self) -> Option<Result<Executed, Failure>> {
        loop {
            let mut message = [0; MESSAGE_BYTES];
            let received = match fdpass::receive(&self.socket, &mut message, Receive::Take) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) => return Some(Err(Failure::of(Stage::Prepare, &error))),
            };
            if received.bytes == 0 {
                return Some(Ok(Executed { notify: self.notify.take() }));
            }
            let [kind, errno @ ..] = message;
            if kind != FILTER_INSTALLED {
                let stage = Stage::from_number(kind).unwrap_or(Stage::Exec);
                return Some(Err(Failure { stage, errno: i32::from_le_bytes(errno) }));
            }
            self.notify = received.descriptors.into_iter().next();
            if self.notify.is_none() {
                return Some(Err(Failure { stage: Stage::Filter, errno: libc::EMFILE }));
            }
        }
    }

    /// Waits (blocking) for the outcome.
    ///
    /// # Errors
    /// The [`Failure`] of the child.
    pub fn wait(mut self) -> Result<Executed, Failure> {
        loop {
            if let Some(outcome) = self.check() {
                return outcome;
            }
            let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
            rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, None))
                .map_err(|error| Failure { stage: Stage::Prepare, errno: error.raw_os_error() })?;
        }
    }
}

impl AsFd for Outcome {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// In the child: says that a step failed. Async-signal-safe.
pub(super) fn report_failure(status: BorrowedFd<'_>, failure: Failure) {
    let [a, b, c, d] = failure.errno.to_le_bytes();
    // Nobody is left to tell when this fails; the exit code 127 then speaks alone.
    let _ = fdpass::send(status, &[failure.stage.number(), a, b, c, d], &[]);
}

/// In the child: sends the notify descriptor. Async-signal-safe.
pub(super) fn report_filter(status: BorrowedFd<'_>, notify: BorrowedFd<'_>) -> io::Result<()> {
    fdpass::send(status, &[FILTER_INSTALLED, 0, 0, 0, 0], &[notify]).map(|_| ())
}
