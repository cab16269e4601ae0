//! The home: two commands at once, a folder that cannot be written, a stale socket, a corrupt state.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use skep_tests::{Port, Skep, Start, fixture, http, process};

fn sleeper(name: &str) -> Start {
    Start::program(name, "/bin/sleep").args(["1000"]).flags(["--listen-timeout", "100"])
}

#[test]
fn the_first_command_starts_one_daemon_with_a_private_home() {
    let skep = Skep::new();
    skep.boot();
    let daemon = skep.daemon();
    assert!(process::is_alive(daemon.pid) && process::is_alive(daemon.keeper_pid));
    assert_eq!(process::parent(daemon.pid), Some(daemon.keeper_pid));
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&skep.home()), 0o700);
    assert_eq!(mode(&skep.socket()), 0o600);
    assert!(fs::metadata(skep.socket()).expect("it is there").file_type().is_socket());
}

#[test]
fn the_daemon_has_a_session_of_its_own_and_no_descriptor_of_the_command() {
    let skep = Skep::new();
    let (reader, writer) = std::io::pipe().expect("a pipe can be had");
    let mut command = skep.command(["resurrect"]);
    let status = command.stdout(writer.try_clone().expect("it can be doubled")).stderr(writer).status();
    assert!(status.expect("skep runs").success());
    drop(command);
    // Ends only when nobody holds the other end any more: `skep list | cat` must return.
    std::io::read_to_string(reader).expect("it is text");
    let keeper = skep.daemon().keeper_pid;
    let stat = fs::read_to_string(format!("/proc/{keeper}/stat")).expect("the keeper lives");
    let session =
        stat.rsplit_once(") ").expect("a stat line").1.split(' ').nth(3).expect("a session").to_owned();
    assert_eq!(session, keeper.to_string());
}

#[test]
fn many_commands_at_the_same_instant_share_one_daemon() {
    const COMMANDS: usize = 12;
    let skep = Skep::new();
    let commands: Vec<_> = (0..COMMANDS)
        .map(|number| {
            let mut command = skep.starting(&sleeper(&format!("app-{number}")));
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("skep runs")
        })
        .collect();
    for command in commands {
        let output = command.wait_with_output().expect("skep ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(skep.apps().len(), COMMANDS);
    let all = skep.processes();
    let keepers = all.iter().filter(|pid| process::command_line(**pid).contains("__keeper")).count();
    assert_eq!(keepers, 1, "{:?}", all.iter().map(|pid| process::command_line(*pid)).collect::<Vec<_>>());
}

#[test]
fn a_home_that_cannot_be_made_is_a_clear_error() {
    let skep = Skep::new();
    fs::write(skep.home(), "a file where the home should be").expect("the folder is writable");
    let said = skep.start_fails(&sleeper("app"));
    assert!(said.contains(&*skep.home().to_string_lossy()), "it names the path: {said}");
    let output = skep
        .command(["start", "/bin/sleep"])
        .env("SKEP_HOME", "/proc/no-such-home")
        .output()
        .expect("skep runs");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("/proc/no-such-home"));
}

#[test]
fn nobody_else_is_let_in_even_if_the_files_modes_would() {
    let python = Path::new("/usr/bin/python3");
    if !rustix::process::getuid().is_root() || !python.exists() {
        eprintln!("skipped: only root can act as somebody else, by Debian's Python");
        return;
    }
    let skep = Skep::new();
    skep.boot();
    for (path, mode) in [(skep.root().to_owned(), 0o755), (skep.home(), 0o755), (skep.socket(), 0o666)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    }
    let ask = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); \
               s.sendall(b'GET /v1/daemon HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n'); \
               print(s.recv(65536).decode())";
    let as_user = |user: u32| {
        let mut command = Command::new(python);
        let output =
            command.args(["-c", ask]).arg(skep.socket()).uid(user).gid(user).current_dir("/").output();
        String::from_utf8_lossy(&output.expect("Python runs").stdout).into_owned()
    };
    assert!(as_user(0).contains("keeper_pid"), "{}", as_user(0));
    assert!(!as_user(65_534).contains("keeper_pid"), "peer credentials are checked");
}

