//! Finding and starting by the home.

use std::ffi::OsString;
use std::process::{Command, ExitCode, Stdio};

use skep_keeper::home::Home;

use crate::Test;

pub(crate) const TESTS: &[Test] = &[
    ("the_first_command_starts_a_keeper_and_the_second_finds_it", first_and_second),
    ("of_many_commands_at_once_one_starts_the_keeper", many_at_once),
    ("a_keeper_that_was_killed_is_replaced_at_the_next_command", killed),
    ("a_full_disk_is_no_obstacle_while_files_can_be_made_and_else_told_with_a_remedy", full_disk),
    ("a_home_that_cannot_be_written_to_is_told_with_a_remedy", read_only),
    ("nobody_is_there_before_the_first_command", nobody),
];

/// `__connect DIR`: connects or starts, and says the keeper's pid.
pub(crate) fn play_client(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let home = Home::at(args.next().unwrap());
    let before = skep_sys::clock::boottime_ns();
    let stream = match home.connect_or_start() {
        Ok(stream) => stream,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let after = skep_sys::clock::boottime_ns();
    println!("{}", (after - before) / 1000);
    drop(stream);
    ExitCode::SUCCESS
}

struct Place {
    home: Home,
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Place { home: Home::at(directory.path().join("home")), directory }
    }

    /// A command in a process of its own, as a shell would start it.
    fn command(&self) -> Command {
        let mut command = Command::new("/proc/self/exe");
        let rig = self.directory.path().join("rig.sock");
        command.arg("__connect").arg(self.home.path()).env("SKEP_RIG", rig).stdout(Stdio::piped());
        command
    }

    fn connect_us(&self) -> u64 {
        let output = self.command().output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    }

    /// The pid that the lock's holder wrote down, once it is another one than `before`: it writes it a moment after it
    /// can be connected to.
    fn keeper_after(&self, before: i32) -> i32 {
        let give_up_ns = skep_sys::clock::boottime_ns() + 30_000_000_000;
        while skep_sys::clock::boottime_ns() < give_up_ns {
            match self.home.keeper_pid() {
                Some(pid) if pid != before => return pid,
                _ => std::thread::yield_now(),
            }
        }
        panic!(
            "no keeper has written its pid: {}",
            std::fs::read_to_string(self.home.log()).unwrap_or_default()
        );
    }

    fn keeper(&self) -> i32 {
        self.keeper_after(0)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(keeper) = self.home.keeper_pid() {
            skep_sys::proc::kill_descendants(keeper, 9);
        }
    }
}

fn first_and_second() {
    let place = Place::new();
    let _rig = skep_sys::unix::listen(&place.directory.path().join("rig.sock"), 64).unwrap();
    let cold = place.connect_us();
    let keeper = place.keeper();
    let warm = place.connect_us();
    println!("  cold start until connected {cold} µs, warm {warm} µs (debug build)");
    assert_eq!(place.keeper(), keeper);
    let session = skep_sys::proc::stat(keeper).unwrap().session;
    assert_eq!(session, keeper, "it has its own session");
    assert_eq!(std::fs::read_link(format!("/proc/{keeper}/cwd")).unwrap().to_str(), Some("/"));
}

fn many_at_once() {
    let place = Place::new();
    let _rig = skep_sys::unix::listen(&place.directory.path().join("rig.sock"), 64).unwrap();
    let commands: Vec<_> = (0..16).map(|_| place.command().spawn().unwrap()).collect();
    for command in commands {
        let output = command.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    place.keeper();
    let log = std::fs::read_to_string(place.home.log()).unwrap();
    assert_eq!(log, "", "one keeper, no quarrel");
}

fn killed() {
    let place = Place::new();
    let _rig = skep_sys::unix::listen(&place.directory.path().join("rig.sock"), 64).unwrap();
    place.connect_us();
    let first = place.keeper();
    let handle = skep_sys::pidfd::PidFd::open(first).unwrap();
    handle.signal(9).unwrap();
    handle.wait().unwrap();
    place.connect_us();
    // While the old daemon has not noticed yet, it may still be the one who answers.
    while place.home.keeper_pid() == Some(first) {
        place.connect_us();
    }
    let second = place.keeper_after(first);
    assert!(skep_sys::proc::stat(second).is_ok());
}

fn nobody() {
    let place = Place::new();
    assert!(place.home.connect().unwrap().is_none());
    let claim = place.home.claim().unwrap().unwrap();
    assert!(place.home.claim().unwrap().is_none(), "only one can have it");
    assert!(place.home.connect().unwrap().is_some(), "the queue takes us before anybody accepts");
    drop(claim);
    assert!(place.home.connect().unwrap().is_none(), "a stale socket is nobody");
    assert!(place.home.claim().unwrap().is_some(), "and is no obstacle");
}

/// Runs a client in a mount namespace of its own with a file system made for it at the place of the home.
fn on_file_system(options: &str, prepare: &str) -> Option<std::process::Output> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let place = Place::new();
    let _rig = skep_sys::unix::listen(&place.directory.path().join("rig.sock"), 64).unwrap();
    // The shell is init of a pid namespace: when it ends, the keeper ends.
    let script = format!(
        "mkdir {home} && mount -t tmpfs -o {options},mode=700 none {home} || exit 99; cd {home} && {prepare}; cd /; \
         /proc/self/exe __connect {home}; exit $?",
        home = place.home.path().display()
    );
    let exe = std::env::current_exe().unwrap();
    let script = script.replace("/proc/self/exe", exe.to_str().unwrap());
    let mut command = Command::new("unshare");
    let command = command.args(["--mount", "--pid", "--fork", "sh", "-c", &script]);
    let output = command.env("SKEP_RIG", place.directory.path().join("rig.sock")).output().ok()?;
    // Without the right to mount there is nothing to test.
    (output.status.code() != Some(99)).then_some(output)
}

fn full_disk() {
    let fill = "{ cat /dev/zero > filler; } 2>/dev/null; true";
    let Some(output) = on_file_system("size=64k", fill) else { return };
    assert!(output.status.success(), "{output:?}");
    let Some(output) = on_file_system("size=64k,nr_inodes=2", "true > filler") else { return };
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("No space left on device") && said.contains("free some space"), "{said}");
}

fn read_only() {
    let Some(output) = on_file_system("size=64k", "mount -o remount,ro .") else { return };
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("Read-only file system") && said.contains("set SKEP_HOME"), "{said}");
}
