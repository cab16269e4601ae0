//! The link to the daemon that runs now, and what is still to be said to it.
//!
//! What is said is derived: the inventory from two cursors, news of children from the table. Only answers to
//! single requests are queued, and while their queue is full no request is read: a daemon that does not read
//! only slows itself down.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::children::Children;
use super::safe::SafeBox;
use crate::channel;
use crate::link::must_wait;
use crate::wire::Reply;

/// How many answers may wait; while there are as many, no request is read.
const ANSWERS_MAX: usize = 256;

#[derive(Debug)]
pub(crate) struct Peer {
    socket: OwnedFd,
    /// The protocol version that was agreed upon; 0 before that.
    version: u32,
    inventory: Inventory,
    /// With a descriptor that goes along.
    answers: VecDeque<(Reply, Option<OwnedFd>)>,
    full: Full,
}

/// How far the inventory has come.
#[derive(Debug)]
enum Inventory {
    /// No `Hello` yet.
    NotAsked,
    Children {
        after: Option<u64>,
    },
    Stored {
        after: Option<Vec<u8>>,
    },
    Done,
}

/// Why the last send did not go, if so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// It went.
    No,
    /// The socket's queue is full: poll for writability.
    Queue,
    /// Too many descriptors in flight (`ETOOMANYREFS`): the socket may well be writable, so try again later.
    Descriptors,
}

/// The daemon's end of the link is closed.
#[derive(Debug)]
pub(crate) struct Gone;

impl Peer {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        let version = 0;
        Peer { socket, version, inventory: Inventory::NotAsked, answers: VecDeque::new(), full: Full::No }
    }

    /// A peer that another incarnation of this keeper was talking to.
    pub(crate) fn resumed(socket: OwnedFd, version: u32) -> Self {
        let inventory = if version > 0 { Inventory::Done } else { Inventory::NotAsked };
        Peer { inventory, version, ..Peer::new(socket) }
    }

    /// The protocol version that was agreed upon; 0 before that.
    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    pub(crate) fn is_greeted(&self) -> bool {
        !matches!(self.inventory, Inventory::NotAsked)
    }

    /// Starts the inventory (again).
    pub(crate) fn greet(&mut self, welcome: Reply, version: u32) {
        self.version = version;
        self.answers.push_back((welcome, None));
        self.inventory = Inventory::Children { after: None };
    }

    pub(crate) fn answer(&mut self, reply: Reply) {
        self.answer_with(reply, None);
    }

    pub(crate) fn answer_with(&mut self, reply: Reply, fd: Option<OwnedFd>) {
        self.answers.push_back((reply, fd));
    }

    /// Nobody is left to hear them.
    pub(crate) fn drop_answers(&mut self) {
        self.answers.clear();
    }

    pub(crate) fn reads_requests(&self) -> bool {
        self.answers.len() < ANSWERS_MAX
    }

    pub(crate) fn has_answered_all(&self) -> bool {
        self.answers.is_empty()
    }

    pub(crate) fn full(&self) -> Full {
        self.full
    }

    /// Says what there is to say until all is said or the socket is full.
    pub(crate) fn pump(&mut self, children: &mut Children, safe: &SafeBox) -> Result<(), Gone> {
        self.full = Full::No;
        loop {
            let progress = if let Some((reply, fd)) = self.answers.front() {
                let fds: Vec<_> = fd.iter().map(AsFd::as_fd).collect();
                let sent = send(&self.socket, reply, &fds)?;
                if sent == Full::No {
                    self.answers.pop_front();
                }
                Some(sent)
            } else {
                self.pump_inventory(children, safe)?
            };
            match progress {
                None => return Ok(()),
                Some(Full::No) => {}
                Some(full) => {
                    self.full = full;
                    return Ok(());
                }
            }
        }
    }

    fn pump_inventory(&mut self, children: &mut Children, safe: &SafeBox) -> Result<Option<Full>, Gone> {
        match &self.inventory {
            Inventory::NotAsked => Ok(None),
            Inventory::Children { after } => {
                let Some((id, child)) = children.next_after(*after) else {
                    self.inventory = Inventory::Stored { after: None };
                    return Ok(Some(Full::No));
                };
                let state = child.public_state();
                let notify: Vec<_> = child.notify.iter().map(AsFd::as_fd).collect();
                let reply = Reply::Child { child: id, note: child.note.clone(), state };
                let sent = send(&self.socket, &reply, &notify)?;
                if sent == Full::No {
                    children.inventoried(id);
                    self.inventory = Inventory::Children { after: Some(id) };
                }
                Ok(Some(sent))
            }
            Inventory::Stored { after } => {
                let Some((key, stored)) = safe.next_after(after.as_deref()) else {
                    let sent = send(&self.socket, &Reply::InventoryEnd, &[])?;
                    if sent == Full::No {
                        self.inventory = Inventory::Done;
                    }
                    return Ok(Some(sent));
                };
                let fds: Vec<_> = stored.fds.iter().map(AsFd::as_fd).collect();
                let reply = Reply::Stored { key: key.clone(), note: stored.note.clone() };
                let sent = send(&self.socket, &reply, &fds)?;
                if sent == Full::No {
                    self.inventory = Inventory::Stored { after: Some(key.clone()) };
                }
                Ok(Some(sent))
            }
            Inventory::Done => pump_news(&self.socket, children),
        }
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn pump_news(socket: &OwnedFd, children: &mut Children) -> Result<Option<Full>, Gone> {
    let Some((id, reply, told, notify)) = children.next_news() else { return Ok(None) };
    let notify: Vec<_> = notify.into_iter().collect();
    let sent = send(socket, &reply, &notify)?;
    if sent == Full::No {
        children.told(id, told);
    }
    Ok(Some(sent))
}

fn send(socket: &OwnedFd, reply: &Reply, fds: &[BorrowedFd<'_>]) -> Result<Full, Gone> {
    let (kind, payload) = reply.encode();
    match channel::send(socket, kind, &payload, fds) {
        Ok(()) => Ok(Full::No),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Full::Queue),
        // Memory or descriptors (for a boxed payload) are short: that too may pass.
        Err(error) if must_wait(&error) || is_shortage(&error) => Ok(Full::Descriptors),
        Err(_) => Err(Gone),
    }
}

fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let short = [Errno::NOMEM, Errno::NOBUFS, Errno::MFILE, Errno::NFILE];
    short.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
