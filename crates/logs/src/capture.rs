//! All streams of a daemon and the files they go to.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use jiff::tz::TimeZone;

use crate::kit::Kit;
use crate::pipe::{available, capacity};
use crate::pump::{Attached, Pump};
use crate::{Chunk, Event, FileSpec, Keep, LogsError, Moment, Safe, Source, StreamId, SubscriptionId};

/// A stream's own file, and the combined one (PM2's `log_file`).
pub(crate) const FILES_MAX: usize = 2;
/// Streams that a tick pumps; the rest have the next tick, which is due at once, so that others run in between.
const PUMPS_A_TICK: usize = 8;

/// What a pump came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The budget of one call is used up and there is more: let others run, then call again.
    More,
    /// Nothing to do until the pipe's next edge (new bytes or hang-up); an unfinished line may rest in the pipe.
    Idle,
    /// Held back by a file (full disk, another stream's unfinished line in it, or its turn): `tick` goes on by itself.
    Waiting,
    /// All is written and the stream is detached; also reported as [`Event::Ended`].
    Ended,
}

/// All streams of a daemon and the files they go to. See the crate's documentation for how to drive it.
#[derive(Debug)]
pub struct Capture {
    streams: HashMap<StreamId, Attached>,
    kit: Kit,
}

// === impl Capture ===

impl Capture {
    /// Opens over the descriptors of [`Safe`], fresh or from the keeper. Dates are printed in `zone`.
    ///
    /// # Errors
    /// When the kernel refuses the scratch pipe or the journal is not one of ours.
    pub fn open(safe: Safe, zone: TimeZone) -> Result<Self, LogsError> {
        Ok(Self { streams: HashMap::new(), kit: Kit::new(safe, zone)? })
    }

    /// Duplicates of the descriptors of [`Safe`], for another keeper.
    ///
    /// # Errors
    /// When the limit on open files is reached.
    pub fn safe(&self) -> Result<Safe, LogsError> {
        self.kit.journal.safe()
    }

    /// Takes charge of a pipe. No files (`disable_logs`): what comes is followed, then let go.
    /// After a restart of the daemon attach every stream again before the first `pump` or `tick`, then pump each once.
    /// The driver shares `pipe` for its readiness notification (`AsyncFd<Arc<OwnedFd>>`).
    ///
    /// # Errors
    /// `NotAPipe`, `Attached`, `TooManyFiles`; `System` when the kernel refuses memory for the journal. Trouble with
    /// a file is no error here: it is retried.
    pub fn attach(
        &mut self,
        source: Source,
        pipe: Arc<OwnedFd>,
        files: &[FileSpec],
    ) -> Result<StreamId, LogsError> {
        let id = source.id();
        if self.streams.contains_key(&id) {
            return Err(LogsError::Attached { stream: id });
        }
        let capacity = capacity(&pipe).map_err(|_| LogsError::NotAPipe { stream: id })?;
        let source = Arc::new(source);
        if let Some((_, owed)) = self.kit.owed.take_if(|(stream, _)| *stream == id) {
            let system = |source| LogsError::System { doing: "finish what a killed daemon began", source };
            let left = owed.min(available(&pipe).map_err(system)? as u64);
            self.kit.journal.consume(id, &pipe, left).map_err(system)?;
        }
        let mut stream = Attached::new(source, pipe, capacity, self.kit.scratch.sure_bytes());
        match self.acquire(&mut stream, files) {
            Ok(()) => {
                self.streams.insert(id, stream);
                Ok(id)
            }
            Err(e) => {
                for file in stream.files {
                    self.kit.release(file, id);
                }
                Err(e)
            }
        }
    }

    /// Changes the files of an attached stream. An unfinished line in a former file that is framed is ended there.
    ///
    /// # Errors
    /// As `attach`; an unknown stream is none.
    pub fn redirect(&mut self, stream: StreamId, files: &[FileSpec], now: Moment) -> Result<(), LogsError> {
        let Some(mut attached) = self.streams.remove(&stream) else { return Ok(()) };
        let former = std::mem::take(&mut attached.files);
        let result = self.acquire(&mut attached, files);
        for file in former {
            if !attached.files.contains(&file) {
                Pump::new(&mut attached, &mut self.kit, now).leave(file);
                self.kit.release(file, stream);
            }
        }
        self.streams.insert(stream, attached);
        self.kit.ready.push_back(stream);
        result
    }

    fn acquire(&mut self, stream: &mut Attached, files: &[FileSpec]) -> Result<(), LogsError> {
        let id = stream.source.id();
        if files.len() > FILES_MAX {
            return Err(LogsError::TooManyFiles { stream: id, count: files.len() });
        }
        for spec in files {
            let file = self.kit.acquire(spec, &stream.source)?;
            if !stream.files.contains(&file) {
                stream.files.push(file);
            }
            if spec.rotation.as_ref().is_some_and(|r| r.every.is_some()) {
                self.kit.housekeeping.period_ns = Some(0);
            }
        }
        Ok(())
    }

    /// Moves what the pipe holds, at most about a megabyte a call. Call on every readable edge. An unknown stream has ended.
    pub fn pump(&mut self, stream: StreamId, now: Moment) -> Progress {
        self.kit.settle();
        let Some(attached) = self.streams.get_mut(&stream) else { return Progress::Ended };
        let progress = Pump::new(attached, &mut self.kit, now).run();
        if progress == Progress::Ended
            && let Some(attached) = self.streams.remove(&stream)
        {
            for file in attached.files {
                self.kit.release(file, stream);
            }
        }
        progress
    }

