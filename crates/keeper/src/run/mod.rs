//! The keeper itself: one thread, one `poll`, one table of children, one safe-box.
//!
//! Every turn: learn which children ended, read some requests, start or end what is due, tell the daemon what it
//! does not know yet. No step waits for anybody; what cannot be done now is due later. Time is read once a turn.

mod backoff;
mod children;
mod daemon;
mod ending;
mod foreign;
mod passing;
mod peer;
mod reap;
mod requests;
mod resume;
mod safe;
mod state;
mod upgrade;

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags, Timespec};
use skep_sys::seccomp::PreparedFilter;
use skep_sys::signal::SignalFd;
use skep_sys::spawn::Limit;
use skep_sys::{clock, process};

use self::children::Children;
use self::daemon::Daemon;
use self::ending::Ending;
use self::peer::{Full, Peer};
pub(crate) use self::resume::{Cause, check, resume};
use self::safe::SafeBox;
pub(crate) use self::upgrade::CHECK_ANSWER;
use self::upgrade::{Probation, Upgrade};
use crate::channel;
use crate::service::ServiceManager;
use crate::wire::Scope;

/// The signals that the keeper passes on to the daemon.
const PASSED_ON: [i32; 5] = [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR2];

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGQUIT: i32 = 3;
const SIGUSR2: i32 = 12;
const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;
const SIGCHLD: i32 = 17;

/// How soon to try again what failed for want of descriptors or memory, in nanoseconds.
const SHORTAGE_RETRY_NS: u64 = 20_000_000;

/// The longest line of the log in bytes, below what a ready pipe takes without blocking.
const LOG_LINE_BYTES_MAX: usize = 3000;

/// What a keeper is started with.
#[derive(Debug)]
pub struct Config {
    /// The home directory; its socket file is removed at the end.
    pub home: PathBuf,
    /// The listener of the control socket, given to each daemon.
    pub control: OwnedFd,
    /// The lock that says "a keeper lives here".
    pub lock: OwnedFd,
    /// Program and arguments of the daemon.
    pub daemon_program: PathBuf,
    /// The daemon's whole argument vector.
    pub daemon_argv: Vec<Vec<u8>>,
}

/// Runs a keeper until its home is shut down.
///
/// # Errors
/// Only what fails before anything was started: a keeper that runs deals with its errors.
pub fn run(config: Config) -> io::Result<()> {
    Keeper::new(config)?.run()
}

/// What a dead keeper's daemon knows that its heir must know.
#[derive(Debug)]
pub(crate) struct Heritage {
    /// That daemon's link: it hands everything over and closes it.
    pub(crate) link: OwnedFd,
    /// The protocol version that it speaks.
    pub(crate) version: u32,
    /// Which daemon of the dead keeper it was.
    pub(crate) generation: u64,
    /// The descriptor limit that children get: soft, hard.
    pub(crate) descriptor_limit: (u64, u64),
}

/// Runs a keeper that goes on for one that died.
pub(crate) fn inherit(config: Config, heritage: Heritage) -> io::Result<()> {
    let mut keeper = Keeper::new(config)?;
    let (soft, hard) = heritage.descriptor_limit;
    keeper.descriptor_limit = Limit { resource: requests::RLIMIT_NOFILE, soft, hard };
    keeper.generation = heritage.generation;
    keeper.peer = Some(Peer::resumed(heritage.link, heritage.version));
    keeper.daemon = Daemon::predecessor(keeper.now_ns);
    log("the keeper before has died; going on in its place");
    keeper.run()
}

pub(crate) struct Keeper {
    config: Config,
    signals: SignalFd,
    null: OwnedFd,
    filter: Option<PreparedFilter>,
    /// The descriptor limit that children get: ours before we raised it.
    descriptor_limit: Limit,
    children: Children,
    safe: SafeBox,
    daemon: Daemon,
    peer: Option<Peer>,
    ending: Ending,
    /// Signals that came and were not yet acted upon by a daemon: (number, when we do it ourselves).
    signalled: Vec<(i32, u64)>,
    generation: u64,
    upgrade: Upgrade,
    probation: Option<Probation>,
    manager: ServiceManager,
    buffer: Box<[u8]>,
    now_ns: u64,
}

