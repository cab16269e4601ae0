//! The two clocks, as inputs.

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970 on the wall clock. People and time servers set it, in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMs(pub i64);

/// One moment on both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The wall clock.
    pub wall: UnixMs,
    /// Milliseconds since the machine was started, suspends included (`CLOCK_BOOTTIME`). Never goes back.
    pub boot_ms: u64,
}

/// When to tick next, at the latest: whichever comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deadlines {
    /// On the wall clock. It moves when the clock is set.
    pub wall: Option<UnixMs>,
    /// On the boot clock.
    pub boot_ms: Option<u64>,
}

impl UnixMs {
    /// So much later.
    #[must_use]
    pub fn plus(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds since `earlier`; negative when that is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Deadlines {
    pub(crate) fn on_wall(&mut self, at: Option<UnixMs>) {
        self.wall = [self.wall, at].into_iter().flatten().min();
    }

    pub(crate) fn on_boot(&mut self, at: Option<u64>) {
        self.boot_ms = [self.boot_ms, at].into_iter().flatten().min();
    }
}
