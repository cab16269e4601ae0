//! One turn of the machine: the time, the effects so far, and what all apps share.

use crate::chance::Chance;
use crate::throttle::Throttle;
use crate::{AppId, Effects, Failure, Now, OpId, SlotId, WorkerId};
use serde::{Deserialize, Serialize};

/// Worker numbers are promised to the disk in blocks of this size: a write each thousand spawns, and a thousand
/// numbers of two thousand million lost at a reboot.
const WORKER_BLOCK: u32 = 1000;

/// The next block is promised while so many of the last one are left, so that a disk that is full for a while
/// does not make a number come twice.
const WORKER_MARGIN: u32 = 500;

/// What one call of `handle` carries through the apps.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    pub(crate) now: Now,
    pub(crate) fx: &'a mut Effects,
    pub(crate) shared: Shared,
    /// Something that [`crate::Desired`] contains changed.
    pub(crate) dirty: bool,
    /// The command of this turn.
    pub(crate) by: Option<OpId>,
    /// Rollouts that ended in this turn.
    pub(crate) endings: Vec<Ending>,
}

/// How a rollout ended.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) app: AppId,
    pub(crate) failure: Option<Failure>,
}

/// What all apps share: numbers, allowance, chance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shared {
    pub(crate) numbers: Numbers,
    pub(crate) throttle: Throttle,
    pub(crate) chance: Chance,
}

/// The next numbers, and the version of what is desired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Numbers {
    pub(crate) app: u32,
    pub(crate) slot: u32,
    pub(crate) worker: u32,
    /// The disk knows that numbers below this one may be in use.
    pub(crate) worker_floor: u32,
    pub(crate) version: u64,
    /// The command that made this version.
    pub(crate) version_by: Option<OpId>,
}

// === impl Turn ===

impl<'a> Turn<'a> {
    pub(crate) fn new(now: Now, fx: &'a mut Effects, shared: Shared) -> Self {
        Self { now, fx, shared, dirty: false, by: None, endings: Vec::new() }
    }

    pub(crate) fn next_app(&mut self) -> AppId {
        let numbers = &mut self.shared.numbers;
        numbers.app += 1;
        AppId(numbers.app - 1)
    }

    pub(crate) fn next_slot(&mut self) -> SlotId {
        let numbers = &mut self.shared.numbers;
        numbers.slot += 1;
        SlotId(numbers.slot - 1)
    }

    pub(crate) fn next_worker(&mut self) -> WorkerId {
        self.reserve_workers();
        let numbers = &mut self.shared.numbers;
        numbers.worker += 1;
        WorkerId(numbers.worker - 1)
    }

    /// The disk knows of enough worker numbers for a while.
    pub(crate) fn reserve_workers(&mut self) {
        let numbers = &self.shared.numbers;
        if numbers.worker.saturating_add(WORKER_MARGIN) > numbers.worker_floor {
            self.promise_workers();
        }
    }

    /// Promises the next block of worker numbers to the disk.
    pub(crate) fn promise_workers(&mut self) {
        let numbers = &mut self.shared.numbers;
        numbers.worker_floor = numbers.worker.saturating_add(WORKER_BLOCK);
        self.dirty = true;
    }
}

// === impl Numbers ===

impl Default for Numbers {
    fn default() -> Self {
        Self { app: 1, slot: 0, worker: 1, worker_floor: 1, version: 0, version_by: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_number_is_promised_to_the_disk_long_before_it_is_used() {
        let mut fx = Effects::new();
        let mut turn = Turn::new(Now(0), &mut fx, Shared::default());
        let (mut on_disk, mut writes) = (0, 0);
        for number in 1..=5000 {
            assert_eq!(turn.next_worker(), WorkerId(number));
            if std::mem::take(&mut turn.dirty) {
                (on_disk, writes) = (turn.shared.numbers.worker_floor, writes + 1);
            }
            assert!(number + WORKER_MARGIN <= on_disk + 1, "{number} is too near to {on_disk}");
        }
        assert!(writes <= 11, "a write each thousand or so, not {writes}");
    }
}
