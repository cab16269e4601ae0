//! Lists against a plain model: whatever is done at their ends and in between, in one transaction or in many, values that share
//! a row and values that lie apart.

mod common;

use std::collections::VecDeque;

use common::{Fixture, NOW};
use proptest::prelude::*;
use skep_state::lists::{self, End};
use skep_state::{Error, Save, Space, Store, Tx, keys};

const KEY: &[u8] = b"list";

fn space() -> Space {
    Space::database(0)
}

#[derive(Debug, Clone)]
enum Act {
    Push(End, Vec<usize>),
    Pop(End, usize),
    Set(usize, usize),
    Insert(usize, usize),
    /// Of so many from an index on, those whose index has this remainder by three.
    Remove(usize, usize, usize),
    /// So many less in front and behind.
    Trim(usize, usize),
    /// Somebody looks.
    Settle,
}

/// Lengths of values: most share a row, the longest that do and the shortest that do not are among them.
fn length() -> impl Strategy<Value = usize> {
    prop_oneof![6 => 0..20_usize, 1 => 99..103_usize, 1 => 200..3_000_usize]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Front), Just(End::Back)]
}

fn act() -> impl Strategy<Value = Act> {
    let index = 0..300_usize;
    prop_oneof![
        6 => (end(), proptest::collection::vec(length(), 1..40)).prop_map(|(end, values)| Act::Push(end, values)),
        4 => (end(), 1..40_usize).prop_map(|(end, count)| Act::Pop(end, count)),
        2 => (index.clone(), length()).prop_map(|(index, value)| Act::Set(index, value)),
        2 => (index.clone(), length()).prop_map(|(index, value)| Act::Insert(index, value)),
        1 => (index, 0..60_usize, 0..3_usize).prop_map(|(from, count, left)| Act::Remove(from, count, left)),
        1 => (0..40_usize, 0..40_usize).prop_map(|(front, back)| Act::Trim(front, back)),
        2 => Just(Act::Settle),
    ]
}

fn value(length: usize, number: usize) -> Vec<u8> {
    vec![number as u8; length]
}

/// Does the same to both.
fn perform(tx: &mut Tx<'_>, model: &mut VecDeque<Vec<u8>>, act: &Act, number: usize) -> Result<(), Error> {
    match act {
        Act::Push(end, lengths) => {
            for length in lengths {
                let value = value(*length, number);
                lists::push(tx, space(), KEY, *end, &[&value], Save::Later)?;
                match end {
                    End::Front => model.push_front(value),
                    End::Back => model.push_back(value),
                }
            }
        }
        Act::Pop(end, count) => {
            for _ in 0..*count {
                let expected = match end {
                    End::Front => model.pop_front(),
                    End::Back => model.pop_back(),
                };
                assert_eq!(lists::pop(tx, space(), KEY, *end, Save::Later)?, expected);
            }
        }
        Act::Settle => tx.settle()?,
        Act::Set(index, length) => {
            tx.settle()?;
            let value = value(*length, number);
            let there = lists::set(tx, space(), KEY, *index as u64, &value)?;
            assert_eq!(there, *index < model.len());
            if there {
                model[*index] = value;
            }
        }
        Act::Insert(index, length) if !model.is_empty() => {
            tx.settle()?;
            let (index, value) = ((*index).min(model.len()), value(*length, number));
            model.insert(index, value.clone());
            assert_eq!(lists::insert(tx, space(), KEY, index as u64, &value)?, model.len() as u64);
        }
        Act::Remove(from, count, left) if *from < model.len() => {
            tx.settle()?;
            let end = (from + count).min(model.len());
            let gone: Vec<usize> = (*from..end).filter(|index| index % 3 == *left).collect();
            let indexes: Vec<u64> = gone.iter().map(|index| *index as u64).collect();
            lists::remove(tx, space(), KEY, &indexes)?;
            for index in gone.into_iter().rev() {
                model.remove(index);
            }
        }
        Act::Trim(front, back) => {
            tx.settle()?;
            let kept = model.len().saturating_sub(front + back);
            lists::trim(tx, space(), KEY, *front as u64, kept as u64)?;
            let first = (*front).min(model.len());
            *model = model.range(first..(first + kept).min(model.len())).cloned().collect();
        }
        Act::Insert(..) | Act::Remove(..) => {}
    }
    Ok(())
}

fn check(store: &Store, model: &VecDeque<Vec<u8>>) {
    let read = store.read(NOW, |view| {
        assert_eq!(lists::len(view, space(), KEY)?, model.len() as u64);
        let all = lists::range(view, space(), KEY, 0, usize::MAX)?;
        assert!(all.iter().eq(model), "{all:?}\ninstead of\n{model:?}");
        for (start, most) in [(1, 1), (15, 2), (17, 40), (model.len().saturating_sub(1), 3), (model.len(), 1)]
        {
            let some = lists::range(view, space(), KEY, start as u64, most)?;
            assert!(some.iter().eq(model.iter().skip(start).take(most)), "{most} from {start} on");
        }
        assert_eq!(keys::info(view, space(), KEY)?.is_some(), !model.is_empty(), "an empty list is no key");
        Ok(())
    });
    read.expect("read");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_list_is_a_row_of_values(
        transactions in proptest::collection::vec(proptest::collection::vec(act(), 1..8), 1..30),
    ) {
        let fixture = Fixture::new();
        let store = fixture.supervisor.store();
        let mut model = VecDeque::new();
        let rows = fixture.supervisor.stats().rows;
        for (number, acts) in transactions.iter().enumerate() {
            // A transaction's body may run again: what it does to the model counts once.
            let before = model.clone();
            store
                .write(NOW, |tx| {
                    model = before.clone();
                    acts.iter().try_for_each(|act| perform(tx, &mut model, act, number))
                })
                .expect("committed");
            check(store, &model);
        }
        let all = Act::Pop(End::Front, model.len());
        store.write(NOW, |tx| perform(tx, &mut model, &all, 0)).expect("committed");
        prop_assert_eq!(fixture.supervisor.stats().rows, rows, "nothing of it is left");
    }
}

#[test]
fn a_list_of_small_values_has_a_row_for_sixteen() {
    let fixture = Fixture::new();
    let store = fixture.supervisor.store();
    let before = fixture.supervisor.stats().rows;
    for round in 0..160_u32 {
        let value = round.to_string();
        let push = |tx: &mut Tx<'_>| lists::push(tx, space(), KEY, End::Back, &[value.as_bytes()], Save::Now);
        store.write(NOW, push).expect("pushed");
    }
    // The list's record, and its blocks.
    assert_eq!(fixture.supervisor.stats().rows - before, 1 + 10);
}

#[test]
fn a_list_that_is_deleted_leaves_none_of_its_rows() {
    let fixture = Fixture::new();
    let store = fixture.supervisor.store();
    let before = fixture.supervisor.stats().rows;
    let long = vec![b'x'; 500];
    store
        .write(NOW, |tx| {
            for value in [&b"short"[..], &long, b"", &long] {
                lists::push(tx, space(), KEY, End::Back, &[value], Save::Later)?;
            }
            Ok(())
        })
        .expect("pushed");
    assert_eq!(fixture.supervisor.stats().rows - before, 1 + 1 + 2);
    store.write(NOW, |tx| keys::delete(tx, space(), KEY)).expect("deleted");
    assert_eq!(fixture.supervisor.stats().rows, before);
}
