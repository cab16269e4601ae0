//! The options of `start` and `run`, and how they become a spec.

use crate::args::{APPEND, CronArg, off, value};
use clap::Args;
use skep_spec::{
    Account, AppSpec, Balance, Bytes, Drain, DrainWebSockets, ExecMode, Instances, LimitValue, Listen,
    LogFile, LogType, Millis, Probe, RawStart, Resource, ResourceLimit, Runtime, Share, Signal, SpecError,
    Umask, Watch, WatchAction, Zone,
};

/// What `--time` puts in front of each line, as PM2 does.
const TIME_FORMAT: &str = "YYYY-MM-DDTHH:mm:ss";

// How an app is to be run.
#[derive(Debug, Clone, Default, PartialEq, Args)]
pub(crate) struct StartArgs {
    /// The app's name [default: the script's file name]
    #[arg(short, long, help_heading = "What to run")]
    pub(crate) name: Option<String>,
    /// A group of apps that commands can address together [default: default]
    #[arg(long, help_heading = "What to run")]
    pub(crate) namespace: Option<String>,
    /// What runs the script; `none` for a program [default: by extension or #! line]
    #[arg(long, value_name = "PROGRAM", help_heading = "What to run")]
    pub(crate) interpreter: Option<String>,
    /// Arguments of the interpreter, in one word: --node-args="--inspect --trace-gc"
    #[arg(
        long,
        visible_alias = "node-args",
        value_name = "ARGS",
        allow_hyphen_values = true,
        help_heading = "What to run"
    )]
    pub(crate) interpreter_args: Vec<String>,
    /// The directory to run in [default: this one]
    #[arg(long, value_name = "DIR", help_heading = "What to run")]
    pub(crate) cwd: Option<String>,
    /// Set a variable (can be given again); or, without `=`, choose env_NAME of a file of apps
    #[arg(long, value_name = "NAME[=VALUE]", action = APPEND, help_heading = "What to run")]
    pub(crate) env: Vec<String>,
    /// Do not hand on variables whose name contains this
    #[arg(long, value_name = "PART", action = APPEND, help_heading = "What to run")]
    pub(crate) filter_env: Vec<String>,
    /// Set PORT
    #[arg(long, help_heading = "What to run")]
    pub(crate) port: Option<u16>,
    /// A variable that counts up: the first instance gets its value, the next one more
    #[arg(long, value_name = "NAME", help_heading = "What to run")]
    pub(crate) increment_var: Option<String>,
    /// The variable that carries an instance's number [default: NODE_APP_INSTANCE]
    #[arg(long, value_name = "NAME", help_heading = "What to run")]
    pub(crate) instance_var: Option<String>,

    /// How many workers: a number, max or 0 (one a processor), -1 (one less than processors)
    #[arg(
        short,
        long,
        value_name = "N",
        allow_hyphen_values = true,
        value_parser = value::<Instances>,
        help_heading = "Sharing a port"
    )]
    pub(crate) instances: Option<Instances>,
    /// fork or cluster [default: cluster for Node.js]
    #[arg(long, value_name = "MODE", value_parser = value::<ExecMode>, help_heading = "Sharing a port")]
    pub(crate) exec_mode: Option<ExecMode>,
    /// The same as --exec-mode fork
    #[arg(short = 'x', long, conflicts_with = "exec_mode", help_heading = "Sharing a port")]
    pub(crate) execute_command: bool,
    /// How workers share an address: auto, node, fd, bindshare or self
    #[arg(long, value_parser = value::<Runtime>, help_heading = "Sharing a port")]
    pub(crate) runtime: Option<Runtime>,
    /// Who gets a new connection: auto, rr, least, weighted, random, hash, ip, shared or ipc
    #[arg(long, value_name = "HOW", value_parser = value::<Balance>, help_heading = "Sharing a port")]
    pub(crate) balance: Option<Balance>,
    /// Shares of the instances for --balance weighted: 3,1
    #[arg(long, value_delimiter = ',', help_heading = "Sharing a port")]
    pub(crate) weights: Vec<u32>,
    /// Open this address before the first worker starts (LISTEN_FDS); can be given again
    #[arg(
        long,
        value_name = "[NAME=]ADDRESS",
        action = APPEND,
        value_parser = value::<Listen>,
        help_heading = "Sharing a port"
    )]
    pub(crate) listen: Vec<Listen>,

    /// Add the app without starting it
    #[arg(long, help_heading = "Restarts")]
    pub(crate) no_autostart: bool,
    /// Do not start a worker again when it ends
    #[arg(long, help_heading = "Restarts")]
    pub(crate) no_autorestart: bool,
    /// Give up after so many unstable restarts in a row [default: 16]
    #[arg(long, value_name = "N", help_heading = "Restarts")]
    pub(crate) max_restarts: Option<u32>,
    /// A worker that ends sooner counts as unstable [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = value::<Millis>, help_heading = "Restarts")]
    pub(crate) min_uptime: Option<Millis>,
    /// Wait so long before each restart [default: 0]
    #[arg(long, value_name = "TIME", value_parser = value::<Millis>, help_heading = "Restarts")]
    pub(crate) restart_delay: Option<Millis>,
    /// Wait so long before the first restart, 1.5 times longer before each next one, up to 15 s
    #[arg(long, value_name = "TIME", value_parser = value::<Millis>, help_heading = "Restarts")]
    pub(crate) exp_backoff_restart_delay: Option<Millis>,
    /// Exit codes after which a worker is not started again: 0,143
    #[arg(long, value_name = "CODES", value_delimiter = ',', num_args = 1.., help_heading = "Restarts")]
    pub(crate) stop_exit_codes: Vec<u8>,
    /// New workers at these times: "0 3 * * *", with seconds in front if you like; 0 for never
    #[arg(
        short = 'c',
        long,
        visible_alias = "cron",
        value_name = "PATTERN",
        value_parser = crate::args::cron,
        help_heading = "Restarts"
    )]
    pub(crate) cron_restart: Option<CronArg>,
    /// New workers when files change: all below --cwd, or --watch=src,lib
    #[arg(
        long,
        value_name = "PATHS",
        num_args = 0..=1,
        require_equals = true,
        value_delimiter = ',',
        default_missing_value = ".",
        action = APPEND,
        help_heading = "Restarts"
    )]
    pub(crate) watch: Vec<String>,
    /// What is not watched, as in a .gitignore: client/img,*.tmp
    #[arg(long, value_name = "PATTERNS", value_delimiter = ',', action = APPEND, help_heading = "Restarts")]
    pub(crate) ignore_watch: Vec<String>,
    /// Only files with these endings count: js,mjs
    #[arg(
        long,
        visible_alias = "ext",
        value_name = "ENDINGS",
        value_delimiter = ',',
        help_heading = "Restarts"
    )]
    pub(crate) watch_ext: Vec<String>,
    /// Changes count when nothing has changed for so long [default: 200ms]
    #[arg(long, value_name = "TIME", value_parser = value::<Millis>, help_heading = "Restarts")]
    pub(crate) watch_delay: Option<Millis>,
    /// auto (reload what serves, restart the rest), reload or restart [default: auto]
    #[arg(long, value_name = "HOW", value_parser = value::<WatchAction>, help_heading = "Restarts")]
    pub(crate) watch_action: Option<WatchAction>,
    /// Replace a worker whose memory stays above this: 200M, 1G
    #[arg(long, value_name = "SIZE", value_parser = value::<Bytes>, help_heading = "Restarts")]
    pub(crate) max_memory_restart: Option<Bytes>,
    /// Count the processes that a worker has started as well
    #[arg(long, requires = "max_memory_restart", help_heading = "Restarts")]
    pub(crate) max_memory_tree: bool,
    /// The time zone of --cron-restart: Europe/Berlin [default: the machine's]
    #[arg(long, value_name = "ZONE", value_parser = value::<Zone>, help_heading = "Restarts")]
    pub(crate) cron_timezone: Option<Zone>,

    /// The signal that asks a worker to stop [default: SIGINT]
    #[arg(long, value_name = "SIGNAL", value_parser = value::<Signal>, help_heading = "Stops and reloads")]
    pub(crate) kill_signal: Option<Signal>,
    /// Kill a worker that has not stopped after so long [default: 1600ms]
    #[arg(short, long, value_name = "TIME", value_parser = value::<Millis>, help_heading = "Stops and reloads")]
    pub(crate) kill_timeout: Option<Millis>,
    /// Signal only the worker's own process, not those that it has started
    #[arg(long, help_heading = "Stops and reloads")]
    pub(crate) no_treekill: bool,
    /// Ask Node.js workers to stop by the message `shutdown`
    #[arg(long, help_heading = "Stops and reloads")]
    pub(crate) shutdown_with_message: bool,
    /// A worker is ready when it says so: process.send('ready')
    #[arg(long, help_heading = "Stops and reloads")]
    pub(crate) wait_ready: bool,
    /// How long a worker may take to become ready [default: 3s]
    #[arg(long, value_name = "TIME", value_parser = value::<Millis>, help_heading = "Stops and reloads")]
    pub(crate) listen_timeout: Option<Millis>,
    /// Ask each worker whether it can take work: /healthz, tcp or exec=COMMAND, with interval=, timeout=, failure_threshold=,
    /// success_threshold=, initial_delay=, port=
    #[arg(long, value_name = "PROBE", value_parser = value::<Probe>, help_heading = "Stops and reloads")]
    pub(crate) readiness: Option<Probe>,
    /// Ask each worker whether it is worth keeping; one that is not is replaced
    #[arg(long, value_name = "PROBE", value_parser = value::<Probe>, help_heading = "Stops and reloads")]
    pub(crate) liveness: Option<Probe>,
    /// How many workers more a reload may run at once: 1 or 25% [default: 1]
    #[arg(long, value_name = "N", value_parser = value::<Share>, help_heading = "Stops and reloads")]
    pub(crate) max_surge: Option<Share>,
    /// How many workers fewer a reload may leave [default: 0]
    #[arg(long, value_name = "N", value_parser = value::<Share>, help_heading = "Stops and reloads")]
    pub(crate) max_unavailable: Option<Share>,
    /// How an old worker gives up its connections: migrate, close or signal [default: migrate]
    #[arg(long, value_parser = value::<Drain>, help_heading = "Stops and reloads")]
    pub(crate) drain: Option<Drain>,
    /// WebSockets of an old worker: keep, or close by a close frame 1012 (package ws) [default: keep]
    #[arg(long, value_name = "HOW", value_parser = value::<DrainWebSockets>, help_heading = "Stops and reloads")]
    pub(crate) drain_websockets: Option<DrainWebSockets>,
    /// Do not load skep's drain code into Node.js workers
    #[arg(long, help_heading = "Stops and reloads")]
    pub(crate) no_preload: bool,

    /// The file for standard output
    #[arg(short, long, value_name = "FILE", help_heading = "Logs")]
    pub(crate) output: Option<String>,
    /// The file for standard error
    #[arg(short, long, value_name = "FILE", help_heading = "Logs")]
    pub(crate) error: Option<String>,
    /// A file for both
    #[arg(short, long, value_name = "FILE", help_heading = "Logs")]
    pub(crate) log: Option<String>,
    /// Where process ids are written: `/run/web.pid` becomes `/run/web-<id>.pid`
    #[arg(long, value_name = "FILE", help_heading = "Logs")]
    pub(crate) pid_file: Option<String>,
    /// All instances write to one file
    #[arg(long, help_heading = "Logs")]
    pub(crate) merge_logs: bool,
    /// raw, json, pairs (app=web id=0 …) or named (0|web | …) [default: raw]
    #[arg(long, value_name = "TYPE", value_parser = value::<LogType>, help_heading = "Logs")]
    pub(crate) log_type: Option<LogType>,
    /// Put the time in front of each line: "YYYY-MM-DD HH:mm:ss"
    #[arg(long, value_name = "FORMAT", help_heading = "Logs")]
    pub(crate) log_date_format: Option<String>,
    /// Put the time in front of each line
    #[arg(long, conflicts_with = "log_date_format", help_heading = "Logs")]
    pub(crate) time: bool,
    /// Write no log files
    #[arg(long, help_heading = "Logs")]
    pub(crate) disable_logs: bool,
    /// Put a log file aside beyond this size; 0 never does [default: 10M]
    #[arg(long, value_name = "SIZE", value_parser = value::<Bytes>, help_heading = "Logs")]
    pub(crate) log_max_size: Option<Bytes>,
    /// How many old log files are kept [default: 30]
    #[arg(long, value_name = "N", help_heading = "Logs")]
    pub(crate) log_retain: Option<u32>,

    /// Run as this user (needs root)
    #[arg(long, value_name = "USER", value_parser = value::<Account>, help_heading = "Rights and limits")]
    pub(crate) uid: Option<Account>,
    /// Run as this group
    #[arg(long, value_name = "GROUP", value_parser = value::<Account>, help_heading = "Rights and limits")]
    pub(crate) gid: Option<Account>,
    /// The file mode creation mask: 0027
    #[arg(long, value_name = "MASK", value_parser = value::<Umask>, help_heading = "Rights and limits")]
    pub(crate) umask: Option<Umask>,
    /// A limit on a resource: nofile=65536, core=unlimited; can be given again
    #[arg(
        long,
        value_name = "NAME=VALUE",
        action = APPEND,
        value_parser = limit,
        help_heading = "Rights and limits"
    )]
    pub(crate) rlimit: Vec<(Resource, ResourceLimit)>,
    /// The scheduling priority, from -20 (first) to 19 (last)
    #[arg(long, value_name = "N", allow_hyphen_values = true, help_heading = "Rights and limits")]
    pub(crate) nice: Option<i8>,
}

