//! Unix sockets: pairs, listeners and connections (by paths of any length), who is at the other end, and how
//! full their queues are.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// The longest path a Unix address can hold, in bytes, without its terminating zero (unix(7), `sun_path`).
pub const ADDRESS_BYTES_MAX: usize = 107;

/// The kind of a Unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A stream of bytes.
    Stream,
    /// Whole messages, in order, with an end (`SOCK_SEQPACKET`).
    Message,
}

impl Kind {
    fn socket_type(self) -> SocketType {
        match self {
            Kind::Stream => SocketType::STREAM,
            Kind::Message => SocketType::SEQPACKET,
        }
    }
}

/// The process at the other end when the connection was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its pid (0 when it lives in a pid namespace that we cannot see).
    pub pid: i32,
    /// Its effective user id.
    pub uid: u32,
    /// Its effective group id.
    pub gid: u32,
}

/// A connected pair, close-on-exec, blocking.
///
/// # Errors
/// `EMFILE`/`ENFILE` when descriptors have run out.
pub fn pair(kind: Kind) -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(AddressFamily::UNIX, kind.socket_type(), SocketFlags::CLOEXEC, None)?)
}

/// Makes a listening stream socket at `path`, accessible to the owner only (0600) from its first instant.
///
/// The caller removes a stale file first; this never does.
///
/// # Errors
/// `EADDRINUSE` when the path exists; `EACCES`, `ENOSPC`, `EROFS` and the like of its directory.
pub fn listen(path: &Path, backlog: i32) -> io::Result<OwnedFd> {
    let socket = socket(Kind::Stream)?;
    // The mode of the socket's inode is taken by bind from this (Linux: net/unix/af_unix.c, unix_bind_bsd), so
    // that there is no instant at which somebody else could connect.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    let route = Route::to(path)?;
    rustix::net::bind(&socket, &route.address)?;
    rustix::net::listen(&socket, backlog)?;
    Ok(socket)
}

/// Connects to the stream socket at `path`; the result is close-on-exec and blocking.
///
/// # Errors
/// `ENOENT` when there is no such file, `ECONNREFUSED` when nobody listens any more.
pub fn connect(path: &Path) -> io::Result<OwnedFd> {
    let socket = socket(Kind::Stream)?;
    let route = Route::to(path)?;
    rustix::io::retry_on_intr(|| rustix::net::connect(&socket, &route.address))?;
    Ok(socket)
}

/// Who connected.
///
/// # Errors
/// `ENOTSOCK` and the like.
pub fn peer(socket: impl AsFd) -> io::Result<Peer> {
    let mut found = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = libc::socklen_t::try_from(size_of::<libc::ucred>()).expect("a ucred has 12 bytes");
    // SAFETY: `found` and `length` are valid for writes, and `length` says how large `found` is.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut found).cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Peer { pid: found.pid, uid: found.uid, gid: found.gid })
}

/// Bytes (with the kernel's overhead) that we sent and the peer has not read yet (`SIOCOUTQ`).
///
/// # Errors
/// `EINVAL` for a listening socket, `ENOTTY` for no socket.
pub fn unread_by_peer(socket: impl AsFd) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: TIOCOUTQ (= SIOCOUTQ on sockets) writes one int to the pointer, which is valid for that.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// The size of the send buffer in bytes, in the unit of [`unread_by_peer`].
///
/// # Errors
/// `ENOTSOCK`.
pub fn send_buffer_bytes(socket: impl AsFd) -> io::Result<usize> {
    Ok(rustix::net::sockopt::socket_send_buffer_size(socket)?)
}

fn socket(kind: Kind) -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(AddressFamily::UNIX, kind.socket_type(), SocketFlags::CLOEXEC, None)?)
}

/// An address for a path of any length: a long one is reached through an open directory in `/proc/self/fd`.
struct Route {
    address: SocketAddrUnix,
    _directory: Option<OwnedFd>,
}

impl Route {
    fn to(path: &Path) -> io::Result<Self> {
        if path.as_os_str().len() <= ADDRESS_BYTES_MAX {
            return Ok(Route { address: SocketAddrUnix::new(path)?, _directory: None });
        }
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let parent = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(CWD, parent, flags, Mode::empty())?;
        let short = short_path(directory.as_raw_fd(), name);
        Ok(Route { address: SocketAddrUnix::new(&short)?, _directory: Some(directory) })
    }
}

fn short_path(directory: i32, name: &OsStr) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{directory}")).join(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_listener_is_private_from_the_start_and_reachable() {
        let home = tempfile::tempdir().expect("dir");
        let path = home.path().join("s.sock");
        let listener = listen(&path, 8).expect("listen");
        let mode = std::fs::metadata(&path).expect("stat").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let client = connect(&path).expect("connect");
        let accepted = rustix::net::accept(&listener).expect("accept");
        let who = peer(&accepted).expect("peer");
        assert_eq!(who.pid, std::process::id().cast_signed());
        assert_eq!(who.uid, rustix::process::geteuid().as_raw());
        assert_eq!(peer(&client).expect("peer").gid, rustix::process::getegid().as_raw());
        drop(listener);
        assert_eq!(connect(&path).expect_err("stale").kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(listen(&path, 8).expect_err("exists").kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_path_longer_than_an_address_works_too() {
        let home = tempfile::tempdir().expect("dir");
        let long = home.path().join("d".repeat(120)).join("e".repeat(200));
        std::fs::create_dir_all(&long).expect("mkdir");
        let path = long.join("skep.sock");
        let _listener = listen(&path, 8).expect("listen");
        connect(&path).expect("connect");
        assert!(path.exists());
    }

    #[test]
    fn unread_bytes_count_until_the_peer_has_read_them() {
        let (one, two) = pair(Kind::Stream).expect("pair");
        assert_eq!(unread_by_peer(&one).expect("count"), 0);
        crate::fdpass::send(&one, b"abc", &[]).expect("send");
        assert!(unread_by_peer(&one).expect("count") > 0);
        assert_eq!(crate::pipe::readable_bytes(&two).expect("count"), 3);
        crate::fdpass::receive(&two, &mut [0; 8], crate::fdpass::Receive::Take).expect("receive");
        assert_eq!(unread_by_peer(&one).expect("count"), 0);
        assert!(send_buffer_bytes(&one).expect("size") > 1000);
    }
}
