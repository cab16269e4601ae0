//! When a group of transactions begins again, and how long it may be: see [`super::group`].

use crate::limits::GROUP_BYTES_MAX;

/// Rounds that are committed one by one after somebody has waited; twice as many when that happens again.
const PAUSE_MIN: u32 = 16;
/// At most: a minute of a busy process, so that who reads all the time hardly ever waits.
const PAUSE_MAX: u32 = 1 << 16;

/// When to leave a transaction open.
#[derive(Debug)]
pub(super) struct Pauses {
    left: u32,
    next: u32,
}

/// What ended a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Somebody waited for it.
    Wanted,
    /// It was long enough, or there was nothing to do any more.
    Itself,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { left: 0, next: PAUSE_MIN }
    }
}

impl Pauses {
    /// Whether it is time for a group; to be asked once a round.
    pub(super) fn are_over(&mut self) -> bool {
        let over = self.left == 0;
        self.left = self.left.saturating_sub(1);
        over
    }

    pub(super) fn after(&mut self, ended: Ended) {
        match ended {
            Ended::Wanted => {
                self.left = self.next;
                self.next = (self.next * 2).min(PAUSE_MAX);
            }
            Ended::Itself => self.next = (self.next / 2).max(PAUSE_MIN),
        }
    }
}

/// How many rows a group may change: as many as make the store no larger than it may be for that.
///
/// The pages of a commit are used again by the next but one, so a store has as many more pages than it needs as two groups copy. How
/// many rows change in a page shows only there.
#[derive(Debug)]
pub(super) struct Reach {
    rows: u32,
}

/// Rows of the first group.
const ROWS_FIRST: u32 = 2_048;
const ROWS_MIN: u32 = 256;
const ROWS_MAX: u32 = 1 << 20;

/// The pages of a store around a commit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pages {
    /// Ever used, before and after it.
    pub(super) used: [u64; 2],
    /// In which something is.
    pub(super) live: u64,
    pub(super) bytes: u64,
}

impl Default for Reach {
    fn default() -> Self {
        Self { rows: ROWS_FIRST }
    }
}

impl Reach {
    pub(super) fn rows(&self) -> u32 {
        self.rows
    }

    /// After the commit of a group that changed so many rows.
    pub(super) fn after(&mut self, rows: u32, pages: Pages) {
        let [before, after] = pages.used;
        let most = (GROUP_BYTES_MAX / pages.bytes.max(1)).max(pages.live / 2);
        let is_large = after.saturating_sub(pages.live) > most;
        if is_large && after > before {
            self.rows = (rows / 4 * 3).max(ROWS_MIN);
        } else if !is_large && rows >= self.rows {
            self.rows = (self.rows + self.rows / 4).min(ROWS_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds that are committed one by one before the next group.
    fn paused(pauses: &mut Pauses) -> u32 {
        (0..).take_while(|_| !pauses.are_over()).count().try_into().expect("few")
    }

    #[test]
    fn who_waits_again_and_again_waits_ever_more_rarely() {
        let mut pauses = Pauses::default();
        for _ in 0..3 {
            assert_eq!(paused(&mut pauses), 0);
            pauses.after(Ended::Itself);
        }
        let mut seen = Vec::new();
        for _ in 0..14 {
            pauses.after(Ended::Wanted);
            seen.push(paused(&mut pauses));
        }
        let expected: Vec<u32> = (0..14).map(|n| (PAUSE_MIN << n).min(PAUSE_MAX)).collect();
        assert_eq!(seen, expected);
    }

    /// Groups as long as they may be, whose rows lie by chance in so many pages of a store: how many rows they have in the end,
    /// and how many pages the store has.
    fn settled(hot: u64, live: u64) -> (u32, u64) {
        let (mut reach, mut used) = (Reach::default(), live);
        let mut copied = [0; 2];
        for _ in 0..200 {
            let rows = f64::from(reach.rows);
            let pages = (hot as f64 * (1.0 - (-rows / hot as f64).exp())) as u64;
            let before = used;
            used = used.max(live + copied[1] + pages);
            copied = [pages, copied[0].max(pages)];
            reach.after(reach.rows, Pages { used: [before, used], live, bytes: 4096 });
        }
        (reach.rows, used)
    }

    #[test]
    fn groups_are_as_long_as_the_store_may_be_large() {
        let most = GROUP_BYTES_MAX / 4096;
        let (rows, used) = settled(2_500, 2_500);
        assert!(rows > 20_000, "all of its pages have room beside it twice: {rows}");
        assert!(used <= 3 * 2_500, "{used}");
        let (rows, used) = settled(25_000, 25_000);
        assert!((2_000..9_000).contains(&rows) && used < 25_000 * 8 / 5, "{rows} {used}");
        let (rows, used) = settled(2_500, 25_000);
        assert!(rows > 20_000 && used < 25_000 + most, "few pages of a large store: {rows} {used}");
        let (rows, used) = settled(250_000, 250_000);
        assert!(rows > 20_000 && used < 250_000 * 8 / 5, "a large store: {rows} {used}");
    }

    #[test]
    fn a_group_that_nobody_waited_for_halves_the_next_pause() {
        let mut pauses = Pauses::default();
        for _ in 0..4 {
            pauses.after(Ended::Wanted);
            paused(&mut pauses);
        }
        for expected in [8 * PAUSE_MIN, 4 * PAUSE_MIN, 2 * PAUSE_MIN, PAUSE_MIN, PAUSE_MIN] {
            pauses.after(Ended::Itself);
            assert_eq!(pauses.next, expected);
        }
    }
}