/// `nofile=65536`, `core=unlimited`, `nofile=1024:4096` (soft and hard).
fn limit(text: &str) -> Result<(Resource, ResourceLimit), String> {
    let form = "write NAME=VALUE, for example nofile=65536, core=unlimited or nofile=1024:4096";
    let (name, value) = text.split_once('=').ok_or(form)?;
    let resource: Resource = serde_json::from_value(name.to_ascii_lowercase().into())
        .map_err(|error| format!("{name:?} is no resource that Linux limits: {error}"))?;
    let one = |text: &str| match text {
        "unlimited" | "infinity" => Ok(LimitValue::Unlimited),
        number => number.parse().map(LimitValue::Value).map_err(|_| form.to_owned()),
    };
    let (soft, hard) = value.split_once(':').unwrap_or((value, value));
    let limit = ResourceLimit { soft: one(soft)?, hard: one(hard)? };
    if limit.soft > limit.hard {
        return Err(format!("the soft limit {soft} is above the hard limit {hard}"));
    }
    Ok((resource, limit))
}

/// Puts what was said in place of the default.
fn set<T>(field: &mut T, said: Option<T>) {
    if let Some(value) = said {
        *field = value;
    }
}

impl StartArgs {
    /// What was typed, ready to be resolved.
    pub(crate) fn to_raw(&self, what: &str, args: &[String]) -> Result<RawStart, SpecError> {
        let mut spec = AppSpec { args: args.to_vec(), ..AppSpec::default() };
        self.describe_program(&mut spec)?;
        self.describe_sharing(&mut spec);
        self.describe_life(&mut spec);
        self.describe_logs(&mut spec);
        spec.uid = self.uid.clone();
        spec.gid = self.gid.clone();
        spec.umask = self.umask;
        spec.rlimits = self.rlimit.iter().copied().collect();
        spec.nice = self.nice;
        Ok(RawStart { what: what.to_owned(), spec, instances_given: self.instances.is_some() })
    }

