//! Debian packages: installed by root when missing, asked for otherwise.

use std::process::Command;
use std::sync::{Mutex, Once};

use anyhow::{Result, bail};

use crate::{paths, sh};

/// Program and the package that brings it.
pub(crate) type Wanted = (&'static str, &'static str);

/// A C compiler for the static C server, which is also Rust's linker; the server that the Redis door is compared
/// with, with its own client; Prometheus's judge of metrics; a terminal for `skep monit`; PostgreSQL, which
/// hosts can share; systemd's judge of units; the judge of shell scripts.
pub(crate) const FOR_TESTS: [Wanted; 8] = [
    ("gcc", "gcc"),
    ("redis-server", "redis-server"),
    ("redis-cli", "redis-tools"),
    ("promtool", "prometheus"),
    ("tmux", "tmux"),
    ("postgres", "postgresql"),
    ("systemd-analyze", "systemd"),
    ("shellcheck", "shellcheck"),
];
/// The load generators of the benchmarks, and the server that the Redis door is measured beside.
pub(crate) const FOR_BENCH: [Wanted; 3] =
    [("wrk", "wrk"), ("redis-server", "redis-server"), ("redis-benchmark", "redis-tools")];

/// Installs the packages of the programs that are not in `PATH`.
pub(crate) fn ensure(wanted: &[Wanted]) -> Result<()> {
    let missing: Vec<&str> = wanted
        .iter()
        .filter(|(program, _)| paths::which(program).is_none() && !is_of_postgresql(program))
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() { Ok(()) } else { install(&missing) }
}

/// Debian keeps PostgreSQL's programs out of `PATH`.
fn is_of_postgresql(program: &str) -> bool {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    versions.into_iter().any(|version| version.path().join("bin").join(program).exists())
}

/// OpenRC's programs and libraries as Debian packs them.
const OPENRC: [&str; 3] = ["openrc", "librc1", "libeinfo1"];

/// Unpacks OpenRC under the tools: `openrc/root`. It is not installed: an init system is no business of this machine's, and
/// one that lies in a folder can be run in a namespace.
pub(crate) fn openrc() -> Result<()> {
    let home = paths::tools().join("openrc");
    let root = home.join("root");
    if root.join("sbin/openrc-run").exists() {
        return Ok(());
    }
    std::fs::create_dir_all(&home)?;
    if is_root() {
        update();
    }
    sh::output(apt_get(&["download"]).args(OPENRC).current_dir(&home))?;
    // The one that is looked for above comes last: what was interrupted is done again.
    for package in OPENRC.iter().rev() {
        let file = std::fs::read_dir(&home)?.flatten().map(|entry| entry.path()).find(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&format!("{package}_")))
        });
        let Some(file) = file else { bail!("apt-get has downloaded no {package}") };
        sh::output(Command::new("dpkg").arg("--extract").arg(file).arg(&root))?;
    }
    Ok(())
}

/// `apt-get install`, after one `apt-get update` a run, one at a time.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().expect("no installer panics");
    let list = packages.join(" ");
    if paths::which("apt-get").is_none() {
        bail!("missing: {list}. This machine has no apt-get; install their like by hand");
    }
    if !is_root() {
        bail!("missing: {list}. Run `sudo apt-get install {list}` and try again");
    }
    update();
    eprintln!("tools: apt-get install {list}");
    let mut command = apt_get(&["install", "--yes", "--no-install-recommends"]);
    sh::output(command.args(packages))?;
    Ok(())
}

/// Once a run. A stale list is no failure by itself: what comes after says what is wrong.
fn update() {
    static UPDATED: Once = Once::new();
    UPDATED.call_once(|| {
        if let Err(error) = sh::output(&mut apt_get(&["update"])) {
            eprintln!("tools: {error:#}");
        }
    });
}

fn apt_get(args: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    // Another apt-get on this machine is waited for, not failed on.
    command
        .args(["--quiet", "-o", "DPkg::Lock::Timeout=300"])
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn is_root() -> bool {
    sh::output(Command::new("id").arg("-u")).is_ok_and(|uid| uid.trim() == "0")
}
