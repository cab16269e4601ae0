//! One job: its fire times become runs, its runs go their way.

mod restart;
mod runs;
mod times;

pub(crate) use times::mix;

use crate::machine::Turn;
use crate::run::{Phase, Run};
use crate::when::When;
use crate::{
    Deadlines, Definition, Effect, Entry, JobId, Overlap, Record, RunId, Status, UnixMs, WORKER_WAIT_MS,
};

/// A job.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) id: JobId,
    pub(crate) record: Record,
    /// Somebody has it at present; else it only remembers.
    pub(crate) times: Option<When>,
    /// Its app is wanted to run.
    pub(crate) up: bool,
    /// The first fire time after the cursor.
    pub(crate) next: Option<UnixMs>,
    /// What the ledger does not have yet.
    dirty: bool,
    entries: Vec<Entry>,
    /// What is to be done once it has.
    out: Vec<Effect>,
}

/// Where a run comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Time,
    MadeUp,
    Hand,
}

// === impl Job: what it is

impl Job {
    pub(crate) fn new(id: JobId, record: Record) -> Self {
        let (times, next) = (None, None);
        Self { id, record, times, up: false, next, dirty: false, entries: Vec::new(), out: Vec::new() }
    }

    /// Takes on a definition. New times count from now on.
    pub(crate) fn define(&mut self, turn: &Turn<'_>, definition: Definition, times: When, up: bool) {
        let same = self.record.definition.as_ref().is_some_and(|old| old.when == definition.when);
        if !same {
            self.record.cursor = turn.now.wall;
        }
        if self.record.definition.as_ref() != Some(&definition) {
            self.dirty = true;
            self.record.definition = Some(definition);
        }
        (self.times, self.up) = (Some(times), up);
        self.seek();
    }

    pub(crate) fn undefine(&mut self) {
        (self.times, self.up, self.next) = (None, false, None);
    }

    pub(crate) fn pause(&mut self) {
        self.dirty |= !self.record.paused;
        self.record.paused = true;
    }

    /// Goes on from now.
    pub(crate) fn resume(&mut self, turn: &Turn<'_>) {
        if self.record.paused {
            self.record.paused = false;
            self.record.cursor = self.record.cursor.max(turn.now.wall);
            self.dirty = true;
            self.seek();
        }
    }

    fn seek(&mut self) {
        self.next = self.times.as_ref().and_then(|times| times.next_after(self.record.cursor));
    }

    fn fires(&self) -> bool {
        self.up && !self.record.paused
    }

    pub(crate) fn run_id(&self, run: &Run) -> RunId {
        RunId { job: self.id.clone(), scheduled: run.scheduled, attempt: run.attempt }
    }

    fn overlap(&self) -> Overlap {
        self.record.definition.as_ref().map(|definition| definition.overlap).unwrap_or_default()
    }

    /// Everything that the ledger must know, then everything that is to be done.
    pub(crate) fn flush(&mut self, next_token: u64, fx: &mut Vec<Effect>) {
        if self.dirty || !self.entries.is_empty() {
            fx.push(Effect::Save {
                job: self.id.clone(),
                record: Box::new(self.record.clone()),
                entries: std::mem::take(&mut self.entries),
                keep: self.record.definition.as_ref().map_or(0, |definition| definition.keep).max(1),
                next_token,
            });
        }
        self.dirty = false;
        fx.append(&mut self.out);
    }

    /// A line of history that will not change any more.
    fn tell(&mut self, entry: Entry) {
        let totals = &mut self.record.totals;
        match entry.status {
            Status::Started => {}
            Status::Succeeded => totals.succeeded += 1,
            Status::Failed => totals.failed += 1,
            Status::Lost => totals.lost += 1,
            Status::Cancelled => totals.cancelled += 1,
            Status::Skipped => totals.skipped = totals.skipped.saturating_add(entry.count),
        }
        totals.busy_ms = totals.busy_ms.saturating_add(entry.took_ms.unwrap_or(0));
        self.record.last = Some(Box::new(Entry { result: None, ..entry.clone() }));
        self.entries.push(entry.clone());
        self.out.push(Effect::Told { job: self.id.clone(), entry: Box::new(entry) });
    }

    pub(crate) fn deadlines(&self, deadlines: &mut Deadlines) {
        if self.fires() {
            deadlines.on_wall(self.next);
        }
        let room = self.room();
        for run in &self.record.runs {
            match &run.phase {
                Phase::Waiting { seatless_since_boot_ms: Some(since), .. } if self.up && room => {
                    deadlines.on_boot(Some(since.saturating_add(WORKER_WAIT_MS)));
                }
                Phase::Waiting { from_boot_ms, seatless_since_boot_ms: None, .. }
                    if room && self.could_start() =>
                {
                    deadlines.on_boot(Some(*from_boot_ms));
                }
                Phase::Running(under) if self.timeout_ms() > 0 => {
                    deadlines.on_boot(Some(under.started_boot_ms.saturating_add(self.timeout_ms())));
                }
                Phase::Ending { until_boot_ms, .. } => deadlines.on_boot(Some(*until_boot_ms)),
                Phase::Waiting { .. } | Phase::Claiming | Phase::Running(_) => {}
            }
        }
    }

    /// Whether time alone can bring a waiting run on.
    fn could_start(&self) -> bool {
        self.up && self.record.definition.is_some()
    }
}
