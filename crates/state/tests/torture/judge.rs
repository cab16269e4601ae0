//! The judge: is what the workers saw possible if every operation had happened at one instant between its beginning and
//! its end? (Linearizability: Wing and Gong's search, with Lowe's memory of states already tried.)

use std::collections::{HashMap, HashSet};

use crate::Dice;
use crate::history::{Deed, Operation};

/// One operation on a register, with an end (see `settle`).
#[derive(Debug, Clone, Copy)]
struct Step {
    begin: u64,
    end: u64,
    deed: Deed,
    result: u64,
    /// It never returned and nobody saw it: it may have happened or not.
    perhaps: bool,
}

/// The register's value after a step, or `None` if the step could not have seen what it saw.
fn apply(state: u64, step: &Step) -> Option<u64> {
    match step.deed {
        Deed::Write(_, value) => Some(value),
        Deed::Read(_) => (state == step.result).then_some(state),
        Deed::Swap(_, expected, value) => match step.result {
            1 => (state == expected).then_some(value),
            _ => (state != expected).then_some(state),
        },
        _ => unreachable!("registers know only these"),
    }
}

/// Operations that never returned: if anybody saw their (unique) value they happened before the first such sight.
/// Otherwise they may have happened and been overwritten before anybody looked (a swap that fails between the two is
/// the only sign), but not later than the next write of anybody that began after the death: it finishes or drops what
/// the dead had begun.
fn settle(operations: &[Operation], sealed: impl Fn(u64) -> u64) -> Vec<Step> {
    let mut seen: HashMap<u64, u64> = HashMap::new();
    for operation in operations {
        let Some(end) = operation.end else { continue };
        let value = match operation.deed {
            Deed::Read(_) => operation.result,
            Deed::Swap(_, expected, _) if operation.result == 1 => expected,
            _ => continue,
        };
        let first = seen.entry(value).or_insert(end);
        *first = end.min(*first);
    }
    let step = |operation: &Operation| {
        let (begin, deed) = (operation.begin, operation.deed);
        match (operation.end, deed) {
            (Some(end), _) => Some(Step { begin, end, deed, result: operation.result, perhaps: false }),
            (None, Deed::Write(_, value) | Deed::Swap(_, _, value)) => {
                let sight = seen.get(&value);
                let end = *sight.unwrap_or(&sealed(operation.worker));
                Some(Step { begin, end, deed, result: 1, perhaps: sight.is_none() })
            }
            (None, _) => None,
        }
    };
    operations.iter().filter_map(step).collect()
}

/// Wing and Gong's search over the events in the order of time. Each operation has a beginning and an end in a linked
/// list; taking an operation removes both; meeting an end means that its operation should have been taken before, or
/// did not happen if it is one that need not have.
struct Search<'a> {
    steps: &'a [Step],
    /// Step of an event; events `0..n` are beginnings, `n..2n` ends, `2n` is the head.
    next: Vec<usize>,
    previous: Vec<usize>,
    keys: Vec<u128>,
}

impl<'a> Search<'a> {
    fn new(steps: &'a [Step]) -> Self {
        let n = steps.len();
        let mut events: Vec<(u64, usize)> = Vec::with_capacity(2 * n);
        for (index, step) in steps.iter().enumerate() {
            events.push((step.begin, index));
            events.push((step.end, n + index));
        }
        // At one instant beginnings come first: the two operations may have overlapped.
        events.sort_unstable_by_key(|(time, event)| (*time, *event >= n));
        let (mut next, mut previous) = (vec![0; 2 * n + 1], vec![0; 2 * n + 1]);
        let mut last = 2 * n;
        for (_, event) in events {
            (next[last], previous[event]) = (event, last);
            last = event;
        }
        (next[last], previous[2 * n]) = (2 * n, last);
        let mut dice = Dice(0x0dd_ba11);
        let mut key = || (0..5).fold(0u128, |sum, _| sum << 31 ^ u128::from(dice.below(1 << 31)));
        Self { steps, next, previous, keys: (0..n).map(|_| key()).collect() }
    }

