//! Several hosts that share a store: each home of these tests is a host of its own, with a real redis-server or
//! PostgreSQL between them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};
use skep_tests::{Deadline, Notes, Port, SharedStore, Skep, fixture, http, node, process, root};
use tempfile::TempDir;

/// Two hosts with the same app, whose runs write to one file.
struct Stage {
    hosts: [Host; 2],
    runs: Notes,
    _folder: TempDir,
}

struct Host {
    skep: Skep,
    port: Port,
}

impl Stage {
    fn new(store: &SharedStore) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let runs = Notes::new(folder.path(), "runs");
        // The second host's clock is ahead by more than the jobs' interval.
        let hosts = ["0", "2700"]
            .map(|ahead| Host { skep: Skep::new().env("SKEP_FAULT_CLOCK_MS", ahead), port: Port::free() });
        for host in &hosts {
            host.skep.boot();
            host.skep.ok(["hosts", &format!("store={}", store.address())]);
        }
        Self { hosts, runs, _folder: folder }
    }

    /// The app of the fixture `jobs.js` on both hosts, with more in its spec.
    fn start(&self, more: &Value) {
        for host in &self.hosts {
            host.start(self.runs.path(), more);
            host.skep.settled("app", 1);
        }
    }
}

impl Host {
    fn start(&self, runs: &Path, more: &Value) {
        let skep = &self.skep;
        skep.with_package();
        let script = skep.root().join("jobs.js");
        std::fs::copy(fixture("jobs.js"), &script).expect("the fixture is there");
        let mut spec = json!({
            "name": "app", "script": script, "interpreter": node(22).bin.join("node"), "cwd": skep.root(),
            "instances": 1, "listen_timeout": "60s",
            "env": { "RUNS": runs, "PORT": self.port.number().to_string(), "PATH": "/usr/bin:/bin" },
        });
        add(&mut spec, more);
        self.declare(&spec);
    }

    fn declare(&self, spec: &Value) {
        let answer = declare(&self.skep, spec);
        assert!(answer.contains("\"done\""), "{answer}");
    }

    fn history(&self, job: &str) -> Vec<Value> {
        let text = self.skep.ok(["jobs", "history", job, "-n", "1000", "--json"]);
        serde_json::from_str(&text).expect("a list")
    }

    fn skipped(&self, job: &str, why: &str) -> bool {
        self.history(job).iter().any(|run| run["status"] == "skipped" && run["why"] == why)
    }
}

/// Gives skep an app; what it says.
fn declare(skep: &Skep, spec: &Value) -> String {
    http::post_unix(&skep.socket(), "/v1/apps", &json!({ "spec": spec })).expect("skep answers").body
}

fn add(spec: &mut Value, more: &Value) {
    for (name, value) in more.as_object().expect("fields") {
        spec[name] = value.clone();
    }
}

/// The app of which there may be only one, which notes its life in `runs`.
fn alone_spec(skep: &Skep, runs: &Path, kill_timeout: &str) -> Value {
    json!({
        "name": "alone", "script": fixture("alone.js"), "interpreter": node(22).bin.join("node"),
        "cwd": skep.root(), "instances": 1, "singleton": true, "runtime": "self", "kill_timeout": kill_timeout,
        "env": { "RUNS": runs, "PATH": "/usr/bin:/bin" },
    })
}

/// Tests with each kind of store.
macro_rules! on_each_store {
    ($($name:ident => $check:expr;)*) => {$(
        mod $name {
            use super::*;
            #[test]
            fn with_redis() { $check(&SharedStore::redis()); }
            #[test]
            fn with_postgresql() { $check(&SharedStore::postgres()); }
        }
    )*};
}

on_each_store! {
    each_fire_time_is_one_hosts_though_clocks_differ_and_hosts_sleep_and_die => check_fire_times;
    without_an_answer_fire_times_are_skipped_and_told => check_outage;
    one_host_runs_a_singleton_whoever_sleeps_dies_or_cannot_be_reached => check_singleton;
    a_host_whose_skep_ends_gives_its_leases_back => check_leave;
}

fn distinct(lines: &[Vec<String>], word: usize) -> BTreeSet<&str> {
    lines.iter().map(|words| words[word].as_str()).collect()
}

fn check_fire_times(store: &SharedStore) {
    let stage = Stage::new(store);
    stage.start(&json!({}));
    let [one, other] = &stage.hosts;
    stage.runs.wait("tick", 4);
    // Who holds a fire time, or is about to ask for one, falls asleep in the middle; the other one goes on.
    for sleeper in &stage.hosts {
        let daemon = sleeper.skep.daemon().pid;
        process::signal(daemon, Signal::STOP).expect("it is there");
        stage.runs.wait("tick", stage.runs.lines("tick").len() + 4);
        process::signal(daemon, Signal::CONT).expect("it is there");
        stage.runs.wait("tick", stage.runs.lines("tick").len() + 2);
        process::kill(daemon);
        process::wait_gone(daemon);
        stage.runs.wait("tick", stage.runs.lines("tick").len() + 2);
    }
    // Both knew of all of these, and each was one host's only.
    Deadline::until("a fire time that was the other one's", || {
        (one.skipped("tick", "another host runs it") || other.skipped("tick", "another host runs it"))
            .then_some(())
    });
    for host in &stage.hosts {
        host.skep.ok(["jobs", "pause", "tick"]);
    }
    let lines = stage.runs.lines("tick");
    assert_eq!(distinct(&lines, 1).len(), lines.len(), "a fire time ran twice: {lines:?}");
    assert_eq!(distinct(&lines, 2).len(), lines.len(), "a token was given twice: {lines:?}");
}

