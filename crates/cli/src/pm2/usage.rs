//! `pm2 COMMAND --help`: the usage line and the options as PM2 prints them. What each is for is said in skep's own words.

use super::left_out;

/// One command.
struct Usage {
    /// Its names, as PM2 writes them: `delete|del`.
    names: &'static str,
    /// What it is given.
    args: &'static str,
    about: &'static str,
    /// The options that only it has.
    options: &'static [(&'static str, &'static str)],
}

/// What every command has.
const HELP: (&str, &str) = ("-h, --help", "output usage information");

const fn plain(names: &'static str, args: &'static str, about: &'static str) -> Usage {
    Usage { names, args, about, options: &[] }
}

const DESCRIBE: &str = "show all that is known of an app's processes";
const LIST: &str = "show all processes in a table";
const OR_RELOAD: &str = "start the apps of a file, and reload those that are there";
const UPDATE: &str = "hand over to the skep that is installed; no process is restarted";
const DASHBOARD: &str = "watch processes, their logs and metrics";

const USAGES: &[Usage] = &[
    Usage {
        options: &[("--watch", "restart it whenever a file of its folder changes")],
        ..plain(
            "start",
            "[name|namespace|file|ecosystem|id...]",
            "start an app, or the apps of a file, in the background",
        )
    },
    plain("trigger", "<id|proc_name|namespace|all> <action_name> [params]", "call an action of a process"),
    plain("deploy", "<file|environment>", "bring an app to its hosts, as a file describes it"),
    plain("startOrRestart", "<json>", "start the apps of a file, and restart those that are there"),
    plain("startOrReload", "<json>", OR_RELOAD),
    plain("startOrGracefulReload", "<json>", OR_RELOAD),
    plain("pid", "[app_name]", "print the process ids of an app, or of all"),
    Usage {
        options: &[("--watch", "watch its files no longer")],
        ..plain("stop", "<id|name|namespace|all|json|stdin...>", "stop processes and keep them in the list")
    },
    Usage {
        options: &[("--watch", "watch its files from now on, or no longer")],
        ..plain("restart", "<id|name|namespace|all|json|stdin...>", "stop processes and start them again")
    },
    plain("scale", "<app_name> <number>", "change how many instances an app has: 4, +1 or -1"),
    plain("reload", "<id|name|namespace|all>", "renew processes one after another, without losing a request"),
    plain("id", "<name>", "print the ids of an app's processes"),
    plain("delete|del", "<name|id|namespace|script|all|json|stdin...>", "stop processes and forget them"),
    plain("sendSignal", "<signal> <pm2_id|name>", "send a signal to processes"),
    plain("ping", "", "say whether skep runs; it is started if it does not"),
    plain("updatePM2", "", UPDATE),
    plain("update", "", UPDATE),
    plain("set", "[key] [value]", "set a value; one of an app (app:key) is handed on to it"),
    plain("multiset", "<value>", "set several values: \"key1 val1 key2 val2\""),
    plain("get", "[key]", "show a value, or all"),
    plain("conf", "[key] [value]", "show or set values of modules and apps"),
    plain("config", "<key> [value]", "show or set values of modules and apps"),
    plain("unset", "<key>", "remove a value"),
    plain("report", "", "show what somebody who helps has to know"),
    Usage {
        options: &[("--force", "also when there is no process")],
        ..plain("dump|save", "", "write down all processes, for resurrect")
    },
    plain("cleardump", "", "empty what was written down"),
    plain("send", "<pm_id> <line>", "write a line to a process's standard input"),
    plain("attach", "<pm_id>", "connect the terminal with a process's standard input and output"),
    plain("resurrect", "", "start the processes that were written down"),
    plain("unstartup", "[platform]", "no longer start skep when the machine starts"),
    plain("startup", "[platform]", "start skep when the machine starts"),
    plain("ecosystem|init", "[mode]", "write an example of a file of apps (simple: a short one)"),
    plain("reset", "<name|id|all>", "set the counters of processes to zero"),
    plain("describe", "<name|id>", DESCRIBE),
    plain("desc", "<name|id>", DESCRIBE),
    plain("info", "<name|id>", DESCRIBE),
    plain("show", "<name|id>", DESCRIBE),
    plain("env", "<id>", "show the environment of a process"),
    plain("list|ls", "", LIST),
    plain("l", "", LIST),
    plain("ps", "", LIST),
    plain("status", "", LIST),
    plain("jlist", "", "print all processes as JSON"),
    Usage {
        options: &[("-t --tree", "show as tree")],
        ..plain("slist|sysinfos", "", "print what is known of the machine, as JSON")
    },
    plain("prettylist", "", "print all processes as JavaScript, for reading"),
    plain("monit", "", DASHBOARD),
    plain("imonit", "", DASHBOARD),
    plain("dashboard|dash", "", DASHBOARD),
    plain("flush", "[api]", "empty the log files of an app, or of all"),
    plain("reloadLogs", "", "open all log files anew"),
    Usage {
        options: &[
            ("--json", "print each line as JSON"),
            ("--format", "print each line as key=value pairs"),
            ("--raw", "print lines as they are"),
            ("--err", "standard error alone"),
            ("--out", "standard output alone"),
            ("--lines <n>", "begin with the last n lines (15)"),
            ("--timestamp [format]", "put the time before each line (YYYY-MM-DD-HH:mm:ss)"),
            ("--nostream", "end when the last lines were shown"),
            ("--highlight [value]", "set off a word"),
            ("--since <time>", "begin there: 10m, 2026-01-31"),
            ("--grep <pattern>", "show matching lines alone"),
        ],
        ..plain("logs", "[id|name|namespace]", "show the last lines of logs, and those that come")
    },
    plain("kill", "", "stop all processes, and skep"),
    Usage {
        options: &[
            ("--port [port]", "where to listen (8080)"),
            ("--spa", "answer with index.html where there is no file"),
            ("--basic-auth-username [username]", "ask for this name"),
            ("--basic-auth-password [password]", "and for this password"),
        ],
        ..plain("serve|expose", "[path] [port]", "serve a folder's files by HTTP")
    },
];

