//! Whether somebody sleeps on the writer's lock, so that who holds it might hurry.
//!
//! A hint, which may lag behind by a moment: the winner takes back what others who still sleep have said, until they say it
//! again. What is said ends by itself, since who says it may be killed before it takes it back.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::limits::WRITE_SLICE_US;
use crate::wake::micros;

/// Who sleeps says so once in a slice; a busy machine may let it be late.
const VALID_MS: u32 = 2 * WRITE_SLICE_US / 1000;

/// Until when it is said, in milliseconds of the monotonic clock modulo 2³²; 0: not at all.
#[repr(transparent)]
#[derive(Debug, Default)]
pub(crate) struct Wanted(AtomicU32);

impl Wanted {
    /// Somebody goes to sleep for a slice.
    pub(crate) fn say(&self) {
        self.0.store(until(now_ms()), Relaxed);
    }

    pub(crate) fn take_back(&self) {
        self.0.store(0, Relaxed);
    }

    pub(crate) fn is_said(&self) -> bool {
        let until = self.0.load(Relaxed);
        until != 0 && is_ahead(until, now_ms())
    }
}

#[expect(clippy::cast_possible_truncation, reason = "modulo 2^32")]
fn now_ms() -> u32 {
    (micros() / 1000) as u32
}

fn until(now_ms: u32) -> u32 {
    now_ms.wrapping_add(VALID_MS).max(1)
}

/// Whether `until` lies ahead of `now`, and not by more than anybody says: something else was written by a version
/// that knew no time.
fn is_ahead(until: u32, now: u32) -> bool {
    (1..=VALID_MS + 1).contains(&until.wrapping_sub(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_holds_for_two_slices_and_ends_by_itself() {
        // The last three: across the end of the clock's 32 bits.
        for now in [0, 1, 12_345, u32::MAX - VALID_MS - 1, u32::MAX - VALID_MS, u32::MAX - 3, u32::MAX] {
            let said = until(now);
            assert_ne!(said, 0, "{now}");
            assert!(is_ahead(said, now) && is_ahead(said, now.wrapping_add(WRITE_SLICE_US / 1000)), "{now}");
            assert!(!is_ahead(said, now.wrapping_add(VALID_MS + 1)), "{now}");
        }
        assert!(!is_ahead(1, 12_345), "as a version without time said it");
    }
}
