//! PM2's options, read as its parser (commander 2) reads them: before or after the command, `--` ends them, an option
//! that may have a value takes the next word unless that begins with a dash.

use super::command::Command;
use super::refusal;
use crate::start_args::StartArgs;
use clap::{Args, Parser};

/// Whether an option has a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    No,
    Yes,
    Maybe,
}

/// One option of PM2.
struct Known {
    short: Option<char>,
    long: &'static str,
    value: Value,
    /// What it is called in `skep start`, when it describes an app; empty when the command itself looks at it.
    of_app: &'static str,
    /// The commands that know it; none: all.
    only: &'static [Command],
}

const fn flag(short: Option<char>, long: &'static str, of_app: &'static str) -> Known {
    Known { short, long, value: Value::No, of_app, only: &[] }
}

const fn with(short: Option<char>, long: &'static str, of_app: &'static str) -> Known {
    Known { short, long, value: Value::Yes, of_app, only: &[] }
}

const fn maybe(short: Option<char>, long: &'static str, of_app: &'static str) -> Known {
    Known { short, long, value: Value::Maybe, of_app, only: &[] }
}

const fn of(only: &'static [Command], known: Known) -> Known {
    Known { only, ..known }
}

const LOGS: &[Command] = &[Command::Logs];
const SERVE: &[Command] = &[Command::Serve];
const RENEWS: &[Command] = &[Command::Start, Command::Restart, Command::Reload];

const OPTIONS: &[Known] = &[
    flag(Some('s'), "silent", ""),
    flag(Some('m'), "mini-list", ""),
    flag(Some('h'), "help", ""),
    with(None, "ext", "watch-ext"),
    with(Some('n'), "name", "name"),
    with(None, "interpreter", "interpreter"),
    with(None, "interpreter-args", "interpreter-args"),
    with(None, "node-args", "interpreter-args"),
    with(Some('o'), "output", "output"),
    with(Some('e'), "error", "error"),
    maybe(Some('l'), "log", "log"),
    maybe(None, "filter-env", "filter-env"),
    with(None, "log-type", "log-type"),
    with(None, "log-date-format", "log-date-format"),
    flag(None, "time", "time"),
    flag(None, "disable-logs", "disable-logs"),
    flag(None, "merge-logs", "merge-logs"),
    with(None, "env", ""),
    flag(Some('a'), "update-env", ""),
    flag(Some('f'), "force", ""),
    with(Some('i'), "instances", "instances"),
    with(None, "parallel", ""),
    flag(None, "shutdown-with-message", "shutdown-with-message"),
    with(Some('p'), "pid", "pid-file"),
    with(Some('k'), "kill-timeout", "kill-timeout"),
    with(None, "listen-timeout", "listen-timeout"),
    with(None, "max-memory-restart", "max-memory-restart"),
    with(None, "restart-delay", "restart-delay"),
    with(None, "exp-backoff-restart-delay", "exp-backoff-restart-delay"),
    maybe(None, "max-restarts", "max-restarts"),
    with(None, "min-uptime", "min-uptime"),
    flag(Some('x'), "execute-command", "execute-command"),
    with(Some('u'), "user", ""),
    with(None, "hp", ""),
    with(None, "service-name", ""),
    flag(None, "wait-ip", ""),
    with(None, "uid", "uid"),
    with(None, "gid", "gid"),
    with(None, "namespace", "namespace"),
    with(None, "cwd", "cwd"),
    with(Some('c'), "cron", "cron-restart"),
    with(None, "cron-restart", "cron-restart"),
    flag(Some('w'), "write", ""),
    flag(None, "no-daemon", ""),
    flag(None, "source-map-support", ""),
    flag(None, "disable-source-map-support", ""),
    with(None, "only", ""),
    maybe(None, "watch", "watch"),
    with(None, "ignore-watch", "ignore-watch"),
    with(None, "watch-delay", "watch-delay"),
    flag(None, "no-color", ""),
    flag(None, "no-vizion", ""),
    flag(None, "no-treekill", "no-treekill"),
    flag(None, "no-pmx", ""),
    flag(None, "no-automation", ""),
    flag(None, "no-autorestart", "no-autorestart"),
    flag(None, "no-autostart", "no-autostart"),
    with(None, "stop-exit-codes", "stop-exit-codes"),
    flag(None, "wait-ready", "wait-ready"),
    flag(None, "attach", ""),
    with(None, "sort", ""),
    flag(None, "trace", ""),
    flag(None, "disable-trace", ""),
    flag(None, "v8", ""),
    flag(None, "event-loop-inspector", ""),
    flag(None, "deep-monitoring", ""),
    // What `require('skep/pm2')` says of an app that is there.
    of(RENEWS, with(None, "attributes", "")),
    of(LOGS, flag(None, "json", "")),
    of(LOGS, flag(None, "format", "")),
    of(LOGS, flag(None, "raw", "")),
    of(LOGS, flag(None, "err", "")),
    of(LOGS, flag(None, "out", "")),
    of(LOGS, flag(None, "nostream", "")),
    of(LOGS, with(None, "lines", "")),
    of(LOGS, maybe(None, "timestamp", "")),
    of(LOGS, maybe(None, "highlight", "")),
    of(LOGS, with(None, "since", "")),
    of(LOGS, with(None, "grep", "")),
    of(SERVE, maybe(None, "port", "")),
    of(SERVE, flag(None, "spa", "")),
    of(SERVE, flag(None, "ftp", "")),
    of(SERVE, maybe(None, "basic-auth-username", "")),
    of(SERVE, maybe(None, "basic-auth-password", "")),
    of(SERVE, maybe(None, "monitor", "")),
    of(&[Command::Sysinfos], flag(Some('t'), "tree", "")),
    of(&[Command::Start], flag(None, "fresh", "")),
    of(&[Command::Start], flag(None, "daemon", "")),
    of(&[Command::Start], flag(None, "container", "")),
    of(&[Command::Start], flag(None, "dist", "")),
    of(&[Command::Start], maybe(None, "image-name", "")),
    of(&[Command::Start], maybe(None, "node-version", "")),
    of(&[Command::Start], flag(None, "dockerdaemon", "")),
];

