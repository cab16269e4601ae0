//! Nothing is dropped by what nobody wanted: a worker, the daemon or the keeper SIGKILLed, the daemon stopped.

use std::collections::BTreeSet;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use skep_tests::strict::{self, Mode, Plan, Report, Running, Think};
use skep_tests::{Deadline, LIMIT, Port, Skep, Start, process};

const THINKING: Mode = Mode::KeepAlive(Think { min: Duration::ZERO, max: Duration::from_millis(10) });

/// So many events a reload of two workers has at least.
const EVENTS_OF_A_RELOAD: usize = 8;

/// Kills a test; `SKEP_TEST_KILLS=50` for a soak.
fn kills() -> usize {
    std::env::var("SKEP_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(8)
}

/// Two workers of a plain Node server under load.
struct Stage {
    skep: Skep,
    port: Port,
}

impl Stage {
    fn new(flags: &[&str]) -> Self {
        let stage = Self { skep: Skep::new(), port: Port::free() };
        stage
            .skep
            .start(&Start::fixture("app", "http.cjs").port(stage.port.number()).instances(2).flags(flags));
        stage
    }

    fn load(&self) -> Vec<Running> {
        let start = |mode, clients| {
            let running =
                strict::start(Plan::get(self.port.address(), mode, clients)).expect("the client starts");
            running.wait_for_more(20, LIMIT);
            running
        };
        vec![start(Mode::Short(Think::NONE), 2), start(THINKING, 8)]
    }

    /// SIGKILLs the daemon and waits for its successor.
    fn kill_daemon(&self) {
        let old = self.skep.daemon();
        process::kill(old.pid);
        let new = Deadline::until("the daemon is back", || {
            Some(self.skep.daemon()).filter(|new| new.pid != old.pid)
        });
        assert_eq!(new.keeper_pid, old.keeper_pid);
    }

    /// SIGKILLs the keeper and waits for its successor.
    fn kill_keeper(&self) {
        let old = self.skep.daemon();
        process::kill(old.keeper_pid);
        Deadline::until("another keeper is there", || {
            let daemon = skep_tests::http::get_unix(&self.skep.socket(), "/v1/daemon").ok()?.json();
            (daemon["keeper_pid"] != old.keeper_pid).then_some(())
        });
    }

    fn begin(&self, args: &[&str]) -> Child {
        self.skep.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("skep runs")
    }

    /// The workers' processes, from outside: the daemon may not answer.
    fn skep_pids(&self) -> Vec<u32> {
        let is_worker = |pid: &u32| process::command_line(*pid).contains("http.cjs");
        self.skep.processes().into_iter().filter(is_worker).collect()
    }

    /// No worker beside those that the API knows.
    fn check_none_doubled(&self) {
        let known = self.skep.app("app").pids();
        let mut alive = self.skep_pids();
        let mut wanted = known.clone();
        alive.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(alive, wanted);
    }
}

#[track_caller]
fn finish(load: Vec<Running>) {
    for running in &load {
        running.wait_for_more(20, LIMIT);
    }
    let reports: Vec<Report> = load.into_iter().map(Running::stop).collect();
    for report in reports {
        println!("{report}");
        assert_eq!(report.failures(), 0, "{report}");
    }
}

#[track_caller]
fn check_succeeds(command: Child) {
    let output = command.wait_with_output().expect("skep ends");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn the_daemon_killed_again_and_again_drops_nothing_and_no_worker_notices() {
    for flags in [&[][..], &["--balance", "shared"]] {
        let stage = Stage::new(flags);
        let before = stage.skep.app("app");
        let load = stage.load();
        for _ in 0..kills() {
            stage.kill_daemon();
        }
        let after = stage.skep.settled("app", 2);
        assert_eq!((after.pids(), after.restarts()), (before.pids(), 0));
        stage.check_none_doubled();
        finish(load);
        // And it still does its work.
        stage.skep.crash("app", 0);
        stage.skep.ok(["reload", "app"]);
    }
}

#[test]
fn a_worker_that_dies_while_no_daemon_lives_is_replaced() {
    let stage = Stage::new(&[]);
    let before = stage.skep.app("app");
    let victim = before.pids()[0];
    process::kill(stage.skep.daemon().pid);
    process::kill(victim);
    let after =
        stage.skep.wait("app", "a successor", |app| app.is_settled(2) && !app.pids().contains(&victim));
    assert_eq!(after.pids()[1], before.pids()[1]);
    stage.check_none_doubled();
}

#[test]
fn no_line_is_lost_or_doubled_however_often_daemon_and_keeper_are_killed() {
    let stage = Stage { skep: Skep::new(), port: Port::free() };
    // Counts until it is told to stop, and says when it did.
    let (stop, script) = (stage.skep.root().join("stop"), stage.skep.root().join("count.sh"));
    let text = "i=0; while [ ! -e \"$STOP\" ]; do i=$((i+1)); echo \"line $i\"; sleep 0.001; done; echo \"last $i\"; exec sleep 1000\n";
    std::fs::write(&script, text).expect("the folder is writable");
    let flags = ["--interpreter", "/bin/sh", "--listen-timeout", "20"];
    stage.skep.start(&Start::program("counter", script).env("STOP", &stop).flags(flags));
    for turn in 0..kills() {
        if turn % 3 == 2 { stage.kill_keeper() } else { stage.kill_daemon() }
    }
    std::fs::write(&stop, "").expect("the folder is writable");
    // Rotated files have other names: all that there is of it, the oldest first.
    let text = Deadline::until("the last line is in its file", || {
        let output = stage.skep.run(["logs", "counter", "--out", "--lines", "1", "--raw"]);
        let count: u64 = output.stdout.lines().last()?.strip_prefix("last ")?.parse().ok()?;
        Some(count)
    });
    let lines = stage.skep.run(["logs", "counter", "--out", "--lines", "1000000", "--raw"]).ok();
    let mut numbers = lines.lines().filter_map(|line| line.strip_prefix("line ")?.parse::<u64>().ok());
    let first = numbers.next().expect("there are lines");
    let next = numbers.try_fold(first, |before, number| (number == before + 1).then_some(number));
    assert_eq!(next, Some(text), "every line once and in order, from {first} on");
}

#[test]
fn a_stopped_daemon_does_not_disturb_the_traffic() {
    let stage = Stage::new(&[]);
    let load = stage.load();
    let daemon = stage.skep.daemon().pid;
    process::signal(daemon, Signal::STOP).expect("it lives");
    let mut reload = stage.begin(&["reload", "app"]);
    for running in &load {
        running.wait_for_more(500, LIMIT);
    }
    assert!(reload.try_wait().expect("it is our child").is_none(), "the command waits");
    let before = stage.skep_pids();
    process::signal(daemon, Signal::CONT).expect("it lives");
    check_succeeds(reload);
    let after = stage.skep.settled("app", 2).pids();
    assert!(after.iter().all(|pid| !before.contains(pid)), "what was typed meanwhile was done");
    finish(load);
    assert_eq!(stage.skep.daemon().pid, daemon);
}

/// Each worker is killed twice. One request a connection that was inside a dead worker may be lost, and no other one.
fn check_killed_workers(start: &Start, port: &Port, instances: usize) {
    let skep = Skep::new();
    skep.start(&start.clone().port(port.number()).instances(instances));
    let plan = |mode, clients| Plan::get(port.address(), mode, clients);
    let plans = [plan(Mode::Short(Think::NONE), 2), plan(THINKING, 8), plan(THINKING, 4).slow(100)];
    let load: Vec<_> = plans.map(|plan| strict::start(plan).expect("the client starts")).into();
    let mut inside = BTreeSet::new();
    for turn in 0..2 * instances {
        load.iter().for_each(|running| drop(running.wait_for_more(20, LIMIT)));
        let victim = skep.app("app").slots[turn % instances].pid.expect("the slot has a worker");
        inside.extend(process::kill_with_inventory(victim));
        skep.wait("app", "a successor", |app| app.is_settled(instances) && !app.pids().contains(&victim));
    }
    load.iter().for_each(|running| drop(running.wait_for_more(20, LIMIT)));
    let mut lost = BTreeSet::new();
    for report in load.into_iter().map(Running::stop) {
        println!("{report}");
        for port in &report.lost_on {
            let port = port.unwrap_or_else(|| panic!("a connection was not made: {report}"));
            assert!(inside.contains(&port), "{port} was not inside a dead worker: {report}");
            assert!(lost.insert(port), "two requests were lost on {port}: {report}");
        }
    }
    assert!(!lost.is_empty(), "somebody waited for a dead worker, or nothing was proven");
}

#[test]
fn a_killed_worker_takes_only_the_requests_inside_it_along() {
    for balance in ["auto", "shared", "ipc"] {
        println!("{balance}");
        let start = Start::fixture("app", "http.cjs").flags(["--balance", balance]);
        check_killed_workers(&start, &Port::free(), 2);
    }
}

#[test]
fn a_killed_single_worker_leaves_its_queue_to_its_successor() {
    check_killed_workers(&Start::fixture("app", "slow-start.js"), &Port::free(), 1);
}

#[test]
fn the_keeper_killed_again_and_again_drops_nothing_and_no_worker_notices() {
    let stage = Stage::new(&[]);
    let before = stage.skep.app("app");
    let load = stage.load();
    for _ in 0..kills().div_ceil(2) {
        stage.kill_keeper();
        let after = stage.skep.settled("app", 2);
        assert_eq!((after.pids(), after.restarts()), (before.pids(), 0));
        stage.check_none_doubled();
    }
    // What it did not start itself it can reload, and its successors too.
    stage.skep.ok(["reload", "app"]);
    stage.kill_keeper();
    stage.skep.ok(["reload", "app"]);
    finish(load);
    stage.skep.ok(["stop", "app"]);
    stage.check_none_doubled();
    stage.skep.ok(["kill"]);
    assert_eq!(stage.skep.processes(), Vec::<u32>::new());
}

#[test]
fn a_keeper_that_took_over_heals_what_it_did_not_start() {
    let stage = Stage::new(&[]);
    stage.kill_keeper();
    stage.skep.crash("app", 0);
    // An upgrade keeps its wards too.
    stage.kill_keeper();
    stage.skep.ok(["upgrade"]);
    stage.skep.crash("app", 1);
    stage.kill_keeper();
    // Both at once, one of them another's child.
    let before = stage.skep.app("app").pids();
    before.iter().for_each(|pid| process::kill(*pid));
    let new = |app: &skep_tests::App| app.pids().iter().all(|pid| !before.contains(pid));
    stage.skep.wait("app", "two successors", |app| app.is_settled(2) && new(app));
    stage.check_none_doubled();
}

#[test]
fn a_reload_goes_on_when_the_keeper_is_killed_in_its_middle() {
    let stage = Stage::new(&[]);
    let load = stage.load();
    for moment in 0..kills().div_ceil(2) {
        let mut events = stage.skep.events();
        let reload = stage.begin(&["reload", "app"]);
        for _ in 0..=2 * moment % EVENTS_OF_A_RELOAD {
            events.wait("the reload goes on", |event| event.app.as_deref() == Some("app"));
        }
        stage.kill_keeper();
        check_succeeds(reload);
        stage.skep.settled("app", 2);
        stage.check_none_doubled();
    }
    finish(load);
}

#[test]
fn workers_that_outlive_keeper_and_daemon_are_ended_by_the_next_command_and_started_anew() {
    let stage = Stage::new(&[]);
    let stubborn = "trap '' INT TERM; while :; do sleep 54321; done";
    let args = ["-c", stubborn];
    let flags = ["--listen-timeout", "20", "--kill-timeout", "200", "-i", "2"];
    stage.skep.start(&Start::program("stubborn", "/bin/sh").args(args).flags(flags));
    let flags = ["--listen-timeout", "20"];
    stage.skep.start(&Start::program("quiet", "/bin/sleep").args(["54321"]).flags(flags));
    let old: Vec<u32> = stage.skep.apps().iter().flat_map(skep_tests::App::pids).collect();
    kill_both(&stage.skep);
    assert!(old.iter().any(|pid| process::is_alive(*pid)), "some live on, without a guardian");
    let said = stage.skep.err(["ping"]);
    assert!(said.contains("skep is not running"), "whoever only looks starts nothing: {said}");
    stage.skep.ok(["list"]);
    stage.skep.settled("app", 2);
    stage.skep.settled("stubborn", 2);
    stage.skep.settled("quiet", 1);
    old.iter().for_each(|pid| process::wait_gone(*pid));
    stage.check_none_doubled();
    let count = |what: &str| {
        stage.skep.processes().into_iter().filter(|pid| process::command_line(*pid).contains(what)).count()
    };
    assert_eq!((count("/bin/sh -c trap"), count("/bin/sleep 54321")), (2, 1));
    let log = std::fs::read_to_string(stage.skep.home().join("daemon.log")).expect("it has a log");
    assert!(log.contains("of quiet, left behind by a skep that was killed, was ended"), "{log}");
    finish(stage.load());
}

/// Stopped first: a daemon whose keeper is killed starts another one.
fn kill_both(skep: &Skep) {
    let daemon = skep.daemon();
    process::signal(daemon.pid, Signal::STOP).expect("it lives");
    for pid in [daemon.keeper_pid, daemon.pid] {
        process::kill(pid);
        process::wait_gone(pid);
    }
}

#[test]
fn after_both_were_killed_any_command_finds_what_lives_on_and_does_its_work() {
    let stage = Stage::new(&[]);
    let flags = ["--listen-timeout", "20"];
    stage.skep.start(&Start::program("quiet", "/bin/sleep").args(["65432"]).flags(flags));
    let sleeps = || {
        let is_one = |pid: &u32| process::command_line(*pid).contains("sleep 65432");
        stage.skep.processes().into_iter().filter(is_one).count()
    };
    for command in [&["reload", "app"][..], &["scale", "app", "2"], &["restart", "quiet"], &["start", "app"]]
    {
        kill_both(&stage.skep);
        stage.skep.ok(command);
        stage.skep.settled("app", 2);
        stage.skep.settled("quiet", 1);
        stage.check_none_doubled();
        assert_eq!(sleeps(), 1, "{command:?}");
    }
    kill_both(&stage.skep);
    stage.skep.ok(["stop", "quiet"]);
    assert_eq!((stage.skep.app("quiet").status.as_str(), sleeps()), ("stopped", 0));
    stage.skep.ok(["start", "quiet"]);
    kill_both(&stage.skep);
    let said = stage.skep.run(["kill"]);
    assert_eq!((said.code, sleeps()), (Some(0), 0), "{said:?}");
    assert_eq!(stage.skep.processes(), Vec::<u32>::new());
    // It was asked for: nothing is started again.
    stage.skep.ok(["list"]);
    assert_eq!(stage.skep.processes(), Vec::<u32>::new());
}
