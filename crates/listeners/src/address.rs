//! What may be listened on, and how it is said.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// An address that the workers of one app share.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// A TCP port.
    Tcp {
        /// Interface.
        host: Host,
        /// Port; 0 lets the kernel choose one, once for all slots.
        port: u16,
        /// IPv6 only. Means something for IPv6 hosts and for [`Host::Any`].
        v6only: bool,
    },
    /// A UDP port. Flows stick to a slot.
    Udp {
        /// Interface.
        host: Host,
        /// Port; 0 lets the kernel choose one.
        port: u16,
        /// IPv6 only.
        v6only: bool,
    },
    /// A Unix stream socket. All slots share one socket: the kernel does not balance these.
    Unix {
        /// Path in the file system.
        path: PathBuf,
        /// Permission bits, exactly. `None`: 0777 less the umask.
        mode: Option<u32>,
        /// Owner and group of the path.
        owner: Option<(u32, u32)>,
    },
    /// A Unix stream socket in the abstract namespace (without the leading NUL).
    Abstract {
        /// Name; any bytes.
        name: Vec<u8>,
    },
}

/// Which interface to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Host {
    /// All: `[::]` with IPv4 mapped, or `0.0.0.0` where there is no IPv6. What Node does without a host.
    Any,
    /// One address.
    Ip(IpAddr),
    /// A link-local IPv6 address with its interface index.
    Scoped(Ipv6Addr, u32),
}

// === impl Host ===

impl Host {
    /// Socket addresses to try in this order.
    pub(crate) fn candidates(self, port: u16, v6only: bool) -> Vec<SocketAddr> {
        let v6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port);
        let v4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
        match self {
            Self::Any if v6only => vec![v6],
            Self::Any => vec![v6, v4],
            Self::Ip(ip) => vec![SocketAddr::new(ip, port)],
            Self::Scoped(ip, scope) => vec![SocketAddrV6::new(ip, port, 0, scope).into()],
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Scoped(ip, scope) => write!(f, "[{ip}%{scope}]"),
        }
    }
}

// === impl Address ===

impl Address {
    /// Port of a TCP or UDP address.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp { port, .. } | Self::Udp { port, .. } => Some(*port),
            Self::Unix { .. } | Self::Abstract { .. } => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, .. } => write!(f, "tcp {host}:{port}"),
            Self::Udp { host, port, .. } => write!(f, "udp {host}:{port}"),
            Self::Unix { path, .. } => write!(f, "unix {}", path.display()),
            Self::Abstract { name } => write!(f, "unix @{}", name.escape_ascii()),
        }
    }
}
