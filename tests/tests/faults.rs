//! The daemon and the keeper abort at each named point of their dialogue, in the middle of a whole life of an app: every
//! command succeeds all the same, and no worker is lost or started twice.

use std::fs;

use skep_tests::{Deadline, Skep, Start, process};

/// A skep whose daemon or keeper aborts once, and an app of two workers that does nothing.
struct Stage {
    skep: Skep,
    fault: String,
}

impl Stage {
    fn new(fault: &str) -> Self {
        let skep = Skep::new().env("SKEP_FAULT", fault);
        let once = skep.root().join("aborted");
        Self { skep: skep.env("SKEP_FAULT_ONCE", once), fault: fault.to_owned() }
    }

    fn has_aborted(&self) -> bool {
        self.skep.root().join("aborted").exists()
    }

    /// From now on it aborts no more, or once more.
    fn disarm(&self) {
        fs::write(self.skep.root().join("aborted"), "").expect("the folder is writable");
    }

    fn rearm(&self) {
        fs::remove_file(self.skep.root().join("aborted")).expect("it was disarmed");
    }

    fn start(&self) {
        let start = Start::program("app", "/bin/sleep").args(["12345"]).instances(2);
        self.skep.start(&start.flags(["--listen-timeout", "20"]));
        self.check(2);
    }

    /// So many workers are there, all known, and no other one.
    #[track_caller]
    fn check(&self, count: usize) {
        let app = self.skep.wait("app", "all slots are at rest", |app| {
            let status = if count == 0 { "stopped" } else { "online" };
            app.rollout.is_none() && app.slots.iter().all(|slot| slot.status == status)
        });
        let mut known = app.pids();
        known.sort_unstable();
        assert_eq!(known.len(), count, "{}: {app:#?}", self.fault);
        // An old worker may need a moment to end after its command has.
        Deadline::until(&format!("{}: no worker beside {known:?}", self.fault), || {
            let is_worker = |pid: &u32| process::command_line(*pid).contains("sleep 12345");
            let mut alive: Vec<u32> = self.skep.processes().into_iter().filter(is_worker).collect();
            alive.sort_unstable();
            (alive == known).then_some(())
        });
    }

    /// A whole life.
    #[track_caller]
    fn live(&self) {
        self.start();
        for (command, count) in [
            (&["scale", "app", "3"][..], 3),
            (&["reload", "app"], 3),
            (&["scale", "app", "2"], 2),
            (&["restart", "app"], 2),
            (&["stop", "app"], 0),
            (&["start", "app"], 2),
        ] {
            self.skep.ok(command);
            self.check(count);
        }
        self.skep.crash("app", 1);
        self.check(2);
        self.skep.ok(["delete", "app"]);
        assert!(self.has_aborted(), "{} was never passed", self.fault);
        assert!(self.skep.apps().is_empty(), "{}", self.fault);
    }
}

fn check_life(point: &str, passes: &[u32]) {
    for pass in passes {
        Stage::new(&format!("{point}:{pass}")).live();
    }
}

#[test]
fn a_daemon_that_dies_between_the_disk_and_its_journal() {
    check_life("daemon:saved", &[1, 2, 4]);
}

#[test]
fn a_daemon_that_dies_with_everything_decided_and_nothing_done() {
    check_life("daemon:decided", &[2, 5, 22]);
}

#[test]
fn a_daemon_that_dies_between_two_effects() {
    check_life("daemon:effect", &[1, 9, 17, 33]);
}

#[test]
fn a_daemon_that_dies_with_descriptors_made_and_nothing_ordered() {
    check_life("daemon:asked", &[1, 2, 5]);
}

#[test]
fn a_daemon_that_dies_with_news_that_it_has_not_acted_upon() {
    check_life("daemon:heard", &[1, 6, 11]);
}

#[test]
fn a_daemon_that_dies_while_it_takes_everything_back() {
    for point in ["start", "inventory", "restored"] {
        let stage = Stage::new(&format!("daemon:{point}:1"));
        stage.disarm();
        stage.start();
        let before = stage.skep.app("app");
        stage.rearm();
        process::kill(stage.skep.daemon().pid);
        stage.check(2);
        assert!(stage.has_aborted(), "{point} was passed");
        assert_eq!(stage.skep.app("app").pids(), before.pids());
    }
}

#[test]
fn a_keeper_that_dies_with_a_request_carried_out_and_not_answered() {
    check_life("keeper:after-request", &[2, 18, 31]);
}

#[test]
fn a_keeper_that_dies_with_a_child_that_it_has_not_noted() {
    check_life("keeper:after-fork", &[1, 4]);
}

#[test]
fn a_keeper_that_dies_with_a_child_that_nobody_was_told_of() {
    check_life("keeper:after-spawn", &[1, 5]);
}

#[test]
fn a_keeper_that_dies_over_a_dead_child() {
    check_life("keeper:before-reap", &[1, 4]);
}
