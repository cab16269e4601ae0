//! Which socket each bucket of client addresses belongs to, changing as little as possible.

use serde::{Deserialize, Serialize};
use skep_sys::bpf::IP_BUCKETS;

use crate::steal::PlaceId;

/// Owner of each of the 256 buckets. Kept in the safe-box: a new daemon must not move anybody.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Buckets(Vec<PlaceId>);

// === impl Buckets ===

impl Buckets {
    /// Shares the buckets among `members`, so that their shares differ by one at most. Only buckets whose owner
    /// left or has too many change hands. Says whether any did.
    pub(crate) fn share(&mut self, members: &[PlaceId]) -> bool {
        let Some(first) = members.first() else { return false };
        let before = self.0.clone();
        self.0.resize(IP_BUCKETS, *first);
        let mut owned: Vec<usize> = members.iter().map(|m| self.count(*m)).collect();
        let poorest = |owned: &[usize]| (0..owned.len()).min_by_key(|i| owned[*i]).expect("not empty");
        for owner in &mut self.0 {
            if !members.contains(owner) {
                let to = poorest(&owned);
                *owner = members[to];
                owned[to] += 1;
            }
        }
        loop {
            let to = poorest(&owned);
            let from = (0..owned.len()).max_by_key(|i| owned[*i]).expect("not empty");
            if owned[from] <= owned[to] + 1 {
                break;
            }
            let bucket = self.0.iter().position(|owner| *owner == members[from]).expect("it owns some");
            self.0[bucket] = members[to];
            owned[from] -= 1;
            owned[to] += 1;
        }
        self.0 != before
    }

    /// The table with the buckets of those that are not `wanted` lent to those that are. Each comes back to its
    /// owner when that is wanted again.
    pub(crate) fn lent(&self, wanted: &[PlaceId]) -> Vec<PlaceId> {
        let lend = |(bucket, owner): (usize, &PlaceId)| match wanted {
            [] => *owner,
            _ if wanted.contains(owner) => *owner,
            _ => wanted[bucket % wanted.len()],
        };
        self.0.iter().enumerate().map(lend).collect()
    }

    fn count(&self, member: PlaceId) -> usize {
        self.0.iter().filter(|owner| **owner == member).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn places(ids: &[u32]) -> Vec<PlaceId> {
        ids.iter().copied().map(PlaceId).collect()
    }

    fn moved(a: &Buckets, b: &Buckets) -> usize {
        a.0.iter().zip(&b.0).filter(|(a, b)| a != b).count()
    }

    #[test]
    fn a_fifth_slot_takes_a_fifth_and_nobody_else_moves() {
        let mut buckets = Buckets::default();
        assert!(buckets.share(&places(&[0, 1, 2, 3])));
        let before = buckets.clone();
        assert!(buckets.share(&places(&[0, 1, 2, 3, 4])));
        assert_eq!(moved(&before, &buckets), IP_BUCKETS / 5);
        assert!(!buckets.share(&places(&[0, 1, 2, 3, 4])));
    }

    #[test]
    fn a_dead_slot_gets_its_clients_back() {
        let mut buckets = Buckets::default();
        buckets.share(&places(&[0, 1, 2]));
        let lent = buckets.lent(&places(&[0, 2]));
        assert!(!lent.contains(&PlaceId(1)));
        for (owner, now) in buckets.0.iter().zip(&lent) {
            assert!(owner == now || *owner == PlaceId(1));
        }
        assert_eq!(buckets.lent(&places(&[0, 1, 2])), buckets.0);
        assert_eq!(buckets.lent(&[]), buckets.0);
    }

    proptest! {
        #[test]
        fn shares_differ_by_one_at_most(steps in prop::collection::vec(prop::collection::btree_set(0u32..40, 1..30), 1..6)) {
            let mut buckets = Buckets::default();
            for step in steps {
                let members: Vec<PlaceId> = step.into_iter().map(PlaceId).collect();
                buckets.share(&members);
                let counts: Vec<usize> = members.iter().map(|m| buckets.count(*m)).collect();
                prop_assert_eq!(counts.iter().sum::<usize>(), IP_BUCKETS);
                prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
            }
        }
    }
}
