//! The edge's clocks. Libraries take time as an input; only the processes' outermost loops call these.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since boot, counting the time the machine was suspended, so that "every 5 minutes" and "10 s of
/// grace" mean what they say on a laptop too. Shared by all processes of one machine, so a deadline survives a
/// restart of the daemon.
#[must_use]
pub fn boottime_ns() -> u64 {
    nanoseconds(ClockId::Boottime)
}

/// Nanoseconds since 1970-01-01 UTC: for people and schedules, never for measuring.
#[must_use]
pub fn wall_ns() -> u64 {
    nanoseconds(ClockId::Realtime)
}

/// Nanoseconds of `CLOCK_MONOTONIC`, which stands still while the machine is suspended: for protocols that ask for it.
#[must_use]
pub fn monotonic_ns() -> u64 {
    nanoseconds(ClockId::Monotonic)
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boottime_never_goes_back() {
        let first = boottime_ns();
        assert!(boottime_ns() >= first);
    }

    #[test]
    fn the_wall_clock_is_later_than_the_day_this_was_written() {
        assert!(wall_ns() > 1_760_000_000_000_000_000);
    }
}
