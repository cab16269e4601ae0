//! The Redis door: the daemon keeps its listening socket and starts its process (`skep __door`) when somebody first
//! connects. The process holds no state that the store does not hold: it may end at any time, and the next connection
//! starts another.
//!
//! The socket is made with the first worker that may use it, and lies in the keeper's safe-box from then on, so that a
//! client that connects while the daemon is away waits a moment instead of failing.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use skep_keeper::wire::{ChildState, FdSource, Request, Scope, Spawn, Stop};
use skep_sys::wait::ExitStatus;
use tokio::io::Interest;
use tokio::sync::Notify;

use crate::door_port::{DoorPort, ENV_PASSWORD};
use crate::driver::{Driver, Shared};

/// The socket's file in the home.
const SOCKET_FILE: &str = "redis.sock";
/// The socket's key in the keeper's safe-box.
pub(crate) const DOOR_KEY: &[u8] = b"door";
/// The note of its process in the keeper's inventory.
const NOTE: &[u8] = b"door";
/// The hidden verb, and the descriptors that it finds the sockets at (as in `skep`'s `hidden.rs`).
const VERB: &[u8] = b"__door";
const LISTENER_FD: i32 = 3;
const PORT_FD: i32 = 4;
/// Numbers of its processes begin here, above every worker's; the rest is the time of the start, so that none comes
/// twice.
const CHILDREN: u64 = 1 << 63;
/// Tells a worker where the door is: for clients that take a URL, and for those that take a path.
const ENV_URL: &str = "SKEP_REDIS_URL";
const ENV_PATH: &str = "SKEP_REDIS_PATH";
/// A process that ended is followed by another after this at the earliest: one that cannot live must not keep the
/// machine busy.
const PAUSE: Duration = Duration::from_millis(500);
/// It has nothing to finish.
const STOP: Stop = Stop { signal: 15, grace_ms: 1_000 };

/// The door as the daemon knows it.
#[derive(Debug, Default)]
pub(crate) struct Door {
    listener: Option<Rc<OwnedFd>>,
    /// Where it listens on TCP, if it was asked to.
    pub(crate) port: Option<DoorPort>,
    /// Its process, by its number.
    running: Option<u64>,
    /// Why there is no socket, told once.
    refusal: Option<String>,
    ended: Rc<Notify>,
}

/// Whether a child's number is one of the door's.
pub(crate) fn is_door(child: u64) -> bool {
    child >= CHILDREN
}

fn socket_path(home: &Path) -> PathBuf {
    home.join(SOCKET_FILE)
}

fn listen(path: &Path) -> io::Result<OwnedFd> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // The home is 0700: nobody else can come by between these two lines.
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener.into())
}

impl Driver {
    /// Tells a worker that has the shared state where its door is.
    pub(crate) fn tell_door(&mut self, env: &mut BTreeMap<String, String>) {
        self.open_door();
        env.remove(ENV_URL);
        env.remove(ENV_PATH);
        if self.door.listener.is_some() {
            let path = socket_path(&self.site.home).display().to_string();
            env.insert(ENV_URL.to_owned(), format!("unix://{path}"));
            env.insert(ENV_PATH.to_owned(), path);
        }
    }

    /// Makes the socket, if it is not there.
    pub(crate) fn open_door(&mut self) {
        if self.door.listener.is_some() {
            return;
        }
        match listen(&socket_path(&self.site.home)) {
            Ok(listener) => {
                self.adopt_door(listener);
                self.keep_door();
            }
            Err(error) => {
                // A path is at most 107 bytes long (unix(7)); a home may be longer.
                let reason =
                    format!("the shared state has no Redis socket in {}: {error}", self.site.home.display());
                if self.door.refusal.as_ref() != Some(&reason) {
                    crate::diary::note(format_args!("{reason}"));
                    self.tell(skep_api::EventKind::Other, None, reason.clone());
                }
                self.door.refusal = Some(reason);
            }
        }
    }

    fn adopt_door(&mut self, listener: OwnedFd) {
        let listener = Rc::new(listener);
        self.door.listener = Some(Rc::clone(&listener));
        self.attend_door(listener, Rc::default());
    }

    /// Has the process started when somebody connects there, until `closed`.
    pub(crate) fn attend_door(&self, listener: Rc<OwnedFd>, closed: Rc<Notify>) {
        if let Some(driver) = self.me.upgrade() {
            let ended = Rc::clone(&self.door.ended);
            tokio::task::spawn_local(async move {
                tokio::select! {
                    () = closed.notified() => {}
                    () = attend(driver, listener, ended) => {}
                }
            });
        }
    }

