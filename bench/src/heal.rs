//! A worker is killed: how soon after its death does its successor exist, and how soon does it serve?
//!
//! All seen from outside: the death is the moment when the victim's pidfd becomes readable, the successor's birth the
//! moment when the keeper has another child. From `kill` until the death the kernel takes Node's memory apart, which no
//! supervisor can hasten; it is printed apart.

use anyhow::{Context, Result};
use skep_sys::clock::boottime_ns;
use skep_sys::pidfd::PidFd;
use skep_tests::{Deadline, Port, Skep, Start, process, root};

use crate::Effort;
use crate::report::{Limit, Report, Series};
use crate::subject::usual;

/// Kills in one run.
const KILLS: usize = 20;

#[derive(Default)]
struct Seen {
    dying: Series,
    reborn: Series,
    serving: Series,
}

pub(crate) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let mut medians = Seen::default();
    for _ in 0..effort.runs {
        let (skep, port) = (Skep::with_node(&usual()), Port::free());
        let app = root().join("bench/apps/hello.js");
        let flags = ["--max-restarts", "1000"];
        skep.start(&Start::program("bench", app).instances(2).port(port.number()).flags(flags));
        let mut seen = Seen::default();
        for _ in 0..KILLS {
            one(&skep, &mut seen)?;
        }
        medians.dying.push(seen.dying.median());
        medians.reborn.push(seen.reborn.median());
        medians.serving.push(seen.serving.median());
    }
    report.series("SIGKILL of a worker until it is dead (the kernel's)", "ms", &medians.dying);
    let reborn = report.series("its death until its successor's process", "ms", &medians.reborn);
    report.series("its death until its successor listens", "ms", &medians.serving);
    report.promise("milliseconds from a worker's death to its successor's spawn", reborn, Limit::AtMost(2.0));
    Ok(())
}

fn one(skep: &Skep, seen: &mut Seen) -> Result<()> {
    let victim = skep.settled("bench", 2).pids()[0];
    let keeper = skep.daemon().keeper_pid;
    let before = process::children(keeper);
    let pidfd = PidFd::open(victim.cast_signed()).context("the worker lives")?;
    let killed = boottime_ns();
    process::kill(victim);
    pidfd.wait()?;
    let dead = boottime_ns();
    // Nothing tells of a birth but the table itself.
    let successor = loop {
        if let Some(new) = process::children(keeper).into_iter().find(|pid| !before.contains(pid)) {
            break new;
        }
    };
    let born = boottime_ns();
    let listening =
        || skep.app("bench").slots.iter().any(|slot| slot.pid == Some(successor) && slot.status == "online");
    Deadline::until("the successor serves", || listening().then_some(()));
    let ready = boottime_ns();
    let ms = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1e6;
    seen.dying.push(ms(killed, dead));
    seen.reborn.push(ms(dead, born));
    seen.serving.push(ms(dead, ready));
    Ok(())
}
