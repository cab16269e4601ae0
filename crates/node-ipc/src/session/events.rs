//! What a session tells its owner.

use crate::address::{Address, Query};
use crate::incoming::HandleKind;
use crate::skep::{BoundServer, Hello, Ran, Schedule};

/// A connection on its way to a worker; the owner's own number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// The outcome of [`Session::receive`](super::Session::receive).
#[derive(Debug)]
pub struct Received<F> {
    /// Take exactly so many bytes out of the socket, after the answers have been written.
    pub consumed: usize,
    /// What happened, in order. The same may be told again by a daemon that restarted in between.
    pub events: Vec<Event<F>>,
    /// Connections to pass on, only *after* the bytes have been taken out of the socket: telling of one twice would let
    /// two workers read it.
    pub handovers: Vec<Handover<F>>,
}

/// Something a worker said.
#[derive(Debug)]
pub enum Event<F> {
    /// The cluster worker has started; its code is about to run.
    Online,
    /// Our preload is in place. For a worker in plain fork mode this is the sign of life.
    Hello(Hello),
    /// The worker wants to listen and waits for an answer: `reply_shared`, `reply_round_robin` or `reply_error`.
    Query(Query),
    /// A server is open.
    Listening(Listening),
    /// A server was closed by the worker.
    Closed {
        /// The key that it had.
        key: String,
    },
    /// The app called `cluster.worker.disconnect()` or `kill()`: its end is wanted. The answer is already queued.
    Exiting,
    /// The preload has begun to drain.
    Draining {
        /// Servers that were open.
        servers: u32,
        /// Connections that were open.
        connections: u32,
    },
    /// The preload has nothing left to serve; the channel stays.
    Drained,
    /// The app handles its stop signal: it was not drained and expects the signal.
    StopsItself,
    /// The worker has a function for a job.
    Schedule(Schedule),
    /// It has it no more.
    Unschedule {
        /// The job's name.
        name: String,
    },
    /// A function that was called for a job has ended.
    Ran(Ran),
    /// How the worker is, in answer to a question.
    Measured(Box<crate::Measured>),
    /// A connection of ours is served by the worker; our copy is not needed any more.
    Accepted(ConnId, F),
    /// A connection of ours comes back and needs another worker.
    Returned(Returned<F>),
    /// `process.send(json)`: the text, and whether it is the string `ready`.
    Message(String),
    /// `process.send(json, handle)`, already acknowledged.
    Handle {
        /// What kind of handle the app sent.
        kind: HandleKind,
        /// The message beside it.
        json: String,
        /// The descriptor.
        fd: F,
    },
    /// A line was not understood; for the log. The channel goes on.
    Dropped(Dropped),
}

/// An open server of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// Its key, the same in all workers of an app.
    pub key: String,
    /// As asked for, for a worker in fork mode as bound.
    pub address: Address,
    /// The real port; `None` for a Unix socket.
    pub port: Option<u16>,
}

/// An idle connection that a draining worker hands over.
#[derive(Debug)]
pub struct Handover<F> {
    /// The connection.
    pub fd: F,
    /// The key of the server it belongs to; `None` when that server is unknown (then close the connection).
    pub key: Option<String>,
    /// The server as the worker sees it.
    pub server: BoundServer,
}

/// A connection that a worker did not take.
#[derive(Debug)]
pub struct Returned<F> {
    /// The owner's number.
    pub conn: ConnId,
    /// The server's key.
    pub key: String,
    /// The connection.
    pub fd: F,
    /// Why.
    pub why: Why,
}

/// Why a connection came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The server was just closed, or `maxConnections` is reached.
    Refused,
    /// The worker has no free descriptor.
    NoDescriptor,
    /// The worker ended, or its channel did, before it had said yes.
    Gone,
}

/// A line that had no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dropped {
    /// Not JSON, or an internal message with impossible fields.
    Malformed {
        /// What was wrong.
        reason: String,
    },
    /// Longer than [`LINE_BYTES_MAX`](crate::LINE_BYTES_MAX), or its beginning was lost with the last daemon.
    Lost {
        /// How many bytes were thrown away.
        bytes: usize,
    },
}
