//! Descriptors on their way to a worker, and what came of them.
//!
//! A worker answers every `NODE_HANDLE` with an ACK or a NACK (no descriptor arrived: its table is full), in order and
//! without saying for which; a `newconn` is answered once more by its `seq`, also in order. So a NACK belongs to the
//! oldest handle that is not yet acknowledged, and a `seq` that is skipped was not received.

use std::collections::VecDeque;

use super::ConnId;

/// How often a listening socket that a worker could not receive is sent again, as Node does for `net.Socket`
/// (`MAX_HANDLE_RETRANSMISSIONS`). After that the app gets EMFILE.
const REPLY_TRIES_MAX: u8 = 3;

#[derive(Debug)]
pub(super) enum Content {
    Connection {
        conn: ConnId,
        key: String,
    },
    /// The answer to a `queryServer`, kept to be sent again.
    Reply {
        line: Vec<u8>,
        query_seq: u64,
        tries: u8,
    },
}

#[derive(Debug)]
pub(super) struct InFlight<F> {
    pub(super) id: u64,
    pub(super) content: Content,
    pub(super) fd: F,
    /// Somebody else was asked to write it and has not answered.
    lent: bool,
    written: bool,
    /// The channel's ACK was seen; a connection still waits for the cluster's `accepted`.
    received: bool,
}

impl<F> InFlight<F> {
    /// The worker may have it. (It can answer before whoever a line was lent to says that it was written.)
    fn is_out(&self) -> bool {
        self.written || self.lent
    }
}

/// What a NACK meant.
#[derive(Debug)]
pub(super) enum Nacked<F> {
    /// Nothing that we can tell yet.
    Nothing,
    Connection {
        conn: ConnId,
        key: String,
        fd: F,
    },
    /// To be sent again under the same id.
    Resend {
        id: u64,
        line: Vec<u8>,
    },
    /// Tried often enough.
    GiveUp {
        query_seq: u64,
    },
}

/// The handles of one session, in the order in which they are sent.
#[derive(Debug)]
pub(super) struct Handles<F> {
    queue: VecDeque<InFlight<F>>,
    /// False after a restart until everything of our own has been answered: a NACK may be for our predecessor's.
    in_step: bool,
}

impl<F> Handles<F> {
    pub(super) fn new(in_step: bool) -> Self {
        Self { queue: VecDeque::new(), in_step }
    }

    pub(super) fn push(&mut self, id: u64, content: Content, fd: F) {
        self.queue.push_back(InFlight { id, content, fd, lent: false, written: false, received: false });
    }

    pub(super) fn fd(&self, id: u64) -> Option<&F> {
        self.queue.iter().find(|handle| handle.id == id).map(|handle| &handle.fd)
    }

    pub(super) fn written(&mut self, id: u64) {
        if let Some(handle) = self.queue.iter_mut().find(|handle| handle.id == id) {
            (handle.written, handle.lent) = (true, false);
        }
    }

    pub(super) fn lent(&mut self, id: u64) {
        if let Some(handle) = self.queue.iter_mut().find(|handle| handle.id == id) {
            handle.lent = true;
        }
    }

    /// It was not written, and what was lent behind it may be: it comes after those.
    pub(super) fn lent_back(&mut self, id: u64) {
        let Some(at) = self.queue.iter().position(|handle| handle.id == id) else { return };
        let Some(mut handle) = self.queue.remove(at) else { return };
        handle.lent = false;
        let behind = self.queue.iter().rposition(InFlight::is_out).map_or(0, |last| last + 1);
        self.queue.insert(behind.max(at), handle);
    }

    /// It is not to be sent after all.
    pub(super) fn withdraw(&mut self, id: u64) -> Option<ConnId> {
        let at = self.queue.iter().position(|handle| handle.id == id)?;
        match self.queue.remove(at)?.content {
            Content::Connection { conn, .. } => Some(conn),
            Content::Reply { .. } => None,
        }
    }

    /// Connections whose fate is open.
    pub(super) fn connections(&self) -> usize {
        self.queue.iter().filter(|handle| matches!(handle.content, Content::Connection { .. })).count()
    }

    pub(super) fn ack(&mut self) {
        let Some(at) = self.oldest() else { return };
        match self.queue[at].content {
            Content::Connection { .. } => self.queue[at].received = true,
            Content::Reply { .. } => {
                self.queue.remove(at);
            }
        }
    }

    pub(super) fn nack(&mut self) -> Nacked<F> {
        if !self.in_step {
            return Nacked::Nothing;
        }
        let Some(mut handle) = self.oldest().and_then(|at| self.queue.remove(at)) else {
            return Nacked::Nothing;
        };
        match &mut handle.content {
            Content::Connection { conn, key } => {
                Nacked::Connection { conn: *conn, key: std::mem::take(key), fd: handle.fd }
            }
            Content::Reply { query_seq, tries, .. } if *tries >= REPLY_TRIES_MAX => {
                Nacked::GiveUp { query_seq: *query_seq }
            }
            Content::Reply { line, tries, .. } => {
                *tries += 1;
                let (id, line) = (handle.id, line.clone());
                handle.written = false;
                self.queue.push_back(handle);
                Nacked::Resend { id, line }
            }
        }
    }

    /// The cluster's answer to a `newconn`: that connection, after those before it that the worker never got.
    pub(super) fn answered(&mut self, id: u64) -> Option<(Vec<InFlight<F>>, InFlight<F>)> {
        let at = self.queue.iter().position(|handle| {
            handle.id == id && handle.is_out() && matches!(handle.content, Content::Connection { .. })
        })?;
        let answered = self.queue.remove(at).expect("position() found it");
        let mut skipped = Vec::new();
        let mut before = at;
        while before > 0 {
            before -= 1;
            let handle = &self.queue[before];
            if handle.written && matches!(handle.content, Content::Connection { .. }) {
                skipped.extend(self.queue.remove(before));
            }
        }
        skipped.reverse();
        if self.queue.is_empty() {
            self.in_step = true;
        }
        Some((skipped, answered))
    }

    /// Everything that was not answered, when the worker is gone.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = InFlight<F>> + '_ {
        self.queue.drain(..)
    }

    fn oldest(&self) -> Option<usize> {
        self.queue.iter().position(|handle| handle.is_out() && !handle.received)
    }
}
