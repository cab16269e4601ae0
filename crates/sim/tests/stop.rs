//! Stories of workers that have something in hand when they are to stop.

use skep_core::{Command, Drain, Policy, ReadyRule, Span};
use skep_sim::{Behaviour, Draining, Scenario};

fn ms(ms: u64) -> Span {
    Span::from_millis(ms)
}

fn drains() -> Policy {
    Policy { drain: Drain::Migrate, ..Policy::default() }
}

fn all_are(behaviour: Behaviour, instances: u32, policy: Policy) -> Scenario {
    let mut it = Scenario::empty().revision(1, behaviour).with_app(instances, policy);
    it.run(500);
    it
}

/// How often the stop signal was sent so far.
fn signals(it: &Scenario) -> usize {
    it.world.trace().iter().filter(|line| line.contains("Signal {")).count()
}

#[test]
fn a_worker_finishes_what_it_has_and_is_told_to_stop_the_moment_it_has_nothing_left() {
    let slow = Behaviour { drains: Draining::Reports(ms(800)), ..Behaviour::healthy() };
    let mut it = all_are(slow, 2, drains());
    let op = it.stop();
    it.run(790).shows("draining#1, draining#2");
    assert_eq!(signals(&it), 0);
    it.run(20).shows("stopped, stopped");
    it.done(op);
}

#[test]
fn a_worker_that_sees_to_its_stop_by_itself_is_told_at_once() {
    let handles = Behaviour { stops_itself: true, stops: Some(ms(700)), ..Behaviour::healthy() };
    let mut it = all_are(handles, 1, drains());
    let op = it.stop();
    it.run(5).shows("stopping#1").run(690).shows("stopping#1").run(20).shows("stopped");
    it.done(op);
}

#[test]
fn a_worker_that_answers_nothing_is_told_after_its_whole_time_and_killed_right_after() {
    let mut it = all_are(Behaviour::stubborn(), 1, drains());
    let op = it.stop();
    it.run(1590).shows("draining#1").run(20).shows("stopping#1").run(280).shows("stopping#1");
    it.run(30).shows("stopped");
    it.done(op);
}

#[test]
fn a_restart_lets_a_worker_finish_before_the_next_one_starts() {
    let slow = Behaviour { drains: Draining::Reports(ms(300)), ..Behaviour::healthy() };
    let mut it = all_are(slow, 1, drains());
    let op = it.restart();
    it.run(290).shows("draining#1").run(20).shows("launching#2").run(50).shows("online#2");
    it.done(op);
}

#[test]
fn a_stop_makes_whoever_still_drains_after_a_reload_answer_as_well() {
    let long = Policy { drain_timeout: Span::from_secs(600), ..drains() };
    let handles = Behaviour { stops_itself: true, drains: Draining::Ignores, ..Behaviour::healthy() };
    let mut it = all_are(handles, 1, long);
    it.reload();
    it.run(100).shows("online#2 (draining#1)");
    let op = it.stop();
    it.run(30).shows("stopped");
    it.done(op);
}

#[test]
fn a_successor_that_serves_but_never_says_that_it_is_ready_finishes_what_it_has_when_it_is_given_up() {
    let it = all_are(Behaviour::healthy(), 1, Policy { ready: ReadyRule::Announced, ..drains() });
    let serves = Behaviour { announces: None, drains: Draining::Reports(ms(900)), ..Behaviour::healthy() };
    let mut it = it.revision(1, serves);
    it.reload();
    it.run(2990).shows("online#1>launching#2").run(50).shows("online#1 (draining#2)");
    it.run(840).shows("online#1 (draining#2)").run(60).shows("online#1");
}

#[test]
fn a_worker_that_is_not_born_yet_or_cannot_drain_is_told_at_once() {
    let mut it = Scenario::app(1, drains());
    it.stop();
    it.shows("stopping#1").run(10).shows("stopped");
    let mut it = all_are(Behaviour::healthy(), 1, Policy { drain: Drain::Signal, ..Policy::default() });
    it.stop();
    it.shows("stopping#1");
}

#[test]
fn a_daemon_killed_while_a_worker_finishes_asks_again_and_no_time_is_added() {
    for steps in 0..12 {
        let slow = Behaviour { drains: Draining::Reports(ms(500)), ..Behaviour::healthy() };
        let mut it = all_are(slow, 1, drains());
        it.world.die_in = Some(steps);
        let slot = it.slot_id(0);
        let op = it.command(Command::Stop { target: slot.into() });
        it.run(490);
        if it.outcome(op).is_none() && it.line() == "online#1" {
            continue; // Killed before anything was written.
        }
        it.shows("draining#1").run(30).shows("stopped");
    }
}
