//! Who holds the writer's lock learns that others sleep until it is free.

mod common;

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use common::{Fixture, NOW};
use skep_state::{Error, Store, Tx};

/// The store that a process of its own is to wait for.
const STORE: &str = "SKEP_TEST_WAITS_FOR";

fn until(mut done: impl FnMut() -> bool) {
    while !done() {
        std::thread::yield_now();
    }
}

fn nothing(_: &mut Tx<'_>) -> Result<(), Error> {
    Ok(())
}

/// Not a test: the process that waits, started by one.
#[test]
#[ignore = "a process that other tests start"]
fn process_that_waits() {
    let Some(path) = std::env::var_os(STORE) else { return };
    Store::open(path.as_ref()).expect("a store").write(NOW, nothing).expect("its turn");
}

#[test]
fn a_sleeper_is_told_of_until_it_has_its_turn() {
    let fixture = Fixture::new();
    let store = fixture.supervisor.store();
    std::thread::scope(|threads| {
        let other = store
            .write(NOW, |tx| {
                assert!(!tx.is_waited_for(), "nobody has come yet");
                let other = threads.spawn(|| store.write(NOW, nothing));
                until(|| tx.is_waited_for());
                Ok(other)
            })
            .expect("a transaction");
        other.join().expect("no panic").expect("its turn");
    });
    let left = store.write(NOW, |tx| Ok(tx.is_waited_for())).expect("a transaction");
    assert!(!left, "nobody is left");
}

#[test]
fn of_two_sleepers_the_second_is_told_of_when_the_first_has_its_turn() {
    let fixture = Fixture::new();
    let store = fixture.supervisor.store();
    let turns = AtomicU32::new(0);
    // Who gets the lock first waits until it learns of the other.
    let turn = || {
        store.write(NOW, |tx| {
            if turns.fetch_add(1, Relaxed) == 0 {
                until(|| tx.is_waited_for());
            }
            Ok(())
        })
    };
    std::thread::scope(|threads| {
        let both = store
            .write(NOW, |tx| {
                let both = [threads.spawn(turn), threads.spawn(turn)];
                until(|| tx.is_waited_for());
                Ok(both)
            })
            .expect("a transaction");
        both.into_iter().for_each(|other| other.join().expect("no panic").expect("its turn"));
    });
}

#[test]
fn who_has_given_up_is_told_of_no_more() {
    let fixture = Fixture::new();
    let store = fixture.supervisor.store();
    store.set_patience(1_000);
    std::thread::scope(|threads| {
        store
            .write(NOW, |tx| {
                let other = threads.spawn(|| store.write(NOW, nothing)).join().expect("no panic");
                assert!(matches!(other, Err(Error::Busy { .. })), "{other:?}");
                assert!(!tx.is_waited_for());
                Ok(())
            })
            .expect("a transaction");
    });
}

#[test]
fn who_was_killed_while_it_slept_is_forgotten() {
    let fixture = Fixture::new();
    let store = fixture.supervisor.store();
    let asleep = || {
        Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "process_that_waits", "--ignored"])
            .env(STORE, fixture.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts")
    };
    store
        .write(NOW, |tx| {
            let mut other = asleep();
            until(|| tx.is_waited_for());
            other.kill().expect("killed");
            other.wait().expect("our child");
            until(|| !tx.is_waited_for());
            Ok(())
        })
        .expect("a transaction");
}
