//! Whole lines to a worker.

use std::net::SocketAddr;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::errno::UvErrno;
use crate::skep::{self, BoundServer, DrainOrder, ToPreload};

/// The `sockname` of a round-robin reply: what `server.address()` gives in the worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SockName {
    /// The IP address as text.
    pub address: String,
    /// `IPv4` or `IPv6`.
    pub family: &'static str,
    /// Must equal the requested port unless that was 0, else the worker raises EADDRINUSE (`checkBindError`).
    pub port: u16,
}

impl From<SocketAddr> for SockName {
    fn from(bound: SocketAddr) -> Self {
        let family = if bound.is_ipv4() { "IPv4" } else { "IPv6" };
        Self { address: bound.ip().to_string(), family, port: bound.port() }
    }
}

/// The answer to a `queryServer`, before it is known whether a handle goes with it.
#[derive(Debug, Serialize)]
struct Reply<'a> {
    cmd: &'static str,
    errno: Option<i32>,
    key: &'a str,
    ack: u64,
    /// Must be present, for TLS even an object, or the worker throws.
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sockname: Option<&'a SockName>,
    seq: u64,
}

#[derive(Debug, Serialize)]
struct Act<'a> {
    cmd: &'static str,
    act: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    seq: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    idle: bool,
}

#[derive(Debug, Serialize)]
struct Ack {
    cmd: &'static str,
    ack: u64,
    seq: u64,
}

#[derive(Debug, Serialize)]
struct WithHandle<T> {
    cmd: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    msg: T,
}

#[derive(Debug, Serialize)]
struct Skep<'a> {
    cmd: &'static str,
    #[serde(flatten)]
    body: ToPreload<'a>,
}

const CLUSTER: &str = "NODE_CLUSTER";

/// What identifies the question that is answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer<'a> {
    pub(crate) key: &'a str,
    pub(crate) ack: u64,
    pub(crate) data: Option<&'a str>,
    pub(crate) seq: u64,
}

impl<'a> Answer<'a> {
    fn reply(self, errno: Option<i32>, data: Option<&'a RawValue>) -> Reply<'a> {
        Reply { cmd: CLUSTER, errno, key: self.key, ack: self.ack, data, sockname: None, seq: self.seq }
    }

    /// Text that is not JSON counts as no data: it was JSON when the worker sent it.
    fn raw_data(self) -> Option<&'a RawValue> {
        self.data.and_then(|data| serde_json::from_str(data).ok())
    }

    /// The listening (or datagram) socket itself goes to the worker.
    pub(crate) fn shared(self, udp: bool) -> Vec<u8> {
        let kind = if udp { "dgram.Native" } else { "net.Native" };
        line(&WithHandle { cmd: "NODE_HANDLE", kind, msg: self.reply(Some(0), self.raw_data()) })
    }

    /// The worker gets a faux handle and its connections by `newconn`.
    pub(crate) fn round_robin(self, sockname: Option<&'a SockName>) -> Vec<u8> {
        line(&Reply { sockname, ..self.reply(None, self.raw_data()) })
    }

    pub(crate) fn error(self, errno: UvErrno) -> Vec<u8> {
        line(&self.reply(Some(errno.code()), self.raw_data()))
    }
}

pub(crate) fn new_connection(key: &str, seq: u64, idle: bool) -> Vec<u8> {
    let msg = Act { cmd: CLUSTER, act: "newconn", key: Some(key), seq, idle };
    line(&WithHandle { cmd: "NODE_HANDLE", kind: "net.Native", msg })
}

/// The same for a worker in plain fork mode, where only our preload understands it.
pub(crate) fn new_connection_forked(server: &BoundServer, seq: u64, idle: bool) -> Vec<u8> {
    let msg = Skep { cmd: skep::CMD, body: ToPreload::Newconn { server, seq, idle } };
    line(&WithHandle { cmd: "NODE_HANDLE", kind: "net.Native", msg })
}

pub(crate) fn disconnect(seq: u64) -> Vec<u8> {
    line(&Act { cmd: CLUSTER, act: "disconnect", key: None, seq, idle: false })
}

pub(crate) fn ack(ack: u64, seq: u64) -> Vec<u8> {
    line(&Ack { cmd: CLUSTER, ack, seq })
}

pub(crate) fn handle_ack(received: bool) -> Vec<u8> {
    let cmd = if received { "NODE_HANDLE_ACK" } else { "NODE_HANDLE_NACK" };
    format!("{{\"cmd\":\"{cmd}\"}}\n").into_bytes()
}

pub(crate) fn drain(order: DrainOrder) -> Vec<u8> {
    let DrainOrder { mode, grace_ms, close_code } = order;
    let body = ToPreload::Drain { mode, grace_ms, close_code, keep: false, stop: None };
    line(&Skep { cmd: skep::CMD, body })
}

/// The same before a stop; the app is asked whether it sees to the signal `stop` by itself.
pub(crate) fn finish(order: DrainOrder, stop: Option<&str>) -> Vec<u8> {
    let DrainOrder { mode, grace_ms, close_code } = order;
    line(&Skep { cmd: skep::CMD, body: ToPreload::Drain { mode, grace_ms, close_code, keep: true, stop } })
}

/// Asks the preload how the worker is.
pub(crate) fn measure() -> Vec<u8> {
    line(&Skep { cmd: skep::CMD, body: ToPreload::Measure })
}

/// A message for `process.on('message')`. JSON text may contain newlines between tokens, which would cut the line in
/// the worker; inside strings they are always escaped, so a space is the same value.
pub(crate) fn user(message: &RawValue) -> Vec<u8> {
    let mut line = message.get().as_bytes().to_vec();
    for byte in &mut line {
        if matches!(*byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    line.push(b'\n');
    line
}

fn line<T: Serialize>(message: &T) -> Vec<u8> {
    let mut line =
        serde_json::to_vec(message).expect("our message types have string keys and no failing parts");
    line.push(b'\n');
    line
}
