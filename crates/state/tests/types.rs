//! The keyspace's types against plain models: whatever is done to both, both say the same.

mod common;

use std::collections::BTreeMap;

use common::{Fixture, NOW};
use proptest::prelude::*;
use skep_state::lists::End;
use skep_state::strings::{Expiry, If};
use skep_state::zsets::Order;
use skep_state::{Error, Save, Space, Tx, WallMs, hashes, keys, lists, sets, strings, zsets};

const SPACE: fn() -> Space = || Space::database(3);

#[derive(Debug, Clone)]
enum Deed {
    Set(u16, i8),
    Add(u16, i8),
    Remove(u16),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let member = 0..400u16;
    let deed = prop_oneof![
        4 => (member.clone(), any::<i8>()).prop_map(|(m, s)| Deed::Set(m, s)),
        2 => (member.clone(), any::<i8>()).prop_map(|(m, s)| Deed::Add(m, s)),
        2 => member.prop_map(Deed::Remove),
    ];
    proptest::collection::vec(deed, 1..1500)
}

/// Some members are longer than a row's key may be.
fn name(member: u16) -> Vec<u8> {
    let filler = if member.is_multiple_of(50) { 700 } else { 0 };
    [vec![b'm'; filler], format!("{member:05}").into_bytes()].concat()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn a_sorted_set_ranks_as_a_sorted_list_does(deeds in deeds()) {
        let fixture = Fixture::new();
        let store = fixture.supervisor.store();
        let mut model: BTreeMap<Vec<u8>, f64> = BTreeMap::new();
        for deed in deeds {
            match deed {
                Deed::Set(member, score) => {
                    let new = store.write(NOW, |tx| zsets::set(tx, SPACE(), b"z", &name(member), score.into()));
                    let old = model.insert(name(member), score.into());
                    prop_assert_eq!(new.expect("set"), old.is_none());
                }
                Deed::Add(member, by) => {
                    let sum = store.write(NOW, |tx| zsets::add(tx, SPACE(), b"z", &name(member), by.into()));
                    let entry = model.entry(name(member)).or_insert(0.0);
                    *entry += f64::from(by);
                    prop_assert_eq!(sum.expect("added"), *entry);
                }
                Deed::Remove(member) => {
                    let was = store.write(NOW, |tx| zsets::remove(tx, SPACE(), b"z", &name(member)));
                    prop_assert_eq!(was.expect("removed"), model.remove(&name(member)).is_some());
                }
            }
        }
        // Long members sort by what their row's key keeps of them, which is the same here.
        let mut sorted: Vec<(f64, Vec<u8>)> = model.into_iter().map(|(m, s)| (s, m)).collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| (a.1.len() > 450, &a.1).cmp(&(b.1.len() > 450, &b.1))));
        let scores: Vec<f64> = sorted.iter().map(|(score, _)| *score).collect();
        let len = store.read(NOW, |v| zsets::len(v, SPACE(), b"z")).expect("a length");
        prop_assert_eq!(len, sorted.len() as u64);
        for start in [0, 1, len / 2, len.saturating_sub(1), len] {
            let up = store.read(NOW, |v| zsets::range(v, SPACE(), b"z", start, 7, Order::Ascending)).expect("a range");
            let expected: Vec<f64> = scores.iter().skip(start as usize).take(7).copied().collect();
            prop_assert_eq!(up.iter().map(|s| s.score).collect::<Vec<_>>(), expected);
            let down = store.read(NOW, |v| zsets::range(v, SPACE(), b"z", start, 7, Order::Descending));
            let expected: Vec<f64> = scores.iter().rev().skip(start as usize).take(7).copied().collect();
            prop_assert_eq!(down.expect("a range").iter().map(|s| s.score).collect::<Vec<_>>(), expected);
        }
        let all = store.read(NOW, |v| zsets::range(v, SPACE(), b"z", 0, usize::MAX, Order::Ascending)).expect("all");
        for (index, scored) in all.iter().enumerate() {
            let rank = store.read(NOW, |v| zsets::rank(v, SPACE(), b"z", &scored.member, Order::Ascending));
            prop_assert_eq!(rank.expect("a rank"), Some(index as u64));
        }
    }
}

