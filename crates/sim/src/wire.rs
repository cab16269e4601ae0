//! What lies between a happening and the daemon's knowledge of it: delay, and on a hostile wire loss, doubles, disorder.

use crate::dice::Dice;
use skep_core::{Event, Now};
use std::collections::BTreeMap;

/// How events travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manners {
    /// As in production: what the keeper says stays in order, what a worker says may come a little later.
    Orderly,
    /// Events are lost, doubled, late and out of order.
    Hostile,
}

/// Events under way.
#[derive(Debug)]
pub struct Wire {
    manners: Manners,
    /// By arrival, then by departure.
    under_way: BTreeMap<(Now, u64), Event>,
    sent: u64,
    keeper_until: Now,
}

// === impl Wire ===

impl Wire {
    /// An empty wire.
    #[must_use]
    pub fn new(manners: Manners) -> Self {
        Self { manners, under_way: BTreeMap::new(), sent: 0, keeper_until: Now(0) }
    }

    /// Sends an event off.
    pub fn send(&mut self, now: Now, event: Event, dice: &mut Dice) {
        match self.manners {
            Manners::Orderly if sender(&event) == Sender::Keeper => {
                let at = (now + dice.millis(1)).max(self.keeper_until);
                self.keeper_until = at;
                self.put(at, event);
            }
            Manners::Orderly => {
                let at = now + dice.millis(3);
                self.put(at, event);
            }
            Manners::Hostile => {
                if dice.percent(12) {
                    return;
                }
                if dice.percent(12) {
                    let at = now + dice.millis(4000);
                    self.put(at, event.clone());
                }
                let late = if dice.percent(70) { 2 } else { 2500 };
                let at = now + dice.millis(late);
                self.put(at, event);
            }
        }
    }

    fn put(&mut self, at: Now, event: Event) {
        self.sent += 1;
        self.under_way.insert((at, self.sent), event);
    }

    /// When the next one arrives.
    #[must_use]
    pub fn next(&self) -> Option<Now> {
        self.under_way.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes the next one that has arrived.
    pub fn receive(&mut self, now: Now) -> Option<Event> {
        let first = self.under_way.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }

    /// The daemon's end closes: what the keeper sent is lost, what workers wrote waits in their sockets, and the
    /// message that was being read is read again.
    pub fn cut(&mut self, now: Now, reading: Option<Event>) {
        self.under_way.retain(|_, event| sender(event) != Sender::Keeper);
        if let Some(event) = reading.filter(|event| sender(event) == Sender::Worker) {
            self.put(now, event);
        }
    }

    /// Everything under way is lost, and from now on nothing is.
    pub fn calm(&mut self) {
        self.under_way.clear();
        self.manners = Manners::Orderly;
    }

    /// What is under way from the keeper.
    #[must_use]
    pub fn keeper_is_quiet(&self) -> bool {
        self.under_way.values().all(|event| sender(event) != Sender::Keeper)
    }
}

/// Who sent an event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sender {
    Keeper,
    Worker,
    /// It never travels on this wire.
    Nobody,
}

fn sender(event: &Event) -> Sender {
    match event {
        Event::Spawned { .. } | Event::SpawnFailed { .. } | Event::Exited { .. } | Event::Seen(_) => {
            Sender::Keeper
        }
        Event::Listening { .. }
        | Event::Announced { .. }
        | Event::Drained { .. }
        | Event::StopsItself { .. }
        | Event::Probed { .. } => Sender::Worker,
        Event::Command { .. } | Event::Permit { .. } | Event::Tick => Sender::Nobody,
    }
}
