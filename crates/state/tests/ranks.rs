//! Ranks of sorted sets, however many members come and go in one transaction.

mod common;

use std::collections::BTreeMap;

use common::{Fixture, NOW};
use proptest::prelude::*;
use skep_state::zsets::{self, Order};
use skep_state::{Error, Save, Space, Store, Tx};

const KEY: &[u8] = b"board";

fn space() -> Space {
    Space::database(0)
}

fn name(member: u32) -> Vec<u8> {
    format!("m{member:05}").into_bytes()
}

/// The set has just these members, and every one of them the rank that its score gives it.
fn check(store: &Store, expected: &BTreeMap<u32, i32>) {
    let mut order: Vec<(i32, Vec<u8>)> = expected.iter().map(|(m, score)| (*score, name(*m))).collect();
    order.sort();
    let read = store.read(NOW, |view| {
        assert_eq!(zsets::len(view, space(), KEY)?, order.len() as u64);
        // All at the ends, and some everywhere.
        let step = (order.len() / 97).max(1);
        for (at, (_, member)) in order.iter().enumerate().filter(|(at, _)| at % step == 0) {
            let rank = zsets::rank(view, space(), KEY, member, Order::Ascending)?;
            assert_eq!(rank, Some(at as u64), "{}", String::from_utf8_lossy(member));
            let found = zsets::range(view, space(), KEY, at as u64, 1, Order::Ascending)?;
            assert_eq!(found.first().map(|found| &found.member), Some(member));
        }
        Ok(())
    });
    read.expect("read");
}

#[derive(Debug, Clone)]
enum Act {
    /// From this member on so many get scores between 0 and `scores`, in one transaction.
    Set {
        from: u32,
        count: u32,
        scores: u32,
        save: Save,
    },
    Remove {
        from: u32,
        count: u32,
    },
    /// So many at a time are taken from the ends, and as many members get a score in between, in one transaction.
    Pop {
        rounds: Vec<(Order, usize, u32)>,
    },
}

fn round() -> impl Strategy<Value = (Order, usize, u32)> {
    let order = prop_oneof![3 => Just(Order::Ascending), 1 => Just(Order::Descending)];
    (order, prop_oneof![3 => Just(1), 1 => 0..200_usize], prop_oneof![4 => Just(0), 1 => 1..3_u32])
}

fn act() -> impl Strategy<Value = Act> {
    let save = prop_oneof![3 => Just(Save::Later), 1 => Just(Save::Now)];
    prop_oneof![
        3 => (0..3_000_u32, 1..3_000_u32, 1..5_000_u32, save)
            .prop_map(|(from, count, scores, save)| Act::Set { from, count, scores, save }),
        1 => (0..3_000_u32, 1..3_000_u32).prop_map(|(from, count)| Act::Remove { from, count }),
        2 => prop::collection::vec(round(), 1..60).prop_map(|rounds| Act::Pop { rounds }),
    ]
}

fn perform(store: &Store, act: &Act, expected: &mut BTreeMap<u32, i32>) {
    match *act {
        Act::Set { from, count, scores, save } => {
            let score = |member: u32| (member.wrapping_mul(2_654_435_761) % scores).cast_signed();
            let members = from..from + count;
            let done = store.write(NOW, |tx| {
                for member in members.clone() {
                    let score = f64::from(score(member));
                    zsets::update(tx, space(), KEY, &name(member), save, |_| Some(score))?;
                }
                Ok(())
            });
            done.expect("written");
            expected.extend(members.map(|member| (member, score(member))));
        }
        Act::Remove { from, count } => {
            let names: Vec<Vec<u8>> = (from..from + count).map(name).collect();
            let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
            store.write(NOW, |tx| zsets::remove_all(tx, space(), KEY, &names)).expect("removed");
            expected.retain(|member, _| !(from..from + count).contains(member));
        }
        Act::Pop { ref rounds } => {
            // A transaction's body may run again: what it does to the model counts once.
            let before = expected.clone();
            let done = store.write(NOW, |tx| {
                expected.clone_from(&before);
                rounds.iter().try_for_each(|round| pop(tx, expected, *round))
            });
            done.expect("written");
        }
    }
}

fn pop(
    tx: &mut Tx<'_>,
    expected: &mut BTreeMap<u32, i32>,
    (order, most, new): (Order, usize, u32),
) -> Result<(), Error> {
    let mut all: Vec<(i32, u32)> = expected.iter().map(|(member, score)| (*score, *member)).collect();
    all.sort_unstable();
    if order == Order::Descending {
        all.reverse();
    }
    all.truncate(most);
    let popped = zsets::pop(tx, space(), KEY, order, most, Save::Later)?;
    let popped: Vec<(f64, Vec<u8>)> =
        popped.into_iter().map(|scored| (scored.score, scored.member)).collect();
    let wanted: Vec<(f64, Vec<u8>)> = all.iter().map(|(score, m)| (f64::from(*score), name(*m))).collect();
    assert_eq!(popped, wanted);
    for (_, member) in all {
        expected.remove(&member);
    }
    for member in 0..new {
        zsets::update(tx, space(), KEY, &name(member), Save::Later, |_| Some(0.0))?;
        expected.insert(member, 0);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn ranks_are_those_of_the_scores_whatever_was_done_together(acts in prop::collection::vec(act(), 1..12)) {
        let store = Fixture::new();
        let mut expected = BTreeMap::new();
        for act in &acts {
            perform(store.supervisor.store(), act, &mut expected);
            check(store.supervisor.store(), &expected);
        }
    }
}

#[test]
fn more_members_than_are_noted_at_a_time_come_and_go_in_one_transaction() {
    let store = Fixture::new();
    let mut expected = BTreeMap::new();
    let all = store.supervisor.store();
    perform(all, &Act::Set { from: 0, count: 10_000, scores: 100_000, save: Save::Later }, &mut expected);
    check(all, &expected);
    perform(all, &Act::Set { from: 0, count: 10_000, scores: 3, save: Save::Later }, &mut expected);
    check(all, &expected);
    perform(all, &Act::Remove { from: 17, count: 9_900 }, &mut expected);
    check(all, &expected);
}

#[test]
fn what_was_refused_in_the_middle_is_not_counted() {
    let store = Fixture::new();
    let all = store.supervisor.store();
    let done = all.write(NOW, |tx| {
        for member in 0..3 {
            zsets::update(tx, space(), KEY, &name(member), Save::Later, |_| Some(f64::from(member)))?;
            let refused = zsets::update(tx, space(), KEY, &name(9), Save::Later, |_| Some(f64::NAN));
            assert!(matches!(refused, Err(Error::NotANumber(_))));
        }
        Ok(())
    });
    done.expect("committed");
    check(all, &BTreeMap::from([(0, 0), (1, 1), (2, 2)]));
}
