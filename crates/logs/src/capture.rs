//! All streams of a daemon and the files they go to.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::{Chunk, Event, FileSpec, Keep, LogsError, Moment, Safe, Source, StreamId, SubscriptionId};

/// A stream's own file, and the combined one (PM2's `log_file`).
pub(crate) const FILES_MAX: usize = 2;

/// What a pump came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The budget of one call is used up and there is more: let others run, then call again.
    More,
    /// Nothing to do until the pipe's next edge (new bytes or hang-up); an unfinished line may rest in the pipe.
    Idle,
    /// Held back by a file (full disk, or another stream's unfinished line in it): `tick` goes on by itself.
    Waiting,
    /// All is written and the stream is detached; also reported as [`Event::Ended`].
    Ended,
}

/// All streams of a daemon and the files they go to. See the crate's documentation for how to drive it.
pub struct Capture {
    _safe: Safe,
}

impl std::fmt::Debug for Capture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Capture").finish_non_exhaustive()
    }
}

#[expect(unused_variables, clippy::unimplemented, reason = "published ahead of its body")]
impl Capture {
    /// Opens over the descriptors of [`Safe`], fresh or from the keeper. Dates are printed in `zone`.
    ///
    /// # Errors
    /// When the kernel refuses the scratch pipe or the journal is not one of ours.
    pub fn open(safe: Safe, zone: jiff::tz::TimeZone) -> Result<Self, LogsError> {
        Ok(Self { _safe: safe })
    }

    /// Takes charge of a pipe. No files (`disable_logs`): what comes is followed, then let go.
    /// After a restart of the daemon attach every stream again before the first `pump` or `tick`, then pump each once.
    /// The driver shares `pipe` for its readiness notification (`AsyncFd<Arc<OwnedFd>>`).
    ///
    /// # Errors
    /// `NotAPipe`, `Attached`, `TooManyFiles`. Trouble with a file is no error here: it is retried.
    pub fn attach(
        &mut self,
        source: Source,
        pipe: Arc<OwnedFd>,
        files: &[FileSpec],
    ) -> Result<StreamId, LogsError> {
        unimplemented!()
    }

    /// Changes the files of an attached stream, from its next line on.
    ///
    /// # Errors
    /// As `attach`.
    pub fn redirect(&mut self, stream: StreamId, files: &[FileSpec]) -> Result<(), LogsError> {
        unimplemented!()
    }

    /// Moves what the pipe holds, at most about a megabyte a call. Call on every readable edge.
    pub fn pump(&mut self, stream: StreamId, now: Moment) -> Progress {
        unimplemented!()
    }

    /// The worker is gone: what it left, finished line or not, is written, and then the stream is detached even if
    /// a grandchild still holds the pipe's other end. Answers `Ended` or, when a file is in trouble, `Waiting`
    /// (then [`Event::Ended`] comes later).
    pub fn finish(&mut self, stream: StreamId, now: Moment) -> Progress {
        unimplemented!()
    }

    /// Does what became due: retries, unfinished lines, rotation by time, one step of compression.
    pub fn tick(&mut self, now: Moment) {
        unimplemented!()
    }

    /// When `tick` wants to be called (CLOCK_BOOTTIME nanoseconds); `None` while all is quiet.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        unimplemented!()
    }

    /// What happened, oldest first.
    pub fn next_event(&mut self) -> Option<Event> {
        unimplemented!()
    }

    /// Copies of what every stream that passes `filter` writes from now on, until `listener` answers `Stop`. Costs nothing when
    /// nobody listens.
    pub fn subscribe(
        &mut self,
        filter: impl Fn(&Source) -> bool + 'static,
        listener: impl FnMut(&Chunk<'_>) -> Keep + 'static,
    ) -> SubscriptionId {
        unimplemented!()
    }

    /// Ends a subscription; an unknown one is none.
    pub fn unsubscribe(&mut self, subscription: SubscriptionId) {
        unimplemented!()
    }

    /// Empties the live files of a group (PM2's `flush`); all groups with `None`.
    ///
    /// # Errors
    /// The first file that could not be emptied; the others are.
    pub fn flush(&mut self, group: Option<&str>) -> Result<(), LogsError> {
        unimplemented!()
    }

    /// Opens every file anew by its path (PM2's `reloadLogs`, SIGUSR2).
    pub fn reopen(&mut self) {
        unimplemented!()
    }

    /// Sets the group's files aside now, at their next line end; all groups with `None`.
    pub fn rotate(&mut self, group: Option<&str>) {
        unimplemented!()
    }

    /// Forgets files of the group that no stream writes to (the app was deleted). The files themselves stay.
    pub fn forget(&mut self, group: &str) {
        unimplemented!()
    }
}
