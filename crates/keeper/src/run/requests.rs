//! Carrying out what the daemon asks.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use skep_sys::seccomp::PreparedFilter;
use skep_sys::signal;
use skep_sys::spawn::{Credentials, Failure, Limit, Order, Stage};

use super::children::{self, Child, State, Told};
use super::safe::Stored;
use super::{Keeper, foreign, log};
use crate::channel::{self, Incoming, Packet};
use crate::fault;
use crate::wire::{FdSource, Malformed, NOTE_BYTES_MAX, Reply, Request, Scope, Spawn, agreed};

/// How many requests are carried out before looking at everything else again: a storm of spawns (some 0.3 ms each)
/// must not delay the news of an exit by more than some milliseconds.
const REQUESTS_PER_TURN: usize = 32;

/// `RLIMIT_NOFILE` on every architecture we run on.
pub(crate) const RLIMIT_NOFILE: u32 = 7;

impl Keeper {
    /// Carries out some requests; whether there may be more.
    pub(crate) fn read_requests(&mut self) -> bool {
        for _ in 0..REQUESTS_PER_TURN {
            let Some(peer) = &self.peer else { return false };
            if !peer.reads_requests() {
                return false;
            }
            match channel::receive(peer, &mut self.buffer) {
                Ok(Incoming::Packet(packet)) => self.carry_out(packet),
                Ok(Incoming::Nothing) => return false,
                Ok(Incoming::Closed) => {
                    self.lose_peer();
                    return false;
                }
                Err(error) => {
                    log(&format!("the daemon's request is lost: {error}"));
                    self.answer(Reply::Unknown { kind: 0, reason: error.to_string().into_bytes() });
                }
            }
        }
        true
    }

    fn carry_out(&mut self, packet: Packet) {
        match Request::decode(packet.kind, &packet.payload) {
            Ok(request) => self.request(request, packet.fds, packet.fds_lost),
            Err(error) => self.malformed(packet.kind, error),
        }
        fault::point("keeper", "after-request");
    }

    fn malformed(&mut self, kind: u16, error: Malformed) {
        self.answer(Reply::Unknown { kind, reason: error.to_string().into_bytes() });
    }

    fn answer(&mut self, reply: Reply) {
        self.answer_with(reply, None);
    }

    pub(super) fn answer_with(&mut self, reply: Reply, fd: Option<OwnedFd>) {
        if let Some(peer) = &mut self.peer {
            peer.answer_with(reply, fd);
        }
    }

    fn request(&mut self, request: Request, fds: Vec<OwnedFd>, fds_lost: bool) {
        match request {
            Request::Hello { version, oldest } => self.hello(version, oldest),
            Request::Spawn(spawn) => self.spawn(*spawn, fds, fds_lost),
            Request::Adopt(adopt) => self.adopt(*adopt, fds.into_iter().next()),
            Request::Signal { child, signal, scope } => self.signal(child, signal, scope),
            Request::Expire { child, at_ns } => self.children.expire(child, at_ns),
            Request::Forget { child } => self.children.forget(child),
            Request::Store { key, note } => self.store(key, note, fds, fds_lost),
            Request::Drop { key } => self.safe.remove(&key),
            Request::Pass(pass) => self.pass(*pass, fds, fds_lost),
            Request::Shutdown => self.shutdown(),
            Request::Handled { signal } => self.handled(signal),
            Request::Upgrade { path } => self.upgrade(path),
        }
    }

    fn hello(&mut self, version: u32, oldest: u32) {
        let version = agreed(version, oldest).unwrap_or(0);
        let welcome = Reply::Welcome {
            version,
            keeper: rustix::process::getpid().as_raw_nonzero().get(),
            generation: self.generation,
            build: crate::BUILD.as_bytes().to_vec(),
            descriptor_limit: (self.descriptor_limit.soft, self.descriptor_limit.hard),
        };
        let Some(peer) = &mut self.peer else { return };
        if version == 0 {
            return peer.answer(welcome);
        }
        peer.greet(welcome, version);
        for (signal, _) in &self.signalled {
            peer.answer(Reply::Signal { signal: *signal });
        }
        self.daemon_greeted();
    }

    fn spawn(&mut self, spawn: Spawn, attached: Vec<OwnedFd>, fds_lost: bool) {
        if self.children.contains(spawn.child) {
            return self.children.tell_again(spawn.child);
        }
        if self.children.is_full() || spawn.note.len() > NOTE_BYTES_MAX {
            let errno = if self.children.is_full() { Errno::AGAIN } else { Errno::TOOBIG };
            let (child, errno) = (spawn.child, errno.raw_os_error());
            return self.answer(Reply::SpawnFailed { child, stage: Stage::Prepare, errno });
        }
        let (id, note) = (spawn.child, spawn.note.clone());
        let entry =
            if fds_lost { Err(children::unprepared(Errno::MFILE)) } else { self.start(spawn, &attached) };
        fault::point("keeper", "after-fork");
        self.children.insert(id, entry.unwrap_or_else(|failure| children::failed(note, failure)));
        fault::point("keeper", "after-spawn");
    }

