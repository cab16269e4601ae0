//! The daemon's own diary: what went wrong inside skep itself, for whoever looks into `daemon.log`.
//!
//! Standard error is that file; a line that cannot be written is lost, because there is nobody left to tell.

use std::fmt;
use std::io::Write;

/// Writes one line with the time in front.
pub(crate) fn note(message: fmt::Arguments<'_>) {
    let now = jiff::Timestamp::from_millisecond(i64::try_from(crate::driver::unix_ms()).unwrap_or(i64::MAX))
        .map(|time| time.to_string())
        .unwrap_or_default();
    let _ = writeln!(std::io::stderr(), "{now} {message}");
}
