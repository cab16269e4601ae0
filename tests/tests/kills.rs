//! The daemon SIGKILLed fifty times, ten on each Node: in the middle of reloads, scales, stops, starts and restarts, under
//! load, while other commands are typed and lines are logged. Not one request fails, every command succeeds, no worker
//! ends or starts that should not, no line is lost.

use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::time::Duration;

use skep_tests::strict::{self, Mode, Plan, Running, Think};
use skep_tests::{Deadline, LIMIT, Node, Port, Skep, Start, process};

const THINKING: Mode = Mode::KeepAlive(Think { min: Duration::ZERO, max: Duration::from_millis(10) });
const SHORT: Mode = Mode::Short(Think { min: Duration::ZERO, max: Duration::from_millis(10) });

/// Kills a Node; `SKEP_TEST_KILLS=50` for a soak.
fn kills() -> usize {
    std::env::var("SKEP_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(10)
}

/// Each command is interrupted after so many of its events, another number each time: counted in events, not in time.
const EVENTS_MAX: usize = 7;

/// A command, and what it means for the workers of its app: how many it starts, and how many there are afterwards.
const COMMANDS: [(&[&str], u32, usize); 7] = [
    (&["reload", "app"], 2, 2),
    (&["stop", "other"], 0, 0),
    (&["scale", "app", "3"], 1, 3),
    (&["start", "other"], 2, 2),
    (&["reload", "app"], 3, 3),
    (&["restart", "other"], 2, 2),
    (&["scale", "app", "2"], 0, 2),
];

skep_tests::on_each_node! {
    ten_kills_in_the_middle_of_everything => check_kills;
}

/// How the loaded app shares its port. Not `ipc`: what the daemon has accepted and not handed over dies with it.
fn flags(node: &Node) -> &'static [&'static str] {
    match node.major {
        20 => &["--balance", "shared"],
        24 => &["--exec-mode", "fork"],
        26 => &["--balance", "hash"],
        _ => &[],
    }
}

struct Stage {
    skep: Skep,
    /// Each Node begins with another moment.
    offset: usize,
    /// Workers that must have been started until now.
    started: BTreeMap<&'static str, u32>,
}

impl Stage {
    fn new(node: &Node, port: &Port, other: &Port) -> Self {
        let skep = Skep::with_node(node);
        let app = Start::fixture("app", "http.cjs").port(port.number()).instances(2).flags(["--merge-logs"]);
        skep.start(&app.flags(flags(node).iter().copied()));
        let other = Start::fixture("other", "http.cjs").port(other.number()).instances(2);
        skep.start(&other.flags(["--merge-logs"]));
        // Counts until it is told to stop, and says when it did.
        let script = skep.root().join("count.sh");
        let text = "i=0; while [ ! -e \"$STOP\" ]; do i=$((i+1)); echo \"line $i\"; sleep 0.002; done; echo \"last $i\"; exec sleep 1000\n";
        std::fs::write(&script, text).expect("the folder is writable");
        let counter = Start::program("counter", script).env("STOP", skep.root().join("stop"));
        skep.start(&counter.flags(["--interpreter", "/bin/sh", "--listen-timeout", "20"]));
        Self { skep, offset: node.major as usize, started: BTreeMap::from([("app", 2), ("other", 2)]) }
    }

    fn begin(&self, args: &[&str]) -> Child {
        self.skep.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("skep runs")
    }