    fn start(&mut self, spawn: Spawn, attached: &[OwnedFd]) -> Result<Child, Failure> {
        if spawn.bind_share && self.filter.is_none() {
            let filter = PreparedFilter::new();
            let unsupported = Failure { stage: Stage::Filter, errno: Errno::NOSYS.raw_os_error() };
            self.filter = Some(filter.map_err(|_| unsupported)?);
        }
        let fds = self.descriptors(&spawn, attached)?;
        let limits = self.limits(&spawn);
        let credentials = spawn.credentials.as_ref().map(|wanted| Credentials {
            uid: wanted.uid,
            gid: wanted.gid,
            groups: &wanted.groups,
        });
        let order = Order {
            program: None,
            argv: &spawn.argv,
            env: &spawn.env,
            cwd: Some(if spawn.cwd.is_empty() { b"/" } else { &spawn.cwd }),
            credentials,
            umask: spawn.umask,
            limits: &limits,
            nice: spawn.nice,
            no_new_privileges: spawn.no_new_privileges,
            filter: self.filter.as_ref().filter(|_| spawn.bind_share),
            fds: &fds,
        };
        let started = skep_sys::spawn::spawn(&order)?;
        let pid = started.pid;
        let start_time = skep_sys::proc::stat(pid).map_or(0, |stat| stat.start_time);
        Ok(Child {
            note: spawn.note,
            kill_tree: spawn.kill_tree,
            stop: spawn.stop,
            notify: None,
            state: State::Starting { pid, start_time, outcome: started.outcome },
            foreign: None,
            told: Told::Nothing,
            forgotten: false,
        })
    }

    fn descriptors<'a>(
        &'a self,
        spawn: &Spawn,
        attached: &'a [OwnedFd],
    ) -> Result<Vec<(i32, BorrowedFd<'a>)>, Failure> {
        let mut attached = attached.iter();
        let mut place = |(target, source): &(i32, FdSource)| {
            let fd = match source {
                FdSource::Attached => attached.next().map(AsFd::as_fd),
                FdSource::Null => Some(self.null.as_fd()),
                FdSource::Stored { key, index } => {
                    let stored = self.safe.get(key);
                    let index = usize::try_from(*index).unwrap_or(usize::MAX);
                    stored.and_then(|stored| stored.fds.get(index)).map(AsFd::as_fd)
                }
            };
            fd.map(|fd| (*target, fd)).ok_or(children::unprepared(Errno::BADF))
        };
        spawn.fds.iter().map(&mut place).collect()
    }

    /// Those ordered, and the descriptor limit that we were started with unless another one is ordered.
    fn limits(&self, spawn: &Spawn) -> Vec<Limit> {
        let mut limits: Vec<_> = spawn
            .limits
            .iter()
            .map(|limit| Limit { resource: limit.resource, soft: limit.soft, hard: limit.hard })
            .collect();
        if !limits.iter().any(|limit| limit.resource == RLIMIT_NOFILE) {
            limits.push(self.descriptor_limit);
        }
        limits
    }

    pub(crate) fn signal(&mut self, id: u64, number: i32, scope: Scope) {
        // A zombie is fine too: its number is its own until we reap it.
        let Some(child) = self.children.get(id) else { return };
        let Some(pid) = child.living_pid() else { return };
        let sent = match (scope, &child.foreign) {
            (_, Some(handle)) => foreign::signal(pid, handle, number, scope),
            (Scope::Process, None) => signal::send(pid, number),
            // A child that was forked this instant has not made its group yet.
            (Scope::Group, None) => signal::send_to_group(pid, number).or_else(|_| signal::send(pid, number)),
            (Scope::Tree, None) => {
                skep_sys::proc::kill_descendants(pid, number);
                Ok(())
            }
        };
        match sent {
            Err(error) if error.raw_os_error() != Some(Errno::SRCH.raw_os_error()) => {
                let errno = error.raw_os_error().unwrap_or(0);
                self.answer(Reply::SignalFailed { child: id, errno });
            }
            Ok(()) | Err(_) => {}
        }
    }

    fn store(&mut self, key: Vec<u8>, note: Vec<u8>, fds: Vec<OwnedFd>, fds_lost: bool) {
        let stored =
            if fds_lost { Err(Errno::MFILE) } else { self.safe.store(key.clone(), Stored { note, fds }) };
        if let Err(errno) = stored {
            self.answer(Reply::StoreFailed { key, errno: errno.raw_os_error() });
        }
    }
}
