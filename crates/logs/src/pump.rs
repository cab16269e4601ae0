//! One stream's turn: from its pipe into its files.
//!
//! The way of the bytes: nothing to write to, let go; one raw file, `splice`; else a transaction (`transact.rs`).
//! A lone raw stream is moved without a look at its lines. Streams that share a file are cut at line ends: an
//! unfinished line rests in its pipe until its end comes, its writer goes, or it gets so long that the pipe might fill;
//! then it is streamed, the file is its own until it ends, and others wait (`admit.rs` says how long).

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;

use crate::admit::{Admitted, DEVICE_RETRY_NS};
use crate::capture::FILES_MAX;
use crate::file::{FileId, Line};
use crate::format::Format;
use crate::kit::Kit;
use crate::pipe::{available, hand_over_at, hung_up, least_full_bytes};
use crate::{Chunk, Event, Moment, Progress, Source, StreamId};

/// Bytes moved by one call, about: a full pipe of the largest size without privileges.
const PUMP_BYTES: usize = 1 << 20;
/// An unfinished line stays in its pipe up to this share of the pipe, and never so long that the pipe may be full
/// (see `least_full_bytes`): a writer must not be blocked by a line that we hold.
const HOLD_SHARE: usize = 4;
/// Between tries after the kernel refused something that it never should.
pub(crate) const RETRY_NS: u64 = 1_000_000_000;

/// A stream that is attached.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) source: Arc<Source>,
    pub(crate) pipe: Arc<OwnedFd>,
    pub(crate) files: Vec<FileId>,
    /// An unfinished line of so many bytes is held no longer.
    hold_bytes: usize,
    /// Bytes at the head of the pipe that are known to hold no line end.
    held_bytes: usize,
    /// Set by `finish`: what is still to be moved before the stream ends, come what may.
    pub(crate) closing_bytes: Option<usize>,
}

/// A stream's turn.
#[derive(Debug)]
pub(crate) struct Pump<'a> {
    pub(crate) stream: &'a mut Attached,
    pub(crate) kit: &'a mut Kit,
    pub(crate) now: Moment,
    /// A line ended that others had waited for: they go first now, or this stream's next line might keep them waiting.
    others_turn: bool,
}

/// What one round came to.
#[derive(Debug)]
pub(crate) enum Step {
    /// So many bytes left the pipe; there may be more. 0: the way has changed, try again.
    Moved(usize),
    /// No more for now.
    Stop(Progress),
}

/// Where the pipe's bytes are cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) bytes: usize,
    pub(crate) line: Line,
    /// The unfinished line will get no further bytes.
    pub(crate) last: bool,
}

// === impl Attached ===

impl Attached {
    pub(crate) fn new(source: Arc<Source>, pipe: Arc<OwnedFd>, capacity: usize, peek_bytes: usize) -> Self {
        let hold_bytes = (capacity / HOLD_SHARE).min(least_full_bytes(capacity)).min(peek_bytes);
        Self {
            source,
            pipe,
            files: Vec::with_capacity(FILES_MAX),
            hold_bytes,
            held_bytes: 0,
            closing_bytes: None,
        }
    }
}

// === impl Pump ===

impl<'a> Pump<'a> {
    pub(crate) fn new(stream: &'a mut Attached, kit: &'a mut Kit, now: Moment) -> Self {
        Self { stream, kit, now, others_turn: false }
    }

    pub(crate) fn id(&self) -> StreamId {
        self.stream.source.id()
    }

    /// Moves about [`PUMP_BYTES`] at most.
    pub(crate) fn run(&mut self) -> Progress {
        let mut moved = 0;
        while moved < PUMP_BYTES {
            match self.step() {
                Ok(Step::Moved(bytes)) => {
                    moved += bytes;
                    if bytes > 0 {
                        self.stream.held_bytes = 0;
                    }
                    if let Some(left) = &mut self.stream.closing_bytes {
                        *left = left.saturating_sub(bytes);
                    }
                    if std::mem::take(&mut self.others_turn) {
                        let id = self.id();
                        self.kit.ready.push_back(id);
                        return Progress::Waiting;
                    }
                }
                Ok(Step::Stop(progress)) => return progress,
                Err(_) => {
                    let id = self.id();
                    self.kit.retries.push((self.now.boot_ns + RETRY_NS, id));
                    return Progress::Waiting;
                }
            }
        }
        Progress::More
    }

    fn step(&mut self) -> io::Result<Step> {
        self.consume_rest()?;
        let mut bytes = available(&self.stream.pipe)?;
        if let Some(left) = self.stream.closing_bytes {
            bytes = bytes.min(left);
        }
        if bytes == 0 {
            return Ok(self.at_empty());
        }
        let mut targets = Vec::with_capacity(FILES_MAX);
        let mut dropping = Vec::new();
        for at in 0..self.stream.files.len() {
            let file = self.stream.files[at];
            match self.admit(file) {
                Admitted::Write => targets.push(file),
                Admitted::Skip => dropping.push(file),
                Admitted::Wait => return Ok(Step::Stop(Progress::Waiting)),
            }
        }
        let step = match targets[..] {
            [] => self.let_go(bytes, dropping.is_empty())?,
            [file] if self.splices(file) => self.splice(file, bytes, dropping.is_empty())?,
            _ => self.transact(&targets, bytes)?,
        };
        if let Step::Moved(moved @ 1..) = step {
            for file in dropping {
                self.count_dropped(file, moved)?;
            }
        }
        Ok(step)
    }

