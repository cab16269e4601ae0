//! From lines to events.

use super::Session;
use super::events::{Dropped, Event, Handover, Listening, Received, Returned, Why};
use super::handles::{Content, Nacked};
use super::servers::{Origin, Server, Stage};
use crate::address::{Address, Query};
use crate::errno::UvErrno;
use crate::frame::{Framer, Line, MidLine, Serialization};
use crate::incoming::{Incoming, RawQuery, parse_line, parse_value};
use crate::outgoing::{self, Answer};
use crate::skep::{BoundServer, FromPreload};
use crate::v8;

/// Where the two lists of [`Received`] grow.
struct Told<F> {
    events: Vec<Event<F>>,
    handovers: Vec<Handover<F>>,
}

impl<F> Session<F> {
    /// Takes what was peeked: bytes from where the last consumed ended, and the descriptors that came with them (the
    /// kernel brings those of one message at most; more than one would be closed).
    pub fn receive(&mut self, window: &[u8], fds: impl IntoIterator<Item = F>) -> Received<F> {
        let mut told = Told { events: Vec::new(), handovers: Vec::new() };
        let idle = Framer::new(MidLine::No, Serialization::Json);
        let mut framer = std::mem::replace(&mut self.framer, idle);
        let consumed = framer.feed(window, fds.into_iter().next(), |line, fd| match line {
            Line::Whole(line) => self.whole(line, fd, &mut told),
            Line::Lost { bytes, with_handle } => {
                if with_handle {
                    // Its sender queues everything until it hears something.
                    self.queue(outgoing::handle_ack(true), None);
                }
                told.events.push(Event::Dropped(Dropped::Lost { bytes }));
            }
        });
        let mid_line = framer.mid_line();
        self.framer = framer;
        set(&mut self.state.mid_line, mid_line, &mut self.revision);
        Received { consumed, events: told.events, handovers: told.handovers }
    }

    fn whole(&mut self, payload: &[u8], fd: &mut Option<F>, told: &mut Told<F>) {
        match self.state.serialization {
            Serialization::Json => self.line(payload, fd, told),
            Serialization::Advanced => match v8::decode(payload) {
                Ok(line) => self.line(line.as_bytes(), fd, told),
                Err(reason) => {
                    if fd.take().is_some() {
                        // Its sender queues everything until it hears something.
                        self.queue(outgoing::handle_ack(true), None);
                    }
                    told.events.push(Event::Dropped(Dropped::Malformed { reason }));
                }
            },
        }
    }

    fn line(&mut self, line: &[u8], fd: &mut Option<F>, told: &mut Told<F>) {
        match parse_line(line) {
            Ok(Incoming::Handle { kind, message }) => {
                let fd = fd.take();
                self.queue(outgoing::handle_ack(fd.is_some()), None);
                let Some(fd) = fd else { return };
                match parse_value(message) {
                    Ok(Incoming::Preload(FromPreload::Conn { server })) => {
                        let known = self.state.servers.bound_to(&server);
                        let known = known.or_else(|| self.state.departed.bound_to(&server));
                        let key = known.map(|server| server.key.clone());
                        told.handovers.push(Handover { fd, key, server });
                    }
                    Ok(_) | Err(_) => {
                        told.events.push(Event::Handle { kind, json: message.get().to_owned(), fd });
                    }
                }
            }
            Ok(incoming) => self.message(incoming, &mut told.events),
            Err(error) => {
                let reason = format!("{error} in a line of {} bytes", line.len());
                told.events.push(Event::Dropped(Dropped::Malformed { reason }));
            }
        }
    }

    fn message(&mut self, incoming: Incoming<'_>, events: &mut Vec<Event<F>>) {
        match incoming {
            Incoming::Online => {
                set(&mut self.state.online, true, &mut self.revision);
                events.push(Event::Online);
            }
            Incoming::Query(raw) => self.query(&raw, events),
            Incoming::Listening(raw) => self.listens(&raw, events),
            Incoming::Close { key } => self.closes(&key, events),
            Incoming::ExitedAfterDisconnect { seq } => {
                set(&mut self.state.exiting, true, &mut self.revision);
                let line = outgoing::ack(seq, self.seq.take());
                self.queue(line, None);
                events.push(Event::Exiting);
            }
            Incoming::Ack { ack, accepted } => self.answered(ack, accepted == Some(true), events),
            Incoming::HandleAck => self.handles.ack(),
            Incoming::HandleNack => self.nacked(events),
            Incoming::Preload(message) => self.preload(message, events),
            Incoming::User(message) => events.push(Event::Message(message.get().to_owned())),
            // A handle inside a handle: nothing sends that.
            Incoming::Handle { .. } | Incoming::Unknown => {}
        }
    }

    fn query(&mut self, raw: &RawQuery<'_>, events: &mut Vec<Event<F>>) {
        if self.state.exiting {
            return;
        }
        let mut query = match Query::parse(raw) {
            Ok(query) => query,
            Err(reason) => {
                let answer = Answer { key: "", ack: raw.seq, data: None, seq: self.seq.take() };
                self.queue(answer.error(UvErrno::INVALID), None);
                events.push(Event::Dropped(Dropped::Malformed { reason }));
                return;
            }
        };
        if let Some(holder) = self.state.servers.by_key(&query.key) {
            match &holder.origin {
                // The same question again: a daemon was killed before it consumed it.
                Origin::Cluster { query: known } if known.seq == query.seq => {
                    events.push(Event::Query(query));
                    return;
                }
                Origin::Cluster { .. } | Origin::Forked { .. } => {}
            }
            if may_bind_twice(&query.address) {
                query.key = format!("{}:{}", query.key, query.index);
            } else {
                let answer = Answer {
                    key: &query.key,
                    ack: query.seq,
                    data: query.data.as_deref(),
                    seq: self.seq.take(),
                };
                let line = answer.error(UvErrno::ADDRESS_IN_USE);
                self.queue(line, None);
                return;
            }
        }
        let origin = Origin::Cluster { query: query.clone() };
        self.state.servers.push(Server { key: query.key.clone(), origin, stage: Stage::Asked });
        self.revision += 1;
        events.push(Event::Query(query));
    }

