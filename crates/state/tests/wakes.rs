//! Nobody sleeps on what is there for it.

mod common;

use std::os::fd::BorrowedFd;

use common::{Fixture, NOW};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use skep_state::strings::{self, Expiry, If};
use skep_state::{Error, Space, Tx};

fn is_called(fd: BorrowedFd<'_>) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&now)).expect("awake") > 0
}

fn ends(tx: &mut Tx<'_>, key: &[u8], ms: u64) -> Result<bool, Error> {
    strings::set(tx, Space::database(0), key, b"v", Expiry::At(NOW.plus(ms)), If::Always)
}

/// Until the maintenance has nothing left to do.
fn quiet(fixture: &Fixture) {
    while fixture.supervisor.maintain(NOW).expect("looked after").is_some() {}
    assert!(!is_called(fixture.supervisor.wake_fd()));
}

#[test]
fn a_new_daemon_has_everybody_look_again_for_the_old_one_may_have_died_before_it_told() {
    let fixture = Fixture::new();
    let worker = fixture.worker(1);
    assert!(!is_called(worker.wake_fd()));
    fixture.supervisor.keep_only(&[worker.owner()], NOW).expect("looked around");
    assert!(is_called(worker.wake_fd()));
}

#[test]
fn when_a_process_has_ended_the_maintenance_looks_for_what_it_could_not_tell() {
    let fixture = Fixture::new();
    quiet(&fixture);
    fixture.supervisor.reader_ended().expect("looked after");
    assert!(is_called(fixture.supervisor.wake_fd()));
    quiet(&fixture);
    fixture.supervisor.worker_ended(fixture.worker(1).owner(), NOW).expect("given back");
    assert!(is_called(fixture.supervisor.wake_fd()));
}

#[test]
fn what_ends_is_told_by_the_transaction_for_which_the_file_had_to_grow() {
    let fixture = Fixture::with(&skep_state::Options { data_bytes: 1 << 20, ..Default::default() });
    quiet(&fixture);
    let large = vec![7; 2 << 20];
    let mut attempts = 0;
    let set = fixture.supervisor.write(NOW, |tx| {
        attempts += 1;
        ends(tx, b"k", 5_000)?;
        strings::set(tx, Space::database(0), b"large", &large, Expiry::Never, If::Always)
    });
    assert!(set.expect("it grows") && attempts > 1, "{attempts}");
    assert!(is_called(fixture.supervisor.wake_fd()));
    assert!(fixture.supervisor.maintain(NOW).expect("looked after").is_some());
}

#[test]
fn what_ends_later_is_told_when_the_transaction_before_was_given_up() {
    let fixture = Fixture::new();
    quiet(&fixture);
    let refused = fixture.supervisor.write(NOW, |tx| {
        ends(tx, b"k", 5_000)?;
        Err::<(), _>(Error::TooMuch { most: 0 })
    });
    assert!(refused.is_err() && !is_called(fixture.supervisor.wake_fd()));
    fixture.supervisor.write(NOW, |tx| ends(tx, b"k", 60_000)).expect("set");
    assert!(is_called(fixture.supervisor.wake_fd()));
}
