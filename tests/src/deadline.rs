//! The one clock of the tests: limits that only a failure reaches.

use std::time::{Duration, Instant};

/// What any single wait may take. Ten times what the slowest takes on a busy machine with two cores.
pub const LIMIT: Duration = Duration::from_secs(30);
/// How long to wait for a hint before looking again without one: for facts that no event tells (a file, a port).
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A moment after which a wait has failed.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    /// After `limit` from now.
    #[expect(clippy::disallowed_methods, reason = "the edge of the tests")]
    pub fn after(limit: Duration) -> Self {
        Self(Instant::now() + limit)
    }

    /// What is left; zero when it has passed.
    #[expect(clippy::disallowed_methods, reason = "the edge of the tests")]
    pub fn left(&self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    pub fn has_passed(&self) -> bool {
        self.left().is_zero()
    }

    /// Looks until there is something to see: for facts about which nothing tells when they change.
    ///
    /// # Panics
    /// When [`LIMIT`] is over; the message says what was waited for.
    pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = Self::after(LIMIT);
        loop {
            if let Some(seen) = look() {
                return seen;
            }
            assert!(!deadline.has_passed(), "waited {LIMIT:?} in vain: {what}");
            std::thread::park_timeout(LOOK_AGAIN);
        }
    }
}
