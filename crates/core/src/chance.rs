//! Chance as an input: a small generator that is part of the state, so that a replay draws the same numbers.

use crate::Span;
use serde::{Deserialize, Serialize};

/// SplitMix64 (Steele, Lea, Flood 2014): 64 bits of state, no weak seeds. Nothing here needs to be secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A span from zero to `most`, both possible. (The modulo's bias is below 2^-20 for any wait of ours.)
    pub(crate) fn up_to(&mut self, most: Span) -> Span {
        Span(self.next() % most.0.saturating_add(1).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_spans_within_their_bound() {
        let most = Span::from_millis(10);
        let draw = |seed| {
            let mut chance = Chance::new(seed);
            (0..100).map(|_| chance.up_to(most)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!(draw(7).iter().all(|span| *span <= most));
        assert_eq!(Chance::new(7).up_to(Span::ZERO), Span::ZERO);
    }
}
