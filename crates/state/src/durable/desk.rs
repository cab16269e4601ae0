//! The thread of a process that waits for the disk, so that no event loop does.
//!
//! Calls are put on the desk and come back as [`Done`] when the disk has them; the process is woken by its FIFO, as of
//! everything else. While the disk is busy with one batch the next one gathers: the slower the disk, the more calls
//! share a flush of it.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::call::{Answer, Call};
use crate::client::{Client, Identity};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::limits::{PENDING_BYTES_MAX, PENDING_MAX, TOGETHER_MAX};
use crate::{Options, Owner, WallMs};

/// When news are looked for again that could not be read: a disk that fails now fails for a while.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// What happened since the last [`Desk::poll`].
#[derive(Debug)]
pub enum Done {
    /// A call is answered: what it did is on the disk.
    Answered {
        /// The number that the caller gave it.
        number: u32,
        /// The answer. An error: nothing was changed.
        answer: Result<Answer>,
    },
    /// Somebody told this process something.
    Told(Event),
}

struct Pending {
    number: u32,
    call: Call,
    now: WallMs,
}

#[derive(Default)]
struct Line {
    pending: VecDeque<Pending>,
    /// Of those in line and of those that are worked on.
    count: usize,
    bytes: usize,
    /// Look into the mail, whether there are calls or not.
    look: bool,
    /// The last look failed: try again when some time has passed.
    look_again: bool,
    done: Vec<Done>,
    closed: bool,
}

struct Shared {
    client: Client,
    line: Mutex<Line>,
    work: Condvar,
}

/// An attached process (or thread) and its thread at the disk. Detaches, and gives everything back, when dropped; calls
/// that are in line then do not happen.
pub struct Desk {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("owner", &self.owner()).finish_non_exhaustive()
    }
}

impl Desk {
    /// Opens the store in `dir`, makes it if there is none, attaches to it and starts the thread.
    ///
    /// # Errors
    /// As [`super::open`]; [`Error::TooManyWorkers`]; [`Error::Io`] if the process may have no more threads.
    pub fn open(dir: &Path, identity: Identity, options: &Options, now: WallMs) -> Result<Self> {
        let client = Client::attach_to(super::open(dir, options, now)?, identity, now)?;
        let shared = Arc::new(Shared { client, line: Mutex::default(), work: Condvar::new() });
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("skep-queues".to_owned())
            .spawn(move || own.serve())
            .map_err(|e| Error::io("cannot start a thread for", dir, e))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Who this is.
    #[must_use]
    pub fn owner(&self) -> Owner {
        self.shared.client.owner()
    }

    /// Puts a call in line. Its answer comes as [`Done::Answered`] with this number.
    ///
    /// # Errors
    /// [`Error::Behind`] when too much waits for the disk; the call is not made then.
    pub fn call(&self, number: u32, call: Call, now: WallMs) -> Result<()> {
        let mut line = self.shared.line();
        let bytes = call.bytes();
        if line.count >= PENDING_MAX || (line.count > 0 && line.bytes + bytes > PENDING_BYTES_MAX) {
            return Err(Error::Behind { pending: line.count });
        }
        line.count += 1;
        line.bytes += bytes;
        line.pending.push_back(Pending { number, call, now });
        drop(line);
        self.shared.work.notify_one();
        Ok(())
    }

    /// Whether [`Desk::poll`] has something, or somebody has told this process to look again.
    #[must_use]
    pub fn signalled(&self) -> bool {
        self.shared.client.signalled() || !self.shared.line().done.is_empty()
    }

    /// What is done. Never waits: news from others are looked for by the thread, which wakes again when there are any.
    #[must_use]
    pub fn poll(&self) -> Vec<Done> {
        let told = self.shared.client.take_signal();
        let mut line = self.shared.line();
        let done = std::mem::take(&mut line.done);
        if told {
            line.look = true;
            drop(line);
            self.shared.work.notify_one();
        }
        done
    }

    /// A descriptor that is readable when there is something to [`Desk::poll`]. Its bytes are the caller's to read away.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub fn wake_fd_clone(&self) -> Result<OwnedFd> {
        self.shared.client.wake_fd_clone()
    }

    /// Gives everything back now.
    ///
    /// # Errors
    /// When the store itself fails.
    pub fn detach(&self, now: WallMs) -> Result<()> {
        self.shared.client.detach(now)
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.shared.line().closed = true;
        self.shared.work.notify_one();
        if let Some(thread) = self.thread.take() {
            // It panics only where a test of this crate has failed; nothing is lost that was acknowledged.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        while let Some((batch, now)) = self.next() {
            let calls: Vec<&Call> = batch.iter().map(|pending| &pending.call).collect();
            let (answers, told) = super::perform::perform(&self.client, &calls, now);
            let answered = batch.iter().zip(answers);
            let answered =
                answered.map(|(pending, answer)| Done::Answered { number: pending.number, answer });
            let mut line = self.line();
            line.done.extend(answered);
            match told {
                Ok(events) => line.done.extend(events.into_iter().map(Done::Told)),
                // The news are still in the mail: the next look finds them.
                Err(_) => line.look_again = true,
            }
            line.count -= batch.len();
            line.bytes -= batch.iter().map(|pending| pending.call.bytes()).sum::<usize>();
            let news = !line.done.is_empty();
            drop(line);
            if news {
                self.client.wake_self();
            }
        }
    }

    /// Waits for calls and takes as many as go together; `None` at the end.
    fn next(&self) -> Option<(Vec<Pending>, WallMs)> {
        let mut line = self.line();
        loop {
            if line.closed {
                return None;
            }
            // What the last batch told this process itself.
            let told = self.client.take_signal();
            if !line.pending.is_empty() || line.look || told {
                break;
            }
            if line.look_again {
                let waited = self.work.wait_timeout(line, LOOK_AGAIN);
                line = waited.unwrap_or_else(PoisonError::into_inner).0;
                line.look = true;
            } else {
                line = self.work.wait(line).unwrap_or_else(PoisonError::into_inner);
            }
        }
        (line.look, line.look_again) = (false, false);
        let many = line.pending.len().min(TOGETHER_MAX);
        let batch: Vec<Pending> = line.pending.drain(..many).collect();
        // One transaction is of one moment: the latest that any of its calls knows.
        let latest = batch.iter().map(|pending| pending.now).max();
        // Reading the mail is of no moment.
        Some((batch, latest.unwrap_or(WallMs(0))))
    }
}
