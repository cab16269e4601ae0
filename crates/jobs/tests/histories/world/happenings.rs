//! What happens in a [`World`]: time passes, clocks are set, workers come and die, machines restart, somebody asks.

use std::collections::BTreeSet;

use skep_jobs::{Claim, Event, Jobs, Kind, Place, RunId, Seat, UnixMs, When};

use super::{Begun, World};
use crate::witness::Checked;

/// So many fire times of one job that the clock passes at once are watched.
const PATIENCE: u32 = 200;

/// The next fire time of a job, remembered: clocks mostly move by less than an interval, and to search the calendar is
/// what takes a history's time.
#[derive(Clone, Copy, Default)]
pub(super) struct Ahead(Option<(UnixMs, UnixMs)>);

impl Ahead {
    fn next_after(&mut self, when: &When, at: UnixMs) -> Option<UnixMs> {
        if let Some((since, next)) = self.0
            && since <= at
            && at < next
        {
            return Some(next);
        }
        let next = when.next_after(at)?;
        self.0 = Some((at, next));
        Some(next)
    }
}

impl World {
    pub(super) fn step(&mut self) -> Checked {
        if self.dice.percent(12) {
            self.dies_in = Some(self.dice.below(5));
        }
        match self.dice.below(100) {
            0..35 => {
                let most = self.dice.of(&[10, 1_000, 10_000, 120_000, 1_000_000]);
                let ms = 1 + self.dice.below(most);
                self.pass(ms, true)?;
            }
            35..42 => self.set_clock()?,
            42..47 => {
                self.witness.sights.see("suspend");
                let ms = self.dice.below(20_000_000);
                self.pass(ms, false)?;
            }
            47..60 => self.worker_comes()?,
            60..70 => self.worker_dies()?,
            70..80 if self.daemon.is_some() => self.kill_daemon(),
            70..86 if self.daemon.is_none() => self.wake_daemon()?,
            80..86 => self.machine_restarts(),
            86..100 => self.somebody_asks()?,
            _ => {}
        }
        self.deliver()
    }

    /// Time passes; if `awake`, the daemon ticks when it wants to.
    fn pass(&mut self, ms: u64, awake: bool) -> Checked {
        let end = self.now.boot_ms + ms;
        while awake && self.daemon.is_some() {
            self.deliver()?;
            let Some(at) = self.next_moment().filter(|at| *at <= end) else { break };
            // A busy machine ticks late.
            let late = if self.dice.percent(10) { self.dice.below(3_000) } else { 0 };
            self.advance_to((at + late).min(end).max(self.now.boot_ms));
            self.finish_programs();
            self.handle(Event::Tick)?;
        }
        self.advance_to(end);
        self.finish_programs();
        self.handle(Event::Tick)?;
        self.deliver()
    }

    /// The next deadline or end of a program, on the boot clock.
    fn next_moment(&self) -> Option<u64> {
        let deadlines = self.daemon.as_ref()?.next_deadlines();
        let wall = deadlines
            .wall
            .map(|at| self.now.boot_ms.saturating_add(u64::try_from(at.since(self.now.wall)).unwrap_or(0)));
        let alive = self.alive.iter().map(|token| &self.begun[token]);
        let ends = alive.filter(|begun| !begun.ended).map(|begun| begun.end_boot_ms).min();
        [wall, deadlines.boot_ms, ends].into_iter().flatten().min()
    }

    fn advance_to(&mut self, boot_ms: u64) {
        let ms = i64::try_from(boot_ms - self.now.boot_ms).expect("it is there and it fits");
        self.now.boot_ms = boot_ms;
        self.move_wall(self.now.wall.plus(ms));
    }

    /// The clock passes fire times: each is owed an answer while the job is wanted. Not from before it was known.
    fn move_wall(&mut self, to: UnixMs) {
        let from = std::mem::replace(&mut self.now.wall, to);
        for (index, (job, _, when)) in self.jobs.iter().enumerate() {
            let Some(record) = self.disk.records.get(job).filter(|_| self.wanted.contains(job)) else {
                continue;
            };
            // A clock that goes back and forth while no daemon is there tells nobody where it was.
            let mut at = if self.daemon.is_some() { from } else { from.max(record.cursor) };
            let ahead = &mut self.ahead[index];
            // As many as fit into a history's patience; the first ones and the last one.
            let mut left = PATIENCE;
            while let Some(next) = ahead.next_after(when, at).filter(|next| left > 0 && *next <= to) {
                self.witness.passes(job, next);
                at = next;
                left -= 1;
            }
            if left == 0
                && let Some(last) = when.last_until(to).filter(|last| *last > at)
            {
                self.witness.passes(job, last);
            }
        }
    }

    fn finish_programs(&mut self) {
        let (begun, mail, now) = (&mut self.begun, &mut self.mail, self.now.boot_ms);
        self.alive.retain(|token| {
            let Some(program) = begun.get_mut(token).filter(|program| !program.ended) else { return false };
            program.ended = program.end_boot_ms <= now;
            if program.ended {
                mail.push((*token, program.outcome.clone()));
            }
            !program.ended
        });
    }

    fn set_clock(&mut self) -> Checked {
        let by = self.dice.of(&[700, 30_000, 3_600_000, 86_400_000, 1_000_000_000]);
        if self.dice.percent(50) {
            self.witness.sights.see("clock set back");
            let to =
                self.now.wall.plus(-i64::try_from(self.dice.below(by)).expect("it is there and it fits"));
            self.now.wall = to;
            self.witness.back_to(to);
        } else {
            self.witness.sights.see("clock set forward");
            let to = self.now.wall.plus(i64::try_from(self.dice.below(by)).expect("it is there and it fits"));
            self.move_wall(to);
        }
        self.handle(Event::Tick)
    }

