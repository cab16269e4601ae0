//! Two hundred Node.js apps started by one command: seconds until all of them run, and the supervisor's peak memory.

use std::path::Path;

use anyhow::{Context, Result};
use skep_sys::clock::boottime_ns;
use skep_tests::{Deadline, Skep, root};

use crate::Effort;
use crate::peers::Pm2;
use crate::report::{Report, Series};
use crate::results::shown;
use crate::subject::usual;

const APPS: usize = 200;

pub(crate) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let mut figures: [[Series; 2]; 2] = Default::default();
    for _ in 0..effort.runs {
        let folder = tempfile::tempdir()?;
        let (file, roll) = (folder.path().join("crowd.json"), folder.path().join("roll"));
        let ours = Skep::with_node(&usual());
        ours.boot();
        write_apps(&file, &roll)?;
        let begin = boottime_ns();
        ours.ok(["start".as_ref(), file.as_os_str(), "--no-wait".as_ref()]);
        figures[0][0].push(until_all_run(&roll, begin));
        figures[0][1].push(peak_mb(ours.daemon().pid)? + peak_mb(ours.daemon().keeper_pid)?);
        drop(ours);

        std::fs::remove_file(&roll)?;
        let pm2 = Pm2::new()?;
        pm2.ok(&["list"])?;
        let begin = boottime_ns();
        pm2.ok(&["start", &file.display().to_string()])?;
        figures[1][0].push(until_all_run(&roll, begin));
        figures[1][1].push(peak_mb(pm2.daemon().context("PM2's daemon runs")?)?);
    }
    for (name, [seconds, peak]) in ["skep", "pm2"].iter().zip(&figures) {
        report.series(&format!("{name}: until {APPS} apps run"), "s", seconds);
        report.series(&format!("{name}: peak memory of the supervisor"), "MB", peak);
    }
    let [ours, theirs] = &figures;
    for (at, key, unit) in [(0, "crowd.seconds", "s"), (1, "crowd.peak", "MB")] {
        let note =
            format!("{} {unit} beside {} {unit}", shown(ours[at].median()), shown(theirs[at].median()));
        report.promise(key, report.ratio(&ours[at], &theirs[at]), note);
    }
    Ok(())
}

fn write_apps(file: &Path, roll: &Path) -> Result<()> {
    let script = root().join("bench/apps/roll.js");
    let app = |n: usize| serde_json::json!({ "name": format!("app-{n}"), "script": script, "env": { "ROLL": roll } });
    let apps: Vec<_> = (0..APPS).map(app).collect();
    std::fs::write(file, serde_json::to_vec(&serde_json::json!({ "apps": apps }))?)?;
    Ok(())
}

/// Seconds until each app has put its mark into the roll.
fn until_all_run(roll: &Path, begin: u64) -> f64 {
    Deadline::until("all apps run", || {
        (std::fs::metadata(roll).is_ok_and(|roll| roll.len() >= APPS as u64)).then_some(())
    });
    (boottime_ns() - begin) as f64 / 1e9
}

/// The most that a process ever had in memory (`VmHWM`, proc_pid_status(5)).
fn peak_mb(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kb = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    Ok(kb.context("the kernel tells the peak")? / 1024.0)
}
