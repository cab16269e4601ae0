//! `skep monit` on a real terminal (tmux): it shows what is, does what keys ask, and gives the terminal back.

use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;
use skep_tests::{Deadline, Port, Skep, Start, finish, fixture, http, process, skep_binary};

/// An app that says what it serves.
const APP: &str = "require('http').createServer((request, response) => { console.log('served ' + request.url); response.end('ok') })
  .listen(process.env.PORT, () => console.log('listening'))";

/// skep with that app, on one worker.
fn web() -> (Skep, Port) {
    let (skep, port) = (Skep::new(), Port::free());
    let file = skep.root().join("web.js");
    std::fs::write(&file, APP).expect("written");
    skep.start(&Start::program("web", file).port(port.number()));
    (skep, port)
}

/// A terminal in which a shell line runs; when that has ended, its exit code and the terminal's modes stand there.
struct Terminal<'a> {
    skep: &'a Skep,
    socket: PathBuf,
}

impl<'a> Terminal<'a> {
    fn open(skep: &'a Skep, line: &str) -> Self {
        let terminal = Self { skep, socket: skep.root().join("tmux") };
        let program = skep_binary().display().to_string();
        let line = format!("{}; echo ended $?; stty -a; exec cat", line.replace("skep", &program));
        let begin = ["-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "24", "sh", "-c", &line];
        finish(terminal.tmux(&begin)).ok();
        terminal
    }

    fn tmux(&self, args: &[&str]) -> Command {
        let socket = self.socket.display().to_string();
        let mut command = self.skep.program("tmux", ["-u", "-S", &socket].iter().chain(args));
        command.env("LC_ALL", "C.UTF-8").env_remove("TMUX");
        command
    }

    fn screen(&self) -> String {
        finish(self.tmux(&["capture-pane", "-p"])).ok()
    }

    /// Waits for a screen on which all of this stands.
    #[track_caller]
    fn shows(&self, words: &[&str]) -> String {
        let mut last = String::new();
        Deadline::until(&format!("a screen with {words:?}"), || {
            last = self.screen();
            words.iter().all(|word| last.contains(word)).then(|| last.clone())
        })
    }

    fn press(&self, keys: &[&str]) {
        finish(self.tmux(&[&["send-keys"], keys].concat())).ok();
    }

    /// The program that the shell runs.
    fn program(&self) -> u32 {
        let shell = finish(self.tmux(&["display-message", "-p", "#{pane_pid}"])).ok();
        let shell: u32 = shell.trim().parse().expect("a pid");
        Deadline::until("the shell's program", || process::children(shell).first().copied())
    }

    /// Waits for the end; the terminal must be as it was.
    #[track_caller]
    fn ended(&self, code: u8) {
        let screen = self.shows(&[&format!("ended {code}"), "icanon"]);
        for word in ["-icanon", "-echo ", "-isig", "-opost", "[1 log]"] {
            assert!(!screen.contains(word), "{word} is left: {screen}");
        }
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]).output();
    }
}

/// The line of a worker.
fn line<'a>(screen: &'a str, worker: &str) -> &'a str {
    screen.lines().find(|line| line.contains(worker)).unwrap_or_default()
}