/// The help of a command.
pub(super) fn of(word: &str) -> Option<String> {
    // PM2's other name for it is not told there.
    let name = if word == "log" { "logs" } else { word };
    if let Some(usage) = USAGES.iter().find(|usage| usage.names.split('|').any(|known| known == name)) {
        return Some(usage.text());
    }
    let instead = left_out::instead_of(word)?;
    Some(text(word, "", &format!("not part of skep: {instead}"), &[]))
}

/// All commands, a line each.
pub(super) fn overview() -> String {
    let line = |usage: &Usage| {
        let options = if usage.options.is_empty() { "" } else { " [options]" };
        let args = if usage.args.is_empty() { String::new() } else { format!(" {}", usage.args) };
        (format!("{}{options}{args}", usage.names), usage.about)
    };
    let lines: Vec<(String, &str)> = USAGES.iter().map(line).collect();
    columns(lines.iter().map(|(usage, about)| (usage.as_str(), *about)))
}

impl Usage {
    fn text(&self) -> String {
        text(self.names, self.args, self.about, self.options)
    }
}

fn text(names: &str, args: &str, about: &str, options: &[(&str, &str)]) -> String {
    let args = if args.is_empty() { String::new() } else { format!(" {args}") };
    let options = columns(options.iter().copied().chain([HELP]));
    format!("\n  Usage: {names} [options]{args}\n\n  {about}\n\n  Options:\n\n{options}")
}

fn columns<'a>(lines: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> String {
    let width = lines.clone().map(|(left, _)| left.len()).max().unwrap_or_default();
    lines.map(|(left, right)| format!("    {left:width$}  {right}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::command;
    use super::*;

    #[test]
    fn every_command_has_a_usage_and_every_usage_a_command() {
        for name in command::names() {
            assert!(of(name).is_some(), "{name}");
        }
        for usage in USAGES {
            for name in usage.names.split('|') {
                assert!(command::find(name).is_some(), "{name}");
            }
        }
        assert!(of("plus").is_some_and(|text| text.contains("not part of skep")));
        assert_eq!(of("nosuch"), None);
    }

    #[test]
    fn it_is_laid_out_as_pm2_does_it() {
        let expected = "\n  Usage: stop [options] <id|name|namespace|all|json|stdin...>\n\n  \
                        stop processes and keep them in the list\n\n  Options:\n\n    \
                        --watch     watch its files no longer\n    -h, --help  output usage information\n";
        assert_eq!(of("stop").as_deref(), Some(expected));
        assert_eq!(of("log"), of("logs"));
        assert_eq!(of("ls"), of("list"));
    }
}
