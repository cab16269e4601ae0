//! A small but real primary: sockets, processes and a [`Session`] a worker. One thread, one `poll`.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub(crate) mod channel;
pub(crate) mod client;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::rc::Rc;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use skep_node_ipc::{
    Address, ConnId, ConnectionKind, Dispatcher, Event, Generation, Policy, Query, Serialization, ServerData,
    Session, SockName, UvErrno, Why,
};

/// Descriptors are shared between the session (which may have to send again) and the primary.
pub(crate) type Fd = Rc<OwnedFd>;

/// Clients in other threads make progress that no descriptor of ours shows; look at it so often.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };

/// A test hangs rather than fails without an upper bound: a minute of looks without any event.
const IDLE_LOOKS_MAX: usize = 6_000;

/// How connections reach workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Balance {
    /// Every worker listens on the same socket.
    Shared,
    /// The primary accepts and dispatches.
    Ipc,
}

/// One listening address of the app.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) socket: Fd,
    pub(crate) port: Option<u16>,
    pub(crate) dispatcher: Dispatcher,
}

/// A worker process.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) child: Child,
    pub(crate) channel: OwnedFd,
    pub(crate) session: Session<Fd>,
    /// Everything it told, oldest first, in words.
    pub(crate) told: Vec<String>,
    /// The channel is at its end.
    pub(crate) ended: bool,
    /// Everything it wrote on the channel; what transcripts are made of.
    pub(crate) raw: Vec<u8>,
}

/// All of an app.
#[derive(Debug)]
pub(crate) struct Primary {
    pub(crate) node: PathBuf,
    pub(crate) balance: Balance,
    pub(crate) preload: bool,
    pub(crate) cluster: bool,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) serialization: Serialization,
    /// `ulimit -n` of the workers to come.
    pub(crate) descriptors: Option<u32>,
    pub(crate) workers: BTreeMap<u32, Worker>,
    pub(crate) listeners: BTreeMap<String, Listener>,
    /// A listener goes as soon as one worker has closed it.
    pub(crate) lets_go: bool,
    pub(crate) data: ServerData,
    pub(crate) conns: BTreeMap<ConnId, (String, Fd, ConnectionKind)>,
    /// Who gets what a draining worker hands over.
    pub(crate) successor: Option<u32>,
    pub(crate) handovers: usize,
    /// Every so many reads the daemon "is killed" after it wrote its answers and before it consumed.
    pub(crate) crash_every: Option<usize>,
    reads: usize,
    generation: u32,
    next_worker: u32,
    next_conn: u64,
}

impl Primary {
    pub(crate) fn new(node: PathBuf) -> Self {
        Self {
            node,
            balance: Balance::Shared,
            preload: false,
            cluster: true,
            env: Vec::new(),
            serialization: Serialization::Json,
            descriptors: None,
            workers: BTreeMap::new(),
            listeners: BTreeMap::new(),
            lets_go: false,
            data: ServerData::default(),
            conns: BTreeMap::new(),
            successor: None,
            handovers: 0,
            crash_every: None,
            reads: 0,
            generation: 1,
            next_worker: 1,
            next_conn: 1,
        }
    }

    /// Starts a worker: `args` are Node's, the script first.
    pub(crate) fn spawn(&mut self, args: &[&str]) -> u32 {
        let id = self.next_worker;
        self.next_worker += 1;
        let (child, channel) = channel::spawn(self, id, args);
        let session = Session::with_serialization(Generation(self.generation), self.serialization);
        let worker = Worker { child, channel, session, told: Vec::new(), ended: false, raw: Vec::new() };
        self.workers.insert(id, worker);
        id
    }

    pub(crate) fn worker(&mut self, id: u32) -> &mut Worker {
        self.workers.get_mut(&id).expect("the test knows its workers")
    }

    pub(crate) fn told(&self, id: u32, what: &str) -> bool {
        self.workers[&id].told.iter().any(|told| told.starts_with(what))
    }

