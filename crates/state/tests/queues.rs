//! Queues as people handle them: looking at jobs, putting dead ones back, removing, pausing.

mod common;

use common::{Fixture, NOW, events};
use skep_state::{Client, Event, Failure, JobPart, JobView, Popped, PushOptions, Retry, Store};

const QUEUE: &[u8] = b"mail";

fn push(worker: &Client, data: &[u8], options: PushOptions) -> u64 {
    worker.push(QUEUE, data, &options, NOW).expect("pushed")
}

fn pop(worker: &Client) -> Option<skep_state::Job> {
    match worker.pop(QUEUE, 1, 30_000, NOW).expect("an answer") {
        Popped::Job(job) => Some(job),
        Popped::Empty { .. } => None,
    }
}

fn peek(store: &Store, part: JobPart) -> Vec<JobView> {
    store.queue_peek(QUEUE, part, 100, NOW).expect("read").expect("there is such a queue")
}

/// Pushes a job that fails for good.
fn push_dead(worker: &Client, error: &str) -> u64 {
    let id = push(worker, b"poor", PushOptions { priority: 255, ..PushOptions::default() });
    let job = pop(worker).expect("it is first");
    assert_eq!(job.id, id);
    let how = Failure { error, policy: None };
    assert!(worker.job_failed(QUEUE, id, job.attempt, &how, NOW).expect("settled"));
    id
}

#[test]
fn each_part_shows_its_jobs_in_the_order_of_their_turn_without_taking_them() {
    let fixture = Fixture::new();
    let (store, worker) = (fixture.supervisor.store(), fixture.worker(1));
    let retry = Retry { after_ms: 5, doubles: false };
    let held = push(&worker, b"held", PushOptions { retries: 2, retry, ..PushOptions::default() });
    pop(&worker).expect("the first");
    let dead = push_dead(&worker, "no luck");
    for (data, delay_ms) in [(b"later", 2000), (b"early", 1000)] {
        push(&worker, data, PushOptions { delay_ms, ..PushOptions::default() });
    }
    push(&worker, b"low", PushOptions::default());
    push(&worker, b"high", PushOptions { priority: 7, ..PushOptions::default() });

    let data = |part| peek(store, part).into_iter().map(|job| job.data).collect::<Vec<_>>();
    assert_eq!(data(JobPart::Ready), [b"high".to_vec(), b"low".to_vec()]);
    assert_eq!(data(JobPart::Delayed), [b"early".to_vec(), b"later".to_vec()]);
    let active = &peek(store, JobPart::Active)[0];
    assert_eq!((active.id, active.owner, active.attempts), (held, Some(worker.owner()), 1));
    assert_eq!((active.retries, active.at), (2, NOW.plus(30_000)));
    let lost = &peek(store, JobPart::Dead)[0];
    assert_eq!((lost.id, lost.error.as_deref(), lost.owner), (dead, Some("no luck"), None));
    assert_eq!(store.queue_peek(QUEUE, JobPart::Ready, 1, NOW).expect("read").expect("a queue").len(), 1);
    assert_eq!(store.queue_peek(b"none", JobPart::Ready, 1, NOW).expect("read"), None);
    let view = worker.queue_view(QUEUE, NOW).expect("read");
    assert_eq!([view.ready, view.delayed, view.active, view.dead], [2, 2, 1, 1]);
}

#[test]
fn a_dead_job_is_put_back_as_if_it_were_new_and_whoever_waits_is_told() {
    let fixture = Fixture::new();
    let (store, worker) = (fixture.supervisor.store(), fixture.worker(1));
    let (first, second) = (push_dead(&worker, "one"), push_dead(&worker, "two"));
    assert!(pop(&worker).is_none());
    assert!(
        !store.queue_revive_one(QUEUE, first + second, NOW).expect("an answer"),
        "nobody has that number"
    );
    assert!(!store.queue_revive_one(b"none", first, NOW).expect("an answer"));
    assert!(store.queue_revive_one(QUEUE, second, NOW).expect("an answer"));
    assert!(!store.queue_revive_one(QUEUE, second, NOW).expect("an answer"), "it is dead no more");
    assert_eq!(events(&worker), [Event::QueueReady { request: 1 }]);
    let job = pop(&worker).expect("it is back");
    assert_eq!((job.id, job.attempt), (second, 1));
    assert_eq!(store.queue_revive(QUEUE, 100, NOW).expect("an answer"), 1, "the other one");
    assert_eq!(peek(store, JobPart::Dead), []);
}

