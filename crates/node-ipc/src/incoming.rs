//! One line of a worker, typed.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::skep::FromPreload;

/// The `type` of a `NODE_HANDLE` message (`handleConversion` in `lib/internal/child_process.js`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandleKind {
    /// `net.Native`: a bare TCP or pipe handle; all of `cluster` and of our preload.
    NetNative,
    /// `dgram.Native`: a bare UDP handle.
    DgramNative,
    /// `net.Socket`: the app sent a connection.
    NetSocket,
    /// `net.Server`: the app sent a listening socket.
    NetServer,
    /// `dgram.Socket`.
    DgramSocket,
    /// Anything newer (`net.BoundSocket` of Node 26).
    Other,
}

impl HandleKind {
    fn parse(text: &str) -> Self {
        match text {
            "net.Native" => Self::NetNative,
            "dgram.Native" => Self::DgramNative,
            "net.Socket" => Self::NetSocket,
            "net.Server" => Self::NetServer,
            "dgram.Socket" => Self::DgramSocket,
            _ => Self::Other,
        }
    }
}

/// What a line says.
#[derive(Debug)]
pub(crate) enum Incoming<'a> {
    Online,
    Query(RawQuery<'a>),
    Listening(RawQuery<'a>),
    Close {
        key: Cow<'a, str>,
    },
    ExitedAfterDisconnect {
        seq: u64,
    },
    /// The answer to a message of ours.
    Ack {
        ack: u64,
        accepted: Option<bool>,
    },
    HandleAck,
    HandleNack,
    Handle {
        kind: HandleKind,
        message: &'a RawValue,
    },
    Preload(FromPreload),
    /// `process.send(anything)`.
    User(&'a RawValue),
    /// An internal message that this version of ours does not know; newer Nodes may add some.
    Unknown,
}

/// The fields that `queryServer` and `listening` share.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RawQuery<'a> {
    #[serde(default)]
    pub(crate) seq: u64,
    #[serde(default)]
    pub(crate) index: u64,
    #[serde(default, borrow)]
    pub(crate) address: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    pub(crate) port: Scalar<'a>,
    #[serde(default, borrow)]
    pub(crate) address_type: Scalar<'a>,
    #[serde(default, borrow)]
    pub(crate) fd: Scalar<'a>,
    #[serde(default, deserialize_with = "lenient_flags")]
    pub(crate) flags: u32,
    #[serde(default, borrow)]
    pub(crate) backlog: Scalar<'a>,
    #[serde(default, borrow)]
    pub(crate) data: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "truthy")]
    pub(crate) readable_all: bool,
    #[serde(default, deserialize_with = "truthy")]
    pub(crate) writable_all: bool,
}

/// A JSON value that should be a small number or a word; JavaScript also lets `false` and `1.5` through.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) enum Scalar<'a> {
    /// The field was absent.
    #[default]
    Undefined,
    Json(&'a str),
}

impl Scalar<'_> {
    pub(crate) fn as_int(&self) -> Option<i64> {
        match self {
            Self::Undefined => None,
            Self::Json(text) => text.parse().ok(),
        }
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Undefined => None,
            Self::Json(text) => text.strip_prefix('"')?.strip_suffix('"'),
        }
    }
}

impl fmt::Display for Scalar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undefined => f.write_str("undefined"),
            Self::Json(text) => f.write_str(text.trim_matches('"')),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(|raw| Self::Json(raw.get()))
    }
}

fn lenient_flags<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let value = Scalar::deserialize(deserializer)?;
    Ok(value.as_int().and_then(|flags| u32::try_from(flags).ok()).unwrap_or(0))
}

/// JavaScript's truth: apps may write `readableAll: 1`.
fn truthy<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let value = <&RawValue>::deserialize(deserializer)?;
    Ok(!matches!(value.get(), "false" | "null" | "0" | "\"\""))
}

/// Only what tells the kinds of message apart.
#[derive(Deserialize)]
struct Probe<'a> {
    #[serde(default, borrow)]
    cmd: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    act: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct RawAck {
    ack: Option<u64>,
    accepted: Option<bool>,
}

#[derive(Deserialize)]
struct RawClose<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
}

#[derive(Deserialize)]
struct RawSeq {
    seq: u64,
}

#[derive(Deserialize)]
struct RawHandle<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    msg: Option<&'a RawValue>,
}

/// Bun marks its internal messages with this byte before the JSON.
const BUN_INTERNAL: u8 = 2;
/// `INTERNAL_PREFIX`: a `cmd` that starts with it *and is longer* is internal.
const INTERNAL_PREFIX: &str = "NODE_";

/// Reads one line (without its newline).
pub(crate) fn parse_line(line: &[u8]) -> Result<Incoming<'_>, serde_json::Error> {
    let line = line.strip_prefix(&[BUN_INTERNAL]).unwrap_or(line);
    parse_value(serde_json::from_slice(line)?)
}

/// Classifies a value; also used for the `msg` inside a `NODE_HANDLE`.
pub(crate) fn parse_value(raw: &RawValue) -> Result<Incoming<'_>, serde_json::Error> {
    let text = raw.get();
    // Nearly every user message is told apart without a second pass.
    if memchr::memmem::find(text.as_bytes(), b"\"NODE_").is_none() {
        return Ok(Incoming::User(raw));
    }
    let Ok(probe) = serde_json::from_str::<Probe<'_>>(text) else { return Ok(Incoming::User(raw)) };
    match probe.cmd.as_deref() {
        Some("NODE_CLUSTER") => parse_cluster(text, probe.act.as_deref()),
        Some("NODE_HANDLE") => {
            let RawHandle { kind, msg } = serde_json::from_str(text)?;
            let kind = HandleKind::parse(kind.as_deref().unwrap_or_default());
            Ok(Incoming::Handle { kind, message: msg.unwrap_or(RawValue::NULL) })
        }
        Some("NODE_HANDLE_ACK") => Ok(Incoming::HandleAck),
        Some("NODE_HANDLE_NACK") => Ok(Incoming::HandleNack),
        Some(crate::skep::CMD) => match serde_json::from_str(text) {
            Ok(message) => Ok(Incoming::Preload(message)),
            // A preload of another version may say things that we do not know yet.
            Err(_) => Ok(Incoming::Unknown),
        },
        Some(cmd) if cmd.len() > INTERNAL_PREFIX.len() && cmd.starts_with(INTERNAL_PREFIX) => {
            Ok(Incoming::Unknown)
        }
        Some(_) | None => Ok(Incoming::User(raw)),
    }
}

fn parse_cluster<'a>(text: &'a str, act: Option<&str>) -> Result<Incoming<'a>, serde_json::Error> {
    Ok(match act {
        Some("online") => Incoming::Online,
        Some("queryServer") => Incoming::Query(serde_json::from_str(text)?),
        Some("listening") => Incoming::Listening(serde_json::from_str(text)?),
        Some("close") => {
            let RawClose { key } = serde_json::from_str(text)?;
            Incoming::Close { key }
        }
        Some("exitedAfterDisconnect") => {
            let RawSeq { seq } = serde_json::from_str(text)?;
            Incoming::ExitedAfterDisconnect { seq }
        }
        Some(_) => Incoming::Unknown,
        None => match serde_json::from_str(text)? {
            RawAck { ack: Some(ack), accepted } => Incoming::Ack { ack, accepted },
            RawAck { ack: None, .. } => Incoming::Unknown,
        },
    })
}
