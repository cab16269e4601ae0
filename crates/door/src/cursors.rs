//! SCAN's cursors are numbers; ours stand for places in the order of names, which this remembers.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::limits::CURSORS_MAX;

/// Remembered places.
#[derive(Debug, Default)]
pub(crate) struct Cursors {
    places: HashMap<u64, Vec<u8>>,
    order: VecDeque<u64>,
}

impl Cursors {
    /// The number of a place; the same one for the same place.
    pub(crate) fn remember(&mut self, place: Vec<u8>) -> u64 {
        let mut hasher = DefaultHasher::new();
        place.hash(&mut hasher);
        // Redis's cursors are unsigned; clients in JavaScript keep them as text or as a safe integer.
        let mut number = (hasher.finish() >> 12).max(1);
        while self.places.get(&number).is_some_and(|other| *other != place) {
            number += 1;
        }
        if self.places.insert(number, place).is_none() {
            self.order.push_back(number);
        }
        if self.order.len() > CURSORS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.places.remove(&oldest);
        }
        number
    }

    /// The place of a number; one that is not known (any more) stands for the beginning, so that a scan sees at worst
    /// something twice.
    pub(crate) fn place(&self, number: u64) -> Vec<u8> {
        self.places.get(&number).cloned().unwrap_or_default()
    }
}
