//! A keeper from saved state, and saved state from a keeper.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;

use skep_sys::pidfd::PidFd;
use skep_sys::spawn::{Failure, Outcome};
use skep_sys::wait::ExitStatus;
use skep_sys::{memfd, process};

use super::backoff::Backoff;
use super::children::{Child, State};
use super::daemon::Daemon;
use super::ending::Ending;
use super::peer::Peer;
use super::requests::RLIMIT_NOFILE;
use super::safe::Stored;
use super::state::{STATE_BYTES_MAX, Saved, SavedChild, SavedDaemon, SavedFds};
use super::upgrade::{OLD_DAEMON_NS_MAX, Probation};
use super::{Config, Keeper, log};
use crate::wire::{ChildState, Reply};
use crate::{KEEPER_VERB, SIGNAL_ANSWER_MS_MAX, fault};

/// How a keeper came to be resumed.
#[derive(Debug)]
pub(crate) enum Cause {
    /// We are the new program; the old one is in this descriptor.
    Upgrade { previous: RawFd },
    /// We are the old program again, for this reason.
    RolledBack { reason: String },
}

/// Whether the state could be resumed by this build; for a check run.
pub(crate) fn check(state: RawFd) -> io::Result<()> {
    read(state).map(|_| ())
}

/// Goes on where another program left off. When this build cannot, the previous program goes on.
pub(crate) fn resume(state: RawFd, cause: Cause) -> io::Result<()> {
    fault::point("keeper", "after-exec");
    let saved = match read(state).and_then(|saved| verify(&saved, &cause).map(|()| saved)) {
        Ok(saved) => saved,
        Err(error) => return Err(roll_back(state, cause, error)),
    };
    drop(process::inherited_descriptor(state));
    restore(saved, cause)?.run()
}

fn read(state: RawFd) -> io::Result<Saved> {
    if !process::is_open(state) {
        return Err(invalid(format!("the state (descriptor {state}) was not handed over")));
    }
    // By its path, so that the descriptor itself stays as it is for the previous program.
    let file = std::fs::File::open(format!("/proc/self/fd/{state}"))?;
    let bytes = memfd::read_all(file, STATE_BYTES_MAX)?;
    Saved::decode(&bytes).map_err(|error| invalid(format!("the state cannot be understood: {error}")))
}

