//! What it costs a worker to be looked at: the same app, with nobody who asks how it is, and asked each second, as
//! `skep monit` and a scraper of metrics do. From the first question on the worker counts its requests.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, Result};
use skep_tests::{Skep, http};

use crate::Effort;
use crate::report::{Report, Series};
use crate::results::shown;
use crate::subject::{Holder, Subject, cpu_ns};
use crate::wrk::{self, Connections};

/// One worker, so that its processor and the load generator's are all there is.
const WORKERS: usize = 1;
/// Pairs a run of the usual effort: one percent is less than two starts of one program differ by.
const PAIRS_A_RUN: usize = 3;
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

pub(crate) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let (mut asked, mut alone, mut bare) = (Figures::default(), Figures::default(), Figures::default());
    for _ in 0..effort.runs * PAIRS_A_RUN {
        measure(Subject::Skep("auto"), true, effort, &mut asked)?;
        measure(Subject::Skep("auto"), false, effort, &mut alone)?;
        measure(Subject::Bare, false, effort, &mut bare)?;
    }
    for (name, figures) in [("asked each second", &asked), ("not asked", &alone), ("without skep", &bare)] {
        report.series(&format!("{name}, speed"), "req/s", &figures.per_second);
        report.series(&format!("{name}, CPU of the worker"), "µs/req", &figures.cpu_us);
    }
    let beside = |ours: &Series, theirs: &Series, unit: &str| {
        format!("{} beside {} {unit}", shown(ours.median()), shown(theirs.median()))
    };
    let ratio = asked.cpu_us.median() / alone.cpu_us.median();
    report.promise("vitals.cpu", ratio, beside(&asked.cpu_us, &alone.cpu_us, "µs"));
    let ratio = asked.per_second.median() / alone.per_second.median();
    report.promise("vitals.speed", ratio, beside(&asked.per_second, &alone.per_second, "a second"));
    Ok(())
}

fn measure(subject: Subject, ask: bool, effort: Effort, figures: &mut Figures) -> Result<()> {
    let running = subject.start("hello.js", WORKERS)?;
    let worker = *running.workers().first().context("the app has a worker")?;
    let skep = match &running.holder {
        Holder::Skep(skep) if ask => Some(skep),
        Holder::Skep(_) | Holder::Pm2(_) | Holder::Children(_) | Holder::Bare(_) => None,
    };
    let load = || -> Result<()> {
        wrk::run(&running.port, Connections::KeepAlive, 1)?;
        let before = cpu_ns(worker);
        let measured = wrk::run(&running.port, Connections::KeepAlive, effort.seconds)?;
        figures.per_second.push(measured.per_second);
        figures.cpu_us.push((cpu_ns(worker) - before) / 1000.0 / measured.requests);
        Ok(())
    };
    asking(skep, load)
}

/// Does it while somebody asks.
fn asking(skep: Option<&Skep>, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let Some(socket) = skep.map(Skep::socket) else { return work() };
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
