//! The redo record: what is known after a SIGKILL in the middle of a write.
//!
//! Bytes that are written *changed* (or twice) cannot leave their pipe by the same system call that writes them.
//! So each such write is a small transaction, and the journal, a memfd that outlives the daemon, says how far it came:
//!
//! 1. `Begin{files at these sizes}`: write. Died here: the files are cut back to those sizes; the pipe still has all.
//! 2. `Written{stream, left}`: move `left` bytes from the stream's pipe into the *stage*, another pipe that outlives us
//!    and that nothing else is ever put into. Died here: what the stage holds has left the stream; the rest is owed.
//! 3. `Counted{stream, left}`: empty the stage. Died here: empty it again, and `left` is still owed (normally 0).
//!
//! Each record is one `pwrite` within one page, so it is there or not. The journal also keeps, for each file, whose
//! unfinished line it ends in. Raw lines need no transaction: `splice` is one already.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use crate::capture::FILES_MAX;
use crate::pipe::{available, hand_over, retry};
use crate::{LogsError, Safe, StreamId, crash};

/// "skeplog" and the layout's version.
const MAGIC: u64 = u64::from_le_bytes(*b"skeplog1");
const RECORD_AT: u64 = 64;
const RECORD_WORDS: usize = 4 + FILES_MAX * 4;
const SLOTS_AT: u64 = 4096;
const SLOT_WORDS: usize = 4;
const SLOT_BYTES: u64 = SLOT_WORDS as u64 * 8;

/// A file as it was before a transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Before {
    /// The file's key (a hash of its path).
    pub(crate) key: u64,
    pub(crate) device: u64,
    pub(crate) inode: u64,
    /// Its size.
    pub(crate) bytes: u64,
}

/// What is remembered of one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileNote {
    /// Who wrote last; if the file does not end in `\n` the unfinished line is this stream's.
    pub(crate) owner: Option<StreamId>,
    /// Bytes dropped while the file could not be written.
    pub(crate) dropped: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Begin([Before; FILES_MAX], usize),
    Written(u64, u64),
    Counted(u64, u64),
}

/// What a killed daemon left to do.
#[derive(Debug, Default)]
pub(crate) struct Unfinished {
    /// Files to cut back.
    pub(crate) rollback: Vec<Before>,
    /// Bytes that were written but are still at the head of this stream.
    pub(crate) owed: Option<(StreamId, u64)>,
}

/// The journal and the stage.
#[derive(Debug)]
pub(crate) struct Journal {
    memory: OwnedFd,
    stage_out: OwnedFd,
    stage_in: OwnedFd,
    null: OwnedFd,
    /// The key of each slot, 0 when free.
    keys: Vec<u64>,
}