    /// Runs until `done`; panics with what was told when nothing happens for a long time.
    pub(crate) fn run_until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let mut idle = 0;
        while !done(self) {
            self.flush();
            idle = if self.turn() { 0 } else { idle + 1 };
            assert!(
                idle < IDLE_LOOKS_MAX,
                "waited in vain for {what}; the workers told: {:#?}",
                self.all_told()
            );
        }
        self.flush();
    }

    pub(crate) fn until_told(&mut self, id: u32, what: &str) {
        self.run_until(what, |primary| primary.told(id, what));
    }

    /// Runs while a client thread does.
    pub(crate) fn run_until_thread<T>(&mut self, thread: &std::thread::JoinHandle<T>) {
        self.flush();
        while !thread.is_finished() {
            self.turn();
        }
    }

    /// Waits for the end of the channel and of the process.
    pub(crate) fn until_gone(&mut self, id: u32) -> ExitStatus {
        self.run_until("the channel's end", |primary| primary.workers[&id].ended);
        let mut worker = self.workers.remove(&id).expect("the test knows its workers");
        drop(worker.channel);
        worker.child.wait().expect("our child")
    }

    /// The first TCP port that a worker listens on.
    pub(crate) fn port(&self) -> u16 {
        self.listeners.values().find_map(|listener| listener.port).expect("something listens")
    }

    fn all_told(&self) -> Vec<(u32, &Vec<String>)> {
        self.workers.iter().map(|(id, worker)| (*id, &worker.told)).collect()
    }

    /// One poll; false when nothing happened.
    fn turn(&mut self) -> bool {
        let open: Vec<u32> =
            self.workers.iter().filter(|(_, worker)| !worker.ended).map(|(id, _)| *id).collect();
        let accepting: Vec<String> = match self.balance {
            Balance::Shared => Vec::new(),
            Balance::Ipc => {
                let wanting = self.listeners.iter().filter(|(_, listener)| listener.dispatcher.wants_more());
                wanting.map(|(key, _)| key.clone()).collect()
            }
        };
        let mut fds: Vec<PollFd<'_>> = Vec::new();
        for id in &open {
            let worker = &self.workers[id];
            let writing =
                if worker.session.next_frame().is_some() { PollFlags::OUT } else { PollFlags::empty() };
            fds.push(PollFd::new(&worker.channel, PollFlags::IN | writing));
        }
        fds.extend(accepting.iter().map(|key| PollFd::new(&*self.listeners[key].socket, PollFlags::IN)));
        if poll(&mut fds, Some(&LOOK)).expect("poll") == 0 {
            return false;
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        for (id, ready) in open.iter().zip(&ready) {
            if *ready {
                self.read(*id);
            }
        }
        for (key, ready) in accepting.iter().zip(&ready[open.len()..]) {
            if *ready {
                self.accept(key);
            }
        }
        self.dispatch();
        self.flush();
        true
    }

    /// Peek, handle, answer, consume, pass on: the order that the crate's documentation asks for.
    fn read(&mut self, id: u32) {
        let worker = self.worker(id);
        let Some((window, fds)) = channel::peek(&worker.channel) else {
            worker.ended = true;
            for returned in worker.session.reclaim() {
                self.returned(returned.conn, returned.why);
            }
            self.leave(id);
            return;
        };
        let received = worker.session.receive(&window, fds.into_iter().map(Rc::new));
        self.reads += 1;
        for event in received.events {
            self.event(id, event);
        }
        self.flush();
        if self.crash_every.is_some_and(|every| self.reads.is_multiple_of(every))
            && received.handovers.is_empty()
        {
            self.restart_daemon();
            return;
        }
        let worker = self.worker(id);
        worker.raw.extend_from_slice(&window[..received.consumed]);
        channel::consume(&worker.channel, received.consumed);
        for handover in received.handovers {
            self.handovers += 1;
            let key = handover.key.expect("the server is known");
            let to = self.successor.expect("a drain has a successor");
            let conn = self.new_conn(&key, &handover.fd, ConnectionKind::Migrated);
            let sent =
                self.worker(to).session.send_connection(&key, conn, handover.fd, ConnectionKind::Migrated);
            assert!(sent.is_ok(), "the successor has no server {key}");
        }
    }

    /// The daemon is gone and comes back with what it had stored.
    fn restart_daemon(&mut self) {
        self.generation += 1;
        for worker in self.workers.values_mut() {
            let stored = serde_json::to_string(worker.session.state()).expect("plain data");
            let state = serde_json::from_str(&stored).expect("written by us");
            worker.session = Session::restore(state, Generation(self.generation));
        }
    }

    fn event(&mut self, id: u32, event: Event<Fd>) {
        let told = match event {
            Event::Online => "online".to_owned(),
            Event::Hello(hello) => format!("hello {} cluster={}", hello.node, hello.cluster),
            Event::Query(query) => {
                self.answer(id, &query);
                format!("query {:?}", query.address)
            }
            Event::Listening(listening) => {
                let listener = self.listeners.get_mut(&listening.key);
                if let Some(listener) = listener {
                    listener.dispatcher.join(id, 1);
                }
                format!("listening {} {:?}", listening.key, listening.port)
            }
            Event::Closed { key } => {
                if self.lets_go {
                    self.listeners.remove(&key);
                } else if let Some(listener) = self.listeners.get_mut(&key) {
                    listener.dispatcher.leave(id);
                }
                format!("closed {key}")
            }
            Event::Exiting => "exiting".to_owned(),
            Event::Draining { servers, connections } => format!("draining {servers} {connections}"),
            Event::Drained => "drained".to_owned(),
            Event::StopsItself => "stops itself".to_owned(),
            Event::Accepted(conn, _) => {
                if let Some((key, _, _)) = self.conns.remove(&conn)
                    && let Some(listener) = self.listeners.get_mut(&key)
                {
                    listener.dispatcher.accepted(conn);
                }
                return;
            }
            Event::Returned(returned) => {
                let told = format!("returned {:?}", returned.why);
                self.returned(returned.conn, returned.why);
                told
            }
            Event::Schedule(schedule) => format!("schedule {}", schedule.name),
            Event::Unschedule { name } => format!("unschedule {name}"),
            Event::Ran(ran) => format!("ran {} {}", ran.token, ran.ok),
            Event::Measured(_) => "measured".to_owned(),
            Event::Message(json) => format!("message {json}"),
            Event::Handle { kind, json, .. } => format!("handle {kind:?} {json}"),
            Event::Dropped(dropped) => panic!("worker {id}: {dropped:?}"),
        };
        self.worker(id).told.push(told);
    }

    fn answer(&mut self, id: u32, query: &Query) {
        let data = self.data.first_seen(&query.key, query.data.as_deref()).map(str::to_owned);
        if !self.listeners.contains_key(&query.key) {
            match open(&query.address) {
                Ok((socket, port)) => {
                    let dispatcher = Dispatcher::new(Policy::RoundRobin);
                    let listener = Listener { socket: Rc::new(socket), port, dispatcher };
                    self.listeners.insert(query.key.clone(), listener);
                }
                Err(error) => {
                    let errno = UvErrno::from_errno(error.raw_os_error().unwrap_or(0));
                    self.worker(id).session.reply_error(query.seq, errno, data.as_deref());
                    return;
                }
            }
        }
        let listener = &self.listeners[&query.key];
        let (socket, port) = (listener.socket.clone(), listener.port);
        if self.balance == Balance::Ipc && !query.is_udp() {
            let name = port.map(|port| SockName::from(SocketAddr::from(([0u16; 8], port))));
            self.worker(id).session.reply_round_robin(query.seq, name.as_ref(), data.as_deref());
        } else {
            assert!(self.worker(id).session.reply_shared(query.seq, socket, data.as_deref()).is_ok());
        }
    }

    fn accept(&mut self, key: &str) {
        let flags = rustix::net::SocketFlags::NONBLOCK | rustix::net::SocketFlags::CLOEXEC;
        while let Ok(fd) = rustix::net::accept_with(&*self.listeners[key].socket, flags) {
            let conn = self.new_conn(key, &Rc::new(fd), ConnectionKind::Fresh);
            self.listeners.get_mut(key).expect("it is polled").dispatcher.arrived(conn);
        }
    }

    fn new_conn(&mut self, key: &str, fd: &Fd, kind: ConnectionKind) -> ConnId {
        let conn = ConnId(self.next_conn);
        self.next_conn += 1;
        self.conns.insert(conn, (key.to_owned(), fd.clone(), kind));
        conn
    }

    fn returned(&mut self, conn: ConnId, why: Why) {
        let Some((key, _, _)) = self.conns.get(&conn) else { return };
        let verdict = self.listeners.get_mut(key).map(|listener| listener.dispatcher.returned(conn, why));
        assert_eq!(verdict, Some(skep_node_ipc::Verdict::Again), "some worker takes it");
    }

    fn leave(&mut self, id: u32) {
        for listener in self.listeners.values_mut() {
            listener.dispatcher.leave(id);
        }
    }

    fn dispatch(&mut self) {
        for listener in self.listeners.values_mut() {
            while let Some(next) = listener.dispatcher.next_assignment() {
                let (key, fd, kind) = self.conns[&next.conn].clone();
                let worker = self.workers.get_mut(&next.worker).expect("only workers join");
                let sent = worker.session.send_connection(&key, next.conn, fd, kind);
                assert!(sent.is_ok(), "a worker that joined takes connections");
            }
        }
    }

    fn flush(&mut self) {
        for worker in self.workers.values_mut().filter(|worker| !worker.ended) {
            while let Some(frame) = worker.session.next_frame() {
                match channel::write(&worker.channel, frame.line, frame.fd.map(|fd| fd.as_fd())) {
                    channel::Written::All => worker.session.frame_written(),
                    channel::Written::Full => break,
                    channel::Written::Gone => break,
                }
            }
        }
    }
}

impl Drop for Primary {
    fn drop(&mut self) {
        for worker in self.workers.values_mut() {
            // A failed test leaves no process behind; the error would be that it is gone already.
            let _ = worker.child.kill();
            let _ = worker.child.wait();
        }
    }
}

fn open(address: &Address) -> std::io::Result<(OwnedFd, Option<u16>)> {
    match address {
        Address::Tcp { ip, port, .. } => {
            let ip = ip.unwrap_or_else(|| std::net::Ipv6Addr::UNSPECIFIED.into());
            let listener = TcpListener::bind((ip, *port))?;
            listener.set_nonblocking(true)?;
            let port = listener.local_addr()?.port();
            Ok((listener.into(), Some(port)))
        }
        Address::Unix { path, .. } => {
            let listener = UnixListener::bind(path)?;
            listener.set_nonblocking(true)?;
            Ok((listener.into(), None))
        }
        Address::Udp(udp) => {
            let socket = UdpSocket::bind((udp.ip, udp.port))?;
            socket.set_nonblocking(true)?;
            let port = socket.local_addr()?.port();
            Ok((socket.into(), Some(port)))
        }
        Address::Fd(_) => Err(std::io::Error::from_raw_os_error(9)),
    }
}