    fn describe_program(&self, spec: &mut AppSpec) -> Result<(), SpecError> {
        set(&mut spec.name, self.name.clone());
        set(&mut spec.namespace, self.namespace.clone());
        set(&mut spec.cwd, self.cwd.clone());
        set(&mut spec.instance_var, self.instance_var.clone());
        spec.interpreter = self.interpreter.clone();
        for words in &self.interpreter_args {
            spec.interpreter_args.extend(shell_words(words)?);
        }
        for pair in &self.env {
            let Some((name, value)) = pair.split_once('=') else {
                return Err(SpecError::field(
                    "env",
                    pair,
                    "has no value",
                    format!(
                        "write --env {pair}=VALUE (to choose env_{pair} of a configuration file, start that file)"
                    ),
                ));
            };
            spec.env.insert(name.to_owned(), value.to_owned());
        }
        spec.filter_env = self.filter_env.clone();
        spec.port = self.port;
        spec.increment_var = self.increment_var.clone();
        Ok(())
    }

    fn describe_sharing(&self, spec: &mut AppSpec) {
        set(&mut spec.instances, self.instances);
        spec.exec_mode = if self.execute_command { Some(ExecMode::Fork) } else { self.exec_mode };
        set(&mut spec.runtime, self.runtime);
        set(&mut spec.balance, self.balance);
        spec.weights = self.weights.clone();
        spec.listen = self.listen.clone();
    }

