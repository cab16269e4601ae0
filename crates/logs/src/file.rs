//! One log file: open, where its end is, whose line it ends in, and whether others have touched it.
//!
//! A log file is never opened with O_APPEND, which `splice` refuses; its end is known and checked with one `fstat` a
//! batch, which also notices `copytruncate` and removal; renaming is noticed within [`CHECK_EVERY_NS`].

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::journal::{Before, FileNote};
use crate::pipe::retry;
use crate::{FileSpec, Format, Framing, Source, StreamId, crash};

/// How often the path is compared with the open file while lines arrive (logrotate's `create` is noticed so late).
const CHECK_EVERY_NS: u64 = 1_000_000_000;
/// Directories that are made for logs are their owner's alone.
const DIRECTORY_MODE: u32 = 0o700;

/// A file by its number in the capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FileId(pub(crate) u32);

/// What is at the end of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Empty, or the last byte is `\n`.
    Start,
    /// An unfinished line.
    Middle,
    /// Not looked at: a single stream that is not framed needs not know.
    Unknown,
}

/// Why a file is not being written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trouble {
    pub(crate) since_ns: u64,
    pub(crate) retry_ns: u64,
    pub(crate) dropping: bool,
    /// The user was told; a device that is merely slow is not told of.
    pub(crate) reported: bool,
}

/// A file that is open.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) fd: OwnedFd,
    device: u64,
    inode: u64,
    /// Its end, where we write.
    pub(crate) end: u64,
    pub(crate) line: Line,
    /// False for devices, pipes and terminals: no positions, no rotation.
    pub(crate) regular: bool,
    /// What a device had no room for in the middle of a write. Regular files never have any.
    pending: Vec<u8>,
}

/// A log file, open or not.
#[derive(Debug)]
pub(crate) struct LogFile {
    pub(crate) spec: FileSpec,
    /// A hash of the path: the file's name in the journal.
    pub(crate) key: u64,
    /// Its place in the journal, and what is noted there.
    pub(crate) slot: u32,
    pub(crate) note: FileNote,
    pub(crate) open: Option<Open>,
    /// What a killed daemon had begun to write.
    pub(crate) rollback: Option<Before>,
    /// The streams that write here.
    pub(crate) writers: Vec<Arc<Source>>,
    /// Streams held back by this file.
    pub(crate) waiters: Vec<StreamId>,
    pub(crate) trouble: Option<Trouble>,
    /// Dropped bytes that were admitted in the file, until the user is told too.
    pub(crate) confessed: u64,
    /// Since when streams wait for another's unfinished line (CLOCK_BOOTTIME).
    pub(crate) contended_ns: Option<u64>,
    /// When the owner of an unfinished line last wrote (CLOCK_BOOTTIME).
    pub(crate) moved_ns: u64,
    /// When a device is asked again to take what it had no room for.
    pub(crate) flush_ns: u64,
    checked_ns: u64,
    /// The filesystem cannot splice into this file.
    pub(crate) no_splice: bool,
    pub(crate) rotate_asked: bool,
    /// No rotation before this, after one failed (CLOCK_BOOTTIME).
    pub(crate) rotate_not_before_ns: u64,
    /// The period (of `Rotation::every`) that the file's content belongs to.
    pub(crate) period: Option<i64>,
}

// === impl LogFile ===

impl LogFile {
    pub(crate) fn new(spec: FileSpec) -> Self {
        Self {
            key: key_of(&spec.path),
            spec,
            slot: 0,
            note: FileNote::default(),
            open: None,
            rollback: None,
            writers: Vec::new(),
            waiters: Vec::new(),
            trouble: None,
            confessed: 0,
            contended_ns: None,
            moved_ns: 0,
            flush_ns: 0,
            checked_ns: 0,
            no_splice: false,
            rotate_asked: false,
            rotate_not_before_ns: 0,
            period: None,
        }
    }

    /// Gives the descriptor back, unless a device still has to take something.
    pub(crate) fn close(&mut self) {
        if !self.has_pending() {
            self.open = None;
        }
    }

