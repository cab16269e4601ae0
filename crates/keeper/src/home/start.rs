//! Reaching the daemon, and starting keeper and daemon when there are none.
//!
//! Whoever holds the lock may bind the socket; the keeper keeps the lock for its life. So of two commands at once
//! one starts the keeper and the other waits until the socket is there. The listener is made before the keeper is
//! started: a command can connect at once, and its request waits in the kernel's queue until the daemon accepts.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;

use rustix::event::Timespec;
use skep_sys::lock::FileLock;
use skep_sys::spawn::{Order, spawn};
use skep_sys::{clock, unix};

use super::check::failed;
use super::{Home, HomeError};
use crate::run::Config;
use crate::{DAEMON_VERB, KEEPER_CONTROL_FD, KEEPER_LINK_FD, KEEPER_LOCK_FD, KEEPER_VERB, service};

/// Who types the first command of a home gives its environment to processes that live for months; this is none of their
/// business (`skep serve` keeps its hash only).
const PASSWORD: &str = "PM2_SERVE_BASIC_AUTH_PASSWORD";

/// How many connections may wait for a daemon that is being restarted. The kernel cuts it to `somaxconn` (4096).
const BACKLOG: i32 = 1024;

/// How long a command waits for another one that is starting the keeper, in nanoseconds. That takes milliseconds;
/// this is for machines that swap.
const START_WAIT_NS_MAX: u64 = 10_000_000_000;

/// How often the waiting command looks again: a lock that is released wakes nobody, nor does `listen`.
const LOOK_AGAIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 2_000_000 };

/// The program that we are, even if its file was replaced since.
pub(crate) const OURSELVES: &str = "/proc/self/exe";

/// The right to be the keeper of a home: the lock and the listening socket.
#[derive(Debug)]
pub struct Claim {
    /// The control socket's listener.
    pub control: OwnedFd,
    /// The held lock.
    pub lock: OwnedFd,
}

/// What a keeper must know that goes on for one that died.
#[derive(Debug, Clone, Copy)]
pub struct Heir {
    /// The generation of the daemon that hands over.
    pub generation: u64,
    /// The limit on open files that workers get, soft and hard: as the dead keeper told it.
    pub descriptor_limit: (u64, u64),
}

impl Home {
    /// Connects to the daemon, or `None` when no keeper runs here.
    ///
    /// # Errors
    /// An unsafe home, a listener that is not ours, or whatever `connect` says.
    pub fn connect(&self) -> Result<Option<UnixStream>, HomeError> {
        match self.check() {
            Err(HomeError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            other => other?,
        }
        let path = self.socket();
        let socket = match unix::connect(&path) {
            Ok(socket) => socket,
            Err(error) => {
                return match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
                    _ => Err(failed("connect to", &path, error)),
                };
            }
        };
        let us = rustix::process::geteuid().as_raw();
        let peer = unix::peer(&socket).map_err(|source| failed("connect to", &path, source))?;
        if peer.uid != us {
            return Err(HomeError::ForeignListener { path, owner: peer.uid, us });
        }
        Ok(Some(UnixStream::from(socket)))
    }

    /// Connects to the daemon; starts keeper and daemon first when none runs here. When another command is starting
    /// them, waits for it.
    ///
    /// # Errors
    /// A [`HomeError`] that says what to do.
    pub fn connect_or_start(&self) -> Result<UnixStream, HomeError> {
        if let Some(stream) = self.connect()? {
            return Ok(stream);
        }
        self.prepare()?;
        let give_up_ns = clock::boottime_ns().saturating_add(START_WAIT_NS_MAX);
        loop {
            if let Some(claim) = self.claim()? {
                self.start(&claim)?;
            }
            if let Some(stream) = self.connect()? {
                return Ok(stream);
            }
            if clock::boottime_ns() > give_up_ns {
                return Err(HomeError::Unreachable { lock: self.lock(), pid: self.keeper_pid() });
            }
            wait_a_moment();
        }
    }

