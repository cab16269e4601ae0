//! Many at once, and a daemon that does not read.

use std::collections::BTreeSet;
use std::os::fd::AsFd;

use skep_keeper::wire::{Reply, Request};
use skep_sys::wait::ExitStatus;

use crate::Test;
use crate::rig::{Rig, shell};

pub(crate) const TESTS: &[Test] = &[
    ("two_hundred_children_at_once_all_start_and_end", storm),
    ("a_thousand_descriptors_come_back_each_under_its_key", thousand),
    ("a_daemon_that_does_not_read_loses_no_exit_and_does_not_hold_up_the_keeper", not_reading),
    ("a_keeper_without_room_for_descriptors_says_so_and_lives", no_room),
    ("an_idle_keeper_is_small", small),
];

fn storm() {
    let rig = Rig::start();
    let mut daemon = rig.fresh_daemon();
    let before = skep_sys::clock::boottime_ns();
    for child in 1..=200 {
        daemon.spawn(shell(child, "exit $((7 * 3))"));
    }
    let (mut spawned, mut exited) = (BTreeSet::new(), BTreeSet::new());
    while exited.len() < 200 {
        match daemon.reply() {
            Reply::Spawned { child, .. } => assert!(spawned.insert(child)),
            Reply::Exited { child, status } => {
                assert!(spawned.contains(&child) && exited.insert(child));
                assert_eq!(status, ExitStatus::Code(21));
            }
            other => panic!("{other:?}"),
        }
    }
    println!("  200 spawned and ended in {} ms", (skep_sys::clock::boottime_ns() - before) / 1_000_000);
}

fn thousand() {
    let rig = Rig::start();
    let mut daemon = rig.fresh_daemon();
    let directory = tempfile::tempdir().unwrap();
    let file = |index: u32| std::fs::File::create(directory.path().join(index.to_string())).unwrap();
    let files: Vec<_> = (0..1000).map(file).collect();
    for (index, file) in files.iter().enumerate() {
        let store = Request::Store { key: index.to_string().into_bytes(), note: vec![7; 100] };
        daemon.send_with(&store, &[file.as_fd()]);
    }
    daemon.kill();
    let before = skep_sys::clock::boottime_ns();
    let inventory = rig.daemon().hello();
    println!(
        "  a new daemon with 1,000 descriptors after {} µs",
        (skep_sys::clock::boottime_ns() - before) / 1000
    );
    assert_eq!(inventory.stored.len(), 1000);
    for (index, file) in files.iter().enumerate() {
        let (_, fds) = &inventory.stored[index.to_string().as_bytes()];
        assert_eq!(rustix::fs::fstat(&fds[0]).unwrap().st_ino, rustix::fs::fstat(file).unwrap().st_ino);
    }
    let pss = skep_sys::proc::pss_bytes(rig.keeper).unwrap();
    println!("  the keeper of 1,000 descriptors: PSS {} KiB (debug build)", pss / 1024);
}

fn not_reading() {
    let rig = Rig::start();
    let mut daemon = rig.fresh_daemon();
    // Two messages a child: more than the socket's queue holds.
    let count = 600;
    for child in 1..=count {
        daemon.spawn(shell(child, "exit 9"));
    }
    // Its start is carried out last; that it ends shows that the keeper did not wait for us.
    let file = rig.path("done");
    daemon.spawn(shell(count + 1, &format!("mkfifo {0}.tmp; mv {0}.tmp {0}; exec cat {0}", file.display())));
    let marker = wait_for_file(&file);
    drop(marker);
    let mut exits = BTreeSet::new();
    while exits.len() < usize::try_from(count).unwrap() + 1 {
        match daemon.reply() {
            Reply::Exited { child, status } => {
                assert!(exits.insert(child));
                assert!(child > count || status == ExitStatus::Code(9));
            }
            Reply::Spawned { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Waits (by inotify) until the fifo is there and opens it for writing.
fn wait_for_file(path: &std::path::Path) -> std::fs::File {
    use rustix::fs::inotify;
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
    inotify::add_watch(&watch, path.parent().unwrap(), inotify::WatchFlags::MOVED_TO).unwrap();
    while !path.exists() {
        crate::rig::wait_for(watch.as_fd(), rustix::event::PollFlags::IN);
        rustix::io::read(&watch, &mut [0; 1024]).unwrap();
    }
    std::fs::File::options().write(true).open(path).unwrap()
}

fn no_room() {
    let room = 64;
    let limit = skep_sys::spawn::Limit { resource: 7, soft: room, hard: room };
    let rig = Rig::start_limited(&[], &[limit]);
    let mut daemon = rig.fresh_daemon();
    let null = std::fs::File::open("/dev/null").unwrap();
    let store = |key: u64| Request::Store { key: key.to_le_bytes().to_vec(), note: Vec::new() };
    for key in 0..room {
        daemon.send_with(&store(key), &[null.as_fd()]);
    }
    let refused = match daemon.reply() {
        Reply::StoreFailed { key, errno: 24 } => u64::from_le_bytes(key.try_into().unwrap()),
        other => panic!("{other:?}"),
    };
    for key in refused + 1..room {
        assert_eq!(daemon.reply(), Reply::StoreFailed { key: key.to_le_bytes().to_vec(), errno: 24 });
    }
    daemon.spawn(shell(1, "exit 0"));
    let reply = daemon.reply();
    assert!(matches!(reply, Reply::SpawnFailed { child: 1, errno: 24, .. }), "{reply:?}");
    // With some room again everything works again.
    for key in 0..10 {
        let Request::Store { key, .. } = store(key) else { unreachable!("that is what store makes") };
        daemon.send(&Request::Drop { key });
    }
    daemon.shell(2, "exit 0");
    assert_eq!(daemon.exited(2), ExitStatus::Code(0));
}

fn small() {
    let rig = Rig::start();
    let mut daemon = rig.fresh_daemon();
    let before = skep_sys::proc::pss_bytes(rig.keeper).unwrap();
    for child in 1..=100 {
        daemon.shell(child, "exec sleep 1000");
    }
    let with_hundred = skep_sys::proc::pss_bytes(rig.keeper).unwrap();
    println!(
        "  PSS (debug build): idle {} KiB, with 100 children {} KiB",
        before / 1024,
        with_hundred / 1024
    );
}