    /// Ends its process; the next connection starts another.
    pub(crate) fn end_door(&mut self) {
        if let Some(child) = self.door.running {
            self.ask(&Request::Signal { child, signal: STOP.signal, scope: Scope::Process });
        }
    }

    /// Gives the keeper the listening socket.
    pub(crate) fn keep_door(&mut self) {
        let Some(listener) = self.door.listener.clone() else { return };
        self.ask_with(&Request::Store { key: DOOR_KEY.to_vec(), note: Vec::new() }, &[listener.as_fd()]);
    }

    /// After a start of the daemon: the socket and its process, if the keeper has them.
    pub(crate) fn take_back_door(&mut self, listener: Option<OwnedFd>, children: &[crate::keeper::Child]) {
        for child in children.iter().filter(|child| is_door(child.child)) {
            match child.state {
                ChildState::Starting | ChildState::Running { .. } => self.door.running = Some(child.child),
                ChildState::Exited { .. } | ChildState::Failed { .. } => {
                    self.ask(&Request::Forget { child: child.child });
                }
            }
        }
        if let Some(listener) = listener {
            self.adopt_door(listener);
        }
    }

    /// Somebody has connected and nobody accepts.
    fn start_door(&mut self) {
        // The store may be refused by now: then clients are let go, which tells them so.
        let Ok(supervisor) = self.open_shared_state() else { return };
        let listeners: Vec<(i32, Rc<OwnedFd>)> = [
            self.door.listener.clone().map(|listener| (LISTENER_FD, listener)),
            self.door.port.as_ref().map(|port| (PORT_FD, Rc::clone(&port.listener))),
        ]
        .into_iter()
        .flatten()
        .collect();
        let store = supervisor.dir().as_os_str().as_encoded_bytes().to_vec();
        let child = CHILDREN | skep_sys::clock::wall_ns() >> 1;
        let program = self.site.skep.as_os_str().as_encoded_bytes().to_vec();
        let mut request = Spawn::new(child, vec![program, VERB.to_vec(), store]);
        request.note = NOTE.to_vec();
        request.stop = STOP;
        request.fds = vec![(0, FdSource::Null), (1, FdSource::Null), (2, FdSource::Null)];
        request.fds.extend(listeners.iter().map(|(number, _)| (*number, FdSource::Attached)));
        if let Some(port) = &self.door.port {
            request.env = vec![format!("{ENV_PASSWORD}={}", port.password).into_bytes()];
        }
        self.door.running = Some(child);
        let attached: Vec<BorrowedFd<'_>> = listeners.iter().map(|(_, listener)| listener.as_fd()).collect();
        self.ask_with(&Request::Spawn(Box::new(request)), &attached);
    }

    /// The door's process has ended, or could not be started.
    pub(crate) fn door_ended(&mut self, child: u64, how: &str, status: Option<ExitStatus>) {
        self.ask(&Request::Forget { child });
        if self.door.running != Some(child) {
            return;
        }
        self.door.running = None;
        if !self.ending {
            let status = status.map_or_else(String::new, |status| format!(": {status:?}"));
            crate::diary::note(format_args!("the Redis door {how}{status}"));
        }
        // What its transactions pinned in the store is free again.
        self.release_shared_state_of_door();
        // Whoever waits looks at the state first, and does not yield between that and waiting.
        self.door.ended.notify_waiters();
    }
}

/// Starts the process at a connection, waits for its end, and so on.
async fn attend(driver: Shared, listener: Rc<OwnedFd>, ended: Rc<Notify>) {
    let socket = match listener.try_clone().and_then(|fd| crate::watch::watch(fd, Interest::READABLE)) {
        Ok(socket) => socket,
        Err(error) => {
            crate::diary::note(format_args!("the Redis socket cannot be waited for: {error}"));
            return;
        }
    };
    loop {
        let runs = driver.borrow().door.running.is_some();
        if runs {
            ended.notified().await;
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        let Ok(mut guard) = socket.readable().await else { return };
        // While a process runs the socket becomes readable again and again: only the state now counts.
        guard.clear_ready();
        if !has_connection(&listener) {
            continue;
        }
        if driver.borrow().ending {
            return;
        }
        driver.borrow_mut().start_door();
        if driver.borrow().door.running.is_none() {
            tokio::time::sleep(PAUSE).await;
            refuse(&listener);
        }
    }
}

fn has_connection(listener: &OwnedFd) -> bool {
    let mut fds = [rustix::event::PollFd::new(listener, rustix::event::PollFlags::IN)];
    let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut fds, Some(&now)).is_ok_and(|count| count > 0)
}

/// Lets everybody go who has connected: there is nothing to serve.
fn refuse(listener: &OwnedFd) {
    while rustix::net::accept(listener).is_ok() {}
}
