//! The rule as a machine.

use std::collections::BTreeMap;

use skep_core::{Now, Span};

use super::budget::Budget;
use super::place::{Memory, Verdict};
use super::{Again, Arm, LOOK, LOOK_BLIND, Observation, Occupant, Orders, PACE, PlaceId, Power, WAIT};

/// Wake-ups that must be saved up before the rule goes back to waiting for an event after each connection.
/// Below that, traffic is heavy and samples are cheaper at a steady pace.
const SAVED_TO_ARM: u64 = 6;

/// Wake-ups that must be saved up for a second look at a queue that merely is not empty; the last ones are kept for
/// suspects.
const SAVED_TO_LOOK: u64 = 3;
/// Most connections that one worker is given in one round: as many as are lost for a while should it turn out to be
/// blocked itself. It gets more when it has acknowledged them. (A window of 16 is what makes hand-over cheap.)
const GIVEN_MAX: u32 = 16;
/// Shortest queue of which half may stay for a look, to see whether it moves.
const SUSPECT_MIN: u32 = 3;

const NEVER: Again = Again { arm: Arm::Nothing, at: None };

/// The rule's memory of one group.
#[derive(Debug, Clone)]
pub struct Rule {
    power: Power,
    places: BTreeMap<PlaceId, Memory>,
    budget: Budget,
    /// What the last orders said about the next sample.
    again: Again,
}

/// One queue as this round sees it.
#[derive(Debug, Clone, Copy)]
struct Line {
    place: PlaceId,
    occupant: Occupant,
    queue: u32,
    verdict: Verdict,
    avoided: bool,
    /// Progress can be told from standstill by counting.
    counted: bool,
    /// It has hand-overs to acknowledge, or was stuck and has shown no sign of life since.
    doubtful: bool,
    /// It was just seen accepting.
    accepting: bool,
    /// More are there, but were ordered out.
    ordered: bool,
}

/// The other places that may be given work.
#[derive(Debug, Clone, Copy)]
struct Others {
    /// Their shortest queue.
    shortest: u32,
    /// Less than one connection waits for each: there is work to do for them. When everybody is busy, queues
    /// differ by chance and moving connections about only costs.
    idle: bool,
}

// === impl Rule ===

impl Rule {
    /// A rule that knows nothing yet.
    #[must_use]
    pub fn new(power: Power) -> Self {
        Self { power, places: BTreeMap::new(), budget: Budget::default(), again: NEVER }
    }

    /// Takes one sample of all queues of a group and says what to do.
    pub fn observe(&mut self, now: Now, seen: &[Observation]) -> Orders {
        self.budget.spend(now);
        self.places.retain(|place, _| seen.iter().any(|one| one.place == *place));
        let timed = self.again.at.is_some_and(|at| at <= now);
        let lines: Vec<Line> = seen.iter().map(|one| self.look(now, timed, one)).collect();
        let mut orders =
            Orders { steal: Vec::new(), to: Vec::new(), avoid: Vec::new(), close: Vec::new(), again: NEVER };
        for line in &lines {
            self.decide(now, timed, line, &lines, &mut orders);
        }
        if !orders.steal.is_empty() {
            orders.to = targets(&lines, &orders.steal);
            self.ration(&mut orders);
        }
        let open = || lines.iter().filter(|line| line.occupant == Occupant::Live && !line.avoided);
        let crowded = open().count() > 0 && open().all(|line| line.queue > 0);
        for line in &lines {
            let memory = self.places.entry(line.place).or_insert_with(Memory::new);
            if crowded && line.avoided && line.queue == 0 {
                memory.try_again(now);
            }
            if memory.avoided(now).is_some() {
                orders.avoid.push(line.place);
            }
            if line.queue == 0 && !line.ordered && memory.closes_at().is_some_and(|at| at <= now) {
                orders.close.push(line.place);
            }
        }
        orders.avoid.sort_unstable();
        orders.again = self.again(now, &lines, &orders);
        self.again = orders.again.clone();
        orders
    }

