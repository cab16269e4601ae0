//! Real sockets, real programs. eBPF needs CAP_BPF: without it these tests check the reason instead.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use super::classic::{Key, Program, Range, detach};
use super::{IP_BUCKETS, Kind, Steer, ip_bucket, shortest_queue_entry};
use crate::net::{
    Accepted, DualStack, LocalAddress, Sharing, accept, listen, local_address, tcp_bound, tcp_queue,
};

fn group(n: usize, host: &str) -> (Vec<OwnedFd>, SocketAddr) {
    let mut at: SocketAddr = format!("{host}:0").parse().unwrap();
    let sockets = (0..n)
        .map(|_| {
            let socket = tcp_bound(at, Sharing::Group, DualStack::Both).unwrap();
            listen(&socket, 4096).unwrap();
            let LocalAddress::Inet(real) = local_address(&socket).unwrap() else { panic!("not inet") };
            at = real;
            socket
        })
        .collect();
    (sockets, at)
}

fn client(from: IpAddr, to: SocketAddr) -> OwnedFd {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let fd = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    bind(&fd, &SocketAddr::new(from, 0)).unwrap();
    connect(&fd, &to).unwrap();
    fd
}

fn connect_many(n: usize, to: SocketAddr) -> Vec<std::net::TcpStream> {
    (0..n).map(|_| std::net::TcpStream::connect(to).unwrap()).collect()
}

fn drain(socket: &OwnedFd) -> usize {
    std::iter::from_fn(|| match accept(socket.as_fd()).unwrap() {
        Accepted::Connection(fd) => Some(fd),
        Accepted::Empty => None,
        Accepted::Blocking => panic!("our sockets are non-blocking"),
    })
    .count()
}

fn counts(sockets: &[OwnedFd]) -> Vec<usize> {
    sockets.iter().map(drain).collect()
}

/// A program at work on the group, or `None` after checking that the refusal has a reason in words.
fn steer(kind: Kind, sockets: &[OwnedFd]) -> Option<Steer> {
    match Steer::load(kind) {
        Ok((steer, program)) => {
            Steer::attach(&program, sockets[0].as_fd()).unwrap();
            for (index, socket) in sockets.iter().enumerate() {
                steer.put_socket(index as u32, socket.as_fd()).unwrap();
            }
            Some(steer)
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains("not permitted") || text.contains("types"), "{text}");
            None
        }
    }
}

#[test]
fn round_robin_is_exact() {
    for n in [10, 100, 1000] {
        let (sockets, at) = group(4, "127.0.0.1");
        let Some(steer) = steer(Kind::RoundRobin, &sockets) else { return };
        steer.set_table(&[0, 1, 2, 3]).unwrap();
        let _clients = connect_many(n, at);
        let mut counts = counts(&sockets);
        counts.sort_unstable();
        assert!(counts[3] - counts[0] <= 1, "{counts:?}");
    }
}

#[test]
fn entries_of_the_round_robin_table_are_weights_and_what_is_missing_gets_nothing() {
    let (sockets, at) = group(4, "127.0.0.1");
    let Some(steer) = steer(Kind::RoundRobin, &sockets) else { return };
    steer.set_table(&[0, 2, 0, 2, 2]).unwrap();
    let _clients = connect_many(100, at);
    assert_eq!(counts(&sockets), [40, 0, 60, 0]);
    // An empty table: the kernel's hash.
    steer.set_table(&[]).unwrap();
    let _more = connect_many(100, at);
    assert_eq!(counts(&sockets).iter().sum::<usize>(), 100);
}

#[test]
fn an_index_without_a_socket_falls_back_to_the_hash() {
    let (sockets, at) = group(2, "127.0.0.1");
    let Some(steer) = steer(Kind::RoundRobin, &sockets) else { return };
    steer.set_table(&[7, 5000]).unwrap();
    let _clients = connect_many(50, at);
    assert_eq!(counts(&sockets).iter().sum::<usize>(), 50);
}

#[test]
fn least_loaded_fills_up_the_valleys() {
    let (sockets, at) = group(4, "127.0.0.1");
    let Some(steer) = steer(Kind::LeastLoaded, &sockets) else { return };
    steer.set_table(&[0, 1, 2]).unwrap();
    steer.set_load(0, 1000).unwrap();
    let _clients = connect_many(200, at);
    assert_eq!(counts(&sockets), [0, 100, 100, 0]);
    assert_eq!(steer.load_of(1).unwrap(), 100);
    steer.set_load(0, 0).unwrap();
    let _more = connect_many(100, at);
    assert_eq!(counts(&sockets), [100, 0, 0, 0]);
}

