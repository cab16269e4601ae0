//! Connections that change their worker, and a daemon that dies in the middle of it: out of the queue of a worker that is
//! blocked, out of the queue of a slot that is given up, out of the hands of a worker that drains. Not one is lost, and none
//! is read by two.

use std::thread::JoinHandle;
use std::time::Duration;

use skep_tests::strict::{self, Mode, Plan, Running, Think};
use skep_tests::{Deadline, LIMIT, Port, Skep, Start, http};

const SHORT: Mode = Mode::Short(Think { min: Duration::ZERO, max: Duration::from_millis(2) });
const THINKING: Mode = Mode::KeepAlive(Think { min: Duration::ZERO, max: Duration::from_millis(10) });

/// A loaded app, and a daemon that aborts once, at a point of its choice.
struct Stage {
    skep: Skep,
    port: Port,
    /// The daemon that will abort.
    daemon: u32,
    load: [Running; 2],
}

impl Stage {
    fn new(fault: &str, flags: &[&str]) -> Self {
        let skep = Skep::new().env("SKEP_FAULT", fault);
        let once = skep.root().join("aborted");
        let (skep, port) = (skep.env("SKEP_FAULT_ONCE", once), Port::free());
        let app = Start::fixture("app", "http.cjs").port(port.number()).instances(3);
        skep.start(&app.flags(flags.iter().copied()));
        let daemon = skep.daemon().pid;
        let start =
            |mode, clients| strict::start(Plan::get(port.address(), mode, clients)).expect("it starts");
        let load = [start(SHORT, 6), start(THINKING, 6)];
        let stage = Self { skep, port, daemon, load };
        stage.more();
        stage
    }

    fn more(&self) {
        self.load.iter().for_each(|running| drop(running.wait_for_more(20, LIMIT)));
    }

    /// Whoever gets this request does nothing else for a while.
    fn block(&self, ms: u32) -> JoinHandle<()> {
        let address = self.port.address();
        std::thread::spawn(move || {
            let answer = http::get(address, &format!("/block?ms={ms}")).expect("it is answered");
            assert_eq!(answer.status, 200);
        })
    }

    fn has_aborted(&self) -> bool {
        self.skep.root().join("aborted").exists()
    }

    /// Does it again and again, until the daemon has died of it and is back.
    fn until_aborted(&self, mut act: impl FnMut(&Self)) {
        Deadline::until("the daemon has passed the point", || {
            act(self);
            self.has_aborted().then_some(())
        });
        Deadline::until("another daemon is there", || {
            self.skep.try_daemon().is_some_and(|now| now.pid != self.daemon).then_some(())
        });
        self.more();
    }

    fn finish(self) {
        self.finish_without(0);
    }

    /// At most so many connections are gone.
    fn finish_without(self, most: u64) {
        let [short, thinking] = self.load.map(Running::stop);
        println!("{short}{thinking}");
        assert!(short.failures() + thinking.failures() <= most, "{short}{thinking}");
        let connects = 6 + thinking.failures();
        assert_eq!(thinking.connects, connects, "connections change their worker unnoticed: {thinking}");
    }
}

fn check_blocked(fault: &str, balance: &str) {
    let stage = Stage::new(fault, &["--balance", balance]);
    stage.until_aborted(|stage| {
        stage.block(60).join().expect("it is answered");
        stage.more();
    });
    stage.finish();
}

#[test]
fn out_of_a_blocked_workers_queue() {
    for fault in ["daemon:passed:1", "daemon:passed:2", "daemon:passed:5"] {
        check_blocked(fault, "auto");
    }
}

#[test]
fn out_of_a_blocked_workers_queue_without_ebpf() {
    check_blocked("daemon:passed:3", "random");
}

#[test]
fn out_of_a_blocked_workers_queue_over_a_keeper_that_dies() {
    check_blocked("keeper:passed:2", "auto");
}

#[test]
fn out_of_a_draining_workers_hands() {
    for fault in ["daemon:taken-over:1", "daemon:taken-over:3", "daemon:passed:2", "daemon:passed:7"] {
        let stage = Stage::new(fault, &[]);
        stage.until_aborted(|stage| drop(stage.skep.ok(["reload", "app"])));
        stage.finish();
    }
}

/// What it was asked last it has done, and nobody knows. What it was asked to pass on behind that is lost, for it might have
/// been passed on, too (docs/decisions/0016): a few connections of the one worker that was being drained.
#[test]
fn out_of_a_draining_workers_hands_over_a_keeper_that_dies() {
    for fault in ["keeper:passed:1", "keeper:passed:2", "keeper:passed:6"] {
        let stage = Stage::new(fault, &[]);
        stage.until_aborted(|stage| drop(stage.skep.ok(["reload", "app"])));
        stage.finish_without(5);
    }
}

/// The blocked workers go, with what waits for them.
fn check_scale(flags: &[&str]) {
    let stage = Stage::new("daemon:never:1", flags);
    for _ in 0..4 {
        let blocks: Vec<_> = (0..3).map(|_| stage.block(50)).collect();
        stage.skep.ok(["scale", "app", "1"]);
        blocks.into_iter().for_each(|block| block.join().expect("it is answered"));
        stage.more();
        stage.skep.ok(["scale", "app", "3"]);
        stage.more();
    }
    stage.finish();
}

#[test]
fn out_of_the_queue_of_a_slot_that_is_given_up() {
    for balance in ["auto", "random", "hash"] {
        check_scale(&["--balance", balance]);
    }
}

#[test]
fn out_of_the_queue_of_a_slot_that_is_given_up_in_fork_mode() {
    for balance in ["auto", "random", "hash"] {
        check_scale(&["--balance", balance, "--exec-mode", "fork"]);
    }
}
