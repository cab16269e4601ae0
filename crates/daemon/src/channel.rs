//! One worker's Node.js IPC channel, at the edge: the session's bytes and descriptors over the socket.
//!
//! Two rules let a daemon that is SIGKILLed at any instant be followed by another on the same channel:
//! - *Read at least once*: data is looked at with `MSG_PEEK`, handled, and only then consumed. A line that was
//!   handled but not consumed is handled again by the successor; every handler is idempotent.
//! - *Write whole lines*: a line cut in half would make `JSON.parse` throw in the worker. The kernel queues a
//!   `sendmsg` of up to 32 KiB on a Unix stream as one buffer or answers EAGAIN (`unix_stream_sendmsg`,
//!   net/unix/af_unix.c: one skb holds SKB_MAX_ALLOC + UNIX_SKB_FRAGS_SZ bytes). Only a user's message can be
//!   longer; if the daemon is killed in the middle of one, that worker's channel is broken.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

use skep_core::WorkerId;
use skep_keeper::fault;
use skep_node_ipc::{Received, SendError, Session};
use skep_sys::fdpass::{self, Receive};
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use crate::driver::{Driver, Shared};
use crate::passing::{Parcel, Through};

/// A worker's channel.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: Arc<OwnedFd>,
    session: Option<Session<Parcel>>,
    /// Bytes of the first waiting line that are in the kernel already.
    written: usize,
    /// The session's revision that the keeper has.
    pub(crate) stored_revision: u64,
    /// Nothing comes any more.
    pub(crate) closed: bool,
    wake: Rc<Notify>,
}

/// What a look at the socket gave.
pub(crate) enum Look {
    /// Something was said.
    Said(Received<Parcel>),
    /// Nothing, for now.
    Nothing,
    /// The worker closed its end.
    Closed,
}

impl Channel {
    pub(crate) fn new(socket: OwnedFd) -> Channel {
        Channel {
            socket: Arc::new(socket),
            session: None,
            written: 0,
            stored_revision: 0,
            closed: false,
            wake: Rc::new(Notify::new()),
        }
    }

    /// Starts the protocol, fresh or from where the last daemon left it.
    pub(crate) fn begin(&mut self, session: Session<Parcel>) {
        self.session = Some(session);
    }

    pub(crate) fn session(&self) -> &Session<Parcel> {
        self.session.as_ref().expect("begin() comes right after new()")
    }

    pub(crate) fn session_mut(&mut self) -> &mut Session<Parcel> {
        self.session.as_mut().expect("begin() comes right after new()")
    }

