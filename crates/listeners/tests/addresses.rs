//! Addresses of every kind with real sockets: ports, families, datagrams, paths, abstract names; who is refused, and why.

mod support;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

use skep_core::SlotId;
use skep_listeners::{Address, Balance, Group, Holder, Host, ListenError, LocalAddress, Selector};
use support::{LOCALHOST, at, counts, group, now, options, slots, tcp, unprivileged};

#[test]
fn a_port_that_another_program_has_is_refused_by_name() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = other.local_addr().expect("bound").port();
    for host in [LOCALHOST, Host::Any] {
        let error = Group::open(&tcp(host, port), &options(Balance::Auto)).expect_err("in use");
        assert_eq!(error.errno(), 98);
        let ListenError::InUse { holder: Some(Holder::Process { pid, command }), .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(*pid, std::process::id());
        assert!(command.contains("addresses"), "{command}");
        assert!(error.to_string().contains(&format!(":{port} is in use by pid {pid} (")), "{error}");
    }
}

#[test]
fn two_groups_on_one_port_are_refused_although_both_share_it() {
    for balance in [Balance::Auto, Balance::Shared] {
        let first = group(balance, 2);
        let port = first.address().port().expect("a port");
        for second in [Balance::Auto, Balance::Ipc] {
            let error = Group::open(&tcp(LOCALHOST, port), &options(second)).expect_err("in use");
            assert!(matches!(error, ListenError::InUse { .. }), "{error}");
        }
    }
}

#[test]
fn errors_keep_their_errno_and_name_a_remedy() {
    let elsewhere = Host::Ip(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)));
    let error = Group::open(&tcp(elsewhere, 0), &options(Balance::Auto)).expect_err("not our address");
    assert_eq!(error.errno(), 99);
    assert!(error.to_string().contains("no network interface"), "{error}");
    unprivileged(|| {
        let limit = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").expect("Linux");
        if limit.trim() == "0" {
            return;
        }
        let error = Group::open(&tcp(LOCALHOST, 81), &options(Balance::Auto)).expect_err("privileged port");
        assert_eq!(error.errno(), 13);
        assert!(error.to_string().contains("CAP_NET_BIND_SERVICE"), "{error}");
    });
}

#[test]
fn any_host_listens_on_both_families_and_port_zero_is_one_port_for_all_slots() {
    let mut group = Group::open(&tcp(Host::Any, 0), &options(Balance::Auto)).expect("a free port");
    let port = group.address().port().expect("a port");
    assert_ne!(port, 0);
    for slot in slots(3) {
        group.socket(slot).expect("a socket");
        group.set_live(slot, true);
    }
    assert!(matches!(group.local_address(), LocalAddress::Inet(at) if at.port() == port));
    let _clients = [
        TcpStream::connect(("127.0.0.1", port)).expect("IPv4"),
        TcpStream::connect(("::1", port)).expect("IPv6"),
        TcpStream::connect(("127.0.0.1", port)).expect("IPv4"),
    ];
    assert_eq!(counts(&mut group, &slots(3)).iter().sum::<usize>(), 3);
    let only = Group::open(&Address::Tcp { host: Host::Any, port: 0, v6only: true }, &options(Balance::Auto));
    let port = only.as_ref().expect("IPv6").address().port().expect("a port");
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn datagrams_of_one_flow_stay_together_and_avoid_a_dead_slot() {
    for privileged in [true, false] {
        let check = || {
            let address = Address::Udp { host: LOCALHOST, port: 0, v6only: false };
            let mut group = Group::open(&address, &options(Balance::Auto)).expect("a free port");
            assert_eq!(group.selection().selector, Selector::CbpfHash);
            let sockets: Vec<UdpSocket> = slots(4)
                .into_iter()
                .map(|slot| {
                    let fd = group.socket(slot).expect("a socket").try_clone_to_owned().expect("dup");
                    UdpSocket::from(fd)
                })
                .collect();
            for slot in slots(3) {
                group.set_live(slot, true);
            }
            for _ in 0..40 {
                let client = UdpSocket::bind("127.0.0.1:0").expect("a free port");
                client.connect(at(&group)).expect("connect");
                for _ in 0..3 {
                    client.send(b"x").expect("sent");
                }
                let mut buffer = [0; 8];
                let got: Vec<usize> = sockets
                    .iter()
                    .map(|socket| std::iter::from_fn(|| socket.recv(&mut buffer).ok()).count())
                    .collect();
                assert_eq!(got.iter().max(), Some(&3), "one flow, one slot: {got:?}");
                assert_eq!(got[3], 0, "not live");
            }
            let error = Group::open(group.address(), &options(Balance::Auto)).expect_err("in use");
            assert!(matches!(error, ListenError::InUse { holder: Some(_), .. }), "{error}");
            group.retire(SlotId(0));
            assert_eq!(group.patrol(now(0)).again, None);
        };
        if privileged { check() } else { unprivileged(check) }
    }
}

fn unix(path: &std::path::Path, mode: Option<u32>) -> Address {
    Address::Unix { path: path.to_owned(), mode, owner: None }
}

#[test]
fn a_unix_path_has_its_mode_is_healed_when_stale_and_removed_at_the_end() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("app.sock");
    drop(UnixListener::bind(&path).expect("a path left behind"));
    let mut group = Group::open(&unix(&path, Some(0o660)), &options(Balance::Auto)).expect("nobody listens");
    assert_eq!(group.selection().selector, Selector::Shared);
    assert_eq!(std::fs::metadata(&path).expect("a path").permissions().mode() & 0o777, 0o660);
    group.socket(SlotId(0)).expect("a socket");
    let mut client = UnixStream::connect(&path).expect("listening");
    client.write_all(b"hello").expect("written");
    let socket = group.socket(SlotId(1)).expect("the same socket");
    let mut served = UnixStream::from(support::accept_one(socket).expect("a connection"));
    let mut text = [0; 5];
    served.read_exact(&mut text).expect("read");
    assert_eq!(&text, b"hello");
    let error = Group::open(&unix(&path, None), &options(Balance::Auto)).expect_err("in use");
    assert!(matches!(error, ListenError::InUse { holder: Some(_), .. }), "{error}");
    group.close().expect("removed");
    assert!(!path.exists());
}

#[test]
fn a_unix_path_that_is_somebody_elses_by_now_stays() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("app.sock");
    let group = Group::open(&unix(&path, None), &options(Balance::Auto)).expect("free");
    std::fs::remove_file(&path).expect("removed");
    let _other = UnixListener::bind(&path).expect("free again");
    group.close().expect("nothing to do");
    assert!(path.exists());
}

#[test]
fn abstract_names_and_very_long_paths_work() {
    let name = format!("skep-listeners-{}", std::process::id()).into_bytes();
    let group =
        Group::open(&Address::Abstract { name: name.clone() }, &options(Balance::Auto)).expect("free");
    use std::os::linux::net::SocketAddrExt;
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("short");
    UnixStream::connect_addr(&address).expect("listening");
    assert!(Group::open(group.address(), &options(Balance::Auto)).is_err());

    let directory = tempfile::tempdir().expect("a directory");
    let deep = directory.path().join("d".repeat(90)).join("e".repeat(90));
    std::fs::create_dir_all(&deep).expect("created");
    let path = deep.join("app.sock");
    let group = Group::open(&unix(&path, Some(0o600)), &options(Balance::Auto)).expect("long paths are fine");
    assert_eq!(group.local_address().to_string(), path.display().to_string());
    assert!(path.exists());
}
