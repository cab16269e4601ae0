//! `skep startup`: its units are right to systemd's own judge, and the processes that they start keep to the protocol
//! of sd_notify(3), on a real socket.
//!
//! No systemd is booted here: one in a namespace would run the machine's own units (it empties /tmp, for one). How the
//! units behave under a real one is in `docs/startup.md`, seen by hand.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use skep_tests::{
    Deadline, LIMIT, Outcome, Port, Skep, Start, finish, fixture, http, is_free, process, tool,
};

/// A service manager's part: a process that it starts in the foreground, with its variables.
fn service(skep: &Skep, args: &[&str], notify: &Path) -> Child {
    let mut command = skep.command(args);
    command.env("NOTIFY_SOCKET", notify).env("WATCHDOG_USEC", "1000000");
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("skep runs")
}

fn notify_socket(skep: &Skep) -> (UnixDatagram, PathBuf) {
    let path = skep.root().join("notify");
    let socket = UnixDatagram::bind(&path).expect("the folder is ours");
    socket.set_read_timeout(Some(LIMIT)).expect("a limit can be set");
    (socket, path)
}

/// As `systemctl stop` and `systemctl restart` are seen by `ExecStop`: through the jobs that `systemctl` lists.
fn systemctl_lists(skep: &Skep, jobs: &str) {
    let bin = skep.root().join("bin");
    fs::create_dir_all(&bin).expect("the folder is ours");
    let file = bin.join("systemctl");
    fs::write(&file, format!("#!/bin/sh\necho '{jobs}'\n")).expect("the folder is ours");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("it is ours");
}

fn unit_stop(skep: &Skep) -> Outcome {
    let mut command = skep.command(["daemon", "unit-stop", "skep.service"]);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", skep.root().join("bin").display()));
    finish(command)
}

#[test]
fn with_keep_workers_a_restart_of_the_unit_touches_no_worker_and_a_stop_ends_them() {
    const GUARD: &[&str] = &["daemon", "run", "--keep-workers"];
    let (skep, port) = (Skep::new(), Port::free());
    let (socket, path) = notify_socket(&skep);
    skep.start(&Start::fixture("web", "http.cjs").port(port.number()).instances(2));
    skep.ok(["kill"]);
    let mut guard = service(&skep, GUARD, &path);
    assert!(next(&socket).starts_with("READY=1"));
    let before = skep.settled("web", 2).pids();
    assert_ne!(skep.daemon().keeper_pid, guard.id());

    systemctl_lists(&skep, "118 skep.service restart running");
    unit_stop(&skep).ok();
    process::signal(guard.id(), Signal::TERM).expect("it lives");
    assert!(guard.wait().expect("it ends").success());
    assert!(next(&socket).starts_with("STOPPING=1"));
    guard = service(&skep, GUARD, &path);
    assert!(next(&socket).starts_with("READY=1"));
    assert_eq!(skep.settled("web", 2).pids(), before, "nobody noticed");

    // Killed, it is started again by its manager; the keeper is another process.
    guard.kill().expect("it is ours");
    guard.wait().expect("it ends");
    guard = service(&skep, GUARD, &path);
    assert!(next(&socket).starts_with("READY=1"));
    assert_eq!(skep.settled("web", 2).pids(), before, "the guard is nobody");

    systemctl_lists(&skep, "119 skep.service stop running");
    unit_stop(&skep).ok();
    assert!(guard.wait().expect("it ends with what it guards").success());
    assert!(is_free(port.number()));
}

/// The next message that is not a sign of life.
fn next(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 500];
    loop {
        let count = socket.recv(&mut buffer).expect("a message in time");
        let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
        if text != "WATCHDOG=1" {
            return text;
        }
    }
}

