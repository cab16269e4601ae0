//! [`AppSpec`]: all that one app was asked to be.

use crate::{
    Account, Balance, Bytes, Cron, DependsOn, Drain, DrainWebSockets, ExecMode, Instances, Listen, LogFile,
    LogType, Millis, Probe, Resource, ResourceLimit, Rotation, Runtime, Schedule, Share, Signal, Umask,
    Watch, WatchAction, Zone,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// One app: what to run, how often, and how to treat it.
///
/// Exactly one of `script` and `command` is set after resolving. Times are milliseconds unless they carry a unit
/// (`1600`, `1.5s`, `2m`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AppSpec {
    /// The app's name. Default: the script's file name without its extension.
    pub name: String,
    /// A group of apps that commands can address together. Default: `default`.
    pub namespace: String,

    /// The file to run: a script, or a program. Absolute once resolved.
    #[serde(skip_serializing_if = "Option::is_none", alias = "exec")]
    pub script: Option<String>,
    /// A command line for `/bin/sh -c`, for what a script and its arguments cannot say (`a && b`, `$PORT`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Arguments of the script. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// The program that runs the script; `none` runs the script itself. Default: by extension or `#!` line.
    #[serde(skip_serializing_if = "Option::is_none", alias = "exec_interpreter")]
    pub interpreter: Option<String>,
    /// Arguments of the interpreter, before the script. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty", alias = "node_args")]
    pub interpreter_args: Vec<String>,
    /// The directory to run in. Default: where the command was typed.
    pub cwd: String,

    /// The file that describes the app, if one does; set by skep.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,

    /// The environment of whoever typed the command, which workers inherit.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub inherited_env: BTreeMap<String, String>,
    /// Inherited variables whose name contains one of these are left out. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filter_env: Vec<String>,
    /// Variables that are set for the app; they win over inherited ones.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Sets `PORT`. Default: not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// A variable that counts up: the first instance gets its value, the next one more. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub increment_var: Option<String>,
    /// The variable that carries an instance's number. Default: `NODE_APP_INSTANCE`.
    pub instance_var: String,

    /// How many workers: a number, `max` (one a processor), or -1 (one less than processors). Default: 1.
    pub instances: Instances,
    /// One worker over all hosts that share a store (`skep hosts`), wherever it may run; needs `instances: 1`. An old worker
    /// ends before a new one starts. Without a store: one on this host. Default: false.
    pub singleton: bool,
    /// `fork` or `cluster`. Default: `cluster` for a Node.js script that does not fork workers by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec_mode: Option<ExecMode>,
    /// How workers share a listening address. Default: `auto`.
    pub runtime: Runtime,
    /// Which worker gets a new connection. Default: `auto`.
    pub balance: Balance,
    /// The instances' shares for `balance: weighted`, in order; those without one have 1. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<u32>,
    /// Addresses to open before the first worker starts, handed over as `LISTEN_FDS`. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listen: Vec<Listen>,

    /// Apps that are started before this one and stopped after it: a list of names, or a table from names to `started`,
    /// `ready`, `healthy` or `completed`. Default: none.
    #[serde(skip_serializing_if = "DependsOn::is_empty")]
    pub depends_on: DependsOn,
    /// Start the app when it is added. Default: true.
    pub autostart: bool,
    /// Start a worker again when it ends. Default: true.
    pub autorestart: bool,
    /// Give up after so many unstable restarts in a row. Default: 16.
    pub max_restarts: u32,
    /// A worker that ends sooner than this after its start counts as unstable. Default: 1 s.
    pub min_uptime: Millis,
    /// Wait so long before each restart. Default: 0.
    pub restart_delay: Millis,
    /// Wait so long before the first restart, 1.5 times longer before each next one, up to 15 s; 0 is off.
    /// Default: 0.
    pub exp_backoff_restart_delay: Millis,
    /// Exit codes after which a worker is not started again. Default: none.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub stop_exit_codes: BTreeSet<u8>,
    /// New workers at these times, as a cron pattern: `0 3 * * *`, six fields with seconds in front, `@daily`. One worker
    /// after another where that can be; an app that was stopped is started. Default: none (`0`).
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "crate::cron::none_or_pattern")]
    pub cron_restart: Option<Cron>,
    /// Renew the workers when files change: true for all below `cwd`, a path, or a list of paths and patterns
    /// (`src/**/*.js`). Default: false.
    #[serde(skip_serializing_if = "Watch::is_off")]
    pub watch: Watch,
    /// What is not watched, as in a `.gitignore` in `cwd`: `client/img`, `*.tmp`, `!node_modules`, or a regular
    /// expression for the path after `regex:` (a `RegExp` in a JavaScript file): `regex:\.(png|jpg)$`. Added to `node_modules`,
    /// hidden files, `*.log` and what editors leave. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::watch::one_or_many")]
    pub ignore_watch: Vec<String>,
    /// Only files with these endings count: `js`, `mjs`. Default: all.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::watch::one_or_many")]
    pub watch_ext: Vec<String>,
    /// Changes count when nothing has changed for so long. Default: 200 ms.
    pub watch_delay: Millis,
    /// `auto` (reload what serves, restart the rest), `reload`, or `restart` as PM2 does. Default: `auto`.
    pub watch_action: WatchAction,
    /// Replace a worker whose memory (resident set) stays above this: `200M`, `1G`, a number of bytes. Measured each
    /// second; the successor is ready first. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_memory_restart: Option<Bytes>,
    /// Count the processes that a worker has started as well. Default: false, as in PM2.
    pub max_memory_tree: bool,
    /// The time zone of `cron_restart`, by name: `Europe/Berlin`. Default: the machine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron_timezone: Option<Zone>,

    /// The signal that asks a worker to stop. Default: `SIGINT`.
    pub kill_signal: Signal,
    /// A worker that has not stopped after so long is killed. Default: 1600 ms.
    pub kill_timeout: Millis,
    /// Signal all processes that a worker has started too. Default: true.
    pub treekill: bool,
    /// Ask a Node.js worker to stop by the message `shutdown` instead of a signal. Default: false.
    pub shutdown_with_message: bool,

    /// A worker is ready when it says so (`process.send('ready')`), not when it listens. Default: false.
    pub wait_ready: bool,
    /// A worker that is not ready after so long is taken as ready by a start, as failed by a reload. Default: 3 s.
    pub listen_timeout: Millis,
    /// Whether a worker can take work: before it is ready, and as long as it runs. Default: not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Probe>,
    /// Whether a worker is worth keeping; one that is not is replaced as in a reload. Default: not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Probe>,
    /// How many workers more than `instances` a reload may run at once, as a number or a percentage. Default: 1.
    pub max_surge: Share,
    /// How many workers fewer than `instances` a reload may leave, as a number or a percentage. Default: 0.
    pub max_unavailable: Share,
    /// How an old worker gives up its connections in a reload. Default: `migrate`.
    pub drain: Drain,
    /// What becomes of the WebSockets of an old worker (package `ws`): `keep` until they end or `kill_timeout` is over, or `close`
    /// at once by a close frame 1012. Default: `keep`.
    pub drain_websockets: DrainWebSockets,
    /// Load skep's drain code into Node.js workers (`NODE_OPTIONS=--require`). Default: true.
    pub preload: bool,

    /// Run as this user, a number or a name; needs root. Default: who typed the command.
    #[serde(skip_serializing_if = "Option::is_none", alias = "user")]
    pub uid: Option<Account>,
    /// Run as this group. Default: the user's.
    #[serde(skip_serializing_if = "Option::is_none", alias = "group")]
    pub gid: Option<Account>,
    /// The file mode creation mask, as octal text (`0027`). Default: that of whoever started skep.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub umask: Option<Umask>,
    /// Limits on resources: `{ "nofile": 65536 }`. Default: those of whoever started skep.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rlimits: BTreeMap<Resource, ResourceLimit>,
    /// The scheduling priority, from -20 (first) to 19 (last). Default: 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nice: Option<i8>,

    /// The file for standard output. Default: `<home>/logs/<name>-out.log`, with the instance's id unless merged.
    #[serde(skip_serializing_if = "Option::is_none", alias = "output")]
    pub out_file: Option<String>,
    /// The file for standard error. Default: `<home>/logs/<name>-error.log`.
    #[serde(skip_serializing_if = "Option::is_none", alias = "error")]
    pub error_file: Option<String>,
    /// A file for both, beside those of each: a path, or true for `<home>/logs/<name>.log`; with the instance's id unless
    /// merged. Default: none.
    #[serde(skip_serializing_if = "LogFile::is_none", alias = "log")]
    pub log_file: LogFile,
    /// Where each worker's process id is written while it runs; the instance's id is put before the ending `.pid`.
    /// Default: `<home>/pids/<name>-<id>.pid`.
    #[serde(skip_serializing_if = "Option::is_none", alias = "pid")]
    pub pid_file: Option<String>,
    /// All instances write to one file. Default: false.
    pub merge_logs: bool,
    /// `raw`, `json`, `pairs` (`app=web id=0 type=out message=…`) or `named` (`0|web | …`). Default: `raw`.
    pub log_type: LogType,
    /// Put the time in front of each line, in this format (day.js tokens: `YYYY-MM-DD HH:mm:ss`). Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_date_format: Option<String>,
    /// Write no log files. Default: false.
    pub disable_logs: bool,
    /// When log files are put aside, and how much of the old ones is kept. Default: at 10 MiB, 100 MiB in all.
    pub rotate: Rotation,

    /// Jobs of the app that run by the clock, by their names. Default: none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub schedules: BTreeMap<String, Schedule>,
}

