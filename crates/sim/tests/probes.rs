//! Stories of workers that are asked how they are.

use skep_core::{Backoff, Drain, Outcome, Policy, Probe, Reason, Span, Status};
use skep_sim::{Behaviour, Memory, Scenario};

fn probe() -> Probe {
    Probe { interval: Span::from_secs(1), ..Probe::default() }
}

fn readiness() -> Policy {
    Policy { readiness: Some(probe()), drain: Drain::Migrate, ..Policy::default() }
}

fn liveness() -> Policy {
    Policy { liveness: Some(probe()), drain: Drain::Migrate, ..Policy::default() }
}

fn ms(ms: u64) -> Span {
    Span::from_millis(ms)
}

/// How often this was done or told so far.
fn times(it: &Scenario, what: &str) -> usize {
    it.world.trace().iter().filter(|line| line.contains(what) && !line.contains("> ")).count()
}

#[test]
fn a_worker_with_a_readiness_probe_is_ready_when_the_probe_says_so() {
    let policy = Policy { readiness: Some(Probe { initial_delay: ms(700), ..probe() }), ..Policy::default() };
    let mut it = Scenario::app(1, policy);
    it.run(690).shows("launching#1").run(20).shows("online#1");
    it.done(it.created);
}

#[test]
fn a_worker_that_is_never_ready_by_its_probe_is_told_of_and_asked_on() {
    let it = Scenario::empty().revision(1, Behaviour::sick(Span::ZERO));
    let mut it = it.with_app(1, readiness());
    it.run(2000).shows("launching#1");
    let Some(Outcome::Failed(failure)) = it.outcome(it.created) else { panic!("{:?}", it.view()) };
    assert!(matches!(failure.reason, Reason::Unready { .. }), "{failure:?}");
    let asked = times(&it, "Probe {");
    it.run(5000);
    assert!(times(&it, "Probe {") > asked);
}

#[test]
fn a_reload_whose_new_worker_fails_its_probe_is_given_up_and_the_old_ones_stay() {
    let mut it = Scenario::ready(2, readiness());
    it.next(Behaviour::sick(Span::ZERO));
    let op = it.reload();
    it.run(3000).shows("online#1, online#2");
    let Some(Outcome::Failed(failure)) = it.outcome(op) else { panic!("{:?}", it.view()) };
    assert!(matches!(failure.reason, Reason::Unready { .. }), "{failure:?}");
}

#[test]
fn a_ready_worker_whose_probe_fails_gets_no_new_connections_until_it_is_well_and_is_left_alive() {
    let it = Scenario::empty().revision(1, Behaviour::sick(ms(1500)));
    let mut it = it.with_app(1, readiness());
    it.run(4500);
    assert_eq!(it.slot(0).status, Status::Online);
    assert_eq!(times(&it, "ready: false"), 1);
    assert!(it.slot(0).trouble.is_some());
    it.world.kernel.pacify(it.world.now);
    it.run(1500);
    assert_eq!(times(&it, "Attend { worker: WorkerId(1), ready: true }"), 1);
    assert!(it.slot(0).trouble.is_none());
    it.shows("online#1");
}

#[test]
fn a_worker_that_is_not_worth_keeping_is_replaced_without_a_gap() {
    let mut it = Scenario::empty();
    it.next(Behaviour::sick(ms(500)));
    let mut it = it.with_app(2, liveness());
    it.run(3040).shows("online#1, online#2").run(30).shows("online#1>launching#3, online#2");
    it.run(500).shows("online#3, online#2");
    assert_eq!(it.slot(0).restarts.health, 1);
    assert_eq!(it.slot(1).restarts.total(), 0);
}

#[test]
fn workers_that_are_never_well_are_replaced_with_growing_waits_and_the_last_one_stays() {
    let it = Scenario::empty().revision(1, Behaviour::sick(Span::ZERO));
    let backoff = Some(Backoff { initial: Span::from_secs(2), ..Backoff::default() });
    let mut it = it.with_app(1, Policy { backoff, max_restarts: 4, ..liveness() });
    // Each is asked for 3 s; then 2, 3 and 4.5 s of patience.
    it.run(4000).shows("online#1");
    it.run(1500).shows("online#2");
    it.run(60_000).shows("online#4");
    assert_eq!(it.slot(0).restarts.health, 3);
    let trouble = it.slot(0).trouble.expect("somebody has to look");
    assert!(matches!(trouble.reason, Reason::Unwell { tries: 4, .. }), "{trouble:?}");
    let told = times(&it, "Unhealthy");
    // A command gives it a new beginning.
    it.reload();
    it.run(500).shows("online#5");
    it.run(9000).shows("online#6");
    assert!(times(&it, "Unhealthy") > told);
}

#[test]
fn a_worker_that_gets_well_while_its_replacement_waits_is_kept() {
    let it = Scenario::empty().revision(1, Behaviour::sick(Span::ZERO));
    let backoff = Some(Backoff { initial: Span::from_secs(10), ..Backoff::default() });
    let mut it = it.with_app(1, Policy { backoff, ..liveness() });
    it.run(4000).shows("online#1");
    it.world.kernel.pacify(it.world.now);
    it.run(60_000).shows("online#1");
    assert_eq!(it.slot(0).restarts.health, 0);
}

#[test]
fn one_bad_answer_among_good_ones_replaces_nobody() {
    let mut it = Scenario::ready(1, liveness());
    it.run(20_000).shows("online#1");
    assert!(times(&it, "Probe {") >= 19);
}

#[test]
fn where_the_new_worker_is_no_better_the_old_one_stays_and_is_tried_again_later() {
    let it = Scenario::empty().revision(1, Behaviour::sick(Span::ZERO));
    let both = Policy { readiness: None, ..liveness() };
    let mut it = it.with_app(1, both);
    it.run(12_000);
    assert!(times(&it, "Unhealthy") >= 2, "{:?}", it.view());
    assert_eq!(it.slot(0).status, Status::Online);
}

#[test]
fn a_daemon_killed_between_question_and_answer_asks_again_and_counts_nothing() {
    for memory in [Memory::Snapshot, Memory::Nothing] {
        let mut it = Scenario::ready(1, liveness());
        for _ in 0..20 {
            it.run(500).kill_daemon(memory);
        }
        it.run(5000).shows("online#1");
        assert_eq!(times(&it, "Unhealthy"), 0);
    }
}

#[test]
fn a_worker_that_is_to_stop_is_asked_nothing_more() {
    let policy = Policy { drain_timeout: Span::from_secs(60), ..liveness() };
    let it = Scenario::empty().revision(1, Behaviour::stubborn());
    let mut it = it.with_app(1, policy);
    it.run(5500);
    it.stop();
    let asked = times(&it, "Probe {");
    it.run(50_000).shows("draining#1");
    assert_eq!(times(&it, "Probe {"), asked);
}
