//! Fire times become runs, or are missed.

use super::{Cause, Job};
use crate::due::due;
use crate::machine::Turn;
use crate::run::{Phase, Run};
use crate::{Entry, Missed, Overlap, RUNNING_MAX, UnixMs, WAITING_MAX, Why};

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
    pub(super) fn jitter(&self, at: UnixMs) -> i64 {
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

/// SplitMix64's finaliser: chance without a state.
pub(crate) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
