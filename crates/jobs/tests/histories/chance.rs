//! What chance decides: numbers of one seed, and jobs of any kind.

use skep_jobs::{Backoff, Definition, Kind, Missed, OnLost, OnUnreachable, Overlap, WhenText};

/// Random decisions of one seed (SplitMix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// Any job.
pub(crate) fn definition(dice: &mut Dice) -> Definition {
    let every = dice.of(&[1_000, 5_000, 60_000, 3_600_000]);
    let pattern = dice.of(&["*/7 * * * * *", "* * * * *", "0 3 * * *", "30 2 L * *"]);
    let zone = dice.of(&[None, Some("Europe/Berlin")]).map(str::to_owned);
    let when = match dice.below(10) {
        0..5 => WhenText::Every { ms: every },
        5..9 => WhenText::Cron { pattern: pattern.to_owned(), zone },
        _ => WhenText::At { time: "2026-03-29T00:10:00Z".to_owned(), zone: None },
    };
    let kind = dice.of(&[Kind::Function, Kind::Function, Kind::Command, Kind::Http]);
    Definition {
        jitter_ms: dice.of(&[0, 0, 700, 90_000]),
        overlap: dice.of(&[Overlap::Forbid, Overlap::Queue, Overlap::Replace, Overlap::Allow]),
        missed: dice.of(&[Missed::Skip, Missed::Once, Missed::All { most: 3 }, Missed::All { most: 50 }]),
        timeout_ms: dice.of(&[0, 0, 2_000, 100_000]),
        retries: dice.of(&[0, 0, 1, 3]),
        backoff: Backoff { first_ms: 500, most_ms: 20_000 },
        on_lost: dice.of(&[OnLost::Record, OnLost::Record, OnLost::Rerun]),
        shared: dice.percent(15),
        on_unreachable: dice.of(&[OnUnreachable::Skip, OnUnreachable::Skip, OnUnreachable::Run]),
        ..Definition::new(when, kind)
    }
}
