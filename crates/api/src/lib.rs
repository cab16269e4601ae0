//! The control protocol: message types, the table of routes, the OpenAPI document and a client.
//!
//! HTTP/1.1 with JSON over a Unix socket. Commands answer with NDJSON: one [`Progress`] a line while the command is
//! under way. The types here are the only description of the protocol; [`openapi`] writes it out for others.
//!
//! Invariants: field names carry their units (`uptime_ms`); what is unknown is absent, never zero; a client ignores
//! fields that it does not know, so that a daemon may be newer than its client.
//!
//! This crate does not know how a worker is started, nor where the socket is.

mod apply;
pub mod client;
mod error;
mod event;
mod hosts;
mod job;
mod log;
mod metrics;
mod openapi;
mod pm2;
mod progress;
mod queue;
mod request;
mod route;
mod state;
mod target;
mod view;

pub use apply::{Action, ApplyApps, ApplyMode, ApplyPlan, FieldChange, PlannedApp, Prune};
pub use error::{ErrorBody, ErrorCode, ErrorEnvelope};
pub use event::{Event, EventKind};
pub use hosts::{HostsChange, HostsView, SingletonView};
pub use job::{JobAct, JobHistoryQuery, JobRun, JobState, JobView};
pub use log::{LogLine, Stream};
pub use metrics::{ConfigureMetrics, METRICS_LISTEN_DEFAULT, MetricsServer};
pub use openapi::openapi;
pub use pm2::{SendText, Trigger, TriggerReply};
pub use progress::{Done, Failed, Progress};
pub use queue::{QueueAct, QueueChanged, QueueJob, QueueJobsQuery, QueuePart};
pub use request::{
    Act, AppsQuery, CreateApp, Detail, EventsQuery, LOG_LINES_DEFAULT, LogsQuery, ScaleApp, SendSignal,
    UpgradeDaemon,
};
pub use route::{Found, Method, ROUTES, Route, RouteSpec, find};
pub use state::{
    ChangeState, STATE_ENTRIES_DEFAULT, StateChange, StateChanged, StateConfig, StateEntry, StateFile,
    StateHolder, StateKind, StateLock, StateName, StateQuery, StateQueue, StateSeen, StateStats, StateView,
};
pub use target::{Known, Pick, Target, TargetError, decode_name, decode_targets, encode_targets};
pub use view::{
    AppView, DaemonView, ExitView, ListenerView, QueueView, RolloutView, SlotView, Status, VitalsView,
};
