//! What all streams share: the files, the journal, the scratch, the events.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::tz::TimeZone;

use crate::file::{FileId, LogFile};
use crate::follow::Followers;
use crate::housekeeping::Housekeeping;
use crate::journal::{Before, Journal, Unfinished};
use crate::pipe::Scratch;
use crate::{Event, FileSpec, LogsError, Notice, Safe, Source, StreamId};

/// Notices kept for a driver that does not fetch them; older ones give way. (Ends of streams never do.)
const EVENTS_MAX: usize = 1024;

/// What all streams share.
#[derive(Debug)]
pub(crate) struct Kit {
    files: Vec<Option<LogFile>>,
    by_path: HashMap<PathBuf, FileId>,
    pub(crate) scratch: Scratch,
    pub(crate) journal: Journal,
    pub(crate) followers: Followers,
    pub(crate) housekeeping: Housekeeping,
    pub(crate) events: VecDeque<Event>,
    /// Streams to pump at the next tick.
    pub(crate) ready: VecDeque<StreamId>,
    /// Streams to pump at a time, after the kernel refused something that it never should.
    pub(crate) retries: Vec<(u64, StreamId)>,
    /// Files with waiters, in trouble, or asked to rotate: the only ones that a tick looks at.
    pub(crate) uneasy: BTreeSet<FileId>,
    /// What a killed daemon had begun to write, until its files are opened again.
    rollback: Vec<Before>,
    /// What a killed daemon had written but not consumed, until its stream is attached again.
    pub(crate) owed: Option<(StreamId, u64)>,
    /// False from a restart until the first pump: then what was not attached again is gone.
    settled: bool,
    /// A stream whose written bytes could not be consumed; nothing else may use the stage before they are.
    pub(crate) unconsumed: Option<(StreamId, Arc<OwnedFd>)>,
    pub(crate) zone: TimeZone,
}

// === impl Kit ===

impl Kit {
    pub(crate) fn new(safe: Safe, zone: TimeZone) -> Result<Self, LogsError> {
        let (journal, Unfinished { rollback, owed }) = Journal::open(safe)?;
        Ok(Self {
            files: Vec::new(),
            by_path: HashMap::new(),
            scratch: Scratch::new()?,
            journal,
            followers: Followers::default(),
            housekeeping: Housekeeping::default(),
            events: VecDeque::new(),
            ready: VecDeque::new(),
            retries: Vec::new(),
            uneasy: BTreeSet::new(),
            rollback,
            owed,
            settled: false,
            unconsumed: None,
            zone,
        })
    }

    /// After this, records of the previous daemon count no more.
    pub(crate) fn settle(&mut self) {
        if !self.settled {
            // If this fails now, so does the first transaction, which is retried.
            self.settled = self.journal.idle().is_ok();
            if self.settled {
                self.rollback.clear();
                self.owed = None;
            }
        }
    }

    pub(crate) fn file(&mut self, id: FileId) -> &mut LogFile {
        self.files[id.0 as usize].as_mut().expect("a file outlives the streams and lists that name it")
    }

    pub(crate) fn file_ref(&self, id: FileId) -> &LogFile {
        self.files[id.0 as usize].as_ref().expect("a file outlives the streams and lists that name it")
    }

    pub(crate) fn files(&mut self) -> impl Iterator<Item = (FileId, &mut LogFile)> {
        let ids = (0..).map(FileId);
        ids.zip(&mut self.files).filter_map(|(id, file)| Some((id, file.as_mut()?)))
    }

    /// The file of that path, new or known; `source` writes to it from now on. The latest spec counts.
    pub(crate) fn acquire(&mut self, spec: &FileSpec, source: &Arc<Source>) -> Result<FileId, LogsError> {
        let id = match self.by_path.get(&spec.path) {
            Some(&id) => {
                let file = self.file(id);
                if file.spec.rotation != spec.rotation {
                    file.period = None;
                }
                file.spec = spec.clone();
                id
            }
            None => self.add(spec)?,
        };
        let file = self.file(id);
        if !file.writers.iter().any(|writer| writer.id() == source.id()) {
            file.writers.push(Arc::clone(source));
        }
        if file.rollback.is_some() {
            // If it cannot be opened now, it is cut back when it can.
            let _ = file.refresh(0);
        }
        Ok(id)
    }

    fn add(&mut self, spec: &FileSpec) -> Result<FileId, LogsError> {
        let system = |source| LogsError::System { doing: "write the log journal", source };
        let mut file = LogFile::new(spec.clone());
        (file.slot, file.note) = self.journal.slot(file.key).map_err(system)?;
        if let Some(at) = self.rollback.iter().position(|before| before.key == file.key) {
            file.rollback = Some(self.rollback.swap_remove(at));
        }
        let free = self.files.iter().position(Option::is_none);
        let at = free.unwrap_or(self.files.len());
        if free.is_none() {
            self.files.push(None);
        }
        self.files[at] = Some(file);
        let id = FileId(u32::try_from(at).expect("fewer files than u32"));
        self.by_path.insert(spec.path.clone(), id);
        if spec.rotation.is_some() {
            self.housekeeping.tidy(Arc::clone(&spec.group));
        }
        Ok(id)
    }

    /// The stream writes there no more; its waiters go on.
    pub(crate) fn release(&mut self, id: FileId, stream: StreamId) {
        let file = self.file(id);
        file.writers.retain(|writer| writer.id() != stream);
        if file.writers.is_empty() {
            // Idle files hold no descriptor.
            file.close();
        }
        self.wake(id);
    }

    /// Forgets the group's files that nobody writes to.
    pub(crate) fn forget(&mut self, group: &str) {
        for at in 0..self.files.len() {
            let gone = |file: &LogFile| file.writers.is_empty() && &*file.spec.group == group;
            if self.files[at].as_ref().is_some_and(gone)
                && let Some(file) = self.files[at].take()
            {
                self.journal.free(file.slot);
                self.by_path.remove(&file.spec.path);
                self.uneasy.retain(|id| id.0 as usize != at);
            }
        }
    }

    /// All that wait for the file try again at the next tick; false when nobody does.
    pub(crate) fn wake(&mut self, id: FileId) -> bool {
        let file = self.file(id);
        file.contended_ns = None;
        let waiters = std::mem::take(&mut file.waiters);
        let any = !waiters.is_empty();
        self.ready.extend(waiters);
        any
    }

    pub(crate) fn notice(&mut self, notice: Notice) {
        if self.events.len() >= EVENTS_MAX
            && let Some(at) = self.events.iter().position(|event| matches!(event, Event::Notice(_)))
        {
            self.events.remove(at);
        }
        self.events.push_back(Event::Notice(notice));
    }

    pub(crate) fn housekeeping_notice(&mut self, path: &Path, reason: &dyn std::fmt::Display) {
        self.notice(Notice::Housekeeping { path: path.to_owned(), reason: reason.to_string() });
    }
}
