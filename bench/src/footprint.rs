//! Memory (PSS) and wake-ups of keeper and daemon, with no app and with up to 200 workers.

use std::time::Duration;

use anyhow::{Context, Result};
use skep_tests::Skep;

use crate::Effort;
use crate::peers::Pm2;
use crate::report::{Report, Series};
use crate::subject::{cpu_seconds, usual};

/// Workers, beside none.
const SIZES: [usize; 3] = [1, 50, 200];
/// After it a daemon that has nothing to do rests.
const REST: Duration = Duration::from_secs(5);
/// How long a quiet fleet is watched; a minute by default.
const QUIET: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(60)];

pub(crate) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let quiet_time = QUIET[usize::from(effort.runs >= 5)];
    let (skep, pm2) = (Skep::with_node(&usual()), Pm2::new()?);
    skep.boot();
    let daemon = skep.daemon();
    let ours = [daemon.pid, daemon.keeper_pid];
    let busy_mb = pss_mb(&ours)?;
    pm2.ok(&["list"])?;
    let theirs = [pm2.daemon().context("PM2's daemon runs")?];

    let empty_mb = pss_at_rest_mb(&ours)?;
    let their_mb = pss_mb(&theirs)?;
    let [(wakes, cpu_ms), (their_wakes, their_cpu_ms)] = quiet([&ours, &theirs], quiet_time)?;
    let mut one = |what: &str, unit: &str, value: f64| {
        report.series(what, unit, &Series::one(value));
    };
    one("skep, keeper and daemon, no app, right after a command", "MB", busy_mb);
    one("skep, keeper and daemon, no app, at rest", "MB", empty_mb);
    one("skep, wake-ups at rest", "1/s", wakes);
    one("skep, CPU at rest", "ms/s", cpu_ms);
    one("pm2, daemon, no app, at rest", "MB", their_mb);
    one("pm2, wake-ups at rest", "1/s", their_wakes);
    one("pm2, CPU at rest", "ms/s", their_cpu_ms);

    let mut full_mb = empty_mb;
    for count in SIZES {
        skep.ok(sleepers(count, &["--runtime", "self"]));
        let args = sleepers(count, &["--interpreter", "none"]);
        pm2.ok(&args.iter().map(String::as_str).collect::<Vec<_>>())?;
        full_mb = pss_at_rest_mb(&ours)?;
        one(&format!("skep, keeper and daemon, {count} workers, at rest"), "MB", full_mb);
        one(&format!("pm2, daemon, {count} workers, at rest"), "MB", pss_mb(&theirs)?);
        skep.ok(["delete", "many"]);
        pm2.ok(&["delete", "many"])?;
    }

    let each_kb = (full_mb - empty_mb) * 1024.0 / SIZES[2] as f64;
    report.promise(
        "footprint.empty",
        empty_mb,
        format!("{busy_mb:.1} right after a command; PM2 {their_mb:.0}"),
    );
    report.promise("footprint.worker", each_kb, "");
    report.promise("footprint.wakes", wakes, format!("PM2 {their_wakes:.1}"));
    Ok(())
}

/// `start` of an app that does nothing, so many times.
fn sleepers(count: usize, flags: &[&str]) -> Vec<String> {
    let count = count.to_string();
    let args = ["start", "/bin/sleep", "--name", "many", "-i", &count];
    args.iter().chain(flags).chain(&["--", "100000"]).map(|arg| (*arg).to_owned()).collect()
}

/// Some seconds after the last work: nothing of it is still on its way.
fn pss_at_rest_mb(pids: &[u32]) -> Result<f64> {
    std::thread::park_timeout(REST);
    pss_mb(pids)
}

fn pss_mb(pids: &[u32]) -> Result<f64> {
    let mut bytes = 0;
    for pid in pids {
        bytes += skep_sys::proc::pss_bytes(*pid as i32)?;
    }
    Ok(bytes as f64 / (1024.0 * 1024.0))
}

/// Of each group in the same time: times a second that its processes were put on a processor, and milliseconds a second
/// that they spent there.
fn quiet<const N: usize>(groups: [&[u32]; N], time: Duration) -> Result<[(f64, f64); N]> {
    let look = || -> Result<Vec<(u64, f64)>> {
        let cpu = |pids: &[u32]| pids.iter().map(|pid| cpu_seconds(*pid)).sum();
        groups.iter().map(|pids| Ok((all_switches(pids)?, cpu(pids)))).collect()
    };
    let before = look()?;
    std::thread::park_timeout(time);
    let (after, seconds) = (look()?, time.as_secs_f64());
    Ok(std::array::from_fn(|at| {
        let switches = after[at].0 as f64 - before[at].0 as f64;
        (switches / seconds, (after[at].1 - before[at].1) * 1000.0 / seconds)
    }))
}

fn all_switches(pids: &[u32]) -> Result<u64> {
    pids.iter().map(|pid| switches(*pid)).sum()
}

/// Voluntary context switches of all threads: how often it went to sleep, hence was woken.
fn switches(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = std::fs::read_to_string(task?.path().join("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        sum +=
            line.and_then(|count| count.trim().parse::<u64>().ok()).context("the kernel counts switches")?;
    }
    Ok(sum)
}
