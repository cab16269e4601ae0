//! A worker is killed: how soon after its death does its successor exist, and how soon does it serve? Beside PM2 and
//! forever.
//!
//! All seen from outside: the death is the moment when the victim's pidfd becomes readable, the successor's birth the
//! moment when the supervisor has another child, its service an answer with its pid. From `kill` until the death the
//! kernel takes Node's memory apart, which no supervisor can hasten; how long the program itself takes to start is
//! printed apart, too.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use skep_sys::clock::boottime_ns;
use skep_sys::pidfd::PidFd;
use skep_tests::{Deadline, Port, Skep, Start, process, root};

use crate::Effort;
use crate::client::Connection;
use crate::peers::{Forever, Pm2};
use crate::report::{Report, Series};
use crate::subject::usual;

/// Kills in one run.
const KILLS: usize = 10;

/// Who heals.
enum Healer {
    Skep(Skep),
    Pm2(Pm2),
    Forever(Forever),
}

#[derive(Default)]
struct Seen {
    dying: Series,
    reborn: Series,
    serving: Series,
}

pub(crate) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let names = ["skep", "pm2", "forever"];
    let mut medians: [Seen; 3] = Default::default();
    let mut own = Series::default();
    for _ in 0..effort.runs {
        own.push(own_start_ms()?);
        for (name, medians) in names.iter().zip(&mut medians) {
            let port = Port::free();
            let healer = Healer::start(name, &port)?;
            let mut seen = Seen::default();
            let mut kills = 0;
            while kills < KILLS {
                kills += usize::from(one(&healer, &port, &mut seen)?);
            }
            medians.dying.push(seen.dying.median());
            medians.reborn.push(seen.reborn.median());
            medians.serving.push(seen.serving.median());
        }
    }
    report.series("the program's own start until it serves", "ms", &own);
    for (name, medians) in names.iter().zip(&medians) {
        report.series(&format!("{name}: SIGKILL until it is dead (the kernel's)"), "ms", &medians.dying);
        report.series(&format!("{name}: its death until its successor's process"), "ms", &medians.reborn);
        report.series(&format!("{name}: its death until its successor serves"), "ms", &medians.serving);
    }
    let [ours, pm2, forever] = medians.map(|seen| seen.reborn.median());
    report.promise("heal.spawn", ours, format!("PM2 {pm2:.1}, forever {forever:.1}"));
    Ok(())
}

/// The app says its pid.
const APP: &str = "bench/apps/work.js";

impl Healer {
    fn start(name: &str, port: &Port) -> Result<Healer> {
        let app = root().join(APP);
        let file = app.display().to_string();
        let number = port.number().to_string();
        let healer = match name {
            "skep" => {
                let skep = Skep::with_node(&usual());
                let flags = ["--max-restarts", "1000"];
                skep.start(&Start::program("bench", app).port(port.number()).flags(flags));
                Healer::Skep(skep)
            }
            "pm2" => {
                let pm2 = Pm2::new()?;
                pm2.command(&["start", &file, "--max-restarts", "1000"]).env("PORT", number).status()?;
                Healer::Pm2(pm2)
            }
            _ => {
                let forever = Forever::new()?;
                // Without these it would take quick deaths for a broken program, and give up.
                let args = ["start", "--minUptime", "1", "--spinSleepTime", "1", &file];
                forever.command(&args).env("PORT", number).status()?;
                Healer::Forever(forever)
            }
        };
        serving_pid(port);
        Ok(healer)
    }

    /// The process whose child the worker is.
    fn parent(&self) -> Result<u32> {
        match self {
            Healer::Skep(skep) => Ok(skep.daemon().keeper_pid),
            Healer::Pm2(pm2) => pm2.daemon().context("PM2's daemon runs"),
            Healer::Forever(forever) => Ok(forever.only().0),
        }
    }
}

fn own_start_ms() -> Result<f64> {
    let port = Port::free();
    let begin = boottime_ns();
    let mut child = Command::new(usual().bin.join("node"))
        .arg(root().join(APP))
        .env("PORT", port.number().to_string())
        .stdout(Stdio::null())
        .spawn()?;
    serving_pid(&port);
    let took = ms(begin, boottime_ns());
    child.kill()?;
    child.wait()?;
    Ok(took)
}

/// The process that answers.
fn serving_pid(port: &Port) -> u32 {
    Deadline::until("the app answers", || {
        Connection::open(port.address()).ok()?.get("/", true).ok()?.parse().ok()
    })
}

/// One kill; false: it told nothing, for PM2 had just started a helper of its own (a few hundred milliseconds after a start),
/// which cannot be told from the successor when it is born.
fn one(healer: &Healer, port: &Port, seen: &mut Seen) -> Result<bool> {
    let victim = serving_pid(port);
    let parent = healer.parent()?;
    let before = process::children(parent);
    let pidfd = PidFd::open(victim.cast_signed()).context("the worker lives")?;
    let killed = boottime_ns();
    process::kill(victim);
    pidfd.wait()?;
    let dead = boottime_ns();
    // Nothing tells of a birth but the table itself.
    let successor = loop {
        if let Some(new) = process::children(parent).into_iter().find(|pid| !before.contains(pid)) {
            break new;
        }
    };
    let born = boottime_ns();
    if serving_pid(port) != successor {
        return Ok(false);
    }
    seen.dying.push(ms(killed, dead));
    seen.reborn.push(ms(dead, born));
    seen.serving.push(ms(dead, boottime_ns()));
    Ok(true)
}

fn ms(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1e6
}
