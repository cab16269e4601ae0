//! The daemon's life as the keeper sees it: there is always one, unless this is the end.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use skep_sys::spawn::{Failure, Order, Outcome};
use skep_sys::unix::{self, Kind};
use skep_sys::wait::ExitStatus;

use super::backoff::Backoff;
use super::ending::Ending;
use super::peer::Peer;
use super::{Keeper, SIGKILL, log};
use crate::{DAEMON_CONTROL_FD, DAEMON_LINK_FD, service};

/// When the daemon's log (its standard error, if that is a file) is longer than this in bytes, it is emptied before
/// the next daemon starts: one that crashes for ever must not fill the disk.
const LOG_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// How long a daemon that has closed its link may take to end, in nanoseconds: time to finish its last log line.
const LINKLESS_NS_MAX: u64 = 2_000_000_000;

/// How long the daemon of a dead keeper may take to hand everything over, in nanoseconds; it takes milliseconds.
const PREDECESSOR_NS_MAX: u64 = 10_000_000_000;

#[derive(Debug)]
pub(crate) enum Daemon {
    Running {
        pid: i32,
        started_ns: u64,
        outcome: Option<Outcome>,
        /// It has said hello.
        greeted: bool,
        backoff: Backoff,
        /// When it is killed, should it not have ended by itself as it ought to.
        kill_at_ns: Option<u64>,
    },
    Due {
        at_ns: u64,
        backoff: Backoff,
    },
    /// The daemon of a keeper that died hands everything over; ours is started when it has closed its link.
    Predecessor {
        /// When it is waited for no longer.
        give_up_ns: u64,
    },
    /// It has ended and there will be no other one.
    Over,
}

impl Daemon {
    pub(crate) fn first() -> Self {
        Daemon::Due { at_ns: 0, backoff: Backoff::default() }
    }

    pub(crate) fn predecessor(now_ns: u64) -> Self {
        Daemon::Predecessor { give_up_ns: now_ns.saturating_add(PREDECESSOR_NS_MAX) }
    }

    pub(crate) fn due_ns(&self) -> Option<u64> {
        match self {
            Daemon::Predecessor { give_up_ns } => Some(*give_up_ns),
            Daemon::Due { at_ns, .. } => Some(*at_ns),
            Daemon::Running { kill_at_ns, .. } => *kill_at_ns,
            Daemon::Over => None,
        }
    }

    pub(crate) fn pid(&self) -> Option<i32> {
        match self {
            Daemon::Running { pid, .. } => Some(*pid),
            Daemon::Due { .. } | Daemon::Predecessor { .. } | Daemon::Over => None,
        }
    }
}

impl Keeper {
    pub(crate) fn start_daemon_if_due(&mut self) {
        let Daemon::Due { at_ns, backoff } = self.daemon else { return };
        match self.ending {
            Ending::No => {}
            Ending::WhenDaemonEnds | Ending::Children { .. } => {
                self.daemon = Daemon::Over;
                return self.end_children();
            }
        }
        if at_ns > self.now_ns {
            return;
        }
        empty_long_log();
        match self.start_daemon() {
            Ok((pid, outcome, socket)) => {
                self.generation += 1;
                self.children.tell_all_again();
                self.peer = Some(Peer::new(socket));
                let (outcome, started_ns) = (Some(outcome), self.now_ns);
                self.daemon =
                    Daemon::Running { pid, started_ns, outcome, greeted: false, backoff, kill_at_ns: None };
            }
            Err(failure) => {
                log(&format!("cannot start the daemon: {failure}"));
                self.await_next(backoff, self.now_ns);
            }
        }
    }

    fn start_daemon(&self) -> Result<(i32, Outcome, OwnedFd), Failure> {
        let prepare = |error: io::Error| Failure {
            stage: skep_sys::spawn::Stage::Prepare,
            errno: error.raw_os_error().unwrap_or(0),
        };
        let (ours, theirs) = unix::pair(Kind::Message).map_err(prepare)?;
        let entry = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            [name.as_bytes(), b"=", value.as_bytes()].concat()
        };
        let env: Vec<_> =
            std::env::vars_os().filter(|(name, _)| !service::is_private(name)).map(entry).collect();
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let fds: [(i32, BorrowedFd<'_>); 5] = [
            (0, self.null.as_fd()),
            (1, stdout.as_fd()),
            (2, stderr.as_fd()),
            (DAEMON_LINK_FD, theirs.as_fd()),
            (DAEMON_CONTROL_FD, self.config.control.as_fd()),
        ];
        // It keeps our own, raised limit of descriptors: it holds as many as we do.
        let order = Order {
            program: Some(self.config.daemon_program.as_os_str().as_bytes()),
            argv: &self.config.daemon_argv,
            env: &env,
            cwd: Some(b"/"),
            fds: &fds,
            ..Order::default()
        };
        let started = skep_sys::spawn::spawn(&order)?;
        Ok((started.pid, started.outcome, ours))
    }