#[test]
fn least_loaded_loads_with_the_greatest_table() {
    let (sockets, at) = group(1, "127.0.0.1");
    let Some(steer) = steer(Kind::LeastLoaded, &sockets) else { return };
    let table: Vec<u32> = (0..steer.entries_max() as u32).collect();
    steer.set_table(&table).unwrap();
    let _clients = connect_many(3, at);
    assert_eq!(counts(&sockets), [3]);
}

#[test]
fn the_shortest_queue_gets_the_next_connection_and_among_equals_they_take_turns() {
    let (mut sockets, at) = group(4, "127.0.0.1");
    let Some(steer) = steer(Kind::ShortestQueue, &sockets) else { return };
    let table: Vec<u32> = (0..3).map(|i| shortest_queue_entry(i, i)).collect();
    steer.set_table(&table).unwrap();
    // Nobody accepts: the queues grow evenly, the one that is not in the table stays empty.
    let _clients = connect_many(30, at);
    assert_eq!(
        sockets.iter().map(|s| tcp_queue(s.as_fd()).unwrap().waiting).collect::<Vec<_>>(),
        [10, 10, 10, 0]
    );
    // One worker is blocked, two accept everything: it gets nothing more.
    counts(&sockets[1..3]);
    for _ in 0..10 {
        let _client = connect_many(1, at);
        assert_eq!(counts(&sockets[1..3]).iter().sum::<usize>(), 1);
    }
    assert_eq!(counts(&sockets), [10, 0, 0, 0]);
    // With empty queues they take turns.
    let given: Vec<usize> = (0..6)
        .map(|_| {
            let _client = connect_many(1, at);
            counts(&sockets).iter().position(|n| *n == 1).unwrap()
        })
        .collect();
    assert_eq!(given[..3], given[3..]);
    // A socket leaves from the middle: the last one takes its position, not its index.
    drop(sockets.remove(1));
    steer
        .set_table(&[shortest_queue_entry(0, 0), shortest_queue_entry(2, 2), shortest_queue_entry(3, 1)])
        .unwrap();
    let _clients = connect_many(30, at);
    assert_eq!(counts(&sockets), [10, 10, 10]);
}

/// Opens `n` connections one after the other to sockets whose workers accept at once, and says who got them.
fn one_by_one(n: usize, sockets: &[OwnedFd], to: SocketAddr) -> Vec<usize> {
    let mut given = vec![0; sockets.len()];
    for _ in 0..n {
        let _client = connect_many(1, to);
        for (given, new) in given.iter_mut().zip(counts(sockets)) {
            *given += new;
        }
    }
    given
}

#[test]
fn who_was_passed_over_is_paid_back_and_who_comes_or_was_long_away_is_not_flooded() {
    let (sockets, at) = group(4, "127.0.0.1");
    let Some(steer) = steer(Kind::ShortestQueue, &sockets) else { return };
    let table = |members: &[u32]| members.iter().map(|i| shortest_queue_entry(*i, *i)).collect::<Vec<_>>();
    steer.set_table(&table(&[0, 1, 2])).unwrap();
    assert_eq!(one_by_one(30, &sockets, at), [10, 10, 10, 0]);
    // Avoided for a moment: nine to two of them, then those nine and its own part to the third.
    steer.set_table(&table(&[0, 1])).unwrap();
    assert_eq!(one_by_one(18, &sockets, at), [9, 9, 0, 0]);
    steer.set_table(&table(&[0, 1, 2])).unwrap();
    assert_eq!(one_by_one(12, &sockets, at)[2], 10);
    // Away for long: what it is owed is bounded.
    steer.set_table(&table(&[0, 1])).unwrap();
    one_by_one(1000, &sockets, at);
    steer.set_table(&table(&[0, 1, 2])).unwrap();
    let given = one_by_one(400, &sockets, at);
    assert!((280..=320).contains(&given[2]), "256 of the 500, and a third of the rest: {given:?}");
    // A newcomer begins where the others are.
    steer.level_share(3).unwrap();
    steer.set_table(&table(&[0, 1, 2, 3])).unwrap();
    let given = one_by_one(40, &sockets, at);
    assert!((9..=11).contains(&given[3]), "{given:?}");
    // What another worker serves counts as that worker's.
    for _ in 0..5 {
        steer.move_share(3, 0).unwrap();
    }
    let given = one_by_one(40, &sockets, at);
    assert!((4..=6).contains(&given[0]) && (14..=16).contains(&given[3]), "{given:?}");
}

