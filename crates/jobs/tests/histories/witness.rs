//! Who watches: every begin of a run, every line of history, every fire time that the clock passed.

use std::collections::{BTreeMap, BTreeSet};

use skep_jobs::{Entry, JobId, OnLost, RunId, Status, UnixMs, Why};

/// What histories came across.
#[derive(Debug, Default, Clone)]
pub(crate) struct Sights(BTreeMap<&'static str, u64>);

const ALL: [&str; 19] = [
    "succeeded",
    "failed",
    "lost",
    "cancelled",
    "overlap",
    "missed",
    "no worker",
    "timeout",
    "replaced",
    "asked",
    "elsewhere",
    "unreachable",
    "retry",
    "rerun",
    "made up",
    "daemon killed",
    "clock set back",
    "clock set forward",
    "suspend",
];

impl Sights {
    pub(crate) fn see(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    pub(crate) fn missing(&self) -> Vec<&'static str> {
        ALL.into_iter().filter(|what| !self.0.contains_key(what)).collect()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Witness {
    begun: BTreeSet<RunId>,
    /// The newest line for each attempt, as the ledger keeps it.
    pub(crate) lines: BTreeMap<(JobId, UnixMs, u32), Entry>,
    /// Fire times that the clock passed while the job was wanted.
    passed: BTreeSet<(JobId, UnixMs)>,
    pub(crate) sights: Sights,
}

pub(crate) type Checked = Result<(), String>;

impl Witness {
    /// A program really begins.
    pub(crate) fn begins(&mut self, run: &RunId, on_lost: OnLost, retries: u32) -> Checked {
        if !self.begun.insert(run.clone()) {
            return Err(format!("{run:?} began twice"));
        }
        if run.attempt > 1 && retries == 0 && on_lost == OnLost::Record {
            return Err(format!("{run:?}: an attempt that nobody asked for"));
        }
        let key = (run.job.clone(), run.scheduled, run.attempt);
        if !self.lines.contains_key(&key) {
            return Err(format!("{run:?} began before the ledger knew of it"));
        }
        Ok(())
    }

    pub(crate) fn passes(&mut self, job: &JobId, at: UnixMs) {
        self.passed.insert((job.clone(), at));
    }

    /// The clock is set back: what lies ahead of it again is owed when it passes again.
    pub(crate) fn back_to(&mut self, wall: UnixMs) {
        self.passed.retain(|(_, at)| *at <= wall);
    }

    /// A line is made durable.
    pub(crate) fn writes(&mut self, job: &JobId, entry: &Entry) -> Checked {
        let key = (job.clone(), entry.scheduled, entry.attempt);
        if entry.status == Status::Started && self.lines.contains_key(&key) {
            return Err(format!("{key:?} is recorded as started a second time"));
        }
        if let Some(old) = self.lines.get(&key)
            && old.status.is_final()
            && entry.attempt > 0
        {
            return Err(format!("{key:?} was {:?} and becomes {:?}", old.status, entry.status));
        }
        self.see(entry);
        let entry = entry.clone();
        let entry = self.lines.get(&key).map_or(entry.clone(), |old| entry.after(old));
        self.lines.insert(key, entry);
        Ok(())
    }

    fn see(&mut self, entry: &Entry) {
        match entry.status {
            Status::Started if entry.attempt > 1 => self.sights.see("retry"),
            Status::Started | Status::Skipped => {}
            Status::Succeeded => self.sights.see("succeeded"),
            Status::Failed => self.sights.see("failed"),
            Status::Lost => self.sights.see("lost"),
            Status::Cancelled => self.sights.see("cancelled"),
        }
        match entry.why {
            Some(Why::Overlap) => self.sights.see("overlap"),
            Some(Why::Missed) => self.sights.see("missed"),
            Some(Why::NoWorker) => self.sights.see("no worker"),
            Some(Why::Timeout) => self.sights.see("timeout"),
            Some(Why::Replaced) => self.sights.see("replaced"),
            Some(Why::Asked) => self.sights.see("asked"),
            Some(Why::ElsewhereClaimed) => self.sights.see("elsewhere"),
            Some(Why::StoreUnreachable) => self.sights.see("unreachable"),
            Some(Why::QueueFull | Why::WorkerDied | Why::Gone) | None => {}
        }
    }

    /// After the calm: every fire time has its line, and every line has come to its end.
    pub(crate) fn settled(&self) -> Checked {
        if let Some((key, entry)) = self.lines.iter().find(|(_, entry)| !entry.status.is_final()) {
            return Err(format!("{key:?} never ends: {entry:?}"));
        }
        let mut spans: BTreeMap<&JobId, Vec<(UnixMs, UnixMs)>> = BTreeMap::new();
        for ((job, at, _), entry) in &self.lines {
            spans.entry(job).or_default().push((entry.since.unwrap_or(*at), *at));
        }
        for spans in spans.values_mut() {
            spans.sort_unstable();
            let mut reach = UnixMs(i64::MIN);
            // Each span reaches at least as far as the ones before it, so the last that begins in time decides.
            for (_, to) in spans.iter_mut() {
                reach = reach.max(*to);
                *to = reach;
            }
        }
        let answered = |job: &JobId, at: UnixMs| {
            let Some(spans) = spans.get(job) else { return false };
            let begun = spans.partition_point(|(from, _)| *from <= at);
            begun > 0 && at <= spans[begun - 1].1
        };
        let forgotten = self.passed.iter().find(|(job, at)| !answered(job, *at));
        match forgotten {
            Some((job, at)) => Err(format!("the fire time {} of {job} is forgotten", at.0)),
            None => Ok(()),
        }
    }
}
