//! Options of PM2 that are about more than the description of an app: each does its job under the name `pm2`.

use rustix::process::Signal;
use serde_json::{Value, json};
use skep_tests::{Deadline, Outcome, Skep, finish, process, skep_binary};
use std::io::{BufRead, BufReader, Lines};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

/// skep under the name `pm2`, in a home of its own.
struct Pm2 {
    place: Skep,
    program: PathBuf,
}

impl Pm2 {
    fn new() -> Self {
        let place = Skep::new();
        let program = place.root().join("pm2");
        std::os::unix::fs::symlink(skep_binary(), &program).expect("the folder is the test's own");
        // It says its name and lives on; it never listens.
        std::fs::write(place.root().join("app.js"), "setInterval(() => console.log('at work'), 50)\n")
            .expect("the folder is the test's own");
        Self { place, program }
    }

    fn command(&self, line: &str) -> Command {
        let mut command = self.place.program(&self.program, line.split_whitespace());
        command.env("PM2_HOME", self.place.home());
        command
    }

    fn run(&self, line: &str) -> Outcome {
        finish(self.command(line))
    }

    fn processes(&self) -> Vec<Value> {
        serde_json::from_str(&self.run("jlist").ok()).expect("jlist prints JSON")
    }

    /// Starts a command that stays, and reads its output up to a line that contains `text`.
    fn until(&self, line: &str, text: &str) -> (Staying, Vec<String>) {
        let mut staying = Staying::from(self.command(line));
        let mut seen = Vec::new();
        for line in staying.output.by_ref() {
            seen.push(line.expect("text"));
            if seen.last().is_some_and(|line| line.contains(text)) {
                return (staying, seen);
            }
        }
        panic!("`pm2 {line}` has ended without {text:?}: {seen:#?}");
    }
}

/// A command that goes on.
struct Staying {
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
}

impl From<Command> for Staying {
    fn from(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program is there");
        let output = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, output }
    }
}

impl Staying {
    /// Its exit code after a signal; what it says until then is read, for nobody ends because of a full pipe.
    fn end(mut self, signal: Signal) -> Option<i32> {
        process::signal(self.child.id(), signal).expect("it runs");
        self.output.by_ref().for_each(drop);
        self.child.wait().expect("it is ours").code()
    }
}

#[test]
fn a_forked_app_that_never_listens_is_online_at_once_as_in_pm2() {
    let pm2 = Pm2::new();
    // Nobody waits this long: the limit of the test would be reached first.
    pm2.run("start app.js --listen-timeout 600000").ok();
    let env = &pm2.processes()[0]["pm2_env"];
    assert_eq!((&env["status"], &env["exec_mode"]), (&json!("online"), &json!("fork_mode")));
    let said = pm2.run("restart app");
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "a short wait is no failure");
}

#[test]
fn variables_of_pm2_are_defaults_for_what_is_started() {
    let pm2 = Pm2::new();
    let start = |line: &str| {
        let mut command = pm2.command(line);
        command.env("PM2_KILL_SIGNAL", "SIGTERM").env("PM2_KILL_TIMEOUT", "9000");
        finish(command)
    };
    start("start app.js --name web").ok();
    start("start app.js --name own --kill-timeout 500").ok();
    let field = |at: usize, name: &str| pm2.processes()[at]["pm2_env"][name].clone();
    assert_eq!((field(0, "kill_signal"), field(0, "kill_timeout")), (json!("SIGTERM"), json!(9000)));
    assert_eq!((field(1, "kill_signal"), field(1, "kill_timeout")), (json!("SIGTERM"), json!(500)));
    let mut command = pm2.command("start app.js --name wrong");
    command.env("PM2_KILL_TIMEOUT", "soon");
    let said = finish(command).err();
    assert!(said.contains("PM2_KILL_TIMEOUT: \"soon\" makes no sense"), "{said}");
    assert_eq!(pm2.processes().len(), 2);
}

#[test]
fn a_pid_file_is_written_where_it_was_asked_for() {
    let pm2 = Pm2::new();
    pm2.run("start app.js --name web -p run/web.pid -i 2 --listen-timeout 100").ok();
    for process in pm2.processes() {
        let file = pm2.place.root().join(format!("run/web-{}.pid", process["pm_id"]));
        assert_eq!(std::fs::read_to_string(&file).expect("it was written"), process["pid"].to_string());
        assert_eq!(process["pm2_env"]["pm_pid_path"], json!(file));
    }
    pm2.run("delete web").ok();
    assert_eq!(std::fs::read_dir(pm2.place.root().join("run")).expect("readable").count(), 0);
}

#[test]
fn what_was_typed_is_written_as_a_file_that_starts_the_same() {
    let pm2 = Pm2::new();
    pm2.run("start app.js --name web -w --no-autorestart -- --port 80").ok();
    pm2.run("delete web").ok();
    pm2.run("start web-pm2.json").ok();
    let env = &pm2.processes()[0]["pm2_env"];
    assert_eq!((&env["args"], &env["autorestart"]), (&json!(["--port", "80"]), &json!(false)));
}

#[test]
fn attach_shows_what_the_apps_of_the_command_write() {
    let pm2 = Pm2::new();
    pm2.run("start app.js --name other").ok();
    let (child, seen) = pm2.until("start app.js --name web -f --attach", "web      | at work");
    assert!(seen.iter().all(|line| !line.contains("other    |")), "{seen:#?}");
    assert_eq!(child.end(Signal::INT), None, "Ctrl-C ends the showing");
    assert!(pm2.processes().iter().all(|process| process["pm2_env"]["status"] == "online"));
}