#[test]
fn a_stale_socket_is_replaced() {
    let skep = Skep::new();
    fs::create_dir(skep.home()).expect("the folder is new");
    drop(UnixListener::bind(skep.socket()).expect("the path is free"));
    skep.ok(["list"]);
    skep.boot();
    assert!(process::is_alive(skep.daemon().pid));
}

#[test]
fn a_home_deeper_than_a_socket_path_may_be_long_works() {
    let skep = Skep::new();
    let deep = skep.root().join("d".repeat(120)).join("e".repeat(120));
    fs::create_dir_all(&deep).expect("the folder is writable");
    for args in
        [&["resurrect"][..], &["start", "/bin/sleep", "--listen-timeout", "100", "--", "1000"], &["kill"]]
    {
        let output = skep.command(args).env("SKEP_HOME", &deep).output().expect("skep runs");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn what_was_asked_for_is_durable_at_once_and_comes_back() {
    let (skep, port) = (Skep::new(), Port::free());
    skep.start(&Start::fixture("web", "http.cjs").port(port.number()).instances(2));
    skep.start(&sleeper("other"));
    skep.ok(["stop", "other"]);
    // As a loss of power: everything dies at once.
    for pid in skep.processes() {
        drop(process::signal(pid, rustix::process::Signal::KILL));
    }
    skep.processes().into_iter().for_each(process::wait_gone);
    skep.ok(["resurrect"]);
    let web = skep.settled("web", 2);
    assert_eq!(skep.app("other").status, "stopped", "what was stopped stays stopped");
    let answer = http::get(port.address(), "/").expect("it serves again").json();
    assert!(
        web.pids().contains(&u32::try_from(answer["pid"].as_u64().expect("a pid")).expect("a pid is small"))
    );
}

#[test]
fn a_corrupt_state_is_kept_aside_and_told() {
    let skep = Skep::new();
    skep.start(&sleeper("app"));
    skep.ok(["kill"]);
    let spoilt: Vec<_> = state_files(&skep);
    assert!(!spoilt.is_empty(), "the desired state is a file in the home");
    for file in &spoilt {
        fs::write(file, b"{ this is not what skep wrote").expect("it is writable");
    }
    let outcome = skep.run(["resurrect"]);
    let said = outcome.stdout.clone() + &outcome.stderr;
    if outcome.code == Some(0) {
        // It went on with an empty fleet: then the spoilt file is still there, under another name.
        let text = "this is not what skep wrote";
        let files = fs::read_dir(skep.home()).expect("the home is there");
        let kept = files
            .filter_map(|file| fs::read_to_string(file.ok()?.path()).ok())
            .any(|held| held.contains(text));
        assert!(kept, "nothing is thrown away: {said}");
    } else {
        assert!(said.contains(&*skep.home().to_string_lossy()), "it names the file: {said}");
    }
}

/// Files in the home, sockets, locks and logs left out.
fn state_files(skep: &Skep) -> Vec<PathBuf> {
    let files = fs::read_dir(skep.home())
        .expect("the home is there")
        .map(|file| file.expect("it can be read").path());
    files
        .filter(|file| fs::read(file).is_ok_and(|held| String::from_utf8_lossy(&held).contains("/bin/sleep")))
        .collect()
}

#[test]
fn kill_ends_everything_and_the_next_command_begins_anew() {
    let (skep, port) = (Skep::new(), Port::free());
    skep.start(&Start::fixture("web", "http.cjs").port(port.number()).instances(2));
    let daemon = skep.daemon();
    skep.ok(["kill"]);
    process::wait_gone(daemon.keeper_pid);
    assert_eq!(skep.processes(), Vec::<u32>::new());
    assert!(skep_tests::is_free(port.number()));
    let said = skep.run(["daemon", "status"]);
    assert!(!(said.stdout + &said.stderr).contains("panicked"));
    assert!(fixture("http.cjs").exists());
}
