//! Stories of workers that end by themselves.

use skep_core::{Backoff, Command, Failure, Outcome, Policy, Reason, Span, Status};
use skep_sim::{Behaviour, Scenario};

fn ms(ms: u64) -> Span {
    Span::from_millis(ms)
}

#[test]
fn a_crashed_worker_is_replaced_on_its_slot_in_the_same_turn() {
    let mut it = Scenario::ready(2, Policy::default());
    it.crash_slot(0, 1).shows("launching#3, online#2").run(60).shows("online#3, online#2");
    assert_eq!(it.slot(0).restarts.crash, 1);
}

#[test]
fn a_crash_loop_ends_in_errored_after_max_restarts_and_says_so_to_whoever_waits() {
    let it = Scenario::empty().revision(1, Behaviour::exits_after(ms(5), 7));
    let mut it = it.with_app(1, Policy { max_restarts: 3, ..Policy::default() });
    it.run(200).shows("errored");
    let Some(Outcome::Failed(Failure { reason: Reason::GaveUp { unstable: 3, .. }, .. })) =
        it.outcome(it.created)
    else {
        panic!("{:?}", it.outcome(it.created));
    };
    assert_eq!(it.world.witness.spawns(), 3);
    it.run(100_000).shows("errored");
}

#[test]
fn an_errored_slot_starts_again_when_somebody_says_so() {
    let policy = Policy { max_restarts: 1, ..Policy::default() };
    let mut it = Scenario::empty();
    it.next(Behaviour::exits_after(ms(5), 7));
    let mut it = it.with_app(1, policy);
    it.run(50).shows("errored");
    let op = it.start();
    it.run(60).shows("online#2");
    it.done(op);
    assert_eq!(it.slot(0).unstable, 0);
}

#[test]
fn restart_delay_is_waited_for_and_a_stop_cancels_it() {
    let mut it = Scenario::ready(1, Policy { restart_delay: ms(500), ..Policy::default() });
    it.crash_slot(0, 1).shows("waiting restart").run(450).shows("waiting restart").run(100).shows("online#2");
    it.crash_slot(0, 1).shows("waiting restart");
    let op = it.stop();
    it.shows("stopped");
    it.done(op);
    it.run(10_000).shows("stopped");
}

#[test]
fn a_start_does_not_wait_for_the_delay() {
    let mut it = Scenario::ready(1, Policy { restart_delay: Span::from_secs(60), ..Policy::default() });
    it.crash_slot(0, 1).shows("waiting restart");
    it.start();
    it.run(60).shows("online#2");
}

#[test]
fn waits_grow_with_each_crash() {
    let policy =
        Policy { backoff: Some(Backoff { jitter_percent: 0, ..Backoff::default() }), ..Policy::default() };
    let mut it = Scenario::ready(1, policy);
    let mut waits = Vec::new();
    for _ in 0..4 {
        it.crash_slot(0, 1);
        waits.push(it.slot(0).backoff.as_millis());
        let line = format!("online#{}", it.world.witness.spawns() + 1);
        it.run(500).shows(&line);
    }
    assert_eq!(waits, [100, 150, 225, 337]);
}

#[test]
fn without_autorestart_the_end_of_the_program_is_the_end() {
    let policy = Policy { autorestart: false, ..Policy::default() };
    let it = Scenario::empty().revision(1, Behaviour::exits_after(ms(20), 0));
    let mut it = it.with_app(1, policy.clone());
    it.run(100).shows("stopped");
    it.done(it.created);
    it.reboot().run(100).shows("stopped");

    let it = Scenario::empty().revision(1, Behaviour::exits_after(ms(20), 3));
    let mut it = it.with_app(1, policy);
    it.run(100).shows("stopped");
    assert!(matches!(
        it.outcome(it.created),
        Some(Outcome::Failed(Failure { reason: Reason::Exited { .. }, .. }))
    ));
}

#[test]
fn a_program_that_cannot_be_executed_is_told_at_once_and_tried_again() {
    let mut it = Scenario::empty();
    it.next(Behaviour::unspawnable());
    let mut it = it.with_app(1, Policy::default());
    it.run(10).shows("waiting restart");
    let failed = it.outcome(it.created);
    assert!(matches!(failed, Some(Outcome::Failed(Failure { reason: Reason::SpawnFailed { .. }, .. }))));
    it.run(600).shows("online#2");
}

#[test]
fn a_crash_loop_over_many_apps_is_slowed_down_and_nobody_is_forgotten() {
    let it = Scenario::empty().revision(1, Behaviour::exits_after(ms(1), 1));
    let mut it = it.with_app(300, Policy { max_restarts: 1_000_000, ..Policy::default() });
    it.run(10_000);
    let spawns = it.world.witness.spawns();
    assert!((580..=620).contains(&spawns), "300 starts, a burst of 100, 20 a second: {spawns}");
    let slots = it.view().slots;
    let alive = |status| matches!(status, Status::WaitingRestart | Status::Launching);
    assert!(slots.iter().all(|slot| alive(slot.status)), "{slots:?}");
}

#[test]
fn counters_can_be_set_to_zero() {
    let mut it = Scenario::ready(1, Policy::default());
    it.crash_slot(0, 1).run(60);
    assert_eq!((it.slot(0).restarts.total(), it.slot(0).unstable), (1, 1));
    let op = it.command(Command::Reset { target: it.app.into() });
    it.done(op);
    assert_eq!((it.slot(0).restarts.total(), it.slot(0).unstable), (0, 0));
}
