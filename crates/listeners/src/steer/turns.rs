//! The sequence of turns for weighted round robin.

use skep_sys::bpf::TABLE_MAX;

/// A sequence in which each index appears as often as it weighs, evenly spread: with weights 2:1:1 it is
/// `a b a c`, never `a a b c`. As short as the weights allow; weights that would make it longer than the
/// kernel's table are scaled down, and nothing that weighs something is scaled to nothing.
pub(crate) fn turns(members: &[(u32, u32)]) -> Vec<u32> {
    let weights = fitting(&members.iter().map(|(_, weight)| *weight).collect::<Vec<_>>());
    let total: u32 = weights.iter().sum();
    // Smooth weighted round robin (nginx): each turn everyone gains its weight, the richest pays the total.
    let mut credit = vec![0i64; members.len()];
    let mut sequence = Vec::with_capacity(total as usize);
    for _ in 0..total {
        for (credit, weight) in credit.iter_mut().zip(&weights) {
            *credit += i64::from(*weight);
        }
        let mut richest = 0;
        for at in 1..credit.len() {
            if credit[at] > credit[richest] {
                richest = at;
            }
        }
        credit[richest] -= i64::from(total);
        sequence.push(members[richest].0);
    }
    sequence
}

fn fitting(weights: &[u32]) -> Vec<u32> {
    let common = weights.iter().fold(0, |a, b| gcd(a, *b)).max(1);
    let weights: Vec<u64> = weights.iter().map(|w| u64::from(w / common)).collect();
    let total: u64 = weights.iter().sum();
    let room = TABLE_MAX as u64;
    let mut scaled: Vec<u32> = if total <= room {
        weights.iter().map(|w| *w as u32).collect()
    } else {
        weights.iter().map(|w| (w * room / total).max(u64::from(*w > 0)) as u32).collect()
    };
    // Raising many to 1 can exceed the room again: the greatest pay for it.
    while scaled.iter().map(|w| *w as usize).sum::<usize>() > TABLE_MAX {
        let greatest = scaled.iter_mut().max().expect("a sum above zero has a greatest part");
        *greatest -= 1;
    }
    scaled
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equal_weights_are_plain_round_robin() {
        assert_eq!(turns(&[(4, 7), (9, 7), (2, 7)]), [4, 9, 2]);
        assert_eq!(turns(&[]), [] as [u32; 0]);
        assert_eq!(turns(&[(1, 0)]), [] as [u32; 0]);
    }

    #[test]
    fn weights_are_spread_evenly() {
        assert_eq!(turns(&[(0, 2), (1, 1), (2, 1)]), [0, 1, 2, 0]);
        assert_eq!(turns(&[(0, 1), (1, 0), (2, 3)]), [2, 0, 2, 2]);
    }

    proptest! {
        #[test]
        fn everyone_that_weighs_something_has_a_turn_and_the_table_is_never_exceeded(
            weights in prop::collection::vec(prop_oneof![0u32..5, any::<u32>()], 0..200),
        ) {
            let members: Vec<(u32, u32)> = (0u32..).zip(weights.iter().copied()).collect();
            let sequence = turns(&members);
            prop_assert!(sequence.len() <= TABLE_MAX);
            for (index, weight) in members {
                prop_assert_eq!(sequence.contains(&index), weight > 0);
            }
        }
    }
}