    /// Whether a device still has to take something that its stream has no more.
    pub(crate) fn has_pending(&self) -> bool {
        self.open.as_ref().is_some_and(Open::has_pending)
    }

    /// Whether every line here starts at the start of a line, by our doing if need be.
    pub(crate) fn is_framed(&self) -> bool {
        self.spec.framing == Framing::Lines || self.spec.format != Format::Raw
    }

    /// The stream whose unfinished line the file may end in, if that stream still writes here.
    pub(crate) fn live_owner(&self) -> Option<&Arc<Source>> {
        let owner = self.note.owner?;
        self.writers.iter().find(|writer| writer.id() == owner)
    }

    /// Makes sure that the open file is the one at the path and that `end` is its end.
    pub(crate) fn refresh(&mut self, now_ns: u64) -> io::Result<&mut Open> {
        if self.open.as_ref().is_some_and(|open| open.regular) {
            let due = now_ns.saturating_sub(self.checked_ns) >= CHECK_EVERY_NS;
            if due {
                self.checked_ns = now_ns;
            }
            let open = self.open.as_mut().expect("just seen");
            let seen = rustix::fs::fstat(&open.fd)?;
            let moved = due && !is_at(&self.spec.path, open.device, open.inode);
            if seen.st_nlink == 0 || moved {
                self.open = None;
            } else if seen.st_size as u64 != open.end {
                // Truncated by logrotate or a user, or appended to by someone else.
                open.end = seen.st_size as u64;
                open.line = if open.end == 0 { Line::Start } else { Line::Unknown };
            }
        }
        if let Some(open) = self.open.as_mut() {
            open.write_pending()?;
        } else {
            self.open = Some(self.open_at_path()?);
            self.checked_ns = now_ns;
            self.period = None;
            self.no_splice = false;
        }
        Ok(self.open.as_mut().expect("open, or just opened"))
    }

    fn open_at_path(&mut self) -> io::Result<Open> {
        let path = &self.spec.path;
        let kind = rustix::fs::stat(path).map(|seen| FileType::from_raw_mode(seen.st_mode));
        let flags = OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        if matches!(kind, Ok(kind) if kind != FileType::RegularFile && kind != FileType::Directory) {
            let fd = rustix::fs::open(path, flags | OFlags::WRONLY, Mode::empty())?;
            return Ok(Open {
                fd,
                device: 0,
                inode: 0,
                end: 0,
                line: Line::Start,
                regular: false,
                pending: Vec::new(),
            });
        }
        let mode = Mode::from_raw_mode(self.spec.mode);
        let create = |flags| {
            crash::point();
            rustix::fs::open(path, flags | OFlags::CREATE, mode)
        };
        let mut opened = create(flags | OFlags::RDWR);
        if matches!(opened, Err(Errno::NOENT)) {
            let parent = path.parent().unwrap_or(Path::new("/"));
            std::fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(parent)?;
            opened = create(flags | OFlags::RDWR);
        }
        if matches!(opened, Err(Errno::ACCESS)) {
            // Writable but not readable is enough; its unfinished lines are then not seen.
            opened = create(flags | OFlags::WRONLY);
        }
        let fd = opened?;
        let seen = rustix::fs::fstat(&fd)?;
        let mut open = Open::regular(fd, &seen);
        if let Some(before) = self.rollback.take()
            && before.device == open.device
            && before.inode == open.inode
            && before.bytes < open.end
        {
            open.cut_back(before.bytes)?;
        }
        Ok(open)
    }

    /// Whether the (open) file ends at the end of a line.
    pub(crate) fn is_at_line_start(&mut self) -> bool {
        self.open.as_mut().is_none_or(Open::at_line_start)
    }

    /// When its waiters should try again; `None`: now.
    pub(crate) fn wake_at_ns(&self) -> Option<u64> {
        let flush = self.has_pending().then_some(self.flush_ns);
        self.trouble.map(|trouble| trouble.retry_ns).or(self.stall_ends_ns()).or(flush)
    }

    /// Empties the file, open or not.
    pub(crate) fn empty(&mut self) -> io::Result<()> {
        match &mut self.open {
            Some(open) => open.cut_back(0),
            None => match std::fs::OpenOptions::new().write(true).truncate(true).open(&self.spec.path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other.map(drop),
            },
        }
    }

