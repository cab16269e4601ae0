//! The whole: all jobs, all workers that functions run in, one source of fencing tokens.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use crate::job::{Job, mix};
use crate::{
    Deadlines, Effect, Event, JobId, JobView, Moment, Place, Record, RunId, Seat, UnixMs, WhenProblem, Why,
};

/// Everything that is decided about jobs.
///
/// Give it each [`Event`] with the time; carry out the [`Effect`]s in order; send [`Event::Tick`] when
/// [`Jobs::next_deadlines`] have come and when the wall clock was set.
#[derive(Clone, Debug)]
pub struct Jobs {
    jobs: BTreeMap<JobId, Job>,
    seats: Seats,
    next_token: u64,
    local: TimeZone,
    begun: bool,
}

/// Workers, and how many runs each has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seats {
    seats: BTreeMap<u32, Seat>,
    busy: BTreeMap<u32, usize>,
}

/// What one event's handling shares.
pub(crate) struct Turn<'a> {
    pub(crate) now: Moment,
    pub(crate) seats: &'a mut Seats,
    next_token: &'a mut u64,
}

impl Turn<'_> {
    /// The last token that was given.
    pub(crate) fn last_token(&self) -> u64 {
        *self.next_token - 1
    }

    /// Another source has given this token: it is not given here again. False if it may have been given already.
    pub(crate) fn adopt(&mut self, token: u64) -> bool {
        let new = token >= *self.next_token;
        *self.next_token = (*self.next_token).max(token.saturating_add(1));
        new
    }

    pub(crate) fn token(&mut self) -> u64 {
        *self.next_token += 1;
        *self.next_token - 1
    }
}

// === impl Seats

impl Seats {
    pub(crate) fn has(&self, worker: u32) -> bool {
        self.seats.contains_key(&worker)
    }

    /// The least busy worker that has the function; among equals by chance that is the same for a fire time.
    pub(crate) fn choose(&self, job: &JobId, scheduled: UnixMs) -> Option<u32> {
        let able = self
            .seats
            .values()
            .filter(|seat| !seat.leaving && seat.app == job.app && seat.functions.contains(&job.name));
        let order = |seat: &&Seat| {
            let busy = self.busy.get(&seat.worker).copied().unwrap_or(0);
            (busy, seat.load, mix(u64::from(seat.worker) ^ scheduled.0.unsigned_abs()))
        };
        able.min_by_key(order).map(|seat| seat.worker)
    }

    pub(crate) fn take(&mut self, worker: u32) {
        *self.busy.entry(worker).or_default() += 1;
    }

    pub(crate) fn give_back(&mut self, worker: u32) {
        if let Some(busy) = self.busy.get_mut(&worker) {
            *busy = busy.saturating_sub(1);
        }
    }

    /// It takes nothing new.
    pub(crate) fn leave(&mut self, worker: u32) {
        if let Some(seat) = self.seats.get_mut(&worker) {
            seat.leaving = true;
        }
    }
}

// === impl Jobs

impl Jobs {
    /// Goes on from what the ledger holds. Until [`Event::Begin`] nothing is started.
    #[must_use]
    pub fn restore(records: Vec<(JobId, Record)>, next_token: u64, local: TimeZone, now: Moment) -> Self {
        let jobs = records.into_iter().map(|(id, record)| (id.clone(), Job::new(id, record))).collect();
        let mut this =
            Self { jobs, seats: Seats::default(), next_token: next_token.max(1), local, begun: false };
        let (jobs, turn) = this.turn(now);
        for job in jobs.values_mut() {
            job.restore_clocks(&turn);
        }
        this
    }

    /// Handles an event; effects are appended.
    ///
    /// # Errors
    /// A definition whose times make no sense is refused and changes nothing.
    pub fn handle(&mut self, now: Moment, event: Event, fx: &mut Vec<Effect>) -> Result<(), WhenProblem> {
        match event {
            Event::Define { job, definition, up } => {
                let times = definition.when.compile(&self.local)?;
                let (jobs, turn) = self.turn(now);
                let known = jobs.entry(job.clone()).or_insert_with(|| Job::new(job, Record::default()));
                known.define(&turn, *definition, times, up);
            }
            Event::Seat(seat) => drop(self.seats.seats.insert(seat.worker, seat)),
            Event::Unseat { worker } => self.unseat(now, worker),
            Event::Forget { job } => {
                if self.jobs.remove(&job).is_some() {
                    fx.push(Effect::Erase { job });
                }
            }
            Event::Begin { same_keeper } => {
                self.begun = true;
                let (jobs, mut turn) = self.turn(now);
                for job in jobs.values_mut() {
                    job.begin(&mut turn, same_keeper);
                }
            }
            Event::Tick => {}
            Event::Undefine { .. }
            | Event::Ended { .. }
            | Event::Claimed { .. }
            | Event::RunNow { .. }
            | Event::CancelRuns { .. }
            | Event::Pause { .. }
            | Event::Resume { .. } => self.handle_one(now, event),
        }
        self.settle(now, fx);
        Ok(())
    }