    fn splices(&mut self, file: FileId) -> bool {
        let file = self.kit.file(file);
        file.spec.format == Format::Raw && !file.no_splice
    }

    /// The way without files.
    fn let_go(&mut self, bytes: usize, silent: bool) -> io::Result<Step> {
        let following = self.kit.followers.want(&self.stream.source);
        let cut = if silent && !following {
            Cut { bytes, line: Line::Unknown, last: false }
        } else {
            match self.cut(bytes, following, false)? {
                Some(cut) => cut,
                None => return Ok(Step::Stop(Progress::Idle)),
            }
        };
        let moved = self.kit.scratch.discard(&self.stream.pipe, cut.bytes)?;
        if following {
            self.deliver(moved);
        }
        Ok(Step::Moved(moved))
    }

    /// The way of raw bytes.
    fn splice(&mut self, id: FileId, bytes: usize, only: bool) -> io::Result<Step> {
        let following = self.kit.followers.want(&self.stream.source);
        let me = self.id();
        let file = self.kit.file(id);
        let alone = only && !following && file.writers.len() == 1 && !file.nears_rotation(bytes);
        let cut = if alone {
            Cut { bytes, line: Line::Unknown, last: false }
        } else {
            let mine = file.note.owner == Some(me) && !file.is_at_line_start();
            match self.cut(bytes, following, mine)? {
                Some(cut) => cut,
                None => return Ok(Step::Stop(Progress::Idle)),
            }
        };
        self.own(id)?;
        let open = self.kit.file(id).open.as_ref().expect("admitted, hence open");
        let moved = if open.regular {
            hand_over_at(&self.stream.pipe, &open.fd, open.end, cut.bytes)
        } else {
            crate::pipe::hand_over(&self.stream.pipe, &open.fd, cut.bytes)
        };
        match moved {
            Ok(moved) => {
                self.grew(id, moved, if moved == cut.bytes { cut.line } else { Line::Unknown });
                if following {
                    self.deliver(moved);
                }
                Ok(Step::Moved(moved))
            }
            Err(e) if e.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                self.kit.file(id).no_splice = true;
                Ok(Step::Moved(0))
            }
            Err(e) => Ok(self.failed(id, &e)),
        }
    }

    /// Where to cut the first `bytes` of the pipe; `None` to leave an unfinished line there. `mine`: the file ends
    /// in this stream's own unfinished line, so anything may follow. `full`: the bytes themselves are wanted too.
    pub(crate) fn cut(&mut self, bytes: usize, full: bool, mine: bool) -> io::Result<Option<Cut>> {
        let pipe = &self.stream.pipe;
        let (seen, end) = if full {
            let seen = self.kit.scratch.peek(pipe, bytes)?;
            (seen, memchr::memrchr(b'\n', &self.kit.scratch.input[..seen]).map(|at| at + 1))
        } else {
            self.kit.scratch.peek_line_end(pipe, bytes, self.stream.held_bytes)?
        };
        if let Some(end) = end {
            return Ok(Some(Cut { bytes: end, line: Line::Start, last: false }));
        }
        let last = self.stream.closing_bytes.is_some() || hung_up(pipe);
        if mine || last || seen >= self.stream.hold_bytes {
            return Ok(Some(Cut { bytes: seen, line: Line::Middle, last }));
        }
        self.stream.held_bytes = seen;
        Ok(None)
    }

    fn at_empty(&mut self) -> Step {
        if self.stream.closing_bytes.is_none() {
            if !hung_up(&self.stream.pipe) {
                return Step::Stop(Progress::Idle);
            }
            if available(&self.stream.pipe).is_ok_and(|bytes| bytes > 0) {
                // Written just before the writer went.
                return Step::Moved(0);
            }
        }
        for at in 0..self.stream.files.len() {
            self.leave(self.stream.files[at]);
        }
        self.kit.events.push_back(Event::Ended(self.id()));
        Step::Stop(Progress::Ended)
    }

    /// The file has `bytes` more of this stream.
    pub(crate) fn grew(&mut self, id: FileId, bytes: usize, line: Line) {
        let now_ns = self.now.boot_ns;
        let file = self.kit.file(id);
        file.moved_ns = now_ns;
        file.open.as_mut().expect("just written to").grew(bytes, line);
        if file.has_pending() {
            file.flush_ns = now_ns + DEVICE_RETRY_NS;
            self.kit.uneasy.insert(id);
        }
        if line == Line::Start && self.kit.wake(id) {
            self.others_turn = true;
        }
        self.recovered(id);
    }

    /// Hands the first `bytes` of what was peeked to those who follow.
    pub(crate) fn deliver(&mut self, bytes: usize) {
        let bytes = &self.kit.scratch.input[..bytes];
        let chunk = Chunk {
            source: &self.stream.source,
            unix_ns: self.now.unix_ns,
            bytes,
            ends_line: bytes.last() == Some(&b'\n'),
        };
        self.kit.followers.deliver(&chunk);
    }
}
