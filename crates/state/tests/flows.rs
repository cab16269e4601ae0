//! Single flights, queues and channels: who is told what, and what the end of a worker gives back.

mod common;

use common::{Fixture, NOW, events};
use skep_state::{
    Begin, Client, Error, Event, Failure, Finish, Keep, Popped, PushOptions, Retry, Space, strings,
};

const LEASE_MS: u64 = 1000;

fn lease(begin: Begin) -> u64 {
    match begin {
        Begin::Fetch { token, .. } | Begin::Refresh { token, .. } => token,
        Begin::Fresh(_) | Begin::Wait { .. } => panic!("no lease: {begin:?}"),
    }
}

fn begin(client: &Client, request: u32) -> Begin {
    client.flight_begin(b"token", request, LEASE_MS, NOW).expect("an answer")
}

fn kept(ms: u64) -> Keep {
    Keep { fresh_ms: ms, ..Keep::default() }
}

#[test]
fn one_fetches_the_others_wait_and_get_what_it_got() {
    let store = Fixture::new();
    let (one, two, three) = (store.worker(1), store.worker(2), store.worker(3));
    let token = lease(begin(&one, 1));
    for waiter in [&two, &three] {
        assert_eq!(begin(waiter, 7), Begin::Wait { until: NOW.plus(LEASE_MS) });
    }
    assert!(one.flight_finish(b"token", token, Finish::Value(b"v", kept(0)), NOW).expect("landed"));
    for waiter in [&two, &three] {
        assert_eq!(events(waiter), [Event::FlightDone { request: 7, token }]);
        let value = waiter.flight_value(b"token", token, NOW).expect("read");
        assert_eq!(value, Some(b"v".to_vec()), "though it is not kept");
    }
    lease(begin(&two, 8));
}

#[test]
fn when_the_fetcher_ends_those_who_wait_begin_again_and_one_of_them_fetches() {
    let store = Fixture::new();
    let (one, two, three) = (store.worker(1), store.worker(2), store.worker(3));
    let lost = lease(begin(&one, 1));
    begin(&two, 1);
    begin(&three, 1);
    one.detach(NOW).expect("given back");
    assert_eq!(events(&two), [Event::FlightAgain { request: 1 }]);
    assert_eq!(events(&three), [Event::FlightAgain { request: 1 }]);
    let token = lease(begin(&two, 2));
    assert!(token > lost);
    assert!(matches!(begin(&three, 2), Begin::Wait { .. }));
    let late = one.flight_finish(b"token", lost, Finish::Value(b"old", kept(9)), NOW);
    assert!(!late.expect("an answer"), "a lost lease lands nothing");
}

#[test]
fn a_lease_that_is_over_is_taken_over() {
    let store = Fixture::new();
    let (one, two) = (store.worker(1), store.worker(2));
    let lost = lease(begin(&one, 1));
    let late = NOW.plus(LEASE_MS);
    let token = lease(two.flight_begin(b"token", 1, LEASE_MS, late).expect("an answer"));
    assert!(!one.flight_finish(b"token", lost, Finish::Failed("late"), late).expect("an answer"));
    assert!(two.flight_finish(b"token", token, Finish::Value(b"v", kept(50)), late).expect("landed"));
    assert_eq!(begin(&one, 2), Begin::Fresh(b"v".to_vec()));
}

#[test]
fn near_its_end_a_value_is_served_to_all_while_one_fetches_anew() {
    let store = Fixture::new();
    let (one, two) = (store.worker(1), store.worker(2));
    let token = lease(begin(&one, 1));
    let keep = Keep { fresh_ms: 100, refresh_before_ms: 40, stale_ms: 1000 };
    one.flight_finish(b"token", token, Finish::Value(b"v", keep), NOW).expect("landed");
    let soon = NOW.plus(60);
    let begun = one.flight_begin(b"token", 2, LEASE_MS, soon).expect("an answer");
    let Begin::Refresh { value, token } = begun else { panic!("{begun:?}") };
    assert_eq!(value, b"v");
    assert_eq!(two.flight_begin(b"token", 1, LEASE_MS, soon).expect("an answer"), Begin::Fresh(value));
    one.flight_finish(b"token", token, Finish::Failed("down"), soon).expect("noted");
    let over = NOW.plus(500);
    let begun = two.flight_begin(b"token", 2, LEASE_MS, over).expect("an answer");
    assert!(matches!(begun, Begin::Fetch { stale: Some(stale), .. } if stale == b"v"));
}