    fn unlink(&mut self, event: usize) {
        let (before, after) = (self.previous[event], self.next[event]);
        (self.next[before], self.previous[after]) = (after, before);
    }

    fn relink(&mut self, event: usize) {
        let (before, after) = (self.previous[event], self.next[event]);
        (self.next[before], self.previous[after]) = (event, event);
    }

    fn possible(mut self) -> bool {
        let n = self.steps.len();
        let mut tried: HashSet<(u128, u64)> = HashSet::new();
        let mut taken: Vec<(usize, u64)> = Vec::new();
        let (mut state, mut set) = (0, 0);
        let mut event = self.next[2 * n];
        while self.next[2 * n] != 2 * n {
            let index = event % n;
            let after = if event < n { apply(state, &self.steps[index]) } else { Some(state) };
            let allowed = event < n || self.steps[index].perhaps;
            let after = after.filter(|after| allowed && tried.insert((set ^ self.keys[index], *after)));
            if let Some(after) = after {
                taken.push((event, state));
                (state, set) = (after, set ^ self.keys[index]);
                self.unlink(index);
                self.unlink(n + index);
                event = self.next[2 * n];
            } else if event < n {
                event = self.next[event];
            } else {
                // What was skipped at its end has no other way left: back to the last one that was taken.
                loop {
                    let Some((last, before)) = taken.pop() else { return false };
                    let index = last % n;
                    self.relink(n + index);
                    self.relink(index);
                    (state, set) = (before, set ^ self.keys[index]);
                    if last < n {
                        event = self.next[last];
                        break;
                    }
                }
            }
        }
        true
    }
}

/// When everything that a dead worker had begun is settled: the first write that began after its death has ended.
fn seals(operations: &[Operation], deaths: &HashMap<u64, u64>) -> HashMap<u64, u64> {
    let mut writes: Vec<(u64, u64)> = operations
        .iter()
        .filter(|operation| matches!(operation.deed, Deed::Write(..) | Deed::Push(_) | Deed::Unlock(..)))
        .filter_map(|operation| Some((operation.begin, operation.end?)))
        .collect();
    writes.sort_unstable();
    let mut earliest = u64::MAX;
    for (_, end) in writes.iter_mut().rev() {
        earliest = earliest.min(*end);
        *end = earliest;
    }
    let sealed = |death: u64| {
        let next = writes.partition_point(|(begin, _)| *begin <= death);
        writes.get(next).map_or(u64::MAX, |(_, earliest)| *earliest)
    };
    deaths.iter().map(|(worker, death)| (*worker, sealed(*death))).collect()
}

/// Every register's history is one of a register. (Linearizability is local: all of them together are, too.)
pub(crate) fn registers(operations: &[Operation], deaths: &HashMap<u64, u64>) {
    let seals = seals(operations, deaths);
    let mut of: HashMap<u64, Vec<Operation>> = HashMap::new();
    for operation in operations {
        if let Deed::Write(register, _) | Deed::Read(register) | Deed::Swap(register, ..) = operation.deed {
            of.entry(register).or_default().push(*operation);
        }
    }
    for (register, operations) in of {
        let steps = settle(&operations, |worker| seals.get(&worker).copied().unwrap_or(u64::MAX));
        assert!(
            Search::new(&steps).possible(),
            "register {register}: {} operations are not linearizable",
            steps.len()
        );
    }
    wakefulness();
}

