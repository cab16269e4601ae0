//! The watcher, patrols and thefts with real sockets, real threads that accept, and one that is blocked.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use skep_core::{Now, SlotId};
use skep_listeners::{Balance, Group, GroupKey, Watcher};
use skep_sys::fdpass::{Receive, receive, send};
use support::{accept_one, at, connect, counts, group, now, rescue, slots, unprivileged};

const KEY: GroupKey = GroupKey(7);

fn wait_readable(fd: impl AsFd) {
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], None).expect("poll");
}

fn is_readable(fd: impl AsFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&now)).expect("poll") == 1
}

#[test]
fn the_first_connection_wakes_up_and_the_ones_behind_it_do_not() {
    let watcher = Watcher::new().expect("descriptors");
    let mut group = group(Balance::Rr, 2);
    group.watch(&watcher, KEY).expect("watched");
    assert!(!is_readable(&watcher));
    let _clients = connect(&group, 2);
    assert_eq!(watcher.fired().expect("events"), [KEY]);
    // Both sockets have fired now: a thousand more cost nothing.
    let _more = connect(&group, 100);
    assert!(!is_readable(&watcher));
    counts(&mut group, &slots(2));
    assert!(!is_readable(&watcher));
    // A patrol finds the queues empty and arms again.
    assert_eq!(group.patrol(now(0)).again, None);
    let _next = connect(&group, 1);
    assert_eq!(watcher.fired().expect("events"), [KEY]);
}

#[test]
fn a_group_that_ends_leaves_nothing_in_the_watcher_although_the_keeper_holds_its_sockets() {
    let watcher = Watcher::new().expect("descriptors");
    let mut group = group(Balance::Rr, 2);
    group.watch(&watcher, KEY).expect("watched");
    let kept: Vec<OwnedFd> =
        group.descriptors().iter().map(|fd| fd.try_clone_to_owned().expect("dup")).collect();
    let to = at(&group);
    drop(group);
    let _client = TcpStream::connect(to).expect("the keeper still listens");
    assert!(!is_readable(&watcher));
    drop(kept);
}

#[test]
fn one_slot_alone_is_not_watched_until_a_second_comes() {
    let watcher = Watcher::new().expect("descriptors");
    let mut group = group(Balance::Rr, 1);
    group.watch(&watcher, KEY).expect("watched");
    let _client = connect(&group, 1);
    assert_eq!(watcher.fired().expect("events"), [KEY]);
    assert_eq!(group.patrol(now(0)).again, None);
    let _more = connect(&group, 5);
    assert!(!is_readable(&watcher), "there is nobody to give anything to");
    group.socket(SlotId(1)).expect("a socket");
    group.set_live(SlotId(1), true);
    assert_eq!(watcher.fired().expect("events"), [KEY]);
}

#[test]
fn the_alarm_makes_the_watcher_readable_and_names_nobody() {
    let watcher = Watcher::new().expect("descriptors");
    watcher.set_alarm(Some(Now(1))).expect("set");
    wait_readable(&watcher);
    assert_eq!(watcher.fired().expect("events"), []);
    watcher.set_alarm(Some(Now(u64::MAX))).expect("set");
    assert!(!is_readable(&watcher));
    watcher.set_alarm(Some(Now(1))).expect("set");
    watcher.set_alarm(None).expect("switched off");
    assert!(!is_readable(&watcher));
}

#[test]
fn the_queue_of_a_dead_worker_is_rescued_and_left_alone_without_a_heir() {
    let mut group = group(Balance::Rr, 2);
    let _clients = connect(&group, 10);
    group.set_live(SlotId(0), false);
    let moves = rescue(&mut group, now(0));
    assert_eq!(moves.len() + counts(&mut group, &[SlotId(1)])[0], 10);
    assert!(moves.iter().all(|m| m.from == Some(SlotId(0)) && m.to == SlotId(1)));

    let _more = connect(&group, 4);
    group.set_live(SlotId(1), false);
    assert!(rescue(&mut group, now(10)).is_empty());
    assert_eq!(counts(&mut group, &slots(2)), [0, 4]);
}

/// A worker as the daemon sees it: accepts from its slot's socket and from what is handed to it, acknowledges
/// that, answers with its number. Blocked from a message until its gate is opened.
struct Worker {
    gate: mpsc::Sender<()>,
    channel: UnixStream,
    pending: u32,
    thread: std::thread::JoinHandle<()>,
}

fn answer(connection: OwnedFd, number: u8) {
    let mut stream = TcpStream::from(connection);
    stream.write_all(&[number]).expect("the client waits");
}

fn work(listener: &OwnedFd, channel: &UnixStream, gate: &mpsc::Receiver<()>, number: u8) {
    loop {
        let mut fds = [PollFd::new(listener, PollFlags::IN), PollFd::new(channel, PollFlags::IN)];
        poll(&mut fds, None).expect("poll");
        let [mine, given] = [fds[0].revents(), fds[1].revents()].map(|ready| !ready.is_empty());
        if given {
            let mut byte = [0];
            let got = receive(channel, &mut byte, Receive::Take).expect("poll said so");
            if got.bytes == 0 {
                return;
            }
            if byte == *b"b" {
                // The event loop is busy with something long.
                gate.recv().expect("the test opens the gate");
            }
            for connection in got.descriptors {
                send(channel, b"a", &[]).expect("the daemon reads");
                answer(connection, number);
            }
        } else if mine && let Some(connection) = accept_one(listener.as_fd()) {
            answer(connection, number);
        }
    }
}

