//! `skep state watch`: what workers change is shown as it changes.
//!
//! That nothing is looked for again and again does not show in a test without a clock, but this does: each of many changes is
//! waited for before the next is made, and a watcher that only looks now and then (every 5 s) would take longer than one
//! wait may.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};

use skep_tests::{Deadline, LIMIT, Port, Skep, Start, fixture, http, process};

/// More than the slow looks that fit into [`LIMIT`].
const CHANGES: usize = 12;

/// `skep state watch` at work; killed when dropped.
struct Watch {
    child: Child,
    lines: Receiver<String>,
}

impl Watch {
    fn start(skep: &Skep, args: &[&str]) -> Self {
        let mut command = skep.command([&["state", "watch"], args].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("skep runs");
        let (sender, lines) = channel();
        let (out, err) = (child.stdout.take().expect("a pipe"), child.stderr.take().expect("a pipe"));
        let read = |pipe: Box<dyn std::io::Read + Send>| {
            let sender = sender.clone();
            // The end of the program ends the thread.
            std::thread::spawn(move || {
                BufReader::new(pipe).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
            });
        };
        read(Box::new(out));
        read(Box::new(err));
        Self { child, lines }
    }

    /// The next line.
    #[track_caller]
    fn next(&self, deadline: Deadline) -> String {
        self.lines.recv_timeout(deadline.left()).expect("it shows something before the limit")
    }

    /// Waits for a line; how many came before it.
    #[track_caller]
    fn until(&self, wanted: &str, deadline: Deadline) -> usize {
        let mut others = 0;
        while self.next(deadline) != wanted {
            others += 1;
        }
        others
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The app `changes.js` on two workers.
struct Stage {
    skep: Skep,
    port: Port,
}

impl Stage {
    fn new() -> Self {
        let stage = Self { skep: Skep::new(), port: Port::free() };
        let start = Start::program("app", fixture("changes.js"))
            .instances(2)
            .port(stage.port.number())
            .env("NODE_PATH", stage.skep.with_package());
        stage.skep.start(&start);
        stage
    }

    #[track_caller]
    fn change(&self, path: &str) {
        let answer =
            http::get(self.port.address(), path).unwrap_or_else(|error| panic!("GET {path}: {error}"));
        assert_eq!(answer.body, "done");
    }
}

#[test]
fn each_increment_of_a_counter_by_a_worker_is_shown_as_it_comes() {
    let stage = Stage::new();
    let deadline = Deadline::after(LIMIT);
    let watch = Watch::start(&stage.skep, &["times"]);
    assert_eq!(watch.next(deadline), "0");
    for times in 1..=CHANGES {
        stage.change("/counter");
        assert_eq!(watch.next(deadline), times.to_string());
    }
    let others = Watch::start(&stage.skep, &["times", "--json"]);
    assert!(others.next(deadline).contains(r#""value":12"#));
    stage.skep.ok(["state", "set", "times", "100"]);
    assert_eq!(watch.next(deadline), "100");
    assert!(others.next(deadline).contains(r#""value":100"#), "whoever else watches sees it, too");
}

#[test]
fn what_is_not_there_yet_is_waited_for_and_keys_and_scores_are_shown_as_counters_are() {
    let stage = Stage::new();
    let deadline = Deadline::after(LIMIT);
    let seat = Watch::start(&stage.skep, &["seats", "a"]);
    assert!(seat.next(deadline).contains("seats is not there"));
    let score = Watch::start(&stage.skep, &["score", "ann"]);
    assert!(score.next(deadline).contains("score is not there"));
    for round in 1..=CHANGES {
        stage.change("/leaderboard");
        assert_eq!(score.next(deadline), round.to_string());
        stage.skep.ok(["state", "set", "seats", "a", &format!("\"guest {round}\"")]);
        assert_eq!(seat.next(deadline), format!("\"guest {round}\""));
    }
    stage.skep.ok(["state", "del", "seats", "a"]);
    assert!(seat.next(deadline).contains("seats is not there"));
    stage.skep.ok(["state", "set", "seats", "a", "1", "--ttl", "100ms"]);
    seat.until("1", deadline);
    assert!(
        seat.next(deadline).contains("seats is not there"),
        "its time was over, and nobody changed anything"
    );
}

#[test]
fn what_a_redis_client_changes_is_shown() {
    let skep = Skep::new();
    skep.start(&Start::fixture("app", "http.cjs").port(Port::free().number()));
    let deadline = Deadline::after(LIMIT);
    let mut client = BufReader::new(UnixStream::connect(skep.home().join("redis.sock")).expect("a door"));
    let mut ask = |line: &str| {
        write!(client.get_mut(), "{line}\r\n").expect("it is taken");
        let mut answer = String::new();
        client.read_line(&mut answer).expect("an answer");
        assert!(!answer.starts_with('-'), "{line}: {answer}");
    };
    ask("SET hits 0");
    let (hits, line) = (Watch::start(&skep, &["db0", "hits"]), Watch::start(&skep, &["db0", "line"]));
    assert_eq!(hits.next(deadline), "\"0\"");
    assert!(line.next(deadline).contains("is not there"));
    for round in 1..=CHANGES {
        ask("INCR hits");
        assert_eq!(hits.next(deadline), format!("\"{round}\""));
    }
    ask("RPUSH line a b");
    assert_eq!(line.next(deadline), r#"["a","b"]"#);
    ask("LPOP line");
    assert_eq!(line.next(deadline), r#"["b"]"#);
    ask("LPOP line");
    assert!(line.next(deadline).contains("is not there"));
}

#[test]
fn a_flood_of_changes_is_shown_now_and_then_and_its_end_for_certain() {
    const FLOOD: usize = 5_000;
    let stage = Stage::new();
    let deadline = Deadline::after(LIMIT);
    let watch = Watch::start(&stage.skep, &["seats", "a"]);
    watch.next(deadline);
    stage.change(&format!("/map?by={FLOOD}"));
    let between = watch.until(&FLOOD.to_string(), deadline);
    assert!(between < FLOOD / 4, "{between} of {FLOOD} changes were shown");
}

#[test]
fn a_watcher_outlives_the_daemon_and_goes_on_with_the_next_one() {
    let stage = Stage::new();
    let deadline = Deadline::after(LIMIT);
    let watch = Watch::start(&stage.skep, &["times"]);
    assert_eq!(watch.next(deadline), "0");
    for round in 1..=3_usize {
        let old = stage.skep.daemon();
        process::kill(old.pid);
        // Nobody hears of this one while it is made.
        stage.change("/counter");
        watch.until(&(round * 2 - 1).to_string(), deadline);
        stage.change("/counter");
        watch.until(&(round * 2).to_string(), deadline);
    }
}

#[test]
fn a_watcher_that_was_killed_leaves_nobody_who_is_told() {
    let stage = Stage::new();
    let deadline = Deadline::after(LIMIT);
    let watch = Watch::start(&stage.skep, &["times"]);
    assert_eq!(watch.next(deadline), "0");
    let told = || stage.skep.api("/v1/state/stats")["wakes"].as_u64().expect("a number");
    // Of three changes in a row, each told before the next.
    let is_told = || {
        let before = told();
        (0..3).for_each(|_| {
            stage.change("/leaderboard");
            told();
        });
        told() > before
    };
    assert!(is_told(), "somebody watches, if something else");
    drop(watch);
    Deadline::until("it was noticed that the watcher has gone", || (!is_told()).then_some(()));
}

#[test]
fn what_cannot_be_watched_is_refused_with_a_hint() {
    let stage = Stage::new();
    stage.skep.ok(["state", "set", "times", "k", "v", "--kind", "map"]);
    let refused = stage.skep.err(["state", "watch", "times"]);
    assert!(refused.contains("more than one thing") && refused.contains("--kind"), "{refused}");
}
