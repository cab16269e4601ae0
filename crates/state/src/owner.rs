//! Who holds something, and when.

/// Milliseconds since 1970 (CLOCK_REALTIME): expiry is told and kept in wall-clock time, as in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallMs(pub u64);

impl WallMs {
    /// So many milliseconds later.
    #[must_use]
    pub fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

/// A worker's life: its id and, for ids that are used again, its generation. Locks, leases and jobs belong to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// The worker's id, as the supervisor numbers it; from 1.
    pub id: u32,
    /// Which life of that id; 0 when ids are never used again.
    pub generation: u32,
}

/// Ids from here on are given by the store itself, to processes that no supervisor numbered.
pub(crate) const UNNUMBERED: u32 = 0x8000_0000;

impl Owner {
    /// The supervisor.
    pub(crate) const SUPERVISOR: Self = Self { id: 0, generation: u32::MAX };

    /// As one number; never 0.
    #[must_use]
    pub fn number(self) -> u64 {
        u64::from(self.id) << 32 | u64::from(self.generation)
    }

    /// The inverse of [`Owner::number`].
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        let id = u32::try_from(number >> 32).unwrap_or(u32::MAX);
        Self { id, generation: u32::try_from(number & u64::from(u32::MAX)).unwrap_or(u32::MAX) }
    }

    /// Whether the store gave the id, not a supervisor.
    #[must_use]
    pub fn is_unnumbered(self) -> bool {
        self.id >= UNNUMBERED
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.id, self.generation)
    }
}
