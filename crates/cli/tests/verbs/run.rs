//! `skep run`: streams and exit codes.

use crate::place::{Place, said};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};

/// Sends a signal by its name.
fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status();
    assert!(status.expect("kill can be run").success());
}

#[test]
fn the_apps_bytes_and_its_exit_code_come_through() {
    let place = Place::new();
    place.script("once.sh", r"printf 'out\377\n'; echo err >&2; exit 7");
    let output = place.command("run once.sh --no-autorestart").output().expect("skep can be run");
    assert_eq!(output.stdout, b"out\xff\n");
    assert_eq!(output.stderr, b"err\n");
    assert_eq!(output.status.code(), Some(7));
    place.script("killed.sh", "kill -KILL $$");
    assert_eq!(place.skep("run killed.sh --no-autorestart").code, 137);
    place.script("well.sh", "exit 0");
    assert_eq!(place.skep("run well.sh --no-autorestart").code, 0);
}

#[test]
fn a_clean_stop_by_signal_is_a_success() {
    let place = Place::new();
    place.script("web.sh", "trap 'echo bye; exit 0' INT; echo up; while :; do sleep 1 & wait; done");
    for name in ["TERM", "INT"] {
        let mut child = place.spawn("run web.sh");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        assert_eq!(lines.next().expect("it speaks").expect("text"), "up");
        signal(&child, name);
        assert_eq!(lines.next().expect("it says goodbye").expect("text"), "bye");
        assert_eq!(said(child.wait_with_output().expect("it ends")).code, 0, "{name}");
    }
}

#[test]
fn others_can_look_at_it_while_it_runs() {
    let place = Place::new();
    place.script("web.sh", "echo up; while :; do sleep 1 & wait; done");
    let mut child = place.spawn("run web.sh -i 2");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    assert_eq!(lines.next().expect("it speaks").expect("text"), "up");
    assert!(place.ok("list").contains("web"));
    place.ok("kill");
    assert_eq!(said(child.wait_with_output().expect("it ends")).code, 0);
}

#[test]
fn a_file_and_a_socket_get_every_line_in_its_place() {
    let place = Place::new();
    place.script("once.sh", "echo one; echo two >&2; exit 0");
    let file = File::create(place.path("log")).expect("a file can be made");
    let mut command = place.command("run once.sh --no-autorestart");
    command.stdout(file.try_clone().expect("a descriptor")).stderr(file);
    assert!(command.status().expect("skep can be run").success());
    let text = std::fs::read_to_string(place.path("log")).expect("it is there");
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["one", "two"]);

    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let mut command = place.command("run once.sh --no-autorestart");
    command.stdout(std::os::fd::OwnedFd::from(theirs)).stderr(std::process::Stdio::null());
    let status = command.status();
    drop(command);
    assert!(status.expect("skep can be run").success());
    let lines: Vec<String> = BufReader::new(ours).lines().map(|line| line.expect("text")).collect();
    assert_eq!(lines, ["one"]);
}
