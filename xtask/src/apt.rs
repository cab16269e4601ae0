//! Debian packages: installed by root when missing, asked for otherwise.

use std::process::Command;
use std::sync::{Mutex, Once};

use anyhow::{Result, bail};

use crate::{paths, sh};

/// Program and the package that brings it.
pub(crate) type Wanted = (&'static str, &'static str);

/// A C compiler for the static C server, which is also Rust's linker; the server that the Redis door is compared
/// with, with its own client; Prometheus's judge of metrics; a terminal for `skep monit`; PostgreSQL, which
/// hosts can share; systemd's judge of units.
pub(crate) const FOR_TESTS: [Wanted; 7] = [
    ("gcc", "gcc"),
    ("redis-server", "redis-server"),
    ("redis-cli", "redis-tools"),
    ("promtool", "prometheus"),
    ("tmux", "tmux"),
    ("postgres", "postgresql"),
    ("systemd-analyze", "systemd"),
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
    static UPDATED: Once = Once::new();
    UPDATED.call_once(|| {
        // A stale list is no failure by itself: the install below says what is wrong.
        if let Err(error) = sh::output(&mut apt_get(&["update"])) {
            eprintln!("tools: {error:#}");
        }
    });
    eprintln!("tools: apt-get install {list}");
    let mut command = apt_get(&["install", "--yes", "--no-install-recommends"]);
    sh::output(command.args(packages))?;
    Ok(())
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
