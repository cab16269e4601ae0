//! A keeper under test. The daemons that it starts hand their link over to the test, which plays their part; the
//! processes themselves only wait to be ended.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, Timespec};
use skep_keeper::home::Home;
use skep_keeper::wire::{ChildState, Reply, Request, Spawn};
use skep_keeper::{DAEMON_LINK_FD, Delivery, Link};
use skep_sys::fdpass::{self, Receive};
use skep_sys::pidfd::PidFd;
use skep_sys::spawn::{Limit, Order, spawn};
use skep_sys::wait::{ExitStatus, reap_blocking};
use skep_sys::{process, unix};

/// Nothing here takes longer; a test that waits for this long has failed.
const PATIENCE_S: i64 = 30;

/// A copy of this binary with this name has a daemon that cannot start.
pub(crate) const BROKEN_DAEMON: &str = "broken-daemon";

const RIG_VARIABLE: &str = "SKEP_RIG";

pub(crate) struct Rig {
    pub(crate) home: Home,
    pub(crate) keeper: i32,
    rig: OwnedFd,
    _directory: tempfile::TempDir,
}

/// A daemon whose part the test plays.
pub(crate) struct Daemon {
    pub(crate) link: Link,
    pub(crate) pid: i32,
    conversation: OwnedFd,
}

#[derive(Default, Debug)]
pub(crate) struct Inventory {
    pub(crate) generation: u64,
    pub(crate) children: BTreeMap<u64, (Vec<u8>, ChildState, Vec<OwnedFd>)>,
    pub(crate) stored: BTreeMap<Vec<u8>, (Vec<u8>, Vec<OwnedFd>)>,
}

impl Rig {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(variables: &[&str]) -> Self {
        Self::start_limited(variables, &[])
    }

    pub(crate) fn start_limited(variables: &[&str], limits: &[Limit]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::at(directory.path().join("home"));
        let rig_path = directory.path().join("rig.sock");
        let rig = unix::listen(&rig_path, 64).unwrap();
        let claim = home.claim().unwrap().unwrap();
        let mut env = environment();
        env.push([RIG_VARIABLE.as_bytes(), b"=", rig_path.as_os_str().as_bytes()].concat());
        env.extend(variables.iter().map(|variable| variable.as_bytes().to_vec()));
        let argv = ["skep", skep_keeper::KEEPER_VERB, "--home"].map(|word| word.as_bytes().to_vec());
        let argv = [&argv[..], &[home.path().as_os_str().as_bytes().to_vec()]].concat();
        let null = std::fs::File::open("/dev/null").unwrap();
        let log = std::fs::File::options().create(true).append(true).open(home.log()).unwrap();
        let fds = [
            (0, null.as_fd()),
            (1, log.as_fd()),
            (2, log.as_fd()),
            (skep_keeper::KEEPER_CONTROL_FD, claim.control.as_fd()),
            (skep_keeper::KEEPER_LOCK_FD, claim.lock.as_fd()),
        ];
        let program = Some(b"/proc/self/exe".as_slice());
        let order = Order { program, argv: &argv, env: &env, fds: &fds, limits, ..Order::default() };
        let started = spawn(&order).unwrap();
        started.outcome.wait().unwrap();
        Rig { home, keeper: started.pid, rig, _directory: directory }
    }

    /// The next daemon that the keeper starts.
    pub(crate) fn daemon(&self) -> Daemon {
        wait_for(self.rig.as_fd(), PollFlags::IN);
        let conversation = rustix::net::accept(&self.rig).unwrap();
        process::set_inheritable(&conversation, false).unwrap();
        wait_for(conversation.as_fd(), PollFlags::IN);
        let mut received = fdpass::receive(&conversation, &mut [0; 8], Receive::Take).unwrap();
        let link = Link::new(received.descriptors.remove(0));
        let pid = unix::peer(&conversation).unwrap().pid;
        Daemon { link, pid, conversation }
    }

    /// A daemon that has said hello and got an empty inventory.
    pub(crate) fn fresh_daemon(&self) -> Daemon {
        let mut daemon = self.daemon();
        let inventory = daemon.hello();
        assert!(inventory.children.is_empty() && inventory.stored.is_empty(), "{inventory:?}");
        daemon
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.home.log()).unwrap()
    }

    /// Waits for the keeper's own end.
    pub(crate) fn keeper_exit(mut self) -> ExitStatus {
        let keeper = std::mem::replace(&mut self.keeper, 0);
        wait_for_end(keeper);
        let status = reap_blocking(keeper).unwrap();
        assert!(!self.home.socket().exists(), "the socket is removed");
        status
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if self.keeper != 0 {
            skep_sys::proc::kill_descendants(self.keeper, 9);
            let _ = reap_blocking(self.keeper);
            if std::thread::panicking() {
                eprintln!("the keeper's log:\n{}", self.log());
            }
        }
    }
}

impl Daemon {
    pub(crate) fn send(&mut self, request: &Request) {
        self.send_with(request, &[]);
    }