fn check_outage(store: &SharedStore) {
    let stage = Stage::new(store);
    let eager = json!({ "schedules": {
        "eager": { "every": "1s", "command": "echo eager >> $RUNS", "on_unreachable": "run" },
    }});
    stage.start(&eager);
    let [host, _] = &stage.hosts;
    stage.runs.wait("tick", 1);
    let mut events = host.skep.events();
    store.pause();
    events.wait("the outage is told", |event| event.kind == "store_unreachable");
    let before = stage.runs.lines("tick").len();
    let eager = stage.runs.lines("eager").len();
    // What may run at any price does; all else is skipped, and says so.
    stage.runs.wait("eager", eager + 2);
    Deadline::until("a skipped fire time", || {
        host.skipped("tick", "the shared store could not be reached").then_some(())
    });
    assert_eq!(stage.runs.lines("tick").len(), before);
    let shown = host.skep.ok(["hosts"]);
    assert!(shown.contains("NOT reachable"), "{shown}");
    store.resume();
    stage.runs.wait("tick", before + 2);
    let lines = stage.runs.lines("tick");
    assert_eq!(distinct(&lines, 1).len(), lines.len(), "a fire time ran twice: {lines:?}");
}

/// Two hosts with an app of which there may be only one, and more in its spec.
fn alone(store: &SharedStore, lease: &str, more: &Value) -> Stage {
    let stage = Stage::new(store);
    for host in &stage.hosts {
        host.skep.ok(["hosts", &format!("lease={lease}")]);
    }
    for host in &stage.hosts {
        let mut spec = alone_spec(&host.skep, stage.runs.path(), "200ms");
        add(&mut spec, more);
        host.declare(&spec);
    }
    stage
}

impl Stage {
    /// Which of the hosts has the app of which there may be only one: its number, pid and token, once it is another than
    /// the one with this token.
    fn holder(&self, before: u64) -> (usize, u32, u64) {
        Deadline::until(&format!("a holder after token {before}"), || {
            let line = self.runs.lines("begin").pop()?;
            let (pid, token) = (line[1].parse().ok()?, line[2].parse().ok()?);
            let host = self.hosts.iter().position(|host| host.skep.home() == Path::new(&line[3]))?;
            (token > before).then_some((host, pid, token))
        })
    }

    /// Whoever began found nobody alive who had begun before, and got a higher token.
    fn check_alone(&self) {
        let lives = self.runs.all();
        let mut now: Option<(&str, u64)> = None;
        for words in &lives {
            let (pid, token): (&str, u64) = (&words[1], words[2].parse().expect("a token"));
            match now {
                Some((known, _)) if known == pid => {}
                Some((_, last)) => {
                    assert!(words[0] == "begin" && token > last, "{words:?} after {now:?}:\n{lives:?}");
                    now = Some((pid, token));
                }
                None => now = Some((pid, token)),
            }
        }
    }
}

fn check_singleton(store: &SharedStore) {
    // Long enough for a busy machine, short enough for a test.
    let stage = alone(store, "3s", &json!({}));
    let (first, pid, token) = stage.holder(0);
    let (holder, other) = (&stage.hosts[first].skep, &stage.hosts[1 - first].skep);
    other.wait("alone", "it stands by", |app| app.status == "stopped");
    assert!(other.ok(["list"]).contains("standby"), "{}", other.ok(["list"]));
    assert!(other.ok(["describe", "alone"]).contains("runs on"), "{}", other.ok(["describe", "alone"]));
    let shown = holder.ok(["describe", "alone"]);
    assert!(shown.contains(&format!("runs here, token {token}")), "{shown}");

    // A killed daemon changes nothing: the next one goes on with the same lease.
    let daemon = holder.daemon().pid;
    process::kill(daemon);
    process::wait_gone(daemon);
    let shown = holder.ok(["hosts"]);
    assert!(shown.contains(&format!("runs here, token {token}")) && process::is_alive(pid), "{shown}");

    // A daemon that falls asleep cannot renew: the keeper ends the worker before another host may begin.
    let daemon = holder.daemon().pid;
    process::signal(daemon, Signal::STOP).expect("it is there");
    let (second, pid, token) = stage.holder(token);
    assert_eq!(second, 1 - first);
    process::signal(daemon, Signal::CONT).expect("it is there");
    Deadline::until("the first host learns who has it", || {
        stage.hosts[first].skep.ok(["describe", "alone"]).contains("runs on").then_some(())
    });
    assert!(process::is_alive(pid));

    // One that is stopped here is let go at once, and the other host takes it.
    stage.hosts[second].skep.ok(["stop", "alone"]);
    process::wait_gone(pid);
    let (third, pid, token) = stage.holder(token);
    assert_eq!(third, first);
    stage.hosts[second].skep.ok(["start", "alone"]);

    // Without a store nobody can be sure, so nobody runs it; with it, one does.
    let mut events = stage.hosts[third].skep.events();
    store.pause();
    events.wait("it is stopped in time", |event| event.kind == "singleton_elsewhere");
    process::wait_gone(pid);
    store.resume();
    stage.holder(token);
    stage.check_alone();
}

