//! Stories of rolling reloads and updates.

use skep_core::{
    Cause, Command, Drain, Failure, Outcome, Policy, ReadyRule, Reason, Revision, Span, UpdateHow, WorkerId,
};
use skep_sim::{Behaviour, Draining, Memory, Scenario};

fn ms(ms: u64) -> Span {
    Span::from_millis(ms)
}

fn drains() -> Policy {
    Policy { drain: Drain::Migrate, ..Policy::default() }
}

#[test]
fn a_reload_prepares_one_successor_at_a_time_and_drains_whom_it_replaces() {
    let mut it = Scenario::ready(2, drains());
    let op = it.reload();
    it.shows("online#1>spawning#3, online#2");
    it.run(30).shows("online#1>launching#3, online#2");
    it.run(15).shows("online#3 (draining#1), online#2");
    it.run(25).shows("online#3, online#2>launching#4");
    it.run(100).shows("online#3, online#4");
    it.done(op);
    assert_eq!(it.slot(0).restarts.user, 1);
}

#[test]
fn with_more_surge_more_are_prepared_at_a_time() {
    let mut it = Scenario::ready(3, Policy { max_surge: 2, ..drains() });
    it.reload();
    it.shows("online#1>spawning#4, online#2>spawning#5, online#3");
}

#[test]
fn a_program_that_cannot_overlap_is_stopped_first_and_started_next_one_by_one() {
    let mut it = Scenario::ready(2, Policy { overlap: false, ..Policy::default() });
    let op = it.reload();
    it.shows("stopping#1, online#2")
        .run(20)
        .shows("launching#3, online#2")
        .run(45)
        .shows("online#3, launching#4");
    it.run(100).shows("online#3, online#4");
    it.done(op);
}

#[test]
fn who_does_not_finish_draining_is_stopped_and_then_killed() {
    let stubborn = Behaviour { drains: Draining::Ignores, ..Behaviour::stubborn() };
    let mut it = Scenario::empty().revision(1, stubborn).with_app(1, drains());
    it.run(100);
    it.reload();
    it.run(50).shows("online#2 (draining#1)");
    it.run(1600)
        .shows("online#2 (stopping#1)")
        .run(1590)
        .shows("online#2 (stopping#1)")
        .run(50)
        .shows("online#2");
}

#[test]
fn who_has_nothing_left_to_serve_gets_a_short_grace_to_end_by_itself() {
    let reports = Behaviour { drains: Draining::Reports(ms(10)), ..Behaviour::healthy() };
    let mut it = Scenario::empty().revision(1, reports).with_app(1, drains());
    it.run(100);
    it.reload();
    it.run(60).shows("online#2 (draining#1)").run(250).shows("online#2 (draining#1)");
    it.run(60).shows("online#2");
}

#[test]
fn a_new_worker_that_ends_aborts_the_reload_and_the_old_ones_stay() {
    let mut it = Scenario::ready(3, drains());
    it.next(Behaviour::healthy()).next(Behaviour::exits_after(ms(10), 3));
    let op = it.reload();
    it.run(500).shows("online#4, online#2, online#3");
    let Some(Outcome::Failed(Failure { worker: Some(WorkerId(5)), reason: Reason::Exited { .. }, .. })) =
        it.outcome(op)
    else {
        panic!("{:?}", it.outcome(op));
    };
}

#[test]
fn a_new_worker_that_is_not_ready_in_time_aborts_the_reload_and_goes() {
    let mut it = Scenario::ready(2, drains());
    it.next(Behaviour::silent());
    let op = it.reload();
    it.run(2900).shows("online#1>launching#3, online#2").run(200).shows("online#1, online#2");
    assert!(matches!(it.outcome(op), Some(Outcome::Failed(Failure { reason: Reason::NotReady { .. }, .. }))));
}

#[test]
fn a_new_worker_that_cannot_be_spawned_aborts_the_reload() {
    let mut it = Scenario::ready(1, drains());
    it.next(Behaviour::unspawnable());
    let op = it.reload();
    it.run(50).shows("online#1");
    assert!(matches!(
        it.outcome(op),
        Some(Outcome::Failed(Failure { reason: Reason::SpawnFailed { .. }, .. }))
    ));
}