#[test]
fn more_sockets_than_the_program_compares_share_too_and_then_it_compares_them_all() {
    for kind in [Kind::ShortestQueue, Kind::LeastLoaded] {
        let (sockets, at) = group(20, "127.0.0.1");
        let Some(mut steer) = steer(kind, &sockets) else { return };
        let shortest = kind == Kind::ShortestQueue;
        let table: Vec<u32> =
            (0..20).map(|i| if shortest { shortest_queue_entry(i, i) } else { i }).collect();
        steer.set_table(&table).unwrap();
        assert!(one_by_one(200, &sockets, at).iter().all(|given| (5..=15).contains(given)));
        assert!(steer.compared() < 20);
        steer.compare(20, sockets[0].as_fd()).unwrap();
        assert!(steer.compared() >= 20);
        // Also of those that it did not see together before.
        one_by_one(40, &sockets, at);
        let given = one_by_one(200, &sockets, at);
        assert!(given.iter().all(|given| (9..=11).contains(given)), "{kind:?} {given:?}");
    }
}

#[test]
fn the_shortest_queue_minds_weights_while_queues_are_empty() {
    let (sockets, at) = group(3, "127.0.0.1");
    let Some(steer) = steer(Kind::ShortestQueue, &sockets) else { return };
    steer.set_weights([(0, 3), (1, 2), (2, 1)].into_iter()).unwrap();
    steer.set_table(&(0..3).map(|i| shortest_queue_entry(i, i)).collect::<Vec<_>>()).unwrap();
    let given = one_by_one(60, &sockets, at);
    assert!(given.iter().zip([30, 20, 10]).all(|(given, fair)| given.abs_diff(fair) <= 1), "{given:?}");
}

/// Table that sends bucket `b` to socket `b % 4`.
fn by_bucket() -> Vec<u32> {
    (0..IP_BUCKETS as u32).map(|b| b % 4).collect()
}

fn addresses() -> impl Iterator<Item = IpAddr> {
    (1..=60).map(|n| IpAddr::V4(Ipv4Addr::new(127, 0, n / 16, n)))
}

#[test]
fn both_kinds_of_program_send_a_client_address_where_its_bucket_says() {
    for classic in [false, true] {
        // "[::]" receives IPv4 packets too.
        for host in ["127.0.0.1", "0.0.0.0", "[::]"] {
            let (sockets, at) = group(4, host);
            if classic {
                let ranges: Vec<Range> =
                    by_bucket().into_iter().map(|position| Range { width: 1, position }).collect();
                Program::new(Key::SourceIp, &ranges).unwrap().attach(sockets[0].as_fd()).unwrap();
            } else {
                let Some(steer) = steer(Kind::SourceIp, &sockets) else { continue };
                steer.set_table(&by_bucket()).unwrap();
            }
            let to = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), at.port());
            for from in addresses() {
                let _client = client(from, to);
                let mut expected = [0; 4];
                expected[ip_bucket(from) % 4] = 1;
                assert_eq!(counts(&sockets), expected, "classic {classic}, {host}, from {from}");
            }
        }
    }
}

#[test]
fn an_ipv6_client_goes_to_its_bucket_too() {
    for classic in [false, true] {
        let (sockets, at) = group(4, "[::]");
        if classic {
            let ranges: Vec<Range> =
                by_bucket().into_iter().map(|position| Range { width: 1, position }).collect();
            Program::new(Key::SourceIp, &ranges).unwrap().attach(sockets[0].as_fd()).unwrap();
        } else {
            let Some(steer) = steer(Kind::SourceIp, &sockets) else { continue };
            steer.set_table(&by_bucket()).unwrap();
        }
        let from: IpAddr = "::1".parse().unwrap();
        let _clients: Vec<OwnedFd> = (0..5).map(|_| client(from, SocketAddr::new(from, at.port()))).collect();
        let mut expected = [0; 4];
        expected[ip_bucket(from) % 4] = 5;
        assert_eq!(counts(&sockets), expected, "classic {classic}");
    }
}

#[test]
fn neighbouring_addresses_spread_over_the_buckets() {
    let used: std::collections::BTreeSet<usize> = addresses().map(ip_bucket).collect();
    assert!(used.len() > 40, "{}", used.len());
}

#[test]
fn classic_random_follows_the_weights() {
    let (sockets, at) = group(4, "127.0.0.1");
    let ranges = [(1, 0), (1, 1), (2, 2), (0, 3)].map(|(width, position)| Range { width, position });
    Program::new(Key::Random, &ranges).unwrap().attach(sockets[0].as_fd()).unwrap();
    let _clients = connect_many(1000, at);
    let counts = counts(&sockets);
    assert_eq!(counts.iter().sum::<usize>(), 1000);
    assert_eq!(counts[3], 0);
    // 250 expected with a standard deviation of 14; 500 with 16: ten of them is never.
    assert!((110..390).contains(&counts[0]) && (340..660).contains(&counts[2]), "{counts:?}");
}