/// Nobody waits for a lease of an hour here.
fn check_leave(store: &SharedStore) {
    let stage = alone(store, "1h", &json!({}));
    let (first, pid, token) = stage.holder(0);
    stage.hosts[first].skep.ok(["kill"]);
    process::wait_gone(pid);
    let (second, ..) = stage.holder(token);
    assert_eq!(second, 1 - first);
    stage.check_alone();
}

#[test]
fn a_host_that_stands_by_fires_no_jobs_of_the_app_until_the_app_is_its_own() {
    let store = SharedStore::redis();
    // Not claimed in the store: only standing by keeps the other host from running it.
    let tick = json!({ "every": "1s", "command": "echo tick $SKEP_HOME >> $RUNS", "shared": false });
    let stage = alone(&store, "1h", &json!({ "schedules": { "tick": tick } }));
    let (first, pid, token) = stage.holder(0);
    let (holder, other) = (&stage.hosts[first], &stage.hosts[1 - first]);
    other.skep.wait("alone", "it stands by", |app| app.status == "stopped");
    let home = |host: &Host| host.skep.home().display().to_string();
    let ticks = stage.runs.wait("tick", 4);
    assert!(ticks.iter().all(|words| words[1] == home(holder)), "{ticks:?}");
    assert_eq!(other.history("tick"), [] as [Value; 0], "it has not even skipped one");

    holder.skep.ok(["stop", "alone"]);
    process::wait_gone(pid);
    stage.holder(token);
    Deadline::until("the other host fires", || {
        stage.runs.lines("tick").iter().any(|words| words[1] == home(other)).then_some(())
    });
}

/// Every command and every file in the manual, as they stand there but for the server's address.
#[test]
fn the_manuals_commands_and_its_app_file_work() {
    let (store, skep) = (SharedStore::redis(), Skep::new());
    skep.boot();
    let manual = std::fs::read_to_string(root().join("docs/hosts.md")).expect("the manual");
    let blocks = |language: &str| -> Vec<String> {
        let fence = format!("```{language}\n");
        let parts = manual.split(fence.as_str()).skip(1);
        parts.map(|part| part.split("```").next().expect("an end").to_owned()).collect()
    };
    let commands = blocks("sh").concat();
    let commands = commands.lines().map(|line| line.split('#').next().expect("a command").trim());
    let mut count = 0;
    for command in commands.filter(|command| !command.is_empty()) {
        let words: Vec<String> = command
            .split_whitespace()
            .map(|word| match word.strip_prefix("store=redis://") {
                Some(_) => format!("store={}", store.address()),
                None => word.to_owned(),
            })
            .collect();
        assert_eq!(words[0], "skep", "{command}");
        skep.ok(&words[1..]);
        count += 1;
    }
    assert!(count >= 2, "the manual has commands");
    assert!(skep.ok(["hosts"]).contains(&store.address()), "{}", skep.ok(["hosts"]));
    let files = blocks("yaml");
    assert!(!files.is_empty(), "the manual has an app file");
    for (number, text) in files.iter().enumerate() {
        let file = skep.root().join(format!("skep-{number}.yaml"));
        std::fs::write(&file, text).expect("the folder is writable");
        std::fs::write(skep.root().join("importer.js"), "").expect("the folder is writable");
        skep.ok([OsStr::new("validate"), file.as_os_str()]);
    }
}

#[test]
fn a_singleton_without_a_store_is_one_here_and_is_reloaded_one_after_the_other() {
    let skep = Skep::new();
    skep.boot();
    let runs = skep.root().join("runs");
    let start = |instances: u32| {
        let mut spec = alone_spec(&skep, &runs, "5s");
        add(&mut spec, &json!({ "instances": instances }));
        declare(&skep, &spec)
    };
    assert!(start(2).contains("set instances: 1"), "{}", start(2));
    assert!(start(1).contains("\"done\""));
    let lives = || -> Vec<String> {
        let text = std::fs::read_to_string(&runs).unwrap_or_default();
        let words = text.lines().filter_map(|line| line.split(' ').next());
        words.filter(|word| *word != "alive").map(str::to_owned).collect()
    };
    Deadline::until("its first life", || (lives() == ["begin"]).then_some(()));
    skep.ok(["reload", "alone"]);
    Deadline::until("its second life", || (lives().len() == 3).then_some(()));
    assert_eq!(lives(), ["begin", "end", "begin"]);
    assert!(skep.err(["scale", "alone", "2"]).contains("instances"));
}
