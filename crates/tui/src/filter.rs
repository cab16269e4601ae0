//! Which workers are shown: those that a text is about.

use skep_api::{AppView, SlotView};

use crate::plain::plain;

/// So much can be typed.
const TEXT_MAX: usize = 60;

/// A text that is looked for, perhaps while it is being typed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Filter {
    text: String,
    pub(crate) is_typed: bool,
}

impl Filter {
    /// The text; empty: all are shown.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// One more character.
    pub(crate) fn push(&mut self, c: char) {
        if self.text.chars().count() < TEXT_MAX {
            self.text.push_str(&plain(&c.to_string()));
        }
    }

    /// One less.
    pub(crate) fn pop(&mut self) {
        self.text.pop();
    }

    /// Whether a worker is shown: its app's name with its number, its namespace or its status has the text, or it is its id.
    pub(crate) fn shows(&self, app: &AppView, slot: &SlotView) -> bool {
        let text = self.text.to_lowercase();
        let has = |field: &str| field.to_lowercase().contains(&text);
        has(&format!("{}:{}", app.name, slot.index))
            || has(&app.namespace)
            || has(slot.status.as_str())
            || slot.id.to_string() == text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::seen;

    #[test]
    fn a_text_is_found_in_names_namespaces_states_and_ids() {
        let apps = seen().apps;
        let shown = |text: &str| {
            let mut filter = Filter::default();
            text.chars().for_each(|c| filter.push(c));
            let rows = apps.iter().flat_map(|app| app.slots.iter().map(move |slot| (app, slot)));
            rows.filter(|(app, slot)| filter.shows(app, slot)).map(|(_, slot)| slot.id).collect::<Vec<_>>()
        };
        assert_eq!(shown(""), [0, 1, 2, 3]);
        assert_eq!(shown("SHOP"), [0, 1]);
        assert_eq!(shown("shop:1"), [1]);
        assert_eq!(shown("errored"), [3]);
        assert_eq!(shown("default"), [0, 1, 2, 3]);
        assert_eq!(shown("2"), [2]);
        assert_eq!(shown("nobody"), [0; 0]);
    }
}
