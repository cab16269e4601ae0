//! Apps of which there may be only one over several hosts.

use skep_core::{Command, Condition, Dependency, Outcome, Permit, Policy, Revision, Span, Status, UpdateHow};
use skep_sim::Scenario;

fn singleton() -> Policy {
    Policy { singleton: true, overlap: false, ..Policy::default() }
}

fn pids(it: &Scenario) -> usize {
    it.view().slots.iter().filter(|slot| slot.worker.is_some()).count()
}

#[test]
fn nothing_starts_and_whoever_waits_goes_on_waiting_until_it_is_known_whose_it_is() {
    let mut it = Scenario::app(1, singleton());
    it.run(5_000);
    assert_eq!((pids(&it), it.outcome(it.created)), (0, None));
    it.permit(Permit::Granted);
    it.run(500);
    assert_eq!((it.view().status, it.outcome(it.created)), (Status::Online, Some(&Outcome::Done)));
}

#[test]
fn where_another_host_has_it_the_command_is_done_and_nothing_runs() {
    let mut it = Scenario::app(1, singleton());
    it.permit(Permit::Refused);
    it.run(500);
    assert_eq!((pids(&it), it.view().standby, it.view().status), (0, true, Status::Stopped));
    it.done(it.created);
    let restart = it.restart();
    it.run(500);
    it.done(restart);
    assert_eq!(pids(&it), 0);
}

#[test]
fn without_permission_its_worker_ends_and_with_it_another_one_starts() {
    for lost in [Permit::Unknown, Permit::Refused] {
        let mut it = Scenario::app(1, singleton());
        it.permit(Permit::Granted);
        it.run(500);
        assert_eq!(pids(&it), 1);
        it.permit(lost);
        it.run(4_000);
        assert_eq!(pids(&it), 0);
        it.permit(Permit::Granted);
        it.run(500);
        assert_eq!((pids(&it), it.view().slots[0].restarts.crash), (1, 0));
    }
}

#[test]
fn a_rollout_that_loses_its_permission_is_over_and_the_next_start_is_of_the_new_revision() {
    let mut it = Scenario::app(1, singleton());
    it.permit(Permit::Granted);
    it.run(500);
    let update = it.update(2, UpdateHow::Rolling);
    it.permit(Permit::Refused);
    it.run(4_000);
    assert_eq!((pids(&it), it.view().rollout), (0, None));
    it.done(update);
    it.permit(Permit::Granted);
    it.run(500);
    assert_eq!(it.view().slots[0].worker.as_ref().map(|worker| worker.revision), Some(Revision(2)));
}

#[test]
fn a_reload_ends_the_old_worker_before_the_new_one_starts() {
    let mut it = Scenario::app(1, singleton());
    it.permit(Permit::Granted);
    it.run(500);
    let reload = it.reload();
    for _ in 0..400 {
        it.run(10);
        let slot = &it.view().slots[0];
        let all = slot.worker.iter().chain(&slot.successor).chain(&slot.old).count();
        assert!(all <= 1, "{slot:?}");
    }
    it.done(reload);
}

#[test]
fn what_depends_on_it_starts_where_it_only_stands_by() {
    let mut it = Scenario::app(1, singleton());
    it.permit(Permit::Refused);
    let needs = Dependency { app: "web".into(), condition: Condition::Ready };
    let policy = Policy { depends_on: vec![needs], alive_time: Span::ZERO, ..Policy::default() };
    let (name, namespace) = ("other".to_owned(), "default".to_owned());
    let op = it.command(Command::Create {
        name,
        namespace,
        policy,
        instances: 1,
        revision: Revision(1),
        up: true,
    });
    it.run(1_000);
    it.done(op);
}
