//! A file that cannot be written: disk full, limits, directories that are files.

use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::rig::{Rig, lines};
use crate::{FULL_PATIENCE_NS, FileSpec, Format, Framing, Notice, Progress, WhenFull};

const SECOND_NS: u64 = 1_000_000_000;
/// Set in the process that a test starts itself again in.
const INSIDE: &str = "SKEP_LOGS_TEST_INSIDE";

/// Runs the named test again in another process, by way of `sh -c "<prepare> exec <wrapper> <test>"`.
fn run_again(test: &str, prepare: &str, wrapper: &str) {
    let me = std::env::current_exe().expect("own path");
    let status = Command::new("sh")
        .args(["-c", &format!("{prepare} exec {wrapper} \"$0\" --exact {test} --nocapture")])
        .arg(me)
        .env(INSIDE, "1")
        .status()
        .expect("sh");
    assert!(status.success(), "{test}, run again: {status}");
}

fn limit_file_size(bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: bytes, maximum }).expect("setrlimit");
}

/// A worker writes numbered lines into a file that can grow to 40,000 bytes; then it can grow again.
fn fill_and_free(
    format: &Format,
    when_full: WhenFull,
    patience: bool,
    free: impl Fn(),
    mut rig: Rig,
    spec: FileSpec,
) {
    let spec =
        FileSpec { format: format.clone(), framing: Framing::Lines, when_full, rotation: None, ..spec };
    let name = spec.path.strip_prefix(rig.dir.path()).expect("inside").to_str().expect("utf-8").to_owned();
    let worker = rig.worker(&[spec]);
    let mut number = 0;
    let mut wrote = 0;
    let mut write_lines = |rig: &mut Rig, bytes: usize| {
        let mut sent = 0;
        while sent < bytes {
            let line = format!("line number {number}\n").into_bytes();
            let took = rig.write_some(worker, &line);
            if took == 0 {
                break;
            }
            assert_eq!(took, line.len(), "short lines are atomic");
            sent += took;
            number += 1;
        }
        wrote += sent;
        sent
    };
    while write_lines(&mut rig, 4_000) > 0 {
        rig.settle();
    }
    // The worker stands still: its pipe is full, and nothing was lost.
    assert_eq!(rig.pump(worker), Progress::Waiting);
    assert!(matches!(rig.notices[..], [Notice::Blocked { .. }]), "{:?}", rig.notices);
    for _ in 0..20 {
        rig.pass(SECOND_NS);
    }
    let went_on = write_lines(&mut rig, 1);
    assert_eq!(went_on > 0, patience, "a worker is blocked for ever only if that was asked for");
    free();
    for _ in 0..3 {
        rig.pass(SECOND_NS);
        write_lines(&mut rig, 100);
    }
    rig.exit(worker);
    rig.settle();
    assert!(rig.ended(worker));
    let found = lines(&rig.read(&name), format);
    let text: Vec<String> = found.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    let dropped: u64 = text
        .iter()
        .filter_map(|line| line.strip_prefix("[skep] ")?.split(' ').next()?.parse::<u64>().ok())
        .sum();
    let kept: Vec<&String> = text.iter().filter(|line| !line.starts_with("[skep] ")).collect();
    let kept_bytes: usize = kept.iter().map(|line| line.len() + 1).sum();
    if patience {
        // The line that the limit cut in two got its end from us.
        let added = u64::from(!text.contains(&format!("line number {}", kept_before_note(&text))));
        assert_eq!(
            kept_bytes as u64 - added + dropped,
            wrote as u64,
            "every byte is in the file or counted in it"
        );
        assert!(
            matches!(rig.notices[1..], [Notice::Dropping { .. }, Notice::Resumed { .. }]),
            "{:?}",
            rig.notices
        );
        let Notice::Resumed { dropped_bytes, .. } = rig.notices[2] else { unreachable!() };
        assert_eq!(dropped_bytes, dropped);
    } else {
        let expected: Vec<String> = (0..kept.len()).map(|number| format!("line number {number}")).collect();
        assert!(text == expected, "nothing is lost");
        assert_eq!(kept_bytes, wrote);
        assert!(matches!(rig.notices[1..], [Notice::Resumed { dropped_bytes: 0, .. }]), "{:?}", rig.notices);
    }
}

/// The number that the line before the first note of ours should have.
fn kept_before_note(text: &[String]) -> usize {
    text.iter().position(|line| line.starts_with("[skep]")).expect("a note") - 1
}