    /// The worker is gone: what it left, finished line or not, is written, and then the stream is detached even if
    /// a grandchild still holds the pipe's other end. Answers `Ended` or, when a file is in trouble or others go first,
    /// `Waiting` (then [`Event::Ended`] comes later).
    pub fn finish(&mut self, stream: StreamId, now: Moment) -> Progress {
        if let Some(attached) = self.streams.get_mut(&stream)
            && attached.closing_bytes.is_none()
        {
            // A pipe that cannot be asked has nothing left.
            attached.closing_bytes = Some(available(&attached.pipe).unwrap_or(0));
        }
        loop {
            // Ends: what is left to move is counted, and no more than a pipe holds.
            let progress = self.pump(stream, now);
            if progress != Progress::More {
                return progress;
            }
        }
    }

    /// Does what became due: retries, unfinished lines, rotation by time, one step of compression.
    pub fn tick(&mut self, now: Moment) {
        self.kit.settle();
        self.wake_due(now);
        for _ in 0..PUMPS_A_TICK {
            let Some(stream) = self.kit.ready.pop_front() else { break };
            if self.pump(stream, now) == Progress::More {
                self.kit.ready.push_back(stream);
            }
        }
        self.kit.check_periods(now);
        self.kit.keep_house(now);
    }

    fn wake_due(&mut self, now: Moment) {
        let kit = &mut self.kit;
        let due = kit.retries.extract_if(.., |(at, _)| *at <= now.boot_ns);
        kit.ready.extend(due.map(|(_, stream)| stream));
        for id in kit.uneasy.clone() {
            let file = kit.file(id);
            let asked = file.rotate_asked;
            if file.has_waiters() && file.wake_at_ns().is_none_or(|at| at <= now.boot_ns) {
                let contended = file.contended_ns;
                kit.wake(id);
                // Still the same wait, if it turns out not to be over.
                kit.file(id).contended_ns = contended;
            }
            if asked {
                kit.rotate_idle(id, now);
            }
            let file = kit.file(id);
            if file.has_pending() && file.flush_ns <= now.boot_ns {
                file.flush(now.boot_ns);
            }
            if !file.has_waiters() && !file.has_pending() {
                kit.uneasy.remove(&id);
            }
        }
    }

    /// When `tick` wants to be called (CLOCK_BOOTTIME nanoseconds, maybe past); `None` while all is quiet.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        if !self.kit.ready.is_empty() {
            return Some(0);
        }
        let retry = self.kit.retries.iter().map(|(at, _)| *at).min();
        let files = self.kit.uneasy.iter().map(|&id| self.kit.file_ref(id).wake_at_ns().unwrap_or(0)).min();
        [retry, files, self.kit.housekeeping.next_deadline()].into_iter().flatten().min()
    }

    /// What happened, oldest first.
    pub fn next_event(&mut self) -> Option<Event> {
        self.kit.events.pop_front()
    }

    /// Copies of what every stream that passes `filter` writes from now on, until `listener` answers `Stop`. Costs
    /// nothing when nobody listens. Whole lines, as the worker wrote them (a line that is too long to rest in
    /// its pipe comes in parts).
    pub fn subscribe(
        &mut self,
        filter: impl Fn(&Source) -> bool + 'static,
        listener: impl FnMut(&Chunk<'_>) -> Keep + 'static,
    ) -> SubscriptionId {
        self.kit.followers.add(Box::new(filter), Box::new(listener))
    }

    /// Ends a subscription; an unknown one is none.
    pub fn unsubscribe(&mut self, subscription: SubscriptionId) {
        self.kit.followers.remove(subscription);
    }

    /// Empties the live files of a group (PM2's `flush`); all groups with `None`. Rotated files stay.
    ///
    /// # Errors
    /// The first file that could not be emptied; the others are.
    pub fn flush(&mut self, group: Option<&str>) -> Result<(), LogsError> {
        let mut result = Ok(());
        for (_, file) in self.kit.files() {
            if group.is_none_or(|group| &*file.spec.group == group)
                && let Err(source) = file.empty()
                && result.is_ok()
            {
                result = Err(LogsError::File { doing: "empty", path: file.spec.path.clone(), source });
            }
        }
        result
    }

    /// Opens every file anew by its path (PM2's `reloadLogs`, SIGUSR2).
    pub fn reopen(&mut self) {
        for (_, file) in self.kit.files() {
            file.close();
        }
    }

    /// Sets the group's files aside at the next tick, or as soon as they end at the end of a line; all groups with `None`.
    pub fn rotate(&mut self, group: Option<&str>) {
        let mut asked = Vec::new();
        for (id, file) in self.kit.files() {
            if group.is_none_or(|group| &*file.spec.group == group) {
                file.rotate_asked = true;
                asked.push(id);
            }
        }
        self.kit.uneasy.extend(asked);
    }

    /// Forgets files of the group that no stream writes to (the app was deleted). The files themselves stay.
    pub fn forget(&mut self, group: &str) {
        self.kit.forget(group);
    }
}