/// Options of PM2 that have no meaning here, and why that is no loss.
pub(super) const WITHOUT_MEANING: &[(&str, &str)] = &[
    ("trace", "skep collects no traces; use OpenTelemetry in the app"),
    ("v8", "skep collects no V8 metrics through this option; use @pm2/io in the app"),
    ("event-loop-inspector", "start the app with --node-args=--inspect instead"),
    ("deep-monitoring", "use @pm2/io or OpenTelemetry in the app"),
    ("fresh", "skep builds no images"),
    ("daemon", "skep builds no images"),
    ("disable-source-map-support", "source maps are off unless --source-map-support turns them on"),
];

/// A command line that was read.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// The command's name, as it was typed.
    pub(super) verb: Option<String>,
    /// What it is given.
    pub(super) operands: Vec<String>,
    /// What stands behind `--`: the app's own.
    pub(super) own_args: Vec<String>,
    /// Options by their long names, in order.
    given: Vec<(String, Option<String>)>,
    /// `--help` stood before the command.
    helps_first: bool,
    /// Those that describe an app, in the words of `skep start`.
    app_words: Vec<String>,
}

/// What is wrong with a command line, in PM2's words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misread(pub(super) String);

impl Line {
    /// Whether an option was given.
    pub(super) fn has(&self, long: &str) -> bool {
        self.given.iter().any(|(name, _)| name == long)
    }

    /// Whether help is wanted, and not that of a command.
    pub(super) fn asks_for_help_first(&self) -> bool {
        self.helps_first
    }