/// What woke the keeper.
struct Woken {
    signals: bool,
    link: bool,
    check: bool,
    starting: Vec<u64>,
    /// Foreign processes that have ended.
    gone: Vec<u64>,
}

impl Keeper {
    fn new(config: Config) -> io::Result<Self> {
        process::set_name("skep-keeper");
        // What it has just started wants the processor, too, and the daemon waits to hear of it. No harm where it is refused.
        let _ = skep_sys::sched::ask_for_short_turns();
        process::become_subreaper()?;
        let descriptor_limit = process::raise_descriptor_limit()?;
        let mut signals = PASSED_ON.to_vec();
        signals.push(SIGCHLD);
        let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
        Ok(Keeper {
            config,
            signals: SignalFd::new(&signals)?,
            null: null.into(),
            filter: None,
            descriptor_limit,
            children: Children::default(),
            safe: SafeBox::default(),
            daemon: Daemon::first(),
            peer: None,
            ending: Ending::No,
            signalled: Vec::new(),
            generation: 0,
            upgrade: Upgrade::No,
            probation: None,
            manager: ServiceManager::from_environment(std::process::id()),
            buffer: channel::buffer(),
            now_ns: clock::boottime_ns(),
        })
    }

    fn run(mut self) -> io::Result<()> {
        self.write_pid();
        self.reap_all();
        self.start_daemon_if_due();
        // Code that only the start needed; without /proc it stays, and that is all.
        let _ = skep_sys::code::let_go();
        loop {
            self.start_daemon_if_due();
            self.end_what_is_due();
            self.kill_daemon_if_due();
            self.kill_expired();
            self.judge_probation();
            self.manager.tick(self.now_ns);
            self.talk();
            self.upgrade_if_ready();
            if self.is_finished() {
                self.leave();
                return Ok(());
            }
            let woken = self.wait();
            self.now_ns = clock::boottime_ns();
            if woken.signals {
                self.take_signals();
            }
            for child in woken.starting {
                self.children.check_start(child);
            }
            for child in woken.gone {
                self.foreign_ended(child);
            }
            if woken.check {
                self.upgrade.listen();
            }
            if woken.link {
                self.read_requests();
            }
        }
    }

