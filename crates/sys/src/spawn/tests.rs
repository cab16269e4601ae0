use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use super::*;
use crate::wait::{ExitStatus, reap_blocking};

fn bytes(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

/// Runs to the end; returns what it wrote to descriptor 1, and its exit.
fn output(order: &Order<'_>, more: &[(RawFd, BorrowedFd<'_>)]) -> (String, ExitStatus) {
    let (read, write) = crate::pipe::pipe().expect("pipe");
    let null = File::open("/dev/null").expect("null");
    let mut fds = vec![(0, null.as_fd()), (1, write.as_fd()), (2, write.as_fd())];
    fds.extend_from_slice(more);
    let started = spawn(&Order { fds: &fds, ..*order }).expect("spawn");
    drop(write);
    started.outcome.wait().expect("exec");
    let mut text = String::new();
    File::from(read).read_to_string(&mut text).expect("read");
    (text, reap_blocking(started.pid).expect("reap"))
}

fn shell(script: &str) -> Vec<Vec<u8>> {
    bytes(&["/bin/sh", "-c", script])
}

fn failure(order: &Order<'_>) -> Failure {
    let started = spawn(order).expect("spawn");
    let failure = started.outcome.wait().expect_err("must fail");
    assert_eq!(reap_blocking(started.pid).expect("reap"), ExitStatus::Code(127));
    failure
}

#[test]
fn the_child_has_its_own_session_and_clean_signals() {
    let argv = shell("echo $$; cut -d' ' -f5,6 /proc/$$/stat; grep -E 'SigBlk|SigIgn' /proc/self/status");
    let (text, exit) = output(&Order { argv: &argv, ..Order::default() }, &[]);
    assert_eq!(exit, ExitStatus::Code(0));
    let mut lines = text.lines();
    let pid = lines.next().expect("pid");
    assert_eq!(lines.next(), Some(format!("{pid} {pid}").as_str()));
    for line in lines {
        assert!(line.ends_with("0000000000000000"), "{line}");
    }
}

#[test]
fn exactly_the_wanted_descriptors_are_open() {
    let _others: Vec<File> = (0..20).map(|_| File::open("/dev/null").expect("open")).collect();
    let argv = bytes(&["ls", "-1", "/proc/self/fd"]);
    let null = File::open("/dev/null").expect("null");
    let (text, _) = output(&Order { argv: &argv, ..Order::default() }, &[(7, null.as_fd())]);
    // 3 is the directory that ls itself reads.
    assert_eq!(text.lines().collect::<Vec<_>>(), ["0", "1", "2", "3", "7"]);
}

#[test]
fn descriptors_land_right_when_numbers_and_sources_overlap() {
    let directory = tempfile::tempdir().expect("dir");
    let files: Vec<File> = (0..4)
        .map(|index| {
            let path = directory.path().join(index.to_string());
            std::fs::write(&path, index.to_string()).expect("write");
            File::open(path).expect("open")
        })
        .collect();
    // Each file goes to the number that the next one has here: a cycle.
    let targets: Vec<_> =
        (0..4).map(|index| (files[(index + 1) % 4].as_raw_fd(), files[index].as_fd())).collect();
    let script: Vec<_> = (0..4).map(|i| format!("cat /proc/self/fd/{}; ", files[i].as_raw_fd())).collect();
    let argv = shell(&script.concat());
    let (text, _) =
        output(&Order { argv: &argv, env: &bytes(&["PATH=/bin:/usr/bin"]), ..Order::default() }, &targets);
    assert_eq!(text, "3012");
}

#[test]
fn a_number_given_twice_or_out_of_range_is_refused_before_the_fork() {
    let null = File::open("/dev/null").expect("null");
    let argv = bytes(&["/bin/true"]);
    for fds in [[(5, null.as_fd()), (5, null.as_fd())], [(0, null.as_fd()), (TARGET_MAX + 1, null.as_fd())]] {
        let refused = spawn(&Order { argv: &argv, fds: &fds, ..Order::default() }).expect_err("refused");
        assert_eq!(refused, Failure { stage: Stage::Prepare, errno: libc::EBADF });
    }
    let zero = vec![b"/bin/true".to_vec(), b"a\0b".to_vec()];
    let refused = spawn(&Order { argv: &zero, ..Order::default() }).expect_err("refused");
    assert_eq!(refused, Failure { stage: Stage::Prepare, errno: libc::EINVAL });
}