    /// The last value of an option.
    pub(super) fn value(&self, long: &str) -> Option<&str> {
        let found = self.given.iter().rev().find(|(name, _)| name == long);
        found.and_then(|(_, value)| value.as_deref())
    }

    /// The command's one operand.
    pub(super) fn operand(&self, at: usize) -> Option<&str> {
        self.operands.get(at).map(String::as_str)
    }

    /// Whether `restart` and `stop` are to switch watching, for which they have an option of the name of that of `start`.
    pub(super) fn switches_watch(&self) -> bool {
        let verb = self.verb.as_deref().and_then(super::command::find);
        matches!(verb, Some(Command::Restart | Command::Stop))
            && self.has("watch")
            && self.value("watch").is_none()
    }

    /// How many are restarted at once; `None` when nobody said.
    pub(super) fn parallel(&self) -> Result<Option<usize>, Misread> {
        let Some(text) = self.value("parallel") else { return Ok(None) };
        match text.parse() {
            Ok(number) if number > 0 => Ok(Some(number)),
            _ => Err(Misread(format!("--parallel: {text:?} is not a number of processes; write 1 or more"))),
        }
    }

    /// Whether anything was said that changes an app which is there.
    pub(super) fn changes_apps(&self) -> bool {
        self.has("update-env") || self.has("attributes") || !self.app_words.is_empty()
    }

    /// How an app is to be run, as `skep start` understands it.
    pub(super) fn app(&self) -> Result<StartArgs, Misread> {
        #[derive(Parser)]
        #[command(no_binary_name = true, disable_help_flag = true)]
        struct Flags {
            #[command(flatten)]
            start: StartArgs,
        }
        let flags = Flags::try_parse_from(&self.app_words).map_err(|error| {
            let text = error.to_string();
            let text = text.split("\n\n").next().unwrap_or_default();
            let text = text.trim_start_matches("error: ").trim_end();
            Misread(refusal::of_option(text).unwrap_or_else(|| text.to_owned()))
        })?;
        Ok(flags.start)
    }
}

/// Reads the words of a command line. `find` knows the commands.
pub(super) fn read(words: &[String], find: fn(&str) -> Option<Command>) -> Result<Line, Misread> {
    let mut line = Line::default();
    let (words, own) = match words.iter().position(|word| word == "--") {
        Some(at) => (&words[..at], &words[at + 1..]),
        None => (words, &[][..]),
    };
    line.own_args = own.to_vec();
    let words = split(words);
    let mut unknown = None;
    let mut at = 0;
    while let Some(word) = words.get(at) {
        at += 1;
        let is_option = word.len() > 1 && word.starts_with('-');
        if !is_option {
            match &line.verb {
                None => line.verb = Some(word.clone()),
                Some(_) => line.operands.push(word.clone()),
            }
            continue;
        }
        let (name, inline) = match word.split_once('=') {
            Some((name, value)) if word.starts_with("--") => (name, Some(value.to_owned())),
            _ => (word.as_str(), None),
        };
        let Some((long, of_app, kind, only)) = know(name) else {
            unknown.get_or_insert_with(|| format!("unknown option `{name}'"));
            continue;
        };
        let value = match kind {
            Value::No => None,
            Value::Yes => match inline.or_else(|| words.get(at).inspect(|_| at += 1).cloned()) {
                Some(value) => Some(value),
                None => return Err(Misread(format!("option `{name} <value>' argument missing"))),
            },
            Value::Maybe => inline.or_else(|| {
                let next = words.get(at).filter(|next| !next.starts_with('-') || next.as_str() == "-");
                next.inspect(|_| at += 1).cloned()
            }),
        };
        if !only.is_empty() && !line.verb.as_deref().and_then(find).is_none_or(|verb| only.contains(&verb)) {
            unknown.get_or_insert_with(|| format!("unknown option `{name}'"));
        }
        line.helps_first |= long == "help" && line.verb.is_none();
        note(&mut line, &long, &of_app, value);
    }
    if line.switches_watch() {
        line.app_words.retain(|word| word != "--watch");
    }
    // The command is looked at first: an unknown one has no options that could be wrong.
    match unknown.filter(|_| !line.has("help")) {
        Some(text) if line.verb.as_deref().is_none_or(|verb| find(verb).is_some()) => Err(Misread(text)),
        _ => Ok(line),
    }
}

