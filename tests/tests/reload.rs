//! Nothing is dropped by what a user does on purpose: reload, scale, stop.

use std::fs;
use std::io::Read;
use std::time::Duration;

use skep_tests::strict::{self, Mode, Plan, Report, Running, Target, Think};
use skep_tests::{LIMIT, Node, Port, Skep, Start, fixture, node};

const THINKING: Mode = Mode::KeepAlive(Think { min: Duration::ZERO, max: Duration::from_millis(20) });
/// Connections made and closed, with pauses: a load that two cores carry, so that what fails is not the machine.
const SHORT: Mode = Mode::Short(Think { min: Duration::ZERO, max: Duration::from_millis(10) });
/// Answers that each client must have had before and after, so that a zero means something.
const REQUESTS: u64 = 20;

/// Reloads a test; `SKEP_TEST_RELOADS=100` for a soak.
fn reloads() -> usize {
    std::env::var("SKEP_TEST_RELOADS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

skep_tests::on_each_node! {
    plain_http_loses_nothing_and_keeps_its_connections => |node| check_all_kinds(node, "http.cjs", &[]);
    express_loses_nothing => |node| check_usual(node, "express.js");
    fastify_loses_nothing => |node| check_usual(node, "fastify.mjs");
    https_loses_nothing => check_https;
}

/// Some clients at once; all must be happy at the end.
struct Load {
    running: Vec<(&'static str, usize, Running)>,
}

impl Load {
    fn start(plans: Vec<(&'static str, Plan)>) -> Self {
        let start = |(name, plan): (&'static str, Plan)| {
            let clients = plan.clients;
            (name, clients, strict::start(plan).expect("the client starts"))
        };
        let load = Self { running: plans.into_iter().map(start).collect() };
        load.wait();
        load
    }

    /// Each client gets some more answers.
    fn wait(&self) {
        for (name, clients, running) in &self.running {
            let more = if name.contains("MB") { 1 } else { REQUESTS.min(10 * *clients as u64) };
            running.wait_for_more(more, LIMIT);
        }
    }

    /// Not one request failed.
    #[track_caller]
    fn finish(self) -> Vec<(&'static str, usize, Report)> {
        self.wait();
        let stop = |(name, clients, running): (&'static str, usize, Running)| (name, clients, running.stop());
        let reports: Vec<_> = self.running.into_iter().map(stop).collect();
        for (name, _, report) in &reports {
            println!("{name}: {report}");
        }
        for (name, _, report) in &reports {
            assert_eq!(report.failures(), 0, "{name}: {report}");
            assert!(report.ok > 0, "{name} was answered at all");
        }
        reports
    }
}

fn usual(port: &Port) -> Vec<(&'static str, Plan)> {
    let plan = |mode, clients| Plan::get(port.address(), mode, clients);
    vec![
        ("short", plan(SHORT, 4)),
        ("keep-alive", plan(THINKING, 8)),
        ("slow", plan(THINKING, 4).slow(50)),
        ("20 MB downloads", plan(SHORT, 1).download(20_000_000)),
    ]
}

fn all_kinds(port: &Port) -> Vec<(&'static str, Plan)> {
    let plan = |mode, clients| Plan::get(port.address(), mode, clients);
    let mut plans = usual(port);
    plans.extend([
        ("pipelined", plan(Mode::Pipelined(4), 1)),
        ("dribbled", plan(Mode::Dribble(Duration::from_millis(10)), 2)),
        ("uploads", plan(THINKING, 2).upload(300_000)),
        ("streams", plan(THINKING, 2).stream(300_000)),
    ]);
    plans
}

/// Reloads under load; every worker is a new one each time.
#[track_caller]
fn reload_under(skep: &Skep, load: &Load, times: usize) {
    let instances = skep.app("app").slots.len();
    for _ in 0..times {
        let before = skep.app("app").pids();
        skep.ok(["reload", "app"]);
        let after = skep.app("app");
        assert!(after.is_settled(instances), "reload returns when it is done: {after:#?}");
        assert!(after.pids().iter().all(|pid| !before.contains(pid)), "{before:?} -> {:?}", after.pids());
        load.wait();
    }
}

fn check_all_kinds(node: &Node, file: &str, flags: &[&str]) {
    let (skep, port) = (Skep::with_node(node), Port::free());
    skep.start(&Start::fixture("app", file).port(port.number()).instances(2).flags(flags));
    let load = Load::start(all_kinds(&port));
    reload_under(&skep, &load, reloads());
    for (name, clients, report) in load.finish() {
        if name == "keep-alive" {
            assert_eq!(report.reconnects(clients), 0, "open connections migrate: {report}");
        }
    }
}

fn check_usual(node: &Node, file: &str) {
    let (skep, port) = (Skep::with_node(node), Port::free());
    skep.start(&Start::fixture("app", file).port(port.number()).instances(2));
    let load = Load::start(usual(&port));
    reload_under(&skep, &load, reloads());
    load.finish();
}

fn check_https(node: &Node) {
    let (skep, port) = (Skep::with_node(node), Port::free());
    skep.start(&Start::fixture("app", "https.js").port(port.number()).instances(2));
    let target = Target::Tls(port.address(), fixture("https/cert.pem"));
    let plan = |mode, clients| Plan::get(port.address(), mode, clients).to(target.clone());
    let load = Load::start(vec![
        ("short", plan(SHORT, 2)),
        ("keep-alive", plan(THINKING, 6)),
        ("5 MB downloads", plan(THINKING, 1).download(5_000_000)),
    ]);
    reload_under(&skep, &load, reloads());
    load.finish();
}

#[test]
fn one_instance_loses_nothing() {
    let (skep, port) = (Skep::new(), Port::free());
    skep.start(&Start::fixture("app", "http.cjs").port(port.number()).instances(1));
    let load = Load::start(usual(&port));
    reload_under(&skep, &load, reloads());
    load.finish();
}

#[test]
fn a_shared_socket_loses_nothing() {
    check_all_kinds(&node(22), "http.cjs", &["--balance", "shared"]);
}

#[test]
fn descriptors_passed_one_by_one_lose_nothing() {
    let (skep, port) = (Skep::new(), Port::free());
    skep.start(
        &Start::fixture("app", "http.cjs").port(port.number()).instances(2).flags(["--balance", "ipc"]),
    );
    let load = Load::start(usual(&port));
    reload_under(&skep, &load, reloads());
    load.finish();
}

#[test]
fn scaling_up_and_down_loses_nothing() {
    let (skep, port) = (Skep::new(), Port::free());
    skep.start(&Start::fixture("app", "http.cjs").port(port.number()).instances(2));
    let load = Load::start(usual(&port));
    for count in [4, 1, 3, 2] {
        skep.ok(["scale".to_owned(), "app".to_owned(), count.to_string()]);
        skep.settled("app", count);
        load.wait();
    }
    load.finish();
}

/// The old worker finishes what it has, and all the rest waits in the queue, open connections too.
#[test]
fn a_restart_loses_nothing_either() {
    for instances in [1, 2] {
        let (skep, port) = (Skep::new(), Port::free());
        let start = Start::fixture("app", "http.cjs").port(port.number()).instances(instances);
        skep.start(&start.flags(["--kill-timeout", "600s"]));
        let load = Load::start(usual(&port));
        skep.ok(["restart", "app"]);
        skep.settled("app", instances);
        load.wait();
        for (name, clients, report) in load.finish() {
            if name == "keep-alive" {
                assert_eq!(report.reconnects(clients), 0, "open connections wait: {report}");
            }
        }
    }
}

#[test]
fn a_new_version_that_crashes_leaves_the_old_one_serving() {
    let (skep, port) = (Skep::new(), Port::free());
    let crash = skep.root().join("crash");
    let start = Start::fixture("app", "lifecycle.js").port(port.number()).env("CRASH_FILE", &crash);
    let before = skep.start(&start.instances(2));
    let load = Load::start(usual(&port));
    fs::write(&crash, "").expect("the folder is writable");
    let said = skep.err(["reload", "app"]);
    assert!(said.contains("crash at start: the file is there"), "it shows the tail of stderr: {said}");
    assert_eq!(skep.settled("app", 2).pids(), before.pids());
    load.finish();
}

#[test]
fn a_new_version_that_never_gets_ready_leaves_the_old_one_serving() {
    let (skep, port) = (Skep::new(), Port::free());
    let gate = skep.root().join("gate");
    fs::write(&gate, "").expect("the folder is writable");
    let start = Start::fixture("app", "announces.js").port(port.number()).env("READY_FILE", &gate);
    let before = skep.start(&start.instances(2).flags(["--wait-ready", "--listen-timeout", "1500"]));
    let load = Load::start(usual(&port));
    fs::remove_file(&gate).expect("it is there");
    skep.err(["reload", "app"]);
    assert_eq!(skep.settled("app", 2).pids(), before.pids());
    load.finish();
}

#[test]
fn a_stop_lets_an_app_that_closes_by_itself_finish_what_it_has() {
    let (skep, port) = (Skep::new(), Port::free());
    skep.start(&Start::fixture("app", "graceful.js").port(port.number()).instances(1));
    let address = port.address();
    let request = std::thread::spawn(move || skep_tests::http::get(address, "/slow?ms=500"));
    let log = skep.home().join("logs/app-out.log");
    skep_tests::Deadline::until("the request has come", || {
        fs::read_to_string(&log).ok().filter(|text| text.contains("asked"))
    });
    skep.ok(["stop", "app"]);
    let answer = request.join().expect("the client does not panic").expect("the request is answered");
    assert_eq!(answer.status, 200);
}

#[test]
fn a_websocket_lives_through_a_reload_until_its_worker_must_go() {
    use std::process::{Command, Stdio};
    let (skep, port) = (Skep::new(), Port::free());
    let start = Start::fixture("app", "ws.js").port(port.number()).instances(1);
    skep.start(&start.flags(["--kill-timeout", "600000"]));
    // Asks once at the beginning and, when its standard input ends, again on the same connection.
    let mut client = Command::new(node(22).bin.join("node"))
        .arg(fixture("clients/ws-twice.js"))
        .arg(port.number().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Node runs");
    let mut stdout = client.stdout.take().expect("its output is a pipe");
    let mut first = [0; 6];
    stdout.read_exact(&mut first).expect("the first echo");
    let old = skep.app("app").pids()[0];
    let reload = skep.command(["reload", "app"]).stdout(Stdio::null()).spawn().expect("skep runs");
    skep.wait("app", "the successor serves", |app| app.slots[0].pid.is_some_and(|pid| pid != old));
    drop(client.stdin.take());
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("the second echo");
    assert!(client.wait().is_ok_and(|status| status.success()), "the connection was cut: {rest}");
    assert_eq!(
        rest.trim().split(' ').next_back(),
        Some(old.to_string().as_str()),
        "the old worker served to the end"
    );
    assert!({ reload }.wait().is_ok_and(|status| status.success()));
}
