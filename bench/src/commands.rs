//! Wall time of commands, as a user waits for them. PM2's `start` answers before the app listens, so it is compared with
//! `skep start --no-wait`, which does the same.

use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use skep_sys::clock::boottime_ns;
use skep_tests::{Skep, root};

use crate::Effort;
use crate::report::{Limit, Report, Series};
use crate::subject::{Pm2, usual};

#[derive(Debug, Default)]
struct Figures {
    cold: Series,
    list: Series,
    start: Series,
}

pub(crate) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let (mut ours, mut theirs) = (Figures::default(), Figures::default());
    let app = root().join("bench/apps/hello.js").display().to_string();
    for _ in 0..effort.runs {
        let skep = Skep::with_node(&usual());
        // `skep list` starts nothing; this does.
        ours.cold.push(wall_ms(skep.command(["resurrect"]))?);
        ours.list.push(wall_ms(skep.command(["list"]))?);
        ours.start.push(wall_ms(with_port(skep.command(["start", &app, "--no-wait"])))?);
        let pm2 = Pm2::new()?;
        theirs.cold.push(wall_ms(pm2.command(&["list"]))?);
        theirs.list.push(wall_ms(pm2.command(&["list"]))?);
        theirs.start.push(wall_ms(with_port(pm2.command(&["start", &app])))?);
    }
    for (name, figures) in [("skep", &ours), ("pm2", &theirs)] {
        report.series(&format!("{name}, first command (starts the daemon)"), "ms", &figures.cold);
        report.series(&format!("{name} list"), "ms", &figures.list);
        report.series(&format!("{name} start, not waiting"), "ms", &figures.start);
    }
    let cold = report.ratio(&ours.cold, &theirs.cold);
    report.promise("first command, skep / pm2", cold, Limit::AtMost(0.1));
    let list = report.ratio(&ours.list, &theirs.list);
    report.promise("list, skep / pm2", list, Limit::AtMost(1.0 / 40.0));
    let start = report.ratio(&ours.start, &theirs.start);
    report.promise("start, skep / pm2", start, Limit::AtMost(1.0 / 40.0));
    Ok(())
}

/// Any port will do: nobody connects.
fn with_port(mut command: Command) -> Command {
    command.env("PORT", "0");
    command
}

fn wall_ms(mut command: Command) -> Result<f64> {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let begin = boottime_ns();
    let status = command.status()?;
    let wall = (boottime_ns() - begin) as f64 / 1e6;
    ensure!(status.success(), "{command:?} failed");
    Ok(wall)
}