#[test]
fn as_a_service_the_keeper_tells_of_readiness_life_an_upgrade_and_the_end_and_nobody_else_can() {
    let (skep, port) = (Skep::new(), Port::free());
    let (socket, path) = notify_socket(&skep);
    let mut keeper = service(&skep, &["daemon", "run"], &path);
    assert!(next(&socket).starts_with("READY=1\nSTATUS=keeper of "));
    assert_eq!(skep.daemon().keeper_pid, keeper.id(), "the process that was started is the keeper");
    let mut buffer = [0; 100];
    let count = socket.recv(&mut buffer).expect("a sign of life");
    assert_eq!(&buffer[..count], b"WATCHDOG=1");

    skep.start(&Start::fixture("web", "http.cjs").port(port.number()));
    let worker = skep.app("web").pids()[0];
    for pid in [skep.daemon().pid, worker] {
        let environment = fs::read(format!("/proc/{pid}/environ")).expect("it lives");
        assert!(!String::from_utf8_lossy(&environment).contains("NOTIFY_SOCKET"), "{pid}");
    }
    skep.ok(["upgrade"]);
    assert!(next(&socket).starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert!(next(&socket).starts_with("READY=1"));
    assert_eq!(skep.app("web").pids(), [worker]);

    process::signal(keeper.id(), Signal::TERM).expect("it lives");
    assert!(next(&socket).starts_with("STOPPING=1"));
    assert!(keeper.wait().expect("it ends").success());
    assert!(is_free(port.number()));
}

#[test]
fn a_second_service_of_the_same_home_is_told_why_it_cannot_be() {
    let skep = Skep::new();
    skep.boot();
    let said = skep.err(["daemon", "run"]);
    assert!(said.contains("runs in") && said.contains("skep kill"), "{said}");
}

fn verify(unit: &Path, more: &[&str]) {
    let mut command = Command::new("systemd-analyze");
    // Where a user's manager keeps its sockets; nothing is asked of one.
    command.env("XDG_RUNTIME_DIR", unit.parent().expect("a folder")).args(more);
    let output = command
        .args(["verify", "--man=no"])
        .arg(unit)
        .output()
        .expect("systemd-analyze is there: `cargo xtask tools` installs it");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // About our unit; what else is wrong with this machine's own is not our matter.
    let name = unit.file_name().expect("a file").to_string_lossy().into_owned();
    let ours: Vec<&str> = said.lines().filter(|line| line.contains(&name)).collect();
    assert!(ours.is_empty(), "{said}");
}

#[test]
fn every_unit_is_right_to_systemds_own_judge() {
    let skep = Skep::new();
    let odd = skep.root().join("a home with 100% $odd \"signs\"");
    for (number, flags) in ["--wait-ip", "--keep-workers", "-uroot"].into_iter().enumerate() {
        let root = skep.root().join(format!("image{number}"));
        let name = format!("--service-name=skep-{number}");
        let mut command = skep.command(["startup", "systemd", "--print", &name, flags, "--root"]);
        command.arg(&root).arg("--home").arg(&odd);
        let shown = finish(command).ok();
        let unit = skep.root().join(format!("skep-{number}.service"));
        fs::write(&unit, without_plan(&shown)).expect("the folder is ours");
        verify(&unit, &[]);
    }
    let mut command = skep.command(["startup", "systemd", "--user", "--print"]);
    command.arg("--home").arg(&odd);
    let shown = finish(command).ok();
    let unit = skep.root().join("skep-of-a-user.service");
    fs::write(&unit, without_plan(&shown)).expect("the folder is ours");
    verify(&unit, &["--user"]);
}

/// The text of a unit, of what `--print` shows.
fn without_plan(shown: &str) -> String {
    shown.lines().filter(|line| !line.starts_with("# ")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn openrc_gets_a_script_without_fault_and_launchd_a_plan_for_a_mac() {
    let skep = Skep::new();
    let root = skep.root().join("image");
    let root_flag = format!("--root={}", root.display());
    skep.ok(["startup", "openrc", &root_flag, "--service-name", "skep"]);
    let script = root.join("etc/init.d/skep");
    assert_eq!(fs::metadata(&script).expect("it was written").permissions().mode() & 0o777, 0o755);
    let mut judge = Command::new("shellcheck");
    // Variables are for openrc-run, which reads the script.
    judge.args(["--shell=sh", "--severity=style", "--exclude=SC2034"]).arg(&script);
    let said = judge.output().expect("shellcheck is there: `cargo xtask tools` installs it");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
    skep.ok(["unstartup", "openrc", &root_flag, "--service-name", "skep"]);
    assert!(!script.exists());

    let said = skep.err(["startup", "launchd"]);
    assert!(said.contains("<plist") && said.contains("no launchd on Linux"), "{said}");
}

#[test]
fn a_real_openrc_starts_reloads_and_stops_it() {
    let (skep, port) = (Skep::new(), Port::free());
    skep.start(&Start::fixture("web", "http.cjs").port(port.number()));
    skep.ok(["kill"]);
    // The script is for the account that runs the tests, which no `su` is needed for.
    let image = format!("--root={}", skep.root().join("image").display());
    skep.ok(["startup", "openrc", &image, "--service-name", "skep-test"]);
    let script = skep.root().join("image/etc/init.d/skep-test");
    let mut command = Command::new("unshare");
    let root = rustix::process::geteuid().is_root();
    let user: &[&str] = if root { &[] } else { &["--user", "--map-root-user"] };
    command.args(user).args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh"]);
    command.arg(fixture("openrc.sh")).arg(tool("openrc/root")).arg(skep.root()).arg(&script);
    let mut rc = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("unshare (util-linux) is installed");
    let mut steps = rc.stdin.take().expect("a pipe");
    let mut told = BufReader::new(rc.stdout.take().expect("a pipe"));
    // What a step says, until how it ended.
    let mut step = |name: &str| {
        writeln!(steps, "{name}").expect("it reads");
        let mut said = String::new();
        while told.read_line(&mut said).expect("text") > 0
            && !said.lines().last().is_some_and(|line| line.starts_with(&format!("{name}: ")))
        {}
        said
    };
    let described = step("describe");
    assert!(
        described.contains("skep: the services of") && described.contains("Reload all apps"),
        "{described}"
    );
    let begun = [step("start"), step("status")].concat();
    Deadline::until("the app serves", || http::get(port.address(), "/").ok());
    let life = begun + &["reload", "stop", "status"].map(step).concat();
    drop(steps);
    assert!(rc.wait().expect("it ends").success(), "{life}");
    let lines = ["start: 0", "status: 0", "stop: 0", "status: 3"];
    let mut rest = life.as_str();
    for line in lines {
        rest = rest.split_once(line).unwrap_or_else(|| panic!("no {line} in\n{life}")).1;
    }
    if root {
        assert!(life.contains("reload: 0"), "{life}");
    }
    assert!(is_free(port.number()));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let skep = Skep::new();
    for (args, part) in [
        (vec!["startup", "runit"], "systemd, openrc and launchd"),
        (vec!["startup", "systemd", "--print", "-u", "no-such-account"], "no account \"no-such-account\""),
        (vec!["startup", "systemd", "--print", "--service-name", "a/b"], "is no name of a service"),
        (vec!["startup", "openrc", "--print", "--user"], "no services of users"),
        (vec!["startup", "openrc", "--print", "--keep-workers"], "--keep-workers"),
    ] {
        let said = skep.err(&args);
        assert!(said.contains(part), "{args:?}: {said}");
    }
}

/// The name `pm2`, as an account that may not change the machine's services.
#[test]
fn under_the_name_pm2_who_is_not_root_gets_the_line_for_sudo() {
    let skep = Skep::new();
    skep.ok(["pm2-link", skep.root().to_str().expect("text")]);
    let open = |path: &PathBuf| fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("ours");
    open(&skep.root().to_owned());
    let (pm2, args) = (skep.root().join("pm2"), ["startup", "systemd", "-u", "root", "--hp", "/root"]);
    let mut command = if rustix::process::geteuid().is_root() {
        skep.program("setpriv", ["--reuid=65534", "--regid=65534", "--clear-groups"])
    } else {
        skep.program("env", [] as [&str; 0])
    };
    command.arg(pm2).args(args);
    let outcome = finish(command);
    assert_eq!(outcome.code, Some(1), "{}{}", outcome.stdout, outcome.stderr);
    assert!(outcome.stdout.contains("[PM2] Init System found: systemd"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("copy/paste the following command:"), "{}", outcome.stdout);
    let line = outcome.stdout.lines().find(|line| line.starts_with("sudo ")).expect("a line for sudo");
    assert!(line.contains(" startup systemd -u root"), "{line}");
}
