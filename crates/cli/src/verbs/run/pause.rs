//! `--delay`: a pause that a signal ends. Process 1 has no default for SIGTERM, so somebody has to listen.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use skep_spec::Millis;
use skep_sys::clock;
use skep_sys::signal::SignalFd;
use std::io;
use std::os::fd::AsFd;

const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

/// Waits; true when SIGINT or SIGTERM came before the time was over.
pub(super) fn is_cut_short(delay: Millis) -> io::Result<bool> {
    let signals = SignalFd::new(&[SIGINT, SIGTERM])?;
    let until_ns = clock::boottime_ns().saturating_add(delay.0.saturating_mul(1_000_000));
    loop {
        let left_ns = until_ns.saturating_sub(clock::boottime_ns());
        if left_ns == 0 {
            return Ok(false);
        }
        let left = Timespec {
            tv_sec: i64::try_from(left_ns / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(left_ns % 1_000_000_000).unwrap_or(0),
        };
        match poll(&mut [PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)], Some(&left)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if !signals.read()?.is_empty() {
            return Ok(true);
        }
    }
}
