//! Stories of apps that need each other.

use skep_core::{
    AppId, Command, Condition, Dependency, Failure, OpId, Outcome, Policy, ReadyRule, Reason, Rejection,
    Revision, Status, Target,
};
use skep_sim::{Behaviour, Memory, Scenario};

fn needs(app: &str, condition: Condition) -> Policy {
    let depends_on = vec![Dependency { app: app.to_owned(), condition }];
    Policy { depends_on, ..Policy::default() }
}

/// `db` (app 1), and `web` (app 2), which needs it.
fn shop(condition: Condition, db: Policy) -> (Scenario, OpId) {
    let mut it = Scenario::empty();
    create(&mut it, "db", db);
    let web = create(&mut it, "web", needs("db", condition));
    (it, web)
}

fn create(it: &mut Scenario, name: &str, policy: Policy) -> OpId {
    let (name, namespace) = (name.to_owned(), "default".to_owned());
    it.command(Command::Create { name, namespace, policy, instances: 1, revision: Revision(1), up: true })
}

fn status(it: &Scenario, app: u32) -> Status {
    it.world.fleet.app(AppId(app)).expect("the story's app exists").status
}

fn both() -> Target {
    Target { apps: vec![AppId(1), AppId(2)], slots: Vec::new() }
}

fn alive(it: &Scenario, app: u32) -> bool {
    it.world.kernel.living().any(|(_, of, ..)| of == AppId(app))
}

#[test]
fn an_app_starts_when_what_it_needs_is_ready() {
    let (mut it, op) = shop(Condition::Ready, Policy::default());
    it.run(10);
    assert!(alive(&it, 1) && !alive(&it, 2));
    assert_eq!(status(&it, 2), Status::Launching);
    it.run(500);
    assert_eq!((status(&it, 1), status(&it, 2)), (Status::Online, Status::Online));
    it.done(op);
}

#[test]
fn started_is_less_than_ready() {
    let mut it = Scenario::empty();
    it.next(Behaviour::silent());
    create(&mut it, "db", Policy { ready: ReadyRule::Announced, ..Policy::default() });
    let op = create(&mut it, "web", needs("db", Condition::Started));
    it.run(500);
    it.done(op);
    assert_eq!((status(&it, 1), status(&it, 2)), (Status::Launching, Status::Online));
}

#[test]
fn a_migration_must_end_content_before_anybody_follows() {
    let once = Policy { autorestart: false, ready: ReadyRule::Spawned, ..Policy::default() };
    let mut it = Scenario::empty();
    it.next(Behaviour::exits_after(skep_core::Span::from_millis(300), 1));
    create(&mut it, "db", once);
    let op = create(&mut it, "web", needs("db", Condition::Completed));
    it.run(200);
    assert_eq!(it.outcome(op), None);
    it.run(500);
    let Some(Outcome::Failed(Failure { reason: Reason::Dependency { why }, .. })) = it.outcome(op) else {
        panic!("{:?}", it.outcome(op))
    };
    assert_eq!(why, "db has failed");
    assert_eq!(status(&it, 2), Status::Errored);
    // The same again, and this time it succeeds: nobody has to start web by hand.
    it.next(Behaviour::exits_after(skep_core::Span::from_millis(10), 0));
    it.command(Command::Start { target: AppId(1).into() });
    it.run(1000);
    assert_eq!((status(&it, 1), status(&it, 2)), (Status::Stopped, Status::Online));
}

#[test]
fn whoever_is_needed_stops_last() {
    let (mut it, _) = shop(Condition::Ready, Policy::default());
    it.run(1000);
    let op = it.command(Command::Stop { target: both() });
    it.run(1);
    assert_eq!((status(&it, 1), status(&it, 2)), (Status::Online, Status::Stopping));
    it.run(500);
    it.done(op);
    assert!(!alive(&it, 1) && !alive(&it, 2));
}

#[test]
fn a_shutdown_keeps_the_order_and_so_does_a_new_beginning() {
    let (mut it, _) = shop(Condition::Ready, Policy::default());
    it.run(1000);
    let op = it.command(Command::Shutdown);
    it.run(1);
    assert_eq!((status(&it, 1), status(&it, 2)), (Status::Online, Status::Stopping));
    it.run(500);
    it.done(op);
    it.reboot();
    it.run(10);
    assert!(alive(&it, 1) && !alive(&it, 2), "web waits for db after a reboot too");
    it.run(1000);
    assert_eq!((status(&it, 1), status(&it, 2)), (Status::Online, Status::Online));
}

#[test]
fn a_daemon_that_was_killed_still_knows_who_waits() {
    for memory in [Memory::Snapshot, Memory::Nothing] {
        let (mut it, _) = shop(Condition::Ready, Policy::default());
        it.run(10).kill_daemon(memory);
        // Without memory whoever runs is taken for ready.
        assert_eq!(alive(&it, 2), memory == Memory::Nothing);
        it.run(1000);
        assert_eq!((status(&it, 1), status(&it, 2)), (Status::Online, Status::Online));
    }
}

#[test]
fn a_crash_of_what_is_needed_takes_nobody_down() {
    let (mut it, _) = shop(Condition::Ready, Policy::default());
    it.run(2000);
    it.app = AppId(1);
    it.crash_slot(0, 1);
    assert_eq!(status(&it, 2), Status::Online);
    it.app = AppId(2);
    it.crash_slot(0, 1);
    it.run(500);
    assert_eq!((status(&it, 1), status(&it, 2)), (Status::Online, Status::Online));
}

#[test]
fn a_start_starts_what_is_needed_and_runs_nothing_twice() {
    let (mut it, _) = shop(Condition::Ready, Policy::default());
    it.run(1000);
    it.command(Command::Stop { target: both() });
    it.run(1000);
    let op = it.command(Command::Start { target: AppId(2).into() });
    it.run(1000);
    it.done(op);
    assert_eq!((status(&it, 1), status(&it, 2)), (Status::Online, Status::Online));
}

#[test]
fn what_is_missing_is_said_and_looked_for_again() {
    let mut it = Scenario::empty();
    let op = create(&mut it, "web", needs("db", Condition::Ready));
    it.run(10);
    let Some(Outcome::Failed(Failure { reason: Reason::Dependency { why }, .. })) = it.outcome(op) else {
        panic!("{:?}", it.outcome(op))
    };
    assert_eq!(why, "there is no app db");
    create(&mut it, "db", Policy::default());
    it.run(1000);
    assert_eq!((status(&it, 1), status(&it, 2)), (Status::Online, Status::Online));
}

#[test]
fn a_circle_is_rejected_with_its_names() {
    let mut it = Scenario::empty();
    create(&mut it, "web", needs("db", Condition::Ready));
    let op = create(&mut it, "db", needs("web", Condition::Ready));
    let names = ["db", "web", "db"].map(str::to_owned).to_vec();
    assert_eq!(it.outcome(op), Some(&Outcome::Rejected(Rejection::DependencyCycle { names })));
}

#[test]
fn who_was_stopped_on_purpose_is_not_missed_after_a_reboot() {
    let (mut it, _) = shop(Condition::Ready, Policy::default());
    it.run(1000);
    it.command(Command::Stop { target: AppId(1).into() });
    it.run(500).reboot();
    it.run(1000);
    assert_eq!((status(&it, 1), status(&it, 2)), (Status::Stopped, Status::Online));
}