/// `-ab` is `-a -b`; `-i4` is `-i 4`.
fn split(words: &[String]) -> Vec<String> {
    let mut out = Vec::new();
    for word in words {
        let letters = word.strip_prefix('-').filter(|rest| !rest.starts_with('-') && rest.len() > 1);
        match letters {
            Some(letters) if letters.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                let (first, rest) = letters.split_at(1);
                let valued = OPTIONS.iter().any(|known| {
                    known.short.is_some_and(|short| first.starts_with(short)) && known.value == Value::Yes
                });
                if valued {
                    out.extend([format!("-{first}"), rest.to_owned()]);
                } else {
                    out.extend(letters.chars().map(|letter| format!("-{letter}")));
                }
            }
            // A negative number, or not an option.
            _ => out.push(word.clone()),
        }
    }
    out
}

/// An option by what was typed: its long name, its name in `skep start`, whether it has a value, who knows it.
fn know(typed: &str) -> Option<(String, String, Value, &'static [Command])> {
    let known = OPTIONS.iter().find(|known| match typed.strip_prefix("--") {
        Some(long) => known.long == long,
        None => known.short.is_some_and(|short| typed.strip_prefix('-') == Some(&*short.to_string())),
    });
    if let Some(known) = known {
        return Some((known.long.to_owned(), known.of_app.to_owned(), known.value, known.only));
    }
    // What only skep has is understood under this name too.
    let long = typed.strip_prefix("--")?;
    let command = StartArgs::augment_args(clap::Command::new("start"));
    let arg = command.get_arguments().find(|arg| {
        arg.get_long() == Some(long) || arg.get_all_aliases().is_some_and(|all| all.contains(&long))
    })?;
    let value = match arg.get_action() {
        clap::ArgAction::SetTrue | clap::ArgAction::SetFalse | clap::ArgAction::Count => Value::No,
        _ => Value::Yes,
    };
    Some((long.to_owned(), long.to_owned(), value, &[]))
}

fn note(line: &mut Line, long: &str, of_app: &str, value: Option<String>) {
    if !of_app.is_empty() {
        // The last one counts; only this one adds up.
        let ours = OPTIONS.iter().all(|known| known.long != long);
        if long != "filter-env" && !ours {
            let given = format!("--{of_app}");
            let again = |word: &String| word.split('=').next() == Some(&*given);
            line.app_words.retain(|word| !again(word));
        }
        match (&value, long) {
            // Without a value these mean the default, which is what happens anyway.
            (None, "log" | "max-restarts") => {}
            // Everything that was inherited: every name contains nothing.
            (None, "filter-env") => line.app_words.push("--filter-env=".to_owned()),
            // PM2 counts seconds here.
            (Some(value), "watch-delay") if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                line.app_words.push(format!("--watch-delay={value}s"));
            }
            (Some(value), _) => line.app_words.push(format!("--{of_app}={value}")),
            (None, _) => line.app_words.push(format!("--{of_app}")),
        }
    }
    line.given.push((long.to_owned(), value));
}

#[cfg(test)]
mod tests {
    use super::super::command::find;
    use super::*;