#[test]
fn a_new_worker_that_ends_right_after_it_was_ready_stops_the_rest_of_the_reload() {
    let mut it = Scenario::ready(3, drains());
    it.next(Behaviour::exits_after(ms(50), 3));
    let op = it.reload();
    it.run(500).shows("online#5, online#2, online#3");
    assert!(matches!(it.outcome(op), Some(Outcome::Failed(Failure { worker: Some(WorkerId(4)), .. }))));
}

#[test]
fn when_the_old_worker_crashes_its_successor_takes_the_seat_and_the_reload_goes_on() {
    let mut it = Scenario::ready(2, drains());
    let op = it.reload();
    it.run(20).crash_worker(WorkerId(1), 1).shows("launching#3, online#2>launching#4");
    it.run(300).shows("online#3, online#4");
    it.done(op);
}

#[test]
fn when_old_and_new_crash_the_slot_gets_its_proven_revision_back_at_once() {
    let mut it = Scenario::ready(2, drains());
    let op = it.update(2, UpdateHow::Rolling);
    it.run(20).crash_worker(WorkerId(1), 1).crash_worker(WorkerId(3), 1);
    it.shows("launching#5, online#2 (draining#4)");
    assert_eq!(it.slot(0).worker.expect("it was spawned").revision, Revision(1));
    assert!(matches!(it.outcome(op), Some(Outcome::Failed(_))));
    it.run(100).shows("online#5, online#2");
}

#[test]
fn when_the_promoted_worker_crashes_its_slot_is_filled_at_once_though_the_old_one_still_drains() {
    let slow = Behaviour { drains: Draining::Ends(ms(1000)), ..Behaviour::healthy() };
    let mut it = Scenario::empty().revision(1, slow).with_app(2, drains());
    it.run(5000);
    it.reload();
    it.run(50).shows("online#3 (draining#1), online#2");
    it.crash_worker(WorkerId(3), 1).shows("launching#4 (draining#1), online#2");
}

#[test]
fn a_stop_ends_a_reload() {
    let mut it = Scenario::ready(2, drains());
    let reload = it.reload();
    it.run(20);
    let stop = it.stop();
    assert_eq!(it.outcome(reload), Some(&Outcome::Superseded { by: stop }));
    it.run(100).shows("stopped, stopped");
    it.done(stop);
}

#[test]
fn a_stop_of_one_slot_leaves_the_reload_of_the_others_alone() {
    let mut it = Scenario::ready(2, drains());
    let reload = it.reload();
    let stop = it.command(Command::Stop { target: it.slot_id(0).into() });
    it.run(300).shows("stopped, online#4");
    it.done(stop);
    it.done(reload);
}

#[test]
fn a_second_reload_renews_what_the_first_has_renewed_already_and_both_end_well() {
    let mut it = Scenario::ready(2, drains());
    let first = it.reload();
    it.run(60).shows("online#3 (draining#1), online#2");
    let second = it.reload();
    it.run(500).shows("online#4, online#5");
    it.done(first);
    it.done(second);
}

#[test]
fn a_reload_for_memory_joins_the_users_reload() {
    let mut it = Scenario::ready(2, drains());
    let users = it.reload();
    let target = it.slot_id(1).into();
    let memory = it.command(Command::Reload { target, cause: Cause::Memory });
    it.run(500).shows("online#3, online#4");
    it.done(users);
    it.done(memory);
}

#[test]
fn a_renewal_takes_turns_where_the_app_serves_and_restarts_what_must_not_run_twice() {
    let mut server = Scenario::ready(1, drains());
    let target = server.slot_id(0).into();
    server.command(Command::Renew { target, cause: Cause::Schedule });
    server.run(60).shows("online#2 (draining#1)");
    let mut job = Scenario::empty()
        .revision(1, Behaviour { listens: None, ..Behaviour::default() })
        .with_app(1, drains());
    job.run(4000).shows("online#1");
    let target = job.slot_id(0).into();
    job.command(Command::Renew { target, cause: Cause::Schedule });
    job.run(60).shows("launching#2");
}

