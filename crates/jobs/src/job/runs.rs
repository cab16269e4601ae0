//! Runs go their way: each waits, is under way, is asked to end, ends, and perhaps begins again.

use super::Job;
use crate::machine::Turn;
use crate::run::{Phase, Place, Run, Under};
use crate::{
    CANCEL_GRACE_MS, CLAIM_AGE_MAX_MS, Cancel, Claim, Effect, Entry, Kind, OnLost, OnUnreachable, Outcome,
    Overlap, RUNNING_MAX, RunId, Start, Status, WORKER_WAIT_MS, Why,
};

impl Job {
    /// Moves every run on as far as it can go.
    pub(crate) fn advance(&mut self, turn: &mut Turn<'_>) {
        let mut index = 0;
        // Counted again only when something has happened: a hundred runs may wait behind one, at every event.
        let mut room = self.room();
        while index < self.record.runs.len() {
            let many = self.record.runs.len();
            if self.advance_one(turn, index, room) {
                room = self.room();
            }
            // A run that ended made place for the next one at the same index.
            if self.record.runs.len() == many {
                index += 1;
            }
        }
    }

    /// False: nothing has happened.
    fn advance_one(&mut self, turn: &mut Turn<'_>, index: usize, room: bool) -> bool {
        let boot = turn.now.boot_ms;
        match &mut self.record.runs[index].phase {
            Phase::Waiting { from_boot_ms, .. } if room && *from_boot_ms <= boot => {
                self.try_start(turn, index);
                true
            }
            Phase::Waiting { seatless_since_boot_ms, .. } => {
                *seatless_since_boot_ms = None;
                false
            }
            Phase::Running(Under { started_boot_ms, .. }) => {
                let started_boot_ms = *started_boot_ms;
                let timeout = self.timeout_ms();
                let over = timeout > 0 && boot >= started_boot_ms.saturating_add(timeout);
                if over {
                    self.end(turn, index, Why::Timeout);
                }
                over
            }
            Phase::Ending { under, why, until_boot_ms } if *until_boot_ms <= boot => {
                let (place, why) = (under.place, *why);
                self.insist(turn, index, place, why);
                true
            }
            Phase::Claiming | Phase::Ending { .. } => false,
        }
    }

    pub(super) fn timeout_ms(&self) -> u64 {
        self.record.definition.as_ref().map_or(0, |definition| definition.timeout_ms)
    }

    /// Whether one of those that wait may begin: one at a time, unless the job allows more.
    pub(super) fn room(&self) -> bool {
        let under_way = self.record.runs.iter().filter(|run| !matches!(run.phase, Phase::Waiting { .. }));
        let most = if self.overlap() == Overlap::Allow { RUNNING_MAX } else { 1 };
        under_way.count() < most
    }

    fn try_start(&mut self, turn: &mut Turn<'_>, index: usize) {
        let Some(definition) = self.record.definition.clone() else { return };
        let run = &self.record.runs[index];
        let place = match definition.kind {
            Kind::Command => Place::Process,
            Kind::Http => Place::Request,
            Kind::Function => match turn.seats.choose(&self.id, run.scheduled) {
                Some(worker) => Place::Worker(worker),
                None => return self.without_seat(turn, index),
            },
        };
        if !self.up && definition.kind != Kind::Function {
            // Its app was stopped meanwhile: it waits until the app is wanted again.
            return;
        }
        if definition.shared && run.claimed.is_none() && !run.by_hand {
            return self.ask_for(turn, index);
        }
        self.start(turn, index, place);
    }

    /// Several hosts have the job: whose is this fire time?
    fn ask_for(&mut self, turn: &Turn<'_>, index: usize) {
        let run = &self.record.runs[index];
        self.dirty = true;
        if run.attempt == 1 && turn.now.wall.since(run.scheduled) > CLAIM_AGE_MAX_MS {
            let run = self.record.runs.remove(index);
            return self.tell(Entry::skipped(run.scheduled, Why::Missed));
        }
        let run = self.run_id(run);
        self.record.runs[index].phase = Phase::Claiming;
        self.out.push(Effect::Claim { run, above: turn.last_token() });
    }

    /// It is its turn, but no worker has its function.
    fn without_seat(&mut self, turn: &mut Turn<'_>, index: usize) {
        let boot = turn.now.boot_ms;
        if self.times.is_none() || !self.up {
            return;
        }
        let Phase::Waiting { seatless_since_boot_ms, .. } = &mut self.record.runs[index].phase else {
            return;
        };
        let since = *seatless_since_boot_ms.get_or_insert(boot);
        if boot >= since.saturating_add(WORKER_WAIT_MS) {
            let run = self.record.runs.remove(index);
            self.dirty = true;
            self.tell(Entry { by_hand: run.by_hand, ..Entry::skipped(run.scheduled, Why::NoWorker) });
        }
    }