impl Default for AppSpec {
    fn default() -> Self {
        Self {
            name: String::new(),
            namespace: "default".to_owned(),
            script: None,
            command: None,
            args: Vec::new(),
            interpreter: None,
            interpreter_args: Vec::new(),
            cwd: String::new(),
            source: None,
            inherited_env: BTreeMap::new(),
            filter_env: Vec::new(),
            env: BTreeMap::new(),
            port: None,
            increment_var: None,
            instance_var: "NODE_APP_INSTANCE".to_owned(),
            instances: Instances::Count(1),
            singleton: false,
            exec_mode: None,
            runtime: Runtime::Auto,
            balance: Balance::Auto,
            weights: Vec::new(),
            listen: Vec::new(),
            depends_on: DependsOn::default(),
            autostart: true,
            autorestart: true,
            max_restarts: 16,
            min_uptime: Millis(1_000),
            restart_delay: Millis(0),
            exp_backoff_restart_delay: Millis(0),
            stop_exit_codes: BTreeSet::new(),
            cron_restart: None,
            watch: Watch::All(false),
            ignore_watch: Vec::new(),
            watch_ext: Vec::new(),
            watch_delay: Millis(200),
            watch_action: WatchAction::Auto,
            max_memory_restart: None,
            max_memory_tree: false,
            cron_timezone: None,
            kill_signal: Signal::INT,
            kill_timeout: Millis(1_600),
            treekill: true,
            shutdown_with_message: false,
            wait_ready: false,
            listen_timeout: Millis(3_000),
            readiness: None,
            liveness: None,
            max_surge: Share::Count(1),
            max_unavailable: Share::Count(0),
            drain: Drain::Migrate,
            drain_websockets: DrainWebSockets::Keep,
            preload: true,
            uid: None,
            gid: None,
            umask: None,
            rlimits: BTreeMap::new(),
            nice: None,
            out_file: None,
            error_file: None,
            log_file: LogFile::default(),
            pid_file: None,
            merge_logs: false,
            log_type: LogType::Raw,
            log_date_format: None,
            disable_logs: false,
            rotate: Rotation::default(),
            schedules: BTreeMap::new(),
        }
    }
}
