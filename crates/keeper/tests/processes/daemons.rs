//! The daemon is killed, comes back, and knows everything again.

use std::os::fd::AsFd;

use skep_keeper::wire::{ChildState, Reply, Request, Scope};
use skep_sys::wait::ExitStatus;

use crate::Test;
use crate::rig::{Rig, shell, wait_for_end};

pub(crate) const TESTS: &[Test] = &[
    ("a_new_daemon_gets_all_children_descriptors_and_exits_back", everything_back),
    ("requests_that_a_killed_daemon_had_sent_are_carried_out", last_words),
    ("a_daemon_that_crashes_again_and_again_is_started_again_and_again", crash_loop),
    ("a_repeated_hello_repeats_the_inventory", hello_twice),
    ("a_daemon_of_another_time_is_told_so", versions),
    ("garbage_is_answered_and_ignored", garbage),
    ("keys_are_replaced_dropped_and_bounded", keys),
];

fn everything_back() {
    let rig = Rig::start();
    let mut daemon = rig.daemon();
    assert_eq!(daemon.hello().generation, 1);
    let file = std::fs::File::open("/etc/passwd").unwrap();
    daemon.send_with(&Request::Store { key: b"k".to_vec(), note: b"n".to_vec() }, &[file.as_fd()]);
    daemon.spawn(skep_keeper::wire::Spawn { note: b"web:0".to_vec(), ..shell(1, "exec sleep 1000") });
    let pid = daemon.spawned(1);
    let ended = daemon.shell(2, "exit 3");
    assert_eq!(daemon.exited(2), ExitStatus::Code(3));
    let dies_unseen = daemon.shell(4, "exec sleep 1000");
    skep_sys::signal::send(dies_unseen, 9).unwrap();
    daemon.kill();

    let mut daemon = rig.daemon();
    let inventory = daemon.hello();
    assert_eq!(inventory.generation, 2);
    let (note, state, _) = &inventory.children[&1];
    assert_eq!(note, b"web:0");
    assert!(matches!(state, ChildState::Running { pid: same, .. } if *same == pid), "{state:?}");
    let status = ExitStatus::Code(3);
    assert_eq!(inventory.children[&2].1, ChildState::Exited { pid: ended, status });
    let killed = ExitStatus::Signal { signal: 9, core_dumped: false };
    match inventory.children[&4].1 {
        ChildState::Exited { status, .. } => assert_eq!(status, killed),
        _ => assert_eq!(daemon.exited(4), killed),
    }
    let (note, fds) = &inventory.stored[b"k".as_slice()];
    assert_eq!(note, b"n");
    let (one, other) = (rustix::fs::fstat(&fds[0]).unwrap(), rustix::fs::fstat(&file).unwrap());
    assert_eq!((one.st_dev, one.st_ino), (other.st_dev, other.st_ino));

    daemon.send(&Request::Signal { child: 1, signal: 15, scope: Scope::Process });
    assert_eq!(daemon.exited(1), ExitStatus::Signal { signal: 15, core_dumped: false });
}

fn last_words() {
    let rig = Rig::start();
    let mut daemon = rig.fresh_daemon();
    // The keeper is stopped, so that all of this is still unread when the daemon dies.
    skep_sys::signal::send(rig.keeper, 19).unwrap();
    for child in 1..=20 {
        daemon.spawn(shell(child, "exec sleep 1000"));
    }
    daemon.send(&Request::Store { key: b"last".to_vec(), note: b"word".to_vec() });
    let pid = daemon.pid;
    daemon.kill();
    wait_for_end(pid);
    skep_sys::signal::send(rig.keeper, 18).unwrap();
    let inventory = rig.daemon().hello();
    assert_eq!(inventory.children.len(), 20);
    assert_eq!(inventory.stored[b"last".as_slice()].0, b"word");
}

fn crash_loop() {
    let rig = Rig::start();
    for code in 1..=6 {
        rig.daemon().leave(code);
    }
    let inventory = rig.daemon().hello();
    assert_eq!(inventory.generation, 7);
    let log = rig.log();
    assert!(log.contains("the daemon ended (exit code 6); starting it again"), "{log}");
}

fn hello_twice() {
    let rig = Rig::start();
    let mut daemon = rig.fresh_daemon();
    daemon.shell(1, "exec sleep 1000");
    for _ in 0..3 {
        assert_eq!(daemon.hello().children.len(), 1);
    }
}

fn versions() {
    let rig = Rig::start();
    let mut daemon = rig.daemon();
    daemon.send(&Request::Hello { version: 1000, oldest: 1000 });
    let reply = daemon.reply();
    assert!(matches!(reply, Reply::Welcome { version: 0, .. }), "{reply:?}");
    daemon.send(&Request::Hello { version: 1000, oldest: 1 });
    let reply = daemon.reply();
    assert!(matches!(reply, Reply::Welcome { version: skep_keeper::wire::VERSION, .. }), "{reply:?}");
}

fn garbage() {
    let rig = Rig::start();
    let mut daemon = rig.fresh_daemon();
    for bytes in [b"x".as_slice(), b"k\0\xff\xff", b"k\0\x02\0cut", b"k\x01\x02\0", &[0; 5000]] {
        skep_sys::fdpass::send(&daemon.link, bytes, &[]).unwrap();
        let reply = daemon.reply();
        assert!(matches!(reply, Reply::Unknown { .. }), "{reply:?}");
    }
    daemon.shell(1, "exit 0");
}

fn keys() {
    let rig = Rig::start();
    let mut daemon = rig.fresh_daemon();
    let store = |note: &str| Request::Store { key: b"a".to_vec(), note: note.as_bytes().to_vec() };
    daemon.send(&store("one"));
    daemon.send(&store("two"));
    daemon.send(&Request::Store { key: b"b".to_vec(), note: Vec::new() });
    daemon.send(&Request::Drop { key: b"b".to_vec() });
    daemon.send(&Request::Drop { key: b"never".to_vec() });
    let long = vec![1; skep_keeper::wire::KEY_BYTES_MAX + 1];
    daemon.send(&Request::Store { key: long.clone(), note: Vec::new() });
    assert_eq!(daemon.reply(), Reply::StoreFailed { key: long, errno: 7 });
    let inventory = daemon.hello();
    assert_eq!(inventory.stored.len(), 1);
    assert_eq!(inventory.stored[b"a".as_slice()].0, b"two");
}