    fn check(text: &str) -> Result<Line, String> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        read(&words, find).map_err(|Misread(text)| text)
    }

    #[test]
    fn options_may_stand_anywhere_and_own_arguments_stand_behind_two_dashes() {
        let line = check("--name web start -i -1 app.js -k 5000 -- --port 80 -x").unwrap();
        assert_eq!((line.verb.as_deref(), line.operands.as_slice()), (Some("start"), &["app.js".into()][..]));
        assert_eq!(line.own_args, ["--port", "80", "-x"]);
        let app = line.app().unwrap();
        assert_eq!(app.name.as_deref(), Some("web"));
        assert_eq!(app.instances, Some(skep_spec::Instances::Minus(1)));
        assert_eq!(app.kill_timeout.unwrap().0, 5_000);
    }

    #[test]
    fn of_an_option_that_is_given_twice_the_last_counts() {
        let app =
            check("start app.js -n a --name b -i 2 -i 3 --cron x --cron-restart 0").unwrap().app().unwrap();
        assert_eq!(app.name.as_deref(), Some("b"));
        assert_eq!(app.instances, Some(skep_spec::Instances::Count(3)));
        let app = check("start app.js --filter-env A --filter-env B").unwrap().app().unwrap();
        assert_eq!(app.filter_env, ["A", "B"]);
    }

    #[test]
    fn short_options_may_be_joined_and_have_their_value_at_once() {
        let line = check("restart web -sf -i4").unwrap();
        assert!(line.has("silent") && line.has("force"));
        assert_eq!(line.value("instances"), Some("4"));
    }

    #[test]
    fn an_unknown_option_is_refused_in_pm2s_words() {
        assert_eq!(check("start app.js --foo").unwrap_err(), "unknown option `--foo'");
        assert_eq!(check("list --lines 3").unwrap_err(), "unknown option `--lines'");
        assert_eq!(check("logs --lines 3").unwrap().value("lines"), Some("3"));
        assert!(check("start app.js -n").unwrap_err().contains("argument missing"));
        // An unknown command is the greater mistake.
        assert!(check("foo --bar").is_ok());
    }

    #[test]
    fn help_is_that_of_the_command_before_it_whatever_else_is_typed() {
        let asks = |text: &str| check(text).map(|line| (line.has("help"), line.asks_for_help_first()));
        assert_eq!(asks("logs --help --nosuch"), Ok((true, false)));
        assert_eq!(asks("-n web start app.js -h"), Ok((true, false)));
        assert_eq!(asks("-s --help start"), Ok((true, true)));
        assert_eq!(asks("start app.js -- --help"), Ok((false, false)));
    }

    #[test]
    fn an_option_with_an_optional_value_takes_the_next_word_unless_it_is_an_option() {
        let line = check("logs --highlight error web").unwrap();
        assert_eq!((line.value("highlight"), line.operands.len()), (Some("error"), 1));
        let line = check("serve . 8080 --monitor --port").unwrap();
        assert!(line.has("monitor") && line.has("port") && line.value("port").is_none());
        let line = check("logs web --highlight --raw").unwrap();
        assert!(line.has("highlight") && line.value("highlight").is_none() && line.has("raw"));
    }

    #[test]
    fn restart_and_stop_switch_watching_and_start_asks_for_it() {
        let line = check("restart web --watch").unwrap();
        assert!(line.switches_watch() && !line.changes_apps());
        let line = check("restart web --watch src").unwrap();
        assert!(!line.switches_watch() && line.changes_apps());
        let line = check("start app.js --watch").unwrap();
        assert!(!line.switches_watch() && line.changes_apps());
    }

    #[test]
    fn how_many_at_once_is_a_number() {
        assert_eq!(check("restart all --parallel 4").unwrap().parallel().unwrap(), Some(4));
        assert_eq!(check("restart all").unwrap().parallel().unwrap(), None);
        for wrong in ["0", "many"] {
            assert!(check(&format!("restart all --parallel {wrong}")).unwrap().parallel().is_err());
        }
    }

    #[test]
    fn what_only_skep_has_is_understood_too() {
        let app = check("start app.js --balance least --max-surge=25%").unwrap().app().unwrap();
        assert_eq!(app.balance, Some(skep_spec::Balance::Least));
        assert!(check("start app.js -i banana").unwrap().app().is_err());
    }
}