    /// Events about one job.
    fn handle_one(&mut self, now: Moment, event: Event) {
        let (jobs, mut turn) = self.turn(now);
        match event {
            Event::Undefine { job } => {
                if let Some(job) = jobs.get_mut(&job) {
                    job.undefine();
                }
            }
            Event::Ended { run, token, outcome } => {
                if let Some(job) = jobs.get_mut(&run.job) {
                    job.ended(&mut turn, &run, token, outcome);
                }
            }
            Event::Claimed { run, claim } => {
                if let Some(job) = jobs.get_mut(&run.job) {
                    job.claimed(&mut turn, &run, claim);
                }
            }
            Event::RunNow { job } => {
                if let Some(job) = jobs.get_mut(&job).filter(|job| job.times.is_some()) {
                    job.run_now(&mut turn);
                }
            }
            Event::CancelRuns { job } => {
                if let Some(job) = jobs.get_mut(&job) {
                    for index in (0..job.record.runs.len()).rev() {
                        job.end(&mut turn, index, Why::Asked);
                    }
                }
            }
            Event::Pause { job } => {
                if let Some(job) = jobs.get_mut(&job) {
                    job.pause();
                }
            }
            Event::Resume { job } => {
                if let Some(job) = jobs.get_mut(&job) {
                    job.resume(&turn);
                }
            }
            Event::Define { .. }
            | Event::Seat(_)
            | Event::Unseat { .. }
            | Event::Forget { .. }
            | Event::Begin { .. }
            | Event::Tick => {}
        }
    }

    fn unseat(&mut self, now: Moment, worker: u32) {
        self.seats.seats.remove(&worker);
        if !self.begun {
            return;
        }
        let (jobs, mut turn) = self.turn(now);
        for job in jobs.values_mut() {
            for index in (0..job.record.runs.len()).rev() {
                let under = job.record.runs[index].under();
                if under.is_some_and(|under| under.place == Place::Worker(worker)) {
                    let (id, token) =
                        (job.run_id(&job.record.runs[index]), under.map_or(0, |under| under.token));
                    job.ended(&mut turn, &id, token, crate::Outcome::Lost);
                }
            }
        }
        self.seats.busy.remove(&worker);
    }

    /// One pass over everything: fire times that have come, runs that can go on.
    fn settle(&mut self, now: Moment, fx: &mut Vec<Effect>) {
        let begun = self.begun;
        let (jobs, mut turn) = self.turn(now);
        for job in jobs.values_mut() {
            if begun {
                job.look(&mut turn);
                job.advance(&mut turn);
            }
            job.flush(*turn.next_token, fx);
        }
    }

    fn turn(&mut self, now: Moment) -> (&mut BTreeMap<JobId, Job>, Turn<'_>) {
        (&mut self.jobs, Turn { now, seats: &mut self.seats, next_token: &mut self.next_token })
    }

    /// When to tick next.
    #[must_use]
    pub fn next_deadlines(&self) -> Deadlines {
        let mut deadlines = Deadlines::default();
        if self.begun {
            for job in self.jobs.values() {
                job.deadlines(&mut deadlines);
            }
        }
        deadlines
    }

    /// Every job that is known, by name.
    #[must_use]
    pub fn views(&self) -> Vec<JobView> {
        self.jobs.values().map(JobView::of).collect()
    }

    /// One job.
    #[must_use]
    pub fn view(&self, job: &JobId) -> Option<JobView> {
        self.jobs.get(job).map(JobView::of)
    }

    /// Every job that is known, by name only.
    pub fn ids(&self) -> impl Iterator<Item = &JobId> {
        self.jobs.keys()
    }

    /// The run that was started there with this token.
    #[must_use]
    pub fn run_at(&self, place: Place, token: u64) -> Option<RunId> {
        self.jobs.values().find_map(|job| {
            let mut runs = job.record.runs.iter();
            let found = runs
                .find(|run| run.under().is_some_and(|under| under.place == place && under.token == token))?;
            Some(job.run_id(found))
        })
    }
}
