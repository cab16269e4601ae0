//! What is remembered of one queue.

use skep_core::{Now, Span};

use super::{AVOID_BLIND, AVOID_MAX, AVOID_MIN, LINGER, Observation, Occupant, RELAPSE, SUSPECT};

/// Time between two looks that is long against the moment a healthy worker takes to accept.
const LONG: Span = Span(3_000_000);

/// What is remembered of one queue.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    queue: u32,
    arrivals: Option<u64>,
    looked_at: Option<Now>,
    /// First look at which the queue was not empty, without progress since.
    standing_since: Option<Now>,
    avoided_until: Option<Now>,
    /// Length of the last avoidance, and its end.
    last: Option<(Span, Now)>,
    pending: u32,
    /// Its worker accepted something between the last two looks.
    accepting: bool,
    /// It was found stuck, and its worker has shown no sign of life since.
    suspect_since: Option<Now>,
    /// Last time the queue of a retired slot was not empty.
    leaving_since: Option<Now>,
}

/// What a look at one queue says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing waits.
    Empty,
    /// Something waits that was not seen waiting before, or the worker has accepted something meanwhile.
    Busy,
    /// Nothing was accepted for this long.
    Standing(Span),
    /// Nobody is there to accept.
    Orphaned,
}

// === impl Memory ===

impl Memory {
    pub(super) fn new() -> Self {
        Self {
            queue: 0,
            arrivals: None,
            looked_at: None,
            standing_since: None,
            avoided_until: None,
            last: None,
            pending: 0,
            accepting: false,
            suspect_since: None,
            leaving_since: None,
        }
    }

    pub(super) fn look(&mut self, now: Now, timed: bool, seen: &Observation) -> Verdict {
        let progress = self.progressed(seen);
        self.accepting = progress;
        if progress || seen.pending < self.pending {
            self.suspect_since = None;
        }
        self.pending = seen.pending;
        if seen.queue < self.queue {
            // Shorter than we left it: whoever was stuck here accepts again.
            self.try_again(now);
        }
        // All that came since the last look is still there, and that look was long ago: nearly certainly it did
        // not come in the last instant, unless it is what woke us up.
        let counted = timed && self.arrivals.is_some() && seen.arrivals.is_some();
        let unmoved = self.looked_at.filter(|at| counted && !progress && now.since(*at) >= LONG);
        self.queue = seen.queue;
        self.arrivals = seen.arrivals;
        self.looked_at = Some(now);
        if seen.occupant != Occupant::Leaving {
            self.leaving_since = None;
        } else if seen.queue > 0 || self.leaving_since.is_none() {
            self.leaving_since = Some(now);
        }
        if seen.queue == 0 {
            self.standing_since = None;
            return Verdict::Empty;
        }
        if seen.occupant != Occupant::Live {
            self.standing_since = None;
            return Verdict::Orphaned;
        }
        if progress {
            self.standing_since = None;
        }
        let since = *self.standing_since.get_or_insert(unmoved.unwrap_or(now));
        if since == now { Verdict::Busy } else { Verdict::Standing(now.since(since)) }
    }

    /// How many wait beside those that were ordered out. Of these some may be gone already, which is no sign of life of the
    /// worker: it is believed to have accepted only what they cannot account for. Without a count of arrivals nobody knows
    /// who is who, and better one is ordered twice than one is forgotten.
    pub(super) fn left(&self, seen: &Observation) -> u32 {
        let (Some(before), Some(after)) = (self.arrivals, seen.arrivals) else { return seen.queue };
        let came = u32::try_from(after.saturating_sub(before)).unwrap_or(u32::MAX);
        self.queue.saturating_add(came).clamp(seen.queue.saturating_sub(seen.ordered), seen.queue)
    }

    /// Whether something was accepted since the last look. Without a count of arrivals only a queue that got
    /// shorter proves it.
    fn progressed(&self, seen: &Observation) -> bool {
        match (self.arrivals, seen.arrivals) {
            (Some(before), Some(after)) => {
                let came = after.saturating_sub(before);
                u64::from(self.queue) + came > u64::from(seen.queue)
            }
            (None, _) | (_, None) => seen.queue < self.queue,
        }
    }

    /// The rule takes `taken` connections out: no progress of the worker.
    pub(super) fn taken(&mut self, taken: u32) {
        self.queue = self.queue.saturating_sub(taken);
    }

    /// The place is stuck: avoid it, longer if it was found stuck not long ago.
    pub(super) fn avoid(&mut self, now: Now) {
        if self.avoided(now).is_some() {
            return;
        }
        let first = if self.arrivals.is_some() { AVOID_MIN } else { AVOID_BLIND };
        let length = match self.last {
            Some((length, end)) if now.since(end) <= RELAPSE => {
                Span(length.0.saturating_mul(2).min(AVOID_MAX.0))
            }
            _ => first,
        };
        self.avoided_until = Some(now + length);
        self.suspect_since = Some(now);
        self.last = Some((length, now + length));
    }

    /// A queue that stands still cannot be emptied: keep on avoiding it.
    pub(super) fn prolong(&mut self, now: Now, span: Span) {
        self.avoided_until = self.avoided_until.map(|until| until.max(now + span));
    }

    /// Tries the place again although its time is not over.
    pub(super) fn try_again(&mut self, now: Now) {
        if self.avoided_until.take().is_some()
            && let Some((_, end)) = &mut self.last
        {
            *end = now;
        }
    }

    /// The worker has gone: its successor starts with a clean sheet.
    pub(super) fn forgive(&mut self) {
        self.avoided_until = None;
        self.last = None;
        self.suspect_since = None;
    }

    /// Until when the place is to be avoided; ends the avoidance when its time has come.
    pub(super) fn avoided(&mut self, now: Now) -> Option<Now> {
        self.avoided_until = self.avoided_until.filter(|until| *until > now);
        self.avoided_until
    }

    /// Whether its worker is rather not to be trusted with anything: it was stuck, and neither accepted nor
    /// acknowledged anything since.
    pub(super) fn suspect(&self, now: Now) -> bool {
        self.suspect_since.is_some_and(|since| now.since(since) < SUSPECT)
    }

    /// Whether its worker was just seen accepting. Not to be seen where arrivals are not counted.
    pub(super) fn accepting(&self) -> bool {
        self.accepting
    }

    /// When a retired place may be closed.
    pub(super) fn closes_at(&self) -> Option<Now> {
        self.leaving_since.map(|since| since + LINGER)
    }
}
