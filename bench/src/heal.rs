//! A worker is killed: how soon is its successor spawned?

use anyhow::Result;
use skep_sys::clock::boottime_ns;
use skep_tests::{Port, Skep, Start, process, root};

use crate::Effort;
use crate::report::{Limit, Report, Series};
use crate::subject::usual;

/// Kills in one run.
const KILLS: usize = 20;

pub(crate) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let mut spawned = Series::default();
    for _ in 0..effort.runs {
        let (skep, port) = (Skep::with_node(&usual()), Port::free());
        let app = root().join("bench/apps/hello.js");
        let flags = ["--max-restarts", "1000"];
        skep.start(&Start::program("bench", app).instances(2).port(port.number()).flags(flags));
        let mut one_run = Series::default();
        for _ in 0..KILLS {
            let mut events = skep.events();
            let app = skep.settled("bench", 2);
            let victim = app.pids()[0];
            let newest = app.slots.iter().filter_map(|slot| slot.worker).max();
            let begin = boottime_ns();
            process::kill(victim);
            events.wait("the successor is spawned", |event| {
                event.kind == "worker_spawned" && event.worker > newest
            });
            one_run.push((boottime_ns() - begin) as f64 / 1e6);
        }
        spawned.push(one_run.median());
    }
    let median = report.series("SIGKILL of a worker until its successor is announced", "ms", &spawned);
    report.promise("milliseconds from a worker's death to its successor's spawn", median, Limit::AtMost(2.0));
    Ok(())
}