#[test]
fn hashes_and_sets_keep_fields_and_members_of_any_length() {
    let fixture = Fixture::new();
    let store = fixture.supervisor.store();
    let long = vec![b'f'; 9000];
    for field in [&b"a"[..], b"", &long] {
        assert!(store.write(NOW, |tx| hashes::set(tx, SPACE(), b"h", field, b"value")).expect("set"));
        assert!(!store.write(NOW, |tx| hashes::set(tx, SPACE(), b"h", field, b"again")).expect("set"));
        assert!(store.write(NOW, |tx| sets::add(tx, SPACE(), b"s", field)).expect("added"));
        let value = store.read(NOW, |v| Ok(hashes::get(v, SPACE(), b"h", field)?.map(<[u8]>::to_vec)));
        assert_eq!(value.expect("read"), Some(b"again".to_vec()));
        assert!(store.read(NOW, |v| sets::contains(v, SPACE(), b"s", field)).expect("looked"));
    }
    let fields = store.read(NOW, |v| hashes::page(v, SPACE(), b"h", b"", 10)).expect("a page");
    assert_eq!(fields.iter().map(|(field, _)| field.len()).collect::<Vec<_>>(), [0, 1, 9000]);
    assert_eq!(store.read(NOW, |v| sets::page(v, SPACE(), b"s", b"", 10)).expect("a page").len(), 3);
    for field in [&b"a"[..], b"", &long] {
        assert!(store.write(NOW, |tx| hashes::remove(tx, SPACE(), b"h", field)).expect("removed"));
    }
    assert_eq!(store.read(NOW, |v| keys::info(v, SPACE(), b"h")).expect("looked"), None);
}

#[test]
fn a_key_of_another_type_is_an_error_that_names_both() {
    let fixture = Fixture::new();
    let store = fixture.supervisor.store();
    store.write(NOW, |tx| sets::add(tx, SPACE(), b"k", b"m")).expect("added");
    let error = store.write(NOW, |tx| hashes::set(tx, SPACE(), b"k", b"f", b"v")).expect_err("a set");
    assert!(matches!(error, Error::WrongType { found: "set", wanted: "hash" }), "{error}");
    let set = |tx: &mut Tx<'_>| strings::set(tx, SPACE(), b"k", b"v", Expiry::Never, If::Always);
    assert!(store.write(NOW, set).expect("SET replaces whatever was there"));
    assert_eq!(store.write(NOW, |tx| strings::add(tx, SPACE(), b"n", -5)).expect("added"), -5);
    assert!(matches!(store.write(NOW, |tx| strings::add(tx, SPACE(), b"k", 1)), Err(Error::NotANumber(_))));
}

#[test]
fn what_expires_is_gone_at_once_and_swept_later() {
    let fixture = Fixture::new();
    let store = fixture.supervisor.store();
    for n in 0..1000u32 {
        let key = n.to_be_bytes();
        let at = Expiry::At(NOW.plus(u64::from(n) + 1));
        store.write(NOW, |tx| strings::set(tx, SPACE(), &key, b"v", at, If::Always)).expect("set");
    }
    let later = NOW.plus(500);
    assert_eq!(store.read(later, |v| keys::count(v, SPACE())).expect("a count"), 500);
    let mut next = fixture.supervisor.maintain(NOW).expect("swept");
    let rows = fixture.supervisor.stats().rows;
    assert_eq!(rows, 2000, "keys and their timers");
    while let Some(at) = next {
        assert!(at >= NOW);
        next = fixture.supervisor.maintain(at.max(NOW.plus(2000))).expect("swept");
    }
    assert_eq!(fixture.supervisor.stats().rows, 0, "nothing stays behind, and nothing more is asked for");
}

#[test]
fn an_end_that_moves_is_kept_and_one_that_is_removed_is_forgotten() {
    let fixture = Fixture::new();
    let store = fixture.supervisor.store();
    let set = |at| store.write(NOW, |tx| strings::set(tx, SPACE(), b"k", b"v", Expiry::At(at), If::Always));
    set(NOW.plus(1000)).expect("set");
    set(NOW.plus(9000)).expect("set");
    fixture.supervisor.maintain(NOW.plus(2000)).expect("swept");
    assert!(store.read(NOW.plus(2000), |v| keys::info(v, SPACE(), b"k")).expect("looked").is_some());
    assert!(store.write(NOW, |tx| keys::expire(tx, SPACE(), b"k", None)).expect("kept for ever"));
    fixture.supervisor.maintain(NOW.plus(10_000)).expect("swept");
    let info = store.read(NOW.plus(1 << 40), |v| keys::info(v, SPACE(), b"k")).expect("looked");
    assert_eq!(info.expect("there").expires, None);
}

#[test]
fn a_large_collection_is_deleted_at_once_and_its_elements_in_slices() {
    let fixture = Fixture::new();
    let store = fixture.supervisor.store();
    for n in 0..5000u32 {
        store.write(NOW, |tx| sets::add(tx, SPACE(), b"s", &n.to_be_bytes())).expect("added");
    }
    assert!(store.write(NOW, |tx| keys::delete(tx, SPACE(), b"s")).expect("deleted"));
    assert_eq!(store.read(NOW, |v| sets::len(v, SPACE(), b"s")).expect("a length"), 0);
    store.write(NOW, |tx| sets::add(tx, SPACE(), b"s", b"new")).expect("added");
    while fixture.supervisor.maintain(NOW).expect("swept").is_some() {}
    assert_eq!(fixture.supervisor.stats().rows, 2, "the new set's record and member");
}

