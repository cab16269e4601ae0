//! Setting files aside, compressing and removing them, a bounded step at a time.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::tz::TimeZone;
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use crate::codec::Codec;
use crate::compression::Compression;
use crate::file::{FileId, LogFile};
use crate::kit::Kit;
use crate::rotated::{self, Age, Plan};
use crate::{DateFormat, Every, Format, Moment, Notice, Rotation, crash};

/// Between steps of a compression, which take about a millisecond: a fifth of one core, and pauses nobody notices.
const STEP_EVERY_NS: u64 = 4_000_000;
/// A compressed file's original is kept for so long: the kernel writes dirty pages out within 35 s, so this needs
/// no `fsync`, which would stop the loop.
const SETTLE_NS: u64 = 60_000_000_000;
/// After a rotation that failed.
const ROTATE_RETRY_NS: u64 = 60_000_000_000;
/// A line so long is cut by rotation after all (but not a JSON line, whose half would be unreadable).
const OVERRUN_BYTES: u64 = 64 << 20;
/// The wall clock may jump: rotation by time looks at least so often.
const PERIOD_CHECK_NS: u64 = 600_000_000_000;

/// What is to be done when there is time.
#[derive(Debug, Default)]
pub(crate) struct Housekeeping {
    tidy: VecDeque<Arc<str>>,
    compress: VecDeque<(PathBuf, Codec)>,
    current: Option<Compression>,
    /// Originals of compressed files, with the time when they may go.
    settling: VecDeque<(u64, PathBuf)>,
    next_step_ns: u64,
    /// When a file with `Rotation::every` wants a look; 0: at once.
    pub(crate) period_ns: Option<u64>,
}

// === impl Housekeeping ===

