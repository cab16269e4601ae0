//! Jobs on real workers: at most one start a fire time whatever is killed, lost runs that are called lost, commands that
//! outlive the daemon, requests, and what people may do with jobs.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use skep_tests::{Deadline, Notes, Port, Skep, fixture, http, node, process};

/// An app with jobs, and the file that its runs write to.
struct Stage {
    skep: Skep,
    runs: Notes,
    _port: Port,
}

impl Stage {
    fn new(workers: u32, schedules: &Value, env: &[(&str, &str)]) -> Self {
        let (skep, port) = (Skep::new(), Port::free());
        skep.boot();
        let runs = Notes::new(skep.root(), "runs");
        skep.with_package();
        let script = skep.root().join("jobs.js");
        std::fs::copy(fixture("jobs.js"), &script).expect("the fixture is there");
        let mut variables =
            json!({ "RUNS": runs.path(), "PORT": port.number().to_string(), "PATH": "/usr/bin:/bin" });
        for (name, value) in env {
            variables[*name] = json!(value);
        }
        let spec = json!({
            "name": "app", "script": script, "interpreter": node(22).bin.join("node"), "cwd": skep.root(),
            "instances": workers, "env": variables, "schedules": schedules,
            // Under load a worker needs longer than three seconds to begin.
            "listen_timeout": "60s",
        });
        let answer =
            http::post_unix(&skep.socket(), "/v1/apps", &json!({ "spec": spec })).expect("skep answers");
        assert!(answer.body.contains("\"done\""), "{}", answer.body);
        let stage = Self { skep, runs, _port: port };
        stage.skep.settled("app", workers as usize);
        stage
    }

    fn json(&self, args: &[&str]) -> Value {
        let text = self.skep.ok(args.iter().copied().chain(["--json"]));
        serde_json::from_str(&text).expect("it is JSON")
    }

    fn history(&self, job: &str) -> Vec<Value> {
        let runs = self.json(&["jobs", "history", job, "-n", "1000"]);
        runs.as_array().expect("a list").clone()
    }

    /// Waits until the newest run of a job has come to this end.
    fn wait_end(&self, job: &str, status: &str) -> Value {
        Deadline::until(&format!("{job} {status}"), || {
            self.history(job).into_iter().find(|run| run["status"] == status)
        })
    }

    /// Waits until a job is there: workers register theirs after they listen.
    fn wait_job(&self, job: &str) {
        Deadline::until(&format!("the job {job}"), || {
            let jobs = self.json(&["jobs", "ls"]);
            jobs.as_array().expect("a list").iter().any(|view| view["name"] == job).then_some(())
        });
    }

    fn kill_daemon(&self) {
        let daemon = self.skep.daemon().pid;
        process::kill(daemon);
        process::wait_gone(daemon);
    }
}

#[test]
fn no_fire_time_is_run_twice_or_forgotten_while_the_daemon_and_workers_are_killed() {
    let stage = Stage::new(2, &json!({}), &[]);
    stage.runs.wait("tick", 2);
    for round in 0..3 {
        stage.kill_daemon();
        let before = stage.runs.lines("tick").len();
        stage.runs.wait("tick", before + 2);
        if round == 1 {
            stage.skep.crash("app", 0);
        }
    }
    stage.skep.ok(["jobs", "pause", "tick"]);
    Deadline::until("all runs at their end", || {
        stage.history("tick").iter().all(|run| run["status"] != "started").then_some(())
    });

    let lines = stage.runs.lines("tick");
    let times: Vec<u64> = lines.iter().map(|words| words[1].parse().expect("a number")).collect();
    let distinct: BTreeSet<u64> = times.iter().copied().collect();
    assert_eq!(distinct.len(), times.len(), "a fire time ran twice: {times:?}");
    let tokens: BTreeSet<u64> = lines.iter().map(|words| words[2].parse().expect("a number")).collect();
    assert_eq!(tokens.len(), lines.len(), "a fencing token was given twice");

    // Every second from the first to the last has its line, and what it says is what happened.
    let history = stage.history("tick");
    let number = |run: &Value, field: &str| run[field].as_u64();
    let spans: Vec<(u64, u64)> = history
        .iter()
        .map(|run| {
            let at = number(run, "scheduled_unix_ms").expect("a time");
            (number(run, "since_unix_ms").unwrap_or(at), at)
        })
        .collect();
    let (first, last) = (times.iter().min().expect("some"), times.iter().max().expect("some"));
    for time in (*first..=*last).step_by(1_000) {
        assert!(
            spans.iter().any(|(from, to)| (*from..=*to).contains(&time)),
            "{time} is forgotten: {spans:?}"
        );
    }
    for run in history.iter().filter(|run| run["status"] == "succeeded") {
        let time = number(run, "scheduled_unix_ms").expect("a time");
        assert!(distinct.contains(&time), "{time} is said to have run and did not");
    }
}

