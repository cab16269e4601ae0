//! Whether a stream may write to a file now, and what has to happen to the file first.
//!
//! A file that cannot be written is in *trouble*: its streams wait in their pipes and try again every second;
//! after the patience of [`WhenFull::Drop`] their lines are let go and counted, and the count is the first thing
//! that is written when writing works again.

use std::io;

use crate::file::{FileId, Line, Trouble};
use crate::format::Stamp;
use crate::pump::{Pump, RETRY_NS, Step};
use crate::{Notice, Progress, StreamId, WhenFull};

/// A stream that stopped in the middle of a line for so long lets others go first: its line is ended for it.
pub(crate) const STALL_NS: u64 = 1_000_000_000;
/// And so does one that never stops but does not end its line either.
pub(crate) const STALL_MAX_NS: u64 = 10_000_000_000;
/// A device that takes no more is asked again after this; it is not full, only slow.
pub(crate) const DEVICE_RETRY_NS: u64 = 50_000_000;

/// The answer for one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// Open, at its end, and this stream's turn.
    Write,
    /// Not now; the stream is on the file's list.
    Wait,
    /// Patience is over: the bytes are to be counted and let go.
    Skip,
}

// === impl Pump (the gate) ===

impl Pump<'_> {
    pub(crate) fn admit(&mut self, id: FileId) -> Admitted {
        let now_ns = self.now.boot_ns;
        if let Some(trouble) = self.kit.file(id).trouble
            && trouble.retry_ns > now_ns
        {
            return if trouble.dropping { Admitted::Skip } else { self.wait(id) };
        }
        match self.prepare(id) {
            Ok(true) => Admitted::Write,
            Ok(false) => {
                self.kit.file(id).contended_ns.get_or_insert(now_ns);
                self.wait(id)
            }
            Err(e) => self.trouble(id, &e),
        }
    }

    /// Brings the file to where this stream can write; false while another stream's unfinished line is in the way.
    fn prepare(&mut self, id: FileId) -> io::Result<bool> {
        let me = self.id();
        let now_ns = self.now.boot_ns;
        let file = self.kit.file(id);
        file.refresh(now_ns)?;
        let mine = file.note.owner == Some(me);
        if !mine && (file.is_framed() || file.writers.len() > 1) && !file.is_at_line_start() {
            if file.live_owner().is_some() && !file.is_stalled(now_ns) {
                return Ok(false);
            }
            if file.is_framed() {
                self.end_line(id)?;
            }
        }
        if !mine {
            self.kit.file(id).contended_ns = None;
        }
        if self.kit.file(id).note.dropped > 0 {
            self.confess(id)?;
        }
        self.kit.rotate_if_due(id, self.now)?;
        Ok(true)
    }

    fn wait(&mut self, id: FileId) -> Admitted {
        let me = self.id();
        let file = self.kit.file(id);
        if !file.waiters.contains(&me) {
            file.waiters.push(me);
        }
        self.kit.uneasy.insert(id);
        Admitted::Wait
    }

    /// Notes that the file could not be written.
    fn trouble(&mut self, id: FileId, error: &io::Error) -> Admitted {
        let now_ns = self.now.boot_ns;
        let slow = error.kind() == io::ErrorKind::WouldBlock;
        let file = self.kit.file(id);
        let path = file.spec.path.clone();
        let when_full = file.spec.when_full;
        let trouble = file.trouble.get_or_insert(Trouble {
            since_ns: now_ns,
            retry_ns: 0,
            dropping: false,
            reported: false,
        });
        trouble.retry_ns = now_ns + if slow { DEVICE_RETRY_NS } else { RETRY_NS };
        let drops = match when_full {
            WhenFull::Block => false,
            WhenFull::Drop { after_ns } => now_ns - trouble.since_ns >= after_ns,
        };
        let (told, told_dropping) = (trouble.reported, trouble.dropping);
        trouble.reported |= !slow || drops;
        trouble.dropping |= drops;
        if !told && (!slow || drops) {
            self.kit.notice(Notice::Blocked { path: path.clone(), reason: error.to_string() });
        }
        if drops && !told_dropping {
            self.kit.notice(Notice::Dropping { path });
            // They can all let go now.
            self.kit.wake(id);
        }
        if drops { Admitted::Skip } else { self.wait(id) }
    }

    /// The same, for a write that failed in the middle of a step.
    pub(crate) fn failed(&mut self, id: FileId, error: &io::Error) -> Step {
        match self.trouble(id, error) {
            Admitted::Wait | Admitted::Write => Step::Stop(Progress::Waiting),
            Admitted::Skip => Step::Moved(0),
        }
    }

    /// Writing works.
    pub(crate) fn recovered(&mut self, id: FileId) {
        let file = self.kit.file(id);
        let Some(trouble) = file.trouble.take() else { return };
        let path = file.spec.path.clone();
        let dropped_bytes = std::mem::take(&mut file.confessed);
        if trouble.reported {
            self.kit.notice(Notice::Resumed { path, dropped_bytes });
        }
        self.kit.wake(id);
    }

    pub(crate) fn count_dropped(&mut self, id: FileId, bytes: usize) -> io::Result<()> {
        let file = self.kit.file(id);
        file.note.dropped += bytes as u64;
        let (slot, note) = (file.slot, file.note);
        self.kit.journal.note(slot, note)
    }

    /// Writes into the file how much of it is missing.
    fn confess(&mut self, id: FileId) -> io::Result<()> {
        if !self.kit.file(id).is_at_line_start() {
            self.end_line(id)?;
        }
        let dropped = self.kit.file(id).note.dropped;
        let line =
            format!("[skep] {dropped} bytes of logs were dropped here: this file could not be written\n");
        self.append(id, |pump, out| {
            let stamp = Stamp { source: &pump.stream.source, now: pump.now, zone: &pump.kit.zone };
            let format = pump.kit.format_of(id);
            format.render(line.as_bytes(), crate::format::At::LineStart, &stamp, out);
        })?;
        let file = self.kit.file(id);
        file.confessed += dropped;
        file.note.dropped = 0;
        let (slot, note) = (file.slot, file.note);
        self.kit.journal.note(slot, note)
    }

    /// Ends an unfinished line for the stream that began it.
    pub(crate) fn end_line(&mut self, id: FileId) -> io::Result<()> {
        let file = self.kit.file(id);
        let owner = match file.note.owner {
            Some(owner) if owner == self.stream.source.id() => {
                Some(std::sync::Arc::clone(&self.stream.source))
            }
            Some(_) => file.live_owner().cloned(),
            None => None,
        };
        let began_by_us = file.note.owner.is_some();
        self.append(id, |pump, out| {
            let zone = &pump.kit.zone;
            let stamp = owner.as_ref().map(|source| Stamp { source, now: pump.now, zone });
            if began_by_us {
                pump.kit.format_of(id).render_end(stamp.as_ref(), out);
            } else {
                // A line that we know nothing of, from before our time.
                out.push(b'\n');
            }
        })
    }

    /// The stream is ending: what it left unfinished in a framed file is finished.
    pub(crate) fn leave(&mut self, id: FileId) {
        let me = self.id();
        let now_ns = self.now.boot_ns;
        let file = self.kit.file(id);
        if file.note.owner == Some(me)
            && file.is_framed()
            && file.trouble.is_none()
            && file.refresh(now_ns).is_ok()
            && !file.is_at_line_start()
        {
            // If this fails, the next writer does it.
            let _ = self.end_line(id);
        }
    }

    /// Notes, before the first byte, that what is written next is this stream's.
    pub(crate) fn own(&mut self, id: FileId) -> io::Result<()> {
        let me = self.id();
        let file = self.kit.file(id);
        if file.note.owner != Some(me) {
            file.note.owner = Some(me);
            let (slot, note) = (file.slot, file.note);
            self.kit.journal.note(slot, note)?;
        }
        Ok(())
    }

    /// Appends something that no stream wrote, all or nothing even if killed.
    fn append(&mut self, id: FileId, render: impl FnOnce(&Self, &mut Vec<u8>)) -> io::Result<()> {
        let mut out = std::mem::take(&mut self.kit.scratch.output);
        out.clear();
        render(self, &mut out);
        let result = self.write_all_or_nothing(id, &out);
        self.kit.scratch.output = out;
        result
    }

    fn write_all_or_nothing(&mut self, id: FileId, bytes: &[u8]) -> io::Result<()> {
        let file = self.kit.file(id);
        let key = file.key;
        let before = file.open.as_ref().expect("refreshed, hence open").before(key);
        self.kit.journal.begin(&[before])?;
        let open = self.kit.file(id).open.as_mut().expect("still open");
        let written = open.write_after_end(bytes);
        match written {
            Ok(()) => open.grew(bytes.len(), Line::Start),
            Err(_) => open.cut_back(before.bytes)?,
        }
        self.kit.journal.idle()?;
        written
    }
}

// === impl LogFile (waiting) ===

impl crate::file::LogFile {
    /// Whether the stream in the middle of a line has kept others waiting long enough.
    fn is_stalled(&self, now_ns: u64) -> bool {
        self.stall_ends_ns().is_some_and(|at| at <= now_ns)
    }

    /// When that will be.
    pub(crate) fn stall_ends_ns(&self) -> Option<u64> {
        let since = self.contended_ns?;
        Some((self.moved_ns.max(since) + STALL_NS).min(since + STALL_MAX_NS))
    }

    /// Offers a device again what it had no room for.
    pub(crate) fn flush(&mut self, now_ns: u64) {
        // Still no room, or gone: asked again.
        let _ = self.refresh(now_ns);
        self.flush_ns = now_ns + DEVICE_RETRY_NS;
        if self.writers.is_empty() {
            self.close();
        }
    }

    /// Streams that wait for this file.
    pub(crate) fn has_waiters(&self) -> bool {
        let waiters: &[StreamId] = &self.waiters;
        !waiters.is_empty()
    }
}