    fn start(&mut self, turn: &mut Turn<'_>, index: usize, place: Place) {
        let jitter = self.jitter(self.record.runs[index].scheduled);
        let run = &mut self.record.runs[index];
        let token = run.claimed.unwrap_or_else(|| turn.token());
        let under = Under { token, place, started: turn.now.wall, started_boot_ms: turn.now.boot_ms };
        run.phase = Phase::Running(under);
        let run = run.clone();
        if let Place::Worker(worker) = place {
            turn.seats.take(worker);
        }
        let totals = &mut self.record.totals;
        totals.started += 1;
        if run.attempt == 1 && !run.by_hand {
            let late = turn.now.wall.since(run.scheduled).saturating_sub(jitter);
            let late = u64::try_from(late).unwrap_or(0);
            totals.late_ms = totals.late_ms.saturating_add(late);
            totals.late_most_ms = totals.late_most_ms.max(late);
        }
        self.dirty = true;
        self.entries.push(entry(&run, Status::Started));
        let run_id = self.run_id(&run);
        self.out.push(Effect::Start(Start { run: run_id, token, place, by_hand: run.by_hand }));
    }

    /// Asks a run to end; one that has not begun is dropped.
    pub(crate) fn end(&mut self, turn: &mut Turn<'_>, index: usize, why: Why) {
        let run = &self.record.runs[index];
        match run.phase.clone() {
            Phase::Waiting { .. } | Phase::Claiming => {
                let dropped = Entry { by_hand: run.by_hand, ..Entry::skipped(run.scheduled, why) };
                self.record.runs.remove(index);
                self.dirty = true;
                self.tell(dropped);
            }
            Phase::Running(under) => {
                let until_boot_ms = turn.now.boot_ms.saturating_add(CANCEL_GRACE_MS);
                self.ask_to_end(index, &under, why, false);
                self.record.runs[index].phase = Phase::Ending { under, why, until_boot_ms };
                self.dirty = true;
            }
            Phase::Ending { .. } => {}
        }
    }

    pub(super) fn ask_to_end(&mut self, index: usize, under: &Under, why: Why, hard: bool) {
        let run = self.run_id(&self.record.runs[index]);
        self.out.push(Effect::Cancel(Cancel { run, token: under.token, place: under.place, why, hard }));
    }

    /// It was asked to end and did not. A process is made to; a function cannot be: its worker goes on with it, and the
    /// run counts as ended.
    fn insist(&mut self, turn: &mut Turn<'_>, index: usize, place: Place, why: Why) {
        match place {
            Place::Process => {
                let Phase::Ending { under, until_boot_ms, .. } = &mut self.record.runs[index].phase else {
                    return;
                };
                *until_boot_ms = turn.now.boot_ms.saturating_add(CANCEL_GRACE_MS);
                let under = under.clone();
                self.ask_to_end(index, &under, why, true);
            }
            Place::Worker(_) | Place::Request => {
                self.finish(turn, index, ended_by(why), Some(why), None);
            }
        }
    }

    pub(crate) fn claimed(&mut self, turn: &mut Turn<'_>, run: &RunId, claim: Claim) {
        let Some(index) = self.find(run) else { return };
        if self.record.runs[index].phase != Phase::Claiming {
            return;
        }
        self.dirty = true;
        let at_any_price = self
            .record
            .definition
            .as_ref()
            .is_some_and(|definition| definition.on_unreachable == OnUnreachable::Run);
        match claim {
            Claim::Ours { token } if turn.adopt(token) => self.go_on_as(turn, index, token),
            // Meanwhile a run of this host only was given that token: the store has to give a higher one.
            Claim::Ours { .. } => {
                self.out.push(Effect::Claim { run: run.clone(), above: turn.last_token() });
            }
            Claim::Unknown if at_any_price => {
                let token = turn.token();
                self.go_on_as(turn, index, token);
            }
            Claim::Theirs => self.leave_to_others(index, Why::ElsewhereClaimed),
            Claim::Unknown => self.leave_to_others(index, Why::StoreUnreachable),
        }
    }

    fn go_on_as(&mut self, turn: &Turn<'_>, index: usize, token: u64) {
        let run = &mut self.record.runs[index];
        run.claimed = Some(token);
        run.phase = Phase::Waiting {
            from: turn.now.wall,
            from_boot_ms: turn.now.boot_ms,
            seatless_since_boot_ms: None,
        };
    }

