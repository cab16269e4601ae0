//! Waking another process: one byte into its FIFO, unless one is already on its way.
//!
//! Nothing is carried by the byte: it only says "look again" (at the mail, the channels). A waker that is killed
//! between raising the flag and writing the byte leaves a flag up; the supervisor wakes everybody when a worker ends.
//!
//! A process that looks by itself for a moment ([`crate::Client::stay_awake`]) is not written to: the two system calls and
//! the way through the scheduler cost several times what the rest of a message costs.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use crate::control::Control;
use crate::error::{Error, Result};

/// A process's flag: it sleeps, whoever has something for it writes a byte.
pub(crate) const ASLEEP: u32 = 0;
/// It was told to look again and has not yet.
pub(crate) const CALLED: u32 = 1;
/// It looks at its flag by itself.
pub(crate) const AWAKE: u32 = 2;

/// Whether a wake-up may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Leave it out when one is under way, or the process is awake.
    Usual,
    /// Write the byte in any case: a dead waker may have raised the flag in vain.
    Always,
    /// Only raise the flag: it is this process itself, which looks at it when its call has returned.
    Flag,
}

/// Where the FIFOs are, and those that this process has opened for writing.
#[derive(Debug)]
pub(crate) struct Wakers {
    folder: PathBuf,
    open: Mutex<HashMap<usize, (u32, OwnedFd)>>,
}

/// Time for how long somebody waits.
pub(crate) fn micros() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000 + now.tv_nsec.unsigned_abs() / 1000
}

pub(crate) fn fifo_path(store: &Path, slot: usize) -> PathBuf {
    store.join("wake").join(slot.to_string())
}

/// Makes the FIFO of a slot anew and opens it for reading. Opened for both directions, so that it never reads as ended
/// while nobody has it open for writing.
pub(crate) fn make_fifo(store: &Path, slot: usize) -> Result<OwnedFd> {
    let path = fifo_path(store, slot);
    match rustix::fs::unlink(&path) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(e) => return Err(Error::io("cannot remove", &path, e)),
    }
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
        .map_err(|e| Error::io("cannot make the FIFO", &path, e))?;
    rustix::fs::open(&path, OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| Error::io("cannot open the FIFO", &path, e))
}

impl Wakers {
    pub(crate) fn new(store: &Path) -> Self {
        Self { folder: store.to_path_buf(), open: Mutex::default() }
    }

    /// Tells the process in a slot to look again. Failures mean that it is gone, and then so is its need.
    pub(crate) fn wake(&self, control: &Control, slot: usize, urgency: Urgency) {
        let Some(place) = control.slots().get(slot) else { return };
        let sleeps = place.signalled.swap(CALLED, AcqRel) == ASLEEP;
        match urgency {
            Urgency::Flag => return,
            Urgency::Usual if !sleeps => return,
            Urgency::Usual | Urgency::Always => {}
        }
        control.header().stats.wakes.fetch_add(1, Relaxed);
        let incarnation = place.incarnation.load(Relaxed);
        let mut open = self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if open.get(&slot).is_none_or(|(of, _)| *of != incarnation) {
            let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            match rustix::fs::open(fifo_path(&self.folder, slot), flags, Mode::empty()) {
                Ok(fd) => drop(open.insert(slot, (incarnation, fd))),
                Err(_) => return,
            }
        }
        if let Some((_, fd)) = open.get(&slot)
            && rustix::io::write(fd, &[1]).is_err_and(|e| e == Errno::PIPE)
        {
            open.remove(&slot);
        }
    }
}
