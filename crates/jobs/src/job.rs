//! One job: its fire times become runs, its runs go their way.

use crate::due::due;
use crate::machine::Turn;
use crate::run::{Phase, Place, Run, Under};
use crate::when::When;
use crate::{
    CANCEL_GRACE_MS, Cancel, Claim, Deadlines, Definition, Effect, Entry, JobId, Kind, Missed, OnLost,
    Outcome, Overlap, RUNNING_MAX, Record, RunId, Start, Status, UnixMs, WAITING_MAX, WORKER_WAIT_MS, Why,
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
}

// === impl Job: fire times

impl Job {
    /// Looks which fire times have come.
    pub(crate) fn look(&mut self, turn: &mut Turn<'_>) {
        let Some(times) = self.times.clone().filter(|_| self.fires()) else { return };
        let wall = turn.now.wall;
        if wall < self.record.cursor {
            // The clock was set back. What was lived does not come again; what was not, may. It is made durable: a
            // daemon that comes after this one must know from where on fire times are owed.
            self.record.cursor = wall;
            self.dirty = true;
            self.seek();
        }
        if self.next.is_none_or(|next| next > wall) {
            return;
        }
        let due = due(&times, &self.record.lived, self.record.cursor, wall);
        self.miss(turn, &due.missed, due.more, !due.on_time.is_empty());
        for (since, at) in due.on_time {
            self.record.lived.extend(since, at);
            self.admit(turn, at, Cause::Time);
        }
        self.record.cursor = due.cursor;
        self.dirty = true;
        self.seek();
    }

    /// Fire times that nobody was there for.
    fn miss(&mut self, turn: &mut Turn<'_>, missed: &[UnixMs], more: bool, one_is_due: bool) {
        let policy = self.record.definition.as_ref().map_or(Missed::Skip, |definition| definition.missed);
        let made_up = match policy {
            Missed::Skip => 0,
            // One that is on time makes up for all before it.
            Missed::Once => usize::from(!one_is_due),
            Missed::All { most } => most as usize,
        };
        let (skipped, made_up) = missed.split_at(missed.len().saturating_sub(made_up));
        if let (Some(first), Some(last)) = (skipped.first(), skipped.last()) {
            let mut entry = Entry::skipped(*last, Why::Missed);
            entry.count = skipped.len() as u64 + u64::from(more);
            entry.since = match &self.times {
                Some(times) if more => times.next_after(self.record.cursor),
                Some(_) | None => Some(*first),
            };
            self.tell(entry);
        }
        for at in made_up {
            self.record.lived.extend(*at, *at);
            self.admit(turn, *at, Cause::MadeUp);
        }
    }

    /// A run that somebody asked for. Its time is never a fire time of the schedule: those are whole seconds.
    pub(crate) fn run_now(&mut self, turn: &mut Turn<'_>) {
        let mut at = turn.now.wall.max(self.record.by_hand.plus(1));
        if at.0 % 1_000 == 0 {
            at = at.plus(1);
        }
        self.record.by_hand = at;
        self.dirty = true;
        self.admit(turn, at, Cause::Hand);
    }

