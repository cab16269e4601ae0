//! What we must know of the process that called `bind`: the address, the kind of its socket, the flags of its
//! descriptor. All of it is read by pid, so the reader has to ask the kernel afterwards whether the
//! notification is still valid: only then the pid was not another process meanwhile.

use std::ffi::CString;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::RawFd;

/// Size of `struct sockaddr_storage`: the kernel refuses longer addresses in `bind(2)`.
const SOCKADDR_BYTES_MAX: usize = 128;
/// Longest protocol name that sockfs shows ("UNIX-STREAM"), with room.
const PROTOCOL_NAME_BYTES_MAX: usize = 64;

/// Address given to `bind(2)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindAddress {
    /// `AF_INET` or `AF_INET6`.
    Inet(SocketAddr),
    /// `AF_UNIX`: path bytes without the final NUL; an abstract name starts with NUL.
    Unix(Vec<u8>),
    /// Any other family (netlink, packet …), or an address too short for its family.
    Other,
}

/// Kind of a socket, as sockfs names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketKind {
    /// TCP or MPTCP (Go listens with MPTCP by default since 1.24).
    Tcp,
    /// UDP.
    Udp,
    /// `SOCK_STREAM` of `AF_UNIX` (kernels before 6.1 name all AF_UNIX sockets alike).
    UnixStream,
    /// Anything else.
    Other,
}

// === impl BindAddress ===

impl BindAddress {
    /// Reads a `struct sockaddr` as the kernel would.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let Some((family, rest)) = bytes.split_first_chunk::<2>() else { return Self::Other };
        match i32::from(u16::from_ne_bytes(*family)) {
            libc::AF_INET => Self::inet(rest).unwrap_or(Self::Other),
            libc::AF_INET6 => Self::inet6(rest).unwrap_or(Self::Other),
            libc::AF_UNIX => Self::Unix(unix_name(rest).to_vec()),
            _ => Self::Other,
        }
    }

    fn inet(rest: &[u8]) -> Option<Self> {
        let (port, rest) = rest.split_first_chunk::<2>()?;
        let (ip, _) = rest.split_first_chunk::<4>()?;
        Some(Self::Inet(SocketAddrV4::new(Ipv4Addr::from(*ip), u16::from_be_bytes(*port)).into()))
    }

    fn inet6(rest: &[u8]) -> Option<Self> {
        let (port, rest) = rest.split_first_chunk::<2>()?;
        let (flow, rest) = rest.split_first_chunk::<4>()?;
        let (ip, rest) = rest.split_first_chunk::<16>()?;
        // The kernel accepts an address without scope id (RFC 2133 form).
        let scope = rest.first_chunk::<4>().map_or(0, |s| u32::from_ne_bytes(*s));
        let (port, flow) = (u16::from_be_bytes(*port), u32::from_be_bytes(*flow));
        Some(Self::Inet(SocketAddrV6::new(Ipv6Addr::from(*ip), port, flow, scope).into()))
    }
}

fn unix_name(rest: &[u8]) -> &[u8] {
    match rest.first() {
        Some(0) => rest, // abstract: every byte counts
        _ => rest.split(|b| *b == 0).next().unwrap_or_default(),
    }
}

/// Copies `length` bytes (at most a sockaddr) out of another process.
pub(super) fn read_address(pid: u32, pointer: u64, length: u64) -> io::Result<BindAddress> {
    let mut buffer = [0u8; SOCKADDR_BYTES_MAX];
    let length = usize::try_from(length).unwrap_or(usize::MAX).min(SOCKADDR_BYTES_MAX);
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: length };
    let remote = libc::iovec { iov_base: pointer as *mut libc::c_void, iov_len: length };
    // SAFETY: `local` describes `length` writable bytes of `buffer`; `remote` is an address in the other
    // process, which the kernel checks; both vectors hold one element.
    let n =
        unsafe { libc::process_vm_readv(pid as libc::pid_t, &raw const local, 1, &raw const remote, 1, 0) };
    if n < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(BindAddress::parse(&buffer[..n as usize]))
}

/// Kind of the socket behind `fd` of another process, by the name that sockfs gives it.
///
/// The `system.sockprotoname` attribute needs only the right to read the process, unlike `pidfd_getfd`, which
/// Yama and Docker's default profile forbid.
pub(super) fn socket_kind(pid: u32, fd: RawFd) -> io::Result<SocketKind> {
    let path = CString::new(format!("/proc/{pid}/fd/{fd}")).expect("digits hold no NUL");
    let mut name = [0u8; PROTOCOL_NAME_BYTES_MAX];
    let n = rustix::fs::getxattr(&path, c"system.sockprotoname", &mut name)?;
    let name = name[..n].split(|b| *b == 0).next().unwrap_or_default();
    Ok(match name {
        b"TCP" | b"TCPv6" | b"MPTCP" | b"MPTCPv6" => SocketKind::Tcp,
        b"UDP" | b"UDPv6" => SocketKind::Udp,
        b"UNIX" | b"UNIX-STREAM" => SocketKind::UnixStream,
        _ => SocketKind::Other,
    })
}

/// Whether an IPv6 socket of another process refuses IPv4 (`IPV6_V6ONLY`).
///
/// Needs a duplicate of the descriptor, hence as much right as reading the process's memory does, and a sandbox
/// that permits `pidfd_getfd` (Linux 5.6; Docker's default profile does not without CAP_SYS_PTRACE).
pub(super) fn v6_only(pid: u32, fd: RawFd) -> io::Result<bool> {
    let process = rustix::process::Pid::from_raw(leader(pid)?)
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    let process = rustix::process::pidfd_open(process, rustix::process::PidfdFlags::empty())?;
    let socket = rustix::process::pidfd_getfd(process, fd, rustix::process::PidfdGetfdFlags::empty())?;
    Ok(rustix::net::sockopt::ipv6_v6only(socket)?)
}

/// The process that a thread belongs to: `pidfd_open` wants that one.
fn leader(thread: u32) -> io::Result<i32> {
    let text = std::fs::read_to_string(format!("/proc/{thread}/status"))?;
    text.lines()
        .find_map(|line| line.strip_prefix("Tgid:"))
        .and_then(|number| number.trim().parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "status holds no Tgid line"))
}

/// `O_*` flags of `fd` in another process, close-on-exec included (proc_pid_fdinfo(5): octal).
pub(super) fn descriptor_flags(pid: u32, fd: RawFd) -> io::Result<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}"))?;
    text.lines()
        .find_map(|line| line.strip_prefix("flags:"))
        .and_then(|octal| i32::from_str_radix(octal.trim(), 8).ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "fdinfo holds no flags line"))
}