    pub(crate) fn socket(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.socket)
    }

    /// Wakes the channel's task, for lines that have to wait.
    pub(crate) fn wake(&self) -> Rc<Notify> {
        Rc::clone(&self.wake)
    }

    /// Queues a user's message.
    pub(crate) fn message(&mut self, json: &str) -> Result<(), SendError> {
        self.session_mut().send_message(json)
    }

    /// Looks at what the worker said, without consuming it.
    pub(crate) fn look(&mut self, window: &mut [u8]) -> io::Result<Look> {
        if self.closed {
            return Ok(Look::Closed);
        }
        match fdpass::receive(&self.socket, window, Receive::Peek) {
            Ok(got) if got.bytes == 0 && got.descriptors.is_empty() => {
                self.closed = true;
                Ok(Look::Closed)
            }
            Ok(got) => {
                let descriptors = got.descriptors.into_iter().map(Parcel::Own);
                Ok(Look::Said(self.session_mut().receive(&window[..got.bytes], descriptors)))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Look::Nothing),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                self.closed = true;
                Ok(Look::Closed)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes what was handled out of the socket. Second copies of descriptors are closed.
    pub(crate) fn consume(&self, mut bytes: usize, window: &mut [u8]) -> io::Result<()> {
        while bytes > 0 {
            let got = fdpass::receive(&self.socket, &mut window[..bytes], Receive::Take)?;
            if got.bytes == 0 {
                break;
            }
            bytes -= got.bytes;
        }
        Ok(())
    }

    /// Writes waiting lines until the kernel's buffer is full, or until one comes that the keeper is to write: call it
    /// again after asking. A peer that is gone is noticed by reading.
    pub(crate) fn flush(&mut self) -> io::Result<Option<Through>> {
        let session = self.session.as_mut().expect("begin() comes right after new()");
        while let Some(frame) = session.next_frame() {
            let fd = match (frame.fd, frame.id) {
                (Some(Parcel::Kept(kept)), Some(id)) => {
                    let through = Through { kept: *kept, frame: id, line: frame.line.to_vec() };
                    session.lend(id);
                    return Ok(Some(through));
                }
                (Some(Parcel::Own(fd)), _) if self.written == 0 => Some(fd.as_fd()),
                (Some(_) | None, _) => None,
            };
            if frame.behind {
                return Ok(None);
            }
            let rest = &frame.line[self.written..];
            let fd: Vec<BorrowedFd<'_>> = fd.into_iter().collect();
            match fdpass::send(&self.socket, rest, &fd) {
                Ok(sent) if sent < rest.len() => self.written += sent,
                Ok(_) => {
                    self.written = 0;
                    session.frame_written();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wake.notify_one();
                    return Ok(None);
                }
                Err(error) if is_gone(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Whether lines wait for room in the kernel's buffer, and not for the keeper.
    pub(crate) fn is_blocked(&self) -> bool {
        let waits = self.session().next_frame();
        !self.closed && waits.is_some_and(|frame| !frame.behind || matches!(frame.fd, Some(Parcel::Kept(_))))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::NotConnected
    )
}

/// Waits for the worker to say something, or for room to say something to it.
pub(crate) async fn serve(driver: Shared, id: WorkerId, socket: AsyncFd<Arc<OwnedFd>>, wake: Rc<Notify>) {
    loop {
        let blocked = driver
            .borrow()
            .workers
            .get(&id)
            .is_some_and(|worker| worker.channel.as_ref().is_some_and(Channel::is_blocked));
        tokio::select! {
            guard = socket.readable() => {
                let Ok(mut guard) = guard else { return };
                match driver.borrow_mut().hear(id) {
                    Heard::All => guard.clear_ready(),
                    Heard::Closed => return,
                }
            }
            guard = socket.writable(), if blocked => {
                let Ok(mut guard) = guard else { return };
                driver.borrow_mut().flush_channel(id);
                guard.clear_ready();
            }
            () = wake.notified() => {}
        }
    }
}

/// What became of a readable channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing more for now.
    All,
    /// The worker closed its end, or is gone.
    Closed,
}

impl Driver {
    /// Handles everything that a worker has said up to now.
    pub(crate) fn hear(&mut self, id: WorkerId) -> Heard {
        let mut window = std::mem::take(&mut self.window);
        if window.is_empty() {
            // Zeroed by the kernel when touched: what is not used costs nothing.
            window = vec![0; skep_node_ipc::WINDOW_BYTES];
        }
        let heard = self.hear_into(id, &mut window);
        self.window = window;
        match heard {
            Ok(heard) => heard,
            Err(error) => {
                crate::diary::note(format_args!("the channel of worker {id} failed: {error}"));
                Heard::Closed
            }
        }
    }

    fn hear_into(&mut self, id: WorkerId, window: &mut [u8]) -> io::Result<Heard> {
        loop {
            let Some(channel) = self.channel_mut(id) else { return Ok(Heard::Closed) };
            let received = match channel.look(window)? {
                Look::Said(received) => received,
                Look::Nothing => return Ok(Heard::All),
                Look::Closed => {
                    self.channel_closed(id);
                    return Ok(Heard::Closed);
                }
            };
            for event in received.events {
                self.on_node(id, event);
            }
            self.flush_channel(id);
            self.keep_session(id);
            let (first, then) = match self.passes() {
                true => (received.handovers, Vec::new()),
                // With nobody to keep them, two workers could get what is heard twice.
                false => (Vec::new(), received.handovers),
            };
            if !first.is_empty() {
                for handover in first {
                    self.migrate(id, handover);
                }
                self.settle_link();
                fault::point("daemon", "taken-over");
            }
            if let Some(channel) = self.channel_mut(id) {
                channel.consume(received.consumed, window)?;
            }
            for handover in then {
                self.migrate(id, handover);
            }
            if received.consumed == 0 {
                return Ok(Heard::All);
            }
        }
    }

    /// The last words of a worker that ended.
    pub(crate) fn read_rest(&mut self, id: WorkerId) {
        if self.channel_mut(id).is_some() {
            self.hear(id);
        }
    }

    pub(crate) fn channel_mut(&mut self, id: WorkerId) -> Option<&mut Channel> {
        self.workers.get_mut(&id)?.channel.as_mut()
    }

    /// Writes what waits for a worker.
    pub(crate) fn flush_channel(&mut self, id: WorkerId) {
        while let Some(channel) = self.channel_mut(id) {
            match channel.flush() {
                Ok(None) => return,
                Ok(Some(through)) => self.pass(id, through),
                Err(error) => {
                    crate::diary::note(format_args!("cannot write to worker {id}: {error}"));
                    return;
                }
            }
        }
    }

    /// Gives the keeper the session's state if it has changed.
    fn keep_session(&mut self, id: WorkerId) {
        let Some(channel) = self.channel_mut(id) else { return };
        if channel.session().revision() == channel.stored_revision {
            return;
        }
        channel.stored_revision = channel.session().revision();
        self.keep_progress(id);
    }
}
