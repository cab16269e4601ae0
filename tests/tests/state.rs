//! The stories of shared state, as users tell them: the examples under skep, on several workers, under load, with the
//! daemon and workers SIGKILLed in the middle.

mod upstream;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use skep_tests::{App, Deadline, Port, Skep, Start, http, node, process, root};
use upstream::{Mood, Upstream};

/// Rounds of the token story; `SKEP_TEST_ROUNDS=1000` for a soak.
fn rounds() -> u64 {
    std::env::var("SKEP_TEST_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(40)
}

/// An example under skep.
struct Stage {
    skep: Skep,
    port: Port,
    workers: usize,
}

impl Stage {
    fn new(example: &str, workers: usize, env: &[(&str, String)]) -> Self {
        let stage = Self { skep: Skep::new(), port: Port::free(), workers };
        let file = root().join("examples").join(example);
        let mut start = Start::program("app", file)
            .instances(workers)
            .port(stage.port.number())
            .env("NODE_PATH", node_path(&stage.skep));
        for (name, value) in env {
            start = start.env(name, value);
        }
        stage.skep.start(&start);
        stage
    }

    #[track_caller]
    fn get(&self, path: &str) -> http::Answer {
        http::get(self.port.address(), path).unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// `count` requests, `width` at a time, each on a connection of its own.
    fn many(&self, count: usize, width: usize, ask: impl Fn(usize) + Sync) {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..width {
                scope.spawn(|| {
                    while let Some(number) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|n| *n < count)
                    {
                        ask(number);
                    }
                });
            }
        });
    }

    /// Asks until each worker has answered; all answers.
    fn ask_all(&self, path: &str) -> BTreeSet<String> {
        let mut workers = BTreeSet::new();
        let mut answers = BTreeSet::new();
        Deadline::until("every worker answers", || {
            let answer = self.get(path);
            workers.insert(answer.header("worker").expect("the example says who it is").to_owned());
            answers.insert(answer.body);
            (workers.len() == self.workers).then_some(())
        });
        answers
    }

    fn kill_daemon(&self) {
        let old = self.skep.daemon();
        process::kill(old.pid);
        Deadline::until("the daemon is back", || Some(self.skep.daemon()).filter(|new| new.pid != old.pid));
    }

    fn pid_of(&self, worker: u32) -> u32 {
        let app: App = self.skep.app("app");
        let slot = app.slots.iter().find(|slot| slot.worker == Some(worker));
        slot.and_then(|slot| slot.pid).expect("the worker lives")
    }
}

/// Where the examples find `skep`, and what the package's own tests use.
fn node_path(skep: &Skep) -> std::ffi::OsString {
    let package = root().join("npm/skep");
    let modules = skep.root().join("modules");
    std::fs::create_dir_all(&modules).expect("the folder is writable");
    let link = modules.join("skep");
    if !link.exists() {
        std::os::unix::fs::symlink(&package, link).expect("a link can be made");
    }
    let built = std::fs::read_dir(package.join("native")).is_ok_and(|mut files| files.next().is_some());
    assert!(built, "the add-on is missing: run `cargo xtask test node` or `node npm/skep/build.cjs` first");
    let both: [PathBuf; 2] = [modules, package.join("node_modules")];
    std::env::join_paths(both).expect("no colon in these paths")
}

#[test]
fn a_thousand_increments_by_fifty_clients_are_a_thousand_for_every_worker() {
    let stage = Stage::new("counter/app.js", 4, &[]);
    stage.many(1000, 50, |number| {
        if number == 300 {
            stage.kill_daemon();
        }
        stage.get("/inc");
    });
    assert_eq!(stage.ask_all("/"), BTreeSet::from(["1000".to_owned()]));
    // What is shared outlives the workers: all of them, and skep itself.
    stage.skep.crash("app", 1);
    stage.skep.ok(["kill"]);
    stage.skep.ok(["resurrect"]);
    stage.skep.settled("app", 4);
    assert_eq!(stage.ask_all("/"), BTreeSet::from(["1000".to_owned()]));
}

