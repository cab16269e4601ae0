//! One skep: its home, its commands, its end.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::deadline::{Deadline, LIMIT};
use crate::events::Events;
use crate::tools::{Node, fixture, node, root, skep_binary};
use crate::view::{App, Daemon};
use crate::{http, process};

/// The variable by which every process of one test is found again: the keeper, the daemon and every worker inherit it.
const MARK: &str = "SKEP_TEST_MARK";
/// The Node of tests that are not about Node's version: the one that most people run.
const NODE_USUAL: u32 = 22;

/// A skep of its own; ended and wiped away when dropped, kept for a look when the test fails.
#[derive(Debug)]
pub struct Skep {
    home: Option<TempDir>,
    mark: String,
    path: OsString,
    variables: Vec<(&'static str, OsString)>,
}

/// What a command said.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Exit code; none when it was ended by a signal.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained.
    pub stderr: String,
    shown: String,
}

impl Outcome {
    /// Its output, if it succeeded.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(
            self.code == Some(0),
            "`{}` failed with {:?}\n{}{}",
            self.shown,
            self.code,
            self.stdout,
            self.stderr
        );
        self.stdout
    }

    /// All that it said, if it failed with an exit code of its own.
    ///
    /// # Panics
    /// When it succeeded or was killed.
    #[track_caller]
    pub fn err(self) -> String {
        let failed = self.code.is_some_and(|code| code != 0 && code != 101);
        assert!(failed, "`{}` should fail, but: {:?}\n{}{}", self.shown, self.code, self.stdout, self.stderr);
        self.stdout + &self.stderr
    }
}

impl Default for Skep {
    fn default() -> Self {
        Self::new()
    }
}

impl Skep {
    /// A new home and the usual Node in `PATH`.
    pub fn new() -> Self {
        Self::with_node(&node(NODE_USUAL))
    }

    /// A new home and this Node in `PATH`.
    ///
    /// # Panics
    /// When there is no room for a temporary folder.
    pub fn with_node(node: &Node) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let home =
            tempfile::Builder::new().prefix("skep-").tempdir().expect("there is room for a temporary folder");
        let mark = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut path = node.bin.clone().into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        Self { home: Some(home), mark, path, variables: Vec::new() }
    }

    /// The same with a variable in every command's environment, the first one's too, whose keeper and daemon have it for
    /// life.
    #[must_use]
    pub fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// `SKEP_HOME`.
    pub fn home(&self) -> PathBuf {
        self.root().join("home")
    }

    /// A folder of this test's own beside the home.
    pub fn root(&self) -> &Path {
        self.home.as_ref().expect("the folder is there until drop").path()
    }

    /// Puts our npm package where programs in [`Skep::root`] find it, and others by this `NODE_PATH`.
    ///
    /// # Panics
    /// When the folder cannot be written, or the package is there already.
    pub fn with_package(&self) -> PathBuf {
        let modules = self.root().join("node_modules");
        std::fs::create_dir_all(&modules).expect("the folder is writable");
        std::os::unix::fs::symlink(root().join("npm/skep"), modules.join("skep"))
            .expect("a link can be made");
        modules
    }

    /// The API's socket.
    pub fn socket(&self) -> PathBuf {
        self.home().join("skep.sock")
    }

    /// The command `skep …`, to be given more environment or to be run by hand.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        self.program(skep_binary(), args)
    }

    /// Any program in this test's surroundings; it ends with the test.
    pub fn program<S: AsRef<OsStr>>(
        &self,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(self.root())
            .env_remove("NODE_OPTIONS")
            .env_remove("PORT")
            .env("SKEP_HOME", self.home())
            .env("PATH", &self.path)
            .env("NO_COLOR", "1")
            .env(MARK, &self.mark)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Makes sure that the daemon runs, with nothing to do: so that it can be watched from the first moment.
    #[track_caller]
    pub fn boot(&self) {
        self.ok(["resurrect"]);
    }

    /// Runs `skep …` to its end.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Outcome {
        finish(self.command(args))
    }

    /// Runs `skep …`, which must succeed.
    #[track_caller]
    pub fn ok<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> String {
        self.run(args).ok()
    }

    /// Runs `skep …`, which must fail; all that it said.
    #[track_caller]
    pub fn err<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> String {
        self.run(args).err()
    }

    /// Starts an app, which must become ready.
    #[track_caller]
    pub fn start(&self, start: &Start) -> App {
        finish(self.starting(start)).ok();
        self.app(&start.name)
    }

    /// Starts an app that cannot become ready; all that the command said.
    #[track_caller]
    pub fn start_fails(&self, start: &Start) -> String {
        finish(self.starting(start)).err()
    }

    /// The command that starts an app.
    pub fn starting(&self, start: &Start) -> Command {
        let mut command = self.command(&start.args);
        let listens = start.env.iter().any(|(name, _)| name == "PORT");
        if listens && !start.args.iter().any(|arg| arg == "--listen-timeout") {
            // The default of 3 s is for people; a test machine may be busier than theirs.
            command.args(["--listen-timeout", "30000"]);
        }
        if !start.own_args.is_empty() {
            command.arg("--").args(&start.own_args);
        }
        command.envs(start.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// All apps.
    ///
    /// # Panics
    /// When the API does not answer.
    pub fn apps(&self) -> Vec<App> {
        serde_json::from_value(self.api("/v1/apps")).expect("the API shows apps as the tests know them")
    }

    /// One app by name.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn app(&self, name: &str) -> App {
        let apps = self.apps();
        let found = apps.iter().find(|app| app.name == name);
        found.unwrap_or_else(|| panic!("there is no app {name:?} in {apps:?}")).clone()
    }

    /// `GET` of the API.
    ///
    /// # Panics
    /// When it does not answer with 200.
    #[track_caller]
    pub fn api(&self, path: &str) -> Value {
        let answer =
            http::get_unix(&self.socket(), path).unwrap_or_else(|error| panic!("GET {path}: {error}"));
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.body);
        answer.json()
    }

    /// The daemon and its keeper.
    ///
    /// # Panics
    /// When there is none.
    pub fn daemon(&self) -> Daemon {
        serde_json::from_value(self.api("/v1/daemon")).expect("the daemon shows itself as the tests know it")
    }

    /// The daemon and its keeper, if one answers.
    pub fn try_daemon(&self) -> Option<Daemon> {
        let answer = http::get_unix(&self.socket(), "/v1/daemon").ok()?;
        serde_json::from_value(answer.json()).ok()
    }

    /// What happens from now on.
    pub fn events(&self) -> Events {
        Events::follow(&self.socket())
    }

    /// Waits until an app looks as wanted; looks at each event.
    ///
    /// # Panics
    /// When it does not within the limit.
    #[track_caller]
    pub fn wait(&self, name: &str, what: &str, wanted: impl Fn(&App) -> bool) -> App {
        let deadline = Deadline::after(LIMIT);
        let mut events = self.events();
        loop {
            let app = self.app(name);
            if wanted(&app) {
                return app;
            }
            assert!(!deadline.has_passed(), "waited {LIMIT:?} in vain: {what}; {app:#?}");
            events.next_or_quiet();
        }
    }

    /// Waits until `count` workers of an app are ready and nothing is under way.
    #[track_caller]
    pub fn settled(&self, name: &str, count: usize) -> App {
        self.wait(name, &format!("{count} ready workers"), |app| app.is_settled(count))
    }

    /// Kills one worker and waits for its successor in the same slot.
    #[track_caller]
    pub fn crash(&self, name: &str, index: usize) -> App {
        let before = self.app(name);
        let victim = before.slots[index].pid.expect("the slot has a worker");
        process::kill(victim);
        self.wait(name, "a successor in the same slot", |app| {
            app.is_settled(before.slots.len()) && app.slots[index].pid != Some(victim)
        })
    }

    /// Every process of this test: keeper, daemon, workers and what they started.
    pub fn processes(&self) -> Vec<u32> {
        process::with_environment(&format!("{MARK}={}", self.mark))
    }
}

