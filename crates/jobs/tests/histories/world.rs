//! A machine with two clocks, workers, a keeper, a ledger on a disk, and a daemon that may be killed at any moment.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use skep_jobs::{
    Backoff, Cancel, Claim, Definition, Effect, Event, JobId, Jobs, Kind, Missed, Moment, OnLost, Outcome,
    Overlap, Place, Record, RunId, Seat, Start, UnixMs, When, WhenText,
};

use crate::witness::{Checked, Sights, Witness};

/// Random decisions of one seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// A program that was begun.
struct Begun {
    run: RunId,
    place: Place,
    /// When it ends by itself, on the boot clock, and how.
    end_boot_ms: u64,
    outcome: Outcome,
    /// It heeds requests to end.
    polite: bool,
    ended: bool,
}

#[derive(Default)]
struct Disk {
    records: BTreeMap<JobId, Record>,
    next_token: u64,
}

struct World {
    dice: Dice,
    now: Moment,
    daemon: Option<Jobs>,
    disk: Disk,
    /// Effects from now until the daemon is killed.
    dies_in: Option<u64>,
    jobs: Vec<(JobId, Definition, When)>,
    wanted: BTreeSet<JobId>,
    workers: BTreeMap<u32, BTreeSet<String>>,
    next_worker: u32,
    keeper: u64,
    /// The keeper that the last daemon was a child of.
    keeper_seen: u64,
    begun: BTreeMap<u64, Begun>,
    /// Outcomes on their way; those of requests end with the daemon.
    mail: Vec<(u64, Outcome)>,
    claims: Vec<RunId>,
    claimed: BTreeSet<(JobId, UnixMs)>,
    store_token: u64,
    witness: Witness,
    loud: bool,
}

/// Plays the history of this seed.
pub(crate) fn play(seed: u64, loud: bool) -> Result<Sights, String> {
    let mut world = World::new(seed, loud);
    world.wake_daemon()?;
    for _ in 0..10 + world.dice.below(40) {
        world.step()?;
    }
    world.calm()?;
    world.witness.settled()?;
    Ok(world.witness.sights)
}

fn definition(dice: &mut Dice) -> Definition {
    let every = dice.of(&[1_000, 5_000, 60_000, 3_600_000]);
    let pattern = dice.of(&["*/7 * * * * *", "* * * * *", "0 3 * * *", "30 2 L * *"]);
    let zone = dice.of(&[None, Some("Europe/Berlin")]).map(str::to_owned);
    let when = match dice.below(10) {
        0..5 => WhenText::Every { ms: every },
        5..9 => WhenText::Cron { pattern: pattern.to_owned(), zone },
        _ => WhenText::At { time: "2026-03-29T00:10:00Z".to_owned(), zone: None },
    };
    let kind = dice.of(&[Kind::Function, Kind::Function, Kind::Command, Kind::Http]);
    Definition {
        jitter_ms: dice.of(&[0, 0, 700, 90_000]),
        overlap: dice.of(&[Overlap::Forbid, Overlap::Queue, Overlap::Replace, Overlap::Allow]),
        missed: dice.of(&[Missed::Skip, Missed::Once, Missed::All { most: 3 }, Missed::All { most: 50 }]),
        timeout_ms: dice.of(&[0, 0, 2_000, 100_000]),
        retries: dice.of(&[0, 0, 1, 3]),
        backoff: Backoff { first_ms: 500, most_ms: 20_000 },
        on_lost: dice.of(&[OnLost::Record, OnLost::Record, OnLost::Rerun]),
        shared: dice.percent(15),
        ..Definition::new(when, kind)
    }
}

// === The daemon's life