#[test]
fn a_token_is_fetched_once_a_round_and_everybody_gets_the_valid_one() {
    let upstream = Upstream::start();
    let env = [("UPSTREAM", format!("http://{}/", upstream.address))];
    let stage = Stage::new("token/app.js", 8, &env);
    for round in 1..=rounds() {
        stage.many(16, 16, |number| {
            if number == 8 && round == 10 {
                stage.kill_daemon();
            }
            let token = stage.get("/").body;
            assert_eq!(token, format!("token-{round}"));
        });
        assert_eq!(upstream.calls(), round);
        stage.get("/forget");
    }
}

#[test]
fn when_the_fetching_worker_is_killed_another_takes_over_at_once() {
    let upstream = Upstream::start();
    // The lease alone would hold everybody for a minute.
    let env = [("UPSTREAM", format!("http://{}/", upstream.address)), ("TIMEOUT", "60s".to_owned())];
    let stage = Stage::new("token/app.js", 4, &env);
    upstream.feel(Mood::Silent);
    let callers = upstream.callers();
    let lost = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| match http::get(stage.port.address(), "/") {
                Ok(answer) => assert_eq!(answer.body, "token-2", "{answer:?}"),
                // It was with the worker that was killed.
                Err(_) => drop(lost.fetch_add(1, Ordering::Relaxed)),
            });
        }
        let fetching = callers.recv().expect("somebody fetches");
        upstream.feel(Mood::Well);
        process::kill(stage.pid_of(fetching));
    });
    assert_eq!(upstream.calls(), 2);
    assert!(lost.into_inner() < 16, "somebody was served");
}

#[test]
fn a_failing_or_silent_upstream_is_an_error_for_all_and_for_nobody_for_ever() {
    let upstream = Upstream::start();
    let env = [("UPSTREAM", format!("http://{}/", upstream.address)), ("TIMEOUT", "1s".to_owned())];
    let stage = Stage::new("token/app.js", 4, &env);
    for mood in [Mood::Failing, Mood::Silent] {
        upstream.feel(mood);
        stage.many(8, 8, |_| assert_eq!(stage.get("/").status, 502));
    }
    upstream.feel(Mood::Well);
    assert_eq!(stage.get("/").body, upstream.valid());
}

#[test]
fn a_session_is_found_by_whichever_worker_gets_the_request() {
    let stage = Stage::new("session/app.js", 4, &[]);
    stage.many(8, 4, |user| {
        let login = stage.get(&format!("/login?user=u{user}"));
        let cookie = login.header("set-cookie").and_then(|cookie| cookie.split(';').next());
        let cookie = format!("Cookie: {}\r\n", cookie.expect("a session has a cookie"));
        let mut workers = BTreeSet::new();
        for visit in 1.. {
            if user == 0 && visit == 3 {
                stage.kill_daemon();
            }
            let me = http::get_with(stage.port.address(), "/me", &cookie).expect("it answers");
            assert_eq!(me.json(), serde_json::json!({"user": format!("u{user}"), "visits": visit}));
            workers.insert(me.header("worker").map(str::to_owned));
            if workers.len() == 4 {
                break;
            }
        }
    });
}

#[test]
fn a_leaderboard_of_a_hundred_thousand_is_one_for_all_workers() {
    let stage = Stage::new("leaderboard/app.js", 4, &[]);
    stage.many(20, 8, |part| {
        if part == 10 {
            stage.kill_daemon();
        }
        let filled = stage.get(&format!("/fill?from={}&to={}", part * 5_000, (part + 1) * 5_000));
        assert_eq!(filled.body, "5000");
    });
    let place = |rank: usize| {
        let number = 100_000 - rank;
        format!(r#"{{"member":"m{number}","score":{number},"rank":{rank}}}"#)
    };
    let top = (1..=10).map(place).collect::<Vec<_>>().join(",");
    assert_eq!(stage.ask_all("/top"), BTreeSet::from([format!("[{top}]")]));
    assert_eq!(stage.ask_all("/rank?member=m0"), BTreeSet::from(["100000".to_owned()]));
}

#[test]
fn a_chat_reaches_the_clients_of_all_workers() {
    for (example, client) in [("chat/app.js", "chat.js"), ("chat/socketio.js", "chat-socketio.js")] {
        let stage = Stage::new(example, 4, &[]);
        let output = Command::new(node(22).bin.join("node"))
            .arg(root().join("tests/fixtures/clients").join(client))
            .arg(stage.port.number().to_string())
            .env("NODE_PATH", node_path(&stage.skep))
            .output()
            .expect("node runs");
        assert!(output.status.success(), "{example}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
