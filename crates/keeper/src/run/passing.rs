//! Carrying out `Pass`: a connection from where it is, through the safe-box, to whoever serves it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use skep_sys::fdpass;
use skep_sys::net::{Accepted, accept};

use super::Keeper;
use super::safe::Stored;
use crate::fault;
use crate::wire::{Origin, Pass, Passed, Reply};

impl Keeper {
    pub(super) fn pass(&mut self, pass: Pass, fds: Vec<OwnedFd>, fds_lost: bool) {
        let ticket = pass.ticket;
        let (outcome, copy) = self.pass_on_connection(pass, fds, fds_lost);
        fault::point("keeper", "passed");
        self.answer_with(Reply::Passed { ticket, outcome }, copy);
    }

    /// The outcome, and a copy of a connection that came out of a queue.
    fn pass_on_connection(
        &mut self,
        pass: Pass,
        fds: Vec<OwnedFd>,
        fds_lost: bool,
    ) -> (Passed, Option<OwnedFd>) {
        let failed = |errno: Errno| (Passed::Failed(errno.raw_os_error()), None);
        if fds_lost {
            return failed(Errno::MFILE);
        }
        if pass.line.len() > Pass::LINE_BYTES_MAX {
            return failed(Errno::MSGSIZE);
        }
        let mut note = [&[Pass::KEPT], pass.note.as_slice()].concat();
        if let Err(errno) = self.safe.has_room(&pass.key, &note) {
            return failed(errno);
        }
        let mut fds = fds.into_iter();
        let Some(socket) = fds.next() else { return failed(Errno::BADF) };
        let connection = match (pass.from, fds.next()) {
            (Origin::Queue, Some(queue)) => match accept(queue.as_fd()) {
                Ok(Accepted::Connection(connection)) => connection,
                Ok(Accepted::Empty | Accepted::Blocking) => return (Passed::Nothing, None),
                Err(error) => return (Passed::Failed(errno(&error)), None),
            },
            (Origin::Attached, Some(connection)) => connection,
            (Origin::Queue | Origin::Attached, None) => return failed(Errno::BADF),
            (Origin::Kept, _) => match self.safe.take(&pass.key).and_then(|kept| kept.fds.into_iter().next())
            {
                Some(connection) => connection,
                None => return (Passed::Nothing, None),
            },
        };
        // At once: what was accepted is with nobody else yet.
        let outcome = match fdpass::send(&socket, &pass.line, &[connection.as_fd()]) {
            Ok(_) => Passed::Sent,
            Err(error) if is_gone(&error) => Passed::Gone,
            // No room in its queue, or memory or descriptors in flight are short: all of that passes.
            Err(_) => Passed::Full,
        };
        if outcome == Passed::Sent {
            note[0] = Pass::SENT;
        }
        // Without it only the daemon's copy is missing, for the death of this keeper.
        let copy = (pass.from == Origin::Queue).then(|| connection.try_clone().ok()).flatten();
        self.safe.restore(pass.key, Stored { note, fds: vec![connection] });
        (outcome, copy)
    }
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected)
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(Errno::IO.raw_os_error())
}