    /// The daemon has been reaped.
    pub(crate) fn daemon_ended(&mut self, status: ExitStatus) {
        let Daemon::Running { started_ns, outcome, greeted, backoff, .. } =
            std::mem::replace(&mut self.daemon, Daemon::Over)
        else {
            return;
        };
        if let Some(Some(Err(failure))) = outcome.map(|mut outcome| outcome.check()) {
            log(&format!("the daemon could not be started: {failure}"));
        }
        self.carry_out_last_requests();
        match self.ending {
            Ending::No => {
                log(&format!("the daemon ended ({}); starting it again", Told(status)));
                if greeted && matches!(status, ExitStatus::Signal { signal: SIGKILL, .. }) {
                    // Somebody's will, and no fault of its start.
                    self.daemon = Daemon::Due { at_ns: self.now_ns, backoff };
                } else {
                    self.await_next(backoff, started_ns);
                }
            }
            Ending::WhenDaemonEnds => self.end_children(),
            Ending::Children { .. } => {}
        }
    }

    /// What it asked for before it died was asked for.
    pub(crate) fn carry_out_last_requests(&mut self) {
        while let Some(peer) = &mut self.peer {
            peer.drop_answers();
            if !self.read_requests() {
                break;
            }
        }
        self.peer = None;
    }

    fn await_next(&mut self, mut backoff: Backoff, started_ns: u64) {
        let at_ns = backoff.next_start_ns(started_ns, self.now_ns);
        self.daemon = Daemon::Due { at_ns, backoff };
        self.roll_back_if_hopeless(backoff.soon_deaths);
    }

    /// The daemon has closed its end of the link: it is ending, or of no use any more.
    pub(crate) fn lose_peer(&mut self) {
        self.peer = None;
        let end_by_ns = self.now_ns.saturating_add(LINKLESS_NS_MAX);
        match &mut self.daemon {
            Daemon::Running { kill_at_ns, .. } => *kill_at_ns = Some(end_by_ns),
            Daemon::Predecessor { .. } => {
                self.daemon = Daemon::Due { at_ns: self.now_ns, backoff: Backoff::default() };
            }
            Daemon::Due { .. } | Daemon::Over => {}
        }
    }

    pub(crate) fn kill_daemon_if_due(&mut self) {
        let now_ns = self.now_ns;
        match &mut self.daemon {
            Daemon::Running { kill_at_ns, .. } if kill_at_ns.is_some_and(|at_ns| at_ns <= now_ns) => {
                *kill_at_ns = None;
                self.kill_daemon();
            }
            Daemon::Predecessor { give_up_ns } if *give_up_ns <= now_ns => self.lose_peer(),
            Daemon::Running { .. } | Daemon::Predecessor { .. } | Daemon::Due { .. } | Daemon::Over => {}
        }
    }

    pub(crate) fn kill_daemon(&self) {
        if let Some(pid) = self.daemon.pid() {
            // Our child and not reaped, hence no stranger. ESRCH cannot be; EPERM neither: it runs as we do.
            let _ = skep_sys::signal::send(pid, SIGKILL);
        }
    }
}

/// An exit status for people.
struct Told(ExitStatus);

impl std::fmt::Display for Told {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            ExitStatus::Code(code) => write!(out, "exit code {code}"),
            ExitStatus::Signal { signal, .. } => write!(out, "signal {signal}"),
            ExitStatus::Unknown => write!(out, "nobody knows how"),
        }
    }
}

fn empty_long_log() {
    let stderr = io::stderr();
    let Ok(found) = rustix::fs::fstat(&stderr) else { return };
    let is_file = rustix::fs::FileType::from_raw_mode(found.st_mode) == rustix::fs::FileType::RegularFile;
    if is_file && u64::try_from(found.st_size).unwrap_or(0) > LOG_BYTES_MAX {
        // If that fails the log stays long: no harm yet.
        let _ = rustix::fs::ftruncate(&stderr, 0);
    }
}