    /// One command, and the daemon killed in its middle.
    fn interrupt(&mut self, turn: usize) {
        let (command, starts, count) = COMMANDS[turn % COMMANDS.len()];
        let name = command[1];
        let before = self.skep.apps();
        let mut events = self.skep.events();
        let daemon = self.skep.daemon();
        let mut running = self.begin(command);
        for _ in 0..(turn + self.offset) % EVENTS_MAX {
            while events.next_or_quiet().is_none_or(|event| event.app.as_deref() != Some(name))
                && running.try_wait().expect("it is our child").is_none()
            {}
        }
        process::kill(daemon.pid);
        let typed = [self.begin(&["list"]), self.begin(&["describe", "app"])];
        [running].into_iter().chain(typed).for_each(|child| check_succeeds(command, child));
        let after = self.skep.daemon();
        assert_ne!(after.pid, daemon.pid);
        assert_eq!(after.keeper_pid, daemon.keeper_pid);

        *self.started.entry(name).or_default() += starts;
        if count == 0 {
            assert_eq!(self.skep.app(name).status, "stopped");
        } else {
            self.skep.settled(name, count);
        }
        self.check_pids(command, starts, &before);
    }

    /// Whoever was not meant runs on; whoever was is new.
    fn check_pids(&self, command: &[&str], starts: u32, before: &[skep_tests::App]) {
        for old in before {
            let (was, is) = (old.pids(), self.skep.app(&old.name).pids());
            let kept = is.iter().filter(|pid| was.contains(pid)).count();
            let wanted = match command[0] {
                _ if old.name != command[1] => was.len(),
                "scale" => was.len().min(is.len()),
                _ => 0,
            };
            assert_eq!(kept, wanted, "{command:?} ({starts} start): {} had {was:?} and has {is:?}", old.name);
        }
    }

    /// Each worker says one line when it listens. So many have ever been started, and those that should live do.
    fn check_history(&self) {
        for (name, count) in &self.started {
            let lines = self.skep.ok(["logs", name, "--out", "--lines", "1000000", "--raw"]);
            let told = lines.lines().filter(|line| line.starts_with("listening ")).count();
            assert_eq!(told, *count as usize, "workers of {name} that were started: {lines}");
        }
        let mut known: Vec<u32> =
            ["app", "other"].iter().flat_map(|name| self.skep.app(name).pids()).collect();
        known.sort_unstable();
        Deadline::until(&format!("no worker beside {known:?}"), || {
            let is_worker = |pid: &u32| process::command_line(*pid).contains("http.cjs");
            let mut alive: Vec<u32> = self.skep.processes().into_iter().filter(is_worker).collect();
            alive.sort_unstable();
            (alive == known).then_some(())
        });
    }

    /// Every line of the counter is there once, in order.
    fn check_lines(&self) {
        std::fs::write(self.skep.root().join("stop"), "").expect("the folder is writable");
        let last: u64 = Deadline::until("the last line is in its file", || {
            let output = self.skep.run(["logs", "counter", "--out", "--lines", "1", "--raw"]);
            output.stdout.lines().last()?.strip_prefix("last ")?.parse().ok()
        });
        let lines = self.skep.ok(["logs", "counter", "--out", "--lines", "1000000", "--raw"]);
        let numbers: Vec<u64> =
            lines.lines().filter_map(|line| line.strip_prefix("line ")?.parse().ok()).collect();
        assert_eq!(numbers, (1..=last).collect::<Vec<_>>());
        assert_eq!(self.skep.app("counter").restarts(), 0);
    }
}

#[track_caller]
fn check_succeeds(what: &[&str], command: Child) {
    let output = command.wait_with_output().expect("skep ends");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "during {what:?}: {}", String::from_utf8_lossy(&said));
}

fn check_kills(node: &Node) {
    let (port, other) = (Port::free(), Port::free());
    let mut stage = Stage::new(node, &port, &other);
    let start = |mode, clients| strict::start(Plan::get(port.address(), mode, clients)).expect("it starts");
    let load = [start(SHORT, 4), start(THINKING, 8)];
    let more = || load.iter().for_each(|running| drop(running.wait_for_more(20, LIMIT)));
    more();
    for turn in 0..kills() {
        stage.interrupt(turn);
        more();
    }
    for report in load.map(Running::stop) {
        println!("{report}");
        assert_eq!(report.failures(), 0, "{report}");
    }
    stage.check_history();
    stage.check_lines();
}