    fn listens(&mut self, raw: &RawQuery<'_>, events: &mut Vec<Event<F>>) {
        let port = raw.port.as_int().and_then(|port| u16::try_from(port).ok());
        let Some(server) = self.state.servers.listening(raw) else { return };
        server.stage = Stage::Listening { port };
        events.extend(listening(server).map(Event::Listening));
        self.revision += 1;
    }

    fn closes(&mut self, key: &str, events: &mut Vec<Event<F>>) {
        if let Some(server) = self.state.servers.remove(key) {
            self.revision += 1;
            if self.state.draining {
                self.state.departed.make_room();
                self.state.departed.push(server);
            }
            events.push(Event::Closed { key: key.to_owned() });
        }
    }

    fn answered(&mut self, id: u64, accepted: bool, events: &mut Vec<Event<F>>) {
        let Some((skipped, answered)) = self.handles.answered(id) else { return };
        for handle in skipped {
            if let Content::Connection { conn, key } = handle.content {
                events.push(Event::Returned(Returned { conn, key, fd: handle.fd, why: Why::NoDescriptor }));
            }
        }
        let Content::Connection { conn, key } = answered.content else { return };
        events.push(if accepted {
            Event::Accepted(conn, answered.fd)
        } else {
            Event::Returned(Returned { conn, key, fd: answered.fd, why: Why::Refused })
        });
    }

    fn nacked(&mut self, events: &mut Vec<Event<F>>) {
        match self.handles.nack() {
            Nacked::Nothing => {}
            Nacked::Connection { conn, key, fd } => {
                events.push(Event::Returned(Returned { conn, key, fd, why: Why::NoDescriptor }));
            }
            Nacked::Resend { id, line } => self.queue(line, Some(id)),
            Nacked::GiveUp { query_seq } => self.reply_error(query_seq, UvErrno::TOO_MANY_FILES, None),
        }
    }

    fn preload(&mut self, message: FromPreload, events: &mut Vec<Event<F>>) {
        match message {
            FromPreload::Hello(hello) => {
                set(&mut self.state.online, true, &mut self.revision);
                set(&mut self.state.hello, Some(hello.clone()), &mut self.revision);
                events.push(Event::Hello(hello));
            }
            FromPreload::Listening { server } => {
                let key = forked_key(&server);
                self.state.servers.remove(&key);
                self.state.servers.make_room();
                let port = match &server {
                    BoundServer::Ip { port, .. } => Some(*port),
                    BoundServer::Path { .. } => None,
                };
                let server = Server {
                    key,
                    origin: Origin::Forked { bound: server },
                    stage: Stage::Listening { port },
                };
                events.extend(listening(&server).map(Event::Listening));
                self.state.servers.push(server);
                self.revision += 1;
            }
            FromPreload::Draining { servers, connections } => {
                events.push(Event::Draining { servers, connections });
            }
            FromPreload::Drained => events.push(Event::Drained),
            FromPreload::StopsItself => events.push(Event::StopsItself),
            FromPreload::Schedule(schedule) => events.push(Event::Schedule(schedule)),
            FromPreload::Unschedule { name } => events.push(Event::Unschedule { name }),
            FromPreload::Ran(ran) => events.push(Event::Ran(ran)),
            FromPreload::Measured { figures } => events.push(Event::Measured(figures)),
            FromPreload::Accepted { ack, accepted } => self.answered(ack, accepted, events),
            // Without its descriptor it means nothing; the handle's own path is in `line`.
            FromPreload::Conn { .. } => {}
        }
    }
}

/// Changes a part of the durable state, and the revision if that made a difference.
fn set<T: PartialEq>(part: &mut T, value: T, revision: &mut u64) {
    if *part != value {
        *part = value;
        *revision += 1;
    }
}

/// `reuseAddr: true` datagram sockets may share an address inside one worker.
fn may_bind_twice(address: &Address) -> bool {
    matches!(address, Address::Udp(udp) if udp.reuse_address)
}

/// The key of a server that a fork-mode worker bound itself.
fn forked_key(bound: &BoundServer) -> String {
    match bound {
        BoundServer::Ip { address, port } => format!("bound:{address}:{port}"),
        BoundServer::Path { path } => format!("bound:{path}"),
    }
}

/// What an owner sees of a server, once it is open.
pub(super) fn listening(server: &Server) -> Option<Listening> {
    let Stage::Listening { port } = server.stage else { return None };
    let address = match &server.origin {
        Origin::Cluster { query } => query.address.clone(),
        Origin::Forked { bound: BoundServer::Path { path } } => {
            Address::Unix { path: path.clone(), readable_all: false, writable_all: false }
        }
        Origin::Forked { bound: BoundServer::Ip { address, port } } => Address::Tcp {
            ip: address.parse().ok(),
            zone: None,
            port: *port,
            v6_only: false,
            reuse_port: false,
        },
    };
    Some(Listening { key: server.key.clone(), address, port })
}