fn patient() -> WhenFull {
    WhenFull::Drop { after_ns: FULL_PATIENCE_NS }
}

#[test]
fn a_file_at_its_size_limit_blocks_then_drops_and_counts_then_goes_on() {
    if std::env::var_os(INSIDE).is_none() {
        // The signal that comes with this limit would end us; a daemon ignores it too.
        return run_again(
            "tests::full::a_file_at_its_size_limit_blocks_then_drops_and_counts_then_goes_on",
            "trap '' XFSZ;",
            "",
        );
    }
    for format in [Format::Raw, Format::Json(None)] {
        for (when_full, patience) in [(WhenFull::Block, false), (patient(), true)] {
            limit_file_size(Some(40_000));
            let rig = Rig::new();
            let spec = rig.spec("a.log");
            fill_and_free(&format, when_full, patience, || limit_file_size(None), rig, spec);
        }
    }
}

#[test]
fn a_full_disk_blocks_then_drops_and_counts_then_goes_on() {
    let root = rustix::process::geteuid().is_root();
    if !root && std::env::var_os(INSIDE).is_none() {
        let test = "tests::full::a_full_disk_blocks_then_drops_and_counts_then_goes_on";
        let namespaces = Command::new("unshare").args(["-Urm", "true"]).status().is_ok_and(|s| s.success());
        assert!(
            namespaces,
            "a full disk can be made only by root or with user namespaces: run this test as root"
        );
        return run_again(test, "", "unshare -Urm");
    }
    for format in [Format::Raw, Format::Json(None)] {
        for (when_full, patience) in [(WhenFull::Block, false), (patient(), true)] {
            let rig = Rig::new();
            let disk = Disk::mount(rig.path("disk"));
            let spec = rig.spec("disk/a.log");
            fill_and_free(&format, when_full, patience, || disk.free(), rig, spec);
        }
    }
}

/// A small tmpfs, partly taken by a file that can be removed.
struct Disk(std::path::PathBuf);

impl Disk {
    fn mount(path: std::path::PathBuf) -> Self {
        std::fs::create_dir(&path).expect("mkdir");
        let mut mount = Command::new("mount");
        let status = mount.args(["-t", "tmpfs", "-o", "size=2m", "none"]).arg(&path).status().expect("mount");
        assert!(status.success(), "mount: {status}");
        std::fs::write(path.join("ballast"), vec![0; (2 << 20) - 40_960]).expect("ballast");
        Self(path)
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("ballast")).expect("remove");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_device_that_is_always_full_is_told_of_once() {
    let mut rig = Rig::new();
    let spec = FileSpec { path: "/dev/full".into(), ..rig.spec("unused") };
    let worker = rig.worker(&[spec]);
    rig.write_some(worker, b"one\n");
    assert_eq!(rig.pump(worker), Progress::Waiting);
    for _ in 0..20 {
        rig.pass(SECOND_NS);
    }
    assert!(
        matches!(rig.notices[..], [Notice::Blocked { .. }, Notice::Dropping { .. }]),
        "{:?}",
        rig.notices
    );
    rig.exit(worker);
    assert_eq!(rig.pump(worker), Progress::Ended);
}

#[test]
fn a_directory_that_is_a_file_is_trouble_until_it_is_none() {
    let mut rig = Rig::new();
    std::fs::write(rig.path("logs"), "a file").expect("write");
    let spec = rig.spec("logs/a.log");
    let worker = rig.worker(&[spec]);
    rig.write_some(worker, b"one\n");
    assert_eq!(rig.pump(worker), Progress::Waiting);
    std::fs::remove_file(rig.path("logs")).expect("remove");
    rig.pass(SECOND_NS);
    assert_eq!(rig.read("logs/a.log"), b"one\n");
    assert!(matches!(rig.notices[..], [Notice::Blocked { .. }, Notice::Resumed { .. }]), "{:?}", rig.notices);
}

#[test]
fn of_two_files_the_full_one_drops_and_the_other_goes_on() {
    let mut rig = Rig::new();
    let full = FileSpec { path: "/dev/full".into(), ..rig.spec("unused") };
    let files = [rig.spec("a.log"), full];
    let worker = rig.worker(&files);
    rig.write_some(worker, b"one\n");
    assert_eq!(rig.pump(worker), Progress::Waiting);
    for _ in 0..20 {
        rig.pass(SECOND_NS);
    }
    rig.write_some(worker, b"two\n");
    rig.settle();
    assert_eq!(rig.read("a.log"), b"one\ntwo\n");
}
