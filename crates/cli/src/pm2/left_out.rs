//! PM2's commands that do not exist here, and what to use instead.

const LEFT_OUT: &[(&[&str], &str)] = &[
    (
        &["plus", "link", "unlink", "monitor", "unmonitor", "open", "login", "logout", "register"],
        "there is no service behind it; `skep monit`, `skep events -f` and the API on the control socket show everything",
    ),
    (
        &[
            "install",
            "uninstall",
            "module:install",
            "module:uninstall",
            "module:update",
            "module:generate",
            "module:publish",
            "publish",
            "package",
        ],
        "there are no modules; log rotation (pm2-logrotate) is built in, and anything else can be started as an app",
    ),
    (
        &["install-otel", "uninstall-otel"],
        "add @opentelemetry/auto-instrumentations-node to the app and start it with --node-args=\"--require …\"",
    ),
    (&["autoinstall"], "nothing has to be installed"),
    (
        &["logrotate"],
        "log files are rotated by skep itself (`pm2 set pm2-logrotate:max_size 10M`); for logrotate(8), send SIGUSR2 \
         to the daemon or call `pm2 reloadLogs` in postrotate",
    ),
    (
        &["inspect"],
        "start the app with --node-args=--inspect, or send SIGUSR1 to the worker (`pm2 sendSignal SIGUSR1 app`)",
    ),
    (
        &["profile:cpu", "profile:mem"],
        "these profiled PM2's own daemon; for an app use --node-args=\"--cpu-prof\" or \"--heap-prof\"",
    ),
    (&["create", "examples"], "`skep help` shows what can be done; examples/ has apps to try"),
    (&["deepUpdate"], "put the new skep in place of the old one, then `skep update`: no app is restarted"),
    (
        &["pull", "forward", "backward"],
        "`git pull` in the app's directory, then `pm2 reload app`; or `skep deploy`",
    ),
    (&["completion"], "`skep completions bash` prints them for bash, zsh, fish and others"),
];

/// The module that everybody installs.
const LOGROTATE: &str = "pm2-logrotate";

/// What is said to whoever installs (or removes) what is here already. It is no failure: images are built by scripts that
/// do it.
pub(super) fn built_in(word: &str, operands: &[String]) -> Option<&'static str> {
    let [module] = operands else { return None };
    // `pm2-logrotate@2.7.0` too.
    if module.split('@').next() != Some(LOGROTATE) {
        return None;
    }
    match word {
        "install" | "module:install" | "module:update" => Some(
            "pm2-logrotate is built in: log files are put aside at 10M and compressed; `pm2 set pm2-logrotate:max_size 50M` \
             changes that",
        ),
        "uninstall" | "module:uninstall" => {
            Some("pm2-logrotate is built in; `pm2 set pm2-logrotate:max_size 0` lets log files grow")
        }
        _ => None,
    }
}

/// What to use instead of this command, if it is one of PM2's that do not exist here.
pub(super) fn instead_of(word: &str) -> Option<&'static str> {
    LEFT_OUT.iter().find(|(names, _)| names.contains(&word)).map(|(_, instead)| *instead)
}
