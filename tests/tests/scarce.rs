//! What the machine has too little of: room on the disk, and watches of inotify. Each test runs in namespaces of its own, as
//! root or not, so that the scarcity is nobody else's.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use skep_tests::{Deadline, Skep, Start};

/// Set in the namespaces.
const INSIDE: &str = "SKEP_TEST_NAMESPACES";

/// Runs this file's test `name` in namespaces of its own. True there: that is where its body belongs.
#[track_caller]
fn inside(name: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount"])
        .arg(std::env::current_exe().expect("a test knows its program"))
        .args([name, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare (util-linux) is installed");
    assert!(
        status.success(),
        "{name} in namespaces of its own (does the kernel allow user namespaces?): {status}"
    );
    false
}

/// A file system of one megabyte.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: PathBuf) -> Self {
        fs::create_dir(&at).expect("the folder is new");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&at).status();
        assert!(mounted.is_ok_and(|status| status.success()), "a small tmpfs can be mounted");
        fs::set_permissions(&at, fs::Permissions::from_mode(0o700)).expect("it is ours");
        Self(at)
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    fn fill(&self) {
        let mut file = File::create(self.filler()).expect("there is room yet");
        // Ends with an error: no space is left.
        drop(std::io::copy(&mut std::io::repeat(0), &mut file));
    }

    fn make_room(&self) {
        fs::remove_file(self.filler()).expect("it is there");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: skep is still there.
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

fn sleeper(name: &str) -> Start {
    Start::program(name, "/bin/sleep").args(["1000"]).flags(["--listen-timeout", "100"])
}

fn holds(file: &Path, text: &str) -> Option<()> {
    fs::read_to_string(file).is_ok_and(|found| found.contains(text)).then_some(())
}

#[test]
fn a_full_disk_is_a_clear_error_and_loses_nothing() {
    if !inside("a_full_disk_is_a_clear_error_and_loses_nothing") {
        return;
    }
    let skep = Skep::new();
    let disk = Disk::mount(skep.home());
    skep.start(&sleeper("before"));
    disk.fill();
    let said = skep.start_fails(&sleeper("after"));
    assert!(said.to_lowercase().contains("space"), "it says that the disk is full: {said}");
    let names: Vec<_> = skep.apps().into_iter().map(|app| app.name).collect();
    assert_eq!(names, ["before"], "what could not be made durable is not done");
    disk.make_room();
    skep.start(&sleeper("after"));
    assert_eq!(skep.apps().len(), 2);
}

#[test]
fn a_full_disk_holds_lines_back_and_stops_no_worker() {
    if !inside("a_full_disk_holds_lines_back_and_stops_no_worker") {
        return;
    }
    let skep = Skep::new();
    let disk = Disk::mount(skep.root().join("logs"));
    let log = disk.0.join("out.log");
    skep.boot();
    let mut events = skep.events();
    let log_flags = ["--output".into(), log.clone().into_os_string()];
    let app = Start::fixture("app", "pm2-worker.js").env("FACTS", skep.root()).flags(log_flags);
    skep.start(&app.flags(["--listen-timeout", "100"]));
    Deadline::until("it writes", || holds(&log, "up"));
    let pids = skep.app("app").pids();
    disk.fill();
    // More than what is left of the file's last page.
    skep.ok(["send", "app", &format!("held back {}", "x".repeat(20_000))]);
    events.wait("somebody is told which file and why", |event| {
        event.message.contains("out.log cannot be written") && event.message.contains("space")
    });
    disk.make_room();
    events
        .wait("it goes on", |event| event.message.contains("out.log is written again; 0 bytes were dropped"));
    Deadline::until("the line was held back and not lost", || holds(&log, &"x".repeat(20_000)));
    assert_eq!(skep.app("app").pids(), pids, "the worker noticed nothing");
}

#[test]
fn a_limit_of_inotify_that_is_reached_is_named_with_its_sysctl() {
    if !inside("a_limit_of_inotify_that_is_reached_is_named_with_its_sysctl") {
        return;
    }
    fs::write("/proc/sys/user/max_inotify_watches", "2").expect("a user namespace has limits of its own");
    let skep = Skep::new();
    let project = skep.root().join("project");
    for folder in ["a/b", "c/d"] {
        fs::create_dir_all(project.join(folder)).expect("made");
    }
    skep.boot();
    let mut events = skep.events();
    let app = Start::program("app", "/bin/sleep").args(["1000"]);
    let cwd = project.to_str().expect("ASCII").to_owned();
    skep.start(&app.flags(["--listen-timeout", "100", "--watch", "--cwd", &cwd]));
    let event = events.wait("it is told", |event| event.kind == "trigger_trouble");
    for words in ["is not watched", "user.max_inotify_watches (2)", "sysctl user.max_inotify_watches="] {
        assert!(event.message.contains(words), "{}", event.message);
    }
    skep.settled("app", 1);
}
