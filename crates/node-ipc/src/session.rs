//! The protocol with one worker.
//!
//! See the crate's documentation for the order of reading, writing and consuming. What must survive the daemon is in
//! [`SessionState`]; messages of an earlier generation are recognised by their `seq` and ignored.

mod events;
mod handles;
mod receive;
mod servers;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use self::handles::{Content, Handles};
use self::servers::{Origin, Servers, Stage};
use crate::errno::UvErrno;
use crate::frame::{Framer, MidLine, Serialization};
use crate::incoming::{self, Incoming};
use crate::outgoing::{self, Answer, SockName};
use crate::seq::{Generation, Seq};
use crate::skep::{DrainOrder, Hello};
use crate::v8;

pub use self::events::{ConnId, Dropped, Event, Handover, Listening, Received, Returned, Why};

/// Beyond so many unwritten bytes the worker does not read its channel: stop reading what it says
/// ([`Session::is_congested`]) and refuse user messages. Sixteen times what Node calls "please stop" (128 KB).
pub const OUTGOING_BYTES_MAX: usize = 2 * 1024 * 1024;

/// What must outlive the daemon; store it with the keeper whenever [`Session::revision`] has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionState {
    online: bool,
    exiting: bool,
    hello: Option<Hello>,
    servers: Servers,
    /// A drain was asked for.
    draining: bool,
    /// Servers closed since then; their idle connections come after.
    departed: Servers,
    mid_line: MidLine,
    serialization: Serialization,
}

#[derive(Debug)]
struct Frame {
    line: Vec<u8>,
    /// The id in `handles` of the descriptor that goes with the first byte.
    handle: Option<u64>,
    /// Somebody else was asked to write it.
    lent: bool,
}

/// A line to write, with the descriptor for its first byte.
#[derive(Debug)]
pub struct FrameRef<'a, F> {
    /// The whole line. Write all of it or nothing: a line cut by a crash breaks the worker's `JSON.parse`.
    pub line: &'a [u8],
    /// Must be non-blocking: libuv does not set that.
    pub fd: Option<&'a F>,
    /// What the line is known by if it is lent; only lines with a descriptor are.
    pub id: Option<u64>,
    /// Lines before it are lent: it may be lent too, but not written.
    pub behind: bool,
}

/// One worker's channel.
#[derive(Debug)]
pub struct Session<F> {
    framer: Framer<F>,
    seq: Seq,
    state: SessionState,
    handles: Handles<F>,
    outgoing: VecDeque<Frame>,
    outgoing_bytes: usize,
    revision: u64,
}

impl<F> Session<F> {
    /// For a worker that is being started.
    #[must_use]
    pub fn new(generation: Generation) -> Self {
        Self::build(generation, SessionState::default(), true)
    }

    /// For a worker that was started with another serialization than JSON.
    #[must_use]
    pub fn with_serialization(generation: Generation, serialization: Serialization) -> Self {
        Self::build(generation, SessionState { serialization, ..SessionState::default() }, true)
    }

    /// For a worker that an earlier daemon talked with.
    #[must_use]
    pub fn restore(state: SessionState, generation: Generation) -> Self {
        Self::build(generation, state, false)
    }

    fn build(generation: Generation, state: SessionState, in_step: bool) -> Self {
        Self {
            framer: Framer::new(state.mid_line, state.serialization),
            seq: Seq::new(generation),
            state,
            handles: Handles::new(in_step),
            outgoing: VecDeque::new(),
            outgoing_bytes: 0,
            revision: 0,
        }
    }

    /// What to store for a successor.
    #[must_use]
    pub fn state(&self) -> &SessionState {
        &self.state
    }

