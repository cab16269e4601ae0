//! Crashing on purpose, for tests: `SKEP_FAULT=<process>:<point>:<n>` aborts that process when it passes the point
//! for the n-th time. Only in builds with debug assertions; a release build ignores the variable.
//!
//! The keeper's points: `after-request` (a request was carried out, nothing answered yet), `after-fork` (a child
//! exists and is not in the table), `after-spawn` (it is in the table), `before-reap` (a child has ended and is not reaped),
//! `before-exec` (an upgrade was validated), `after-exec` (the new program has not restored its state yet). At
//! `refuse-state` it does not abort but a new program refuses the state it was handed.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

struct Fault {
    process: String,
    point: String,
    left: AtomicU64,
}

/// Passes a point where a test may have ordered a crash.
pub fn point(process: &str, point: &str) {
    if ordered(process, point) {
        std::process::abort();
    }
}

/// Whether a test has ordered that something fails at this point, now.
#[must_use]
pub fn ordered(process: &str, point: &str) -> bool {
    if !cfg!(debug_assertions) {
        return false;
    }
    static FAULT: OnceLock<Option<Fault>> = OnceLock::new();
    let fault = FAULT.get_or_init(|| parse(&std::env::var("SKEP_FAULT").ok()?));
    fault.as_ref().is_some_and(|fault| {
        fault.process == process && fault.point == point && fault.left.fetch_sub(1, Ordering::Relaxed) == 1
    })
}

fn parse(text: &str) -> Option<Fault> {
    let mut parts = text.split(':');
    let (process, point, count) = (parts.next()?, parts.next()?, parts.next()?);
    let count = count.parse().ok().filter(|count| *count > 0)?;
    Some(Fault { process: process.to_owned(), point: point.to_owned(), left: AtomicU64::new(count) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_process_point_and_count() {
        let fault = parse("keeper:after-spawn:3").expect("parses");
        assert_eq!((fault.process.as_str(), fault.point.as_str()), ("keeper", "after-spawn"));
        assert_eq!(fault.left.into_inner(), 3);
        for bad in ["", "keeper", "keeper:x", "keeper:x:0", "keeper:x:y"] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
