//! Stories of a daemon that is killed, and of a machine that loses power.

use skep_core::{
    AppId, Command, Drain, Effects, Event, ExitStatus, Fleet, Inventory, Outcome, Policy, Revision,
    SeenWorker, SlotId, Span, UpdateHow, WorkerId,
};
use skep_sim::{Behaviour, Memory, Scenario};

fn drains() -> Policy {
    Policy { drain: Drain::Migrate, ..Policy::default() }
}

#[test]
fn a_killed_daemon_touches_no_worker() {
    for memory in [Memory::Snapshot, Memory::Nothing] {
        let mut it = Scenario::ready(2, drains());
        it.kill_daemon(memory).run(1000).shows("online#1, online#2");
    }
}

#[test]
fn a_reload_goes_on_through_a_kill_at_every_step() {
    for steps in 0..60 {
        let mut it = Scenario::ready(2, drains());
        it.world.die_in = Some(steps);
        let op = it.reload();
        it.run(1000);
        match it.outcome(op) {
            Some(Outcome::Done) => {
                it.shows("online#3, online#4");
            }
            // Killed before the snapshot knew of the command: its client's connection broke, nothing was done.
            None => {
                it.shows("online#1, online#2");
            }
            other => panic!("killed after {steps} steps: {other:?}"),
        }
    }
}

#[test]
fn a_worker_that_died_while_nobody_looked_is_replaced() {
    for memory in [Memory::Snapshot, Memory::Nothing] {
        let mut it = Scenario::ready(2, drains());
        let _ = it.world.kernel.kill(WorkerId(1), ExitStatus::Signal(9));
        it.kill_daemon(memory).run(100);
        assert!(it.line().ends_with(", online#2"), "{}", it.line());
        assert!(it.line().starts_with("online#"), "{}", it.line());
        assert_eq!(it.world.kernel.living().count(), 2);
    }
}

#[test]
fn after_a_reboot_everything_that_was_up_is_up_again_under_new_numbers() {
    let mut it = Scenario::ready(3, drains());
    it.command(Command::Stop { target: it.slot_id(1).into() });
    it.run(50).reboot();
    it.run(100).shows("online#1001, stopped, online#1002");
    it.reboot().run(100).shows("online#2001, stopped, online#2002");
}

#[test]
fn without_a_snapshot_a_process_that_belongs_nowhere_is_stopped_and_one_on_a_stopped_slot_too() {
    let mut it = Scenario::ready(2, drains());
    let stubborn = Behaviour { stops: Some(Span::from_millis(500)), ..Behaviour::healthy() };
    it.next(stubborn);
    it.scale(3);
    it.run(100).shows("online#1, online#2, online#3");
    it.command(Command::Stop { target: it.slot_id(2).into() });
    it.kill_daemon(Memory::Nothing).shows("online#1, online#2, draining#3");
    it.run(600).shows("online#1, online#2, stopped");
    assert_eq!(it.world.kernel.living().count(), 2);
}

#[test]
fn an_update_that_had_renewed_nothing_is_undone_when_the_power_fails() {
    let mut it = Scenario::ready(2, drains());
    it.update(2, UpdateHow::Rolling);
    it.run(10).reboot();
    it.run(100).shows("online#1001, online#1002");
    assert_eq!(it.view().revision, Revision(1));
}

#[test]
fn lost_exits_are_healed_by_one_look_at_the_keepers_list() {
    let mut it = Scenario::ready(2, drains());
    let _ = it.world.kernel.kill(WorkerId(1), ExitStatus::Code(1));
    it.run(1000).shows("online#1, online#2");
    it.world.see().expect("no promise is broken");
    it.run(100).shows("online#3, online#2");
}

#[test]
fn a_process_nobody_asked_for_is_stopped() {
    let mut it = Scenario::ready(1, drains());
    let stranger = SeenWorker {
        worker: WorkerId(77),
        app: AppId(9),
        slot: SlotId(9),
        revision: Revision(1),
        pid: 4711,
        exited: None,
    };
    let mut seen = it.world.kernel.inventory();
    seen.children.push(stranger);
    let (mut fleet, mut fx) = (it.world.fleet.clone(), Effects::new());
    fleet.handle(it.world.now, Event::Seen(seen), &mut fx);
    assert_eq!(it.deeds(&fx.drain().collect::<Vec<_>>()), ["signal 77 2"]);
    fleet.handle(it.world.now + Span::from_secs(2), Event::Tick, &mut fx);
    assert_eq!(it.deeds(&fx.drain().collect::<Vec<_>>()), ["signal 77 9"]);
    fleet.handle(it.world.now, Event::Seen(Inventory::default()), &mut fx);
    assert_eq!(fleet.next_deadline().is_some(), !fleet.apps().is_empty());
    it.run(10).shows("online#1");
}

#[test]
fn a_worker_that_was_given_up_is_stopped_when_it_turns_up_alive_not_adopted() {
    let mut it = Scenario::empty();
    it.next(Behaviour::unspawnable());
    let mut it = it.with_app(1, drains());
    it.run(10).shows("waiting restart");
    let (app, slot) = (it.app, it.slot_id(0));
    let (worker, revision, pid, exited) = (WorkerId(1), Revision(1), 4711, None);
    let seen = Inventory { children: vec![SeenWorker { worker, app, slot, revision, pid, exited }] };
    let (snapshot, desired) = (it.world.fleet.snapshot(), it.world.fleet.desired());
    let mut fx = Effects::new();
    let fleet = Fleet::restore(desired, Some(snapshot), seen, it.world.now, 1, &mut fx);
    assert_eq!(it.deeds(&fx.drain().collect::<Vec<_>>()), ["signal 1 2"]);
    assert_eq!(fleet.app(app).expect("it is there").slots[0].worker, None);
}

#[test]
fn a_program_that_was_to_run_once_and_ended_while_nobody_looked_does_not_run_twice() {
    for memory in [Memory::Snapshot, Memory::Nothing] {
        let mut it = Scenario::ready(1, Policy { autorestart: false, ..drains() });
        let _ = it.world.kernel.kill(WorkerId(1), ExitStatus::Code(0));
        it.kill_daemon(memory).run(100).shows("stopped");
    }
}

#[test]
fn a_disk_that_is_full_drops_the_command_and_nothing_else() {
    let mut it = Scenario::ready(1, drains());
    it.world.disk_fails = 100;
    let op = it.stop();
    it.run(100).shows("online#1");
    assert_eq!(it.outcome(op), None);
    it.world.disk_fails = 0;
    let op = it.stop();
    it.run(100).shows("stopped");
    it.done(op);
}
