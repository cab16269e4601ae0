//! Becoming another program without losing anything.
//!
//! 1. A *check run* of the new program reads the very state that it would take over and says that it could
//!    (`__keeper --check-state`). Meanwhile life goes on.
//! 2. The state is written again and this process executes the new program (`__keeper --resume`): same pid, same
//!    children, same descriptors.
//! 3. The new program verifies what it finds. If anything is amiss it executes the old program again, whose file it
//!    was handed (`--previous`), with the same state.
//! 4. The old program is kept for a while: when the new one's daemon dies several times in a row, or does not say hello
//!    in time, everything goes back.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use skep_sys::spawn::{Order, Outcome, spawn};
use skep_sys::wait::ExitStatus;
use skep_sys::{memfd, process, signal};

use super::daemon::Daemon;
use super::ending::Ending;
use super::{Keeper, SIGKILL, log};
use crate::wire::Reply;
use crate::{KEEPER_VERB, fault};

/// What a check run says at its end when all is well. (A program that is no skep may also exit with 0.)
pub(crate) const CHECK_ANSWER: &str = "skep keeper: the state can be resumed\n";

/// How long a check run may take, in nanoseconds: it reads some kilobytes.
const CHECK_NS_MAX: u64 = 10_000_000_000;

/// How long the old daemon may take to end after an upgrade, in nanoseconds, before it is killed; it is crash-only.
pub(crate) const OLD_DAEMON_NS_MAX: u64 = 5_000_000_000;

/// How long the new program's daemon may take until it says hello, in nanoseconds; it takes milliseconds.
const GREETING_NS_MAX: u64 = 10_000_000_000;

/// How long it must have been there, counted from its first hello, in nanoseconds.
const PROVED_NS: u64 = 10_000_000_000;

/// How many early deaths of the new program's daemon, in a row, bring the old program back.
const DEATHS_ON_PROBATION_MAX: u32 = 4;

/// How much of a failed check run's output is told, in bytes.
const OUTPUT_BYTES_MAX: usize = 2000;

/// The descriptor on which a check run finds the state.
const CHECK_STATE_FD: i32 = 3;

#[derive(Debug)]
pub(crate) enum Upgrade {
    No,
    /// The check run is under way.
    Checking(Check),
    /// It went well; to be carried out when the daemon has been told everything that is queued.
    Ready {
        path: Vec<u8>,
    },
}

/// A check run.
#[derive(Debug)]
pub(crate) struct Check {
    path: Vec<u8>,
    pid: i32,
    outcome: Outcome,
    /// Its standard output and error, until it has closed them.
    output: Option<OwnedFd>,
    said: Vec<u8>,
    give_up_ns: u64,
}

/// The program that we were before, while the new one has not proved itself.
#[derive(Debug)]
pub(crate) struct Probation {
    pub(crate) previous: OwnedFd,
    /// The generation of the old program's daemon.
    pub(crate) generation: u64,
    trial: Trial,
}

#[derive(Debug, Clone, Copy)]
enum Trial {
    /// The new program's daemon must say hello by then.
    Awaited { by_ns: u64 },
    /// It has said hello, and has proved itself if it is well then.
    Greeted { until_ns: u64 },
    /// It did not say hello in time.
    Failed,
}

impl Probation {
    pub(crate) fn begin(previous: OwnedFd, generation: u64, now_ns: u64) -> Self {
        let trial = Trial::Awaited { by_ns: now_ns.saturating_add(GREETING_NS_MAX) };
        Probation { previous, generation, trial }
    }

    pub(crate) fn due_ns(&self) -> Option<u64> {
        match self.trial {
            Trial::Awaited { by_ns: at_ns } | Trial::Greeted { until_ns: at_ns } => Some(at_ns),
            Trial::Failed => None,
        }
    }
}

impl Upgrade {
    pub(crate) fn check_pid(&self) -> Option<i32> {
        match self {
            Upgrade::Checking(check) => Some(check.pid),
            Upgrade::No | Upgrade::Ready { .. } => None,
        }
    }

    pub(crate) fn output(&self) -> Option<&OwnedFd> {
        match self {
            Upgrade::Checking(check) => check.output.as_ref(),
            Upgrade::No | Upgrade::Ready { .. } => None,
        }
    }

