//! Which fire times have come since the last look.

use crate::when::When;
use crate::{GRACE_MS, Lived, MISSED_MAX, UnixMs};

/// Fire times after `cursor`, up to now, that were not lived.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// Too late to be on time, the earliest first; the latest [`MISSED_MAX`] of them.
    pub(crate) missed: Vec<UnixMs>,
    /// There are more missed ones before the first of `missed`.
    pub(crate) more: bool,
    /// On time, the earliest first, each with the fire time before it.
    pub(crate) on_time: Vec<(UnixMs, UnixMs)>,
    /// The last fire time that was looked at.
    pub(crate) cursor: UnixMs,
}

pub(crate) fn due(when: &When, lived: &Lived, cursor: UnixMs, wall: UnixMs) -> Due {
    let edge = wall.plus(-GRACE_MS).max(cursor);
    let mut due = Due { cursor, ..Due::default() };
    let mut next = when.next_after(cursor);
    // Searching backwards is dear, and mostly nothing was missed.
    let missed = next.is_some_and(|next| next <= edge);
    let mut at = missed.then(|| when.last_until(edge)).flatten();
    if let Some(last) = at.filter(|last| *last > cursor) {
        due.cursor = last;
        next = when.next_after(last);
    }
    while let Some(time) = at.filter(|time| *time > cursor) {
        if due.missed.len() == MISSED_MAX {
            due.more = true;
            break;
        }
        let before = lived.begin_of(time).unwrap_or_else(|| {
            due.missed.push(time);
            time
        });
        at = when.last_until(before.plus(-1));
    }
    due.missed.reverse();
    while let Some(time) = next.filter(|time| *time <= wall) {
        if !lived.contains(time) {
            due.on_time.push((due.cursor, time));
        }
        due.cursor = time;
        next = when.next_after(time);
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    fn check(lived: &[(i64, i64)], cursor: i64, wall: i64) -> (Vec<i64>, Vec<i64>) {
        let mut spans = Lived::default();
        for (from, to) in lived {
            spans.extend(UnixMs(*from * MINUTE), UnixMs(*from * MINUTE));
            spans.extend(UnixMs(*from * MINUTE), UnixMs(*to * MINUTE));
        }
        let due = due(&When::Every(MINUTE), &spans, UnixMs(cursor * MINUTE), UnixMs(wall * MINUTE));
        let minutes = |at: &UnixMs| at.0 / MINUTE;
        (due.missed.iter().map(minutes).collect(), due.on_time.iter().map(|(_, at)| minutes(at)).collect())
    }

    #[test]
    fn what_has_come_just_now_is_on_time() {
        assert_eq!(check(&[], 10, 11), (vec![], vec![11]));
        assert_eq!(check(&[], 10, 10), (vec![], vec![]));
    }

    #[test]
    fn what_came_long_ago_was_missed() {
        assert_eq!(check(&[], 10, 15), (vec![11, 12, 13, 14], vec![15]));
    }

    #[test]
    fn what_was_lived_comes_no_more() {
        assert_eq!(check(&[(12, 13)], 10, 15), (vec![11, 14], vec![15]));
        assert_eq!(check(&[(10, 15)], 11, 15), (vec![], vec![]));
    }

    #[test]
    fn a_year_of_seconds_is_counted_no_longer_than_it_takes() {
        let due = due(&When::Every(1_000), &Lived::default(), UnixMs(0), UnixMs(365 * 86_400_000));
        assert!(due.more);
        assert_eq!(due.missed.len(), MISSED_MAX);
        assert_eq!(due.cursor, UnixMs(365 * 86_400_000));
    }
}
