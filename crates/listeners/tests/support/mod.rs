//! What the tests with real sockets share.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use skep_core::{Now, SlotId};
use skep_listeners::{Address, Balance, Group, Host, Options, Transfer};
use skep_sys::net::{Accepted, accept};

pub(crate) const LOCALHOST: Host = Host::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST));

pub(crate) fn tcp(host: Host, port: u16) -> Address {
    Address::Tcp { host, port, v6only: false }
}

pub(crate) fn options(balance: Balance) -> Options {
    Options { balance, backlog: 4096, transfer: Transfer::Connections }
}

pub(crate) fn slots(n: u32) -> Vec<SlotId> {
    (0..n).map(SlotId).collect()
}

/// A group on a free port of localhost with `n` live slots.
pub(crate) fn group(balance: Balance, n: u32) -> Group {
    let mut group = Group::open(&tcp(LOCALHOST, 0), &options(balance)).expect("a free port");
    for slot in slots(n) {
        group.socket(slot).expect("a socket for the slot");
        group.set_live(slot, true);
    }
    group
}

pub(crate) fn at(group: &Group) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), group.address().port().expect("a port"))
}

pub(crate) fn connect(group: &Group, n: usize) -> Vec<TcpStream> {
    (0..n).map(|_| TcpStream::connect(at(group)).expect("the group listens")).collect()
}

pub(crate) fn accept_one(socket: BorrowedFd<'_>) -> Option<OwnedFd> {
    match accept(socket).expect("accept") {
        Accepted::Connection(fd) => Some(fd),
        Accepted::Empty => None,
        Accepted::Blocking => panic!("sockets of a group are non-blocking"),
    }
}

/// Empties every slot's queue and says how long it was.
pub(crate) fn counts(group: &mut Group, slots: &[SlotId]) -> Vec<usize> {
    slots
        .iter()
        .map(|slot| {
            let socket = group.socket(*slot).expect("known").try_clone_to_owned().expect("dup");
            std::iter::from_fn(|| accept_one(socket.as_fd())).count()
        })
        .collect()
}

/// A connection that a patrol took out for somebody.
pub(crate) struct Moved {
    pub(crate) from: Option<SlotId>,
    pub(crate) to: SlotId,
    pub(crate) connection: OwnedFd,
}

/// One patrol, and the connections that it names taken out.
pub(crate) fn rescue(group: &mut Group, now: Now) -> Vec<Moved> {
    let moves = group.patrol(now).moves.into_iter();
    let taken = moves.filter_map(|step| {
        let connection = step.connection.take().expect("accept")?;
        Some(Moved { from: step.from, to: step.to, connection })
    });
    taken.collect()
}

/// Times for patrols: well apart, each later than the last.
pub(crate) fn now(ms: u64) -> Now {
    Now((1_000_000 + ms) * 1_000_000)
}

/// Runs `act` in a thread that has given up root: in the kernel credentials belong to threads.
pub(crate) fn unprivileged<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let nobody = rustix::process::Uid::from_raw(65534);
                // Of this thread only, unlike libc's.
                rustix::thread::set_thread_res_uid(nobody, nobody, nobody).expect("root may");
                act()
            })
            .join()
            .expect("the thread's assertions hold")
    })
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
