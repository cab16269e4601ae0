//! Starting, failing, stopping: what each policy of an app makes of a real process.

use std::fs;
use std::path::PathBuf;

use skep_tests::{Deadline, Port, Skep, Start, fixtures, http, is_free, process};

/// A skep, a port and a file in which `lifecycle.js` notes what happens to it.
struct Stage {
    skep: Skep,
    port: Port,
}

impl Stage {
    fn new() -> Self {
        Self { skep: Skep::new(), port: Port::free() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.skep.root().join(name)
    }

    fn app(&self) -> Start {
        Start::fixture("app", "lifecycle.js")
            .port(self.port.number())
            .env("TRACE_FILE", self.file("trace"))
            .env("CRASH_FILE", self.file("crash"))
    }

    /// What the app noted, a line an event.
    fn trace(&self) -> String {
        fs::read_to_string(self.file("trace")).unwrap_or_default()
    }
}

#[test]
fn an_app_that_announces_itself_is_ready_only_then() {
    let (skep, port) = (Skep::new(), Port::free());
    let gate = skep.root().join("gate");
    let start = Start::fixture("app", "announces.js").port(port.number()).env("READY_FILE", &gate);
    let start = start.flags(["--wait-ready", "--listen-timeout", "20000"]);
    skep.boot();
    let command = skep.starting(&start).spawn().expect("skep starts");
    Deadline::until("the app listens", || http::get(port.address(), "/").ok());
    assert_eq!(skep.app("app").status, "launching", "listening is not ready for this app");
    fs::write(&gate, "").expect("the folder is writable");
    let output = command.wait_with_output().expect("skep ends");
    assert!(output.status.success());
    assert!(skep.app("app").is_settled(1));
}

#[test]
fn a_start_that_crashes_says_why_and_fails() {
    let stage = Stage::new();
    fs::write(stage.file("crash"), "").expect("the folder is writable");
    let said = stage.skep.start_fails(&stage.app().flags(["--no-autorestart"]));
    assert!(said.contains("crash at start: the file is there"), "the tail of stderr: {said}");
    assert!(said.contains('7'), "the exit code: {said}");
}

#[test]
fn a_crash_loop_gives_up_and_says_so() {
    let stage = Stage::new();
    fs::write(stage.file("crash"), "").expect("the folder is writable");
    stage.skep.start_fails(&stage.app().flags(["--max-restarts", "3"]));
    let app = stage.skep.wait("app", "it gives up", |app| app.status == "errored");
    assert_eq!(app.pids(), Vec::<u32>::new());
    assert_eq!(
        stage.trace().matches("start").count(),
        3,
        "the third unstable exit is the last, as in PM2: {}",
        stage.trace()
    );
    // A start by hand is a new beginning.
    fs::remove_file(stage.file("crash")).expect("it is there");
    stage.skep.ok(["start", "app"]);
    assert!(stage.skep.app("app").is_settled(1));
}

#[test]
fn an_exit_code_that_means_stop_stops() {
    let stage = Stage::new();
    stage.skep.start(&stage.app().flags(["--stop-exit-codes", "42"]));
    drop(http::get(stage.port.address(), "/crash?code=42"));
    let app = stage.skep.wait("app", "it stays down", |app| app.status == "stopped");
    assert_eq!(app.restarts(), 0);
    stage.skep.ok(["start", "app"]);
    drop(http::get(stage.port.address(), "/crash?code=1"));
    stage.skep.wait("app", "any other code restarts", |app| app.is_settled(1) && app.restarts() == 1);
}

#[test]
fn without_autorestart_a_dead_worker_stays_dead() {
    let stage = Stage::new();
    let app = stage.skep.start(&stage.app().flags(["--no-autorestart"]));
    process::kill(app.pids()[0]);
    let app =
        stage.skep.wait("app", "it stays down", |app| app.status == "stopped" || app.status == "errored");
    assert_eq!(app.pids(), Vec::<u32>::new());
}

#[test]
fn a_delayed_restart_waits_and_a_stop_cancels_it() {
    let stage = Stage::new();
    let app = stage.skep.start(&stage.app().flags(["--restart-delay", "600000"]));
    process::kill(app.pids()[0]);
    stage.skep.wait("app", "it waits", |app| app.status == "waiting restart");
    stage.skep.ok(["stop", "app"]);
    assert_eq!(stage.skep.app("app").status, "stopped");
}

#[test]
fn a_stop_asks_politely_first() {
    let stage = Stage::new();
    stage.skep.start(&stage.app());
    stage.skep.ok(["stop", "app"]);
    assert!(stage.trace().contains("SIGINT"), "PM2's signal: {}", stage.trace());
    assert!(is_free(stage.port.number()));
}

#[test]
fn a_worker_that_ignores_every_request_is_killed_after_its_time() {
    let stage = Stage::new();
    let start = stage.app().env("BEHAVIOUR", "ignores-signals").flags(["--kill-timeout", "300"]);
    let app = stage.skep.start(&start);
    stage.skep.ok(["stop", "app"]);
    app.pids().into_iter().for_each(process::wait_gone);
    assert!(stage.trace().contains("SIGINT"), "it was asked first: {}", stage.trace());
    assert!(is_free(stage.port.number()));
}

#[test]
fn a_stop_takes_the_whole_tree_of_processes() {
    let (skep, port) = (Skep::new(), Port::free());
    let start = Start::fixture("tree", "child-tree.js").port(port.number());
    skep.start(&start.flags(["--kill-timeout", "300"]));
    let child =
        http::get(port.address(), "/").expect("it answers").json()["child"].as_u64().expect("it has a child");
    skep.ok(["stop", "tree"]);
    process::wait_gone(u32::try_from(child).expect("a pid is small"));
}

#[test]
fn a_worker_that_dies_takes_its_children_along() {
    let (skep, port) = (Skep::new(), Port::free());
    skep.start(&Start::fixture("tree", "child-tree.js").port(port.number()));
    let child =
        http::get(port.address(), "/").expect("it answers").json()["child"].as_u64().expect("it has a child");
    skep.crash("tree", 0);
    process::wait_gone(u32::try_from(child).expect("a pid is small"));
}

#[test]
fn shutdown_with_message_sends_the_message() {
    let stage = Stage::new();
    let start = stage.app().flags(["--shutdown-with-message", "--kill-timeout", "500"]);
    stage.skep.start(&start);
    stage.skep.ok(["stop", "app"]);
    assert!(stage.trace().contains("message \"shutdown\""), "{}", stage.trace());
}

#[test]
fn an_app_that_never_listens_counts_as_ready_after_its_time() {
    let stage = Stage::new();
    let start = stage.app().env("BEHAVIOUR", "never-listens").flags(["--listen-timeout", "300"]);
    let app = stage.skep.start(&start);
    assert!(app.is_settled(1), "a queue worker never listens: {app:#?}");
}

#[test]
fn a_restart_replaces_all_and_counts() {
    let stage = Stage::new();
    let before = stage.skep.start(&stage.app().instances(2));
    stage.skep.ok(["restart", "app"]);
    let after = stage.skep.app("app");
    assert!(after.is_settled(2), "{after:#?}");
    assert!(before.pids().iter().all(|pid| !after.pids().contains(pid)));
    assert_eq!(after.restarts(), 2);
    stage.skep.ok(["reset", "app"]);
    assert_eq!(stage.skep.app("app").restarts(), 0);
}

#[test]
fn one_worker_can_be_meant_by_its_id() {
    let stage = Stage::new();
    let before = stage.skep.start(&stage.app().instances(2));
    stage.skep.ok(["restart".to_owned(), before.slots[1].id.to_string()]);
    let after = stage.skep.settled("app", 2);
    assert_eq!(after.slots[0].pid, before.slots[0].pid);
    assert_ne!(after.slots[1].pid, before.slots[1].pid);
}

#[test]
fn a_namespace_means_all_of_its_apps() {
    let skep = Skep::new();
    for (name, space) in [("a", "x"), ("b", "x"), ("c", "y")] {
        let start = Start::fixture(name, "logs.js").flags(["--namespace", space, "--listen-timeout", "100"]);
        skep.start(&start);
    }
    skep.ok(["stop", "x"]);
    let status = |name: &str| skep.app(name).status;
    assert_eq!(
        (status("a"), status("b"), status("c")),
        ("stopped".into(), "stopped".into(), "online".into())
    );
    skep.ok(["delete", "all"]);
    assert!(skep.apps().is_empty());
}

#[test]
fn an_app_gets_its_directory_its_arguments_and_its_environment() {
    let (skep, port) = (Skep::new(), Port::free());
    let start =
        Start::fixture("app", "worker-facts.js").port(port.number()).flags(["--cwd"]).flags([fixtures()]);
    skep.start(&start.flags(["--interpreter-args=--no-warnings"]).args(["-x", "y z"]));
    let seen = http::get(port.address(), "/").expect("it answers").json();
    assert_eq!(seen["cwd"], fixtures().to_string_lossy().as_ref());
    assert_eq!(seen["argv"], serde_json::json!(["-x", "y z"]));
    assert_eq!(seen["execArgv"][0], "--no-warnings");
}

#[test]
fn a_start_of_a_known_app_starts_it_and_no_second_one() {
    let stage = Stage::new();
    stage.skep.start(&stage.app());
    stage.skep.ok(["stop", "app"]);
    stage.skep.ok(["start", "app"]);
    let apps = stage.skep.apps();
    assert_eq!(apps.len(), 1, "{apps:#?}");
    assert!(apps[0].is_settled(1));
}

#[test]
fn many_apps_start_side_by_side() {
    const APPS: usize = 24;
    let skep = Skep::new();
    skep.boot();
    let commands: Vec<_> = (0..APPS)
        .map(|number| {
            let start = Start::program(&format!("sleeper-{number}"), "/bin/sleep").args(["1000"]);
            skep.starting(&start.flags(["--listen-timeout", "200"])).output_later()
        })
        .collect();
    for command in commands {
        let output = command.wait_with_output().expect("skep ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let apps = skep.apps();
    assert_eq!(apps.len(), APPS);
    assert!(apps.iter().all(|app| app.is_settled(1)), "{apps:#?}");
}

/// Spawns with its output kept for later.
trait Later {
    fn output_later(&mut self) -> std::process::Child;
}

impl Later for std::process::Command {
    fn output_later(&mut self) -> std::process::Child {
        use std::process::Stdio;
        self.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("skep starts")
    }
}