impl Housekeeping {
    /// The group's rotated files want a look.
    pub(crate) fn tidy(&mut self, group: Arc<str>) {
        if !self.tidy.contains(&group) {
            self.tidy.push_back(group);
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<u64> {
        let busy = !self.tidy.is_empty() || self.current.is_some() || !self.compress.is_empty();
        let step = busy.then_some(self.next_step_ns);
        let settled = self.settling.front().map(|(at, _)| *at);
        [step, settled, self.period_ns].into_iter().flatten().min()
    }

    fn settle(&mut self, path: PathBuf, now_ns: u64) {
        if !self.settling.iter().any(|(_, other)| *other == path) {
            self.settling.push_back((now_ns + SETTLE_NS, path));
        }
    }
}

// === impl Kit (housekeeping) ===

impl Kit {
    /// One step of whatever is due.
    pub(crate) fn keep_house(&mut self, now: Moment) {
        let now_ns = now.boot_ns;
        while let Some((at, _)) = self.housekeeping.settling.front()
            && *at <= now_ns
        {
            let (_, path) = self.housekeeping.settling.pop_front().expect("just seen");
            if Codec::ALL.iter().any(|codec| codec.name_of(&path).exists()) {
                self.remove(&path);
            }
        }
        if self.housekeeping.next_step_ns > now_ns {
            return;
        }
        if let Some(group) = self.housekeeping.tidy.pop_front() {
            self.tidy(&group, now_ns);
        } else if self.housekeeping.current.is_some() || !self.housekeeping.compress.is_empty() {
            self.compress_step(now_ns);
        } else {
            return;
        }
        self.housekeeping.next_step_ns = now_ns + STEP_EVERY_NS;
    }

    fn tidy(&mut self, group: &str, now_ns: u64) {
        let logs: Vec<(PathBuf, Rotation)> = self
            .files()
            .filter(|(_, file)| &*file.spec.group == group)
            .filter_map(|(_, file)| Some((file.spec.path.clone(), file.spec.rotation.clone()?)))
            .collect();
        let paths: Vec<(&Path, Option<&DateFormat>)> =
            logs.iter().map(|(path, rotation)| (path.as_path(), rotation.date.as_deref())).collect();
        let found = match rotated::find(&paths) {
            Ok(found) => found,
            Err(e) => {
                if let Some((path, _)) = paths.first() {
                    self.housekeeping_notice(path, &e);
                }
                return;
            }
        };
        let files: Vec<_> = logs.iter().map(|(_, rotation)| rotation).zip(found).collect();
        let busy = self.housekeeping.current.as_ref().map(Compression::part);
        let Plan { remove, redundant, compress } = rotated::plan(&files, busy);
        for path in remove {
            self.remove(&path);
        }
        for path in redundant {
            self.housekeeping.settle(path, now_ns);
        }
        let busy = self.housekeeping.current.as_ref().map(|c| c.part().to_owned());
        for (path, codec) in compress {
            let part = codec.name_of(&path).with_added_extension("part");
            let waits = self.housekeeping.compress.iter().any(|(waiting, _)| *waiting == path);
            if busy.as_ref() != Some(&part) && !waits {
                self.housekeeping.compress.push_back((path, codec));
            }
        }
    }

    fn compress_step(&mut self, now_ns: u64) {
        let Some(mut compression) = self.housekeeping.current.take() else {
            if let Some((path, codec)) = self.housekeeping.compress.pop_front() {
                match Compression::begin(&path, codec) {
                    Ok(compression) => self.housekeeping.current = Some(compression),
                    // Removed meanwhile to make room.
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => self.housekeeping_notice(&path, &e),
                }
            }
            return;
        };
        match compression.step(&mut self.scratch.output) {
            Ok(true) => self.housekeeping.settle(compression.plain_path().to_owned(), now_ns),
            Ok(false) => self.housekeeping.current = Some(compression),
            Err(e) => {
                self.housekeeping_notice(compression.plain_path(), &e);
                compression.abandon();
            }
        }
    }

    fn remove(&mut self, path: &Path) {
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => self.housekeeping_notice(path, &e),
            Ok(()) | Err(_) => {}
        }
    }

    /// Sets the file aside if that is due and it ends at the end of a line. Failing at that is no failure to log.
    pub(crate) fn rotate_if_due(&mut self, id: FileId, now: Moment) -> io::Result<()> {
        let zone = self.zone.clone();
        let file = self.file(id);
        if !file.is_rotation_due(now, &zone) {
            return Ok(());
        }
        match file.set_aside(now, &zone) {
            Ok(to) => {
                let (path, group) = (file.spec.path.clone(), Arc::clone(&file.spec.group));
                self.notice(Notice::Rotated { path, to });
                self.housekeeping.tidy(group);
            }
            Err(e) => {
                file.rotate_not_before_ns = now.boot_ns + ROTATE_RETRY_NS;
                let path = file.spec.path.clone();
                self.housekeeping_notice(&path, &e);
            }
        }
        self.file(id).refresh(now.boot_ns).map(|_| ())
    }

    /// Looks at the files that rotate by time, and when to look again.
    pub(crate) fn check_periods(&mut self, now: Moment) {
        if self.housekeeping.period_ns.is_none_or(|at| at > now.boot_ns) {
            return;
        }
        let zone = self.zone.clone();
        let mut next = None;
        let mut due = Vec::new();
        for (id, file) in self.files() {
            let Some(rotation) = &file.spec.rotation else { continue };
            let Some(every) = &rotation.every else { continue };
            due.push(id);
            let left = left_ns(now, rotation.zone.as_ref().unwrap_or(&zone), every).min(PERIOD_CHECK_NS);
            next = Some(next.unwrap_or(u64::MAX).min(now.boot_ns + left));
        }
        self.housekeeping.period_ns = next;
        for id in due {
            self.rotate_idle(id, now);
        }
    }

    /// Sets a file aside that nobody may be writing to just now.
    pub(crate) fn rotate_idle(&mut self, id: FileId, now: Moment) {
        let file = self.file(id);
        if file.open.is_none() && !file.spec.path.exists() {
            file.rotate_asked = false;
            return;
        }
        // Trouble is met, and told, when the next line is written.
        if file.refresh(now.boot_ns).is_ok() {
            let _ = self.rotate_if_due(id, now);
        }
        let file = self.file(id);
        if file.writers.is_empty() {
            file.close();
        }
    }
}

/// The period that an instant belongs to, as a number that grows; a schedule that never comes again has one period.
fn period(unix_ns: i64, zone: &TimeZone, every: &Every) -> i64 {
    match every {
        Every::Seconds(every) => {
            let (local, every) = local_seconds(unix_ns, zone, *every);
            local.div_euclid(every)
        }
        // Its end.
        Every::Times(times) => times.next_after(unix_ns).unwrap_or(i64::MAX),
    }
}

/// The period of now, when that of a moment ago is known: a schedule is not worked out for each line.
fn current_period(now: Moment, zone: &TimeZone, every: &Every, known: Option<i64>) -> i64 {
    match (every, known) {
        (Every::Times(_), Some(end)) if now.unix_ns < end => end,
        (Every::Times(_) | Every::Seconds(_), _) => period(now.unix_ns, zone, every),
    }
}

/// Until the next period begins.
fn left_ns(now: Moment, zone: &TimeZone, every: &Every) -> u64 {
    match every {
        Every::Seconds(every) => {
            let (local, every) = local_seconds(now.unix_ns, zone, *every);
            (every - local.rem_euclid(every)).unsigned_abs().saturating_mul(1_000_000_000)
        }
        Every::Times(_) => period(now.unix_ns, zone, every).saturating_sub(now.unix_ns).max(0).unsigned_abs(),
    }
}

fn local_seconds(unix_ns: i64, zone: &TimeZone, every: u32) -> (i64, i64) {
    let at = Moment { boot_ns: 0, unix_ns }.zoned(zone);
    (at.timestamp().as_second() + i64::from(at.offset().seconds()), i64::from(every.max(1)))
}

// === impl LogFile (rotation) ===

impl LogFile {
    fn is_rotation_due(&mut self, now: Moment, zone: &TimeZone) -> bool {
        let default = Rotation { max_bytes: u64::MAX, ..Rotation::default() };
        let rotation = match &self.spec.rotation {
            Some(rotation) => rotation,
            None if self.rotate_asked => &default,
            None => return false,
        };
        let max_bytes = rotation.max_bytes;
        let zone = rotation.zone.as_ref().unwrap_or(zone);
        let every = rotation.every.as_ref();
        let Some(open) = self.open.as_mut().filter(|open| open.regular) else { return false };
        let current = every.map(|every| current_period(now, zone, every, self.period));
        if open.end == 0 {
            self.period = current;
            self.rotate_asked = false;
            return false;
        }
        if self.period.is_none()
            && let Some(every) = every
        {
            self.period = open.modified_unix_ns().map(|ns| period(ns, zone, every));
        }
        let due = self.rotate_asked || open.end >= max_bytes || self.period < current;
        if !due || self.rotate_not_before_ns > now.boot_ns {
            return false;
        }
        let json = matches!(self.spec.format, Format::Json(_));
        open.at_line_start() || (!json && open.end >= max_bytes.saturating_add(OVERRUN_BYTES))
    }

    /// Renames the file; the next refresh makes a new one.
    fn set_aside(&mut self, now: Moment, zone: &TimeZone) -> io::Result<PathBuf> {
        let live = &self.spec.path;
        let date = self.spec.rotation.as_ref().and_then(|rotation| rotation.date.as_deref());
        let zone = self.spec.rotation.as_ref().and_then(|rotation| rotation.zone.as_ref()).unwrap_or(zone);
        let found = rotated::find(&[(live, date)])?;
        let newest = found.first().and_then(|files| files.last()).map(|file| &file.age);
        let to = Age::after(newest, date, &now.zoned(zone)).path(live);
        crash::point();
        match rustix::fs::renameat_with(CWD, live, CWD, &to, RenameFlags::NOREPLACE) {
            // A filesystem that cannot promise it; we have just seen that the name is free.
            Err(Errno::INVAL | Errno::NOSYS) => std::fs::rename(live, &to)?,
            other => other?,
        }
        crash::point();
        self.open = None;
        self.rotate_asked = false;
        Ok(to)
    }
}
