//! Queues between real workers, and `skep queues`.

use std::ffi::OsStr;

use rustix::process::Signal;
use serde_json::Value;
use skep_tests::{Deadline, Notes, Port, Skep, Start, fixture, http, process};

/// The app `pile.js`, whose consumers write to a file what they do.
struct Stage {
    skep: Skep,
    port: Port,
    notes: Notes,
}

impl Stage {
    fn new(workers: usize, concurrency: u32) -> Self {
        Self::with(workers, concurrency, "0")
    }

    /// The same with jobs on the disk.
    fn durable(workers: usize, concurrency: u32) -> Self {
        Self::with(workers, concurrency, "1")
    }

    fn with(workers: usize, concurrency: u32, durable: &str) -> Self {
        let (skep, port) = (Skep::new(), Port::free());
        let notes = Notes::new(skep.root(), "notes");
        let start = Start::program("app", fixture("pile.js"))
            .instances(workers)
            .port(port.number())
            .env("NODE_PATH", skep.with_package())
            .env("NOTES", notes.path())
            .env("CONCURRENCY", concurrency.to_string())
            .env("DURABLE", durable)
            .flags(["--listen-timeout", "60s"]);
        skep.start(&start);
        skep.settled("app", workers);
        Self { skep, port, notes }
    }

    fn push(&self, query: &str) {
        let path = format!("/push?{query}");
        http::get(self.port.address(), &path).unwrap_or_else(|error| panic!("GET {path}: {error}"));
    }

    fn json(&self, args: &[&str]) -> Value {
        let text = self.skep.ok(args.iter().copied().chain(["--json"]));
        serde_json::from_str(&text).expect("it is JSON")
    }

    fn counts(&self) -> [u64; 4] {
        let all = self.json(&["queues", "ls"]);
        let pile = all.as_array().expect("a list").iter().find(|queue| queue["name"] == "pile");
        let pile = pile.expect("the queue is there");
        ["ready", "delayed", "active", "dead"].map(|part| pile[part].as_u64().expect("a number"))
    }

    /// The machine restarts: every process is killed at one moment, memory is gone, and what the disk knows of this boot
    /// means nothing. Then skep starts as it does at boot.
    fn reboot(&self) {
        for signal in [Signal::STOP, Signal::STOP, Signal::KILL] {
            for pid in self.skep.processes() {
                // Whoever has just ended needs no signal.
                drop(process::signal(pid, signal));
            }
        }
        Deadline::until("nobody is left", || self.skep.processes().is_empty().then_some(()));
        let memory =
            std::fs::read_to_string(self.skep.home().join("shared.place")).expect("it is written down");
        std::fs::remove_dir_all(&memory).expect("it was there");
        let queues = self.skep.home().join("queues");
        for entry in std::fs::read_dir(&queues).expect("the folder").flatten() {
            if entry.file_name().to_string_lossy().starts_with("control-") {
                std::fs::rename(entry.path(), queues.join("control-of-another-boot")).expect("renamed");
            }
        }
        self.skep.ok(["resurrect"]);
        self.skep.settled("app", 2);
    }

    fn wait_counts(&self, wanted: [u64; 4]) {
        Deadline::until(&format!("{wanted:?} jobs"), || (self.counts() == wanted).then_some(()));
    }
}

#[test]
fn a_paused_queue_gives_nothing_and_people_can_look_retry_and_purge() {
    let stage = Stage::new(2, 1);
    // Two fail, one after its retry each, and lie among the dead with their error.
    stage.push("what=fail");
    stage.push("what=fail");
    stage.wait_counts([0, 0, 0, 2]);
    let dead = stage.json(&["queues", "peek", "pile", "dead"]);
    assert_eq!((&dead[0]["data"]["what"], &dead[0]["attempts"]), (&Value::from("fail"), &Value::from(2)));
    assert!(dead[0]["error"].as_str().expect("its error").contains("no luck"), "{dead}");

    stage.skep.ok(["queues", "pause", "pile"]);
    let first = dead[0]["id"].as_str().expect("a number");
    stage.skep.ok(["queues", "retry", "pile", first]);
    stage.push("what=low");
    stage.push("what=high&priority=9");
    stage.push("what=late&delay=1h");
    assert_eq!(stage.counts(), [3, 1, 0, 1]);
    let described = stage.skep.ok(["queues", "describe", "pile"]);
    assert!(described.contains("paused") && described.contains("no luck"), "{described}");
    let ready = stage.json(&["queues", "peek", "pile"]);
    let order: Vec<&str> =
        ready.as_array().expect("jobs").iter().filter_map(|job| job["data"]["what"].as_str()).collect();
    assert_eq!(order, ["high", "fail", "low"]);
    assert_eq!(stage.notes.lines("job").len(), 4, "nothing was given out");

    assert!(stage.skep.err(["queues", "purge", "pile", "active"]).contains("workers have them"));
    assert!(stage.skep.err(["queues", "peek", "heap"]).contains("there are: pile"));
    assert!(stage.skep.err(["queues", "retry", "pile", "1e3"]).contains("no job's number"));
    stage.skep.ok(["queues", "purge", "pile", "delayed"]);
    stage.skep.ok(["queues", "resume", "pile"]);
    stage.wait_counts([0, 0, 0, 2]);
    stage.skep.ok(["queues", "purge", "pile", "dead"]);
    assert_eq!(stage.counts(), [0, 0, 0, 0]);
    let metrics = stage.skep.ok(["metrics"]);
    assert!(
        metrics.contains("skep_queue_jobs{queue=\"pile\",durable=\"false\",part=\"dead\"} 0"),
        "{metrics}"
    );
}

