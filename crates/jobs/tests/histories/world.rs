//! A machine with two clocks, workers, a keeper, a ledger on a disk, and a daemon that may be killed at any moment.

mod happenings;

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use skep_jobs::{
    Cancel, Definition, Effect, Event, JobId, Jobs, Moment, OnLost, Outcome, Overlap, Place, Record, RunId,
    Start, UnixMs, When,
};

use crate::chance::{Dice, definition};
use crate::witness::{Checked, Sights, Witness};

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