    fn look(&mut self, now: Now, timed: bool, seen: &Observation) -> Line {
        let memory = self.places.entry(seen.place).or_insert_with(Memory::new);
        if seen.occupant != Occupant::Live {
            memory.forgive();
        }
        let queue = memory.left(seen);
        let verdict = memory.look(now, timed, &Observation { queue, ..*seen });
        Line {
            place: seen.place,
            occupant: seen.occupant,
            queue,
            verdict,
            doubtful: seen.pending > 0 || memory.suspect(now),
            accepting: memory.accepting(),
            ordered: queue < seen.queue,
            avoided: memory.avoided(now).is_some(),
            counted: seen.arrivals.is_some(),
        }
    }

    /// What to do about one queue.
    fn decide(&mut self, now: Now, timed: bool, line: &Line, all: &[Line], orders: &mut Orders) {
        let Some(others) = Others::of(line.place, all) else { return };
        // Connections are moved to a queue at most half as long; better none than from one crowd to another.
        if line.verdict != Verdict::Orphaned && !others.shorter_than_half(line) {
            return;
        }
        let guess = !line.counted && !line.avoided;
        // Avoiding a place on suspicion is fair only if it is looked at again at once.
        let soon = self.budget.saved(now) >= 1;
        let half = line.queue.saturating_sub(others.shortest).div_ceil(2);
        let amount = match line.verdict {
            Verdict::Empty => return,
            Verdict::Orphaned => line.queue,
            Verdict::Standing(_) if guess && !(others.idle && soon) => return,
            Verdict::Standing(time) if time >= line.look() || line.avoided => {
                self.memory(line.place).avoid(now);
                // Not shorter is not yet stuck where arrivals are not counted. Nothing new comes in now: if the
                // other half gets shorter until the next look, its worker was only busy.
                if guess && line.queue >= SUSPECT_MIN { half } else { line.queue }
            }
            // Came after the place was avoided: handshakes that were under way.
            Verdict::Busy if line.avoided => line.queue,
            Verdict::Busy if timed && others.idle && line.queue >= 2 => half,
            Verdict::Busy | Verdict::Standing(_) => return,
        };
        match self.power {
            Power::Move => orders.steal.push((line.place, amount)),
            Power::Steer => self.memory(line.place).prolong(now, WAIT),
        }
    }

    /// Cuts the thefts to what the targets may be given at once.
    fn ration(&mut self, orders: &mut Orders) {
        let mut left = (orders.to.len() as u32).saturating_mul(GIVEN_MAX);
        for (place, amount) in &mut orders.steal {
            *amount = left.min(*amount);
            left -= *amount;
            if let Some(memory) = self.places.get_mut(place) {
                memory.taken(*amount);
            }
        }
        orders.steal.retain(|(_, amount)| *amount > 0);
    }

    fn memory(&mut self, place: PlaceId) -> &mut Memory {
        self.places.entry(place).or_insert_with(Memory::new)
    }

    fn again(&mut self, now: Now, lines: &[Line], orders: &Orders) -> Again {
        let closing = lines
            .iter()
            .filter(|line| !orders.close.contains(&line.place))
            .filter_map(|line| self.places.get(&line.place)?.closes_at())
            .min();
        let live = lines.iter().filter(|line| line.occupant == Occupant::Live).count();
        let possible = match self.power {
            Power::Move => live >= 1 && lines.len() > 1,
            Power::Steer => live > 1,
        };
        if !possible {
            return Again { arm: Arm::Nothing, at: closing };
        }
        let avoidance =
            orders.avoid.iter().filter_map(|place| self.places.get_mut(place)?.avoided(now)).min();
        let later = avoidance.into_iter().chain(closing).min();
        // A queue that nothing can be done about would wake us up for nothing, again and again.
        let matters = |line: &&Line| match self.power {
            Power::Move => live > 1 || line.occupant != Occupant::Live,
            Power::Steer => line.occupant == Occupant::Live,
        };
        let waiting =
            lines.iter().filter(matters).filter_map(|line| self.wait(now, line, lines, orders)).min();
        let pace = (self.budget.saved(now) < SAVED_TO_ARM).then_some(PACE);
        match waiting.or(pace) {
            Some(span) => {
                let next = self.budget.at(now + span);
                let tried = self.tried(now, lines);
                let arm = if tried.is_empty() { Arm::Nothing } else { Arm::Only(tried) };
                Again { arm, at: Some(later.map_or(next, |later| later.min(next))) }
            }
            None if lines.iter().all(|line| matters(&line)) => Again { arm: Arm::All, at: later },
            None => {
                let places = lines.iter().filter(matters).map(|line| line.place).collect();
                Again { arm: Arm::Only(places), at: later }
            }
        }
    }

