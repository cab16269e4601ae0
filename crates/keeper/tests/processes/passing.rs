//! Connections pass through the keeper's hands.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use skep_keeper::Delivery;
use skep_keeper::wire::{Origin, Pass, Passed, Reply, Request};
use skep_sys::fdpass::{self, Receive};
use skep_sys::unix::{Kind, pair};

use crate::Test;
use crate::rig::{Daemon, Rig, wait_for_end};

pub(crate) const TESTS: &[Test] = &[
    ("a_connection_goes_from_its_queue_to_a_worker_and_is_kept_until_it_is_dropped", from_a_queue),
    ("a_connection_that_was_not_taken_goes_to_another_worker", again),
    ("a_connection_that_finds_no_room_is_kept", no_room),
    ("where_there_is_no_connection_nothing_is_done", nothing),
    ("connections_that_a_killed_daemon_wanted_passed_are_passed", last_words),
];

const KEY: &[u8] = b"c:1";

fn pass(ticket: u64, from: Origin) -> Request {
    let (key, note, line) = (KEY.to_vec(), b"note".to_vec(), format!("line {ticket}\n").into_bytes());
    Request::Pass(Box::new(Pass { ticket, key, note, line, from }))
}

/// A listening socket with one client in its queue.
fn queue() -> (TcpListener, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener, client)
}

fn channel() -> (OwnedFd, OwnedFd) {
    pair(Kind::Stream).unwrap()
}

#[track_caller]
fn passed(daemon: &mut Daemon, expected: u64) -> (Passed, Option<OwnedFd>) {
    match daemon.delivery() {
        Delivery { reply: Reply::Passed { ticket, outcome }, fds, .. } if ticket == expected => {
            (outcome, fds.into_iter().next())
        }
        other => panic!("expected what came of {expected}, got {other:?}"),
    }
}

/// The next line in a worker's end, and its connection.
#[track_caller]
fn arrived(end: &OwnedFd) -> (String, OwnedFd) {
    let mut line = [0; 64];
    let got = fdpass::receive(end, &mut line, Receive::Take).unwrap();
    let text = String::from_utf8(line[..got.bytes].to_vec()).unwrap();
    (text, got.descriptors.into_iter().next().expect("a connection comes along"))
}

#[track_caller]
fn check_connected(client: &mut TcpStream, connection: OwnedFd) {
    let mut server = TcpStream::from(connection);
    server.write_all(b"x").unwrap();
    client.read_exact(&mut [0]).unwrap();
}

fn from_a_queue() {
    let rig = Rig::start();
    let mut daemon = rig.fresh_daemon();
    let ((listener, mut client), (socket, end)) = (queue(), channel());
    daemon.send_with(&pass(7, Origin::Queue), &[socket.as_fd(), listener.as_fd()]);
    let (outcome, copy) = passed(&mut daemon, 7);
    assert_eq!(outcome, Passed::Sent);
    assert!(copy.is_some(), "the daemon has a copy, for a keeper that dies");
    let (line, connection) = arrived(&end);
    assert_eq!(line, "line 7\n");
    check_connected(&mut client, connection);

    drop(copy);
    daemon.kill();
    let mut daemon = rig.daemon();
    let mut inventory = daemon.hello();
    let (note, fds) = inventory.stored.remove(KEY).unwrap();
    assert_eq!(note, b"snote");
    check_connected(&mut client, fds.into_iter().next().unwrap());
    daemon.send(&Request::Drop { key: KEY.to_vec() });
    assert!(daemon.hello().stored.is_empty());
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "nobody else has it");
}

