//! The loop: one thread, one epoll, all clients.
//!
//! It sleeps until something happens; nothing is done on a timer except what clients asked to wait for. Before it sleeps it
//! may look on for a moment (`linger`).

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;

use rustix::event::{Timespec, epoll};

use crate::client::Client;
use crate::connection::{Connection, Flow, Stream};
use crate::door::Door;
use crate::limits::CLIENTS_MAX;
use crate::linger::{LINGER_NS, Linger};
use crate::pubsub::Subject;
use crate::{Options, exec};

/// Events fetched at once.
const EVENTS: usize = 256;
/// Connections accepted before clients get their turn.
const ACCEPTS: usize = 64;
/// Without descriptors left, how long until the next try, in nanoseconds.
const ACCEPT_PAUSE_NS: u64 = 500_000_000;

#[derive(Debug)]
enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(listener) => listener.as_fd(),
            Self::Tcp(listener) => listener.as_fd(),
        }
    }
}

/// The sockets and what they serve.
#[derive(Debug)]
pub(crate) struct Server {
    door: Door,
    epoll: OwnedFd,
    listeners: Vec<Listener>,
    /// When listening goes on after descriptors ran out.
    paused_until_ns: Option<u64>,
    free: Vec<usize>,
    clients: usize,
    /// Where bytes come in.
    room: Vec<u8>,
    linger: Linger,
}

impl Server {
    pub(crate) fn new(options: Options) -> io::Result<Self> {
        let store = skep_state::Store::open(&options.store).map_err(io::Error::other)?;
        let unix = options.unix.into_iter().map(|fd| Listener::Unix(fd.into()));
        let tcp = options.tcp.into_iter().map(|fd| Listener::Tcp(fd.into()));
        let server = Self {
            door: Door::new(store, options.password),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            listeners: unix.chain(tcp).collect(),
            paused_until_ns: None,
            free: Vec::new(),
            clients: 0,
            room: vec![0; crate::limits::READ_BYTES],
            linger: Linger::new(skep_sys::cpus::available()),
        };
        for (index, listener) in server.listeners.iter().enumerate() {
            rustix::io::ioctl_fionbio(listener, true)?;
            epoll::add(&server.epoll, listener, listener_data(index), epoll::EventFlags::IN)?;
        }
        Ok(server)
    }

