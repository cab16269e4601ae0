//! Addresses that a socket tells of itself.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;

use rustix::net::{SocketAddrAny, SocketAddrUnix};

use super::unix::UnixName;

/// A socket's own or its peer's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalAddress {
    /// TCP or UDP.
    Inet(SocketAddr),
    /// Unix socket with a name.
    Unix(UnixName),
    /// Unix socket without a name, as most clients are.
    Unnamed,
}

// === impl LocalAddress ===

impl LocalAddress {
    /// Port of a TCP or UDP address.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Inet(address) => Some(address.port()),
            Self::Unix(_) | Self::Unnamed => None,
        }
    }
}

impl fmt::Display for LocalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => write!(f, "{address}"),
            Self::Unix(name) => write!(f, "{name}"),
            Self::Unnamed => f.write_str("(unnamed)"),
        }
    }
}

/// Address a socket is bound to: how port 0 is resolved.
///
/// # Errors
/// Those of getsockname(2); `Unsupported` for other families.
pub fn local_address(fd: impl AsFd) -> io::Result<LocalAddress> {
    translate(rustix::net::getsockname(fd)?)
}

/// Address of a connection's other end.
///
/// # Errors
/// ENOTCONN: the client is gone.
pub fn peer_address(fd: impl AsFd) -> io::Result<LocalAddress> {
    match rustix::net::getpeername(fd)? {
        Some(address) => translate(address),
        None => Ok(LocalAddress::Unnamed),
    }
}

fn translate(address: SocketAddrAny) -> io::Result<LocalAddress> {
    if let Ok(inet) = SocketAddr::try_from(address.clone()) {
        return Ok(LocalAddress::Inet(inet));
    }
    let unix = SocketAddrUnix::try_from(address)
        .map_err(|_| io::Error::new(io::ErrorKind::Unsupported, "neither an internet nor a Unix socket"))?;
    if let Some(name) = unix.abstract_name() {
        return Ok(LocalAddress::Unix(UnixName::Abstract(name.to_vec())));
    }
    Ok(match unix.path_bytes() {
        Some(path) if !path.is_empty() => {
            use std::os::unix::ffi::OsStringExt;
            LocalAddress::Unix(UnixName::Path(PathBuf::from(std::ffi::OsString::from_vec(path.to_vec()))))
        }
        _ => LocalAddress::Unnamed,
    })
}
