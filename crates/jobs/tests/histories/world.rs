//! A machine with two clocks, workers, a keeper, a ledger on a disk, and a daemon that may be killed at any moment.

mod happenings;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use jiff::tz::TimeZone;
use skep_jobs::{
    Cancel, Definition, Effect, Event, JobId, Jobs, Moment, OnLost, OnUnreachable, Outcome, Overlap, Place,
    Record, RunId, Start, UnixMs, When,
};

use crate::chance::{Dice, definition};
use crate::store::Store;
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
    /// Which host it is, of those that share the store.
    host: u32,
    store: Rc<RefCell<Store>>,
    dice: Dice,
    now: Moment,
    daemon: Option<Jobs>,
    disk: Disk,
    /// Effects from now until the daemon is killed.
    dies_in: Option<u64>,
    jobs: Vec<(JobId, Definition, When)>,
    /// For each of them.
    ahead: Vec<happenings::Ahead>,
    wanted: BTreeSet<JobId>,
    workers: BTreeMap<u32, BTreeSet<String>>,
    next_worker: u32,
    keeper: u64,
    /// The keeper that the last daemon was a child of.
    keeper_seen: u64,
    begun: BTreeMap<u64, Begun>,
    /// Tokens of those that may not have ended.
    alive: Vec<u64>,
    /// Outcomes on their way; those of requests end with the daemon.
    mail: Vec<(u64, Outcome)>,
    /// What the shared store was asked, and the token that it has to stay above.
    claims: Vec<(RunId, u64)>,
    witness: Witness,
    /// Nothing bad happens any more.
    calm: bool,
    loud: bool,
}

/// Plays the history of this seed: of one host, or of two that have the same jobs and share a store.
pub(crate) fn play(seed: u64, loud: bool) -> Result<Sights, String> {
    let mut dice = Dice(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ seed);
    // Shortly before Berlin's clocks go forward.
    let start = 1_774_742_000_000 + i64::try_from(dice.below(4_000_000)).expect("it is there and it fits");
    let jobs: Vec<_> = (0..1 + dice.below(3)).map(|number| job(number, &mut dice)).collect();
    let store = Rc::new(RefCell::new(Store::default()));
    let hosts = if jobs.iter().any(|(_, definition, _)| definition.shared) { 2 } else { 1 };
    let mut worlds = Vec::new();
    for host in 0..hosts {
        // Their clocks differ.
        let skew = i64::try_from(dice.below(3)).expect("it is there and it fits") * 1_700 * i64::from(host);
        let now = Moment { wall: UnixMs(start + skew), boot_ms: dice.below(1_000_000) };
        worlds.push(World::new(host, &store, jobs.clone(), now, dice.roll(), loud));
    }
    for world in &mut worlds {
        world.wake_daemon()?;
    }
    for _ in 0..(10 + dice.below(40)) * u64::from(hosts) {
        let at = dice.below(u64::from(hosts)) as usize;
        worlds[at].step()?;
    }
    let mut sights = Sights::default();
    for world in &mut worlds {
        world.calm()?;
        world.witness.settled()?;
        sights.add(&world.witness.sights);
    }
    Ok(sights)
}

fn job(number: u64, dice: &mut Dice) -> (JobId, Definition, When) {
    let id = JobId { app: "app".into(), name: format!("job{number}") };
    let definition = definition(dice);
    let when = definition.when.compile(&TimeZone::UTC).expect("it is there and it fits");
    (id, definition, when)
}

// === The daemon's life

impl World {
    fn new(
        host: u32,
        store: &Rc<RefCell<Store>>,
        jobs: Vec<(JobId, Definition, When)>,
        now: Moment,
        seed: u64,
        loud: bool,
    ) -> Self {
        Self {
            host,
            store: Rc::clone(store),
            now,
            wanted: jobs.iter().map(|(id, ..)| id.clone()).collect(),
            dice: Dice(seed),
            daemon: None,
            disk: Disk::default(),
            dies_in: None,
            ahead: vec![happenings::Ahead::default(); jobs.len()],
            jobs,
            workers: BTreeMap::new(),
            next_worker: 1,
            keeper: 1,
            keeper_seen: 1,
            begun: BTreeMap::new(),
            alive: Vec::new(),
            mail: Vec::new(),
            claims: Vec::new(),
            witness: Witness::default(),
            calm: false,
            loud,
        }
    }

    fn say(&self, text: impl FnOnce() -> String) {
        if self.loud {
            println!("{}: [{} / {}] {}", self.host, self.now.wall.0, self.now.boot_ms, text());
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
            Effect::Claim { run, above } => self.claims.push((run, above)),
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
        let by_price = definition.on_unreachable == OnUnreachable::Run;
        if definition.shared && !start.by_hand && !by_price {
            self.store.borrow_mut().begins(&start, self.host)?;
        }
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
        self.alive.push(start.token);
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
