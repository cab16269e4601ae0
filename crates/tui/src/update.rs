//! The machine: an event comes in, effects go out.

use crate::event::{Effect, Event, Seen};
use crate::state::{Link, State};

impl State {
    /// Takes an event; what is to be done outside is returned, in order.
    pub fn handle(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Key(key) => self.key(key, &mut effects),
            Event::Resized => {}
            Event::Seen(seen) => self.see(*seen, &mut effects),
            Event::Lost(reason) => self.link = Link::Lost(reason),
            Event::LogBegins(slot) => {
                if self.log.slot == Some(slot) {
                    self.log.begin(Some(slot));
                }
            }
            Event::Log(slot, line) => self.log.push(slot, line),
            Event::Told(text) => self.say(text, false),
            Event::Finished(result) => {
                self.under_way = self.under_way.saturating_sub(1);
                match result {
                    Ok(text) => self.say(text, false),
                    Err(text) => self.say(text, true),
                }
            }
            Event::Signal(_) | Event::InputGone => effects.push(Effect::Quit),
        }
        effects
    }

    fn see(&mut self, seen: Seen, effects: &mut Vec<Effect>) {
        self.link = Link::Up;
        self.unix_ms = seen.unix_ms;
        self.apps = seen.apps;
        self.history.note(&self.apps);
        self.jobs = seen.jobs;
        self.daemon = Some(seen.daemon);
        self.job = self.job.min(self.jobs.len().saturating_sub(1));
        self.select_again(effects);
        let actions = self.row().map_or(0, |(_, slot)| slot.actions.len());
        self.action = self.action.min(actions.saturating_sub(1));
    }

    /// The rows have changed: the selected one stays selected, wherever it is now, or its neighbour is.
    pub(crate) fn select_again(&mut self, effects: &mut Vec<Effect>) {
        let place = self.rows().position(|(_, slot)| Some(slot.id) == self.selected);
        match place {
            Some(at) => self.cursor = at,
            None => self.select(self.cursor, effects),
        }
    }

    /// Selects the row at `at`, or the last one.
    pub(crate) fn select(&mut self, at: usize, effects: &mut Vec<Effect>) {
        let ids: Vec<u32> = self.rows().map(|(_, slot)| slot.id).collect();
        self.cursor = at.min(ids.len().saturating_sub(1));
        let selected = ids.get(self.cursor).copied();
        if selected != self.selected || selected != self.log.slot {
            self.selected = selected;
            self.action = 0;
            self.log.begin(selected);
            effects.push(Effect::Follow(selected));
        }
    }
}

#[cfg(test)]
mod tests;