#[test]
fn strings_that_are_put_off_replace_whatever_was_there_and_the_last_one_counts() {
    let store = Fixture::new();
    let all = store.supervisor.store();
    let (later, long) = (WallMs(NOW.0 + 60_000), "x".repeat(400));
    all.write(NOW, |tx| {
        strings::set(tx, SPACE(), b"expires", b"old", Expiry::At(later), If::Always)?;
        lists::push(tx, SPACE(), b"list", End::Back, &[b"a"], Save::Now)?;
        keys::expire(tx, SPACE(), b"list", Some(later))?;
        Ok(())
    })
    .expect("committed");
    all.write(NOW, |tx| {
        for value in [b"1".as_slice(), b"22", b""] {
            for key in ["expires", "b", "list", "a", &long] {
                strings::set_later(tx, SPACE(), key.as_bytes(), value)?;
            }
        }
        for value in [b"several".as_slice(), b"of", b"one"] {
            strings::set_later(tx, SPACE(), b"again", value)?;
        }
        // A value that is not worth a copy is written at once, in its turn.
        strings::set_later(tx, SPACE(), b"b", long.as_bytes())?;
        // A collection's put-off record and these are not there at one time.
        lists::push(tx, SPACE(), b"other", End::Back, &[b"x"], Save::Later)?;
        strings::set_later(tx, SPACE(), b"other", b"now a string")?;
        let wrong = lists::push(tx, SPACE(), b"other", End::Back, &[b"x"], Save::Later);
        assert!(matches!(wrong, Err(Error::WrongType { .. })));
        let wrong = lists::pop(tx, SPACE(), b"a", End::Back, Save::Later);
        assert!(matches!(wrong, Err(Error::WrongType { .. })));
        assert_eq!(strings::get(&tx.view(), SPACE(), b"again")?, Some(b"one".as_slice()));
        let refused = strings::set_later(tx, SPACE(), &[b'k'; 70_000], b"");
        assert!(matches!(refused, Err(Error::KeyTooLong { .. })));
        strings::set_later(tx, SPACE(), b"last", b"by the commit")?;
        Ok(())
    })
    .expect("committed");
    all.read(NOW, |view| {
        for (key, value) in [
            ("expires", b"".as_slice()),
            ("a", b""),
            ("list", b""),
            ("b", long.as_bytes()),
            ("again", b"one"),
            ("other", b"now a string"),
            ("last", b"by the commit"),
            (&long, b""),
        ] {
            assert_eq!(strings::get(view, SPACE(), key.as_bytes())?, Some(value), "{key}");
            let info = keys::info(view, SPACE(), key.as_bytes())?.expect("it is there");
            assert_eq!(info.expires, None, "{key}");
        }
        Ok(())
    })
    .expect("read");
}

#[test]
fn numbers_that_are_put_off_add_up() {
    let store = Fixture::new();
    let all = store.supervisor.store();
    let later = WallMs(NOW.0 + 60_000);
    let sums = all.write(NOW, |tx| {
        strings::set(tx, SPACE(), b"expires", b"5", Expiry::At(later), If::Always)?;
        let mut sums = Vec::new();
        for (key, by) in [
            ("n", 1),
            ("n", 1),
            ("m", 10),
            ("n", 1),
            ("expires", 1),
            ("expires", 1),
            ("n", -10),
            ("n", i64::MAX),
        ] {
            sums.push(strings::add_later(tx, SPACE(), key.as_bytes(), by)?);
        }
        strings::set_later(tx, SPACE(), b"m", b"7")?;
        sums.push(strings::add_later(tx, SPACE(), b"m", 1)?);
        let over = strings::add_later(tx, SPACE(), b"m", i64::MAX);
        assert!(matches!(over, Err(Error::Overflow)));
        strings::set_later(tx, SPACE(), b"m", b"no number")?;
        let none = strings::add_later(tx, SPACE(), b"m", 1);
        assert!(matches!(none, Err(Error::NotANumber(_))));
        // What was known of it is forgotten when somebody else writes.
        strings::add_later(tx, SPACE(), b"n", 1)?;
        tx.settle()?;
        strings::set(tx, SPACE(), b"n", b"100", Expiry::Never, If::Always)?;
        sums.push(strings::add_later(tx, SPACE(), b"n", 1)?);
        Ok(sums)
    });
    assert_eq!(sums.expect("committed"), [1, 2, 10, 3, 6, 7, -7, i64::MAX - 7, 8, 101]);
    all.read(NOW, |view| {
        assert_eq!(strings::get(view, SPACE(), b"n")?, Some(b"101".as_slice()));
        assert_eq!(strings::get(view, SPACE(), b"m")?, Some(b"no number".as_slice()));
        assert_eq!(keys::info(view, SPACE(), b"expires")?.and_then(|info| info.expires), Some(later));
        Ok(())
    })
    .expect("read");
}

