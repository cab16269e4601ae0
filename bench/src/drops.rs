//! What happens to requests when something happens to workers and supervisors: issue by issue, the strict client's
//! counts, beside PM2's and Node's own cluster's.
//!
//! Each cell is a supervisor of its own with two workers, keep-alive and short connections going on all the while. What
//! is counted is every request that was not answered completely and correctly.

use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;
use skep_sys::clock::boottime_ns;
use skep_tests::strict::{self, Failure, Mode, Plan, Report as Counts, Running as Load, Think};
use skep_tests::{Deadline, Skep, http, process};

use crate::Effort;
use crate::report::{Report, Series};
use crate::subject::{Holder, Running, Subject};

const THINK: Think = Think { min: Duration::ZERO, max: Duration::from_millis(10) };
const KEEP_ALIVE_CLIENTS: usize = 8;
const SHORT_CLIENTS: usize = 2;

/// Requests before each event and after it, so that a zero means something.
const REQUESTS: u64 = 200;

/// Nobody answers any more if that many requests take longer.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long the daemon is stopped: a minute, but in a quick run. Once, and its peers only for so long that their clients give up.
const STOPPED: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(60)];
const PEER_STOPPED: Duration = Duration::from_secs(12);

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Reload,
    ScaleUpAndDown,
    WorkerKilled,
    DaemonKilled,
    DaemonStopped,
    KeeperKilled,
    Upgrade,
}

/// With the promise about it.
const EVENTS: [(Event, &str, &str); 7] = [
    (Event::Reload, "reload", "drops.reload"),
    (Event::ScaleUpAndDown, "scale to 4 and back", "drops.scale"),
    (Event::WorkerKilled, "a worker SIGKILLed", "drops.worker"),
    (Event::DaemonKilled, "the daemon (PM2's, the primary) SIGKILLed", "drops.daemon"),
    (Event::DaemonStopped, "the daemon (PM2's, the primary) stopped for a while", "drops.stopped"),
    (Event::KeeperKilled, "the keeper SIGKILLed", "drops.keeper"),
    (Event::Upgrade, "upgrade (pm2 update)", "drops.upgrade"),
];

const SUBJECTS: [Subject; 3] = [Subject::Skep("auto"), Subject::Pm2, Subject::NodeRoundRobin];

pub(crate) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let mut back = Series::default();
    for (event, what, key) in EVENTS {
        let mut ours = 0;
        let mut seen = Vec::new();
        for subject in SUBJECTS {
            let Some(counts) = cell(subject, event, effort.runs, &mut back)? else { continue };
            let (failed, refused) = (counts.failures(), counts.failures_of(Failure::Refused));
            let name = format!("{what}: {}", subject.name());
            let total = counts.ok + failed;
            report.count(&name, failed, total, &format!("{refused} of them refused"));
            // What was inside a killed worker is lost with it.
            let bad = if event == Event::WorkerKilled { refused } else { failed };
            if matches!(subject, Subject::Skep(_)) {
                ours = bad;
                seen.push(format!("of {total}"));
            } else {
                seen.push(format!("{} {bad} of {total}", subject.name()));
            }
        }
        report.promise(key, ours as f64, seen.join("; "));
    }
    let back_ms = report.series("daemon SIGKILLed until the next one answers", "ms", &back);
    report.promise("drops.back", back_ms, "");
    Ok(())
}

/// One event, some times; `None` where the subject knows no such thing.
fn cell(subject: Subject, event: Event, times: usize, back: &mut Series) -> Result<Option<Counts>> {
    let running = subject.start("hello.js", 2)?;
    if !running.knows(event) {
        return Ok(None);
    }
    let load = |mode, clients| strict::start(Plan::get(running.port.address(), mode, clients));
    let loads = [load(Mode::KeepAlive(THINK), KEEP_ALIVE_CLIENTS)?, load(Mode::Short(THINK), SHORT_CLIENTS)?];
    let wait = || loads.iter().for_each(|load| drop(load.wait_for_more(REQUESTS, PATIENCE)));
    wait();
    let once = event == Event::DaemonStopped;
    for _ in 0..if once { 1 } else { times } {
        if once {
            running.pause(STOPPED[usize::from(times >= 5)])?;
        } else {
            running.suffer(event, back)?;
        }
        wait();
    }
    let mut sum = Counts::default();
    for counts in loads.map(Load::stop) {
        sum.ok += counts.ok;
        for (kind, count) in counts.failed {
            *sum.failed.entry(kind).or_default() += count;
        }
    }
    Ok(Some(sum))
}