    /// Places that were stuck and may get connections again: if they still are stuck, only the first connection
    /// shall find out, and not wait for the next timed sample.
    fn tried(&self, now: Now, lines: &[Line]) -> Vec<PlaceId> {
        let again = |line: &&Line| {
            let memory = self.places.get(&line.place);
            line.queue == 0 && !line.avoided && memory.is_some_and(|memory| memory.suspect(now))
        };
        if self.budget.saved(now) <= SAVED_TO_LOOK {
            return Vec::new();
        }
        lines.iter().filter(again).map(|line| line.place).collect()
    }

    /// How long to wait before the next look at a queue that is not empty.
    fn wait(&self, now: Now, line: &Line, all: &[Line], orders: &Orders) -> Option<Span> {
        let taken = orders.steal.iter().find(|(from, _)| *from == line.place).map_or(0, |(_, n)| *n);
        if line.queue <= taken {
            // How many are left is known only when those that were ordered out are gone.
            return line.ordered.then(|| line.look());
        }
        let others = Others::of(line.place, all);
        let could_move = others.is_some_and(|others| others.idle && others.shorter_than_half(line));
        Some(match (line.verdict, self.power) {
            (Verdict::Busy, _)
                if could_move
                    && (line.doubtful || line.counted || self.budget.saved(now) >= SAVED_TO_LOOK) =>
            {
                line.look()
            }
            (Verdict::Standing(time), _) if could_move && (time < line.look() || taken > 0) => line.look(),
            (Verdict::Orphaned, _) if taken > 0 => line.look(), // the rest follows at once
            (Verdict::Busy | Verdict::Standing(_) | Verdict::Orphaned | Verdict::Empty, Power::Move) => PACE,
            (Verdict::Busy | Verdict::Standing(_) | Verdict::Orphaned | Verdict::Empty, Power::Steer) => WAIT,
        })
    }
}

// === impl Others ===

impl Others {
    fn of(place: PlaceId, all: &[Line]) -> Option<Self> {
        let able = || all.iter().filter(|line| line.place != place && line.able()).map(|line| line.queue);
        let shortest = able().min()?;
        let waiting: u64 = able().map(u64::from).sum();
        Some(Self { shortest, idle: waiting < able().count() as u64 })
    }

    fn shorter_than_half(self, line: &Line) -> bool {
        u64::from(self.shortest) * 2 < u64::from(line.queue)
    }
}

/// Those that get what is stolen: able, not robbed themselves; those first that were just seen accepting, then
/// the emptiest; only those about as good as the first.
fn targets(lines: &[Line], robbed: &[(PlaceId, u32)]) -> Vec<PlaceId> {
    let mut able: Vec<&Line> = lines
        .iter()
        .filter(|line| line.able() && !robbed.iter().any(|(place, _)| *place == line.place))
        .collect();
    able.sort_by_key(|line| (!line.accepting, line.queue));
    let Some(best) = able.first().copied() else { return Vec::new() };
    able.into_iter()
        .take_while(|line| line.accepting == best.accepting && line.queue <= best.queue * 2)
        .map(|line| line.place)
        .collect()
}

// === impl Line ===

impl Line {
    /// How long it must make no progress to be called stuck.
    fn look(&self) -> Span {
        if self.counted { LOOK } else { LOOK_BLIND }
    }

    fn able(&self) -> bool {
        self.occupant == Occupant::Live
            && !self.avoided
            && !self.doubtful
            && matches!(self.verdict, Verdict::Empty | Verdict::Busy)
    }
}
