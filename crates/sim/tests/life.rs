//! Stories of start, stop, restart, delete and shutdown.

use skep_core::{
    Command, Effect, ExitStatus, Failure, Notice, Outcome, Policy, ReadyRule, Reason, Rejection, Revision,
    SlotId, Span, Target, UpdateHow,
};
use skep_sim::{Behaviour, Scenario};

fn ms(ms: u64) -> Span {
    Span::from_millis(ms)
}

#[test]
fn an_app_is_launching_until_each_of_its_workers_listens() {
    let mut it = Scenario::app(2, Policy::default());
    it.shows("spawning#1, spawning#2").run(10).shows("launching#1, launching#2");
    assert_eq!(it.outcome(it.created), None);
    it.run(50).shows("online#1, online#2");
    it.done(it.created);
}

#[test]
fn a_client_that_need_not_wait_may_go_once_every_process_runs() {
    let mut it = Scenario::app(2, Policy::default());
    it.run(10);
    let launched = format!("{:?}", Effect::Notice(Notice::Launched { op: it.created }));
    let lines = it.world.trace().iter().filter(|line| line.contains(&launched)).count();
    assert_eq!((lines, it.outcome(it.created)), (1, None));
}

#[test]
fn stop_is_a_signal_and_an_answer() {
    let mut it = Scenario::ready(2, Policy::default());
    let op = it.stop();
    it.shows("stopping#1, stopping#2").run(20).shows("stopped, stopped");
    it.done(op);
}

#[test]
fn whoever_ignores_the_polite_stop_is_killed_after_kill_timeout() {
    let it = Scenario::empty().revision(1, Behaviour::stubborn());
    let mut it = it.with_app(1, Policy::default());
    it.run(100);
    let op = it.stop();
    it.run(1590).shows("stopping#1").run(30).shows("stopped");
    it.done(op);
    assert_eq!(it.slot(0).last_exit.expect("it ended").status, ExitStatus::Signal(9));
}

#[test]
fn whoever_survives_sigkill_is_reported_and_killed_on() {
    let it = Scenario::empty().revision(1, Behaviour::stuck(Span::from_secs(60)));
    let mut it = it.with_app(1, Policy::default());
    it.run(100);
    let op = it.stop();
    it.run(40_000);
    let reason = Reason::Unkillable;
    let worker = it.slot(0).worker.map(|worker| worker.id);
    let failure = Failure { app: it.app, slot: it.slot_id(0), worker, reason };
    assert_eq!(it.outcome(op), Some(&Outcome::Failed(failure)));
    it.run(40_000).shows("stopped");
}

#[test]
fn one_instance_can_be_stopped_and_started_alone() {
    let mut it = Scenario::ready(3, Policy::default());
    let op = it.command(Command::Stop { target: it.slot_id(1).into() });
    it.run(20).shows("online#1, stopped, online#3");
    it.done(op);
    let op = it.command(Command::Start { target: it.slot_id(1).into() });
    it.run(60).shows("online#1, online#4, online#3");
    it.done(op);
}

#[test]
fn starting_what_runs_changes_nothing() {
    let mut it = Scenario::ready(2, Policy::default());
    let op = it.start();
    it.shows("online#1, online#2");
    it.done(op);
}

#[test]
fn a_start_during_a_stop_waits_for_the_old_worker_and_supersedes_the_stop() {
    let slow = Behaviour { stops: Some(ms(300)), ..Behaviour::healthy() };
    let mut it = Scenario::empty().revision(1, slow).with_app(1, Policy::default());
    it.run(100);
    let stop = it.stop();
    it.run(100);
    let start = it.start();
    it.shows("stopping#1");
    assert_eq!(it.outcome(stop), Some(&Outcome::Superseded { by: start }));
    it.run(300).shows("online#2");
    it.done(start);
}

#[test]
fn a_stop_during_a_start_wins_even_before_the_process_exists() {
    let mut it = Scenario::app(1, Policy::default());
    let stop = it.stop();
    assert_eq!(it.outcome(it.created), Some(&Outcome::Superseded { by: stop }));
    it.run(100).shows("stopped");
    it.done(stop);
    assert_eq!(it.world.kernel.living().count(), 0);
}

#[test]
fn restart_stops_all_at_once_and_starts_each_on_its_own_slot() {
    let mut it = Scenario::ready(3, Policy::default());
    let op = it.restart();
    it.shows("stopping#1, stopping#2, stopping#3").run(100).shows("online#4, online#5, online#6");
    it.done(op);
    assert_eq!((it.slot(0).restarts.user, it.slot(0).restarts.total()), (1, 1));
}

#[test]
fn restart_starts_what_was_stopped() {
    let mut it = Scenario::ready(1, Policy::default());
    it.stop();
    it.run(20).shows("stopped");
    let op = it.restart();
    it.run(60).shows("online#2");
    it.done(op);
    assert_eq!(it.slot(0).restarts.total(), 0);
}