#[test]
fn a_failure_names_its_stage_and_reason() {
    let missing = bytes(&["/nonexistent/program"]);
    let order = Order { argv: &missing, ..Order::default() };
    assert_eq!(failure(&order), Failure { stage: Stage::Exec, errno: libc::ENOENT });
    let text = failure(&order).to_string();
    assert!(text.starts_with("executing the program failed: No such file"), "{text}");

    let directory = bytes(&["/etc"]);
    let order = Order { argv: &directory, ..Order::default() };
    assert_eq!(failure(&order), Failure { stage: Stage::Exec, errno: libc::EACCES });

    let argv = bytes(&["/bin/true"]);
    let order = Order { argv: &argv, cwd: Some(b"/nonexistent"), ..Order::default() };
    assert_eq!(failure(&order), Failure { stage: Stage::Cwd, errno: libc::ENOENT });

    let limits = [Limit { resource: 999, soft: 1, hard: 1 }];
    let order = Order { argv: &argv, limits: &limits, ..Order::default() };
    assert_eq!(failure(&order), Failure { stage: Stage::Limits, errno: libc::EINVAL });
}

#[test]
fn a_program_without_a_slash_is_found_as_execvp_finds_it() {
    let directory = tempfile::tempdir().expect("dir");
    let place = directory.path().to_str().expect("utf-8");
    std::fs::write(directory.path().join("greet"), "not executable").expect("write");
    let greet = bytes(&["greet"]);
    let path = bytes(&[&format!("PATH=/nonexistent:{place}")]);
    let order = Order { argv: &greet, env: &path, ..Order::default() };
    assert_eq!(failure(&order), Failure { stage: Stage::Exec, errno: libc::EACCES });
    let sh = bytes(&["sh", "-c", "echo hi"]);
    let path = bytes(&[&format!("PATH=/nonexistent:{place}:/bin")]);
    let (text, _) = output(&Order { argv: &sh, env: &path, ..Order::default() }, &[]);
    assert_eq!(text, "hi\n");
}

#[test]
fn directory_mask_limits_and_niceness_are_as_ordered() {
    let argv = shell("pwd; umask; ulimit -n; nice; grep NoNewPrivs /proc/self/status");
    let limits = [Limit { resource: libc::RLIMIT_NOFILE, soft: 77, hard: 99 }];
    let order = Order {
        argv: &argv,
        cwd: Some(b"/usr"),
        umask: Some(0o027),
        limits: &limits,
        nice: Some(5),
        no_new_privileges: true,
        ..Order::default()
    };
    let (text, _) = output(&order, &[]);
    assert_eq!(text, "/usr\n0027\n77\n5\nNoNewPrivs:\t1\n");
}

#[test]
fn ids_and_groups_are_dropped_for_good() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let argv = shell("id -u; id -g; id -G; grep CapEff /proc/self/status");
    let credentials = Credentials { uid: 65534, gid: 65533, groups: &[65533, 1234] };
    let (text, _) = output(&Order { argv: &argv, credentials: Some(credentials), ..Order::default() }, &[]);
    assert_eq!(text, "65534\n65533\n65533 1234\nCapEff:\t0000000000000000\n");
}

#[test]
fn the_listen_pid_is_the_childs_own_pid() {
    let argv = shell("test $LISTEN_PID = $$ && echo $A");
    let env = bytes(&["LISTEN_PID=", "A=1"]);
    let (text, exit) = output(&Order { argv: &argv, env: &env, ..Order::default() }, &[]);
    assert_eq!((text.as_str(), exit), ("1\n", ExitStatus::Code(0)));
}

#[test]
fn the_filters_notify_descriptor_reaches_the_parent() {
    let argv = bytes(&["/bin/true"]);
    let Ok(filter) = PreparedFilter::new() else { return };
    let started = spawn(&Order { argv: &argv, filter: Some(&filter), ..Order::default() }).expect("spawn");
    match started.outcome.wait() {
        Ok(executed) => assert!(executed.notify.is_some()),
        // A sandbox without user notifications.
        Err(failure) => assert_eq!(failure.stage, Stage::Filter),
    }
    reap_blocking(started.pid).expect("reap");
}

#[test]
fn two_hundred_at_once_all_run() {
    let argv = bytes(&["/bin/true"]);
    let before = crate::clock::boottime_ns();
    let started: Vec<_> =
        (0..200).map(|_| spawn(&Order { argv: &argv, ..Order::default() }).expect("spawn")).collect();
    let forked = crate::clock::boottime_ns();
    for one in started {
        one.outcome.wait().expect("exec");
        assert_eq!(reap_blocking(one.pid).expect("reap"), ExitStatus::Code(0));
    }
    let done = crate::clock::boottime_ns();
    println!("200 forks {} µs, all ended after {} µs", (forked - before) / 1000, (done - before) / 1000);
}