    pub(crate) fn send_with(&mut self, request: &Request, fds: &[BorrowedFd<'_>]) {
        self.link.send(request, fds).unwrap();
        self.flush();
    }

    fn flush(&mut self) {
        while self.link.wants_write() {
            wait_for(self.link.as_fd(), PollFlags::OUT);
            self.link.flush().unwrap();
        }
    }

    pub(crate) fn spawn(&mut self, spawn: Spawn) {
        self.send(&Request::Spawn(Box::new(spawn)));
    }

    /// Starts `/bin/sh -c script` and waits until it was executed; returns the pid.
    pub(crate) fn shell(&mut self, child: u64, script: &str) -> i32 {
        self.spawn(shell(child, script));
        self.spawned(child)
    }

    pub(crate) fn spawned(&mut self, expected: u64) -> i32 {
        match self.reply() {
            Reply::Spawned { child, pid, start_time } if child == expected => {
                assert!(start_time > 0);
                pid
            }
            other => panic!("expected the start of {expected}, got {other:?}"),
        }
    }

    pub(crate) fn exited(&mut self, expected: u64) -> ExitStatus {
        match self.reply() {
            Reply::Exited { child, status } if child == expected => status,
            other => panic!("expected the end of {expected}, got {other:?}"),
        }
    }

    pub(crate) fn reply(&mut self) -> Reply {
        self.delivery().reply
    }

    pub(crate) fn delivery(&mut self) -> Delivery {
        loop {
            if let Some(delivery) = self.link.receive().unwrap() {
                return delivery;
            }
            wait_for(self.link.as_fd(), PollFlags::IN);
        }
    }

    pub(crate) fn hello(&mut self) -> Inventory {
        self.send(&Request::hello());
        let mut inventory = Inventory::default();
        loop {
            let Delivery { reply, fds, .. } = self.delivery();
            match reply {
                Reply::Welcome { version, generation, .. } => {
                    assert_eq!(version, skep_keeper::wire::VERSION);
                    inventory.generation = generation;
                }
                Reply::Child { child, note, state } => {
                    inventory.children.insert(child, (note, state, fds));
                }
                Reply::Stored { key, note } => {
                    inventory.stored.insert(key, (note, fds));
                }
                Reply::InventoryEnd => return inventory,
                other => panic!("in an inventory: {other:?}"),
            }
        }
    }

    /// All requests so far have been carried out when this returns: an unknown child's order is answered in turn.
    pub(crate) fn barrier(&mut self) {
        let probe = Spawn { note: vec![0; skep_keeper::wire::NOTE_BYTES_MAX + 1], ..shell(u64::MAX, "") };
        self.spawn(probe);
        let reply = self.reply();
        assert!(matches!(reply, Reply::SpawnFailed { child: u64::MAX, .. }), "{reply:?}");
    }

    /// Ends the daemon process as if it crashed.
    pub(crate) fn kill(self) {
        PidFd::open(self.pid).unwrap().signal(9).unwrap();
    }

    /// Ends the daemon process by itself with this code.
    pub(crate) fn leave(self, code: u8) {
        fdpass::send(&self.conversation, &[code], &[]).unwrap();
    }
}

/// `/bin/sh -c script`, everything else at its default.
pub(crate) fn shell(child: u64, script: &str) -> Spawn {
    let argv = ["/bin/sh", "-c", script].map(|word| word.as_bytes().to_vec()).to_vec();
    let env = vec![b"PATH=/usr/bin:/bin".to_vec()];
    Spawn { env, ..Spawn::new(child, argv) }
}

/// The daemon process: gives its link away and waits for its exit code.
pub(crate) fn play_daemon() -> ExitCode {
    if std::env::current_exe().unwrap().ends_with(BROKEN_DAEMON) {
        return ExitCode::FAILURE;
    }
    let rig = std::env::var_os(RIG_VARIABLE).unwrap();
    let conversation = unix::connect(Path::new(&rig)).unwrap();
    let link = process::inherited_descriptor(DAEMON_LINK_FD).unwrap();
    fdpass::send(&conversation, b"link", &[link.as_fd()]).unwrap();
    // Until it gets an order, or the keeper is gone.
    let mut fds =
        [PollFd::new(&conversation, PollFlags::IN), PollFd::from_borrowed_fd(link.as_fd(), PollFlags::RDHUP)];
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, None)).unwrap();
    if fds[0].revents().is_empty() {
        return ExitCode::FAILURE;
    }
    let mut code = [0];
    let read = std::fs::File::from(conversation).read(&mut code).unwrap_or(0);
    ExitCode::from(if read == 1 { code[0] } else { 0 })
}

pub(crate) fn environment() -> Vec<Vec<u8>> {
    let entry = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        [name.into_vec(), b"=".to_vec(), value.into_vec()].concat()
    };
    std::env::vars_os().map(entry).collect()
}

pub(crate) fn wait_for(fd: BorrowedFd<'_>, what: PollFlags) {
    let mut fds = [PollFd::from_borrowed_fd(fd, what)];
    let patience = Timespec { tv_sec: PATIENCE_S, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut fds, Some(&patience)).unwrap(), 1, "nothing happened");
}

/// Waits until the process has ended (it may still be a zombie).
pub(crate) fn wait_for_end(pid: i32) {
    match PidFd::open(pid) {
        Ok(handle) => wait_for(handle.as_fd(), PollFlags::IN),
        Err(error) => assert_eq!(error.raw_os_error(), Some(3), "{error}"),
    }
}

/// Reads from a pipe until the writer has closed it.
pub(crate) fn read_line(fd: &OwnedFd) -> String {
    let mut line = Vec::new();
    loop {
        wait_for(fd.as_fd(), PollFlags::IN);
        let mut byte = [0];
        match rustix::io::read(fd, &mut byte).unwrap() {
            0 => break,
            _ if byte[0] == b'\n' => break,
            _ => line.push(byte[0]),
        }
    }
    String::from_utf8(line).unwrap()
}
