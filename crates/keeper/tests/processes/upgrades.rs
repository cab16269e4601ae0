//! Becoming another program, and going back when it is no good.

use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use skep_keeper::wire::{ChildState, FdSource, Reply, Request, Scope, Spawn};
use skep_sys::wait::ExitStatus;

use crate::Test;
use crate::rig::{BROKEN_DAEMON, Daemon, Rig, shell, wait_for_end};

pub(crate) const TESTS: &[Test] = &[
    ("an_upgrade_keeps_pids_descriptors_notes_and_exits", keeps_everything),
    ("an_upgrade_to_what_cannot_start_changes_nothing", bad_programs),
    ("a_new_version_that_cannot_resume_gives_everything_back", cannot_resume),
    ("a_new_version_whose_daemon_cannot_start_gives_everything_back", broken_daemon),
    ("an_old_daemon_that_does_not_end_after_an_upgrade_is_ended", old_daemon_stays),
    ("a_storm_of_exits_during_upgrades_is_told_completely", exits_meanwhile),
];

/// A copy of this binary.
fn newer(rig: &Rig, name: &str) -> PathBuf {
    let path = rig.path(name);
    std::fs::copy("/proc/self/exe", &path).unwrap();
    path
}

fn program(rig: &Rig) -> PathBuf {
    skep_sys::proc::executable(rig.keeper).unwrap()
}

fn upgrade(daemon: &mut Daemon, path: &Path) {
    daemon.send(&Request::Upgrade { path: path.as_os_str().as_bytes().to_vec() });
}

fn upgraded(daemon: &mut Daemon) {
    let reply = daemon.reply();
    assert!(matches!(reply, Reply::Upgraded { .. }), "{reply:?}");
}

