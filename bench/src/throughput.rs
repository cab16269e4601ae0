//! Requests a second and processor time of a hello-world server on two workers.

use anyhow::Result;

use crate::Effort;
use crate::report::{Report, Series};
use crate::results::shown;
use crate::subject::Subject;
use crate::wrk::{self, Connections};

const WORKERS: usize = 2;

const SUBJECTS: [Subject; 8] = [
    Subject::Skep("auto"),
    Subject::NodeRoundRobin,
    Subject::Pm2,
    Subject::Skep("shared"),
    Subject::NodeShared,
    Subject::SelfBound,
    Subject::Skep("ipc"),
    Subject::Bare,
];

#[derive(Debug, Default)]
struct Figures {
    per_second: Series,
    p50_ms: Series,
    p99_ms: Series,
    p999_ms: Series,
    /// CPU seconds a hundred thousand requests: of all, of the supervisor, of the workers.
    cpu: Series,
    cpu_supervisor: Series,
    cpu_workers: Series,
}

pub(crate) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let short = measure(Connections::Short, effort, report)?;
    let (ours, theirs) = (&short[0], &short[1]);
    let speed = report.ratio(&ours.per_second, &theirs.per_second);
    report.promise("throughput.short", speed, beside(&ours.per_second, &theirs.per_second, "a second"));
    let cpu = report.ratio(&ours.cpu, &theirs.cpu);
    report.promise("throughput.cpu", cpu, beside(&ours.cpu, &theirs.cpu, "s a 100,000"));
    let kept = measure(Connections::KeepAlive, effort, report)?;
    let (ours, theirs) = (&kept[0].per_second, &kept[5].per_second);
    let speed = report.ratio(ours, theirs);
    report.promise("throughput.keepalive", speed, beside(ours, theirs, "a second"));
    Ok(())
}

fn beside(ours: &Series, theirs: &Series, unit: &str) -> String {
    format!("{} beside {} {unit}", shown(ours.median()), shown(theirs.median()))
}

fn measure(connections: Connections, effort: Effort, report: &mut Report) -> Result<Vec<Figures>> {
    let mut figures: Vec<Figures> = SUBJECTS.iter().map(|_| Figures::default()).collect();
    for _ in 0..effort.runs {
        for (subject, figures) in SUBJECTS.iter().zip(&mut figures) {
            let running = subject.start("hello.js", WORKERS)?;
            wrk::run(&running.port, connections, 1)?;
            let before = running.cpu_seconds();
            let measured = wrk::run(&running.port, connections, effort.seconds)?;
            let after = running.cpu_seconds();
            let scale = 100_000.0 / measured.requests;
            figures.per_second.push(measured.per_second);
            figures.p50_ms.push(measured.p50_ms);
            figures.p99_ms.push(measured.p99_ms);
            figures.p999_ms.push(measured.p999_ms);
            figures.cpu_supervisor.push((after.0 - before.0) * scale);
            figures.cpu.push((after.1 - before.1) * scale);
            figures.cpu_workers.push(((after.1 - after.0) - (before.1 - before.0)) * scale);
        }
    }
    for (subject, figures) in SUBJECTS.iter().zip(&figures) {
        let name = |what: &str| format!("{connections:?}, {}, {what}", subject.name());
        report.series(&name("speed"), "req/s", &figures.per_second);
        report.series(&name("p50"), "ms", &figures.p50_ms);
        report.series(&name("p99"), "ms", &figures.p99_ms);
        report.series(&name("p99.9"), "ms", &figures.p999_ms);
        report.series(&name("CPU"), "s/100k", &figures.cpu);
        report.series(&name("CPU of supervisor"), "s/100k", &figures.cpu_supervisor);
        report.series(&name("CPU of workers"), "s/100k", &figures.cpu_workers);
    }
    Ok(figures)
}