    /// Changes whenever [`Session::state`] does.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// True once Node's `online` or our preload's hello was seen.
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.state.online
    }

    /// What our preload said of itself; `None` where it is absent.
    #[must_use]
    pub fn hello(&self) -> Option<&Hello> {
        self.state.hello.as_ref()
    }

    /// True once the worker's end was agreed on, by either side.
    #[must_use]
    pub fn is_exiting(&self) -> bool {
        self.state.exiting
    }

    /// The worker's open servers.
    pub fn listening(&self) -> impl Iterator<Item = Listening> + '_ {
        self.state.servers.iter().filter_map(receive::listening)
    }

    /// True if connections can be sent to the server with this key.
    #[must_use]
    pub fn takes_connections(&self, key: &str) -> bool {
        !self.state.exiting && self.state.servers.by_key(key).is_some_and(servers::Server::takes_connections)
    }

    /// Connections sent (or queued) and not yet answered.
    #[must_use]
    pub fn connections_in_flight(&self) -> usize {
        self.handles.connections()
    }

    /// True when the worker leaves our answers unread: do not read more from it until they are written.
    #[must_use]
    pub fn is_congested(&self) -> bool {
        self.outgoing_bytes > OUTGOING_BYTES_MAX
    }

    /// Answers a [`Event::Query`]: the worker listens on `fd` itself. `data` is what
    /// [`ServerData`](crate::ServerData) says for the key. Returns the descriptor if nobody waits for it any more.
    pub fn reply_shared(&mut self, query_seq: u64, fd: F, data: Option<&str>) -> Result<(), F> {
        let seq = self.seq.take();
        let Some(server) = self.state.servers.asked(query_seq) else { return Err(fd) };
        server.stage = Stage::Answered;
        let udp = matches!(&server.origin, Origin::Cluster { query } if query.is_udp());
        let line = Answer { key: &server.key, ack: query_seq, data, seq }.shared(udp);
        self.revision += 1;
        self.handles.push(seq, Content::Reply { line: line.clone(), query_seq, tries: 0 }, fd);
        self.queue(line, Some(seq));
        Ok(())
    }

    /// Answers a [`Event::Query`]: the worker gets its connections from us. `sockname` is `None` for Unix sockets.
    pub fn reply_round_robin(&mut self, query_seq: u64, sockname: Option<&SockName>, data: Option<&str>) {
        let seq = self.seq.take();
        let Some(server) = self.state.servers.asked(query_seq) else { return };
        server.stage = Stage::Answered;
        let line = Answer { key: &server.key, ack: query_seq, data, seq }.round_robin(sockname);
        self.revision += 1;
        self.queue(line, None);
    }

    /// Answers a [`Event::Query`]: the app gets an `error` event.
    pub fn reply_error(&mut self, query_seq: u64, errno: UvErrno, data: Option<&str>) {
        let seq = self.seq.take();
        let Some(server) = self.state.servers.asked(query_seq) else { return };
        let key = server.key.clone();
        let line = Answer { key: &key, ack: query_seq, data, seq }.error(errno);
        self.state.servers.remove(&key);
        self.revision += 1;
        self.queue(line, None);
    }

    /// Sends a connection to the worker's server `key`. Legal as soon as the query was answered, in every mode. `conn`
    /// comes back in [`Event::Accepted`] or [`Event::Returned`]. The descriptor comes back at once if the worker has
    /// no such server.
    pub fn send_connection(&mut self, key: &str, conn: ConnId, fd: F, kind: ConnectionKind) -> Result<(), F> {
        if !self.takes_connections(key) {
            return Err(fd);
        }
        let Some(server) = self.state.servers.by_key(key) else { return Err(fd) };
        let seq = self.seq.take();
        let idle = kind == ConnectionKind::Migrated;
        let line = match &server.origin {
            Origin::Cluster { .. } => outgoing::new_connection(key, seq, idle),
            Origin::Forked { bound } => outgoing::new_connection_forked(bound, seq, idle),
        };
        self.handles.push(seq, Content::Connection { conn, key: key.to_owned() }, fd);
        self.queue(line, Some(seq));
        Ok(())
    }

    /// Asks our preload to drain. False if there is none: use [`Session::disconnect`] or a signal.
    pub fn drain(&mut self, order: DrainOrder) -> bool {
        self.begin_drain(outgoing::drain(order))
    }

    /// The same for a worker that is to be told to stop afterwards: its channel stays. The answer is
    /// [`Event::Drained`], or at once [`Event::StopsItself`] from an app that handles the signal `stop`.
    pub fn finish(&mut self, order: DrainOrder, stop: Option<&str>) -> bool {
        self.begin_drain(outgoing::finish(order, stop))
    }

    /// Asks our preload how the worker is; the answer is [`Event::Measured`]. False if there is no preload.
    pub fn measure(&mut self) -> bool {
        let able = self.state.hello.is_some();
        if able {
            self.queue(outgoing::measure(), None);
        }
        able
    }

    fn begin_drain(&mut self, line: Vec<u8>) -> bool {
        if self.state.hello.is_none() {
            return false;
        }
        self.state.draining = true;
        self.revision += 1;
        self.queue(line, None);
        true
    }

    /// Node's own graceful stop: the worker closes all servers, waits for their connections, and ends the channel.
    /// A later `queryServer` is not answered, as Node's primary does not.
    pub fn disconnect(&mut self) {
        self.state.exiting = true;
        self.revision += 1;
        let line = outgoing::disconnect(self.seq.take());
        self.queue(line, None);
    }

    /// Sends a message to `process.on('message')`.
    pub fn send_message(&mut self, json: &str) -> Result<(), SendError> {
        let message: &RawValue =
            serde_json::from_str(json).map_err(|error| SendError::NotJson(error.to_string()))?;
        if !matches!(incoming::parse_value(message), Ok(Incoming::User(_))) {
            return Err(SendError::Internal);
        }
        if self.state.serialization == Serialization::Advanced && !v8::can_encode(json) {
            return Err(SendError::NotJson("nested too deeply, or half a character".to_owned()));
        }
        if self.outgoing_bytes + json.len() > OUTGOING_BYTES_MAX {
            return Err(SendError::Congested);
        }
        self.queue(outgoing::user(message), None);
        Ok(())
    }

    /// Sends one of our own messages ([`crate::skep`]), which Node keeps from the app; `body` without its `cmd`.
    ///
    /// # Errors
    /// [`SendError::Congested`]; [`SendError::NotJson`] when `body` is no object.
    pub fn send_skep(&mut self, body: serde_json::Value) -> Result<(), SendError> {
        let serde_json::Value::Object(mut fields) = body else {
            return Err(SendError::NotJson("our messages are objects".to_owned()));
        };
        fields.insert("cmd".to_owned(), crate::skep::CMD.into());
        let text = serde_json::Value::Object(fields).to_string();
        if self.outgoing_bytes + text.len() > OUTGOING_BYTES_MAX {
            return Err(SendError::Congested);
        }
        let message: &RawValue =
            serde_json::from_str(&text).map_err(|error| SendError::NotJson(error.to_string()))?;
        self.queue(outgoing::user(message), None);
        Ok(())
    }

    /// The next line to write or to lend.
    #[must_use]
    pub fn next_frame(&self) -> Option<FrameRef<'_, F>> {
        let at = self.outgoing.iter().position(|frame| !frame.lent)?;
        let frame = &self.outgoing[at];
        let fd = frame.handle.and_then(|id| self.handles.fd(id));
        Some(FrameRef { line: &frame.line, fd, id: frame.handle, behind: at > 0 })
    }

    /// The line of [`Session::next_frame`] was written as a whole.
    pub fn frame_written(&mut self) {
        self.remove_frame(0);
    }

    /// Somebody else was asked to write this line, with a descriptor that he has: [`Session::lent_written`],
    /// [`Session::lent_back`] or [`Session::withdraw`] follows. Lines without a descriptor wait until then, so that all
    /// keep their order.
    pub fn lend(&mut self, id: u64) {
        if let Some(at) = self.frame_of(id) {
            self.outgoing[at].lent = true;
            self.handles.lent(id);
        }
    }

    /// A lent line was written as a whole.
    pub fn lent_written(&mut self, id: u64) {
        if let Some(at) = self.frame_of(id) {
            self.remove_frame(at);
        }
    }

    /// A lent line could not be written now. It is the next one again.
    pub fn lent_back(&mut self, id: u64) {
        if let Some(at) = self.frame_of(id) {
            self.outgoing[at].lent = false;
            self.handles.lent_back(id);
        }
    }

    /// A connection is not to be sent after all: its number, if the line has not been written.
    pub fn withdraw(&mut self, id: u64) -> Option<ConnId> {
        let at = self.frame_of(id)?;
        let frame = self.outgoing.remove(at).expect("frame_of() found it");
        self.outgoing_bytes -= frame.line.len();
        self.handles.withdraw(id)
    }

    /// Takes up a connection again that an earlier daemon sent under this id and that may not be answered yet: in the
    /// order of the ids.
    pub fn take_up(&mut self, id: u64, conn: ConnId, key: &str, fd: F) {
        self.handles.push(id, Content::Connection { conn, key: key.to_owned() }, fd);
        self.handles.written(id);
    }

    fn frame_of(&self, id: u64) -> Option<usize> {
        self.outgoing.iter().position(|frame| frame.handle == Some(id))
    }

    fn remove_frame(&mut self, at: usize) {
        let Some(frame) = self.outgoing.remove(at) else { return };
        self.outgoing_bytes -= frame.line.len();
        if let Some(id) = frame.handle {
            self.handles.written(id);
        }
    }

    /// The channel is at its end: the connections that the worker had not accepted, to be given to others. Call after
    /// everything that the worker said was received.
    pub fn reclaim(&mut self) -> Vec<Returned<F>> {
        self.outgoing.clear();
        self.outgoing_bytes = 0;
        let connections = self.handles.drain().filter_map(|handle| match handle.content {
            Content::Connection { conn, key } => Some(Returned { conn, key, fd: handle.fd, why: Why::Gone }),
            Content::Reply { .. } => None,
        });
        connections.collect()
    }

    fn queue(&mut self, line: Vec<u8>, handle: Option<u64>) {
        let line = match self.state.serialization {
            Serialization::Json => line,
            Serialization::Advanced => v8::encode(&line),
        };
        self.outgoing_bytes += line.len();
        self.outgoing.push_back(Frame { line, handle, lent: false });
    }
}

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionKind {
    /// Just accepted: from a queue of ours, by stealing, rescue, or in `ipc` balance.
    Fresh,
    /// Was idle in another worker: the preload ends it after `keepAliveTimeout`, if it stays idle.
    Migrated,
}

/// Why a message was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The text is not JSON.
    #[error("the message is not JSON: {0}")]
    NotJson(String),
    /// The message would be taken for one of Node's own.
    #[error("the message's `cmd` begins with NODE_, which Node.js keeps for itself: use another name")]
    Internal,
    /// The worker does not read.
    #[error("the worker has not read its earlier messages: its event loop is blocked, try again later")]
    Congested,
}