impl World {
    fn new(seed: u64, loud: bool) -> Self {
        let mut dice = Dice(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ seed);
        // Shortly before Berlin's clocks go forward.
        let start =
            1_774_742_000_000 + i64::try_from(dice.below(4_000_000)).expect("it is there and it fits");
        let jobs: Vec<_> = (0..1 + dice.below(3))
            .map(|number| {
                let id = JobId { app: "app".into(), name: format!("job{number}") };
                let definition = definition(&mut dice);
                let when = definition.when.compile(&TimeZone::UTC).expect("it is there and it fits");
                (id, definition, when)
            })
            .collect();
        Self {
            now: Moment { wall: UnixMs(start), boot_ms: dice.below(1_000_000) },
            wanted: jobs.iter().map(|(id, ..)| id.clone()).collect(),
            dice,
            daemon: None,
            disk: Disk::default(),
            dies_in: None,
            jobs,
            workers: BTreeMap::new(),
            next_worker: 1,
            keeper: 1,
            keeper_seen: 1,
            begun: BTreeMap::new(),
            mail: Vec::new(),
            claims: Vec::new(),
            claimed: BTreeSet::new(),
            store_token: 1_000_000_000,
            witness: Witness::default(),
            loud,
        }
    }

    fn say(&self, text: impl FnOnce() -> String) {
        if self.loud {
            println!("[{} / {}] {}", self.now.wall.0, self.now.boot_ms, text());
        }
    }

    fn wake_daemon(&mut self) -> Checked {
        self.say(|| "the daemon starts".into());
        let records = self.disk.records.clone().into_iter().collect();
        self.daemon = Some(Jobs::restore(records, self.disk.next_token, TimeZone::UTC, self.now));
        let workers: Vec<u32> = self.workers.keys().copied().collect();
        for worker in workers {
            self.seat(worker, false)?;
        }
        for index in 0..self.jobs.len() {
            self.define(index)?;
        }
        let same_keeper = self.keeper == self.keeper_seen;
        self.keeper_seen = self.keeper;
        self.handle(Event::Begin { same_keeper })
    }

    fn define(&mut self, index: usize) -> Checked {
        let (job, definition, _) = self.jobs[index].clone();
        let up = self.wanted.contains(&job);
        self.handle(Event::Define { job, definition: Box::new(definition), up })
    }

    fn kill_daemon(&mut self) {
        self.say(|| "the daemon is killed".into());
        self.witness.sights.see("daemon killed");
        self.daemon = None;
        self.dies_in = None;
        self.claims.clear();
        // Its requests end with it.
        let requests: Vec<u64> = self
            .begun
            .iter()
            .filter(|(_, begun)| begun.place == Place::Request)
            .map(|(token, _)| *token)
            .collect();
        for token in requests {
            self.begun.get_mut(&token).expect("it is there and it fits").ended = true;
            self.mail.retain(|(of, _)| *of != token);
        }
    }