/// The judge must be able to say no: a read of a value that was overwritten long ago is one too many, and so is a swap
/// that fails although nobody can have changed its register.
fn wakefulness() {
    let step = |begin, end, deed, result| Step { begin, end, deed, result, perhaps: false };
    let possible = |steps: &[Step]| Search::new(steps).possible();
    let (first, second) = (step(0, 1, Deed::Write(0, 1), 0), step(2, 3, Deed::Write(0, 2), 0));
    assert!(possible(&[first, second]), "the judge refuses what is right");
    assert!(!possible(&[first, second, step(4, 5, Deed::Read(0), 1)]), "the judge is asleep");
    let failed = step(6, 7, Deed::Swap(0, 2, 9), 0);
    let unseen = Step { perhaps: true, ..step(4, 8, Deed::Write(0, 3), 1) };
    assert!(!possible(&[first, second, failed]), "the judge lets a swap fail for nothing");
    assert!(
        possible(&[first, second, failed, unseen, step(8, 9, Deed::Write(0, 4), 0)]),
        "the judge is stubborn"
    );
    assert!(possible(&[first, second, unseen, step(9, 10, Deed::Read(0), 2)]), "the judge wants what may be");
    let late = Step { begin: 8, ..unseen };
    assert!(!possible(&[first, second, failed, late]), "the judge explains by the future");
}

/// No sum was told twice, every sum is one of the sums before plus what was added, and none was lost.
pub(crate) fn counter(operations: &[Operation], last: u64) {
    let (mut sure, mut perhaps) = (0, 0);
    let mut sums: Vec<(u64, u64, u64, u64)> = Vec::new();
    for operation in operations {
        let Deed::Add(by) = operation.deed else { continue };
        match operation.end {
            Some(end) => {
                sure += by;
                sums.push((operation.result, by, operation.begin, end));
            }
            None => perhaps += by,
        }
    }
    assert!(
        (sure..=sure + perhaps).contains(&last),
        "counter: {last} is not within {sure}..{}",
        sure + perhaps
    );
    sums.sort_unstable();
    for pair in sums.windows(2) {
        let ((low, _, begin, _), (high, by, _, end)) = (pair[0], pair[1]);
        assert!(high - by >= low, "counter: an addition saw a sum that another had already passed");
        assert!(end >= begin, "counter: a later addition has the lower sum");
    }
}

/// Never two holders; tokens grow in the order of holding; whoever died held until its death was seen.
pub(crate) fn locks(operations: &[Operation], deaths: &HashMap<u64, u64>) {
    let mut holds: HashMap<u64, Vec<(u64, u64, u64)>> = HashMap::new();
    let mut released: HashMap<u64, u64> = HashMap::new();
    for operation in operations {
        if let Deed::Unlock(_, token) = operation.deed {
            released.insert(token, operation.begin);
        }
    }
    for operation in operations {
        if let (Deed::Lock(lock), Some(since)) = (operation.deed, operation.end) {
            let token = operation.result;
            let until = released.get(&token).or_else(|| deaths.get(&operation.worker));
            let until = *until.expect("released or dead");
            holds.entry(lock).or_default().push((token, since, until));
        }
    }
    for (lock, mut holds) in holds {
        holds.sort_unstable();
        for pair in holds.windows(2) {
            let ((before, _, until), (token, since, _)) = (pair[0], pair[1]);
            assert!(before < token, "lock {lock}: token {token} was given twice");
            assert!(until <= since, "lock {lock}: tokens {before} and {token} were held at one time");
        }
    }
}

/// Every acknowledged push was worked on, or is still there.
pub(crate) fn jobs(operations: &[Operation], left: &[u64]) {
    let mut settled: HashSet<u64> = left.iter().copied().collect();
    // A worker killed between settling a job and noting it knows no number: those may be missing.
    let mut unknown = 0;
    for operation in operations.iter().filter(|operation| operation.deed == Deed::Work) {
        match operation.end {
            Some(_) => drop(settled.insert(operation.result)),
            None => unknown += 1,
        }
    }
    let pushed = operations.iter().filter(|operation| operation.end.is_some());
    let lost = pushed.filter(|o| matches!(o.deed, Deed::Push(job) if !settled.contains(&job))).count();
    assert!(lost <= unknown, "{lost} jobs are gone, only {unknown} workers died while they worked on one");
}
