//! Jobs at the edge: definitions come from apps' specs and from what workers register, decisions from `skep_jobs`, and
//! the ledger on the disk makes them last.
//!
//! Invariants: a start is carried out only after the ledger has it; a process's end is forgotten by the keeper only
//! after the ledger has it; a daemon without jobs opens no file and wakes nobody.

mod clock;
mod command;
mod functions;
mod ledger;
mod request;
mod views;
mod wanted;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use skep_api::EventKind;
use skep_jobs::{
    Cancel, Definition, Effect, Entry, Event, JobId, Jobs, Moment, Outcome, Place, RunId, Seat, Start,
    Status, UnixMs, Why,
};
use skep_keeper::fault;
use skep_keeper::wire::Request;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::driver::Driver;
use ledger::{Ledger, Save};

pub(crate) use clock::serve;
pub(crate) use command::{is_child, stored_token};
pub(crate) use functions::FromFunctions;

/// The note in the keeper's safe-box that tells a daemon that its keeper is the one of the daemon before.
pub(crate) const SAME_KEEPER_KEY: &[u8] = b"jobs";

/// Everything about jobs.
#[derive(Default)]
pub(crate) struct Board {
    open: Option<Open>,
    /// Why the ledger cannot be opened; tried again with the next change.
    refusal: Option<String>,
    /// What the machine was told of definitions and workers.
    told: BTreeMap<JobId, (Definition, bool)>,
    seats: BTreeMap<u32, Seat>,
    /// Effects that are not carried out yet.
    held: VecDeque<Effect>,
    carrying: bool,
    /// The disk refused the first of `held`.
    stuck: bool,
    /// Read ends of processes' output, as the keeper kept them.
    pipes: BTreeMap<u64, OwnedFd>,
    outputs: BTreeMap<u64, AbortHandle>,
    requests: BTreeMap<u64, AbortHandle>,
    /// Tokens of processes under way.
    children: BTreeMap<u64, RunId>,
    same_keeper: bool,
    booted: bool,
    pub(crate) wake: Rc<Notify>,
}

/// The machine and its ledger.
#[derive(Debug)]
struct Open {
    jobs: Jobs,
    ledger: Ledger,
}

impl std::fmt::Debug for Board {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Board").field("told", &self.told).field("stuck", &self.stuck).finish_non_exhaustive()
    }
}

/// Both clocks.
fn moment() -> Moment {
    let wall_ms = skep_sys::clock::wall_ns() / 1_000_000;
    Moment {
        wall: UnixMs(i64::try_from(wall_ms).unwrap_or(i64::MAX)).plus(fault::clock_ahead_ms()),
        boot_ms: skep_sys::clock::boottime_ns() / 1_000_000,
    }
}

impl Driver {
    /// At the start, when all workers are taken back. `pipes` are the outputs that the keeper kept.
    pub(crate) fn begin_jobs(&mut self, same_keeper: bool, pipes: BTreeMap<u64, OwnedFd>) {
        self.board.same_keeper = same_keeper;
        self.board.pipes = pipes;
        self.board.booted = true;
        if !same_keeper {
            self.ask(&Request::Store { key: SAME_KEEPER_KEY.to_vec(), note: b"{}".to_vec() });
        }
        let exists = !self.site.foreground && ledger::path(&self.site.home).exists();
        if exists {
            self.open_jobs();
        }
        self.sync_jobs();
    }

    /// Whether anything is kept of jobs of an app of this name.
    pub(crate) fn has_jobs(&self, app: &str) -> bool {
        let kept = self.board.open.as_ref().is_some_and(|open| open.jobs.ids().any(|job| job.app == app));
        kept || self.board.told.keys().any(|job| job.app == app)
    }

    /// Opens the ledger and begins; true if it is open.
    fn open_jobs(&mut self) -> bool {
        if self.board.open.is_some() {
            return true;
        }
        if !self.board.booted {
            return false;
        }
        match Ledger::open(&ledger::path(&self.site.home)) {
            Ok((ledger, contents)) => {
                let local = jiff::tz::TimeZone::system();
                let jobs = Jobs::restore(contents.records, contents.next_token, local, moment());
                self.board.open = Some(Open { jobs, ledger });
                self.board.refusal = None;
                self.tell_definitions();
                self.job_event(Event::Begin { same_keeper: self.board.same_keeper });
                self.end_strangers();
                true
            }
            Err(error) => {
                let refusal = format!(
                    "jobs do not run: {} cannot be opened: {error}",
                    ledger::path(&self.site.home).display()
                );
                if self.board.refusal.as_ref() != Some(&refusal) {
                    crate::diary::note(format_args!("{refusal}"));
                    self.tell(EventKind::Other, None, refusal.clone());
                }
                self.board.refusal = Some(refusal);
                self.board.stuck = true;
                self.board.wake.notify_one();
                false
            }
        }
    }

