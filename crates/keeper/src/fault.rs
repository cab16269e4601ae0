//! Crashing on purpose, for tests: `SKEP_FAULT=<process>:<point>:<n>` aborts that process when it passes the point
//! for the n-th time; with `:hang` behind it, it stays there for ever instead. Only in builds with debug assertions; a
//! release build ignores all of this.
//!
//! Each process counts for itself, so the next daemon crashes too; with `SKEP_FAULT_ONCE=<file>` only the one that can
//! make that file does. A program file named `…-fault-<process>:<point>:<n>` orders the same without the variable: a
//! release that is broken. `SKEP_FAULT_CLOCK_MS=1500` lets jobs see a clock that is ahead (or, with a minus, behind).
//! One named `…-speaks-<newest>-<oldest>` pretends to speak these protocol versions; both together in this order:
//! `…-speaks-3-2-fault-daemon:start:1:hang`.
//!
//! The keeper's points: `after-request` (a request was carried out, nothing answered yet), `after-fork` (a child
//! exists and is not in the table), `after-spawn` (it is in the table), `before-reap` (a child has ended and is not reaped),
//! `passed` (a connection was passed on and nothing answered), `before-exec` (an upgrade was validated), `after-exec` (the
//! new program has not restored its state yet). At `refuse-state` it does not abort but a new program refuses the state it
//! was handed.
//!
//! The daemon's points: `start` (not yet greeted), `inventory` (it knows what the keeper holds, nothing is taken back
//! yet), `restored` (taken back, effects not repeated yet), `saved` (a wish is on the disk, the journal does not know it),
//! `decided` (in the journal, nothing carried out), `effect` (one effect carried out), `asked` (a spawn was made ready and
//! not ordered yet), `heard` (a message of the keeper was taken and not acted upon), `passed` (the keeper was asked to pass a
//! connection on), `taken-over` (the same for those that a draining worker handed over, whose words are not consumed yet).

use std::fs::File;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

struct Fault {
    process: String,
    point: String,
    left: AtomicU64,
    how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Abort,
    Hang,
}

/// Passes a point where a test may have ordered a crash.
pub fn point(process: &str, point: &str) {
    if let Some(how) = due(process, point) {
        match how {
            How::Abort => std::process::abort(),
            How::Hang => loop {
                std::thread::park();
            },
        }
    }
}

/// Whether a test has ordered that something fails at this point, now.
#[must_use]
pub fn ordered(process: &str, point: &str) -> bool {
    due(process, point).is_some()
}

fn due(process: &str, point: &str) -> Option<How> {
    if !cfg!(debug_assertions) {
        return None;
    }
    static FAULT: OnceLock<Option<Fault>> = OnceLock::new();
    let fault = FAULT.get_or_init(|| {
        let by_name = program_name().and_then(|name| Some(name.rsplit_once("-fault-")?.1.to_owned()));
        parse(&by_name.or_else(|| std::env::var("SKEP_FAULT").ok())?)
    });
    let fault = fault.as_ref().filter(|fault| fault.process == process && fault.point == point)?;
    (fault.left.fetch_sub(1, Ordering::Relaxed) == 1 && is_first()).then_some(fault.how)
}

/// How far this host's clock is ahead of the machine's for jobs, in milliseconds: `SKEP_FAULT_CLOCK_MS`.
#[must_use]
pub fn clock_ahead_ms() -> i64 {
    static AHEAD: OnceLock<i64> = OnceLock::new();
    if !cfg!(debug_assertions) {
        return 0;
    }
    *AHEAD.get_or_init(|| {
        std::env::var("SKEP_FAULT_CLOCK_MS").ok().and_then(|text| text.parse().ok()).unwrap_or(0)
    })
}

/// Whether no process before this one did what was ordered, if it is to be done once.
fn is_first() -> bool {
    std::env::var_os("SKEP_FAULT_ONCE").is_none_or(|file| File::create_new(file).is_ok())
}

/// The protocol versions, newest and oldest, that this program's file name makes it pretend to speak.
pub(crate) fn speaks() -> Option<(u32, u32)> {
    static SPEAKS: OnceLock<Option<(u32, u32)>> = OnceLock::new();
    if !cfg!(debug_assertions) {
        return None;
    }
    *SPEAKS.get_or_init(|| speaks_by_name(&program_name()?))
}

fn program_name() -> Option<String> {
    std::env::current_exe().ok()?.file_name()?.to_str().map(str::to_owned)
}

fn speaks_by_name(name: &str) -> Option<(u32, u32)> {
    let name = name.split_once("-fault-").map_or(name, |(name, _)| name);
    let (newest, oldest) = name.rsplit_once("-speaks-")?.1.split_once('-')?;
    Some((newest.parse().ok()?, oldest.parse().ok()?))
}

fn parse(text: &str) -> Option<Fault> {
    let mut parts = text.split(':');
    let (process, point, count) = (parts.next()?, parts.next()?, parts.next()?);
    let how = match parts.next() {
        None => How::Abort,
        Some("hang") => How::Hang,
        Some(_) => return None,
    };
    let count = count.parse().ok().filter(|count| *count > 0)?;
    Some(Fault { process: process.to_owned(), point: point.to_owned(), left: AtomicU64::new(count), how })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_can_pretend_other_versions() {
        assert_eq!(speaks_by_name("skep-speaks-2-1"), Some((2, 1)));
        assert_eq!(speaks_by_name("skep-speaks-2-1-fault-daemon:start:1:hang"), Some((2, 1)));
        assert_eq!(speaks_by_name("skep"), None);
    }

    #[test]
    fn a_fault_is_process_point_and_count() {
        let fault = parse("keeper:after-spawn:3").expect("parses");
        assert_eq!((fault.process.as_str(), fault.point.as_str()), ("keeper", "after-spawn"));
        assert_eq!((fault.left.into_inner(), fault.how), (3, How::Abort));
        assert_eq!(parse("daemon:start:1:hang").map(|fault| fault.how), Some(How::Hang));
        for bad in ["", "keeper", "keeper:x", "keeper:x:0", "keeper:x:y", "keeper:x:1:z"] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
