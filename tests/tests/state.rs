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

#[test]
fn the_command_line_looks_at_what_workers_share_and_changes_it() {
    let skep = Skep::new();
    skep.boot();
    let state = |args: &[&str]| skep.ok([&["state"], args].concat());
    assert_eq!(state(&["set", "times", "41"]), "41\n");
    assert_eq!(state(&["incr", "times"]), "42\n");
    assert_eq!(state(&["incr", "times", "-2"]), "40\n");
    assert_eq!(state(&["set", "sessions", "a", r#"{"user":"ann"}"#, "--ttl", "1h"]), "{\"user\":\"ann\"}\n");
    state(&["set", "sessions", "b", "plain text"]);
    assert_eq!(state(&["get", "sessions", "b"]), "\"plain text\"\n");
    state(&["set", "score", "ann", "5", "--kind", "leaderboard"]);
    state(&["incr", "score", "7", "--key", "bob"]);
    assert_eq!(state(&["get", "score"]), "rank  member  score\n   1  bob         7\n   2  ann         5\n");
    let names = state(&["ls", "--json"]);
    for name in [
        r#"{"kind":"counter","name":"times","value":40}"#,
        r#"{"kind":"map","name":"sessions","entries":2}"#,
        r#"{"kind":"leaderboard","name":"score","entries":2}"#,
    ] {
        assert!(names.contains(name), "{names}");
    }

    let backup = skep.root().join("backup");
    state(&["backup", backup.to_str().expect("UTF-8")]);
    assert_eq!(state(&["del", "sessions", "a", "nobody"]), "1\n");
    assert_eq!(state(&["del", "score"]), "2\n");
    assert_eq!(state(&["del", "times"]), "0\n");
    state(&["restore", backup.to_str().expect("UTF-8")]);
    assert_eq!(
        (state(&["get", "times"]).as_str(), state(&["get", "score", "bob"]).as_str()),
        ("40\n", "7\n")
    );

    for (args, code, words) in [
        (&["get", "nobody"][..], 3, "skep state ls"),
        (&["get", "sessions", "nobody"], 3, "no key"),
        (&["incr", "times", "0.5"], 1, "whole number"),
        (&["incr", "sessions"], 1, "map"),
        (&["set", "times", "many"], 1, "no number"),
        (&["set", "times", "1", "--ttl", "1h"], 1, "--ttl"),
        (&["restore", "/dev/null"], 1, "not a backup"),
        (&["backup", "/nowhere/at/all"], 1, "/nowhere/at/all"),
        (&["config", "max_size=1"], 1, "max_size"),
    ] {
        let outcome = skep.run([&["state"], args].concat());
        assert_eq!(outcome.code, Some(code), "{args:?}: {outcome:?}");
        assert!(outcome.stderr.contains(words), "{args:?}: {}", outcome.stderr);
    }
    assert_eq!(state(&["get", "times"]), "40\n", "nothing was changed by what was refused");
}

#[test]
fn who_holds_a_lock_and_who_waits_for_it_is_shown() {
    let stage = Stage::new("token/app.js", 2, &[("UPSTREAM", "http://127.0.0.1:1/".to_owned())]);
    let script = stage.skep.root().join("locks.js");
    let code =
        "require('skep').locks.request('report', () => new Promise(() => {})); setInterval(() => {}, 1e6)";
    std::fs::write(&script, code).expect("written");
    let start = Start::program("locks", script).instances(2).env("NODE_PATH", node_path(&stage.skep));
    stage.skep.start(&start);
    let locks = Deadline::until("one holds it and one waits", || {
        let locks: serde_json::Value =
            serde_json::from_str(&stage.skep.ok(["state", "locks", "--json"])).expect("JSON");
        (locks[0]["held"].as_array()?.len() == 1 && locks[0]["waiting"].as_array()?.len() == 1)
            .then_some(locks)
    });
    let holder = &locks[0]["held"][0];
    let pid = u32::try_from(holder["pid"].as_u64().expect("a pid")).expect("a pid is small");
    assert!(stage.skep.app("locks").pids().contains(&pid), "{locks}");
    assert!(holder["token"].as_u64().is_some() && locks[0]["waiting"][0]["app"].is_string(), "{locks}");
    let shown = stage.skep.ok(["state", "locks"]);
    assert!(shown.contains("report") && shown.contains("locks:0") && shown.contains("waits"), "{shown}");
    // Killed, it goes to the one that waited.
    process::kill(pid);
    Deadline::until("the other has it", || {
        let locks: serde_json::Value =
            serde_json::from_str(&stage.skep.ok(["state", "locks", "--json"])).expect("JSON");
        (locks[0]["held"][0]["pid"].as_u64()? != u64::from(pid)).then_some(())
    });
}

#[test]
fn a_saved_state_outlives_the_machines_memory() {
    let skep = Skep::new();
    skep.boot();
    skep.ok(["state", "config", "save=1s", "max_size=8M"]);
    skep.ok(["state", "set", "times", "7"]);
    let stats = |skep: &Skep| -> serde_json::Value {
        serde_json::from_str(&skep.ok(["state", "stats", "--json"])).expect("JSON")
    };
    let dir = PathBuf::from(stats(&skep)["dir"].as_str().expect("a path"));
    let copy = skep.home().join("shared.backup");
    Deadline::until("a copy is written", || copy.exists().then_some(()));
    skep.ok(["state", "incr", "times"]);
    skep.ok(["kill"]);
    // As a reboot does.
    std::fs::remove_dir_all(&dir).expect("removed");
    skep.boot();
    assert_eq!(skep.ok(["state", "get", "times"]), "8\n");
    assert_eq!(stats(&skep)["data_bytes_max"], 8 << 20);
}

#[test]
fn a_store_that_is_left_behind_is_told_and_can_be_taken_along() {
    let skep = Skep::new();
    skep.boot();
    let place = |name: &str| format!("dir={}", skep.root().join(name).display());
    let moved = skep.run(["state", "config", &place("first")]);
    assert_eq!((moved.code, moved.stderr.as_str()), (Some(0), ""), "there was nothing in it");
    skep.ok(["state", "set", "times", "7"]);
    let moved = skep.run(["state", "config", &place("second")]);
    assert!(
        moved.stderr.contains("first with its data") && moved.stderr.contains("skep state restore"),
        "{moved:?}"
    );
    assert_eq!(skep.run(["state", "get", "times"]).code, Some(3));
    // As it says.
    let file = skep.root().join("backup").display().to_string();
    skep.ok(["state", "config", &place("first")]);
    skep.ok(["state", "backup", &file]);
    skep.ok(["state", "config", &place("second")]);
    skep.ok(["state", "restore", &file]);
    assert_eq!(skep.ok(["state", "get", "times"]), "7\n");
}

#[test]
fn where_there_can_be_no_state_apps_run_and_are_told_why() {
    let skep = Skep::new();
    skep.boot();
    let foreign = skep.root().join("foreign");
    std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700)
        .create(&foreign)
        .expect("made");
    std::fs::write(foreign.join("data.mdb"), "somebody's").expect("written");
    skep.ok(["state", "config", &format!("dir={}", foreign.display())]);
    let script = skep.root().join("asks.js");
    let code = "require('http').createServer((request, response) => {
        try { require('skep').counter('x').add(1) } catch (error) { response.end(error.code + ' ' + error.message) }
    }).listen(process.env.PORT)";
    std::fs::write(&script, code).expect("written");
    let port = Port::free();
    skep.start(&Start::program("asks", script).port(port.number()).env("NODE_PATH", node_path(&skep)));
    let answer = http::get(port.address(), "/").expect("it serves").body;
    assert!(answer.starts_with("ERR_SKEP_STATE") && answer.contains("not a skep store"), "{answer}");
    assert_eq!(skep.run(["state", "ls"]).code, Some(1));
    assert!(skep.ok(["daemon", "status"]).contains("no shared state"));
    assert_eq!(std::fs::read_to_string(foreign.join("data.mdb")).expect("read"), "somebody's");
}