fn worker(group: &mut Group, slot: SlotId) -> Worker {
    let listener = group.socket(slot).expect("a socket").try_clone_to_owned().expect("dup");
    let (channel, theirs) = UnixStream::pair().expect("pair");
    let (gate, blocked) = mpsc::channel();
    let thread = std::thread::spawn(move || work(&listener, &theirs, &blocked, slot.0 as u8));
    Worker { gate, channel, pending: 0, thread }
}

/// One client: request after request, each on a connection of its own. Tells who answered.
fn client(to: SocketAddr, requests: usize, tell: &mpsc::Sender<u8>, mut end: &UnixStream) {
    for _ in 0..requests {
        let mut number = [0];
        TcpStream::connect(to).expect("listening").read_exact(&mut number).expect("answered");
        tell.send(number[0]).expect("the test listens");
    }
    end.write_all(b"e").expect("the test listens");
}

/// The daemon's part: patrols when the watcher says so, until `finished` bytes came from clients.
fn patrol(
    group: &mut Group,
    watcher: &Watcher,
    workers: &mut [Worker],
    mut ends: &UnixStream,
    finished: usize,
) {
    let mut seen = 0;
    while seen < finished {
        let mut fds =
            vec![PollFd::new(watcher, PollFlags::IN), PollFd::from_borrowed_fd(ends.as_fd(), PollFlags::IN)];
        fds.extend(workers.iter().map(|worker| PollFd::new(&worker.channel, PollFlags::IN)));
        poll(&mut fds, None).expect("poll");
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        if ready[1] {
            seen += ends.read(&mut [0; 64]).expect("bytes");
        }
        for (slot, worker) in (0..).map(SlotId).zip(workers.iter_mut()) {
            if ready[2 + slot.0 as usize] {
                worker.pending -= worker.channel.read(&mut [0; 64]).expect("acknowledgements") as u32;
                group.set_pending(slot, worker.pending);
            }
        }
        if !ready[0] {
            continue;
        }
        watcher.fired().expect("events");
        let round = group.patrol(Now(skep_sys::clock::boottime_ns()));
        for m in round.moves {
            let to = &mut workers[m.to.0 as usize];
            let Some(connection) = m.connection.take().expect("accept") else { continue };
            send(&to.channel, b"c", &[connection.as_fd()]).expect("handed over");
            to.pending += 1;
            group.set_pending(m.to, to.pending);
        }
        watcher.set_alarm(round.again).expect("set");
    }
}

/// Fifteen clients, three workers, one of which is blocked until nearly all clients have all their answers.
fn blocked_worker(balance: Balance) {
    const CLIENTS: usize = 15;
    const REQUESTS: usize = 20;
    // A connection in the channel of a worker that was not yet known to be blocked has to wait for it.
    const UNLUCKY_MAX: usize = 3;
    let watcher = Watcher::new().expect("descriptors");
    let mut group = group(balance, 3);
    group.watch(&watcher, KEY).expect("watched");
    let mut workers: Vec<Worker> = slots(3).into_iter().map(|slot| worker(&mut group, slot)).collect();
    send(&workers[1].channel, b"b", &[]).expect("blocked");
    let (tell, answers) = mpsc::channel();
    let (end, ends) = UnixStream::pair().expect("pair");
    let to = at(&group);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (tell, end) = (tell.clone(), &end);
                scope.spawn(move || client(to, REQUESTS, &tell, end))
            })
            .collect();
        patrol(&mut group, &watcher, &mut workers, &ends, CLIENTS - UNLUCKY_MAX);
        let before: Vec<u8> = answers.try_iter().collect();
        assert!(before.len() >= (CLIENTS - UNLUCKY_MAX) * REQUESTS, "{}", before.len());
        assert!(!before.contains(&1), "it was blocked all the time");
        workers[1].gate.send(()).expect("it waits");
        for client in clients {
            client.join().expect("all its requests were answered");
        }
    });
    for Worker { channel, thread, .. } in workers {
        // Not closed: unread acknowledgements would reach the worker as a reset.
        channel.shutdown(std::net::Shutdown::Write).expect("open");
        thread.join().expect("ended");
    }
}

#[test]
fn hardly_anybody_waits_for_a_blocked_worker() {
    blocked_worker(Balance::Auto);
}

#[test]
fn hardly_anybody_waits_for_a_blocked_worker_without_privileges_either() {
    unprivileged(|| blocked_worker(Balance::Auto));
}

#[test]
fn hardly_anybody_waits_for_a_blocked_worker_under_any_selector() {
    for balance in [Balance::Rr, Balance::Least, Balance::Random, Balance::Hash] {
        blocked_worker(balance);
    }
}
