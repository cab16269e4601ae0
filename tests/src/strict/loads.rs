//! Several loads at once: every way in which clients use a server, side by side.

use std::io;
use std::time::Duration;

use super::body::Expect;
use super::plan::{Mode, Plan, Target, Think};
use super::report::Report;
use super::run::{Running, start};

/// Keep-alive with pauses, as people and pools have it.
const THINKING: Mode = Mode::KeepAlive(Think { min: Duration::ZERO, max: Duration::from_millis(20) });
/// Connections made and closed, with pauses: a load that two cores carry, so that what fails is not the machine.
const SHORT: Mode = Mode::Short(Think { min: Duration::ZERO, max: Duration::from_millis(10) });
/// Between the pieces of a dribbled request.
const DRIBBLE: Duration = Duration::from_millis(10);

/// Answers a client that are waited for at least, so that a zero means something; of many clients, fewer each.
const ANSWERS: u64 = 3;
const ANSWERS_MAX: u64 = 20;
/// Above it one answer is enough to wait for.
const LONG_BYTES: usize = 1_000_000;

/// A plan under a name.
pub type Named = (&'static str, Plan);

/// Short, keep-alive and slow requests, and a long download at any time.
pub fn usual(target: &Target) -> Vec<Named> {
    let plan = |mode, clients| Plan::at(target, mode, clients);
    let mut plans = vec![
        ("short", plan(SHORT, 4)),
        ("keep-alive", plan(THINKING, 8)),
        ("slow", plan(THINKING, 4).slow(50)),
    ];
    plans.push(match target {
        Target::Tcp(_) | Target::Unix(_) => ("20 MB downloads", plan(SHORT, 1).download(20_000_000)),
        // Enough for two cores that encrypt and decrypt.
        Target::Tls(..) => ("5 MB downloads", plan(THINKING, 1).download(5_000_000)),
    });
    plans
}

/// And pipelined, dribbled, uploaded and streamed ones. Not pipelined over TLS: an announced end of the connection leaves
/// what was written behind it unanswered, as HTTP/1.1 has it.
pub fn all_kinds(target: &Target) -> Vec<Named> {
    let plan = |mode, clients| Plan::at(target, mode, clients);
    let mut plans = usual(target);
    if !matches!(target, Target::Tls(..)) {
        plans.push(("pipelined", plan(Mode::Pipelined(4), 1)));
    }
    plans.extend([
        ("dribbled", plan(Mode::Dribble(DRIBBLE), 2)),
        ("uploads", plan(THINKING, 2).upload(300_000)),
        ("streams", plan(THINKING, 2).stream(300_000)),
    ]);
    plans
}

/// Loads under way; dropping them ends them too.
#[derive(Debug)]
pub struct Loads(Vec<(&'static str, Plan, Running)>);

/// How far each of several loads was at a moment.
#[derive(Debug)]
pub struct Mark(Vec<u64>);

/// What came of one of them.
#[derive(Debug)]
pub struct Counted {
    /// Its name.
    pub name: &'static str,
    /// What it was to do.
    pub plan: Plan,
    /// What was counted.
    pub report: Report,
}

impl Loads {
    /// Starts all of them.
    ///
    /// # Errors
    /// As [`start`].
    pub fn start(plans: Vec<Named>) -> io::Result<Self> {
        let start = |(name, plan): Named| Ok((name, plan.clone(), start(plan)?));
        plans.into_iter().map(start).collect::<io::Result<_>>().map(Self)
    }

    /// Waits until each of them has had some more answers, or until `limit`, which only a failure reaches.
    pub fn wait(&self, limit: Duration) {
        self.wait_since(&self.mark(), limit);
    }

    /// How far each of them is.
    pub fn mark(&self) -> Mark {
        Mark(self.0.iter().map(|(_, _, running)| running.report().count()).collect())
    }

    /// As [`wait`](Self::wait), from a moment before.
    pub fn wait_since(&self, mark: &Mark, limit: Duration) {
        for ((_, plan, running), before) in self.0.iter().zip(&mark.0) {
            let long = matches!(plan.expect, Expect::Pattern(bytes) if bytes > LONG_BYTES);
            let goal = before + if long { 1 } else { ANSWERS_MAX.min(ANSWERS * plan.clients as u64) };
            running.wait(limit, |report| report.count() >= goal);
        }
    }

    /// Lets every request in flight finish, and ends.
    pub fn stop(self) -> Vec<Counted> {
        let stop = |(name, plan, running): (_, _, Running)| Counted { name, plan, report: running.stop() };
        self.0.into_iter().map(stop).collect()
    }
}

impl Counted {
    /// Connections made beyond the first one of each client, where clients keep theirs; nothing where they do not.
    pub fn reconnects(&self) -> u64 {
        match self.plan.mode {
            Mode::Short(_) => 0,
            Mode::KeepAlive(_) | Mode::Pipelined(_) | Mode::Dribble(_) => {
                self.report.reconnects(self.plan.clients)
            }
        }
    }
}
