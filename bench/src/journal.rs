//! systemd's journal beside the others that carry lines, where one runs: `systemd-cat` gives a program's output to journald.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use skep_sys::clock::boottime_ns;
use skep_tests::root;

use crate::subject::{cpu_seconds, usual};

/// Where journald takes streams (systemd-journald.service(8)).
const SOCKET: &str = "/run/systemd/journal/stdout";
/// Its name in the process table, which keeps 15 bytes.
const NAME: &str = "systemd-journal";

/// What came of one run.
#[derive(Debug)]
pub(crate) struct Carried {
    pub(crate) seconds: f64,
    /// Of journald.
    pub(crate) cpu: f64,
    pub(crate) lost: f64,
}

/// The process of the journal, or why there is none to measure.
pub(crate) fn journald() -> Result<u32> {
    ensure!(Path::new(SOCKET).exists(), "{SOCKET} is missing, so no journald runs here");
    ensure!(
        Command::new("systemd-cat").arg("--version").stdout(Stdio::null()).status().is_ok(),
        "there is no systemd-cat"
    );
    let is_it = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == NAME)
    };
    let all = std::fs::read_dir("/proc")?.filter_map(|item| item.ok()?.file_name().to_str()?.parse().ok());
    all.into_iter().find(is_it).context("no process is systemd-journald")
}

/// So many lines of so many bytes, until all that will come is in the journal's file.
pub(crate) fn carry(journald: u32, count: u64, length: u64) -> Result<Carried> {
    let name = format!("skep-bench-{}-{}", std::process::id(), boottime_ns());
    let (before, begin) = (cpu_seconds(journald), boottime_ns());
    let status = Command::new("systemd-cat")
        .args(["-t", &name])
        .arg(usual().bin.join("node"))
        .arg(root().join("bench/apps/lines.js"))
        .envs([("COUNT", count.to_string()), ("LENGTH", length.to_string()), ("END", "1".to_owned())])
        .status()?;
    ensure!(status.success(), "systemd-cat failed: {status}");
    // Returns when all that was written before it is in the file (journalctl(1)).
    let status = Command::new("journalctl").arg("--sync").status()?;
    ensure!(status.success(), "journalctl --sync failed: {status}");
    let seconds = (boottime_ns() - begin) as f64 / 1e9;
    let cpu = cpu_seconds(journald) - before;
    let output =
        Command::new("journalctl").args(["-t", &name, "-o", "cat", "--no-pager", "--all"]).output()?;
    // A line that is too long for one entry comes in several.
    let bytes = output.stdout.iter().filter(|byte| **byte != b'\n').count() as u64;
    Ok(Carried { seconds, cpu, lost: (count * (length - 1)).saturating_sub(bytes) as f64 })
}