fn failed(daemon: &mut Daemon) -> String {
    match daemon.reply() {
        Reply::UpgradeFailed { reason } => String::from_utf8(reason).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn keeps_everything() {
    let rig = Rig::start();
    let mut daemon = rig.fresh_daemon();
    let (read, write) = skep_sys::pipe::pipe().unwrap();
    daemon.send_with(
        &Request::Store { key: b"pipe".to_vec(), note: b"n".to_vec() },
        &[write.as_fd(), read.as_fd()],
    );
    daemon.spawn(Spawn { note: b"web:0".to_vec(), bind_share: true, ..shell(1, "exec sleep 1000") });
    let pid = match daemon.delivery() {
        delivery if delivery.fds.len() == 1 => match delivery.reply {
            Reply::Spawned { pid, .. } => pid,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    daemon.shell(2, "exit 3");
    assert_eq!(daemon.exited(2), ExitStatus::Code(3));

    let path = newer(&rig, "newer");
    upgrade(&mut daemon, &path);
    upgraded(&mut daemon);
    assert_eq!(program(&rig), path);
    assert_eq!(rig.home.keeper_pid(), Some(rig.keeper));
    // The old daemon can still do everything.
    let after = daemon.shell(3, "exec sleep 1000");
    daemon.leave(0);

    let mut daemon = rig.daemon();
    let inventory = daemon.hello();
    assert_eq!(inventory.generation, 2);
    assert_eq!(inventory.children.keys().collect::<Vec<_>>(), [&1, &2, &3]);
    let (note, state, notify) = &inventory.children[&1];
    assert_eq!((note.as_slice(), notify.len()), (b"web:0".as_slice(), 1));
    assert!(matches!(state, ChildState::Running { pid: same, .. } if *same == pid));
    assert!(matches!(inventory.children[&2].1, ChildState::Exited { status: ExitStatus::Code(3), .. }));
    assert!(matches!(inventory.children[&3].1, ChildState::Running { pid: same, .. } if same == after));
    assert_eq!(inventory.stored[b"pipe".as_slice()].1.len(), 2);
    let mut spawn = shell(4, "echo through the box");
    spawn.fds = vec![(1, FdSource::Stored { key: b"pipe".to_vec(), index: 0 })];
    daemon.spawn(spawn);
    daemon.spawned(4);
    assert_eq!(crate::rig::read_line(&read), "through the box");
    daemon.exited(4);
    daemon.send(&Request::Signal { child: 1, signal: 15, scope: Scope::Tree });
    assert_eq!(daemon.exited(1), ExitStatus::Signal { signal: 15, core_dumped: false });

    let third = newer(&rig, "third");
    upgrade(&mut daemon, &third);
    upgraded(&mut daemon);
    assert_eq!(program(&rig), third);
    daemon.send(&Request::Shutdown);
    daemon.leave(0);
    assert_eq!(rig.keeper_exit(), ExitStatus::Code(0));
}

fn script(rig: &Rig, name: &str, text: &str) -> PathBuf {
    let path = rig.path(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn bad_programs() {
    let rig = Rig::start();
    let mut daemon = rig.fresh_daemon();
    let before = program(&rig);
    let pid = daemon.shell(1, "exec sleep 1000");
    let talks = script(&rig, "talks", "#!/bin/sh\necho no keeper; exit 4\n");
    for (path, reason) in [
        (Path::new("/nonexistent"), "executing the program failed"),
        (Path::new("/bin/true"), "ended with Code(0) and said \"\""),
        (Path::new("/etc"), "Permission denied"),
        (&talks, "ended with Code(4) and said \"no keeper\""),
    ] {
        upgrade(&mut daemon, path);
        let said = failed(&mut daemon);
        assert!(said.contains(reason), "{said}");
    }
    let hangs = script(&rig, "hangs", "#!/bin/sh\nexec sleep 1000\n");
    upgrade(&mut daemon, &hangs);
    upgrade(&mut daemon, &talks);
    assert_eq!(failed(&mut daemon), "another upgrade is under way");
    assert_eq!(program(&rig), before);
    assert!(skep_sys::proc::stat(pid).is_ok());
    daemon.barrier();
}

fn cannot_resume() {
    let rig = Rig::start_with(&["SKEP_FAULT=keeper:refuse-state:1"]);
    let mut daemon = rig.fresh_daemon();
    let (before, pid) = (program(&rig), daemon.shell(1, "exec sleep 1000"));
    let path = newer(&rig, "newer");
    upgrade(&mut daemon, &path);
    assert_eq!(failed(&mut daemon), "a test ordered it");
    assert_eq!(program(&rig), before);
    assert_eq!(daemon.shell(1, ""), pid, "the same child under the same number");
    daemon.kill();
    assert_eq!(rig.daemon().hello().children.len(), 1);
}

fn broken_daemon() {
    let rig = Rig::start();
    let mut daemon = rig.fresh_daemon();
    let (before, pid) = (program(&rig), daemon.shell(1, "exec sleep 1000"));
    let path = newer(&rig, BROKEN_DAEMON);
    upgrade(&mut daemon, &path);
    upgraded(&mut daemon);
    assert_eq!(program(&rig), path);
    daemon.leave(0);
    // The next daemon that can start is the old program's.
    let mut daemon = rig.daemon();
    assert_eq!(program(&rig), before);
    let inventory = daemon.hello();
    assert!(matches!(inventory.children[&1].1, ChildState::Running { pid: same, .. } if same == pid));
    assert!(rig.log().contains("going back to the version before"), "{}", rig.log());
    assert_eq!(skep_sys::proc::executable(daemon.pid).unwrap(), before);
}

fn old_daemon_stays() {
    let rig = Rig::start();
    let mut daemon = rig.fresh_daemon();
    let path = newer(&rig, "newer");
    upgrade(&mut daemon, &path);
    upgraded(&mut daemon);
    let second = rig.daemon();
    wait_for_end(daemon.pid);
    assert_eq!(skep_sys::proc::executable(second.pid).unwrap(), path);
}

fn exits_meanwhile() {
    let rig = Rig::start();
    let mut daemon = rig.fresh_daemon();
    let path = newer(&rig, "newer");
    let count = 100;
    for child in 1..=count {
        daemon.spawn(shell(child, "exit 6"));
        if child % 30 == 10 {
            upgrade(&mut daemon, &path);
        }
    }
    let (mut exits, mut upgrades) = (std::collections::BTreeSet::new(), 0);
    while exits.len() < count as usize || upgrades < 4 {
        match daemon.reply() {
            Reply::Exited { child, status: ExitStatus::Code(6) } => assert!(exits.insert(child)),
            Reply::Spawned { .. } => {}
            Reply::Upgraded { .. } | Reply::UpgradeFailed { .. } => upgrades += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(program(&rig), path);
}