#[test]
fn what_nobody_works_on_can_be_removed_so_many_at_a_time() {
    let fixture = Fixture::new();
    let (store, worker) = (fixture.supervisor.store(), fixture.worker(1));
    push(&worker, b"held", PushOptions::default());
    let held = pop(&worker).expect("the first");
    push_dead(&worker, "gone");
    for _ in 0..5 {
        push(&worker, b"ready", PushOptions::default());
        push(&worker, b"late", PushOptions { delay_ms: 9, ..PushOptions::default() });
    }
    let purge = |part, most| store.queue_purge(QUEUE, part, most, NOW).expect("an answer");
    assert_eq!(purge(JobPart::Active, 100), 0, "it is its worker's");
    assert_eq!((purge(JobPart::Ready, 3), purge(JobPart::Ready, 3)), (3, 2));
    assert_eq!((purge(JobPart::Delayed, 100), purge(JobPart::Dead, 100)), (5, 1));
    assert_eq!(store.queue_purge(b"none", JobPart::Ready, 1, NOW).expect("an answer"), 0);
    let view = worker.queue_view(QUEUE, NOW).expect("read");
    assert_eq!([view.ready, view.delayed, view.active, view.dead], [0, 0, 1, 0]);
    assert!(worker.job_done(QUEUE, held.id, held.attempt, NOW).expect("settled"));
    assert!(pop(&worker).is_none(), "nothing is left behind");
}

#[test]
fn a_paused_queue_gives_nothing_not_even_what_is_due_until_it_goes_on_and_all_who_wait_are_told() {
    let fixture = Fixture::new();
    let store = fixture.supervisor.store();
    let (one, two) = (fixture.worker(1), fixture.worker(2));
    push(&one, b"job", PushOptions::default());
    assert!(store.queue_pause(QUEUE, true, NOW).expect("an answer"));
    for worker in [&one, &two] {
        let empty = worker.pop(QUEUE, 1, 1, NOW).expect("an answer");
        assert_eq!(empty, Popped::Empty { due: None });
    }
    assert!(worker_view(&one).paused);
    push(&one, b"late", PushOptions { delay_ms: 1, ..PushOptions::default() });
    assert!(store.queue_pause(QUEUE, false, NOW).expect("an answer"));
    assert!(!worker_view(&one).paused);
    for worker in [&one, &two] {
        assert!(events(worker).contains(&Event::QueueReady { request: 1 }));
    }
    assert_eq!(pop(&two).expect("it goes on").data, b"job");
    assert!(!store.queue_pause(b"none", true, NOW).expect("an answer"));
}

fn worker_view(worker: &Client) -> skep_state::QueueView {
    worker.queue_view(QUEUE, NOW).expect("read")
}

#[test]
fn a_restored_backup_leaves_nobody_waiting_for_ever() {
    let fixture = Fixture::new();
    let (store, worker) = (fixture.supervisor.store(), fixture.worker(1));
    let file = fixture.dir.path().join("backup");
    assert!(pop(&worker).is_none());
    store.backup(&file, NOW).expect("saved");
    store.restore(&file, NOW).expect("loaded");
    assert_eq!(events(&worker), [Event::QueueReady { request: 1 }], "it looks again");
    assert!(pop(&worker).is_none());
    push(&worker, b"job", PushOptions::default());
    assert_eq!(
        events(&worker),
        [Event::QueueReady { request: 1 }],
        "nobody of the backup is told in its place"
    );
}
