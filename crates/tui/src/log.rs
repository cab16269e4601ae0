//! The last lines of the selected worker's log.

use std::collections::VecDeque;

use skep_api::{LogLine, Stream};

use crate::plain::plain;

/// So many lines are kept: what fits on a large terminal, a few times over.
const LINES_MAX: usize = 2_000;
/// So much of a line is kept: a terminal's whole width and height.
const LINE_CHARS_MAX: usize = 8_192;

/// A line, ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) is_error: bool,
    pub(crate) text: String,
}

/// The lines.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) slot: Option<u32>,
    pub(crate) lines: VecDeque<Shown>,
    /// How many lines the end lies below what is shown.
    pub(crate) back: usize,
}

impl Log {
    /// Another slot's log, or the same anew.
    pub(crate) fn begin(&mut self, slot: Option<u32>) {
        self.slot = slot;
        self.lines.clear();
        self.back = 0;
    }

    /// A line of `slot`; late ones of another are passed over.
    pub(crate) fn push(&mut self, slot: u32, line: LogLine) {
        let another = line.slot.is_some_and(|of| of != slot);
        if self.slot != Some(slot) || another {
            return;
        }
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        let text = line.text.unwrap_or_else(|| "(bytes that are no text)".to_owned());
        let text: String = plain(&text).chars().take(LINE_CHARS_MAX).collect();
        self.lines.push_back(Shown { is_error: line.stream == Stream::Err, text });
        if self.back > 0 {
            // Whoever reads further up keeps reading the same.
            self.scroll(1);
        }
    }

    /// Up (positive) or down.
    pub(crate) fn scroll(&mut self, lines: isize) {
        let most = self.lines.len().saturating_sub(1);
        self.back = self.back.saturating_add_signed(lines).min(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> LogLine {
        LogLine {
            app: "web".into(),
            slot: Some(1),
            worker: None,
            stream: Stream::Out,
            time_unix_ms: None,
            text: Some(text.into()),
            base64: None,
        }
    }

    #[test]
    fn old_lines_make_room_and_a_reader_further_up_is_not_moved() {
        let mut log = Log::default();
        log.begin(Some(1));
        for n in 0..LINES_MAX + 5 {
            log.push(1, line(&n.to_string()));
        }
        assert_eq!((log.lines.len(), &*log.lines[0].text), (LINES_MAX, "5"));
        log.scroll(3);
        log.push(1, line("new"));
        assert_eq!(log.back, 4);
        log.scroll(-100);
        assert_eq!(log.back, 0);
    }

    #[test]
    fn lines_of_other_slots_are_passed_over() {
        let mut log = Log::default();
        log.begin(Some(2));
        log.push(1, line("late"));
        log.push(2, line("of slot 1 under the name of slot 2"));
        assert!(log.lines.is_empty());
    }
}