#[test]
fn fields_and_members_come_all_or_not_at_all() {
    let store = Fixture::new();
    let all = store.supervisor.store();
    let (too_long, name) = (vec![0; 17 * 1024 * 1024], vec![b'n'; 70_000]);
    for save in [Save::Now, Save::Later] {
        all.write(NOW, |tx| {
            let pairs: [(&[u8], &[u8]); 2] = [(b"a", b"1"), (b"b", &too_long)];
            let refused = hashes::set_all(tx, SPACE(), b"hash", &pairs, save);
            assert!(matches!(refused, Err(Error::ValueTooLong { .. })));
            let refused = sets::add_all(tx, SPACE(), b"set", &[b"a", &name], save);
            assert!(matches!(refused, Err(Error::KeyTooLong { .. })));
            tx.settle()?;
            for key in [b"hash".as_slice(), b"set"] {
                assert_eq!(keys::info(&tx.view(), SPACE(), key)?, None);
            }
            Ok(())
        })
        .expect("committed");
    }
}

#[test]
fn a_list_that_runs_empty_takes_its_end_along() {
    let store = Fixture::new();
    let all = store.supervisor.store();
    let pop = |tx: &mut Tx<'_>| lists::pop(tx, SPACE(), b"list", End::Front, Save::Later);
    all.write(NOW, |tx| {
        lists::push(tx, SPACE(), b"list", End::Back, &[b"a", b"b"], Save::Now)?;
        keys::expire(tx, SPACE(), b"list", Some(WallMs(NOW.0 + 60_000)))?;
        Ok(())
    })
    .expect("committed");
    let popped = all.write(NOW, |tx| {
        let popped = [pop(tx)?, pop(tx)?, pop(tx)?];
        lists::push(tx, SPACE(), b"list", End::Back, &[b"c"], Save::Later)?;
        Ok(popped)
    });
    assert_eq!(popped.expect("committed"), [Some(b"a".to_vec()), Some(b"b".to_vec()), None]);
    let info = all.read(NOW, |view| keys::info(view, SPACE(), b"list")).expect("read").expect("there again");
    assert_eq!(info.expires, None);
    // One that came and went in a transaction was never there.
    all.write(NOW, |tx| {
        assert_eq!(pop(tx)?, Some(b"c".to_vec()));
        lists::push(tx, SPACE(), b"list", End::Back, &[b"d"], Save::Later)?;
        assert_eq!((pop(tx)?, pop(tx)?), (Some(b"d".to_vec()), None));
        Ok(())
    })
    .expect("committed");
    assert_eq!(all.read(NOW, |view| keys::info(view, SPACE(), b"list")).expect("read"), None);
}

#[test]
fn what_is_put_off_is_there_when_the_transaction_settles_and_when_it_commits() {
    let store = Fixture::new();
    let all = store.supervisor.store();
    let done = all.write(NOW, |tx| {
        for value in [b"a", b"b"] {
            lists::push(tx, SPACE(), b"list", End::Back, &[value], Save::Later)?;
        }
        tx.settle()?;
        assert_eq!(lists::len(&tx.view(), SPACE(), b"list")?, 2);
        lists::push(tx, SPACE(), b"list", End::Front, &[b"first"], Save::Later)?;
        // Another one: the list's record is written before.
        zsets::update(tx, SPACE(), b"board", b"ann", Save::Later, |_| Some(1.0))?;
        assert_eq!(lists::len(&tx.view(), SPACE(), b"list")?, 3);
        zsets::update(tx, SPACE(), b"board", b"bob", Save::Later, |_| Some(2.0))?;
        let wrong = lists::push(tx, SPACE(), b"board", End::Back, &[b"x"], Save::Later);
        assert!(matches!(wrong, Err(Error::WrongType { .. })));
        let too_long = vec![0; 17 * 1024 * 1024];
        let values: [&[u8]; 2] = [b"kept", &too_long];
        let refused = lists::push(tx, SPACE(), b"fresh", End::Back, &values, Save::Later);
        assert!(matches!(refused, Err(Error::ValueTooLong { .. })));
        Ok(())
    });
    done.expect("committed");
    let read = all.read(NOW, |view| {
        let list = lists::range(view, SPACE(), b"list", 0, 9)?;
        let board = zsets::range(view, SPACE(), b"board", 0, 9, Order::Ascending)?;
        Ok((list, board.len(), keys::info(view, SPACE(), b"fresh")?))
    });
    let list = [b"first".as_slice(), b"a", b"b"].map(<[u8]>::to_vec).to_vec();
    assert_eq!(read.expect("read"), (list, 2, None), "and nothing of what was refused");
}
