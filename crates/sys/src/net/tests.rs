use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::{FdFlags, fcntl_getfd};

use super::*;

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn inet(fd: impl AsFd) -> SocketAddr {
    match local_address(fd).unwrap() {
        LocalAddress::Inet(at) => at,
        other => panic!("{other} is not an internet address"),
    }
}

#[test]
fn sockets_are_nonblocking_and_close_on_exec() {
    let tcp = tcp_bound(any(), Sharing::Alone, DualStack::Both).unwrap();
    let udp = udp_bound(any(), Sharing::Group, DualStack::Both).unwrap();
    for socket in [&tcp, &udp] {
        assert!(fcntl_getfl(socket).unwrap().contains(OFlags::NONBLOCK));
        assert!(fcntl_getfd(socket).unwrap().contains(FdFlags::CLOEXEC));
    }
}

#[test]
fn a_lone_socket_finds_out_whoever_listens_even_if_he_shares() {
    let shared = tcp_bound(any(), Sharing::Group, DualStack::Both).unwrap();
    listen(&shared, 10).unwrap();
    let at = inet(&shared);
    assert!(tcp_bound(at, Sharing::Group, DualStack::Both).is_ok());
    let error = tcp_bound(at, Sharing::Alone, DualStack::Both).unwrap_err();
    assert_eq!((error.step, error.errno()), (Step::Bind, libc::EADDRINUSE));
}

#[test]
fn connections_in_time_wait_are_no_conflict() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let client = TcpStream::connect(at).unwrap();
    // The server closes first: TIME_WAIT is on its side.
    drop(listener.accept().unwrap());
    drop(client);
    drop(listener);
    assert!(tcp_bound(at, Sharing::Alone, DualStack::Both).is_ok());
}

#[test]
fn the_queue_counts_what_waits_and_who_has_no_queue_says_so() {
    let socket = tcp_bound(any(), Sharing::Alone, DualStack::Both).unwrap();
    assert!(!tcp_queue(socket.as_fd()).unwrap().listening);
    listen(&socket, 77).unwrap();
    let at = inet(&socket);
    let clients: Vec<TcpStream> = (0..5).map(|_| TcpStream::connect(at).unwrap()).collect();
    assert_eq!(tcp_queue(socket.as_fd()).unwrap(), Queue { waiting: 5, limit: 77, listening: true });
    let Accepted::Connection(one) = accept(socket.as_fd()).unwrap() else { panic!("five wait") };
    assert!(fcntl_getfl(&one).unwrap().contains(OFlags::NONBLOCK));
    assert_eq!(inet(&one), at);
    assert_eq!(peer_address(&one).unwrap(), LocalAddress::Inet(clients[0].local_addr().unwrap()));
    assert_eq!(tcp_queue(socket.as_fd()).unwrap().waiting, 4);
    let (unix, _) = UnixStream::pair().unwrap();
    assert!(tcp_queue(unix.as_fd()).is_err());
}

#[test]
fn accepting_never_blocks_whoever_made_the_socket_blocking() {
    let socket = tcp_bound(any(), Sharing::Alone, DualStack::Both).unwrap();
    listen(&socket, 5).unwrap();
    assert!(matches!(accept(socket.as_fd()).unwrap(), Accepted::Empty));
    rustix::fs::fcntl_setfl(&socket, OFlags::empty()).unwrap();
    assert!(matches!(accept(socket.as_fd()).unwrap(), Accepted::Blocking));
    set_nonblocking(&socket).unwrap();
    assert!(matches!(accept(socket.as_fd()).unwrap(), Accepted::Empty));
}

#[test]
fn a_client_that_gave_up_while_it_waited_is_accepted_without_an_error() {
    let socket = tcp_bound(any(), Sharing::Alone, DualStack::Both).unwrap();
    listen(&socket, 5).unwrap();
    let client = TcpStream::connect(inet(&socket)).unwrap();
    rustix::net::sockopt::set_socket_linger(&client, Some(std::time::Duration::ZERO)).unwrap();
    drop(client); // a reset
    let _next = TcpStream::connect(inet(&socket)).unwrap();
    let accepted = std::iter::from_fn(|| match accept(socket.as_fd()).unwrap() {
        Accepted::Connection(fd) => Some(fd),
        Accepted::Empty | Accepted::Blocking => None,
    });
    assert_eq!(accepted.count(), 2);
}

#[test]
fn a_unix_path_is_born_closed_and_then_gets_its_mode_and_owner() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let name = UnixName::Path(path.clone());
    let owner = rustix::process::geteuid().is_root().then_some((65534, 65534));
    let (socket, identity) = unix_bound(&name, UnixAccess { mode: Some(0o666), owner }).unwrap();
    let meta = std::fs::metadata(&path).unwrap();
    assert_eq!(meta.permissions().mode() & 0o7777, 0o666);
    if let Some((user, _)) = owner {
        assert_eq!(meta.uid(), user);
    }
    // Bound, not listening: nobody can connect before the permissions are right.
    assert!(UnixStream::connect(&path).is_err());
    listen(&socket, 5).unwrap();
    UnixStream::connect(&path).unwrap();
    assert_eq!(local_address(&socket).unwrap(), LocalAddress::Unix(name));
    let identity = identity.unwrap();
    assert!(!remove_unix_path(&path, UnixIdentity { inode: identity.inode + 1, ..identity }).unwrap());
    assert!(remove_unix_path(&path, identity).unwrap());
    assert!(!remove_unix_path(&path, identity).unwrap());
}

#[test]
fn only_a_path_that_nobody_listens_on_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let name = UnixName::Path(path.clone());
    let in_use = |result: Result<_, NetError>| match result {
        Ok(_) => panic!("taken over"),
        Err(error) => assert_eq!(error.errno(), libc::EADDRINUSE),
    };
    std::fs::write(&path, "a file of the user").unwrap();
    in_use(unix_bound(&name, UnixAccess::default()));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a file of the user");
    std::fs::remove_file(&path).unwrap();

    let other = UnixListener::bind(&path).unwrap();
    in_use(unix_bound(&name, UnixAccess::default()));
    UnixStream::connect(&path).unwrap();
    drop(other);
    unix_bound(&name, UnixAccess::default()).unwrap();
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left aside");

    let missing = UnixName::Path(directory.path().join("no/such/directory"));
    assert_eq!(unix_bound(&missing, UnixAccess::default()).unwrap_err().errno(), libc::ENOENT);
}
