//! What renews workers without being asked: schedules and limits on memory; and what is said when a port is taken.

use skep_tests::{Deadline, Port, Skep, Start, http};

/// A skep, a port, and an app that listens on it.
struct Stage {
    skep: Skep,
    port: Port,
}

impl Stage {
    fn new() -> Self {
        let stage = Self { skep: Skep::new(), port: Port::free() };
        stage.skep.boot();
        stage
    }

    fn app(&self, file: &str) -> Start {
        Start::fixture("app", file).port(self.port.number())
    }

    /// One request that must be answered; who answered.
    fn ask(&self, path: &str) -> u32 {
        let answer = http::get(self.port.address(), path).expect("every request is answered");
        u32::try_from(answer.json()["pid"].as_u64().expect("a pid")).expect("a pid is small")
    }
}

#[test]
fn a_schedule_renews_workers_without_losing_a_request_and_starts_what_was_stopped() {
    let stage = Stage::new();
    let mut events = stage.skep.events();
    let first = stage.skep.start(&stage.app("leak.js").flags(["--cron-restart", "* * * * * *"])).pids()[0];
    events.wait("the schedule fires", |event| {
        event.kind == "triggered" && event.reason.as_deref() == Some("schedule")
    });
    Deadline::until("a new worker answers", || (stage.ask("/") != first).then_some(()));
    let stopped = stage.skep.run(["stop", "app"]);
    assert!(stopped.stderr.contains("will start it again"), "{stopped:?}");
    stage.skep.wait("app", "the schedule starts it", |app| app.status == "online");
}

#[test]
fn a_pattern_that_makes_no_sense_is_refused_with_the_pattern_and_the_remedy() {
    let skep = Skep::new();
    let said = skep.start_fails(&Start::fixture("app", "leak.js").flags(["--cron-restart", "61 * * * *"]));
    assert!(said.contains("61 * * * *") && said.contains("five fields"), "{said}");
    let bad = ["--cron-restart", "0 3 * * *", "--cron-timezone", "Mars/Olympus"];
    let said = skep.start_fails(&Start::fixture("app", "leak.js").flags(bad));
    assert!(said.contains("Mars/Olympus") && said.contains("tzdata"), "{said}");
    let said = skep.start_fails(&Start::fixture("app", "leak.js").flags(["--max-memory-restart", "10X"]));
    assert!(said.contains("10X"), "{said}");
    let said = skep.start_fails(&Start::fixture("app", "leak.js").flags(["--max-memory-restart", "200"]));
    assert!(said.contains("200M"), "what was probably meant: {said}");
}

#[test]
fn a_worker_that_leaks_is_replaced_alone_and_no_request_is_lost() {
    let stage = Stage::new();
    let app = stage.app("leak.js").instances(2).flags(["--max-memory-restart", "160M"]);
    let before = stage.skep.start(&app).pids();
    let mut events = stage.skep.events();
    let leaky = stage.ask("/?mb=200");
    let event = events.wait("the limit is noticed", |event| event.kind == "triggered");
    assert!(event.message.contains("max_memory_restart (160M)"), "{}", event.message);
    assert_eq!(event.reason.as_deref(), Some("memory"));
    Deadline::until("the leaky worker is gone", || {
        stage.ask("/");
        (!stage.skep.app("app").pids().contains(&leaky)).then_some(())
    });
    let after = stage.skep.settled("app", 2).pids();
    let sibling = before.into_iter().find(|pid| *pid != leaky).expect("there are two");
    assert!(after.contains(&sibling), "the sibling is left alone");
}

#[test]
fn a_limit_below_what_the_program_needs_makes_no_loop_and_is_told() {
    let stage = Stage::new();
    let mut events = stage.skep.events();
    stage.skep.start(&stage.app("leak.js").flags(["--max-memory-restart", "8M"]));
    let told = events.wait("it is told", |event| event.kind == "trigger_trouble");
    assert!(told.message.contains("looks too low"), "{}", told.message);
    stage.ask("/");
    let restarts = stage.skep.app("app").restarts();
    assert!(restarts <= 1, "one attempt, then patience: {restarts}");
}

#[test]
fn a_port_that_somebody_has_is_explained_by_who_it_is() {
    let stage = Stage::new();
    let mut other = std::process::Command::new("python3")
        .args(["-m", "http.server", "--bind", "127.0.0.1", &stage.port.number().to_string()])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("Python starts");
    Deadline::until("it listens", || http::get(stage.port.address(), "/").ok());
    let mut events = stage.skep.events();
    let said = stage.skep.start_fails(&stage.app("leak.js").flags(["--max-restarts", "2"]));
    let holder = format!("pid {} (", other.id());
    assert!(
        said.contains("cannot listen") && said.contains(&holder) && said.contains("http.server"),
        "{said}"
    );
    let gave_up = events.wait("it is given up", |event| event.kind == "gave_up");
    assert!(gave_up.message.contains(&holder), "{}", gave_up.message);
    assert!(stage.skep.ok(["describe", "app"]).contains(&holder));
    other.kill().expect("it lives");
    other.wait().expect("it can be waited for");
    stage.skep.ok(["start", "app"]);
    stage.ask("/");
    assert!(!stage.skep.ok(["describe", "app"]).contains("cannot listen"));
}
