//! `skep run` with files, formats and delays; and the names `pm2-runtime` and `pm2-docker`, beside the real one.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use skep_tests::{Skep, finish, node, process, tool};

/// Writes who it is to standard output and a word to standard error, and stays.
const APP: &str = "const e = process.env;
console.log(`hello ${JSON.stringify({ name: e.name, id: e.pm_id, mode: e.exec_mode, instance: e.NODE_APP_INSTANCE, which: e.WHICH })}`);
console.error('trouble');
setInterval(() => {}, 1000);
";

/// Something in the foreground, whose output is read as it comes.
struct Foreground {
    child: Child,
    lines: Box<dyn Iterator<Item = String>>,
}

impl Foreground {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
        let stdout = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        Self { child, lines: Box::new(stdout.lines().map_while(Result::ok)) }
    }

    /// The next line that holds this.
    fn line(&mut self, part: &str) -> String {
        let found = self.lines.find(|line| line.contains(part));
        found.unwrap_or_else(|| panic!("its output has ended without {part:?}"))
    }

    fn end(mut self, signal: Signal) -> ExitStatus {
        process::signal(self.child.id(), signal).expect("it lives");
        self.lines.by_ref().for_each(drop);
        self.child.wait().expect("it ends")
    }
}

fn write(skep: &Skep, name: &str, text: &str) -> PathBuf {
    let path = skep.root().join(name);
    fs::write(&path, text).expect("the folder is ours");
    path
}

/// Two apps, and an environment.
fn ecosystem(skep: &Skep) -> PathBuf {
    write(skep, "app.js", APP);
    let text = "module.exports = { apps: [
        { name: 'web', script: 'app.js', env: { WHICH: 'usual' }, env_production: { WHICH: 'production' } },
        { name: 'jobs', script: 'app.js' } ] };";
    write(skep, "ecosystem.config.js", text)
}

fn run(skep: &Skep, args: &[&str]) -> Foreground {
    let mut command = skep.command(["run"]);
    command.args(args);
    Foreground::start(command)
}