    /// Answers arrive, some of them twice, in any order.
    fn deliver(&mut self) -> Checked {
        while self.daemon.is_some() {
            if let Some((run, above)) = self.claims.pop() {
                let claim = self.claim(&run, above);
                if claim != Claim::Unknown && !self.calm && self.dice.percent(10) {
                    // The answer is lost with its daemon; the next one asks again.
                    self.kill_daemon();
                    break;
                }
                self.handle(Event::Claimed { run, claim })?;
                continue;
            }
            if self.mail.is_empty() {
                break;
            }
            let index = self.dice.below(self.mail.len() as u64) as usize;
            let (token, outcome) = self.mail[index].clone();
            if self.dice.percent(90) {
                self.mail.swap_remove(index);
            }
            let run = match self.begun.get(&token) {
                Some(begun) => begun.run.clone(),
                None => match self.run_of(token) {
                    Some(run) => run,
                    None => continue,
                },
            };
            self.handle(Event::Ended { run, token, outcome })?;
        }
        Ok(())
    }

    /// The shared store answers, unless it cannot be reached.
    fn claim(&mut self, run: &RunId, above: u64) -> Claim {
        if self.dice.percent(10) {
            return Claim::Unknown;
        }
        self.store.borrow_mut().claim(run, self.host, above)
    }

    /// A run that was refused, hence never begun.
    fn run_of(&self, token: u64) -> Option<RunId> {
        let line = self.witness.lines.iter().find(|(_, line)| line.token == Some(token));
        line.map(|((job, scheduled, attempt), _)| RunId {
            job: job.clone(),
            scheduled: *scheduled,
            attempt: *attempt,
        })
    }

    fn worker_comes(&mut self) -> Checked {
        let functions: BTreeSet<String> = self
            .jobs
            .iter()
            .filter(|(_, definition, _)| definition.kind == Kind::Function)
            .map(|(id, ..)| id.name.clone())
            .collect();
        let worker = self.next_worker;
        self.next_worker += 1;
        self.workers.insert(worker, functions);
        self.seat(worker, false)
    }

    pub(super) fn seat(&mut self, worker: u32, leaving: bool) -> Checked {
        let functions = self.workers[&worker].clone();
        self.handle(Event::Seat(Seat { worker, app: "app".into(), functions, load: 0, leaving }))
    }

    fn worker_dies(&mut self) -> Checked {
        let workers: Vec<u32> = self.workers.keys().copied().collect();
        if workers.is_empty() {
            return Ok(());
        }
        let worker = self.dice.of(&workers);
        if self.dice.percent(30) {
            return self.seat(worker, true);
        }
        self.workers.remove(&worker);
        let of_it = |begun: &Begun| begun.place == Place::Worker(worker);
        let gone: Vec<u64> = self.begun.iter().filter(|(_, b)| of_it(b)).map(|(token, _)| *token).collect();
        for token in gone {
            self.begun.get_mut(&token).expect("it is there and it fits").ended = true;
            // Its last words may still be in the channel.
            if self.dice.percent(50) {
                self.mail.retain(|(of, _)| *of != token);
            }
        }
        self.handle(Event::Unseat { worker })
    }

    fn machine_restarts(&mut self) {
        self.say(|| "the machine restarts".into());
        self.kill_daemon();
        self.keeper += 1;
        self.workers.clear();
        for begun in self.begun.values_mut() {
            begun.ended = true;
        }
        self.mail.clear();
        self.now.boot_ms = self.dice.below(100_000);
    }

    fn somebody_asks(&mut self) -> Checked {
        let index = self.dice.below(self.jobs.len() as u64) as usize;
        let job = self.jobs[index].0.clone();
        match self.dice.below(4) {
            0 => self.handle(Event::RunNow { job }),
            1 => self.handle(Event::CancelRuns { job }),
            _ => {
                // Stopped for a moment: what comes meanwhile counts as missed once it is wanted again.
                self.handle(Event::Define {
                    job,
                    definition: Box::new(self.jobs[index].1.clone()),
                    up: false,
                })?;
                self.pass(500, true)?;
                if self.daemon.is_some() {
                    self.define(index)?;
                }
                Ok(())
            }
        }
    }

    /// Everything is well, long enough for all that is under way to end; then nothing fires any more.
    pub(super) fn calm(&mut self) -> Checked {
        self.dies_in = None;
        self.calm = true;
        if self.daemon.is_none() {
            self.wake_daemon()?;
        }
        self.worker_comes()?;
        for index in 0..self.jobs.len() {
            self.define(index)?;
        }
        self.handle(Event::Tick)?;
        for index in 0..self.jobs.len() {
            let job = self.jobs[index].0.clone();
            self.wanted.remove(&job);
            self.handle(Event::Pause { job })?;
        }
        for _ in 0..20_000 {
            self.deliver()?;
            let Some(at) = self.next_moment() else { return Ok(()) };
            self.advance_to(at.max(self.now.boot_ms));
            self.finish_programs();
            self.handle(Event::Tick)?;
        }
        Err(format!("it never comes to rest: {:?}", self.daemon.as_ref().map(Jobs::next_deadlines)))
    }
}
