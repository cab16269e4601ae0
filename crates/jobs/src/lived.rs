//! The spans of the wall clock that a job has lived through: no fire time in them is ever started again.

use serde::{Deserialize, Serialize};

use crate::UnixMs;

/// So many spans are remembered; then the two that are nearest to each other become one. A clock that is set that often
/// is broken, and skipping a fire time in its past is better than running it twice.
const SPANS_MAX: usize = 64;

/// Spans of the wall clock, both ends included, in order, apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lived(Vec<(UnixMs, UnixMs)>);

impl Lived {
    /// Whether this moment was lived.
    #[must_use]
    pub fn contains(&self, at: UnixMs) -> bool {
        self.0.iter().any(|(from, to)| *from <= at && at <= *to)
    }

    /// The beginning of the span that this moment lies in.
    #[must_use]
    pub fn begin_of(&self, at: UnixMs) -> Option<UnixMs> {
        self.0.iter().find(|(from, to)| *from <= at && at <= *to).map(|(from, _)| *from)
    }

    /// `at` was lived; and all from `since` on, if `since` was (nothing lies between them).
    pub fn extend(&mut self, since: UnixMs, at: UnixMs) {
        let from = if since < at && self.contains(since) { since } else { at };
        let (mut low, mut high) = (from, at);
        self.0.retain(|(a, b)| {
            let apart = *b < low || high < *a;
            if !apart {
                low = low.min(*a);
                high = high.max(*b);
            }
            apart
        });
        let place = self.0.partition_point(|(a, _)| *a < low);
        self.0.insert(place, (low, high));
        self.bound();
    }

    fn bound(&mut self) {
        while self.0.len() > SPANS_MAX {
            let gap = |i: &usize| self.0[i + 1].0.since(self.0[*i].1);
            let nearest = (0..self.0.len() - 1).min_by_key(gap).unwrap_or(0);
            self.0[nearest].1 = self.0[nearest + 1].1;
            self.0.remove(nearest + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_life_without_steps_is_one_span() {
        let mut lived = Lived::default();
        let mut last = UnixMs(0);
        for at in 1..100 {
            lived.extend(last, UnixMs(at * 1_000));
            last = UnixMs(at * 1_000);
        }
        assert_eq!(lived.0, [(UnixMs(1_000), UnixMs(99_000))]);
    }

    proptest! {
        #[test]
        fn nothing_that_was_lived_is_forgotten(steps in proptest::collection::vec((0i64..10_000, 0i64..50), 1..300)) {
            let mut lived = Lived::default();
            let mut all = Vec::new();
            for (at, back) in steps {
                lived.extend(UnixMs(at - back), UnixMs(at));
                all.push(at);
                prop_assert!(all.iter().all(|at| lived.contains(UnixMs(*at))));
                prop_assert!(lived.0.len() <= SPANS_MAX);
                prop_assert!(lived.0.windows(2).all(|pair| pair[0].1 < pair[1].0));
            }
        }
    }
}
