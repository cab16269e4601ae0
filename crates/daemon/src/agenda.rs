//! Which apps a schedule renews, and when: the rule, with the time of day as an input.
//!
//! Each app has a cursor: everything up to it is dealt with. It outlives the daemon (in the keeper's safe-box), so that a
//! time that falls into the daemon's restart is made up for, and none counts twice.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use skep_core::AppId;
use skep_jobs::UnixMs;
use skep_spec::{Cron, Zone};

/// A clock that was set back by up to so much repeats an hour or two (three is what Vixie's cron takes for that): what was
/// done then is not done again. By more: it was wrong before.
const SET_BACK_MS_MAX: i64 = 3 * 3_600_000;
/// A time that was missed (the machine slept, the clock was set forward) is made up for if it is not longer ago.
const LATE_MS_MAX: i64 = 3_600_000;

/// One app's schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    cron: Cron,
    zone: Option<Zone>,
    cursor_unix_ms: i64,
}

/// Every app's schedule.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Agenda(BTreeMap<AppId, Entry>);

impl Agenda {
    /// Makes it what the apps ask for. A new or changed pattern counts from `now`. True when something changed.
    pub(crate) fn become_of(
        &mut self,
        wanted: impl Iterator<Item = (AppId, Cron, Option<Zone>)>,
        now_unix_ms: i64,
    ) -> bool {
        let mut next = BTreeMap::new();
        for (app, cron, zone) in wanted {
            let entry = match self.0.remove(&app) {
                Some(known) if known.cron == cron && known.zone == zone => known,
                Some(_) | None => Entry { cron, zone, cursor_unix_ms: now_unix_ms },
            };
            next.insert(app, entry);
        }
        // What was taken over is no longer in the old map.
        let changed = !self.0.is_empty() || next.values().any(|entry| entry.cursor_unix_ms == now_unix_ms);
        self.0 = next;
        changed
    }

    /// Apps whose time has come, with their patterns; each once, however many times it missed.
    pub(crate) fn take_due(&mut self, now_unix_ms: i64) -> Vec<(AppId, Cron)> {
        let mut due = Vec::new();
        for (app, entry) in &mut self.0 {
            if entry.next(now_unix_ms).is_some_and(|next| next <= now_unix_ms) {
                entry.cursor_unix_ms = now_unix_ms;
                due.push((*app, entry.cron.clone()));
            }
        }
        due
    }

    /// When to look again; `None` without schedules.
    pub(crate) fn next(&self, now_unix_ms: i64) -> Option<i64> {
        self.0.values().filter_map(|entry| entry.next(now_unix_ms)).min()
    }
}

impl Entry {
    fn next(&self, now_unix_ms: i64) -> Option<i64> {
        let was_wrong = self.cursor_unix_ms - now_unix_ms > SET_BACK_MS_MAX;
        let from = if was_wrong { now_unix_ms } else { self.cursor_unix_ms.max(now_unix_ms - LATE_MS_MAX) };
        self.compiled()?.next_after(UnixMs(from)).map(|next| next.0)
    }

    /// The machine's zone is asked for each time: it may have been changed.
    fn compiled(&self) -> Option<skep_jobs::Cron> {
        let named = self.zone.as_ref().and_then(|zone| skep_jobs::Cron::zone(zone.as_str()).ok());
        skep_jobs::Cron::parse(self.cron.as_str(), named.unwrap_or_else(TimeZone::system)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    /// 2026-05-01T00:00:00Z.
    const START: i64 = 1_777_593_600_000;

    fn agenda(pattern: &str) -> Agenda {
        let mut agenda = Agenda::default();
        let cron: Cron = pattern.parse().expect("a pattern");
        assert!(agenda.become_of([(AppId(1), cron, Some("UTC".parse().expect("UTC")))].into_iter(), START));
        agenda
    }

    fn due(agenda: &mut Agenda, hours: i64) -> usize {
        agenda.take_due(START + hours * HOUR).len()
    }

    #[test]
    fn a_time_comes_once_and_the_next_one_is_known() {
        let mut agenda = agenda("0 3 * * *");
        assert_eq!(agenda.next(START), Some(START + 3 * HOUR));
        assert_eq!((due(&mut agenda, 2), due(&mut agenda, 3), due(&mut agenda, 3)), (0, 1, 0));
        assert_eq!(agenda.next(START + 3 * HOUR), Some(START + 27 * HOUR));
    }

    #[test]
    fn what_was_missed_is_made_up_for_once_and_not_hours_later() {
        let mut nightly = agenda("30 2 * * *");
        assert_eq!(due(&mut nightly, 3), 1, "half an hour late");
        assert_eq!(due(&mut nightly, 24 + 12), 0, "nine hours late: the next night is soon enough");
        let mut often = agenda("* * * * *");
        assert_eq!((due(&mut often, 48), due(&mut often, 48)), (1, 0));
    }

    #[test]
    fn a_clock_that_is_set_back_repeats_nothing_and_one_that_was_wrong_is_believed_now() {
        let mut agenda = agenda("0 * * * *");
        assert_eq!(due(&mut agenda, 5), 1);
        assert_eq!((due(&mut agenda, 4), due(&mut agenda, 5)), (0, 0), "these hours were dealt with");
        assert_eq!(due(&mut agenda, 6), 1);
        assert_eq!(agenda.next(START - 1000 * HOUR), Some(START - 999 * HOUR));
    }

    #[test]
    fn a_changed_pattern_counts_from_now_and_an_unchanged_one_goes_on() {
        let mut agenda = agenda("0 3 * * *");
        let zone: Option<Zone> = Some("UTC".parse().expect("UTC"));
        let same: Cron = "0 3 * * *".parse().expect("a pattern");
        assert!(!agenda.become_of([(AppId(1), same, zone.clone())].into_iter(), START + 4 * HOUR));
        assert_eq!(agenda.next(START), Some(START + 3 * HOUR), "still to be made up for");
        let other: Cron = "0 2 * * *".parse().expect("a pattern");
        assert!(agenda.become_of([(AppId(1), other, zone)].into_iter(), START + 4 * HOUR));
        assert_eq!(due(&mut agenda, 4), 0);
        assert!(agenda.become_of(std::iter::empty(), START));
        assert_eq!(agenda.next(START), None);
    }

    #[test]
    fn it_reads_back_what_it_wrote() {
        let agenda = agenda("0 3 * * *");
        let text = serde_json::to_string(&agenda).expect("plain data");
        assert_eq!(serde_json::from_str::<Agenda>(&text).expect("its own words"), agenda);
    }
}