    pub(crate) fn due_ns(&self) -> Option<u64> {
        match self {
            Upgrade::Checking(check) => Some(check.give_up_ns),
            Upgrade::No | Upgrade::Ready { .. } => None,
        }
    }

    /// Takes what the check run says; whether there may be more.
    pub(crate) fn listen(&mut self) -> bool {
        let Upgrade::Checking(check) = self else { return false };
        let Some(output) = &check.output else { return false };
        let mut buffer = [0; 512];
        match rustix::io::read(output, &mut buffer) {
            Err(Errno::AGAIN | Errno::INTR) => false,
            Ok(0) | Err(_) => {
                check.output = None;
                false
            }
            Ok(count) => {
                let room = OUTPUT_BYTES_MAX.saturating_sub(check.said.len());
                check.said.extend_from_slice(&buffer[..count.min(room)]);
                true
            }
        }
    }
}

impl Keeper {
    /// Begins the upgrade to the program at this path.
    pub(crate) fn upgrade(&mut self, path: Vec<u8>) {
        if !matches!(self.upgrade, Upgrade::No) {
            return self.upgrade_failed("another upgrade is under way");
        }
        if !matches!(self.ending, Ending::No) {
            return self.upgrade_failed("this skep is shutting down");
        }
        match self.begin_check(path) {
            Ok(checking) => self.upgrade = checking,
            Err(error) => self.upgrade_failed(&format!("cannot start the check run: {error}")),
        }
    }

    fn begin_check(&self, path: Vec<u8>) -> io::Result<Upgrade> {
        let state = memfd::holding("skep-state", &self.save().encode())?;
        let (output, theirs) = skep_sys::pipe::pipe()?;
        rustix::io::ioctl_fionbio(&output, true)?;
        let argv = ["skep", KEEPER_VERB, "--check-state", "3"].map(|word| word.as_bytes().to_vec());
        let env: Vec<_> = std::env::vars_os()
            .map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat())
            .collect();
        let fds: [(i32, BorrowedFd<'_>); 4] = [
            (0, self.null.as_fd()),
            (1, theirs.as_fd()),
            (2, theirs.as_fd()),
            (CHECK_STATE_FD, state.as_fd()),
        ];
        let order = Order { program: Some(&path), argv: &argv, env: &env, fds: &fds, ..Order::default() };
        let started = spawn(&order).map_err(io::Error::other)?;
        let give_up_ns = self.now_ns.saturating_add(CHECK_NS_MAX);
        let (pid, outcome, said) = (started.pid, started.outcome, Vec::new());
        Ok(Upgrade::Checking(Check { path, pid, outcome, output: Some(output), said, give_up_ns }))
    }

    /// The check run has been reaped.
    pub(crate) fn check_ended(&mut self, status: ExitStatus) {
        while self.upgrade.listen() {}
        let Upgrade::Checking(mut check) = std::mem::replace(&mut self.upgrade, Upgrade::No) else { return };
        let path = String::from_utf8_lossy(&check.path);
        if let Some(Err(failure)) = check.outcome.check() {
            return self.upgrade_failed(&format!("the check run of {path} did not start: {failure}"));
        }
        if !status.is_success() || check.said != CHECK_ANSWER.as_bytes() {
            let said = String::from_utf8_lossy(&check.said);
            let reason = format!("the check run of {path} ended with {status:?} and said {:?}", said.trim());
            return self.upgrade_failed(&reason);
        }
        self.upgrade = match self.ending {
            Ending::No => Upgrade::Ready { path: check.path },
            Ending::WhenDaemonEnds | Ending::Children { .. } => Upgrade::No,
        };
    }