    /// Compares what the machine knows of definitions and workers with what is; tells the difference.
    pub(crate) fn sync_jobs(&mut self) {
        let concerned = self.board.open.is_some()
            || self.specs.values().any(|spec| !spec.schedules.is_empty())
            || self.workers.values().any(|worker| !worker.functions.is_empty());
        if concerned && self.open_jobs() {
            self.tell_definitions();
        }
    }

    /// Hands an event to the machine and carries out what follows.
    pub(crate) fn job_event(&mut self, event: Event) {
        let Some(open) = &mut self.board.open else { return };
        let mut effects = Vec::new();
        if let Err(problem) = open.jobs.handle(moment(), event, &mut effects) {
            crate::diary::note(format_args!("a job was refused: {problem}; {}", problem.remedy));
        }
        self.board.held.extend(effects);
        self.carry_out_jobs();
        self.board.wake.notify_one();
    }

    pub(crate) fn job_ended(&mut self, run: RunId, token: u64, outcome: Outcome) {
        self.job_event(Event::Ended { run, token, outcome });
    }

    /// Carries out effects in order, until one cannot be made durable.
    fn carry_out_jobs(&mut self) {
        if std::mem::replace(&mut self.board.carrying, true) {
            return;
        }
        while let Some(effect) = self.board.held.pop_front() {
            if let Err(error) = self.carry_out_job(&effect) {
                if !self.board.stuck {
                    let text = format!("jobs wait: the ledger cannot be written: {error}");
                    crate::diary::note(format_args!("{text}"));
                    self.tell(EventKind::Other, None, text);
                }
                self.board.stuck = true;
                self.board.held.push_front(effect);
                break;
            }
            self.board.stuck = false;
        }
        self.board.carrying = false;
    }

    fn carry_out_job(&mut self, effect: &Effect) -> io::Result<()> {
        match effect {
            Effect::Save { job, record, entries, keep, next_token } => {
                let Some(open) = &self.board.open else { return Ok(()) };
                let save = Save { job, record, entries, keep: *keep, next_token: *next_token };
                let dropped = open.ledger.save(&save)?;
                self.forget_outputs(job, &dropped);
            }
            Effect::Erase { job } => {
                let Some(open) = &self.board.open else { return Ok(()) };
                let gone = open.ledger.erase(job)?;
                self.forget_outputs(job, &gone);
            }
            Effect::Start(start) => self.start_job(start),
            Effect::Cancel(cancel) => self.cancel_job(cancel),
            Effect::Claim { run, above } => self.claim_fire_time(run, *above),
            Effect::Told { job, entry } => self.told_of_job(job, entry),
        }
        Ok(())
    }

    fn start_job(&mut self, start: &Start) {
        match start.place {
            Place::Worker(worker) => self.start_function(worker, start),
            Place::Process => self.start_command(start),
            Place::Request => self.start_request(start),
        }
    }

    fn cancel_job(&mut self, cancel: &Cancel) {
        match cancel.place {
            Place::Worker(worker) => self.cancel_function(worker, cancel),
            Place::Process => self.cancel_command(cancel),
            Place::Request => {
                if let Some(request) = self.board.requests.remove(&cancel.token) {
                    request.abort();
                    let outcome = Outcome::Failed(cancel.why.as_str().to_owned());
                    self.job_ended(cancel.run.clone(), cancel.token, outcome);
                }
            }
        }
    }

    /// A line of history is durable: the keeper may forget its process, and people hear of what went wrong.
    fn told_of_job(&mut self, job: &JobId, entry: &Entry) {
        if let (Some(Place::Process), Some(token)) = (entry.place, entry.token) {
            self.forget_command(token);
        }
        let why = entry.why.map(|why| format!(" ({})", why.as_str())).unwrap_or_default();
        let text = match entry.status {
            Status::Started | Status::Succeeded | Status::Cancelled => return,
            // All is well: so it goes for all hosts but one.
            Status::Skipped if entry.why == Some(Why::ElsewhereClaimed) => return,
            Status::Failed => format!("job {job} failed{why}"),
            Status::Lost => format!("job {job} was lost: nobody saw its end{why}"),
            Status::Skipped if entry.count > 1 => {
                format!("job {job}: {} fire times were skipped{why}", entry.count)
            }
            Status::Skipped => format!("job {job}: a fire time was skipped{why}"),
        };
        let app = self.app_named(&job.app);
        self.tell(EventKind::Other, app, text);
    }

    fn app_named(&self, name: &str) -> Option<skep_core::AppId> {
        self.fleet.apps().into_iter().find(|app| app.name == name).map(|app| app.id)
    }
}