    /// Whether `bytes` more may need a line's end to be found, so that the file can be rotated there.
    pub(crate) fn nears_rotation(&self, bytes: usize) -> bool {
        let (Some(rotation), Some(open)) = (&self.spec.rotation, &self.open) else { return false };
        open.regular && (self.rotate_asked || open.end + bytes as u64 >= rotation.max_bytes)
    }
}

/// FNV-1a, written here because the journal outlives this binary and the standard hasher may change.
fn key_of(path: &Path) -> u64 {
    use std::os::unix::ffi::OsStrExt as _;
    let hash = path.as_os_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash.max(1)
}

fn is_at(path: &PathBuf, device: u64, inode: u64) -> bool {
    rustix::fs::stat(path).is_ok_and(|seen| seen.st_dev == device && seen.st_ino == inode)
}

// === impl Open ===

impl Open {
    fn regular(fd: OwnedFd, seen: &Stat) -> Self {
        let end = seen.st_size as u64;
        let line = if end == 0 { Line::Start } else { Line::Unknown };
        Self { fd, device: seen.st_dev, inode: seen.st_ino, end, line, regular: true, pending: Vec::new() }
    }

    /// Whether the file ends at the end of a line; looks if that is not known.
    pub(crate) fn at_line_start(&mut self) -> bool {
        if self.line == Line::Unknown {
            let mut last = [b'\n'];
            if self.regular && self.end > 0 {
                // A file that cannot be read counts as whole lines.
                let _ = retry(|| rustix::io::pread(&self.fd, &mut last, self.end - 1));
            }
            self.line = if last == [b'\n'] { Line::Start } else { Line::Middle };
        }
        self.line == Line::Start
    }

    /// The file as a transaction finds it.
    pub(crate) fn before(&self, key: u64) -> Before {
        Before { key, device: self.device, inode: self.inode, bytes: self.end }
    }

    /// Writes all of `bytes` at the end, without moving `end`. A failure may leave a part there, to be cut back.
    pub(crate) fn write_after_end(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.regular {
            return self.write_to_device(bytes);
        }
        let mut written = 0;
        while written < bytes.len() {
            written += retry(|| {
                crash::point();
                rustix::io::pwrite(&self.fd, &bytes[written..], self.end + written as u64)
            })?;
        }
        Ok(())
    }

    /// Writes to a device all of `bytes` or none; what it has no room for half-way is kept for
    /// [`Open::write_pending`].
    fn write_to_device(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while written < bytes.len() {
            match retry(|| rustix::io::write(&self.fd, &bytes[written..])) {
                Ok(more) => written += more,
                Err(_) if written > 0 => {
                    self.pending.extend_from_slice(&bytes[written..]);
                    break;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Whether a device still has to take something.
    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Writes what a device had no room for; fails while it still has none.
    fn write_pending(&mut self) -> io::Result<()> {
        while !self.pending.is_empty() {
            let written = retry(|| rustix::io::write(&self.fd, &self.pending))?;
            self.pending.drain(..written);
        }
        Ok(())
    }

    /// Cuts the file back to `bytes`.
    pub(crate) fn cut_back(&mut self, bytes: u64) -> io::Result<()> {
        if self.regular {
            retry(|| {
                crash::point();
                rustix::fs::ftruncate(&self.fd, bytes)
            })?;
            self.end = bytes;
            self.line = if bytes == 0 { Line::Start } else { Line::Unknown };
        }
        Ok(())
    }

    /// Takes note of `bytes` more.
    pub(crate) fn grew(&mut self, bytes: usize, line: Line) {
        self.end += bytes as u64;
        self.line = line;
    }

    /// Modification time in nanoseconds since the Unix epoch.
    pub(crate) fn modified_unix_ns(&self) -> Option<i64> {
        let seen = rustix::fs::fstat(self.fd.as_fd()).ok()?;
        Some(seen.st_mtime.saturating_mul(1_000_000_000).saturating_add(seen.st_mtime_nsec as i64))
    }
}