    pub(crate) fn upgrade_if_ready(&mut self) {
        if self.upgrade.due_ns().is_some_and(|at_ns| at_ns <= self.now_ns)
            && let Some(pid) = self.upgrade.check_pid()
        {
            // Our child and not reaped; its end is the check's result.
            let _ = signal::send(pid, SIGKILL);
        }
        let told_all = self.peer.as_ref().is_none_or(super::Peer::has_answered_all);
        let Upgrade::Ready { path } = &self.upgrade else { return };
        if !told_all {
            return;
        }
        let path = path.clone();
        self.upgrade = Upgrade::No;
        let error = match self.ourselves() {
            Ok(previous) => {
                fault::point("keeper", "before-exec");
                self.manager.reloading(skep_sys::clock::monotonic_ns() / 1_000);
                let program = Path::new(std::ffi::OsStr::from_bytes(&path));
                let previous_fd = previous.as_raw_fd().to_string();
                self.become_program(&["--previous", &previous_fd], Some(previous.as_fd()), |argv| {
                    process::execute(program, argv)
                })
            }
            Err(error) => error,
        };
        self.upgrade_failed(&format!("cannot execute {}: {error}", String::from_utf8_lossy(&path)));
    }

    /// The file of the program that we are.
    fn ourselves(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(CWD, crate::home::OURSELVES, flags, Mode::empty())?)
    }

    /// Writes the state and executes; returns only when that failed, with everything as it was.
    fn become_program(
        &self,
        more: &[&str],
        also_kept: Option<BorrowedFd<'_>>,
        execute: impl FnOnce(&[Vec<u8>]) -> io::Error,
    ) -> io::Error {
        let state = match memfd::holding("skep-state", &self.save().encode()) {
            Ok(state) => state,
            Err(error) => return error,
        };
        let state_fd = state.as_raw_fd().to_string();
        let argv = [&["skep", KEEPER_VERB, "--resume", &state_fd], more].concat();
        let argv: Vec<_> = argv.iter().map(|word| word.as_bytes().to_vec()).collect();
        let mut kept = self.kept_descriptors();
        kept.push(state.as_fd());
        kept.extend(also_kept);
        for fd in &kept {
            if let Err(error) = process::set_inheritable(fd, true) {
                return error;
            }
        }
        let error = execute(&argv);
        for fd in &kept {
            // Ours and open, hence it cannot fail.
            let _ = process::set_inheritable(fd, false);
        }
        error
    }

    fn upgrade_failed(&mut self, reason: &str) {
        log(&format!("the upgrade failed: {reason}"));
        self.tell_ready();
        if let Some(peer) = &mut self.peer {
            peer.answer(Reply::UpgradeFailed { reason: reason.as_bytes().to_vec() });
        }
    }

    /// The service manager, if there is one, may count on us.
    fn tell_ready(&self) {
        self.manager.ready(&format!("keeper of {}", self.config.home.display()));
    }

    /// A daemon has said hello.
    pub(crate) fn daemon_greeted(&mut self) {
        if let Daemon::Running { greeted, .. } = &mut self.daemon {
            *greeted = true;
        }
        self.tell_ready();
        let until_ns = self.now_ns.saturating_add(PROVED_NS);
        if let Some(probation) = &mut self.probation
            && probation.generation < self.generation
            && matches!(probation.trial, Trial::Awaited { .. })
        {
            probation.trial = Trial::Greeted { until_ns };
        }
    }

    pub(crate) fn judge_probation(&mut self) {
        let Some(probation) = &mut self.probation else { return };
        if probation.due_ns().is_none_or(|at_ns| at_ns > self.now_ns) {
            return;
        }
        match probation.trial {
            Trial::Awaited { .. } => {
                // Its end, which follows, takes everything back.
                probation.trial = Trial::Failed;
                self.kill_daemon();
            }
            Trial::Greeted { .. } => self.probation = None,
            Trial::Failed => {}
        }
    }

    /// The daemon has died, early for the n-th time in a row. If it was the new program's, that may be enough.
    pub(crate) fn roll_back_if_hopeless(&mut self, soon_deaths: u32) {
        let failed =
            self.probation.as_ref().is_some_and(|probation| matches!(probation.trial, Trial::Failed));
        if soon_deaths < DEATHS_ON_PROBATION_MAX && !failed {
            return;
        }
        let Some(probation) = self.probation.take() else { return };
        let reason = if failed {
            "the new version's daemon did not say hello"
        } else {
            "the new version's daemon died again and again"
        };
        log(&format!("{reason}; going back to the version before"));
        let error = self.become_program(&["--because", reason], None, |argv| {
            process::execute_file(&probation.previous, argv)
        });
        log(&format!("cannot go back to the version before: {error}"));
    }
}