#[test]
fn a_reload_of_a_stopped_app_starts_it() {
    let mut it = Scenario::ready(2, drains());
    it.stop();
    it.run(50).shows("stopped, stopped");
    let op = it.reload();
    it.run(100).shows("online#3, online#4");
    it.done(op);
}

#[test]
fn a_rolling_update_brings_every_slot_to_the_new_revision() {
    let mut it = Scenario::ready(2, drains());
    let op = it.update(2, UpdateHow::Rolling);
    it.run(500).shows("online#3, online#4");
    it.done(op);
    assert!(it.view().slots.iter().all(|slot| slot.revision == Revision(2)));
    assert_eq!(it.slot(1).restarts.update, 1);
}

#[test]
fn a_rolling_update_that_fails_at_once_is_undone_with_its_policy() {
    let it = Scenario::empty().revision(2, Behaviour::exits_after(ms(5), 1));
    let mut it = it.with_app(2, drains());
    it.run(100);
    it.update(2, UpdateHow::Rolling);
    it.run(200).shows("online#1, online#2");
    assert_eq!(it.view().revision, Revision(1));
    it.crash_slot(0, 1).run(60).shows("online#4, online#2");
    assert_eq!(it.slot(0).worker.expect("it was spawned").revision, Revision(1));
}

#[test]
fn a_rolling_update_whose_second_new_worker_fails_brings_the_first_back_too() {
    let mut it = Scenario::ready(3, drains());
    it.next(Behaviour::healthy()).next(Behaviour::exits_after(ms(10), 3));
    let op = it.update(2, UpdateHow::Rolling);
    it.run(65).shows("online#4, online#2>launching#5, online#3");
    it.run(10).shows("online#4>launching#6, online#2, online#3");
    let Some(Outcome::Failed(Failure { worker: Some(WorkerId(5)), .. })) = it.outcome(op) else {
        panic!("{:?}", it.outcome(op));
    };
    it.run(300).shows("online#6, online#2, online#3");
    assert_eq!(it.view().revision, Revision(1));
    assert!(it.view().slots.iter().all(|slot| slot.revision == Revision(1)));
    assert!(it.view().rollout.is_none());
}

#[test]
fn what_goes_back_and_fails_stays_and_the_old_revision_is_what_starts_next() {
    let mut it = Scenario::ready(2, drains());
    let dies = || Behaviour::exits_after(ms(10), 3);
    it.next(Behaviour::healthy()).next(dies()).next(dies());
    it.update(2, UpdateHow::Rolling);
    it.run(500).shows("online#3, online#2");
    assert_eq!(it.slot(0).worker.expect("it was spawned").revision, Revision(2));
    it.crash_slot(0, 1).run(60);
    assert_eq!(it.slot(0).worker.expect("it was spawned").revision, Revision(1));
}

#[test]
fn the_way_back_goes_on_when_the_daemon_is_killed_on_it() {
    for memory in [Memory::Snapshot, Memory::Nothing] {
        let mut it = Scenario::ready(2, drains());
        it.next(Behaviour::healthy()).next(Behaviour::exits_after(ms(10), 3));
        it.update(2, UpdateHow::Rolling);
        it.run(75).kill_daemon(memory);
        for _ in 0..8 {
            it.run(20).kill_daemon(memory);
        }
        it.run(1000);
        assert_eq!(it.view().revision, Revision(1));
        let revisions: Vec<_> = it.view().slots.iter().map(|slot| slot.revision).collect();
        assert_eq!(revisions, [Revision(1), Revision(1)]);
        if memory == Memory::Snapshot {
            let runs = |index| it.slot(index).worker.expect("it runs").revision;
            assert_eq!((runs(0), runs(1)), (Revision(1), Revision(1)));
        }
    }
}