    fn admit(&mut self, turn: &mut Turn<'_>, at: UnixMs, cause: Cause) {
        self.dirty = true;
        let busy = !self.record.runs.is_empty();
        let overlap = self.overlap();
        if self.record.runs.len() >= WAITING_MAX + RUNNING_MAX {
            return self.tell(Entry::skipped(at, Why::QueueFull));
        }
        let waiting =
            self.record.runs.iter().filter(|run| matches!(run.phase, Phase::Waiting { .. })).count();
        match overlap {
            Overlap::Forbid if busy && cause == Cause::Time => {
                return self.tell(Entry::skipped(at, Why::Overlap));
            }
            Overlap::Replace if busy => self.replace(turn),
            Overlap::Forbid | Overlap::Queue | Overlap::Replace | Overlap::Allow
                if waiting >= WAITING_MAX =>
            {
                return self.tell(Entry::skipped(at, Why::QueueFull));
            }
            Overlap::Forbid | Overlap::Queue | Overlap::Replace | Overlap::Allow => {}
        }
        let jitter = if cause == Cause::Time { self.jitter(at) } else { 0 };
        let from = at.plus(jitter);
        let wait = u64::try_from(from.since(turn.now.wall)).unwrap_or(0);
        let from_boot_ms = turn.now.boot_ms.saturating_add(if cause == Cause::Time { wait } else { 0 });
        self.record.runs.push(Run {
            scheduled: at,
            attempt: 1,
            by_hand: cause == Cause::Hand,
            made_up: cause == Cause::MadeUp,
            claimed: None,
            phase: Phase::Waiting { from, from_boot_ms, seatless_since_boot_ms: None },
        });
    }

    /// Ends what is under way, drops what waits.
    fn replace(&mut self, turn: &mut Turn<'_>) {
        for index in (0..self.record.runs.len()).rev() {
            self.end(turn, index, Why::Replaced);
        }
    }

    /// The same for a fire time whoever computes it: chance is a function of job and time.
    fn jitter(&self, at: UnixMs) -> i64 {
        let most = self.record.definition.as_ref().map_or(0, |definition| definition.jitter_ms);
        if most == 0 {
            return 0;
        }
        let name = self.id.to_string();
        let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let drawn = mix(seed ^ at.0.unsigned_abs()) % most.saturating_add(1);
        i64::try_from(drawn).unwrap_or(i64::MAX)
    }
}

// === impl Job: runs

impl Job {
    /// Moves every run on as far as it can go.
    pub(crate) fn advance(&mut self, turn: &mut Turn<'_>) {
        let mut index = 0;
        while index < self.record.runs.len() {
            let many = self.record.runs.len();
            self.advance_one(turn, index);
            // A run that ended made place for the next one at the same index.
            if self.record.runs.len() == many {
                index += 1;
            }
        }
    }

    fn advance_one(&mut self, turn: &mut Turn<'_>, index: usize) {
        let boot = turn.now.boot_ms;
        let has_turn = self.has_turn(index);
        match &mut self.record.runs[index].phase {
            Phase::Waiting { from_boot_ms, .. } if has_turn && *from_boot_ms <= boot => {
                self.try_start(turn, index);
            }
            Phase::Waiting { seatless_since_boot_ms, .. } => *seatless_since_boot_ms = None,
            Phase::Claiming => {}
            Phase::Running(Under { started_boot_ms, .. }) => {
                let started_boot_ms = *started_boot_ms;
                let timeout = self.timeout_ms();
                if timeout > 0 && boot >= started_boot_ms.saturating_add(timeout) {
                    self.end(turn, index, Why::Timeout);
                }
            }
            Phase::Ending { under, why, until_boot_ms } if *until_boot_ms <= boot => {
                let (place, why) = (under.place, *why);
                self.insist(turn, index, place, why);
            }
            Phase::Ending { .. } => {}
        }
    }

    fn timeout_ms(&self) -> u64 {
        self.record.definition.as_ref().map_or(0, |definition| definition.timeout_ms)
    }

    /// One at a time, unless the job allows more.
    fn has_turn(&self, index: usize) -> bool {
        let under_way = self
            .record
            .runs
            .iter()
            .enumerate()
            .filter(|(at, run)| *at != index && !matches!(run.phase, Phase::Waiting { .. }));
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
            let id = self.run_id(run);
            self.record.runs[index].phase = Phase::Claiming;
            self.dirty = true;
            self.out.push(Effect::Claim { run: id });
            return;
        }
        self.start(turn, index, place);
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