    /// Claims the home for a keeper: takes the lock, removes a socket that a dead keeper left behind, and listens.
    /// `None`: somebody else has it.
    ///
    /// # Errors
    /// A [`HomeError`] that says what to do.
    pub fn claim(&self) -> Result<Option<Claim>, HomeError> {
        self.prepare()?;
        let lock = self.lock();
        let Some(lock) = FileLock::try_take(&lock).map_err(|source| failed("open", &lock, source))? else {
            return Ok(None);
        };
        let socket = self.socket();
        match std::fs::remove_file(&socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove the stale", &socket, error));
            }
            Ok(()) | Err(_) => {}
        }
        let control =
            unix::listen(&socket, BACKLOG).map_err(|source| failed("listen on", &socket, source))?;
        Ok(Some(Claim { control, lock: lock.into() }))
    }

    /// Starts the keeper in a session of its own, with this program.
    fn start(&self, claim: &Claim) -> Result<(), HomeError> {
        self.start_with(claim.control.as_fd(), claim.lock.as_fd(), &[], None)
    }

    /// Starts another keeper in place of one that has died, by that one's daemon, which holds the control socket.
    /// Everything is handed over by the link that is returned; the new keeper starts its own daemon when that is closed.
    /// `None`: the home has a keeper already.
    ///
    /// # Errors
    /// A [`HomeError`].
    pub fn succeed(&self, control: BorrowedFd<'_>, heir: &Heir) -> Result<Option<OwnedFd>, HomeError> {
        let lock = self.lock();
        let Some(held) = FileLock::try_take(&lock).map_err(|source| failed("open", &lock, source))? else {
            return Ok(None);
        };
        let (ours, theirs) = unix::pair(unix::Kind::Message)
            .map_err(|source| failed("make a link for", self.path(), source))?;
        let (soft, hard) = heir.descriptor_limit;
        let (version, _) = crate::wire::speaks();
        let numbers = [heir.generation, u64::from(version), soft, hard].map(|number| number.to_string());
        let more: Vec<OsString> =
            std::iter::once("--heir".into()).chain(numbers.map(OsString::from)).collect();
        self.start_with(control, held.as_fd(), &more, Some(theirs.as_fd()))?;
        Ok(Some(ours))
    }

    fn start_with(
        &self,
        control: BorrowedFd<'_>,
        lock: BorrowedFd<'_>,
        more: &[OsString],
        link: Option<BorrowedFd<'_>>,
    ) -> Result<(), HomeError> {
        let null = OpenOptions::new().read(true).write(true).open("/dev/null");
        let null: OwnedFd = null.map_err(|source| failed("open", "/dev/null".as_ref(), source))?.into();
        // A disk so full that not even an empty file can be made is no reason not to start.
        let log = OpenOptions::new().append(true).create(true).mode(0o600).open(self.log());
        let log: Option<OwnedFd> = log.ok().map(Into::into);
        let log = log.as_ref().unwrap_or(&null).as_fd();
        let argv = [OsString::from("skep"), KEEPER_VERB.into(), "--home".into(), self.path().into()];
        let argv: Vec<_> = argv.into_iter().chain(more.iter().cloned()).map(OsString::into_vec).collect();
        let entry = |(name, value): (OsString, OsString)| [name.as_bytes(), b"=", value.as_bytes()].concat();
        // A detached keeper is no service manager's main process.
        let is_ours = |name: &OsString| !service::is_private(name) && name != PASSWORD;
        let env: Vec<_> = std::env::vars_os().filter(|(name, _)| is_ours(name)).map(entry).collect();
        let mut fds: Vec<(i32, BorrowedFd<'_>)> =
            vec![(0, null.as_fd()), (1, log), (2, log), (KEEPER_CONTROL_FD, control), (KEEPER_LOCK_FD, lock)];
        fds.extend(link.map(|link| (KEEPER_LINK_FD, link)));
        let order = Order {
            program: Some(OURSELVES.as_bytes()),
            argv: &argv,
            env: &env,
            cwd: Some(b"/"),
            fds: &fds,
            ..Order::default()
        };
        spawn(&order)?.outcome.wait()?;
        Ok(())
    }

    /// The configuration of a keeper that runs in this very process (`skep run`).
    #[must_use]
    pub fn keeper_config(&self, claim: Claim) -> Config {
        let argv = [OsString::from("skep"), DAEMON_VERB.into(), "--home".into(), self.path().into()];
        Config {
            home: self.path().to_owned(),
            control: claim.control,
            lock: claim.lock,
            daemon_program: OURSELVES.into(),
            daemon_argv: argv.into_iter().map(OsString::into_vec).collect(),
        }
    }
}

/// Lets some milliseconds pass. (An inotify watch of the directory would wake us no earlier: `listen` is no change of
/// it, and closing the watch alone costs 20 ms, measured.)
fn wait_a_moment() {
    // Interrupted or not, everything is looked at again.
    let _ = rustix::event::poll(&mut [], Some(&LOOK_AGAIN));
}