#[test]
fn all_apps_of_a_file_run_in_the_chosen_environment_and_end_together() {
    let skep = Skep::new();
    ecosystem(&skep);
    let mut running = run(&skep, &["ecosystem.config.js", "--env", "production", "--formatted"]);
    let (first, second) = (running.line("hello"), running.line("hello"));
    let both = format!("{first}\n{second}");
    assert!(both.contains("0|web      | hello") && both.contains("1|jobs     | hello"), "{both}");
    assert!(both.contains(r#""which":"production""#), "{both}");
    assert!(running.end(Signal::TERM).success());
    assert_eq!(skep.processes(), Vec::<u32>::new(), "nothing is left behind");

    let mut running = run(&skep, &["--only", "jobs", "--format"]);
    let line = running.line("hello");
    assert!(
        line.starts_with("timestamp=2") && line.contains(" app=jobs id=0 type=out message=hello"),
        "{line}"
    );
    assert!(running.end(Signal::INT).success());
}

#[test]
fn with_no_auto_exit_it_stays_until_it_is_asked_to_go() {
    let skep = Skep::new();
    let mut command = skep.command(["run", "--no-auto-exit", "--no-autorestart", "/bin/sh"]);
    command.args(["--name", "once", "--", "-c", "echo done; exit 7"]);
    let mut running = Foreground::start(command);
    running.line("done");
    skep.wait("once", "the app has ended", |app| app.pids().is_empty());
    assert!(running.child.try_wait().expect("it is our child").is_none(), "it stays");
    assert!(running.end(Signal::TERM).success());
}

#[test]
fn a_delay_can_be_cut_short() {
    let skep = Skep::new();
    let mut command = skep.command(["run", "--delay", "10m", "/bin/sh"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("skep runs");
    // It listens to signals from the moment at which it waits: SigBlk has SIGTERM (bit 14).
    let blocks = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:"))?;
        (u64::from_str_radix(mask.trim(), 16).ok()? & (1 << 14) != 0).then_some(())
    };
    skep_tests::Deadline::until("it waits", || blocks(child.id()));
    process::signal(child.id(), Signal::TERM).expect("it lives");
    assert!(child.wait().expect("it ends").success());
    assert!(!skep.home().exists(), "nothing was started");
    let outcome = skep.run(["run", "--delay", "20ms", "--no-autorestart", "/bin/echo", "--", "late"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "late\n"));
}

fn pm2_runtime(skep: &Skep, args: &[&str]) -> Command {
    let link = skep.root().join("pm2-runtime");
    if !link.exists() {
        skep.ok(["pm2-link", skep.root().to_str().expect("text")]);
    }
    skep.program(link, args)
}

/// The real one, with a home of its own.
fn real(skep: &Skep, args: &[&str]) -> Command {
    let mut command = skep.program(node(22).bin.join("node"), [tool("pm2/node_modules/pm2/bin/pm2-runtime")]);
    command.args(args).env("PM2_HOME", skep.root().join("pm2-home")).env("PM2_DISABLE_VERSION_CHECK", "true");
    command
}

/// What a script sees of an app: its JSON line without the time, its own words, the exit code after SIGTERM.
fn seen(command: Command) -> (Value, Value, Option<i32>) {
    let mut running = Foreground::start(command);
    let line = running.line("hello");
    let mut line: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let timestamp = line.as_object_mut().expect("an object").remove("timestamp").expect("it has a time");
    assert!(timestamp.as_str().is_some_and(|text| text.ends_with('Z')), "{timestamp}");
    let words =
        line["message"].as_str().expect("it has a message").strip_prefix("hello ").expect("our words");
    let words = serde_json::from_str(words).expect("it is JSON");
    let status = running.end(Signal::TERM);
    (line, words, status.code())
}

#[test]
fn under_the_name_pm2_runtime_scripts_and_workers_see_what_they_know() {
    let skep = Skep::new();
    ecosystem(&skep);
    for args in [
        &["ecosystem.config.js", "--json", "--only", "web", "--env", "production"][..],
        &["start", "app.js", "--json", "--name", "solo", "-i", "1"][..],
    ] {
        assert_eq!(seen(pm2_runtime(&skep, args)), seen(real(&skep, args)), "{args:?}");
    }
}

#[test]
fn under_that_name_a_file_named_for_the_logs_does_not_silence_the_container() {
    let skep = Skep::new();
    write(&skep, "app.js", APP);
    let log = skep.root().join("own.log");
    let mut running =
        Foreground::start(pm2_runtime(&skep, &["app.js", "--output", log.to_str().expect("text")]));
    running.line("hello");
    assert!(running.end(Signal::TERM).success());
    assert!(fs::read_to_string(&log).expect("it was written").contains("hello"));
}

fn said(mut command: Command) -> String {
    let mut text = String::new();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
    child.stdout.take().expect("a pipe").read_to_string(&mut text).expect("it is text");
    child.wait().expect("it ends");
    text
}

#[test]
fn it_tells_its_version_and_its_mistakes() {
    let skep = Skep::new();
    assert_eq!(said(pm2_runtime(&skep, &["--version"])), "7.0.4\n");
    assert!(said(pm2_runtime(&skep, &[])).contains("Usage: pm2-runtime"));
    for (args, part) in [
        (&["nosuch.js"][..], "cript not found"),
        (&["app.js", "--delay", "soon"][..], "no number of seconds"),
        (&["app.js", "--delay"][..], "argument missing"),
    ] {
        let outcome = finish(pm2_runtime(&skep, args));
        assert_eq!(outcome.code, Some(1), "{args:?}");
        assert!(outcome.stderr.contains(part), "{args:?}: {}", outcome.stderr);
    }
}
