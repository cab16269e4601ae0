//! `NODE_SKEP`: our own words on a worker's channel, between this crate and `npm/skep/preload.cjs`.
//!
//! Node delivers any `cmd` that starts with `NODE_` as `internalMessage`, which neither its own code nor an app heeds;
//! so these lines are invisible to apps and harmless where the preload is absent. `P` is the primary, `W` the worker.
//!
//! ```text
//! W> {"cmd":"NODE_SKEP","act":"hello","v":1,"pid":4711,"node":"22.23.3","cluster":true}
//!        The preload is in place; sent before the app's first line runs. Without `cluster` (plain fork mode) Node
//!        itself says nothing at start, so this is the `online` of such a worker.
//! W> {"cmd":"NODE_SKEP","act":"listening","server":S}
//!        Fork mode only (a cluster worker says it in Node's own words). S names a server by its bound address:
//!        {"address":"::","port":3000} or {"path":"/abs/path.sock"}. That it was closed is not said: watching for it
//!        would show in the app; a connection sent to it comes back with `accepted:false`.
//! P> {"cmd":"NODE_SKEP","act":"drain","mode":"migrate"|"close","graceMs":2000}
//!        Stop accepting, let go of idle connections, end when the last one has ended. Repeating it changes nothing.
//!        With "closeCode":1012 the WebSockets of the package `ws` get a close frame of that code.
//! P> {"cmd":"NODE_SKEP","act":"drain",…,"keep":true,"stop":"SIGINT"}
//!        The same before a stop. With `stop`, an app that listens to that signal is not touched: W says `stops_itself`
//!        and expects the signal. `keep`: the channel stays, and W says `drained` as soon as no request is under way
//!        (upgraded and raw connections count only while bytes move). Repeating it gets the same answers again.
//! W> {"cmd":"NODE_SKEP","act":"stops_itself"}
//! W> {"cmd":"NODE_SKEP","act":"drained"}
//! W> {"cmd":"NODE_SKEP","act":"draining","servers":1,"connections":12}
//!        The drain was begun with so many servers and open connections.
//! W> {"cmd":"NODE_HANDLE","type":"net.Native","msg":{"cmd":"NODE_SKEP","act":"conn","id":7,"server":S}} + fd
//!        An idle connection of server S, for another worker. P answers NODE_HANDLE_ACK and owns it from there; the
//!        worker's copy is closed on the ACK. After a NACK the worker keeps it and goes on serving it.
//! P> {"cmd":"NODE_SKEP","act":"measure"}
//! W> {"cmd":"NODE_SKEP","act":"measured","figures":{…}}
//!        How the worker is (crate::Measured). Nothing is measured before the first question.
//! P> {"cmd":"NODE_HANDLE","type":"net.Native","msg":{"cmd":"NODE_CLUSTER","act":"newconn","key":K,"seq":9,"idle":true}} + fd
//!        Node's own message; `idle` asks the preload to end the connection after the server's keepAliveTimeout if no
//!        byte arrives on it, as the worker that it came from would have done.
//! P> {"cmd":"NODE_HANDLE","type":"net.Native","msg":{"cmd":"NODE_SKEP","act":"newconn","server":S,"seq":9,"idle":true}} + fd
//! W> {"cmd":"NODE_SKEP","act":"accepted","ack":9,"accepted":true|false}
//!        The same for a fork-mode worker, where Node has no word for it.
//! W> {"cmd":"NODE_SKEP","act":"schedule","name":"nightly","schedule":{"cron":"0 3 * * *"}}
//!        The package `skep` has a function for the job of this name; without `schedule` for one that the app's file
//!        declares. P answers {"act":"scheduled","name":N} or {"act":"unscheduled","name":N,"problem":"…"}.
//! W> {"cmd":"NODE_SKEP","act":"unschedule","name":"nightly"}
//! P> {"cmd":"NODE_SKEP","act":"run","name":"nightly","token":7,"run":{"id":…,"job":…,"scheduledAt":…,"attempt":1,"token":7}}
//!        Call the function. May come again with the same token (a daemon that restarted): the worker calls it once, and
//!        says again how it ended if it has.
//! P> {"cmd":"NODE_SKEP","act":"cancel","token":7,"reason":"…"}
//! W> {"cmd":"NODE_SKEP","act":"ran","token":7,"ok":true,"result":…}
//!        It returned; with ok false `result` is the error's text; with refused true it was never called.
//! W: EOF  The drain is complete: every server closed, every connection ended.
//! ```