    fn handle(&mut self, event: Event) -> Checked {
        self.say(|| format!("{event:?}"));
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        let mut effects = Vec::new();
        daemon.handle(self.now, event, &mut effects).map_err(|problem| problem.to_string())?;
        for effect in effects {
            if self.dies_in == Some(0) {
                self.kill_daemon();
                return Ok(());
            }
            self.dies_in = self.dies_in.map(|left| left - 1);
            self.carry_out(effect)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, effect: Effect) -> Checked {
        self.say(|| format!("    {effect:?}"));
        match effect {
            Effect::Save { job, record, entries, next_token, .. } => {
                for entry in &entries {
                    self.witness.writes(&job, entry)?;
                }
                if record.runs.iter().any(|run| run.made_up) {
                    self.witness.sights.see("made up");
                }
                self.disk.records.insert(job, *record);
                if next_token < self.disk.next_token {
                    return Err("fencing tokens go back".into());
                }
                self.disk.next_token = next_token;
            }
            Effect::Erase { .. } => return Err("nobody asked for that".into()),
            Effect::Start(start) => self.start(start)?,
            Effect::Cancel(cancel) => self.cancel(&cancel),
            Effect::Claim { run } => self.claims.push(run),
            Effect::Told { .. } => {}
        }
        Ok(())
    }

    fn start(&mut self, start: Start) -> Checked {
        if let Some(begun) = self.begun.get(&start.token) {
            // Who knows it already tells its end again.
            if begun.ended && begun.place != Place::Request {
                self.mail.push((start.token, begun.outcome.clone()));
            }
            return Ok(());
        }
        let (_, definition, _) =
            self.jobs.iter().find(|(id, ..)| *id == start.run.job).expect("it is there and it fits");
        let (overlap, on_lost, retries) = (definition.overlap, definition.on_lost, definition.retries);
        if let Place::Worker(worker) = start.place {
            let Some(functions) = self.workers.get(&worker) else { return Ok(()) };
            if !functions.contains(&start.run.job.name) {
                self.mail.push((start.token, Outcome::Refused));
                return Ok(());
            }
        }
        self.witness.begins(&start.run, on_lost, retries)?;
        let beside = self.begun.values().any(|other| {
            !other.ended && other.polite && other.run.job == start.run.job && other.place != Place::Request
        });
        if beside && overlap != Overlap::Allow {
            return Err(format!("{:?} begins beside another run of its job", start.run));
        }
        if start.run.attempt > 1 && on_lost == OnLost::Rerun {
            self.witness.sights.see("rerun");
        }
        let takes = self.dice.of(&[0, 5, 800, 3_000, 70_000, 400_000]);
        let begun = Begun {
            run: start.run,
            place: start.place,
            end_boot_ms: self.now.boot_ms + takes,
            outcome: match self.dice.below(4) {
                0 => Outcome::Failed("no".into()),
                _ => Outcome::Succeeded(None),
            },
            polite: start.place == Place::Process || self.dice.percent(80),
            ended: false,
        };
        self.begun.insert(start.token, begun);
        Ok(())
    }

    fn cancel(&mut self, cancel: &Cancel) {
        let Some(begun) = self.begun.get_mut(&cancel.token).filter(|begun| !begun.ended) else { return };
        if begun.polite || cancel.hard {
            begun.ended = true;
            begun.outcome = Outcome::Failed("asked to end".into());
            self.mail.push((cancel.token, begun.outcome.clone()));
        }
    }
}

// === What happens

impl World {
    fn step(&mut self) -> Checked {
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
        let ends = self.begun.values().filter(|begun| !begun.ended).map(|begun| begun.end_boot_ms).min();
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
        for (job, _, when) in &self.jobs {
            let Some(record) = self.disk.records.get(job).filter(|_| self.wanted.contains(job)) else {
                continue;
            };
            // A clock that goes back and forth while no daemon is there tells nobody where it was.
            let mut at = if self.daemon.is_some() { from } else { from.max(record.cursor) };
            let from = at;
            // As many as fit into a history's patience; the first ones and the last one.
            for _ in 0..200 {
                let Some(next) = when.next_after(at).filter(|next| *next <= to) else { break };
                self.witness.passes(job, next);
                at = next;
            }
            if let Some(last) = when.last_until(to).filter(|last| *last > from) {
                self.witness.passes(job, last);
            }
        }
    }

    fn finish_programs(&mut self) {
        for (token, begun) in &mut self.begun {
            if !begun.ended && begun.end_boot_ms <= self.now.boot_ms {
                begun.ended = true;
                self.mail.push((*token, begun.outcome.clone()));
            }
        }
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
            if let Some(run) = self.claims.pop() {
                let claim = self.claim(&run);
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

    /// The shared store answers: a fire time that is ours stays ours, with a higher token each time.
    fn claim(&mut self, run: &RunId) -> Claim {
        let fire = (run.job.clone(), run.scheduled);
        match self.dice.below(10) {
            0 if !self.claimed.contains(&fire) => Claim::Theirs,
            1 => Claim::Unknown,
            _ => {
                self.claimed.insert(fire);
                self.store_token += 1;
                Claim::Ours { token: self.store_token }
            }
        }
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

    fn seat(&mut self, worker: u32, leaving: bool) -> Checked {
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
    fn calm(&mut self) -> Checked {
        self.dies_in = None;
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
