//! Starting, signalling, ending.

use std::os::fd::{AsFd, OwnedFd};

use skep_keeper::wire::{ChildState, FdSource, Limit, Reply, Request, Scope, Spawn};
use skep_sys::spawn::Stage;
use skep_sys::wait::ExitStatus;

use crate::Test;
use crate::rig::{Daemon, Rig, read_line, shell, wait_for_end};

pub(crate) const TESTS: &[Test] = &[
    ("a_child_runs_with_its_descriptors_and_its_exit_is_told", runs_and_exits),
    ("a_descriptor_may_come_from_the_safe_box", stored_descriptor),
    ("a_start_that_fails_says_where_and_why_and_is_kept", failed_start),
    ("the_same_order_twice_starts_one_child", idempotent),
    ("signals_reach_process_group_or_tree", scopes),
    ("what_a_child_leaves_behind_is_killed_before_its_exit_is_told", left_behind),
    ("a_tree_that_ignores_sigterm_is_killed_whole", stubborn_tree),
    ("without_kill_tree_orphans_live_and_are_reaped_when_they_end", orphans),
    ("a_forgotten_child_is_not_in_the_inventory", forgotten),
    ("children_get_the_descriptor_limit_that_the_keeper_was_started_with", descriptor_limit),
    ("the_bind_interceptions_descriptor_comes_along_and_comes_back", bind_share),
    ("a_large_environment_travels", large_environment),
];

/// Adds a pipe as the child's standard output; the read end is for the test.
fn with_output(daemon: &mut Daemon, mut spawn: Spawn) -> OwnedFd {
    let (read, write) = skep_sys::pipe::pipe().unwrap();
    spawn.fds = vec![(0, FdSource::Null), (1, FdSource::Attached), (2, FdSource::Null)];
    daemon.send_with(&Request::Spawn(Box::new(spawn)), &[write.as_fd()]);
    read
}

fn runs_and_exits() {
    let rig = Rig::start();
    let mut daemon = rig.fresh_daemon();
    let output = with_output(&mut daemon, Spawn { cwd: b"/usr".to_vec(), ..shell(1, "pwd; exit 5") });
    let pid = daemon.spawned(1);
    assert_eq!(read_line(&output), "/usr");
    assert_eq!(daemon.exited(1), ExitStatus::Code(5));
    assert!(skep_sys::proc::stat(pid).is_err(), "it was reaped before its exit was told");
}

fn stored_descriptor() {
    let rig = Rig::start();
    let mut daemon = rig.fresh_daemon();
    let (read, write) = skep_sys::pipe::pipe().unwrap();
    let null = std::fs::File::open("/dev/null").unwrap();
    let store = Request::Store { key: b"out".to_vec(), note: Vec::new() };
    daemon.send_with(&store, &[null.as_fd(), write.as_fd()]);
    let mut spawn = shell(1, "echo stored");
    spawn.fds = vec![(1, FdSource::Stored { key: b"out".to_vec(), index: 1 })];
    daemon.spawn(spawn);
    daemon.spawned(1);
    assert_eq!(read_line(&read), "stored");
    assert_eq!(daemon.exited(1), ExitStatus::Code(0));
    let mut spawn = shell(2, "echo");
    spawn.fds = vec![(1, FdSource::Stored { key: b"none".to_vec(), index: 0 })];
    daemon.spawn(spawn);
    let reply = daemon.reply();
    assert!(matches!(reply, Reply::SpawnFailed { child: 2, stage: Stage::Prepare, errno: 9 }), "{reply:?}");
}

fn failed_start() {
    let rig = Rig::start();
    let mut daemon = rig.fresh_daemon();
    daemon.spawn(Spawn::new(7, vec![b"/nonexistent".to_vec()]));
    let reply = daemon.reply();
    assert_eq!(reply, Reply::SpawnFailed { child: 7, stage: Stage::Exec, errno: 2 });
    daemon.kill();
    let inventory = rig.daemon().hello();
    assert_eq!(inventory.children[&7].1, ChildState::Failed { stage: Stage::Exec, errno: 2 });
}

fn idempotent() {
    let rig = Rig::start();
    let mut daemon = rig.fresh_daemon();
    let pid = daemon.shell(3, "read x; exit 1");
    assert_eq!(daemon.exited(3), ExitStatus::Code(1));
    daemon.spawn(shell(3, "exit 2"));
    assert_eq!(daemon.spawned(3), pid);
    assert_eq!(daemon.exited(3), ExitStatus::Code(1));
}

fn scopes() {
    let rig = Rig::start();
    let mut daemon = rig.fresh_daemon();
    for (child, scope) in [(1, Scope::Process), (2, Scope::Group), (3, Scope::Tree)] {
        daemon.shell(child, "sleep 1000 & wait");
        daemon.send(&Request::Signal { child, signal: 15, scope });
        assert_eq!(daemon.exited(child), ExitStatus::Signal { signal: 15, core_dumped: false });
    }
    daemon.send(&Request::Signal { child: 3, signal: 15, scope: Scope::Group });
    daemon.send(&Request::Signal { child: 99, signal: 15, scope: Scope::Process });
    daemon.barrier();
    daemon.shell(4, "exec sleep 1000");
    daemon.send(&Request::Signal { child: 4, signal: 9999, scope: Scope::Process });
    assert_eq!(daemon.reply(), Reply::SignalFailed { child: 4, errno: 22 });
}

