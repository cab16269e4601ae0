//! Workers are asked how they are, each for itself, and what follows.

use std::fs;
use std::path::PathBuf;

use skep_tests::strict::{self, Mode, Plan, Think};
use skep_tests::{App, LIMIT, Port, Skep, Start};

/// Often enough for a test; the patience is for a machine that does many other things.
const OFTEN: &str = "interval=200ms,timeout=20s,failure_threshold=2";

struct Setting {
    skep: Skep,
    port: Port,
}

impl Setting {
    fn new() -> Self {
        Self { skep: Skep::new(), port: Port::free() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.skep.root().join(name)
    }

    fn app(&self, instances: usize, flags: &[String]) -> Start {
        let start = Start::fixture("app", "health.js").port(self.port.number()).instances(instances);
        let start = start.env("SICK_FILE", self.file("sick")).env("MUTE_FILE", self.file("mute"));
        start.flags(flags)
    }

    fn touch(&self, name: &str) {
        fs::write(self.file(name), "").expect("the folder is writable");
    }

    fn wait(&self, what: &str, wanted: impl Fn(&App) -> bool) -> App {
        self.skep.wait("app", what, wanted)
    }
}

fn flag(name: &str, how: &str) -> [String; 2] {
    [format!("--{name}"), format!("{how},{OFTEN}")]
}

/// A new version whose readiness probe says no: the old ones serve on, and the command says why.
fn check_a_reload_that_fails_its_probe(flags: &[String]) {
    let it = Setting::new();
    let before = it.skep.start(&it.app(2, flags));
    let plan = Plan::get(it.port.address(), Mode::Short(Think::up_to_ms(10)), 4);
    let load = strict::start(plan).expect("the client starts");
    load.wait_for_more(20, LIMIT);
    it.touch("sick");
    let said = it.skep.err(["reload", "app"]);
    assert!(said.contains("503"), "it says why: {said}");
    assert_eq!(it.wait("the new one is gone", |app| app.is_settled(2)).pids(), before.pids());
    load.wait_for_more(20, LIMIT);
    let report = load.stop();
    assert_eq!(report.failures(), 0, "{report}");
    fs::remove_file(it.file("sick")).expect("it is there");
    it.skep.ok(["reload", "app"]);
}

#[test]
fn a_reload_whose_new_worker_fails_its_readiness_probe_leaves_the_old_ones_serving() {
    check_a_reload_that_fails_its_probe(&flag("readiness", "http=/healthz"));
}

#[test]
fn in_fork_mode_the_worker_itself_is_asked_too() {
    let mut flags = flag("readiness", "http=/healthz").to_vec();
    flags.extend(["--exec-mode".to_owned(), "fork".to_owned()]);
    check_a_reload_that_fails_its_probe(&flags);
}

#[test]
fn a_start_whose_worker_never_passes_says_why_and_exits_with_an_error() {
    let it = Setting::new();
    it.touch("sick");
    let said = it.skep.start_fails(&it.app(1, &flag("readiness", "http=/healthz")));
    assert!(said.contains("readiness probe failed") && said.contains("503"), "{said}");
    fs::remove_file(it.file("sick")).expect("it is there");
    it.wait("it is asked on and gets well", |app| app.is_settled(1));
}

#[test]
fn a_blocked_event_loop_fails_the_probe_and_that_worker_alone_is_replaced() {
    for how in ["http=/healthz", "tcp"] {
        let it = Setting::new();
        let mut flags = flag("liveness", how).to_vec();
        flags[1] = flags[1].replace("timeout=20s", "timeout=3s");
        if how == "tcp" {
            // Something has to block it; a probe that only connects does not.
            flags.extend(flag("readiness", "http=/healthz"));
        }
        let before = it.skep.start(&it.app(1, &flags)).pids();
        it.touch("mute");
        let after = it.wait("another one has taken over", |app| {
            app.is_settled(1) && app.pids().iter().all(|pid| !before.contains(pid))
        });
        assert!(after.restarts() > 0, "{how}");
    }
}

#[test]
fn a_sick_worker_is_replaced_while_its_siblings_stay_and_nobody_fails() {
    let it = Setting::new();
    // Sick is who has a file of its own pid.
    let check = format!("exec=test ! -e {}.$SKEP_WORKER_PID", it.file("ill").display());
    let flags = ["--liveness".to_owned(), format!("{OFTEN},{check}")];
    let before = it.skep.start(&it.app(2, &flags)).pids();
    let plan = Plan::get(it.port.address(), Mode::KeepAlive(Think::up_to_ms(10)), 4);
    let load = strict::start(plan).expect("the client starts");
    load.wait_for_more(20, LIMIT);
    it.touch(&format!("ill.{}", before[0]));
    let after = it.wait("it is replaced", |app| app.is_settled(2) && !app.pids().contains(&before[0]));
    assert!(after.pids().contains(&before[1]), "{before:?} {:?}", after.pids());
    load.wait_for_more(20, LIMIT);
    let report = load.stop();
    assert_eq!(report.failures(), 0, "{report}");
}

#[test]
fn a_probe_that_cannot_reach_one_worker_is_refused_with_a_remedy() {
    let it = Setting::new();
    let start = Start::program("app", skep_tests::fixture("server.py"));
    let said = it.skep.start_fails(&start.flags(["--liveness", "/healthz"]));
    assert!(said.contains("liveness") && said.contains("exec"), "{said}");
}
