//! A new skep takes over from the running one, daemon and keeper both, and nobody notices; one that cannot is undone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use skep_tests::strict::{self, Failure, Mode, Plan, Running, Think};
use skep_tests::{Deadline, LIMIT, Port, Skep, Start, process};

const THINKING: Mode = Mode::KeepAlive(Think { min: Duration::ZERO, max: Duration::from_millis(10) });
const SHORT: Mode = Mode::Short(Think { min: Duration::ZERO, max: Duration::from_millis(10) });

/// Two workers of a plain Node server under load, and other releases of skep.
struct Stage {
    skep: Skep,
    load: Vec<Running>,
}

impl Stage {
    fn new() -> Self {
        let (skep, port) = (Skep::new(), Port::free());
        skep.start(&Start::fixture("app", "http.cjs").port(port.number()).instances(2));
        let start = |mode, clients| {
            strict::start(Plan::get(port.address(), mode, clients)).expect("the client starts")
        };
        let load = vec![start(SHORT, 2), start(THINKING, 6)];
        let stage = Self { skep, load };
        stage.wait();
        stage
    }

    fn wait(&self) {
        for running in &self.load {
            running.wait_for_more(20, LIMIT);
        }
    }

    /// This skep under another name: another release.
    fn release(&self, name: &str) -> PathBuf {
        let ours = self.skep.command(["--version"]).get_program().to_owned();
        let path = self.skep.root().join(name);
        if fs::hard_link(&ours, &path).is_err() {
            fs::copy(&ours, &path).expect("there is room for a copy of skep");
        }
        path
    }

    fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.skep.root().join(name);
        fs::write(&path, text).expect("the folder is writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        path
    }

    fn program(&self) -> String {
        self.skep.daemon().program
    }

    /// Upgrades; keeper and daemon are the new program, and nothing else has changed.
    #[track_caller]
    fn check_upgrade(&self, to: &Path) {
        let (before, daemon) = (self.skep.app("app"), self.skep.daemon());
        let said = self.skep.ok(["upgrade", &to.to_string_lossy()]);
        let after = self.skep.daemon();
        assert_eq!(after.program, to.to_string_lossy(), "{said}");
        assert_eq!(after.keeper_pid, daemon.keeper_pid, "the keeper's process stays");
        assert_ne!(after.pid, daemon.pid, "the daemon is another");
        let keeper = fs::read_link(format!("/proc/{}/exe", after.keeper_pid)).expect("the keeper lives");
        assert_eq!(keeper, to);
        assert_eq!(self.skep.app("app").pids(), before.pids());
        self.wait();
    }

    /// Tries to upgrade; everything is as it was, and the command says why.
    #[track_caller]
    fn check_refused(&self, to: &Path, reason: &str) {
        let (before, program) = (self.skep.app("app"), self.program());
        let said = self.skep.err(["upgrade", &to.to_string_lossy()]);
        assert!(said.contains(reason), "{reason:?} is not in: {said}");
        assert_eq!(self.program(), program);
        assert_eq!(self.skep.app("app").pids(), before.pids());
        self.wait();
    }

    /// Not one request failed, no worker was started twice, and skep still does its work.
    #[track_caller]
    fn finish(self) {
        let app = self.skep.settled("app", 2);
        assert_eq!(app.restarts(), 0);
        let is_worker = |pid: &u32| process::command_line(*pid).contains("http.cjs");
        let mut alive: Vec<u32> = self.skep.processes().into_iter().filter(is_worker).collect();
        let mut known = app.pids();
        alive.sort_unstable();
        known.sort_unstable();
        assert_eq!(alive, known);
        self.skep.ok(["reload", "app"]);
        self.wait();
        for report in self.load.into_iter().map(Running::stop) {
            println!("{report}");
            assert_eq!(report.failures(), 0, "{report}");
        }
    }
}

#[test]
fn upgrades_again_and_again_drop_nothing_and_workers_keep_their_pids() {
    let stage = Stage::new();
    for number in 0..4 {
        let next = stage.release(&format!("skep-{number}"));
        stage.check_upgrade(&next);
    }
    stage.finish();
}

#[test]
fn releases_that_speak_other_protocols_follow_each_other() {
    let stage = Stage::new();
    // From the one before ours, whose keeper passes no connections on, to the next one, which still speaks our protocol,
    // back and there again, to the one after that, which does not, and back at once; far away in the end, where the old
    // daemon and the new keeper have no word in common.
    for name in [
        "skep-before-speaks-1-1",
        "skep-now",
        "skep-speaks-3-2",
        "skep-older",
        "skep-again-speaks-3-2",
        "skep-speaks-4-3",
        "skep-old",
        "skep-speaks-9-8",
    ] {
        stage.check_upgrade(&stage.release(name));
    }
    stage.finish();
}

#[test]
fn an_upgrade_to_what_is_no_skep_is_refused() {
    let stage = Stage::new();
    stage.check_refused(Path::new("/nonexistent"), "the new skep cannot be used");
    stage.check_refused(Path::new("/bin/true"), "was not upgraded");
    stage.check_refused(&stage.script("exits", "#!/bin/sh\necho broken; exit 4\n"), "broken");
    stage.check_refused(&stage.release("skep-fault-keeper:refuse-state:1"), "was not upgraded");
    stage.finish();
}

#[test]
fn an_upgrade_to_what_hangs_is_given_up() {
    let stage = Stage::new();
    stage.check_refused(&stage.script("hangs", "#!/bin/sh\nexec sleep 1000\n"), "was not upgraded");
    stage.finish();
}

#[test]
fn an_upgrade_whose_daemon_dies_is_undone() {
    let stage = Stage::new();
    for point in ["start", "inventory", "restored"] {
        let broken = stage.release(&format!("skep-fault-daemon:{point}:1"));
        stage.check_refused(&broken, "could not start");
    }
    stage.finish();
}

/// The keeper is the next release's by then, and goes back to ours with what happened meanwhile.
#[test]
fn an_upgrade_whose_daemon_hangs_is_undone_and_a_worker_that_died_meanwhile_is_replaced() {
    let stage = Stage::new();
    let broken = stage.release("skep-speaks-3-2-fault-daemon:start:1:hang");
    let (keeper, program) = (stage.skep.daemon().keeper_pid, stage.program());
    let before = stage.skep.app("app").pids();
    let upgrade = stage.skep.command(["upgrade", &broken.to_string_lossy()]).stderr(Stdio::null()).spawn();
    let mut upgrade = upgrade.expect("skep runs");
    let of_keeper = || fs::read_link(format!("/proc/{keeper}/exe")).ok();
    Deadline::until("the next keeper is there", || (of_keeper()? == broken).then_some(()));
    process::kill(before[0]);
    assert!(upgrade.wait().is_ok_and(|status| !status.success()), "it was given up");
    assert_eq!((stage.program(), of_keeper()), (program.clone(), Some(PathBuf::from(program))));
    let after = stage.skep.wait("app", "a successor", |app| app.is_settled(2) && app.pids() != before);
    assert_eq!(after.pids()[1], before[1]);
    stage.wait();
    for report in stage.load.into_iter().map(Running::stop) {
        println!("{report}");
        assert_eq!(report.failures_of(Failure::Refused), 0, "only what was inside the dead worker: {report}");
    }
}