#[test]
fn a_worker_has_as_many_jobs_as_it_may_and_those_of_a_killed_one_go_to_the_other_at_once() {
    let stage = Stage::new(2, 2);
    let gate = stage.skep.root().join("gate");
    for number in 0..4 {
        stage.push(&format!("what=j{number}&until={}", gate.display()));
    }
    stage.push("what=fifth");
    let lines = stage.notes.wait("job", 4);
    assert_eq!(stage.counts(), [1, 0, 4, 0], "two a worker");
    assert!(lines.iter().all(|words| ["1", "2"].contains(&words[4].as_str())), "{lines:?}");
    let active = stage.json(&["queues", "peek", "pile", "active"]);
    let workers: std::collections::BTreeSet<&str> =
        active.as_array().expect("jobs").iter().filter_map(|job| job["worker"].as_str()).collect();
    assert_eq!(workers, ["app:0", "app:1"].into(), "{active}");

    // Visibility is 30 s, which nobody here waits for: the supervisor gives back what a dead worker had.
    let victim = &lines[0][1];
    process::kill(victim.parse().expect("a pid"));
    stage.skep.settled("app", 2);
    std::fs::write(&gate, "").expect("the folder is writable");
    let done = stage.notes.wait("done", 5);
    let again: Vec<_> = done.iter().filter(|words| words[3] == "2").collect();
    assert_eq!(again.len(), 2, "{done:?}");
    assert!(again.iter().all(|words| words[1] != *victim), "{done:?}");
    stage.wait_counts([0, 0, 0, 0]);
}

#[test]
fn durable_jobs_survive_a_reboot_each_that_was_not_acknowledged_comes_and_none_that_was_comes_again() {
    let stage = Stage::durable(2, 2);
    stage.push("what=fail");
    stage.push("what=done");
    stage.wait_counts([0, 0, 0, 1]);
    let gate = stage.skep.root().join("gate");
    for number in 0..4 {
        stage.push(&format!("what=held{number}&until={}", gate.display()));
    }
    stage.notes.wait("job", 7);
    stage.push("what=low");
    stage.push("what=high&priority=9");
    stage.push("what=late&delay=1h");
    stage.wait_counts([2, 1, 4, 1]);
    let described = stage.skep.ok(["queues", "describe", "pile"]);
    assert!(described.contains("durable") && described.contains("app:0"), "{described}");
    stage.skep.ok(["save"]);
    let before = stage.notes.all().len();

    stage.reboot();
    // The held ones first, in their second try, as nobody acknowledged them; then those that waited.
    std::fs::write(&gate, "").expect("the folder is writable");
    stage.wait_counts([0, 1, 0, 1]);
    let mut again: Vec<String> = stage.notes.all()[before..]
        .iter()
        .filter(|words| words[0] == "done")
        .map(|words| format!("{} {}", words[2], words[3]))
        .collect();
    again.sort();
    assert_eq!(again, ["held0 2", "held1 2", "held2 2", "held3 2", "high 1", "low 1"]);
    let dead = stage.json(&["queues", "peek", "pile", "dead"]);
    assert_eq!(dead[0]["data"]["what"], "fail", "{dead}");
    let late = stage.json(&["queues", "peek", "pile", "delayed"]);
    assert_eq!(late[0]["data"]["what"], "late", "{late}");
    let metrics = stage.skep.ok(["metrics"]);
    assert!(
        metrics.contains("skep_queue_jobs{queue=\"pile\",durable=\"true\",part=\"dead\"} 1"),
        "{metrics}"
    );
}

#[test]
fn a_durable_job_of_a_killed_worker_goes_to_another_at_once_and_a_backup_has_it() {
    let stage = Stage::durable(2, 1);
    let gate = stage.skep.root().join("gate");
    stage.push(&format!("what=held&until={}", gate.display()));
    let line = stage.notes.wait("job", 1).remove(0);
    let file = stage.skep.root().join("backup");
    stage.skep.ok([OsStr::new("state"), OsStr::new("backup"), file.as_os_str()]);
    // Visibility is 30 s, which nobody here waits for.
    process::kill(line[1].parse().expect("a pid"));
    let again = stage.notes.wait("job", 2).remove(1);
    assert_eq!((again[2].as_str(), again[3].as_str()), ("held", "2"));
    std::fs::write(&gate, "").expect("the folder is writable");
    stage.wait_counts([0, 0, 0, 0]);
    stage.skep.ok(["stop", "app"]);
    stage.skep.ok([OsStr::new("state"), OsStr::new("restore"), file.as_os_str()]);
    assert_eq!(stage.counts(), [0, 0, 1, 0], "as it was, until its time is over");
    let stats = stage.skep.ok(["state", "stats"]);
    assert!(stats.contains("durable queues") && stats.contains("home/queues"), "{stats}");
    let names = stage.skep.ok(["state", "ls"]);
    assert!(names.contains("durable queue"), "{names}");
}