    fn describe_life(&self, spec: &mut AppSpec) {
        set(&mut spec.autostart, off(self.no_autostart));
        set(&mut spec.autorestart, off(self.no_autorestart));
        set(&mut spec.max_restarts, self.max_restarts);
        set(&mut spec.min_uptime, self.min_uptime);
        set(&mut spec.restart_delay, self.restart_delay);
        set(&mut spec.exp_backoff_restart_delay, self.exp_backoff_restart_delay);
        spec.stop_exit_codes = self.stop_exit_codes.iter().copied().collect();
        spec.cron_restart = self.cron_restart.clone().and_then(|cron| cron.0);
        spec.cron_timezone = self.cron_timezone.clone();
        spec.watch = match self.watch.as_slice() {
            [] => Watch::All(false),
            [all] if all == "." => Watch::All(true),
            paths => Watch::Paths(paths.to_vec()),
        };
        spec.ignore_watch = self.ignore_watch.clone();
        spec.watch_ext = self.watch_ext.clone();
        set(&mut spec.watch_delay, self.watch_delay);
        set(&mut spec.watch_action, self.watch_action);
        spec.max_memory_restart = self.max_memory_restart;
        spec.max_memory_tree = self.max_memory_tree;
        set(&mut spec.kill_signal, self.kill_signal);
        set(&mut spec.kill_timeout, self.kill_timeout);
        set(&mut spec.treekill, off(self.no_treekill));
        spec.shutdown_with_message = self.shutdown_with_message;
        spec.wait_ready = self.wait_ready;
        set(&mut spec.listen_timeout, self.listen_timeout);
        spec.readiness = self.readiness.clone();
        spec.liveness = self.liveness.clone();
        set(&mut spec.max_surge, self.max_surge);
        set(&mut spec.max_unavailable, self.max_unavailable);
        set(&mut spec.drain, self.drain);
        set(&mut spec.drain_websockets, self.drain_websockets);
        set(&mut spec.preload, off(self.no_preload));
    }