impl Drop for Skep {
    fn drop(&mut self) {
        // What they started carries the mark. Stopped first: a daemon whose keeper is killed would start another one.
        for signal in [Signal::STOP, Signal::STOP, Signal::KILL, Signal::KILL, Signal::KILL] {
            for pid in self.processes() {
                drop(process::signal(pid, signal));
            }
        }
        if std::thread::panicking()
            && let Some(home) = self.home.take()
        {
            eprintln!("the home and its logs stay for a look: {}", home.keep().display());
        }
    }
}

/// Runs a command to its end, or kills it when the limit is over.
///
/// # Panics
/// When it cannot be started, or does not end within the limit.
pub fn finish(mut command: Command) -> Outcome {
    let shown = shown(&command);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.unwrap_or_else(|error| panic!("cannot start `{shown}`: {error}"));
    let pid = child.id();
    let (sender, receiver) = mpsc::channel();
    let waiter = std::thread::spawn(move || sender.send(child.wait_with_output()));
    let Ok(output) = receiver.recv_timeout(LIMIT) else {
        process::kill(pid);
        panic!("`{shown}` does not end within {LIMIT:?}; it had said: {}", waited(&receiver));
    };
    drop(waiter);
    let Output { status, stdout, stderr } = output.expect("a child can be waited for");
    Outcome {
        code: status.code(),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
        shown,
    }
}

/// What a command that was killed had said until then.
fn waited(receiver: &mpsc::Receiver<std::io::Result<Output>>) -> String {
    match receiver.recv_timeout(LIMIT) {
        Ok(Ok(output)) => String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "nothing that could be read: another process holds its output open".into(),
    }
}

fn shown(command: &Command) -> String {
    let args = command.get_args().map(|arg| arg.to_string_lossy().into_owned());
    std::iter::once("skep".to_owned()).chain(args).collect::<Vec<_>>().join(" ")
}

/// `skep start …` of one app.
#[derive(Debug, Clone)]
pub struct Start {
    name: String,
    args: Vec<OsString>,
    /// Behind `--`.
    own_args: Vec<OsString>,
    env: Vec<(String, OsString)>,
}

impl Start {
    /// A fixture app under a name.
    pub fn fixture(name: &str, file: &str) -> Self {
        Self::program(name, fixture(file))
    }

    /// Any script, program or command line under a name.
    pub fn program(name: &str, program: impl Into<OsString>) -> Self {
        Self {
            name: name.into(),
            args: vec!["start".into(), program.into(), "--name".into(), name.into()],
            own_args: Vec::new(),
            env: Vec::new(),
        }
    }

    /// The app's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `-i`.
    #[must_use]
    pub fn instances(self, count: usize) -> Self {
        self.flags(["-i", &count.to_string()])
    }

    /// More flags.
    #[must_use]
    pub fn flags<S: Into<OsString>>(mut self, flags: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(flags.into_iter().map(Into::into));
        self
    }

    /// The app's own arguments, behind `--`.
    #[must_use]
    pub fn args<S: Into<OsString>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.own_args.extend(args.into_iter().map(Into::into));
        self
    }

    /// A variable of the shell that types the command.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// `PORT`.
    #[must_use]
    pub fn port(self, port: u16) -> Self {
        self.env("PORT", port.to_string())
    }
}