    fn wait(&self) -> Woken {
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        if let Some(peer) = &self.peer {
            let mut interest = PollFlags::empty();
            interest.set(PollFlags::IN, peer.reads_requests());
            interest.set(PollFlags::OUT, peer.full() == Full::Queue);
            fds.push(PollFd::new(peer, interest));
        }
        let check_at = fds.len();
        fds.extend(self.upgrade.output().map(|output| PollFd::new(output, PollFlags::IN)));
        let starting_at = fds.len();
        let starting: Vec<_> = self.children.starting().collect();
        fds.extend(starting.iter().map(|(_, fd)| PollFd::from_borrowed_fd(*fd, PollFlags::IN)));
        let foreign_at = fds.len();
        let foreign: Vec<_> = self.children.foreign().collect();
        fds.extend(foreign.iter().map(|(_, fd)| PollFd::from_borrowed_fd(*fd, PollFlags::IN)));
        let timeout = self.timeout();
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return self.look_at_everything(error),
        }
        let ready = |index: usize| !fds[index].revents().is_empty();
        let executed = starting.iter().enumerate().filter(|(index, _)| ready(starting_at + index));
        let ended = foreign.iter().enumerate().filter(|(index, _)| ready(foreign_at + index));
        Woken {
            signals: ready(0),
            link: self.peer.is_some() && ready(1),
            check: starting_at > check_at && ready(check_at),
            starting: executed.map(|(_, (id, _))| *id).collect(),
            gone: ended.map(|(_, (id, _))| *id).collect(),
        }
    }

    /// Waiting itself failed (memory is short): go on without it, at a pace that spares the machine.
    fn look_at_everything(&self, error: rustix::io::Errno) -> Woken {
        log(&format!("cannot wait for events: {error}"));
        let nap = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        let _ = rustix::thread::nanosleep(&nap);
        let starting = self.children.starting().map(|(id, _)| id).collect();
        Woken { signals: true, link: true, check: true, starting, gone: Vec::new() }
    }

    /// How long nothing is due; `None`: for ever.
    fn timeout(&self) -> Option<Timespec> {
        let shortage = self.peer.as_ref().is_some_and(|peer| peer.full() == Full::Descriptors);
        let due = [
            self.daemon.due_ns(),
            self.ending.due_ns(),
            self.children.next_expiry_ns(),
            self.upgrade.due_ns(),
            self.probation.as_ref().and_then(Probation::due_ns),
            self.signalled.iter().map(|(_, at_ns)| *at_ns).min(),
            self.manager.due_ns(),
            shortage.then_some(self.now_ns.saturating_add(SHORTAGE_RETRY_NS)),
        ];
        let left = due.into_iter().flatten().min()?.saturating_sub(clock::boottime_ns());
        let (seconds, nanoseconds) = (left / 1_000_000_000, left % 1_000_000_000);
        Some(Timespec {
            tv_sec: i64::try_from(seconds).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(nanoseconds).unwrap_or(0),
        })
    }

    /// What must not live longer does not, though its daemon be stuck.
    fn kill_expired(&mut self) {
        for child in self.children.take_expired(self.now_ns) {
            self.signal(child, SIGKILL, Scope::Tree);
        }
    }

    /// Tells the daemon what it does not know.
    fn talk(&mut self) {
        let Some(peer) = &mut self.peer else { return };
        if peer.pump(&mut self.children, &self.safe).is_err() {
            // It hears nothing more; what it said before counts: a dead keeper's daemon has left all that it had.
            self.carry_out_last_requests();
            self.lose_peer();
        }
    }

    fn take_signals(&mut self) {
        loop {
            let numbers = match self.signals.read() {
                Ok(numbers) => numbers,
                Err(error) => return log(&format!("cannot read signals: {error}")),
            };
            if numbers.is_empty() {
                return;
            }
            for number in numbers {
                if number == SIGCHLD {
                    self.reap_all();
                } else {
                    self.pass_on(number);
                }
            }
        }
    }

    /// For people who look for us ([`crate::home::Home::keeper_pid`]); a full disk does not matter.
    fn write_pid(&self) {
        let text = format!("{}\n", rustix::process::getpid().as_raw_nonzero());
        let _ = rustix::fs::ftruncate(&self.config.lock, 0);
        let _ = rustix::io::pwrite(&self.config.lock, text.as_bytes(), 0);
    }

    /// The last act: nobody must find a socket behind which nobody is.
    fn leave(self) {
        let socket = self.config.home.join(crate::SOCKET_FILE);
        if let Err(error) = std::fs::remove_file(&socket)
            && error.kind() != io::ErrorKind::NotFound
        {
            log(&format!("cannot remove {}: {error}", socket.display()));
        }
    }
}

/// Says something to whoever reads the daemon's log. In the foreground that may be a pipe whose reader is stuck:
/// rather than wait for it, nothing is said. (A pipe that is ready has room for 4 KiB, pipe(7).)
pub(crate) fn log(text: &str) {
    let stderr = io::stderr();
    let mut fds = [PollFd::new(&stderr, PollFlags::OUT)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    if rustix::event::poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0) {
        // A full disk must not stop the keeper.
        let _ = writeln!(&stderr, "skep keeper: {}", text.get(..LOG_LINE_BYTES_MAX).unwrap_or(text));
    }
}