#[test]
fn a_deleted_app_is_gone_when_its_workers_are_and_its_name_is_free_then() {
    let mut it = Scenario::ready(2, Policy::default());
    let op = it.delete();
    let early = it.create("web", 1);
    let leaving = Rejection::NameLeaving { name: "web".into(), app: it.app };
    assert_eq!(it.outcome(early), Some(&Outcome::Rejected(leaving)));
    it.run(20);
    it.done(op);
    assert!(it.world.fleet.apps().is_empty());
    let late = it.create("web", 1);
    it.run(60);
    it.done(late);
    let app = &it.world.fleet.apps()[0];
    assert_eq!(app.slots[0].id, SlotId(0), "numbers begin anew when nothing is left, as PM2's do");
    assert_ne!(app.id, it.app);
}

#[test]
fn deleting_every_instance_deletes_the_app() {
    let mut it = Scenario::ready(2, Policy::default());
    let one = it.command(Command::Delete { target: it.slot_id(0).into() });
    it.run(20).shows("online#2");
    it.done(one);
    let last = it.command(Command::Delete { target: it.slot_id(1).into() });
    it.run(20);
    it.done(last);
    assert!(it.world.fleet.apps().is_empty());
}

#[test]
fn a_command_about_something_unknown_changes_nothing_and_says_what_is_unknown() {
    let mut it = Scenario::ready(1, Policy::default());
    let target = Target { apps: vec![it.app], slots: vec![SlotId(77)] };
    let op = it.command(Command::Stop { target });
    let unknown = Outcome::Rejected(Rejection::UnknownSlot { slot: SlotId(77) });
    assert_eq!(it.outcome(op), Some(&unknown));
    let op = it.command(Command::Stop { target: Target::default() });
    assert_eq!(it.outcome(op), Some(&Outcome::Rejected(Rejection::EmptyTarget)));
    let op = it.create("web", 1);
    let taken = Rejection::NameTaken { name: "web".into(), app: it.app };
    assert_eq!(it.outcome(op), Some(&Outcome::Rejected(taken)));
    let op = it.scale(5000);
    assert!(matches!(it.outcome(op), Some(Outcome::Rejected(Rejection::TooManyInstances { .. }))));
    it.run(10).shows("online#1");
}

#[test]
fn an_app_gets_another_name_and_its_workers_notice_nothing() {
    let mut it = Scenario::ready(2, Policy::default());
    it.create("api", 1);
    it.run(500);
    let rename = |it: &mut Scenario, name: &str| {
        let (policy, name) = (Policy::default(), Some(name.to_owned()));
        let (namespace, instances, revision, how) = (None, 2, Revision(2), UpdateHow::Hot);
        it.command(Command::Update { app: it.app, name, namespace, policy, instances, revision, how })
    };
    let op = rename(&mut it, "api");
    assert!(matches!(it.outcome(op), Some(Outcome::Rejected(Rejection::NameTaken { .. }))));
    let op = rename(&mut it, "shop");
    it.run(50).shows("online#1, online#2");
    it.done(op);
    assert_eq!(it.view().name, "shop");
    let op = it.create("web", 1);
    it.run(500);
    it.done(op);
}

#[test]
fn shutdown_stops_everything_keeps_every_wish_and_ends_then() {
    let mut it = Scenario::ready(2, Policy::default());
    it.create("api", 1);
    let op = it.command(Command::Shutdown);
    let late = it.start();
    assert_eq!(it.outcome(late), Some(&Outcome::Rejected(Rejection::ShuttingDown)));
    it.run(100);
    it.done(op);
    assert_eq!(it.world.kernel.living().count(), 0);
    assert!(it.world.fleet.desired().apps.iter().flat_map(|app| &app.slots).all(|slot| slot.up));
    it.reboot().run(100).shows("online#1001, online#1002");
}

#[test]
fn a_program_that_never_listens_counts_as_ready_once_it_lived_through_listen_timeout() {
    let mut it = Scenario::empty().revision(1, Behaviour::silent()).with_app(1, Policy::default());
    it.run(2990).shows("launching#1").run(20).shows("online#1");
    it.done(it.created);
}

#[test]
fn a_program_that_has_listened_once_must_listen_again() {
    let mut it = Scenario::ready(1, Policy::default());
    it.next(Behaviour::slow(Span::from_secs(5)));
    let op = it.restart();
    it.run(3100).shows("launching#2");
    assert!(matches!(it.outcome(op), Some(Outcome::Failed(Failure { reason: Reason::NotReady { .. }, .. }))));
    it.run(2000).shows("online#2");
}

#[test]
fn with_wait_ready_only_the_word_ready_counts() {
    let policy = Policy { ready: ReadyRule::Announced, ..Policy::default() };
    let late = Behaviour { announces: Some(ms(800)), ..Behaviour::healthy() };
    let mut it = Scenario::empty().revision(1, late).with_app(1, policy);
    it.run(700).shows("launching#1").run(120).shows("online#1");
}

#[test]
fn a_script_is_ready_when_it_has_lived_for_a_moment() {
    let policy = Policy { ready: ReadyRule::Spawned, ..Policy::default() };
    let mut it = Scenario::empty().revision(1, Behaviour::silent()).with_app(1, policy);
    it.run(95).shows("launching#1").run(10).shows("online#1");
}