#[test]
fn a_run_whose_worker_is_killed_is_called_lost_and_run_again_only_where_that_is_wanted() {
    let stage = Stage::new(2, &json!({}), &[]);
    for (job, again) in [("stuck", false), ("again", true)] {
        stage.wait_job(job);
        stage.skep.ok(["jobs", "run", job]);
        let pid: u32 = stage.runs.wait(job, 1)[0][3].parse().expect("a pid");
        process::kill(pid);
        let lost = stage.wait_end(job, "lost");
        assert_eq!(lost["attempt"], 1);
        if again {
            let first = &stage.runs.lines("again")[0];
            let done = &stage.runs.wait("again-done", 1)[0];
            assert_eq!(done[1], first[1], "the idempotency key stays the same");
            let token = |words: &[String]| words[2].parse::<u64>().expect("a number");
            assert!(token(done) > token(first), "the fencing token rises");
            assert_eq!(stage.wait_end(job, "succeeded")["attempt"], 2);
        }
        stage.skep.settled("app", 2);
    }
    assert_eq!(stage.runs.lines("stuck").len(), 1);
}

#[test]
fn a_run_that_takes_too_long_is_ended_and_one_that_is_cancelled_is_called_so() {
    let stage = Stage::new(1, &json!({}), &[]);
    stage.wait_job("short");
    stage.skep.ok(["jobs", "run", "short"]);
    let run = stage.wait_end("short", "failed");
    assert!(run["why"].as_str().expect("a reason").contains("timeout"), "{run}");
    stage.skep.ok(["jobs", "run", "stuck"]);
    stage.runs.wait("stuck", 1);
    stage.skep.ok(["jobs", "cancel", "stuck"]);
    stage.wait_end("stuck", "cancelled");
}

#[test]
fn commands_are_retried_their_output_is_kept_and_they_outlive_the_daemon() {
    let schedules = json!({
        "echo": { "cron": "0 0 1 1 *", "command": "echo $SKEP_JOB $SKEP_RUN_ID $WORD; echo problem >&2", "env": { "WORD": "hello" } },
        "fail": { "cron": "0 0 1 1 *", "command": "exit 3", "retries": 1, "backoff": "100ms" },
        "long": { "cron": "0 0 1 1 *", "command": "echo begun; echo $$ >> pid; while ! [ -e go ]; do sleep 0.05; done; echo ended" },
        "fn": { "cron": "0 0 1 1 *", "function": "declared" },
        "web": { "cron": "0 0 1 1 *", "http": "/task" },
    });
    let stage = Stage::new(1, &schedules, &[]);
    stage.skep.ok(["jobs", "run", "echo"]);
    let run = stage.wait_end("echo", "succeeded");
    let said = Deadline::until("its output", || {
        Some(stage.skep.ok(["jobs", "logs", "echo"])).filter(|text| text.contains("problem"))
    });
    assert_eq!(said, format!("echo {} hello\nproblem\n", run["id"].as_str().expect("an id")));

    stage.skep.ok(["jobs", "run", "fail"]);
    Deadline::until("two failures", || {
        let failed = stage.history("fail").iter().filter(|run| run["status"] == "failed").count();
        (failed == 2).then_some(())
    });
    assert_eq!(stage.history("fail")[0]["result"], "exit code 3");

    stage.skep.ok(["jobs", "run", "long"]);
    let pids = || std::fs::read_to_string(stage.skep.root().join("pid")).unwrap_or_default();
    let pid = Deadline::until("the command", || pids().trim().parse::<u32>().ok());
    stage.kill_daemon();
    stage.kill_daemon();
    assert!(process::is_alive(pid), "it outlives the daemon");
    std::fs::write(stage.skep.root().join("go"), "").expect("the folder is writable");
    stage.wait_end("long", "succeeded");
    let said = Deadline::until("all of its output", || {
        Some(stage.skep.ok(["jobs", "logs", "long"])).filter(|text| text.contains("ended"))
    });
    assert_eq!(said, "begun\nended\n");
    assert_eq!(pids().lines().count(), 1, "it was started once");

    stage.skep.ok(["jobs", "run", "fn"]);
    assert_eq!(stage.wait_end("fn", "succeeded")["result"], "\"declared\"");
    stage.skep.ok(["jobs", "run", "web"]);
    let run = stage.wait_end("web", "succeeded");
    assert_eq!(run["result"], "ok");
    assert_eq!(stage.runs.lines("post"), [["post", "/task", run["id"].as_str().expect("an id")]]);
}

#[test]
fn a_paused_job_does_not_fire_until_it_is_resumed_and_unknown_ones_are_a_clear_error() {
    let stage = Stage::new(1, &json!({}), &[]);
    stage.runs.wait("tick", 1);
    stage.skep.ok(["jobs", "pause", "app/tick"]);
    stage.kill_daemon();
    assert_eq!(stage.json(&["jobs", "describe", "tick"])["state"], "paused", "it survives the daemon");
    assert_eq!(stage.json(&["jobs", "describe", "tick"])["next_unix_ms"], Value::Null);
    stage.skep.ok(["jobs", "resume", "tick"]);
    let before = stage.runs.lines("tick").len();
    stage.runs.wait("tick", before + 1);
    let complaint = stage.skep.err(["jobs", "run", "tack"]);
    assert!(complaint.contains("there is no job tack") && complaint.contains("app/tick"), "{complaint}");
    stage.skep.ok(["stop", "app"]);
    assert_eq!(stage.json(&["jobs", "describe", "tick"])["state"], "unregistered");
    stage.skep.ok(["delete", "app"]);
    assert_eq!(stage.json(&["jobs", "ls"]), json!([]));
}
