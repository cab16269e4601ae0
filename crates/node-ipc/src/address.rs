//! Where a worker wants to listen: the fields of `queryServer`, made into a type.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::incoming::RawQuery;

/// `backlog || 511`: what Node passes to listen(2) when the app gives none (`lib/net.js`, `setupListenHandle`).
pub const BACKLOG_DEFAULT: u32 = 511;
/// `UV_TCP_IPV6ONLY` and `UV_UDP_IPV6ONLY` (`uv.h`).
const FLAG_V6_ONLY: u32 = 1;
/// `UV_TCP_REUSEPORT`.
const FLAG_TCP_REUSE_PORT: u32 = 2;
/// `UV_UDP_REUSEADDR`.
const FLAG_UDP_REUSE_ADDRESS: u32 = 4;
/// `UV_UDP_REUSEPORT`.
const FLAG_UDP_REUSE_PORT: u32 = 64;

/// An address that an app asked to listen on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Address {
    /// A TCP port.
    Tcp {
        /// `None`: unspecified; try `[::]` for both families, fall back to `0.0.0.0`.
        ip: Option<IpAddr>,
        /// The zone of a link-local IPv6 address (`eth0` of `fe80::1%eth0`).
        zone: Option<String>,
        /// 0: any free port, the same one for all workers of the app (see [`Query::key`]).
        port: u16,
        /// `ipv6Only: true`.
        v6_only: bool,
        /// `reusePort: true`. Node implies `exclusive` then, so that a primary does not see it; kept for completeness.
        reuse_port: bool,
    },
    /// A Unix socket.
    Unix {
        /// Absolute (the worker resolves it), or abstract when it starts with a NUL.
        path: String,
        /// `readableAll`: everyone may read.
        readable_all: bool,
        /// `writableAll`: everyone may connect.
        writable_all: bool,
    },
    /// `listen({fd})`: the number is one of the *primary's* descriptors.
    Fd(i32),
    /// A datagram socket.
    Udp(Udp),
}

/// A UDP address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Udp {
    /// Always explicit: `0.0.0.0` or `::` when the app gave none.
    pub ip: IpAddr,
    /// The zone of a link-local IPv6 address.
    pub zone: Option<String>,
    /// 0: any free port.
    pub port: u16,
    /// `ipv6Only: true`.
    pub v6_only: bool,
    /// `reuseAddr: true`.
    pub reuse_address: bool,
    /// `reusePort: true`.
    pub reuse_port: bool,
    /// `bind({fd})`: a descriptor number of the primary.
    pub fd: Option<i32>,
}

/// A worker's `queryServer`: it waits for an answer with this `seq`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// The worker's number for this question; the answer carries it as `ack`.
    pub seq: u64,
    /// Names the server inside the worker and, being the same in all workers of the app, the shared sockets.
    pub key: String,
    /// The running number of equal `listen()` calls in this worker.
    pub index: u64,
    /// Where.
    pub address: Address,
    /// For listen(2); never 0.
    pub backlog: u32,
    /// What the app's server wants shared among workers, as JSON text: ticket keys for TLS, `None` otherwise.
    pub data: Option<String>,
}

impl Query {
    /// True for a TLS server: its connections can not change the process in the middle of their life.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.data.as_deref().is_some_and(|data| data.contains("\"ticketKeys\""))
    }

    /// True when the answer's handle is a datagram socket.
    #[must_use]
    pub fn is_udp(&self) -> bool {
        matches!(self.address, Address::Udp(_))
    }

    /// Reads the fields; the error says which of them made no sense.
    pub(crate) fn parse(raw: &RawQuery<'_>) -> Result<Self, String> {
        let address = parse_address(raw)?;
        let backlog = raw.backlog.as_int().and_then(|backlog| u32::try_from(backlog).ok());
        Ok(Self {
            seq: raw.seq,
            key: key(raw),
            index: raw.index,
            address,
            backlog: backlog.filter(|backlog| *backlog > 0).unwrap_or(BACKLOG_DEFAULT).min(i32::MAX as u32),
            data: raw
                .data
                .map(serde_json::value::RawValue::get)
                .filter(|data| *data != "null")
                .map(str::to_owned),
        })
    }
}

/// Node 22's key for all versions: `address:port:addressType:fd`, with the index only for port 0 (so that equal
/// `listen(0)` calls of one worker get different ports and those of different workers the same).
pub(crate) fn key(raw: &RawQuery<'_>) -> String {
    let address = raw.address.as_deref().unwrap_or("null");
    let port = raw.port.as_int();
    let mut key = format!("{address}:{}:{}:{}", raw.port, raw.address_type, raw.fd);
    if port == Some(0) {
        key.push(':');
        key.push_str(&raw.index.to_string());
    }
    key
}

fn parse_address(raw: &RawQuery<'_>) -> Result<Address, String> {
    let kind = raw.address_type.as_str();
    if kind == Some("udp4") || kind == Some("udp6") {
        return parse_udp(raw).map(Address::Udp);
    }
    let fd = raw.fd.as_int().and_then(|fd| i32::try_from(fd).ok()).filter(|fd| *fd >= 0);
    if let Some(fd) = fd {
        return Ok(Address::Fd(fd));
    }
    match raw.address_type.as_int() {
        Some(-1) => {
            let path = raw.address.as_deref().filter(|path| !path.is_empty());
            let path = path.ok_or_else(|| "a Unix socket without a path".to_owned())?;
            Ok(Address::Unix {
                path: path.to_owned(),
                readable_all: raw.readable_all,
                writable_all: raw.writable_all,
            })
        }
        Some(4 | 6) => {
            let (ip, zone) = match raw.address.as_deref() {
                None => (None, None),
                Some(text) => parse_ip(text).map(|(ip, zone)| (Some(ip), zone))?,
            };
            Ok(Address::Tcp {
                ip,
                zone,
                port: port(raw)?,
                v6_only: raw.flags & FLAG_V6_ONLY != 0,
                reuse_port: raw.flags & FLAG_TCP_REUSE_PORT != 0,
            })
        }
        _ => Err(format!("addressType {} is none of 4, 6, -1, \"udp4\", \"udp6\"", raw.address_type)),
    }
}

fn parse_udp(raw: &RawQuery<'_>) -> Result<Udp, String> {
    let unspecified = if raw.address_type.as_str() == Some("udp4") { "0.0.0.0" } else { "::" };
    let (ip, zone) = parse_ip(raw.address.as_deref().unwrap_or(unspecified))?;
    Ok(Udp {
        ip,
        zone,
        port: port(raw)?,
        v6_only: raw.flags & FLAG_V6_ONLY != 0,
        reuse_address: raw.flags & FLAG_UDP_REUSE_ADDRESS != 0,
        reuse_port: raw.flags & FLAG_UDP_REUSE_PORT != 0,
        fd: raw.fd.as_int().and_then(|fd| i32::try_from(fd).ok()).filter(|fd| *fd >= 0),
    })
}

fn parse_ip(text: &str) -> Result<(IpAddr, Option<String>), String> {
    let (ip, zone) = match text.split_once('%') {
        Some((ip, zone)) => (ip, Some(zone.to_owned())),
        None => (text, None),
    };
    match ip.parse() {
        Ok(ip) => Ok((ip, zone)),
        Err(_) => Err(format!("address {text:?} is not an IP address")),
    }
}

fn port(raw: &RawQuery<'_>) -> Result<u16, String> {
    match raw.port.as_int() {
        Some(port) => u16::try_from(port).map_err(|_| format!("port {port} is not in 0..=65535")),
        None => Ok(0),
    }
}
