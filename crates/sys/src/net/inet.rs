//! TCP and UDP sockets.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, ipproto, socket_with, sockopt};

use super::error::{NetError, Step};

/// Who may bind the same address beside this socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Nobody: `bind` fails while anyone listens there, sharing or not.
    Alone,
    /// Members of one `SO_REUSEPORT` group, which the kernel admits by effective uid.
    Group,
}

/// What an IPv6 socket does with IPv4. Ignored for IPv4 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DualStack {
    /// IPv4 clients arrive as mapped addresses (`IPV6_V6ONLY` off).
    Both,
    /// IPv6 only.
    V6Only,
}

/// A TCP socket bound to `address` and not yet listening. Port 0 lets the kernel choose a free port.
///
/// `SO_REUSEADDR` is always on: connections of a former process in TIME_WAIT do not count as a conflict,
/// listening sockets do.
///
/// # Errors
/// EADDRINUSE, EACCES (port below `net.ipv4.ip_unprivileged_port_start`), EADDRNOTAVAIL (no interface has the
/// address), EAFNOSUPPORT (no IPv6 here), EMFILE.
pub fn tcp_bound(address: SocketAddr, sharing: Sharing, stack: DualStack) -> Result<OwnedFd, NetError> {
    let fd = open(address, SocketType::STREAM, ipproto::TCP, stack)?;
    sockopt::set_socket_reuseaddr(&fd, true).map_err(NetError::at(Step::Option))?;
    finish(fd, address, sharing)
}

/// A UDP socket bound to `address`.
///
/// `SO_REUSEADDR` stays off: on Linux it would let any other program of the machine that sets it too take the
/// port over.
///
/// # Errors
/// As for [`tcp_bound`].
pub fn udp_bound(address: SocketAddr, sharing: Sharing, stack: DualStack) -> Result<OwnedFd, NetError> {
    let fd = open(address, SocketType::DGRAM, ipproto::UDP, stack)?;
    finish(fd, address, sharing)
}

/// Makes a bound TCP or Unix socket listen, or changes the backlog of one that does already.
///
/// The kernel cuts `backlog` to `net.core.somaxconn`.
///
/// # Errors
/// EADDRINUSE: someone began to listen on the address after our `bind`.
pub fn listen(fd: impl AsFd, backlog: u32) -> Result<(), NetError> {
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    rustix::net::listen(fd, backlog).map_err(NetError::at(Step::Listen))
}

fn open(
    address: SocketAddr,
    kind: SocketType,
    protocol: rustix::net::Protocol,
    stack: DualStack,
) -> Result<OwnedFd, NetError> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = socket_with(family, kind, flags, Some(protocol)).map_err(NetError::at(Step::Socket))?;
    if address.is_ipv6() {
        // Always said explicitly: the default is a sysctl (net.ipv6.bindv6only).
        sockopt::set_ipv6_v6only(&fd, stack == DualStack::V6Only).map_err(NetError::at(Step::Option))?;
    }
    Ok(fd)
}

fn finish(fd: OwnedFd, address: SocketAddr, sharing: Sharing) -> Result<OwnedFd, NetError> {
    if sharing == Sharing::Group {
        sockopt::set_socket_reuseport(&fd, true).map_err(NetError::at(Step::Option))?;
    }
    bind(&fd, &address).map_err(NetError::at(Step::Bind))?;
    Ok(fd)
}
