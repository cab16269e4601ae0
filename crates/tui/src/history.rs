//! What the figures of each worker's place were, look by look.

use std::collections::{BTreeMap, VecDeque};

use skep_api::{AppView, SlotView};

use crate::human;

/// Looks that are kept of a place: ten minutes, a look a second, and more than a terminal is wide.
const LOOKS_MAX: usize = 600;

/// One look at one worker; what was not known is a gap.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Look {
    /// Percent of a processor.
    pub(crate) cpu: Option<f64>,
    /// Bytes.
    pub(crate) memory: Option<f64>,
    /// Milliseconds that the event loop was late.
    pub(crate) late: Option<f64>,
    /// Requests a second.
    pub(crate) requests: Option<f64>,
}

/// By slot.
#[derive(Debug, Default)]
pub(crate) struct History(BTreeMap<u32, VecDeque<Look>>);

impl History {
    /// Notes how all stand now; places that are gone are forgotten.
    pub(crate) fn note(&mut self, apps: &[AppView]) {
        let mut before = std::mem::take(&mut self.0);
        for slot in apps.iter().flat_map(|app| &app.slots) {
            let mut looks = before.remove(&slot.id).unwrap_or_default();
            if looks.len() == LOOKS_MAX {
                looks.pop_front();
            }
            looks.push_back(Look::at(slot));
            self.0.insert(slot.id, looks);
        }
    }

    /// Of one place, oldest first.
    pub(crate) fn of(&self, slot: u32) -> impl DoubleEndedIterator<Item = &Look> {
        self.0.get(&slot).into_iter().flatten()
    }
}

impl Look {
    fn at(slot: &SlotView) -> Self {
        let vitals = slot.vitals.as_ref();
        Self {
            cpu: slot.cpu_percent.map(f64::from),
            memory: slot.memory_bytes.map(|bytes| bytes as f64),
            late: vitals.and_then(human::lateness_ms),
            requests: vitals.and_then(|vitals| vitals.http_requests_per_second),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::seen;

    #[test]
    fn looks_are_kept_within_bounds_and_those_of_places_that_are_gone_are_not() {
        let mut history = History::default();
        let mut apps = seen().apps;
        for count in 0..LOOKS_MAX + 5 {
            apps[0].slots[0].cpu_percent = Some(count as f32);
            history.note(&apps);
        }
        let cpu: Vec<f64> = history.of(0).filter_map(|look| look.cpu).collect();
        assert_eq!((cpu.len(), cpu[0], cpu[LOOKS_MAX - 1]), (LOOKS_MAX, 5.0, 604.0));
        assert_eq!(history.of(0).next_back().and_then(|look| look.requests), Some(250.4));
        apps.remove(0);
        history.note(&apps);
        assert_eq!((history.of(0).count(), history.of(99).count()), (0, 0));
    }
}
