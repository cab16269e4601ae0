//! What it costs a worker to be looked at: the same app twice, with nobody who asks how it is, and asked each second, as
//! `skep monit` and a scraper of metrics do. From the first question on the worker counts its requests. Both run at the
//! same time, so that what disturbs one disturbs the other.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, Result};
use skep_tests::{Skep, http};

use crate::Effort;
use crate::report::{Report, Series};
use crate::results::shown;
use crate::subject::{Holder, Running, Subject, cpu_ns};
use crate::wrk::{self, Connections};

/// One worker of each, so that the two and their load generators are all there is.
const WORKERS: usize = 1;
/// Pairs a run of the usual effort: one percent is less than two starts of one program differ by.
const PAIRS_A_RUN: usize = 8;
/// How often it is asked.
const EVERY: Duration = Duration::from_secs(1);
/// What asks.
const QUESTION: &str = "/v1/apps?vitals=true";

#[derive(Debug, Default)]
struct Figures {
    per_second: Series,
    /// Microseconds of the worker's processor time a request.
    cpu_us: Series,
}

/// One worker's figures.
#[derive(Debug, Clone, Copy)]
struct Measured {
    per_second: f64,
    cpu_us: f64,
}

pub(crate) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let (mut asked, mut alone, mut ratios) = (Figures::default(), Figures::default(), Figures::default());
    for _ in 0..effort.runs * PAIRS_A_RUN {
        let (looked_at, left_alone) = pair(effort)?;
        asked.push(looked_at);
        alone.push(left_alone);
        ratios.push(Measured {
            per_second: looked_at.per_second / left_alone.per_second,
            cpu_us: looked_at.cpu_us / left_alone.cpu_us,
        });
    }
    for (name, figures) in [("asked each second", &asked), ("not asked", &alone)] {
        report.series(&format!("{name}, speed"), "req/s", &figures.per_second);
        report.series(&format!("{name}, CPU of the worker"), "µs/req", &figures.cpu_us);
    }
    report.series("asked beside not asked, speed", "times", &ratios.per_second);
    report.series("asked beside not asked, CPU of the worker", "times", &ratios.cpu_us);
    let beside = |ours: &Series, theirs: &Series, unit: &str| {
        format!("{} beside {} {unit}", shown(ours.median()), shown(theirs.median()))
    };
    // Of each pair, not of all: what slows the machine down for a minute slows both.
    report.promise("vitals.cpu", ratios.cpu_us.median(), beside(&asked.cpu_us, &alone.cpu_us, "µs"));
    let speed = beside(&asked.per_second, &alone.per_second, "a second");
    report.promise("vitals.speed", ratios.per_second.median(), speed);
    Ok(())
}

/// Two homes with the same app, at the same time under the same load: one is asked, the other is not.
fn pair(effort: Effort) -> Result<(Measured, Measured)> {
    let asked = Subject::Skep("auto").start("hello.js", WORKERS)?;
    let alone = Subject::Skep("auto").start("hello.js", WORKERS)?;
    let skep = match &asked.holder {
        Holder::Skep(skep) => skep,
        Holder::Pm2(_) | Holder::Children(_) | Holder::Bare(_) => unreachable!("skep holds it"),
    };
    asking(skep, || {
        std::thread::scope(|scope| {
            let other = scope.spawn(|| measure(&alone, effort));
            let looked_at = measure(&asked, effort)?;
            Ok((looked_at, other.join().expect("it does not panic")?))
        })
    })
}

fn measure(running: &Running, effort: Effort) -> Result<Measured> {
    let worker = *running.workers().first().context("the app has a worker")?;
    wrk::run(&running.port, Connections::KeepAlive, 1)?;
    let before = cpu_ns(worker);
    let measured = wrk::run(&running.port, Connections::KeepAlive, effort.seconds)?;
    let cpu_us = (cpu_ns(worker) - before) / 1000.0 / measured.requests;
    Ok(Measured { per_second: measured.per_second, cpu_us })
}

impl Figures {
    fn push(&mut self, measured: Measured) {
        self.per_second.push(measured.per_second);
        self.cpu_us.push(measured.cpu_us);
    }
}

/// Does it while somebody asks.
fn asking<T>(skep: &Skep, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let socket = skep.socket();
    let (done, finished) = channel::<()>();
    std::thread::scope(|scope| {
        let asker = scope.spawn(move || -> Result<()> {
            loop {
                http::get_unix(&socket, QUESTION).context("the daemon answers")?;
                match finished.recv_timeout(EVERY) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                }
            }
        });
        let result = work();
        drop(done);
        asker.join().expect("it does not panic")?;
        result
    })
}