#[test]
fn classic_flow_spreads_and_keeps_to_its_range() {
    let (sockets, at) = group(3, "[::]");
    let ranges = [(128, 0), (128, 2)].map(|(width, position)| Range { width, position });
    Program::new(Key::Flow, &ranges).unwrap().attach(sockets[0].as_fd()).unwrap();
    let _v4 = connect_many(200, SocketAddr::new(Ipv4Addr::LOCALHOST.into(), at.port()));
    let counts4 = counts(&sockets);
    assert!(counts4[0] > 40 && counts4[1] == 0 && counts4[2] > 40, "{counts4:?}");
    let _v6 = connect_many(200, SocketAddr::new("::1".parse().unwrap(), at.port()));
    let counts6 = counts(&sockets);
    assert!(counts6[0] > 40 && counts6[1] == 0 && counts6[2] > 40, "{counts6:?}");
}

#[test]
fn a_classic_tree_of_a_thousand_ranges_finds_each_of_them() {
    let ranges: Vec<Range> = (0..1000).map(|position| Range { width: 1, position }).collect();
    let program = Program::new(Key::Random, &ranges).unwrap();
    let (sockets, at) = group(2, "127.0.0.1");
    // Positions beyond the group fall back to the hash: nothing is lost.
    program.attach(sockets[0].as_fd()).unwrap();
    let _clients = connect_many(50, at);
    assert_eq!(counts(&sockets).iter().sum::<usize>(), 50);
    assert!(Program::new(Key::Random, &[]).is_none());
    assert!(Program::new(Key::SourceIp, &ranges).is_none(), "buckets must be 256");
}

#[test]
fn a_classic_program_can_be_replaced_and_removed() {
    let (sockets, at) = group(2, "127.0.0.1");
    for position in [0, 1] {
        let one = [Range { width: 1, position }];
        Program::new(Key::Cpu, &one).unwrap().attach(sockets[1].as_fd()).unwrap();
        let _clients = connect_many(20, at);
        let mut expected = [0, 0];
        expected[position as usize] = 20;
        assert_eq!(counts(&sockets), expected);
    }
    detach(sockets[0].as_fd()).unwrap();
    assert!(detach(sockets[0].as_fd()).is_err());
    let _clients = connect_many(100, at);
    assert!(counts(&sockets).iter().all(|n| *n > 0));
}

#[test]
fn the_queue_of_a_socket_that_closes_migrates_to_the_table() {
    let (mut sockets, at) = group(3, "127.0.0.1");
    let Some(steer) = steer(Kind::RoundRobin, &sockets) else { return };
    steer.set_table(&[2]).unwrap();
    let clients = connect_many(20, at);
    steer.set_table(&[0, 1]).unwrap();
    drop(sockets.pop());
    assert_eq!(counts(&sockets), [10, 10]);
    drop(clients);
}

#[test]
fn maps_outlive_their_owner_through_their_descriptors() {
    let (sockets, at) = group(2, "127.0.0.1");
    let Some(steer) = steer(Kind::RoundRobin, &sockets) else { return };
    steer.set_table(&[0]).unwrap();
    let kept = steer.descriptors().map(|fd| fd.try_clone_to_owned().unwrap());
    let (compared, migrates) = (steer.compared(), steer.migrates());
    drop(steer);
    let steer = Steer::from_descriptors(Kind::RoundRobin, compared, migrates, kept);
    steer.set_table(&[1]).unwrap();
    let _clients = connect_many(10, at);
    assert_eq!(counts(&sockets), [0, 10]);
}

/// Runs `act` in a thread that has given up root: credentials belong to threads in the kernel.
fn unprivileged<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                // SAFETY: three integers; changes this thread only, which ends here.
                unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) };
                act()
            })
            .join()
            .unwrap()
    })
}

#[test]
fn without_privileges_ebpf_says_why_not_and_classic_works() {
    unprivileged(|| {
        let error = super::capability().unwrap_err();
        assert_eq!(error.to_string(), "bpf(2) is not permitted here (needs CAP_BPF)");
        let (sockets, at) = group(2, "127.0.0.1");
        let one = [Range { width: 1, position: 1 }];
        Program::new(Key::Random, &one).unwrap().attach(sockets[0].as_fd()).unwrap();
        let _clients = connect_many(30, at);
        assert_eq!(counts(&sockets), [0, 30]);
    });
}