    fn ask_to_end(&mut self, index: usize, under: &Under, why: Why, hard: bool) {
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
        let why = match claim {
            Claim::Ours { token } => {
                let run = &mut self.record.runs[index];
                run.claimed = Some(token);
                run.phase = Phase::Waiting {
                    from: turn.now.wall,
                    from_boot_ms: turn.now.boot_ms,
                    seatless_since_boot_ms: None,
                };
                return;
            }
            Claim::Theirs => Why::ElsewhereClaimed,
            Claim::Unknown => Why::StoreUnreachable,
        };
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
    fn finish(
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
}

// === impl Job: after a restart

impl Job {
    /// Waits were measured with a boot clock that may be another one now.
    pub(crate) fn restore_clocks(&mut self, turn: &Turn<'_>) {
        let most = self.record.definition.as_ref().map_or(0, |definition| {
            definition.jitter_ms.max(definition.backoff.most_ms).max(definition.backoff.first_ms)
        });
        for run in &mut self.record.runs {
            if let Phase::Waiting { from, from_boot_ms, seatless_since_boot_ms } = &mut run.phase {
                let wait = u64::try_from(from.since(turn.now.wall)).unwrap_or(0).min(most);
                *from_boot_ms = turn.now.boot_ms.saturating_add(wait);
                *seatless_since_boot_ms = None;
            }
        }
    }

    /// What was under way goes on where somebody still knows of it, and is lost where nobody does.
    pub(crate) fn begin(&mut self, turn: &mut Turn<'_>, same_keeper: bool) {
        let mut index = 0;
        while index < self.record.runs.len() {
            let run = self.record.runs[index].clone();
            let run_id = self.run_id(&run);
            let known = match run.under().map(|under| under.place) {
                None => true,
                Some(Place::Worker(worker)) => turn.seats.has(worker),
                Some(Place::Process) => same_keeper,
                Some(Place::Request) => false,
            };
            if !known {
                let many = self.record.runs.len();
                match run.phase {
                    Phase::Ending { why, .. } => self.finish(turn, index, ended_by(why), Some(why), None),
                    Phase::Waiting { .. } | Phase::Claiming | Phase::Running(_) => self.lose(turn, index),
                }
                index += usize::from(self.record.runs.len() == many);
                continue;
            }
            match run.phase {
                Phase::Waiting { .. } => {}
                Phase::Claiming => self.out.push(Effect::Claim { run: run_id }),
                Phase::Running(under) => self.start_again(turn, run_id, &under, run.by_hand),
                Phase::Ending { under, why, .. } => {
                    self.start_again(turn, run_id, &under, run.by_hand);
                    self.ask_to_end(index, &under, why, false);
                    // Whether it was ever begun is not known: it has its full time to answer.
                    let until_boot_ms = turn.now.boot_ms.saturating_add(CANCEL_GRACE_MS);
                    self.record.runs[index].phase = Phase::Ending { under, why, until_boot_ms };
                }
            }
            index += 1;
        }
    }

    fn start_again(&mut self, turn: &mut Turn<'_>, run: RunId, under: &Under, by_hand: bool) {
        if let Place::Worker(worker) = under.place {
            turn.seats.take(worker);
        }
        self.out.push(Effect::Start(Start { run, token: under.token, place: under.place, by_hand }));
    }

    pub(crate) fn deadlines(&self, deadlines: &mut Deadlines) {
        if self.fires() {
            deadlines.on_wall(self.next);
        }
        for (index, run) in self.record.runs.iter().enumerate() {
            match &run.phase {
                Phase::Waiting { seatless_since_boot_ms: Some(since), .. }
                    if self.up && self.has_turn(index) =>
                {
                    deadlines.on_boot(Some(since.saturating_add(WORKER_WAIT_MS)));
                }
                Phase::Waiting { from_boot_ms, seatless_since_boot_ms: None, .. }
                    if self.has_turn(index) && self.could_start() =>
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

/// How a run stands that was ended for this reason.
fn ended_by(why: Why) -> Status {
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

/// SplitMix64's finaliser: chance without a state.
pub(crate) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
