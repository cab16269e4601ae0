//! A client's socket with its bytes in both directions.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use crate::client::Client;
use crate::limits::{ANSWERS_BYTES_MAX, BUFFER_BYTES_KEPT, MESSAGES_BYTES_MAX, READ_BYTES};
use crate::resp::{Reply, Request};

/// Either kind of stream socket.
#[derive(Debug)]
pub(crate) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(stream) => stream.as_fd(),
            Self::Tcp(stream) => stream.as_fd(),
        }
    }
}

/// What came of reading or writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    Open,
    Ended,
}

/// A connected client.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: Stream,
    pub(crate) request: Request,
    pub(crate) reply: Reply,
    /// How much of the reply is sent.
    sent: usize,
    pub(crate) client: Client,
    /// What the socket is watched for now.
    pub(crate) watched: (bool, bool),
    /// Commands that have come wholly were left for later.
    pub(crate) stopped: bool,
    /// The arguments of the commands at hand, and these, kept for their memory.
    pub(crate) ranges: Vec<Range<usize>>,
    pub(crate) commands: Vec<(usize, usize)>,
}

impl Connection {
    pub(crate) fn new(stream: Stream, client: Client) -> Self {
        Self {
            stream,
            request: Request::default(),
            reply: Reply::default(),
            sent: 0,
            client,
            watched: (true, false),
            stopped: false,
            ranges: Vec::new(),
            commands: Vec::new(),
        }
    }

    /// Reads once. `room`: where the bytes come in, one for all connections (of `READ_BYTES`).
    pub(crate) fn receive(&mut self, room: &mut [u8]) -> Flow {
        let read = match &mut self.stream {
            Stream::Unix(stream) => stream.read(room),
            Stream::Tcp(stream) => stream.read(room),
        };
        match read {
            Ok(0) => Flow::Ended,
            Ok(count) => {
                self.request.feed(&room[..count]);
                Flow::Open
            }
            Err(error) => still_open(&error),
        }
    }

    /// Sends what there is, as far as the socket takes it.
    pub(crate) fn send(&mut self) -> Flow {
        while self.sent < self.reply.bytes.len() {
            let rest = &self.reply.bytes[self.sent..];
            let written = match &mut self.stream {
                Stream::Unix(stream) => stream.write(rest),
                Stream::Tcp(stream) => stream.write(rest),
            };
            match written {
                Ok(0) => return Flow::Ended,
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.waiting(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Flow::Ended,
            }
        }
        self.sent = 0;
        self.reply.bytes.clear();
        if self.reply.bytes.capacity() > BUFFER_BYTES_KEPT {
            self.reply.bytes = Vec::new();
        }
        if self.client.leaving { Flow::Ended } else { Flow::Open }
    }

    fn waiting(&mut self) -> Flow {
        if self.sent > BUFFER_BYTES_KEPT {
            self.reply.bytes.drain(..self.sent);
            self.sent = 0;
        }
        // A subscriber that does not read: nothing else bounds what others make us keep for it.
        let listens = self.client.only_listens();
        if listens && self.unsent() > MESSAGES_BYTES_MAX { Flow::Ended } else { Flow::Open }
    }

    pub(crate) fn unsent(&self) -> usize {
        self.reply.bytes.len() - self.sent
    }

    /// Whether its further commands have to wait until it has fetched its answers.
    pub(crate) fn is_backlogged(&self) -> bool {
        self.unsent() > ANSWERS_BYTES_MAX
    }

    /// What the socket should be watched for: reading, writing. Commands of one who cannot go on now wait in the
    /// socket, apart from a first part, by which its end is seen.
    pub(crate) fn wishes(&self) -> (bool, bool) {
        let stuck = self.client.blocked.is_some() || self.is_backlogged();
        let full = stuck && self.request.pending_bytes() > READ_BYTES;
        (!full && !self.client.leaving, self.unsent() > 0)
    }
}

fn still_open(error: &io::Error) -> Flow {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::Interrupted => Flow::Open,
        _ => Flow::Ended,
    }
}