    /// Serves. Others wait for the store while its group is open (`Store::write_in_group`), which therefore ends before this sleeps,
    /// and between two turns if they do. What fails then is told to whoever uses the store next.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS);
        loop {
            self.look_on(&mut events)?;
            if events.is_empty() {
                let _ = self.door.store.end_group();
                let timeout = self.timeout();
                self.wait(&mut events, timeout.as_ref())?;
            }
            self.on_time();
            let mut all = Vec::with_capacity(events.len());
            for event in &events {
                let data = event.data.u64();
                match listener_index(data, self.listeners.len()) {
                    Some(index) => self.accept(index),
                    None => {
                        all.extend(self.receive(usize::try_from(data).unwrap_or(usize::MAX), event.flags));
                    }
                }
            }
            self.run_commands(all);
            let _ = self.door.store.yield_group();
            self.go_on();
        }
    }

    fn wait(&self, events: &mut Vec<epoll::Event>, timeout: Option<&Timespec>) -> io::Result<()> {
        events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), timeout) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Looks for events for a moment without sleeping, where that has paid lately.
    fn look_on(&mut self, events: &mut Vec<epoll::Event>) -> io::Result<()> {
        events.clear();
        if !self.linger.tries() {
            return Ok(());
        }
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let until = skep_sys::clock::boottime_ns() + LINGER_NS;
        while events.is_empty() && skep_sys::clock::boottime_ns() < until {
            self.wait(events, Some(&now))?;
        }
        self.linger.came_to(!events.is_empty());
        Ok(())
    }

    fn timeout(&self) -> Option<Timespec> {
        let first = self.door.deadlines.first().map(|(deadline, _)| *deadline);
        let until = first.into_iter().chain(self.paused_until_ns).min()?;
        let ns = until.saturating_sub(skep_sys::clock::boottime_ns());
        let seconds = i64::try_from(ns / 1_000_000_000).unwrap_or(i64::MAX);
        Some(Timespec { tv_sec: seconds, tv_nsec: i64::try_from(ns % 1_000_000_000).unwrap_or(0) })
    }

    fn on_time(&mut self) {
        if self.door.deadlines.is_empty() && self.paused_until_ns.is_none() {
            return;
        }
        let now = skep_sys::clock::boottime_ns();
        self.door.give_up_waiting(now);
        if self.paused_until_ns.is_some_and(|until| until <= now) {
            self.paused_until_ns = None;
            for (index, listener) in self.listeners.iter().enumerate() {
                let _ = epoll::modify(&self.epoll, listener, listener_data(index), epoll::EventFlags::IN);
            }
        }
    }

    fn accept(&mut self, index: usize) {
        for _ in 0..ACCEPTS {
            let accepted = match &self.listeners[index] {
                Listener::Unix(listener) => {
                    listener.accept().map(|(stream, _)| (Stream::Unix(stream), "unix".to_owned(), true))
                }
                Listener::Tcp(listener) => listener.accept().map(|(stream, address)| {
                    let _ = stream.set_nodelay(true);
                    (Stream::Tcp(stream), address.to_string(), false)
                }),
            };
            match accepted {
                Ok((stream, address, local)) => self.welcome(stream, address, local),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
                    ) => {}
                Err(_) => {
                    // No descriptors left: look again when some client may have gone.
                    self.paused_until_ns = Some(skep_sys::clock::boottime_ns() + ACCEPT_PAUSE_NS);
                    for (index, listener) in self.listeners.iter().enumerate() {
                        let none = epoll::EventFlags::empty();
                        let _ = epoll::modify(&self.epoll, listener, listener_data(index), none);
                    }
                    return;
                }
            }
        }
    }

    fn welcome(&mut self, mut stream: Stream, address: String, local: bool) {
        if rustix::io::ioctl_fionbio(&stream, true).is_err() {
            return;
        }
        if self.clients >= CLIENTS_MAX {
            self.door.totals.rejected += 1;
            let text = b"-ERR max number of clients reached\r\n";
            let _ = match &mut stream {
                Stream::Unix(stream) => io::Write::write(stream, text),
                Stream::Tcp(stream) => io::Write::write(stream, text),
            };
            return;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.door.row.push(None);
            self.door.row.len() - 1
        });
        if epoll::add(&self.epoll, &stream, epoll::EventData::new_u64(slot as u64), epoll::EventFlags::IN)
            .is_err()
        {
            self.free.push(slot);
            return;
        }
        self.clients += 1;
        self.door.next_id += 1;
        self.door.totals.connections += 1;
        let now = self.door.now().0;
        let client = Client {
            id: self.door.next_id,
            slot,
            address,
            // The socket's file is for its owner alone: who comes by it needs no password.
            known: local || self.door.password.is_none(),
            since_ms: now,
            used_ms: now,
            ..Client::default()
        };
        self.door.row[slot] = Some(Box::new(Connection::new(stream, client)));
    }

    /// Bytes from and for clients. Who has sent commands is among the ones that are left.
    fn receive(&mut self, slot: usize, flags: epoll::EventFlags) -> Option<Box<Connection>> {
        let mut own = self.door.row.get_mut(slot).and_then(Option::take)?;
        let mut flow = Flow::Open;
        let hung_up = flags.intersects(epoll::EventFlags::HUP | epoll::EventFlags::ERR);
        if flags.contains(epoll::EventFlags::OUT) {
            flow = own.send();
        }
        if flow == Flow::Open && (hung_up || flags.contains(epoll::EventFlags::IN)) {
            let waiting = own.request.pending_bytes();
            flow = own.receive(&mut self.room);
            if flow == Flow::Open && own.request.pending_bytes() == waiting && hung_up {
                flow = Flow::Ended;
            }
        }
        if flow == Flow::Ended {
            self.part(own);
            return None;
        }
        Some(own)
    }

    /// The commands of those who have sent some: first together, then each by itself what is left.
    #[expect(clippy::vec_box, reason = "they go back to their places, and are large")]
    fn run_commands(&mut self, mut all: Vec<Box<Connection>>) {
        let now = self.door.now().0;
        for own in &mut all {
            own.client.used_ms = now;
        }
        if all.len() > 1 {
            exec::process_together(&mut self.door, &mut all);
        }
        let slots: Vec<usize> = all.iter().map(|own| own.client.slot).collect();
        for own in all {
            let slot = own.client.slot;
            self.door.row[slot] = Some(own);
        }
        exec::serve_ready(&mut self.door, None);
        for slot in slots {
            let Some(mut own) = self.door.row.get_mut(slot).and_then(Option::take) else { continue };
            exec::process(&mut self.door, &mut own);
            let flow = own.send();
            self.put_back(slot, own, flow);
        }
    }

    /// A connection returns to its place, or ends.
    fn put_back(&mut self, slot: usize, mut own: Box<Connection>, flow: Flow) {
        if flow == Flow::Ended {
            self.part(own);
            return;
        }
        let wishes = own.wishes();
        if wishes != own.watched {
            let mut flags = epoll::EventFlags::empty();
            flags.set(epoll::EventFlags::IN, wishes.0);
            flags.set(epoll::EventFlags::OUT, wishes.1);
            let data = epoll::EventData::new_u64(slot as u64);
            if epoll::modify(&self.epoll, &own.stream, data, flags).is_err() {
                self.part(own);
                return;
            }
            own.watched = wishes;
        }
        // Fetched its answers: what it sent meanwhile goes on.
        if own.stopped && own.client.blocked.is_none() && !own.is_backlogged() {
            self.door.go_on.push(slot);
        }
        self.door.row[slot] = Some(own);
    }

    fn part(&mut self, mut own: Box<Connection>) {
        let slot = own.client.slot;
        if let Some(blocked) = own.client.blocked.take() {
            self.door.wait_no_more(slot, &blocked);
        }
        let client = &own.client;
        for (subject, names) in [
            (Subject::Channel, &client.channels),
            (Subject::Pattern, &client.patterns),
            (Subject::Shard, &client.shards),
        ] {
            for name in names {
                self.door.pubsub.leave(subject, name, slot);
            }
        }
        self.clients -= 1;
        self.free.push(slot);
    }

    /// Clients that others' commands gave something to, or set free.
    fn go_on(&mut self) {
        while let Some(slot) = self.door.go_on.pop() {
            let Some(mut own) = self.door.row.get_mut(slot).and_then(Option::take) else { continue };
            exec::process(&mut self.door, &mut own);
            let flow = own.send();
            self.put_back(slot, own, flow);
        }
        while let Some(slot) = self.door.touched.pop() {
            let Some(mut own) = self.door.row.get_mut(slot).and_then(Option::take) else { continue };
            let flow = own.send();
            self.put_back(slot, own, flow);
        }
    }
}

fn listener_data(index: usize) -> epoll::EventData {
    epoll::EventData::new_u64(u64::MAX - index as u64)
}

fn listener_index(data: u64, count: usize) -> Option<usize> {
    let index = usize::try_from(u64::MAX - data).ok()?;
    (index < count).then_some(index)
}