fn left_behind() {
    let rig = Rig::start();
    let mut daemon = rig.fresh_daemon();
    // One in its group, one in a session of its own whose parent is in the group.
    let script = "trap '' TERM HUP INT; sleep 1000 & echo $!; \
                  sh -c 'setsid sleep 1000 & echo $!; wait' & read x; exit 0";
    let mut spawn = shell(1, script);
    let (read, write) = skep_sys::pipe::pipe().unwrap();
    let (input, release) = skep_sys::pipe::pipe().unwrap();
    spawn.fds = vec![(0, FdSource::Attached), (1, FdSource::Attached)];
    daemon.send_with(&Request::Spawn(Box::new(spawn)), &[input.as_fd(), write.as_fd()]);
    drop((input, write));
    daemon.spawned(1);
    let family: Vec<i32> =
        [read_line(&read), read_line(&read)].iter().map(|pid| pid.parse().unwrap()).collect();
    drop(release);
    assert_eq!(daemon.exited(1), ExitStatus::Code(0));
    for pid in family {
        wait_for_end(pid);
    }
}

fn stubborn_tree() {
    let rig = Rig::start();
    let mut daemon = rig.fresh_daemon();
    let script = "trap '' TERM; setsid sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1000; done' & \
                  while :; do sleep 1000; done";
    let output = with_output(&mut daemon, shell(1, script));
    let leader = daemon.spawned(1);
    let outside: i32 = read_line(&output).parse().unwrap();
    daemon.send(&Request::Signal { child: 1, signal: 15, scope: Scope::Tree });
    daemon.barrier();
    assert!(skep_sys::proc::stat(leader).is_ok() && skep_sys::proc::stat(outside).is_ok());
    daemon.send(&Request::Signal { child: 1, signal: 9, scope: Scope::Tree });
    assert_eq!(daemon.exited(1), ExitStatus::Signal { signal: 9, core_dumped: false });
    wait_for_end(outside);
}

fn orphans() {
    let rig = Rig::start();
    let mut daemon = rig.fresh_daemon();
    let spawn = Spawn { kill_tree: false, ..shell(1, "sleep 1000 & echo $!") };
    let output = with_output(&mut daemon, spawn);
    daemon.spawned(1);
    assert_eq!(daemon.exited(1), ExitStatus::Code(0));
    let orphan: i32 = read_line(&output).parse().unwrap();
    assert_eq!(skep_sys::proc::stat(orphan).unwrap().parent, rig.keeper);
    skep_sys::signal::send(orphan, 9).unwrap();
    wait_for_end(orphan);
    // The keeper gets its signal for this one later than for the orphan.
    daemon.shell(2, "exit 0");
    daemon.exited(2);
    assert!(skep_sys::proc::stat(orphan).is_err(), "it is no zombie");
}

fn forgotten() {
    let rig = Rig::start();
    let mut daemon = rig.fresh_daemon();
    daemon.shell(1, "exit 0");
    daemon.exited(1);
    daemon.shell(2, "exec sleep 1000");
    daemon.send(&Request::Forget { child: 1 });
    daemon.send(&Request::Forget { child: 2 });
    daemon.kill();
    let mut daemon = rig.daemon();
    let inventory = daemon.hello();
    assert_eq!(inventory.children.keys().collect::<Vec<_>>(), [&2], "it lives still");
    daemon.send(&Request::Signal { child: 2, signal: 9, scope: Scope::Process });
    daemon.shell(3, "exit 0");
    assert_eq!(daemon.exited(3), ExitStatus::Code(0));
    daemon.kill();
    assert_eq!(rig.daemon().hello().children.keys().collect::<Vec<_>>(), [&3]);
}

fn descriptor_limit() {
    let rig = Rig::start();
    let mut daemon = rig.fresh_daemon();
    let ours = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let output = with_output(&mut daemon, shell(1, "ulimit -Sn"));
    assert_eq!(read_line(&output), ours.current.unwrap().to_string());
    let limits = vec![Limit { resource: 7, soft: 99, hard: 200 }];
    daemon.spawned(1);
    daemon.exited(1);
    let output = with_output(&mut daemon, Spawn { limits, ..shell(2, "ulimit -Sn") });
    assert_eq!(read_line(&output), "99");
}

fn bind_share() {
    let rig = Rig::start();
    let mut daemon = rig.fresh_daemon();
    daemon.spawn(Spawn { bind_share: true, ..shell(1, "exec sleep 1000") });
    let delivery = daemon.delivery();
    match delivery.reply {
        Reply::Spawned { child: 1, .. } => assert_eq!(delivery.fds.len(), 1),
        // A sandbox without user notifications.
        Reply::SpawnFailed { child: 1, stage: Stage::Filter, .. } => return,
        other => panic!("{other:?}"),
    }
    daemon.kill();
    let inventory = rig.daemon().hello();
    assert_eq!(inventory.children[&1].2.len(), 1);
}

fn large_environment() {
    let rig = Rig::start();
    let mut daemon = rig.fresh_daemon();
    let mut spawn = shell(1, "echo ${#V0} ${#V9}");
    spawn.env.extend((0..10).map(|index| format!("V{index}={}", "x".repeat(100_000)).into_bytes()));
    let output = with_output(&mut daemon, spawn);
    daemon.spawned(1);
    assert_eq!(read_line(&output), "100000 100000");
}
