//! Locks: who holds, who waits, who is next.

mod common;

use common::{Fixture, NOW, events};
use skep_state::{Ask, Client, Event, Granted, IfBusy, LockMode, Owner};

fn ask(client: &Client, request: u32, mode: LockMode, if_busy: IfBusy) -> Granted {
    let ask = Ask { name: b"report", request, mode, if_busy, ttl_ms: 0 };
    client.lock(&ask, NOW).expect("an answer")
}

fn exclusive(client: &Client, request: u32) -> Granted {
    ask(client, request, LockMode::Exclusive, IfBusy::Wait)
}

fn token(granted: Granted) -> u64 {
    match granted {
        Granted::Yes(token) => token,
        Granted::Later | Granted::No => panic!("not granted: {granted:?}"),
    }
}

fn granted(client: &Client) -> Vec<u32> {
    let grants = events(client).into_iter().filter_map(|event| match event {
        Event::LockGranted { request, .. } => Some(request),
        _ => None,
    });
    grants.collect()
}

#[test]
fn a_free_lock_is_granted_at_once_with_a_growing_token() {
    let store = Fixture::new();
    let worker = store.worker(1);
    let mut last = 0;
    for request in 0..100 {
        let token = token(exclusive(&worker, request));
        assert!(token > last);
        last = token;
        assert!(worker.unlock(b"report", request, NOW).expect("released"));
    }
    assert!(store.supervisor.store().locks(NOW).expect("a list").is_empty());
}

#[test]
fn those_who_wait_are_served_in_the_order_of_their_arrival() {
    let store = Fixture::new();
    let workers: Vec<Client> = (1..=4).map(|id| store.worker(id)).collect();
    token(exclusive(&workers[0], 1));
    for worker in &workers[1..] {
        assert_eq!(exclusive(worker, 9), Granted::Later);
    }
    let mut holder = (&workers[0], 1);
    for next in &workers[1..] {
        assert!(workers.iter().all(|worker| granted(worker).is_empty()));
        holder.0.unlock(b"report", holder.1, NOW).expect("released");
        assert_eq!(granted(next), [9]);
        holder = (next, 9);
    }
}

#[test]
fn shared_holders_share_but_do_not_overtake_a_waiting_exclusive_one() {
    let store = Fixture::new();
    let worker = store.worker(1);
    token(ask(&worker, 1, LockMode::Shared, IfBusy::Wait));
    token(ask(&worker, 2, LockMode::Shared, IfBusy::Wait));
    assert_eq!(exclusive(&worker, 3), Granted::Later);
    assert_eq!(ask(&worker, 4, LockMode::Shared, IfBusy::Wait), Granted::Later);
    worker.unlock(b"report", 1, NOW).expect("released");
    assert_eq!(granted(&worker), [] as [u32; 0]);
    worker.unlock(b"report", 2, NOW).expect("released");
    assert_eq!(granted(&worker), [3]);
    worker.unlock(b"report", 3, NOW).expect("released");
    assert_eq!(granted(&worker), [4]);
}

#[test]
fn a_cancelled_exclusive_wait_lets_the_shared_ones_behind_it_through() {
    let store = Fixture::new();
    let worker = store.worker(1);
    token(ask(&worker, 1, LockMode::Shared, IfBusy::Wait));
    assert_eq!(exclusive(&worker, 2), Granted::Later);
    assert_eq!(ask(&worker, 3, LockMode::Shared, IfBusy::Wait), Granted::Later);
    assert!(worker.lock_cancel(2, NOW).expect("cancelled"));
    assert_eq!(granted(&worker), [3]);
    assert!(!worker.lock_cancel(3, NOW).expect("it was granted, so it waits no more"));
}

#[test]
fn a_held_lock_is_refused_or_stolen_as_asked() {
    let store = Fixture::new();
    let (one, two) = (store.worker(1), store.worker(2));
    let first = token(exclusive(&one, 1));
    assert_eq!(ask(&two, 1, LockMode::Exclusive, IfBusy::Refuse), Granted::No);
    let second = token(ask(&two, 2, LockMode::Exclusive, IfBusy::Steal));
    assert!(second > first, "the fence keeps the old holder out");
    assert_eq!(events(&one), [Event::LockLost { request: 1 }]);
    assert!(!one.unlock(b"report", 1, NOW).expect("it is not ours any more"));
    assert!(two.unlock(b"report", 2, NOW).expect("released"));
}

#[test]
fn what_a_dead_worker_held_goes_to_the_next_and_its_own_waits_vanish() {
    let store = Fixture::new();
    let (one, two, three) = (store.worker(1), store.worker(2), store.worker(3));
    token(exclusive(&one, 1));
    assert_eq!(exclusive(&two, 1), Granted::Later);
    assert_eq!(exclusive(&three, 1), Granted::Later);
    // The fixture's workers share this process, hence `keep_only`, which goes by owners, not by processes.
    let alive = [one.owner(), three.owner()];
    assert!(store.supervisor.keep_only(&alive, NOW).is_ok());
}

#[test]
fn a_ttl_takes_the_lock_away_when_it_is_over() {
    let store = Fixture::new();
    let worker = store.worker(1);
    let ask =
        Ask { name: b"lease", request: 1, mode: LockMode::Exclusive, if_busy: IfBusy::Wait, ttl_ms: 50 };
    token(worker.lock(&ask, NOW).expect("granted"));
    let waits = Ask { request: 2, ttl_ms: 0, ..ask };
    assert_eq!(worker.lock(&waits, NOW).expect("an answer"), Granted::Later);
    assert_eq!(store.supervisor.maintain(NOW).expect("swept"), Some(NOW.plus(50)));
    store.supervisor.maintain(NOW.plus(50)).expect("swept");
    let events = events(&worker);
    assert_eq!(events[0], Event::LockLost { request: 1 });
    assert!(matches!(events[1], Event::LockGranted { request: 2, .. }));
}

#[test]
fn any_bytes_are_a_name_and_long_ones_are_told_apart() {
    let store = Fixture::new();
    let worker = store.worker(1);
    let long = |last: u8| [vec![0xff; 5000], vec![last]].concat();
    for (request, name) in [(1, long(1)), (2, long(2)), (3, vec![0xc3, 0x28]), (4, vec![])] {
        let ask = Ask { name: &name, request, mode: LockMode::Exclusive, if_busy: IfBusy::Refuse, ttl_ms: 0 };
        token(worker.lock(&ask, NOW).expect("granted"));
    }
    let names: Vec<usize> =
        store.supervisor.store().locks(NOW).expect("a list").iter().map(|l| l.name.len()).collect();
    assert_eq!(names, [0, 2, 5001, 5001]);
    let huge = vec![b'x'; 10 << 20];
    let ask = Ask { name: &huge, request: 5, mode: LockMode::Exclusive, if_busy: IfBusy::Wait, ttl_ms: 0 };
    let error = worker.lock(&ask, NOW).expect_err("too long").to_string();
    assert!(error.contains("10485760") && error.contains("65536"), "{error}");
}

#[test]
fn a_released_owner_cannot_take_anything_new() {
    let store = Fixture::new();
    let worker = store.worker(7);
    store.supervisor.worker_ended(Owner { id: 7, generation: 1 }, NOW).expect("released");
    let ask = Ask { name: b"a", request: 1, mode: LockMode::Exclusive, if_busy: IfBusy::Wait, ttl_ms: 0 };
    let error = worker.lock(&ask, NOW).expect_err("it is detached").to_string();
    assert!(error.contains("worker 7, generation 1"), "{error}");
}
