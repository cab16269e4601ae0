//! Wall time of commands, as a user waits for them: the first ones of a home, and each of them beside 0, 10 and 200
//! other apps. PM2's `start` answers before the app listens, so it is compared with `skep start --no-wait`, which does
//! the same.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use skep_sys::clock::boottime_ns;
use skep_tests::Skep;

use crate::Effort;
use crate::peers::{Forever, Pm2};
use crate::report::{Report, Series};
use crate::results::shown;
use crate::subject::usual;

/// New homes a run of the usual effort: what takes four milliseconds is doubled by whatever else the machine does meanwhile.
const HOMES_A_RUN: usize = 3;
/// Other apps that are there.
const SIZES: [usize; 3] = [0, 10, 200];
/// forever writes a monitor process for each app: two hundred of them would be a measure of this machine.
const FOREVER_MAX: usize = 10;

/// A command as each of them knows it; without arguments where it does not.
struct Known {
    name: &'static str,
    skep: &'static [&'static str],
    pm2: &'static [&'static str],
    forever: &'static [&'static str],
}

/// In this order an app is started, changed, and gone again.
#[rustfmt::skip]
const COMMANDS: &[Known] = &[
    Known { name: "ping", skep: &["daemon", "status"], pm2: &["ping"], forever: &[] },
    Known { name: "list", skep: &["list"], pm2: &["list"], forever: &["list"] },
    Known { name: "jlist", skep: &["list", "--json"], pm2: &["jlist"], forever: &[] },
    Known {
        name: "start",
        skep: &["start", APP, "--name", "app", "--no-wait"],
        pm2: &["start", APP, "--name", "app"],
        forever: &["start", "--uid", "app", "-a", APP],
    },
    Known { name: "restart", skep: &["restart", "app"], pm2: &["restart", "app"], forever: &["restart", "app"] },
    Known { name: "reload", skep: &["reload", "app"], pm2: &["reload", "app"], forever: &[] },
    Known { name: "stop", skep: &["stop", "app"], pm2: &["stop", "app"], forever: &["stop", "app"] },
    Known { name: "delete", skep: &["delete", "app"], pm2: &["delete", "app"], forever: &[] },
];

const APP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/apps/hello.js");

#[derive(Debug, Default)]
struct First {
    cold: Series,
    list: Series,
    start: Series,
}

pub(crate) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    first(effort, report)?;
    for size in SIZES {
        beside(size, effort, report)?;
    }
    Ok(())
}

/// The commands of a new home.
fn first(effort: Effort, report: &mut Report) -> Result<()> {
    let (mut ours, mut theirs) = (First::default(), First::default());
    for _ in 0..effort.runs * HOMES_A_RUN {
        let skep = Skep::with_node(&usual());
        // `skep list` starts nothing; this does.
        ours.cold.push(wall_ms(skep.command(["resurrect"]))?);
        ours.list.push(wall_ms(skep.command(["list"]))?);
        ours.start.push(wall_ms(with_port(skep.command(["start", APP, "--no-wait"])))?);
        let pm2 = Pm2::new()?;
        theirs.cold.push(wall_ms(pm2.command(&["list"]))?);
        theirs.list.push(wall_ms(pm2.command(&["list"]))?);
        theirs.start.push(wall_ms(with_port(pm2.command(&["start", APP])))?);
    }
    for (name, figures) in [("skep", &ours), ("pm2", &theirs)] {
        report.series(&format!("{name}, first command (starts the daemon)"), "ms", &figures.cold);
        report.series(&format!("{name}, first list"), "ms", &figures.list);
        report.series(&format!("{name}, first start, not waiting"), "ms", &figures.start);
    }
    for (key, ours, theirs) in [
        ("commands.cold", &ours.cold, &theirs.cold),
        ("commands.list", &ours.list, &theirs.list),
        ("commands.start", &ours.start, &theirs.start),
    ] {
        let note = format!("{} ms beside {} ms", shown(ours.median()), shown(theirs.median()));
        report.promise(key, report.ratio(ours, theirs), note);
    }
    Ok(())
}

/// Every command, with so many other apps.
fn beside(size: usize, effort: Effort, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("many.json");
    write_apps(&file, size)?;
    let file = file.display().to_string();
    let (skep, pm2) = (Skep::with_node(&usual()), Pm2::new()?);
    let forever = Forever::new()?;
    skep.boot();
    if size > 0 {
        skep.ok(["start", &file]);
        pm2.ok(&["start", &file])?;
    } else {
        pm2.ok(&["list"])?;
    }
    let with_forever = size <= FOREVER_MAX;
    if with_forever {
        for _ in 0..size {
            forever.command(&["start", APP]).env("PORT", "0").status()?;
        }
    }
    let mut figures: Vec<[Series; 3]> = COMMANDS.iter().map(|_| Default::default()).collect();
    for _ in 0..effort.runs {
        for (command, [ours, pm2s, forevers]) in COMMANDS.iter().zip(&mut figures) {
            ours.push(wall_ms(with_port(skep.command(command.skep)))?);
            pm2s.push(wall_ms(with_port(pm2.command(command.pm2)))?);
            if with_forever && !command.forever.is_empty() {
                forevers.push(wall_ms(with_port(forever.command(command.forever)))?);
            }
        }
    }
    for (command, series) in COMMANDS.iter().zip(&figures) {
        for (name, series) in ["skep", "pm2", "forever"].iter().zip(series) {
            if !series.values.is_empty() {
                report.series(&format!("{} beside {size} apps, {name}", command.name), "ms", series);
            }
        }
    }
    Ok(())
}

/// An app file that skep and PM2 both read, of programs that do nothing.
fn write_apps(file: &Path, count: usize) -> Result<()> {
    let app = |n: usize| serde_json::json!({ "name": format!("app-{n}"), "script": "/bin/sleep", "args": "100000", "interpreter": "none" });
    let apps: Vec<_> = (0..count).map(app).collect();
    std::fs::write(file, serde_json::to_vec(&serde_json::json!({ "apps": apps }))?)?;
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