impl Running {
    fn knows(&self, event: Event) -> bool {
        match &self.holder {
            Holder::Skep(_) => true,
            Holder::Pm2(_) => event != Event::KeeperKilled,
            Holder::Bare(_) => event == Event::WorkerKilled,
            Holder::Children(_) => {
                matches!(
                    event,
                    Event::Reload | Event::WorkerKilled | Event::DaemonKilled | Event::DaemonStopped
                )
            }
        }
    }

    /// Stops the daemon, PM2's daemon or Node's primary for a while.
    fn pause(&self, time: Duration) -> Result<()> {
        let (daemon, time) = match &self.holder {
            Holder::Skep(skep) => (skep.daemon().pid, time),
            Holder::Pm2(pm2) => (pm2.daemon().context("PM2's daemon runs")?, time.min(PEER_STOPPED)),
            Holder::Children(children) => (children[0].id(), time.min(PEER_STOPPED)),
            Holder::Bare(_) => return Ok(()),
        };
        process::signal(daemon, Signal::STOP)?;
        std::thread::park_timeout(time);
        process::signal(daemon, Signal::CONT)?;
        Ok(())
    }

    /// Lets it happen, and waits until the subject says that it is over.
    fn suffer(&self, event: Event, back: &mut Series) -> Result<()> {
        if event == Event::WorkerKilled {
            if let Some(victim) = self.workers().first() {
                process::kill(*victim);
                process::wait_gone(*victim);
            }
            return Ok(());
        }
        match &self.holder {
            Holder::Skep(skep) => skep_suffers(skep, event, back),
            Holder::Pm2(pm2) => {
                let commands: &[&[&str]] = match event {
                    Event::Reload => &[&["reload", "all"]],
                    Event::ScaleUpAndDown => &[&["scale", "hello", "4"], &["scale", "hello", "2"]],
                    Event::Upgrade => &[&["update"]],
                    Event::DaemonKilled
                    | Event::DaemonStopped
                    | Event::KeeperKilled
                    | Event::WorkerKilled => &[],
                };
                for command in commands {
                    pm2.command(command).status().context("PM2 runs")?;
                }
                if event == Event::DaemonKilled {
                    kill_if_alive(pm2.daemon());
                }
            }
            Holder::Bare(_) => {}
            Holder::Children(children) => {
                let primary = children[0].id();
                match event {
                    Event::Reload => {
                        let before = process::children(primary);
                        process::signal(primary, Signal::USR2)?;
                        Deadline::until("Node's primary has reloaded", || {
                            let now = process::children(primary);
                            (now.len() == 2 && now.iter().all(|pid| !before.contains(pid))).then_some(())
                        });
                    }
                    Event::DaemonKilled => kill_if_alive(Some(primary)),
                    Event::ScaleUpAndDown
                    | Event::DaemonStopped
                    | Event::WorkerKilled
                    | Event::KeeperKilled
                    | Event::Upgrade => {}
                }
            }
        }
        Ok(())
    }
}

fn skep_suffers(skep: &Skep, event: Event, back: &mut Series) {
    match event {
        Event::Reload => drop(skep.ok(["reload", "bench"])),
        Event::ScaleUpAndDown => {
            skep.ok(["scale", "bench", "4"]);
            skep.ok(["scale", "bench", "2"]);
        }
        Event::Upgrade => drop(skep.ok(["upgrade"])),
        Event::DaemonKilled => {
            let old = skep.daemon();
            let begin = boottime_ns();
            process::kill(old.pid);
            until_another(skep, "pid", old.pid);
            back.push((boottime_ns() - begin) as f64 / 1e6);
        }
        Event::KeeperKilled => {
            let old = skep.daemon();
            process::kill(old.keeper_pid);
            until_another(skep, "keeper_pid", old.keeper_pid);
        }
        Event::WorkerKilled | Event::DaemonStopped => {}
    }
}

/// Waits until the daemon answers with another process than this one.
fn until_another(skep: &Skep, field: &str, old: u32) {
    Deadline::until("the next one answers", || {
        loop {
            // The request waits in the listener's queue for the next daemon, so that it is answered at once.
            let view = http::get_unix(&skep.socket(), "/v1/daemon").ok()?.json();
            if view[field] != old {
                return Some(());
            }
        }
    });
}

fn kill_if_alive(pid: Option<u32>) {
    if let Some(pid) = pid.filter(|pid| process::is_alive(*pid)) {
        process::kill(pid);
    }
}