fn pop(client: &Client, now: skep_state::WallMs) -> Popped {
    client.pop(b"mail", 5, 100, now).expect("an answer")
}

fn job(popped: Popped) -> skep_state::Job {
    match popped {
        Popped::Job(job) => job,
        Popped::Empty { due } => panic!("nothing there until {due:?}"),
    }
}

fn push(client: &Client, data: &[u8], retries: u32) -> u64 {
    let retry = Retry { after_ms: 10, doubles: true };
    client
        .push(b"mail", data, &PushOptions { retries, retry, ..PushOptions::default() }, NOW)
        .expect("pushed")
}

#[test]
fn a_job_of_an_ended_worker_is_ready_at_once_and_its_old_receipt_is_void() {
    let store = Fixture::new();
    let (one, two) = (store.worker(1), store.worker(2));
    let id = push(&one, b"x", 3);
    let first = job(pop(&one, NOW));
    assert_eq!(pop(&two, NOW), Popped::Empty { due: Some(NOW.plus(100)) });
    one.detach(NOW).expect("given back");
    assert_eq!(events(&two), [Event::QueueReady { request: 5 }]);
    let second = job(pop(&two, NOW));
    assert_eq!((second.id, second.attempt), (id, 2));
    assert!(!one.job_done(b"mail", first.id, first.attempt, NOW).expect("an answer"));
    assert!(two.job_done(b"mail", second.id, second.attempt, NOW).expect("an answer"));
}

#[test]
fn a_job_whose_time_is_over_goes_to_the_next_and_more_time_prevents_it() {
    let store = Fixture::new();
    let (one, two) = (store.worker(1), store.worker(2));
    push(&one, b"x", 3);
    let first = job(pop(&one, NOW));
    assert!(one.job_extend(b"mail", first.id, first.attempt, 500, NOW).expect("extended"));
    assert_eq!(pop(&two, NOW.plus(200)), Popped::Empty { due: Some(NOW.plus(500)) });
    assert_eq!(job(pop(&two, NOW.plus(500))).attempt, 2);
    assert!(!one.job_extend(b"mail", first.id, first.attempt, 500, NOW).expect("an answer"));
}

#[test]
fn failures_rest_longer_each_time_then_end_among_the_dead() {
    let store = Fixture::new();
    let worker = store.worker(1);
    push(&worker, b"x", 2);
    let mut now = NOW;
    for rest in [10, 20] {
        let job = job(pop(&worker, now));
        let how = Failure { error: "no luck", policy: None };
        worker.job_failed(b"mail", job.id, job.attempt, &how, now).expect("noted");
        assert_eq!(pop(&worker, now), Popped::Empty { due: Some(now.plus(rest)) });
        now = now.plus(rest);
    }
    let last = job(pop(&worker, now));
    let how = Failure { error: "no luck", policy: None };
    worker.job_failed(b"mail", last.id, last.attempt, &how, now).expect("noted");
    let dead = worker.queue_dead(b"mail", 10, now).expect("a list");
    assert_eq!(dead, [(last.id, b"x".to_vec(), "no luck".to_owned())]);
    assert_eq!(worker.queue_revive(b"mail", 10, now).expect("revived"), 1);
    assert_eq!(job(pop(&worker, now)).attempt, 1);
}

#[test]
fn whoever_was_told_of_work_and_ends_passes_the_word_on() {
    let store = Fixture::new();
    let (one, two, three) = (store.worker(1), store.worker(2), store.worker(3));
    assert_eq!(pop(&one, NOW), Popped::Empty { due: None });
    assert_eq!(pop(&two, NOW), Popped::Empty { due: None });
    push(&three, b"x", 0);
    assert_eq!(events(&two), [], "one job wakes one worker");
    one.detach(NOW).expect("given back");
    assert_eq!(events(&two), [Event::QueueReady { request: 5 }]);
}

#[test]
fn a_job_that_ends_its_workers_is_given_up() {
    let store = Fixture::new();
    let pusher = store.worker(9);
    push(&pusher, b"poison", 1);
    for id in 1..=2 {
        let worker = store.worker(id);
        job(pop(&worker, NOW));
        worker.detach(NOW).expect("given back");
    }
    assert_eq!(pop(&pusher, NOW), Popped::Empty { due: None });
    assert_eq!(pusher.queue_view(b"mail", NOW).expect("a view").dead, 1);
}

