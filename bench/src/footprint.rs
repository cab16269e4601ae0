//! Memory (PSS) and wake-ups of keeper and daemon, with no app and with 200 workers.

use std::time::Duration;

use anyhow::{Context, Result};
use skep_tests::Skep;

use crate::Effort;
use crate::report::{Limit, Report, Series};
use crate::subject::{Pm2, cpu_seconds, usual};

const WORKERS: usize = 200;
/// How long a quiet fleet is watched.
const QUIET: Duration = Duration::from_secs(10);

pub(crate) fn run(_: Effort, report: &mut Report) -> Result<()> {
    let skep = Skep::with_node(&usual());
    skep.boot();
    let daemon = skep.daemon();
    let pids = [daemon.pid, daemon.keeper_pid];
    let empty_mb = pss_mb(&pids)?;
    report.series("skep, keeper and daemon, no app", "MB", &Series { values: vec![empty_mb] });
    report.promise("MB of PSS of keeper and daemon with no app", empty_mb, Limit::AtMost(6.0));
    let (wakes, cpu_ms) = quiet(&pids)?;
    report.series("skep, wake-ups at rest", "1/s", &Series { values: vec![wakes] });
    report.series("skep, CPU at rest", "ms/s", &Series { values: vec![cpu_ms] });
    report.promise("wake-ups a second at rest", wakes, Limit::AtMost(1.0));

    let count = WORKERS.to_string();
    skep.ok(["start", "/bin/sleep", "--name", "many", "-i", &count, "--runtime", "self", "--", "100000"]);
    let daemon = skep.daemon();
    let full_mb = pss_mb(&[daemon.pid, daemon.keeper_pid])?;
    let each_kb = (full_mb - empty_mb) * 1024.0 / WORKERS as f64;
    report.series("skep, keeper and daemon, 200 workers", "MB", &Series { values: vec![full_mb] });
    report.promise("KB of PSS more for each worker", each_kb, Limit::AtMost(30.0));

    let pm2 = Pm2::new()?;
    pm2.command(&["list"]).status()?;
    let daemon = pm2.daemon().context("PM2's daemon runs")?;
    report.series("pm2, daemon, no app", "MB", &Series { values: vec![pss_mb(&[daemon])?] });
    let (wakes, cpu_ms) = quiet(&[daemon])?;
    report.series("pm2, wake-ups at rest", "1/s", &Series { values: vec![wakes] });
    report.series("pm2, CPU at rest", "ms/s", &Series { values: vec![cpu_ms] });
    Ok(())
}

fn pss_mb(pids: &[u32]) -> Result<f64> {
    let mut bytes = 0;
    for pid in pids {
        bytes += skep_sys::proc::pss_bytes(*pid as i32)?;
    }
    Ok(bytes as f64 / (1024.0 * 1024.0))
}

/// Times a second that the processes were put on a processor, and milliseconds they spent there.
fn quiet(pids: &[u32]) -> Result<(f64, f64)> {
    let cpu = || pids.iter().map(|pid| cpu_seconds(*pid)).sum::<f64>();
    let (switches, busy) = (all_switches(pids)?, cpu());
    std::thread::park_timeout(QUIET);
    let seconds = QUIET.as_secs_f64();
    Ok(((all_switches(pids)? - switches) as f64 / seconds, (cpu() - busy) * 1000.0 / seconds))
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
