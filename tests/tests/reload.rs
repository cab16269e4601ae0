//! Nothing is dropped by what a user does on purpose: reload, scale, stop.

use std::fs;
use std::io::Read;

use skep_tests::strict::{Counted, Loads, Named, Target, all_kinds, usual};
use skep_tests::{LIMIT, Node, Port, Readiness, Skep, Start, fixture, node};

/// Reloads a test; `SKEP_TEST_RELOADS=100` for a soak.
fn reloads(usual: usize) -> usize {
    std::env::var("SKEP_TEST_RELOADS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Where the app, the Node or the balance is what matters.
const SOME: usize = 3;
/// Where there are many combinations.
const FEW: usize = 1;

skep_tests::on_each_node! {
    plain_http_loses_nothing_and_keeps_its_connections => |node| check_plain(node, "http.cjs", &[], all_kinds, SOME);
    express_loses_nothing => |node| check_plain(node, "express.js", &[], usual, SOME);
    fastify_loses_nothing => |node| check_plain(node, "fastify.mjs", &[], usual, SOME);
    https_loses_nothing => check_https;
    a_shared_socket_loses_nothing => |node| check_plain(node, "http.cjs", &["--balance", "shared"], usual, FEW);
    descriptors_passed_one_by_one_lose_nothing => |node| check_plain(node, "http.cjs", &["--balance", "ipc"], usual, FEW);
    one_process_in_fork_mode_loses_nothing => check_fork_mode;
}

/// An app under loads that all must be happy at the end.
struct Stage {
    skep: Skep,
    loads: Loads,
    /// Instances that a reload may take away, and does.
    unavailable: usize,
}

impl Stage {
    /// Starts this app and the loads.
    fn new(skep: Skep, start: &Start, plans: Vec<Named>) -> Self {
        skep.start(start);
        let loads = Loads::start(plans).expect("the clients start");
        loads.wait(LIMIT);
        Self { skep, loads, unavailable: 0 }
    }

    /// Reloads; every worker is a new one each time, and no more than may be are missing at any time.
    #[track_caller]
    fn reload(&self, times: usize) {
        let instances = self.skep.app("app").slots.len();
        let readiness = Readiness::watch(&self.skep, "app");
        for _ in 0..times {
            let before = self.skep.app("app").pids();
            self.skep.ok(["reload", "app"]);
            let after = self.skep.app("app");
            assert!(after.is_settled(instances), "reload returns when it is done: {after:#?}");
            assert!(after.pids().iter().all(|pid| !before.contains(pid)), "{before:?} -> {:?}", after.pids());
            self.loads.wait(LIMIT);
        }
        let (least, looks) = readiness.stop();
        let wanted = instances - self.unavailable;
        assert!(least == wanted && looks > 0, "ready at least: {least} of {instances}, in {looks} looks");
    }

    /// Tries to reload; the old workers go on, and the command says why.
    #[track_caller]
    fn reload_in_vain(&self) -> String {
        let before = self.skep.app("app").pids();
        let said = self.skep.err(["reload", "app"]);
        assert_eq!(self.skep.settled("app", before.len()).pids(), before);
        said
    }

    /// Not one request failed.
    #[track_caller]
    fn finish(self) -> Vec<Counted> {
        self.loads.wait(LIMIT);
        let counted = self.loads.stop();
        for Counted { name, report, .. } in &counted {
            println!("{name}: {report}");
        }
        for Counted { name, report, .. } in &counted {
            assert_eq!(report.failures(), 0, "{name}: {report}");
            assert!(report.ok > 0, "{name} was answered at all");
        }
        counted
    }

    /// And nobody who keeps a connection had to make another one.
    #[track_caller]
    fn finish_without_reconnects(self) {
        for counted in self.finish() {
            assert_eq!(
                counted.reconnects(),
                0,
                "{}: open connections migrate: {}",
                counted.name,
                counted.report
            );
        }
    }
}

fn plain(port: &Port) -> Target {
    Target::Tcp(port.address())
}

/// An old worker is never cut off: what takes long here is the machine.
fn app(file: &str, port: &Port, instances: usize) -> Start {
    Start::fixture("app", file).port(port.number()).instances(instances).flags(["--kill-timeout", "600s"])
}

type Plans = fn(&Target) -> Vec<Named>;

fn check_plain(node: &Node, file: &str, flags: &[&str], plans: Plans, times: usize) {
    let port = Port::free();
    let stage = Stage::new(Skep::with_node(node), &app(file, &port, 2).flags(flags), plans(&plain(&port)));
    stage.reload(reloads(times));
    stage.finish_without_reconnects();
}

fn check_https(node: &Node) {
    let port = Port::free();
    let target = Target::Tls(port.address(), fixture("https/cert.pem"));
    let stage = Stage::new(Skep::with_node(node), &app("https.js", &port, 2), usual(&target));
    stage.reload(reloads(SOME));
    stage.finish();
}

fn check_fork_mode(node: &Node) {
    let port = Port::free();
    let start = app("http.cjs", &port, 1).flags(["--exec-mode", "fork"]);
    let stage = Stage::new(Skep::with_node(node), &start, usual(&plain(&port)));
    stage.reload(reloads(FEW));
    stage.finish_without_reconnects();
}

#[test]
fn one_instance_loses_nothing() {
    let port = Port::free();
    let stage = Stage::new(Skep::new(), &app("http.cjs", &port, 1), all_kinds(&plain(&port)));
    stage.reload(reloads(SOME));
    stage.finish_without_reconnects();
}

#[test]
fn a_reload_that_may_take_one_worker_away_takes_one_and_loses_nothing() {
    let port = Port::free();
    let start = app("http.cjs", &port, 3).flags(["--max-surge", "0", "--max-unavailable", "1"]);
    let stage = Stage::new(Skep::new(), &start, usual(&plain(&port)));
    let stage = Stage { unavailable: 1, ..stage };
    stage.reload(FEW);
    stage.finish();
}

#[test]
fn scaling_up_and_down_loses_nothing() {
    let port = Port::free();
    let stage = Stage::new(Skep::new(), &app("http.cjs", &port, 2), usual(&plain(&port)));
    for count in [4, 1, 3, 2] {
        stage.skep.ok(["scale".to_owned(), "app".to_owned(), count.to_string()]);
        stage.skep.settled("app", count);
        stage.loads.wait(LIMIT);
    }
    stage.finish();
}

/// The old worker finishes what it has, and all the rest waits in the queue, open connections too.
#[test]
fn a_restart_loses_nothing_either() {
    for instances in [1, 2] {
        let port = Port::free();
        let stage = Stage::new(Skep::new(), &app("http.cjs", &port, instances), usual(&plain(&port)));
        stage.skep.ok(["restart", "app"]);
        stage.skep.settled("app", instances);
        stage.finish_without_reconnects();
    }
}

#[test]
fn a_new_version_that_crashes_leaves_the_old_one_serving() {
    let (skep, port) = (Skep::new(), Port::free());
    let crash = skep.root().join("crash");
    let start = app("lifecycle.js", &port, 2).env("CRASH_FILE", &crash);
    let stage = Stage::new(skep, &start, usual(&plain(&port)));
    fs::write(&crash, "").expect("the folder is writable");
    let said = stage.reload_in_vain();
    assert!(said.contains("crash at start: the file is there"), "it shows the tail of stderr: {said}");
    stage.finish_without_reconnects();
}

#[test]
fn a_new_version_that_never_gets_ready_leaves_the_old_one_serving() {
    let (skep, port) = (Skep::new(), Port::free());
    let gate = skep.root().join("gate");
    fs::write(&gate, "").expect("the folder is writable");
    let start = app("announces.js", &port, 2).env("READY_FILE", &gate);
    let start = start.flags(["--wait-ready", "--listen-timeout", "1500"]);
    let stage = Stage::new(skep, &start, usual(&plain(&port)));
    fs::remove_file(&gate).expect("it is there");
    let said = stage.reload_in_vain();
    assert!(said.contains("not ready"), "it says why: {said}");
    assert!(said.contains("waits for its file"), "it shows the tail of stderr: {said}");
    stage.finish_without_reconnects();
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