use crate::Measured;
use serde::{Deserialize, Serialize};

/// The `cmd` of every message in this module.
pub const CMD: &str = "NODE_SKEP";

/// How a worker lets go of its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DrainMode {
    /// Idle plain-HTTP connections are handed to the successor; the client notices nothing. TLS and HTTP/2 as in
    /// [`DrainMode::Close`].
    Migrate,
    /// Responses carry `Connection: close` (HTTP/2: GOAWAY); idle connections are ended after the grace.
    Close,
}

/// How long an idle connection that can not migrate is left open for its next request, which then learns by
/// `Connection: close` to reconnect. Clients that think longer see an ordinary keep-alive end.
pub const GRACE_MS_DEFAULT: u32 = 2_000;

/// How a worker is to let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainOrder {
    /// Of plain HTTP connections.
    pub mode: DrainMode,
    /// How long a quiet connection that can not migrate is left open.
    pub grace_ms: u32,
    /// The close frame's code for its WebSockets (RFC 6455, 7.4.1, and the IANA registry: 1012 is a service restart); without
    /// one they stay until they end.
    pub close_code: Option<u16>,
}

impl DrainOrder {
    /// An order that leaves WebSockets alone.
    pub fn new(mode: DrainMode, grace_ms: u32) -> Self {
        Self { mode, grace_ms, close_code: None }
    }
}

/// A server by the address it is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum BoundServer {
    /// TCP: what `server.address()` says.
    Ip {
        /// The local address, `::` for unspecified.
        address: String,
        /// The real port.
        port: u16,
    },
    /// A Unix socket.
    Path {
        /// What the app gave to `listen()`, made absolute.
        path: String,
    },
}

/// What the preload says about itself at start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Version of this protocol; 1.
    #[serde(rename = "v")]
    pub version: u32,
    /// The worker's process id, as it sees it (a pid namespace may differ).
    pub pid: u32,
    /// `process.versions.node`.
    pub node: String,
    /// True for a cluster worker, false in plain fork mode.
    pub cluster: bool,
}

/// From the preload.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "act", rename_all = "snake_case")]
pub(crate) enum FromPreload {
    Hello(Hello),
    Listening { server: BoundServer },
    Draining { servers: u32, connections: u32 },
    Drained,
    StopsItself,
    Measured { figures: Box<Measured> },
    Conn { server: BoundServer },
    Accepted { ack: u64, accepted: bool },
    Schedule(Schedule),
    Unschedule { name: String },
    Ran(Ran),
}

/// A worker has a function for a job.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Schedule {
    /// The job's name.
    pub name: String,
    /// When it runs, as in an app's file; `None`: the file says it.
    #[serde(default)]
    pub schedule: Option<serde_json::Value>,
}

/// How a function that was called for a job ended.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Ran {
    /// As it was given.
    pub token: u64,
    /// It returned.
    #[serde(default)]
    pub ok: bool,
    /// What it returned, or the error's text.
    #[serde(default)]
    pub result: Option<serde_json::Value>,
    /// It was never called.
    #[serde(default)]
    pub refused: bool,
}

/// To the preload.
#[derive(Debug, Serialize)]
#[serde(tag = "act", rename_all = "snake_case")]
pub(crate) enum ToPreload<'a> {
    Drain {
        mode: DrainMode,
        #[serde(rename = "graceMs")]
        grace_ms: u32,
        #[serde(rename = "closeCode", skip_serializing_if = "Option::is_none")]
        close_code: Option<u16>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        keep: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        stop: Option<&'a str>,
    },
    Measure,
    Newconn {
        server: &'a BoundServer,
        seq: u64,
        idle: bool,
    },
}