fn again() {
    let rig = Rig::start();
    let mut daemon = rig.fresh_daemon();
    let ((listener, mut client), (socket, end)) = (queue(), channel());
    drop(end);
    daemon.send_with(&pass(1, Origin::Queue), &[socket.as_fd(), listener.as_fd()]);
    assert_eq!(passed(&mut daemon, 1).0, Passed::Gone);
    assert_eq!(daemon.hello().stored[KEY].0, b"knote");
    let (socket, end) = channel();
    daemon.send_with(&pass(2, Origin::Kept), &[socket.as_fd()]);
    assert_eq!(passed(&mut daemon, 2).0, Passed::Sent);
    check_connected(&mut client, arrived(&end).1);
    // By hand, as what a draining worker hands over.
    let (_, connection) = {
        let (listener, client) = queue();
        (client, listener.accept().unwrap().0)
    };
    daemon.send_with(&pass(3, Origin::Attached), &[socket.as_fd(), connection.as_fd()]);
    assert_eq!(passed(&mut daemon, 3).0, Passed::Sent);
    assert_eq!(arrived(&end).0, "line 3\n");
}

fn no_room() {
    let rig = Rig::start();
    let mut daemon = rig.fresh_daemon();
    let ((listener, mut client), (socket, end)) = (queue(), channel());
    while fdpass::send(&socket, &[b'.'; 4096], &[]).is_ok() {}
    daemon.send_with(&pass(1, Origin::Queue), &[socket.as_fd(), listener.as_fd()]);
    let (outcome, copy) = passed(&mut daemon, 1);
    assert_eq!((outcome, copy.is_some()), (Passed::Full, true));
    assert_eq!(daemon.hello().stored[KEY].0, b"knote");
    while fdpass::receive(&end, &mut [0; 4096], Receive::Take).is_ok() {}
    daemon.send_with(&pass(2, Origin::Kept), &[socket.as_fd()]);
    assert_eq!(passed(&mut daemon, 2).0, Passed::Sent);
    let (line, connection) = arrived(&end);
    assert_eq!(line, "line 2\n");
    check_connected(&mut client, connection);
    assert_eq!(daemon.hello().stored[KEY].0, b"snote");
}

fn nothing() {
    let rig = Rig::start();
    let mut daemon = rig.fresh_daemon();
    let ((listener, client), (socket, end)) = (queue(), channel());
    client.set_nonblocking(true).unwrap();
    listener.accept().unwrap();
    daemon.send_with(&pass(1, Origin::Queue), &[socket.as_fd(), listener.as_fd()]);
    assert_eq!(passed(&mut daemon, 1).0, Passed::Nothing);
    daemon.send_with(&pass(2, Origin::Kept), &[socket.as_fd()]);
    assert_eq!(passed(&mut daemon, 2).0, Passed::Nothing);
    let failed = |errno: Errno| Passed::Failed(errno.raw_os_error());
    daemon.send_with(&pass(3, Origin::Attached), &[socket.as_fd()]);
    assert_eq!(passed(&mut daemon, 3).0, failed(Errno::BADF));
    daemon.send_with(&pass(4, Origin::Queue), &[socket.as_fd(), client.as_fd()]);
    assert_eq!(passed(&mut daemon, 4).0, failed(Errno::INVAL), "it does not listen");
    let line = vec![b'.'; Pass::LINE_BYTES_MAX + 1];
    let long = Pass { ticket: 5, key: KEY.to_vec(), note: Vec::new(), line, from: Origin::Kept };
    daemon.send_with(&Request::Pass(Box::new(long)), &[socket.as_fd()]);
    assert_eq!(passed(&mut daemon, 5).0, failed(Errno::MSGSIZE));
    assert!(daemon.hello().stored.is_empty());
    assert!(fdpass::receive(&end, &mut [0; 64], Receive::Take).is_err(), "nothing was written");
}

fn last_words() {
    let rig = Rig::start();
    let mut daemon = rig.fresh_daemon();
    let ((listener, mut client), (socket, end)) = (queue(), channel());
    // The keeper is stopped, so that this is still unread when the daemon dies.
    skep_sys::signal::send(rig.keeper, 19).unwrap();
    daemon.send_with(&pass(1, Origin::Queue), &[socket.as_fd(), listener.as_fd()]);
    let pid = daemon.pid;
    daemon.kill();
    wait_for_end(pid);
    skep_sys::signal::send(rig.keeper, 18).unwrap();
    let mut daemon = rig.daemon();
    assert_eq!(daemon.hello().stored[KEY].0, b"snote");
    check_connected(&mut client, arrived(&end).1);
}
