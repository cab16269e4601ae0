//! Sequence numbers that a stale acknowledgement can never match.
//!
//! A worker echoes our `seq` as `ack`. After a restart of the daemon, acknowledgements of its predecessor's messages
//! may still be under way; so each daemon generation numbers from `generation << 32`. JavaScript numbers are exact up
//! to 2^53, hence 21 bits of generation.

use serde::{Deserialize, Serialize};

/// Bits that are left for the generation above the 32 bits of the counter, so that a number stays below 2^53.
const GENERATION_BITS: u32 = 21;

/// The how-manieth daemon this is; the daemon stores it with the keeper and adds one at each start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Generation(pub u32);

/// The numbers of one session in one generation.
#[derive(Debug, Clone)]
pub(crate) struct Seq {
    base: u64,
    next: u32,
}

impl Seq {
    pub(crate) fn new(generation: Generation) -> Self {
        let wrapped = generation.0 & ((1 << GENERATION_BITS) - 1);
        Self { base: u64::from(wrapped) << 32, next: 0 }
    }

    /// The next number. It wraps inside its generation after 2^32 messages; by then the old ones are long answered.
    pub(crate) fn take(&mut self) -> u64 {
        let seq = self.base | u64::from(self.next);
        self.next = self.next.wrapping_add(1);
        seq
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_never_share_a_number_and_stay_exact_in_javascript() {
        let mut last = Seq::new(Generation(u32::MAX));
        last.next = u32::MAX;
        let number = last.take();
        assert!(number < 1 << 53);
        assert_eq!(last.take() >> 32, number >> 32, "the counter wraps inside its generation");
        assert_ne!(Seq::new(Generation(1)).take(), Seq::new(Generation(2)).take());
    }
}
