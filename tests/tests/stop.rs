//! What a worker has in hand when it is to stop: it is finished, and nobody is left waiting at a closed door.

use std::fs;
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::thread::JoinHandle;

use skep_tests::strict::{self, Failure, Mode, Plan, Running, Think};
use skep_tests::{Deadline, LIMIT, Node, Port, Skep, Start, http, is_free, node};

/// No test waits for it: whoever is cut off by it would be too early.
const PATIENCE: [&str; 2] = ["--kill-timeout", "600s"];

/// An app that has a request in hand, and answers it when the file appears, at its signal or at its message.
struct InHand {
    skep: Skep,
    port: Port,
    request: JoinHandle<std::io::Result<http::Answer>>,
}

impl InHand {
    fn start(node: &Node, answer_at: &str, instances: usize, flags: &[&str]) -> Self {
        let (skep, port) = (Skep::with_node(node), Port::free());
        let start = Start::fixture("app", "in-hand.js").port(port.number()).env("ANSWER_AT", answer_at);
        let start = start.env("FILE", skep.root().join("file")).instances(instances);
        skep.start(&start.flags(PATIENCE).flags(["--merge-logs"]).flags(flags));
        let address = port.address();
        let request = std::thread::spawn(move || http::get(address, "/"));
        let it = Self { skep, port, request };
        it.wait_for_line("asked");
        it
    }

    fn wait_for_line(&self, line: &str) {
        let log = self.skep.home().join("logs/app-out.log");
        let what = format!("the app says {line:?}");
        Deadline::until(&what, || fs::read_to_string(&log).ok().filter(|text| text.contains(line)));
    }

    fn begin(&self, command: &[&str]) -> Child {
        self.skep.command(command).stdout(Stdio::null()).spawn().expect("skep runs")
    }

    fn let_it_answer(&self) {
        fs::write(self.skep.root().join("file"), "").expect("the folder is writable");
    }

    /// The request was answered by this process, and the command succeeds.
    #[track_caller]
    fn finish(self, mut command: Child, pids: &[u32]) -> (Skep, Port) {
        let answer =
            self.request.join().expect("the client does not panic").expect("the request is answered");
        assert!(pids.contains(&answer.body.parse().expect("a pid")), "{answer:?} is of {pids:?}");
        assert!(command.wait().is_ok_and(|status| status.success()));
        (self.skep, self.port)
    }
}

fn check_an_app_without_a_handler(node: &Node) {
    for verb in ["stop", "delete"] {
        let it = InHand::start(node, "file", 2, &[]);
        let pids = it.skep.app("app").pids();
        let command = it.begin(&[verb, "app"]);
        let address = it.port.address();
        // Nobody will ever answer a new client: it is told so while the old one is still being served.
        Deadline::until("new clients are refused", || TcpStream::connect(address).is_err().then_some(()));
        it.let_it_answer();
        let (_skep, port) = it.finish(command, &pids);
        assert!(is_free(port.number()));
    }
}

fn check_a_restart(node: &Node) {
    let it = InHand::start(node, "file", 1, &[]);
    let old = it.skep.app("app").pids();
    let command = it.begin(&["restart", "app"]);
    it.skep.wait("app", "it is being stopped", |app| app.slots[0].status == "stopping");
    // Waits in the queue for the next worker.
    let address = it.port.address();
    let next = std::thread::spawn(move || http::get(address, "/pid"));
    it.let_it_answer();
    let (skep, _port) = it.finish(command, &old);
    let answer = next.join().expect("no panic").expect("the next worker answers");
    assert_eq!(answer.body, skep.app("app").pids()[0].to_string());
}

skep_tests::on_each_node! {
    an_app_without_a_handler_answers_what_it_has_before_it_is_signalled => check_an_app_without_a_handler;
    a_restart_answers_what_the_old_worker_has_and_queues_the_rest_for_the_new_one => check_a_restart;
}

#[test]
fn in_fork_mode_it_is_the_same() {
    let it = InHand::start(&node(22), "file", 1, &["--exec-mode", "fork"]);
    let pids = it.skep.app("app").pids();
    let command = it.begin(&["stop", "app"]);
    it.skep.wait("app", "it is being stopped", |app| app.slots[0].status == "stopping");
    it.let_it_answer();
    let (_skep, port) = it.finish(command, &pids);
    assert!(is_free(port.number()));
}

/// It would never answer if it were asked to finish first.
#[test]
fn an_app_that_waits_for_its_signal_gets_it_at_once() {
    for (at, flags) in [("signal", vec![]), ("message", vec!["--shutdown-with-message"])] {
        let it = InHand::start(&node(22), at, 1, &flags);
        let pids = it.skep.app("app").pids();
        let command = it.begin(&["stop", "app"]);
        it.finish(command, &pids);
    }
}

#[test]
fn an_app_that_is_stopped_by_a_message_gets_it_after_a_reload_too() {
    let (skep, port) = (Skep::with_node(&node(22)), Port::free());
    let start = Start::fixture("app", "in-hand.js").port(port.number()).env("ANSWER_AT", "message");
    skep.start(&start.instances(1).flags(PATIENCE).flags(["--merge-logs", "--shutdown-with-message"]));
    skep.ok(["reload", "app"]);
    let log = fs::read_to_string(skep.home().join("logs/app-out.log")).expect("it said something");
    assert!(log.contains("answers at message"), "{log}");
}

fn all_wait_for(load: &[Running], more: u64) {
    for running in load {
        running.wait_for_more(more, LIMIT);
    }
}

#[test]
fn one_slot_stopped_loses_nothing() {
    let (skep, port) = (Skep::new(), Port::free());
    let start = Start::fixture("app", "http.cjs").port(port.number()).instances(3);
    let app = skep.start(&start.flags(PATIENCE));
    let think = Think::up_to_ms(10);
    let plans = [
        Plan::get(port.address(), Mode::Short(think), 4),
        Plan::get(port.address(), Mode::KeepAlive(think), 6),
        Plan::get(port.address(), Mode::KeepAlive(think), 2).slow(50),
    ];
    let load: Vec<_> = plans.into_iter().map(|plan| strict::start(plan).expect("it starts")).collect();
    for slot in [app.slots[2].id, app.slots[0].id] {
        all_wait_for(&load, 20);
        skep.ok(["stop".to_owned(), slot.to_string()]);
    }
    all_wait_for(&load, 20);
    for running in load {
        let report = running.stop();
        assert_eq!(report.failures(), 0, "{report}");
    }
}

#[test]
fn an_app_stopped_under_load_cuts_no_answer() {
    let (skep, port) = (Skep::new(), Port::free());
    skep.start(&Start::fixture("app", "http.cjs").port(port.number()).instances(2).flags(PATIENCE));
    let think = Think::up_to_ms(5);
    let plans = [
        Plan::get(port.address(), Mode::Short(think), 4).slow(100),
        Plan::get(port.address(), Mode::Short(think), 1).download(20_000_000),
    ];
    let load: Vec<_> = plans.into_iter().map(|plan| strict::start(plan).expect("it starts")).collect();
    all_wait_for(&load, 2);
    skep.ok(["stop", "app"]);
    for running in load {
        running.wait(LIMIT, |report| report.failures_of(Failure::Refused) > 0);
        let report = running.stop();
        // Those that had come no further than the queue when it was closed are told by a reset.
        let untouched = [Failure::Refused, Failure::ResetBeforeResponse];
        let told: u64 = untouched.iter().map(|failure| report.failures_of(*failure)).sum();
        assert_eq!(report.failures(), told, "nobody is cut off or left waiting: {report}");
    }
}
