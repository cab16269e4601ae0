//! Queues between real workers, and `skep queues`.

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
        let (skep, port) = (Skep::new(), Port::free());
        let notes = Notes::new(skep.root(), "notes");
        let start = Start::program("app", fixture("pile.js"))
            .instances(workers)
            .port(port.number())
            .env("NODE_PATH", skep.with_package())
            .env("NOTES", notes.path())
            .env("CONCURRENCY", concurrency.to_string())
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
    assert!(metrics.contains("skep_queue_jobs{queue=\"pile\",part=\"dead\"} 0"), "{metrics}");
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