#[test]
fn messages_come_once_in_order_from_the_moment_of_subscribing() {
    let store = Fixture::new();
    let (one, two) = (store.worker(1), store.worker(2));
    assert_eq!(one.publish(b"chat", 1, b"nobody listens", NOW).expect("sent"), 0);
    two.subscribe(b"other", NOW).expect("listening");
    one.publish(b"other", 1, b"first", NOW).expect("sent");
    two.subscribe(b"chat", NOW).expect("listening");
    for n in 0..2000u32 {
        one.publish(b"chat", 1, &n.to_be_bytes(), NOW).expect("sent");
    }
    let payloads: Vec<Vec<u8>> = events(&two)
        .into_iter()
        .filter_map(|event| match event {
            Event::Message { payload, .. } => Some(payload),
            _ => None,
        })
        .collect();
    assert_eq!(payloads.len(), 2001);
    assert_eq!(payloads[0], b"first");
    assert!(payloads[1..].iter().enumerate().all(|(n, payload)| payload == &(n as u32).to_be_bytes()));
    one.publish(b"chat", 1, b"x", NOW).expect("sent");
    assert!(store.supervisor.stats().channel_bytes < 200_000, "what everybody has read is removed");
}

#[test]
fn a_subscriber_that_never_reads_loses_the_oldest_and_is_told() {
    let store = Fixture::new();
    let (one, two) = (store.worker(1), store.worker(2));
    two.subscribe(b"chat", NOW).expect("listening");
    let large = vec![7; 1 << 20];
    for _ in 0..40 {
        one.publish(b"chat", 1, &large, NOW).expect("sent");
    }
    let events = events(&two);
    assert_eq!(events[0], Event::MessagesLost);
    assert!((10..20).contains(&events.len()), "{}", events.len());
}

#[test]
fn a_frozen_writer_is_an_error_after_a_while_and_readers_do_not_care() {
    let fixture = Fixture::new();
    let store = fixture.supervisor.store();
    store.set_patience(20_000);
    let (frozen, thaw) = (std::sync::mpsc::channel(), std::sync::mpsc::channel::<()>());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (entered, gate) = (frozen.0, thaw.1);
            let held = store.write(NOW, move |_| {
                entered.send(()).expect("somebody waits");
                gate.recv().expect("thawed");
                Ok(())
            });
            held.expect("it goes on where it stopped");
        });
        frozen.1.recv().expect("it holds the writer's lock");
        let error = store.counter_place(b"new", NOW).expect_err("nobody can write");
        assert!(matches!(error, Error::Busy { waited_ms: 20, .. }), "{error}");
        let read = store.read(NOW, |view| Ok(strings::get(view, Space::database(0), b"k")?.is_none()));
        assert!(read.expect("readers do not wait for writers"));
        thaw.0.send(()).expect("thawed");
    });
    store.set_patience(5_000_000);
    store.counter_place(b"new", NOW).expect("all is well again");
}

#[test]
fn who_is_awake_is_told_without_a_byte_and_who_falls_asleep_misses_nothing() {
    let store = Fixture::new();
    let (one, two) = (store.worker(1), store.worker(2));
    two.subscribe(b"talk", NOW).expect("listens");
    let say = |text: &[u8]| assert_eq!(one.publish(b"talk", 1, text, NOW).expect("sent"), 1);
    let bytes = || rustix::io::read(two.wake_fd(), &mut [0; 8]).unwrap_or(0);
    say(b"wake up");
    assert_eq!((two.signalled(), bytes(), events(&two).len()), (true, 1, 1));
    two.stay_awake();
    assert!(!two.signalled(), "nothing has come since");
    for text in [b"a", b"b"] {
        say(text);
        assert_eq!((two.signalled(), bytes()), (true, 0), "it looks by itself");
        assert_eq!(events(&two).len(), 1);
        assert!(!two.signalled());
    }
    say(b"just before");
    assert!(two.fall_asleep(), "it has to look once more");
    assert_eq!(events(&two).len(), 1);
    assert!(!two.fall_asleep());
    say(b"and after");
    assert_eq!((bytes(), events(&two).len()), (1, 1));
}