    fn leave_to_others(&mut self, index: usize, why: Why) {
        let run = self.record.runs.remove(index);
        self.tell(Entry::skipped(run.scheduled, why));
    }

    pub(crate) fn ended(&mut self, turn: &mut Turn<'_>, run: &RunId, token: u64, outcome: Outcome) {
        let Some(index) = self.find(run) else { return };
        let known = self.record.runs[index].clone();
        let Some(under) = known.under().filter(|under| under.token == token) else { return };
        let asked = match &known.phase {
            Phase::Ending { why, .. } => Some(*why),
            Phase::Waiting { .. } | Phase::Claiming | Phase::Running(_) => None,
        };
        match (outcome, asked) {
            // It came to its end before it heard that it should.
            (Outcome::Succeeded(result), _) => self.finish(turn, index, Status::Succeeded, None, result),
            (Outcome::Failed(error), Some(why)) => {
                self.finish(turn, index, ended_by(why), Some(why), Some(error));
            }
            (Outcome::Failed(error), None) => self.finish(turn, index, Status::Failed, None, Some(error)),
            (Outcome::Lost | Outcome::Refused, Some(why)) => {
                self.finish(turn, index, ended_by(why), Some(why), None);
            }
            (Outcome::Lost, None) => self.lose(turn, index),
            (Outcome::Refused, None) => {
                if let Place::Worker(worker) = under.place {
                    turn.seats.leave(worker);
                    turn.seats.give_back(worker);
                }
                self.record.runs[index].phase = Phase::Waiting {
                    from: turn.now.wall,
                    from_boot_ms: turn.now.boot_ms,
                    seatless_since_boot_ms: None,
                };
                self.dirty = true;
            }
        }
    }

    pub(crate) fn lose(&mut self, turn: &mut Turn<'_>, index: usize) {
        self.finish(turn, index, Status::Lost, Some(Why::WorkerDied), None);
    }

    /// The end of an attempt, and perhaps the beginning of the next.
    pub(super) fn finish(
        &mut self,
        turn: &mut Turn<'_>,
        index: usize,
        status: Status,
        why: Option<Why>,
        result: Option<String>,
    ) {
        let run = self.record.runs.remove(index);
        let took_ms = run.under().map(|under| turn.now.boot_ms.saturating_sub(under.started_boot_ms));
        if let Some(Under { place: Place::Worker(worker), .. }) = run.under() {
            turn.seats.give_back(*worker);
        }
        let ended = Some(turn.now.wall);
        self.dirty = true;
        self.tell(Entry { why, result, ended, took_ms, ..entry(&run, status) });
        if let Some(wait_ms) = self.next_attempt(run.attempt, status) {
            let from = turn.now.wall.plus(i64::try_from(wait_ms).unwrap_or(i64::MAX));
            let from_boot_ms = turn.now.boot_ms.saturating_add(wait_ms);
            let phase = Phase::Waiting { from, from_boot_ms, seatless_since_boot_ms: None };
            self.record.runs.insert(index, Run { attempt: run.attempt + 1, claimed: None, phase, ..run });
        }
    }

    /// How long to wait before another attempt, if there is to be one.
    fn next_attempt(&self, attempt: u32, status: Status) -> Option<u64> {
        let definition = self.record.definition.as_ref()?;
        let most = match status {
            Status::Failed => definition.retries.saturating_add(1),
            Status::Lost => match definition.on_lost {
                OnLost::Record => 0,
                OnLost::Rerun => definition.attempts_when_lost(),
            },
            Status::Started | Status::Succeeded | Status::Cancelled | Status::Skipped => 0,
        };
        (attempt < most).then(|| definition.backoff.before(attempt + 1))
    }

    fn find(&self, id: &RunId) -> Option<usize> {
        self.record.runs.iter().position(|run| run.is(id.scheduled, id.attempt))
    }
}

/// How a run stands that was ended for this reason.
pub(super) fn ended_by(why: Why) -> Status {
    if why == Why::Timeout { Status::Failed } else { Status::Cancelled }
}

fn entry(run: &Run, status: Status) -> Entry {
    let under = run.under();
    Entry {
        scheduled: run.scheduled,
        attempt: run.attempt,
        status,
        why: None,
        by_hand: run.by_hand,
        token: under.map(|under| under.token),
        place: under.map(|under| under.place),
        started: under.map(|under| under.started),
        ended: None,
        took_ms: None,
        result: None,
        count: 1,
        since: None,
    }
}