#[test]
fn without_a_daemon_the_command_stays_and_everything_ends_with_it() {
    let pm2 = Pm2::new();
    let (child, seen) = pm2.until("start app.js --no-daemon", "app      | ");
    assert!(seen.iter().any(|line| line.contains("[--no-daemon] Continue to stream logs")), "{seen:#?}");
    let pid = pm2.processes()[0]["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a pid");
    assert_eq!(child.end(Signal::TERM), Some(0));
    Deadline::until("the worker is gone", || (!process::is_alive(pid)).then_some(()));
    assert!(pm2.place.err(["ping"]).contains("not running"));
    // Nothing was started, so nobody stays.
    pm2.run("start nosuch.js --no-daemon").err();
    assert!(pm2.place.err(["ping"]).contains("not running"));
    // Whoever stops reading has not told it to leave its apps to nobody.
    let (child, _) = pm2.until("start app.js --no-daemon", "app      | ");
    let Staying { mut child, output } = child;
    drop(output);
    assert_eq!(child.wait().expect("it is ours").code(), Some(0));
    assert!(pm2.place.err(["ping"]).contains("not running"));
    // Where a daemon lives, it outlives the command.
    pm2.run("start app.js").ok();
    let (child, _) = pm2.until("restart app --no-daemon", "app      | ");
    assert_eq!(child.end(Signal::INT), Some(0));
    assert_eq!(pm2.processes()[0]["pm2_env"]["status"], "online");
}

#[test]
fn workers_are_restarted_one_by_one_and_watching_is_switched_once() {
    let pm2 = Pm2::new();
    pm2.run("start app.js -i 2 --listen-timeout 100").ok();
    let before = pm2.processes();
    pm2.run("restart app --parallel 1 --watch").ok();
    let after = pm2.processes();
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(after["pm2_env"]["restart_time"], 1);
        assert_eq!((&before["pm2_env"]["watch"], &after["pm2_env"]["watch"]), (&json!(false), &json!(true)));
    }
    pm2.run("stop app --watch").ok();
    assert_eq!(pm2.processes()[0]["pm2_env"]["watch"], json!(false));
    let said = pm2.run("restart app --parallel none").err();
    assert!(said.contains("--parallel: \"none\" is not a number"), "{said}");
}

#[test]
fn the_list_is_shown_again_and_again() {
    let pm2 = Pm2::new();
    pm2.run("start app.js --name web").ok();
    let mut child = pm2.command("list --watch").stdout(Stdio::piped()).spawn().expect("the program is there");
    let mut times = 0;
    for line in BufReader::new(child.stdout.take().expect("piped")).lines() {
        times += u32::from(line.expect("text").contains("│ web "));
        if times == 2 {
            break;
        }
    }
    assert_eq!(times, 2);
    child.kill().expect("it runs");
    child.wait().expect("it is ours");
}

#[test]
fn images_are_not_built_and_a_missing_operand_is_named() {
    let pm2 = Pm2::new();
    assert!(pm2.run("start app.js --container").err().contains("skep run"));
    for (line, name) in [
        ("restart", "id|name|namespace|all|json|stdin"),
        ("scale web", "number"),
        ("send 0", "line"),
        ("sendSignal", "signal"),
    ] {
        let said = pm2.run(line);
        assert_eq!(
            (said.code, said.stderr.as_str()),
            (Some(1), &*format!("\n  error: missing required argument `{name}'\n\n")),
            "{line}"
        );
    }
}

#[test]
fn the_settings_of_pm2_logrotate_are_checked_and_do_what_they_say() {
    let pm2 = Pm2::new();
    let said = pm2.run("install pm2-logrotate@2.7.0").ok();
    assert!(said.contains("built in") && said.contains("pm2 set pm2-logrotate:max_size"), "{said}");
    assert!(pm2.run("install pm2-server-monit").err().contains("no modules"));
    let said = pm2.run("set pm2-logrotate:max_size banana").err();
    assert!(said.contains("pm2-logrotate:max_size: \"banana\"") && said.contains("10M"), "{said}");
    let said = pm2.run("set pm2-logrotate:workerInterval 30");
    assert!(said.code == Some(0) && said.stderr.contains("has no effect"), "{said:?}");
    pm2.run("set pm2-logrotate:max_size 1K").ok();
    pm2.run("set pm2-logrotate:compress zstd").ok();
    // A file is put aside before the next line: there is always one more.
    let many = "for (let i = 0; i < 400; i++) console.log(`line ${i}`); setInterval(() => console.log('more'), 50)\n";
    std::fs::write(pm2.place.root().join("many.js"), many).expect("the folder is the test's own");
    pm2.run("start many.js").ok();
    let logs = pm2.place.home().join("logs");
    Deadline::until("an old file is compressed", || {
        let names = std::fs::read_dir(&logs).ok()?.flatten().map(|entry| entry.file_name());
        names.into_iter().any(|name| name.to_string_lossy().ends_with(".log.zst")).then_some(())
    });
    let shown = pm2.run("logs many --lines 1000 --nostream --raw").ok();
    let lines: Vec<&str> = shown.lines().filter(|line| line.starts_with("line ")).collect();
    let all: Vec<String> = (0..400).map(|i| format!("line {i}")).collect();
    assert_eq!(lines, all, "across the live file and the compressed ones");
}