#[test]
fn workers_are_seen_restarted_and_scaled_by_keys_through_a_resize_and_a_new_daemon() {
    let (skep, port) = web();
    let terminal = Terminal::open(&skep, "skep monit");
    terminal.shows(&["web", "online", "listening", "[1 log]"]);
    http::get(port.address(), "/hello").expect("an answer");
    terminal.shows(&["served /hello"]);
    Deadline::until("the event loop's delay is known", || {
        line(&terminal.screen(), "> ").contains("ms").then_some(())
    });
    let before = skep.app("web").pids();
    terminal.press(&["r"]);
    terminal.shows(&["Restart web, 1 worker at once?"]);
    assert_eq!(skep.app("web").pids(), before, "not before it is confirmed");
    terminal.press(&["y"]);
    let after = skep.wait("web", "another worker", |app| app.is_settled(1) && app.pids() != before).pids();
    terminal.shows(&[&after[0].to_string()]);
    terminal.press(&["+"]);
    terminal.shows(&["Workers of web: 1 → 2"]);
    terminal.press(&["Enter"]);
    skep.settled("web", 2);
    terminal.shows(&["web:0", "web:1", "2 of 2 online"]);
    finish(terminal.tmux(&["resize-window", "-x", "60", "-y", "15"])).ok();
    Deadline::until("it fits into the smaller window", || {
        let screen = terminal.screen();
        let tabs = line(&screen, "[1 log]");
        (tabs.chars().count() == 60 && screen.contains("web:1")).then_some(())
    });
    finish(terminal.tmux(&["resize-window", "-x", "120", "-y", "30"])).ok();
    let workers = skep.app("web").pids();
    process::kill(skep.daemon().pid);
    let daemon = Deadline::until("the next daemon", || Some(skep.daemon().pid));
    terminal.shows(&[&format!("daemon {daemon} "), "2 of 2 online"]);
    assert_eq!(skep.app("web").pids(), workers);
    terminal.press(&["?"]);
    terminal.shows(&["quit; nothing stops"]);
    terminal.press(&["x", "q"]);
    terminal.ended(0);
}

#[test]
fn what_an_app_tells_of_itself_is_seen_and_its_actions_and_jobs_are_called() {
    let skep = Skep::new();
    let file = skep.root().join("skep.json");
    let apps = serde_json::json!({ "apps": [{
        "name": "io", "script": fixture("pm2-io.js"), "wait_ready": true,
        "schedules": { "tick": { "every": "24h", "command": "true" } },
    }]});
    std::fs::write(&file, apps.to_string()).expect("written");
    skep.ok(["start", &file.display().to_string()]);
    let terminal = Terminal::open(&skep, "skep monit");
    terminal.shows(&["io", "online"]);
    terminal.press(&["2"]);
    terminal.shows(&["Realtime Users  12 users", "event loop", "hello"]);
    Deadline::until("the action is chosen", || {
        let chosen = terminal.screen().contains("> hello");
        if !chosen {
            terminal.press(&["]"]);
        }
        chosen.then_some(())
    });
    terminal.press(&["Enter"]);
    terminal.shows(&["Call hello of io, worker 0?"]);
    terminal.press(&["y"]);
    terminal.shows(&["hello answered {\"hi\":\"io\"}"]);
    terminal.press(&["3"]);
    terminal.shows(&["io/tick", "waiting", "in "]);
    terminal.press(&["Enter"]);
    terminal.shows(&["Run io/tick now?"]);
    terminal.press(&["y"]);
    terminal.shows(&["succeeded"]);
    terminal.press(&["p"]);
    terminal.shows(&["Pause io/tick?"]);
    terminal.press(&["y"]);
    terminal.shows(&["io/tick is paused"]);
    terminal.press(&["C-c"]);
    terminal.ended(0);
}

#[test]
fn a_signal_ends_it_and_the_terminal_is_given_back() {
    let (skep, _port) = web();
    let terminal = Terminal::open(&skep, "skep monit");
    terminal.shows(&["web", "[1 log]"]);
    process::signal(terminal.program(), Signal::TERM).expect("it runs");
    terminal.ended(143);
}

#[test]
fn where_it_cannot_be_drawn_it_says_what_to_use_instead() {
    let skep = Skep::new();
    let outcome = skep.run(["monit"]);
    assert_eq!(outcome.code, Some(4), "skep is not running: {}", outcome.stderr);
    skep.boot();
    let outcome = skep.run(["monit"]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("terminal") && outcome.stderr.contains("skep list"),
        "{}",
        outcome.stderr
    );
    assert!(skep.err(["monit", "--json"]).contains("skep list --json"));
    skep.ok(["pm2-link", &skep.root().display().to_string()]);
    for command in ["monit", "dash", "monitor"] {
        let mut pm2 = skep.program(skep.root().join("pm2"), [command]);
        pm2.env("PM2_HOME", skep.home());
        let said = finish(pm2).err();
        assert!(said.contains("[PM2][ERROR]") && said.contains("skep "), "{command}: {said}");
    }
    let terminal = Terminal::open(&skep, "TERM=dumb skep monit");
    terminal.shows(&["ended 1", "TERM=dumb", "skep logs -f"]);
}
