//! Shutting down, by order or by signal.

use skep_keeper::wire::{Reply, Request, Spawn, Stop};
use skep_sys::wait::ExitStatus;

use crate::Test;
use crate::rig::{Rig, shell, wait_for_end};

pub(crate) const TESTS: &[Test] = &[
    ("after_shutdown_the_keeper_ends_what_is_left_and_leaves", shutdown),
    ("signals_to_the_keeper_are_the_daemons_to_handle", passed_on),
    ("a_signal_that_came_between_two_daemons_is_told_to_the_next", passed_on_later),
    ("a_signal_that_no_daemon_handles_ends_everything", unhandled),
];

fn shutdown() {
    let rig = Rig::start();
    let mut daemon = rig.fresh_daemon();
    let polite = daemon.shell(1, "exec sleep 1000");
    let stop = Stop { signal: 2, grace_ms: 50 };
    daemon.spawn(Spawn { stop, ..shell(2, "trap '' INT TERM; while :; do sleep 1000; done") });
    let stubborn = daemon.spawned(2);
    daemon.send(&Request::Shutdown);
    daemon.barrier();
    assert!(skep_sys::proc::stat(polite).is_ok(), "nothing ends before the daemon does");
    daemon.leave(0);
    assert_eq!(rig.keeper_exit(), ExitStatus::Code(0));
    wait_for_end(polite);
    wait_for_end(stubborn);
}

fn passed_on() {
    let rig = Rig::start();
    let mut daemon = rig.fresh_daemon();
    for signal in [15, 2, 1, 3] {
        skep_sys::signal::send(rig.keeper, signal).unwrap();
        assert_eq!(daemon.reply(), Reply::Signal { signal });
        daemon.send(&Request::Handled { signal });
    }
    daemon.send(&Request::Shutdown);
    daemon.leave(0);
    assert_eq!(rig.keeper_exit(), ExitStatus::Code(0));
}

fn passed_on_later() {
    let rig = Rig::start();
    let daemon = rig.daemon();
    skep_sys::signal::send(rig.keeper, 15).unwrap();
    daemon.kill();
    let mut daemon = rig.daemon();
    daemon.link.send(&Request::hello(), &[]).unwrap();
    let replies = [daemon.reply(), daemon.reply(), daemon.reply()];
    assert!(matches!(replies[0], Reply::Welcome { .. }), "{replies:?}");
    assert_eq!(replies[1..], [Reply::Signal { signal: 15 }, Reply::InventoryEnd]);
    daemon.send(&Request::Handled { signal: 15 });
    daemon.barrier();
}

fn unhandled() {
    let rig = Rig::start();
    let mut daemon = rig.fresh_daemon();
    let pid = daemon.shell(1, "exec sleep 1000");
    skep_sys::signal::send(rig.keeper, 15).unwrap();
    assert_eq!(rig.keeper_exit(), ExitStatus::Code(0));
    wait_for_end(pid);
    wait_for_end(daemon.pid);
}