    fn describe_logs(&self, spec: &mut AppSpec) {
        spec.out_file = self.output.clone();
        spec.error_file = self.error.clone();
        set(&mut spec.log_file, self.log.clone().map(LogFile::Path));
        spec.pid_file = self.pid_file.clone();
        spec.merge_logs = self.merge_logs;
        set(&mut spec.log_type, self.log_type);
        spec.log_date_format =
            self.log_date_format.clone().or_else(|| self.time.then(|| TIME_FORMAT.to_owned()));
        spec.disable_logs = self.disable_logs;
        set(&mut spec.rotate.max_size, self.log_max_size);
        set(&mut spec.rotate.retain, self.log_retain);
    }
}

fn shell_words(words: &str) -> Result<Vec<String>, SpecError> {
    skep_spec::split_words(words).ok_or_else(|| {
        SpecError::field("interpreter_args", words, "has a quote that is not closed", "close it")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        start: StartArgs,
    }

    fn spec(line: &[&str]) -> AppSpec {
        let flags = Flags::try_parse_from(std::iter::once(&"x").chain(line)).unwrap();
        flags.start.to_raw("app.js", &[]).unwrap().spec
    }

    #[test]
    fn nothing_said_is_the_default() {
        assert_eq!(spec(&[]), AppSpec::default());
    }

    #[test]
    fn what_is_said_stands_in_the_spec() {
        let spec = spec(&[
            "-i",
            "-1",
            "--name=web",
            "--env",
            "A=b=c",
            "--kill-timeout",
            "5s",
            "--no-autorestart",
            "--time",
            "--stop-exit-codes",
            "0,143",
            "--node-args=--inspect '--title=a b'",
            "--rlimit",
            "nofile=1024:4096",
            "--listen",
            "http=8080",
            "--max-surge",
            "25%",
            "--uid",
            "www-data",
            "--log-max-size",
            "0",
        ]);
        assert_eq!(spec.instances, Instances::Minus(1));
        assert_eq!(spec.env["A"], "b=c");
        assert_eq!((spec.kill_timeout, spec.autorestart), (Millis(5_000), false));
        assert_eq!(spec.log_date_format.as_deref(), Some(TIME_FORMAT));
        assert_eq!(spec.stop_exit_codes.iter().copied().collect::<Vec<_>>(), [0, 143]);
        assert_eq!(spec.interpreter_args, ["--inspect", "--title=a b"]);
        assert_eq!(spec.rlimits[&Resource::Nofile].hard, LimitValue::Value(4096));
        assert_eq!(spec.listen[0].to_string(), "http=8080");
        assert_eq!(spec.max_surge, Share::Percent(25));
        assert_eq!(spec.rotate.max_size, Bytes(0));
    }

    #[test]
    fn a_variable_without_a_value_is_refused() {
        let args = StartArgs { env: vec!["production".into()], ..StartArgs::default() };
        let error = args.to_raw("app.js", &[]).unwrap_err();
        assert!(error.remedy().contains("--env production=VALUE"));
        assert!(limit("nofile").is_err() && limit("nope=1").is_err() && limit("nofile=2:1").is_err());
    }
}