/// Everything that the state names must be there.
fn verify(saved: &Saved, cause: &Cause) -> io::Result<()> {
    if matches!(cause, Cause::Upgrade { .. }) && fault::ordered("keeper", "refuse-state") {
        return Err(invalid("a test ordered it".into()));
    }
    if let Some(missing) = saved.descriptors().into_iter().find(|fd| !process::is_open(*fd)) {
        return Err(invalid(format!("descriptor {missing} is not open")));
    }
    let me = rustix::process::getpid().as_raw_nonzero().get();
    for pid in saved.pids() {
        match skep_sys::proc::stat(pid) {
            Ok(stat) if stat.parent != me => return Err(invalid(format!("process {pid} is not our child"))),
            // Without /proc it cannot be told; nothing speaks against it.
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

/// Executes the previous program with the same state; returns only when that is impossible.
fn roll_back(state: RawFd, cause: Cause, error: io::Error) -> io::Error {
    let Cause::Upgrade { previous } = cause else { return error };
    log(&format!("cannot resume: {error}; going back to the version before"));
    let Some(previous) = process::inherited_descriptor(previous) else { return error };
    let (state, reason) = (state.to_string(), error.to_string());
    let argv = ["skep", KEEPER_VERB, "--resume", &state, "--because", &reason];
    process::execute_file(previous, &argv.map(|word| word.as_bytes().to_vec()))
}

fn restore(saved: Saved, cause: Cause) -> io::Result<Keeper> {
    let config = Config {
        home: std::ffi::OsString::from_vec(saved.home.clone()).into(),
        control: take(saved.control)?,
        lock: take(saved.lock)?,
        daemon_program: crate::home::OURSELVES.into(),
        daemon_argv: saved.daemon_argv.clone(),
    };
    let mut keeper = Keeper::new(config)?;
    if let Some(limit) = saved.limit(RLIMIT_NOFILE) {
        keeper.descriptor_limit = limit;
    }
    keeper.generation = saved.generation;
    let answer_by_ns = keeper.now_ns.saturating_add(SIGNAL_ANSWER_MS_MAX * 1_000_000);
    keeper.signalled = saved.signalled.iter().map(|signal| (*signal, answer_by_ns)).collect();
    keeper.ending = if saved.ending { Ending::WhenDaemonEnds } else { Ending::No };
    for child in saved.children {
        let id = child.id;
        let expires_ns = child.expires_ns;
        keeper.children.insert(id, restore_child(child)?);
        if let Some(at_ns) = expires_ns {
            keeper.children.expire(id, at_ns);
        }
    }
    for SavedFds { key, note, fds } in saved.stored {
        let fds = fds.into_iter().map(take).collect::<io::Result<_>>()?;
        keeper.safe.restore(key, Stored { note, fds });
    }
    if let Some(daemon) = saved.daemon {
        keeper.peer = match daemon.link {
            Some(link) => Some(Peer::resumed(take(link)?, daemon.version)),
            None => None,
        };
        keeper.daemon = Daemon::Running {
            pid: daemon.pid,
            // It has lived long enough: its end is ordered.
            started_ns: 0,
            outcome: None,
            greeted: daemon.version > 0,
            backoff: Backoff::default(),
            kill_at_ns: match cause {
                // With one of a release too far away there is nothing to talk about: it is crash-only.
                Cause::Upgrade { .. } if !understands(daemon.version) => Some(keeper.now_ns),
                Cause::Upgrade { .. } => Some(keeper.now_ns.saturating_add(OLD_DAEMON_NS_MAX)),
                Cause::RolledBack { .. } => None,
            },
        };
    }
    let news = match cause {
        Cause::Upgrade { previous } => {
            keeper.probation = Some(Probation::begin(take(previous)?, keeper.generation, keeper.now_ns));
            Reply::Upgraded { build: crate::BUILD.as_bytes().to_vec() }
        }
        Cause::RolledBack { reason } => Reply::UpgradeFailed { reason: reason.into_bytes() },
    };
    if let Some(peer) = &mut keeper.peer {
        peer.answer(news);
    }
    Ok(keeper)
}

/// Whether this build speaks the protocol version agreed upon with a daemon (0: none yet).
fn understands(version: u32) -> bool {
    let (newest, oldest) = crate::wire::speaks();
    version == 0 || (oldest..=newest).contains(&version)
}

fn restore_child(saved: SavedChild) -> io::Result<Child> {
    let start_time = saved.start_time;
    let notify = saved.notify.map(take).transpose()?;
    let mut kept_notify = None;
    let mut state = match (saved.state, saved.starting) {
        (ChildState::Starting, Some((fd, pid))) => {
            State::Starting { pid, start_time, outcome: Outcome::from_fds(take(fd)?, notify) }
        }
        (ChildState::Starting, None) => return Err(invalid("a starting child without its outcome".into())),
        (ChildState::Running { pid, start_time }, _) => {
            kept_notify = notify;
            State::Running { pid, start_time }
        }
        (ChildState::Exited { pid, status }, _) => {
            kept_notify = notify;
            State::Exited { pid, start_time, status }
        }
        (ChildState::Failed { stage, errno }, _) => State::Failed(Failure { stage, errno }),
    };
    let foreign = match state {
        // One that has ended meanwhile without being our child: how, nobody knows.
        State::Running { pid, start_time } if saved.foreign => {
            let handle = PidFd::of(pid, start_time);
            if handle.is_none() {
                state = State::Exited { pid, start_time, status: ExitStatus::Unknown };
            }
            handle
        }
        State::Starting { .. } | State::Running { .. } | State::Exited { .. } | State::Failed(_) => None,
    };
    Ok(Child {
        note: saved.note,
        kill_tree: saved.kill_tree,
        stop: saved.stop,
        notify: kept_notify,
        state,
        foreign,
        told: saved.told,
        forgotten: saved.forgotten,
    })
}

impl Keeper {
    /// All that this keeper knows.
    pub(crate) fn save(&self) -> Saved {
        let limit = self.descriptor_limit;
        Saved {
            home: self.config.home.clone().into_os_string().into_vec(),
            control: self.config.control.as_raw_fd(),
            lock: self.config.lock.as_raw_fd(),
            daemon_argv: self.config.daemon_argv.clone(),
            descriptor_limit: Some((limit.soft, limit.hard)),
            generation: self.generation,
            daemon: self.daemon.pid().map(|pid| SavedDaemon {
                pid,
                link: self.peer.as_ref().map(|peer| peer.as_fd().as_raw_fd()),
                version: self.peer.as_ref().map_or(0, Peer::version),
            }),
            ending: !matches!(self.ending, Ending::No),
            signalled: self.signalled.iter().map(|(signal, _)| *signal).collect(),
            children: self
                .children
                .iter()
                .map(|(id, child)| save_child(id, child, self.children.expiry_ns(id)))
                .collect(),
            stored: self
                .safe
                .iter()
                .map(|(key, stored)| SavedFds {
                    key: key.clone(),
                    note: stored.note.clone(),
                    fds: stored.fds.iter().map(AsRawFd::as_raw_fd).collect(),
                })
                .collect(),
        }
    }

    /// All descriptors that [`Keeper::save`] names.
    pub(crate) fn kept_descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let mut kept = vec![self.config.control.as_fd(), self.config.lock.as_fd()];
        kept.extend(self.peer.as_ref().map(AsFd::as_fd));
        for (_, child) in self.children.iter() {
            kept.extend(child.notify.as_ref().map(AsFd::as_fd));
            if let State::Starting { outcome, .. } = &child.state {
                kept.push(outcome.as_fd());
                kept.extend(outcome.early_notify());
            }
        }
        kept.extend(self.safe.iter().flat_map(|(_, stored)| stored.fds.iter().map(AsFd::as_fd)));
        kept
    }
}

fn save_child(id: u64, child: &Child, expires_ns: Option<u64>) -> SavedChild {
    let mut notify = child.notify.as_ref().map(AsRawFd::as_raw_fd);
    let mut starting = None;
    let start_time = match &child.state {
        State::Starting { pid, start_time, outcome } => {
            starting = Some((outcome.as_fd().as_raw_fd(), *pid));
            notify = outcome.early_notify().map(|fd| fd.as_raw_fd());
            *start_time
        }
        State::Running { start_time, .. } | State::Exited { start_time, .. } => *start_time,
        State::Failed(_) => 0,
    };
    SavedChild {
        id,
        note: child.note.clone(),
        kill_tree: child.kill_tree,
        stop: child.stop,
        notify,
        state: child.public_state(),
        expires_ns,
        foreign: child.foreign.is_some(),
        starting,
        start_time,
        told: child.told,
        forgotten: child.forgotten,
    }
}

fn take(number: RawFd) -> io::Result<OwnedFd> {
    process::inherited_descriptor(number).ok_or_else(|| invalid(format!("descriptor {number} is not open")))
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}