impl Journal {
    /// Takes the descriptors over and says what was left undone.
    pub(crate) fn open(safe: Safe) -> Result<(Self, Unfinished), LogsError> {
        let system = |source: io::Error| LogsError::System { doing: "read the log journal", source };
        let null = rustix::fs::open("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| system(e.into()))?;
        let Safe { journal: memory, stage_out, stage_in } = safe;
        let bytes = rustix::fs::fstat(&memory).map_err(|e| system(e.into()))?.st_size as u64;
        let mut journal = Self { memory, stage_out, stage_in, null, keys: Vec::new() };
        let [magic] = if bytes == 0 { [0] } else { journal.get(0).map_err(system)? };
        if magic == 0 {
            // Fresh; the magic comes last, in case that we are killed here.
            journal.put(RECORD_AT, &[0; RECORD_WORDS]).map_err(system)?;
            journal.put(0, &[MAGIC]).map_err(system)?;
            return Ok((journal, Unfinished::default()));
        }
        if magic != MAGIC {
            return Err(LogsError::Journal { reason: "it has another layout".into() });
        }
        for slot in 0..bytes.saturating_sub(SLOTS_AT) / SLOT_BYTES {
            let [key, ..] = journal.get::<SLOT_WORDS>(SLOTS_AT + slot * SLOT_BYTES).map_err(system)?;
            journal.keys.push(key);
        }
        let unfinished = journal.recover().map_err(system)?;
        Ok((journal, unfinished))
    }

    /// Duplicates of the descriptors.
    pub(crate) fn safe(&self) -> Result<Safe, LogsError> {
        let copy = |fd: &OwnedFd| {
            fd.try_clone().map_err(|source| LogsError::System { doing: "duplicate the log journal", source })
        };
        Ok(Safe {
            journal: copy(&self.memory)?,
            stage_out: copy(&self.stage_out)?,
            stage_in: copy(&self.stage_in)?,
        })
    }

    fn recover(&mut self) -> io::Result<Unfinished> {
        let mut unfinished = Unfinished::default();
        match Phase::decode(self.get(RECORD_AT)?) {
            // The stage is empty then; if ever it were not, nothing could be consumed any more.
            Phase::Idle => self.drain_stage()?,
            Phase::Begin(files, count) => {
                self.drain_stage()?;
                unfinished.rollback = files[..count].to_vec();
            }
            Phase::Written(stream, left) => {
                let staged = available(&self.stage_out)? as u64;
                let left = left.saturating_sub(staged);
                self.empty_stage(stream, left)?;
                unfinished.owed = StreamId::from_raw(stream).map(|id| (id, left));
            }
            Phase::Counted(stream, left) => {
                self.empty_stage(stream, left)?;
                unfinished.owed = StreamId::from_raw(stream).map(|id| (id, left));
            }
        }
        unfinished.owed = unfinished.owed.filter(|&(_, left)| left > 0);
        Ok(unfinished)
    }

    /// Step 1: these files are about to be written at these sizes.
    pub(crate) fn begin(&mut self, files: &[Before]) -> io::Result<()> {
        let mut all = [Before::default(); FILES_MAX];
        all[..files.len()].copy_from_slice(files);
        self.record(Phase::Begin(all, files.len()))
    }

    /// Nothing is under way (after a rollback, or a write that consumed nothing).
    pub(crate) fn idle(&mut self) -> io::Result<()> {
        self.record(Phase::Idle)
    }

    /// What is still to be consumed of a stream, after a `consume` that failed.
    pub(crate) fn owed_by(&mut self, stream: StreamId) -> io::Result<u64> {
        let owed = self.recover()?.owed;
        Ok(owed.filter(|(owing, _)| *owing == stream).map_or(0, |(_, left)| left))
    }

    /// Steps 2 and 3: all is written, so the first `bytes` of the pipe must go, exactly once.
    pub(crate) fn consume(&mut self, stream: StreamId, pipe: impl AsFd, bytes: u64) -> io::Result<()> {
        let mut left = bytes;
        while left > 0 {
            self.record(Phase::Written(stream.raw(), left))?;
            let staged = hand_over(&pipe, &self.stage_in, usize::try_from(left).unwrap_or(usize::MAX))?;
            if staged == 0 {
                // Only if someone else read the worker's pipe: what they took is not ours to wait for.
                break;
            }
            left -= staged as u64;
            self.empty_stage(stream.raw(), left)?;
        }
        if left > 0 { self.idle() } else { Ok(()) }
    }

    fn empty_stage(&mut self, stream: u64, left: u64) -> io::Result<()> {
        self.record(Phase::Counted(stream, left))?;
        self.drain_stage()?;
        // `Counted(.., 0)` on an empty stage is as good as idle; a rest needs its own record.
        if left > 0 { self.record(Phase::Written(stream, left)) } else { Ok(()) }
    }

    fn drain_stage(&self) -> io::Result<()> {
        loop {
            let staged = available(&self.stage_out)?;
            if staged == 0 {
                return Ok(());
            }
            hand_over(&self.stage_out, &self.null, staged)?;
        }
    }

    /// The slot of a file, with what is remembered of it.
    pub(crate) fn slot(&mut self, key: u64) -> io::Result<(u32, FileNote)> {
        let known = self.keys.iter().position(|&k| k == key);
        let slot = match known.or_else(|| self.keys.iter().position(|&k| k == 0)) {
            Some(slot) => slot,
            None => {
                self.keys.push(0);
                self.keys.len() - 1
            }
        };
        let at = slot_at(slot);
        let note = if known.is_some() {
            let [_, owner, dropped, _] = self.get::<SLOT_WORDS>(at)?;
            FileNote { owner: StreamId::from_raw(owner), dropped }
        } else {
            self.put(at, &[key, 0, 0, 0])?;
            self.keys[slot] = key;
            FileNote::default()
        };
        Ok((u32::try_from(slot).expect("fewer files than u32"), note))
    }

    /// Remembers something else of a file.
    pub(crate) fn note(&mut self, slot: u32, note: FileNote) -> io::Result<()> {
        let key = self.keys[slot as usize];
        self.put(slot_at(slot as usize), &[key, note.owner.map_or(0, StreamId::raw), note.dropped, 0])
    }

    /// Forgets a file.
    pub(crate) fn free(&mut self, slot: u32) {
        if self.put(slot_at(slot as usize), &[0; SLOT_WORDS]).is_ok() {
            self.keys[slot as usize] = 0;
        }
    }

    fn record(&mut self, phase: Phase) -> io::Result<()> {
        self.put(RECORD_AT, &phase.encode())
    }

    fn put<const N: usize>(&self, at: u64, words: &[u64; N]) -> io::Result<()> {
        let mut bytes = [0; 256];
        for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        let put = retry(|| {
            crash::point();
            rustix::io::pwrite(&self.memory, &bytes[..N * 8], at)
        })?;
        if put == N * 8 { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    fn get<const N: usize>(&self, at: u64) -> io::Result<[u64; N]> {
        let mut bytes = [0; 256];
        let got = retry(|| rustix::io::pread(&self.memory, &mut bytes[..N * 8], at))?;
        if got != N * 8 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut words = [0; N];
        for (word, from) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_le_bytes(from.try_into().expect("chunks of 8"));
        }
        Ok(words)
    }
}

fn slot_at(slot: usize) -> u64 {
    SLOTS_AT + slot as u64 * SLOT_BYTES
}

// === impl Phase ===

impl Phase {
    fn encode(self) -> [u64; RECORD_WORDS] {
        let mut words = [0; RECORD_WORDS];
        match self {
            Self::Idle => {}
            Self::Begin(files, count) => {
                words[0] = 1;
                words[1] = count as u64;
                for (to, file) in words[4..].chunks_exact_mut(4).zip(files) {
                    to.copy_from_slice(&[file.key, file.device, file.inode, file.bytes]);
                }
            }
            Self::Written(stream, left) => words[..3].copy_from_slice(&[2, stream, left]),
            Self::Counted(stream, left) => words[..3].copy_from_slice(&[3, stream, left]),
        }
        words
    }

    /// An unknown phase is idle: only a newer skep writes one, and it would have finished its work first.
    fn decode(words: [u64; RECORD_WORDS]) -> Self {
        match words[0] {
            1 => {
                let mut files = [Before::default(); FILES_MAX];
                for (file, w) in files.iter_mut().zip(words[4..].chunks_exact(4)) {
                    *file = Before { key: w[0], device: w[1], inode: w[2], bytes: w[3] };
                }
                Self::Begin(files, (words[1] as usize).min(FILES_MAX))
            }
            2 => Self::Written(words[1], words[2]),
            3 => Self::Counted(words[1], words[2]),
            _ => Self::Idle,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(raw: u64) -> StreamId {
        StreamId::from_raw(raw).expect("not 0")
    }

    fn pipe_with(bytes: &[u8]) -> (OwnedFd, OwnedFd) {
        let (out, into) = rustix::pipe::pipe().expect("pipe");
        rustix::io::write(&into, bytes).expect("write");
        (out, into)
    }

    #[test]
    fn a_journal_that_was_killed_at_birth_is_born_again() {
        let safe = Safe::create().expect("safe");
        for calls in 0..2 {
            crash::arm(Some(calls));
            let copy = safe.try_clone().expect("clone");
            let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(Journal::open(copy))));
            crash::arm(None);
            died.expect_err("the fuse burns");
        }
        let (mut journal, unfinished) = Journal::open(safe.try_clone().expect("clone")).expect("open");
        assert!(unfinished.rollback.is_empty() && unfinished.owed.is_none());
        let note = FileNote { owner: Some(id(7)), dropped: 9 };
        let (slot, _) = journal.slot(5).expect("slot");
        journal.note(slot, note).expect("note");
        let (mut journal, _) = Journal::open(safe).expect("open again");
        assert_eq!(journal.slot(5).expect("slot"), (slot, note));
        journal.free(slot);
        assert_eq!(journal.slot(6).expect("slot"), (slot, FileNote::default()));
    }

    #[test]
    fn bytes_are_consumed_exactly_once_whatever_call_is_the_last() {
        for calls in 0.. {
            let safe = Safe::create().expect("safe");
            let (out, _into) = pipe_with(b"written, to be consumed|kept");
            let (mut journal, _) = Journal::open(safe.try_clone().expect("clone")).expect("open");
            journal.record(Phase::Written(7, 24)).expect("record");
            crash::arm(Some(calls));
            let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                journal.consume(id(7), &out, 24).expect("consume");
            }));
            crash::arm(None);
            let (mut journal, unfinished) = Journal::open(safe).expect("open");
            if let Some((stream, left)) = unfinished.owed {
                assert_eq!(stream, id(7));
                journal.consume(id(7), &out, left).expect("consume the rest");
            }
            assert_eq!(available(&out).expect("available"), 4, "after {calls} calls");
            if died.is_ok() {
                assert!(calls > 3);
                break;
            }
        }
    }

    #[test]
    fn another_layout_is_refused_with_a_remedy() {
        let safe = Safe::create().expect("safe");
        rustix::io::pwrite(&safe.journal, &[0xff; 4096], 0).expect("write");
        let error = Journal::open(safe).expect_err("refused").to_string();
        assert!(error.contains("start with a fresh one"), "{error}");
    }
}
