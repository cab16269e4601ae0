//! Looking for changes without looking again and again: who is told, how often, and what it costs who changes.

mod common;

use common::{Fixture, NOW};
use skep_state::strings::{Expiry, If};
use skep_state::{Client, Space, Store, strings};

/// Bytes that came to the supervisor: how often it was told.
fn told(store: &Fixture) -> usize {
    let mut bytes = [0; 64];
    rustix::io::read(store.supervisor.wake_fd(), &mut bytes).unwrap_or(0)
}

/// A store whose supervisor has nothing else to be told of.
fn quiet() -> Fixture {
    let store = Fixture::new();
    store.supervisor.maintain(NOW).expect("a working store");
    store
}

fn set(store: &Store, value: &[u8]) {
    let space = Space::database(0);
    store.write(NOW, |tx| strings::set(tx, space, b"k", value, Expiry::Never, If::Always)).expect("written");
}

fn is_watched(client: &Client) -> bool {
    client.store().watched().load(std::sync::atomic::Ordering::Relaxed) != 0
}

#[test]
fn nobody_is_told_of_changes_that_nobody_looks_for() {
    let store = quiet();
    let worker = store.worker(1);
    set(worker.store(), b"a");
    worker.store().counter_add(b"times", 1, NOW).expect("added");
    assert_eq!(told(&store), 0);
}

#[test]
fn the_next_change_is_told_once_whoever_makes_it() {
    let store = quiet();
    let worker = store.worker(1);
    let place = worker.store().counter_place(b"times", NOW).expect("a place");
    let changes: [&dyn Fn(); 6] = [
        &|| set(worker.store(), b"a"),
        &|| set(store.supervisor.store(), b"b"),
        &|| assert!(worker.store().counter_add_at(place, 1).is_ok()),
        &|| assert!(worker.store().counter_set_at(place, 5).is_ok()),
        &|| worker.store().changed(),
        &|| assert!(worker.publish(b"nobody listens", 1, b"", NOW).is_ok_and(|heard| heard == 0)),
    ];
    for change in &changes[..5] {
        store.supervisor.watch();
        assert!(is_watched(&worker));
        change();
        assert_eq!((told(&store), is_watched(&worker)), (1, false));
        change();
        assert_eq!(told(&store), 0, "it was told already, and nobody has looked since");
    }
    store.supervisor.watch();
    changes[5]();
    worker.store().counter_add_at(place, 0).expect("read");
    assert_eq!(told(&store), 0, "nothing has changed");
    store.supervisor.unwatch();
    set(worker.store(), b"c");
    assert_eq!(told(&store), 0, "nobody looks any more");
}

#[test]
fn a_flag_that_a_supervisor_left_up_when_it_was_killed_harms_nobody() {
    let store = quiet();
    let worker = store.worker(1);
    store.supervisor.watch();
    let Fixture { dir, supervisor } = store;
    drop(supervisor);
    set(worker.store(), b"a");
    assert!(!is_watched(&worker));
    drop(dir);
}

#[test]
fn of_many_threads_that_write_none_changes_what_a_look_does_not_see_or_hear_of() {
    const WRITES: u64 = 2_000;
    let store = quiet();
    let place = store.supervisor.store().counter_place(b"times", NOW).expect("a place");
    let counter = &store.supervisor.store().counter_page()[place];
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..WRITES {
                    store.supervisor.store().counter_add_at(place, 1).expect("added");
                }
            });
        }
        // Looks only when it is told: were one change lost, the last value would never be seen.
        let mut seen = 0;
        while seen < 2 * WRITES {
            store.supervisor.watch();
            seen = counter.load(std::sync::atomic::Ordering::SeqCst).unsigned_abs();
            if seen < 2 * WRITES {
                let fd = store.supervisor.wake_fd();
                let mut polled = [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)];
                let patience = rustix::time::Timespec { tv_sec: 20, tv_nsec: 0 };
                assert_eq!(rustix::event::poll(&mut polled, Some(&patience)), Ok(1), "stuck at {seen}");
                told(&store);
            }
        }
    });
}