#[test]
fn a_second_update_that_fails_goes_back_to_what_ran_before_the_first() {
    let mut it = Scenario::ready(2, drains());
    it.update(2, UpdateHow::Rolling);
    it.run(60).shows("online#3 (draining#1), online#2");
    let it = it.revision(3, Behaviour::exits_after(ms(5), 1));
    let mut it = it;
    it.update(3, UpdateHow::Rolling);
    it.run(1000);
    let runs = |index| it.slot(index).worker.expect("it runs").revision;
    assert_eq!((runs(0), runs(1), it.view().revision), (Revision(1), Revision(1), Revision(1)));
}

#[test]
fn a_failed_update_of_a_program_that_cannot_overlap_brings_the_old_revision_back() {
    let it = Scenario::empty().revision(2, Behaviour::exits_after(ms(5), 1));
    let mut it = it.with_app(1, Policy { overlap: false, ready: ReadyRule::Spawned, ..Policy::default() });
    it.run(200).shows("online#1");
    let op = it.update(2, UpdateHow::Rolling);
    it.run(300).shows("online#3");
    assert_eq!(it.slot(0).worker.expect("it was spawned").revision, Revision(1));
    assert!(matches!(it.outcome(op), Some(Outcome::Failed(_))));
}

#[test]
fn a_new_revision_that_lives_but_is_not_ready_makes_way_for_the_old_one_that_had_to_go_first() {
    let mut it =
        Scenario::ready(1, Policy { overlap: false, ..Policy::default() }).revision(2, Behaviour::silent());
    it.update(2, UpdateHow::Rolling);
    it.run(2900).shows("launching#2").run(300).shows("online#3");
    assert_eq!(it.slot(0).worker.expect("it was spawned").revision, Revision(1));
}

#[test]
fn a_second_update_supersedes_the_first() {
    let mut it = Scenario::ready(2, drains());
    let first = it.update(2, UpdateHow::Rolling);
    it.run(20);
    let second = it.update(3, UpdateHow::Rolling);
    assert_eq!(it.outcome(first), Some(&Outcome::Superseded { by: second }));
    it.run(500);
    it.done(second);
    let revisions: Vec<_> =
        it.view().slots.iter().filter_map(|slot| Some(slot.worker.as_ref()?.revision)).collect();
    assert_eq!(revisions, [Revision(3), Revision(3)]);
}

#[test]
fn a_hot_update_touches_no_worker_and_the_next_one_runs_it() {
    let mut it = Scenario::ready(1, drains());
    let op = it.update(2, UpdateHow::Hot);
    it.shows("online#1");
    it.done(op);
    it.crash_slot(0, 1).run(60).shows("online#2");
    assert_eq!(it.slot(0).worker.expect("it was spawned").revision, Revision(2));
}

#[test]
fn recreate_ends_every_worker_before_it_starts_the_first_new_one() {
    let mut it = Scenario::empty();
    let slow = Behaviour { drains: Draining::Ends(ms(300)), ..Behaviour::healthy() };
    it.next(Behaviour::healthy()).next(slow);
    let mut it = it.with_app(2, drains());
    it.run(100);
    let op = it.update(2, UpdateHow::Recreate);
    it.run(100).shows("launching, draining#2").run(300).shows("online#3, online#4");
    it.done(op);
}

#[test]
fn scaling_up_reuses_the_lowest_free_index_and_down_takes_the_highest_drained() {
    let mut it = Scenario::ready(3, drains());
    it.command(Command::Delete { target: it.slot_id(1).into() });
    it.run(50).shows("online#1, online#3");
    let up = it.scale(4);
    it.run(60).shows("online#1, online#4, online#3, online#5");
    it.done(up);
    assert_eq!(it.view().slots.iter().map(|slot| slot.index).collect::<Vec<_>>(), [0, 1, 2, 3]);
    let down = it.scale(2);
    it.shows("online#1, online#4, draining#3, draining#5").run(30).shows("online#1, online#4");
    it.done(down);
}

#[test]
fn scaling_up_while_a_slot_drains_calls_it_back() {
    let mut it = Scenario::ready(2, drains());
    let down = it.scale(1);
    let up = it.scale(2);
    it.shows("online#1, draining#2");
    assert_eq!(it.outcome(down), Some(&Outcome::Superseded { by: up }));
    it.run(100).shows("online#1, online#3");
    it.done(up);
}
