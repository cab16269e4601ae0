//! What lies over everything: the keys, and questions.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use super::Theme;
use super::table::fit;
use crate::state::{Dialog, State};

const KEYS: &[(&str, &str)] = &[
    ("↑ ↓  j k", "choose a worker; g G first and last"),
    ("r", "restart, all workers at once or only this one"),
    ("l", "reload: replace one after the other, without a pause"),
    ("s", "stop; start when the app is stopped"),
    ("+ -", "more or fewer workers"),
    ("Tab  1 2 3 4", "log, worker, jobs, graphs"),
    ("/", "show only what matches; Esc shows all"),
    ("PgUp PgDn", "scroll the log; f follows it again"),
    ("[ ]", "choose an action of the worker, or a job"),
    ("Enter", "call the action, run the job"),
    ("p", "pause the job, or let it go on"),
    ("q  Ctrl-C", "quit; nothing stops"),
];
/// The widest key and a gap.
const KEY_WIDTH: usize = 14;

pub(super) fn draw(state: &State, theme: &Theme, area: Rect, buffer: &mut Buffer) {
    match &state.dialog {
        Dialog::None => {}
        Dialog::Help => {
            let mut lines: Vec<String> =
                KEYS.iter().map(|(keys, what)| format!("{keys:<KEY_WIDTH$}{what}")).collect();
            lines.extend([
                String::new(),
                "loop   how late the event loop is (p99), or the answer".to_owned(),
                "busy   share of the time that the event loop works".to_owned(),
                "err    responses with a status from 500".to_owned(),
            ]);
            show("keys, any of them closes this", &lines, theme, area, buffer);
        }
        Dialog::Confirm { question, one, .. } => {
            let one = one.as_ref().map(|(words, _)| format!("w {words}   ")).unwrap_or_default();
            let lines = [question.clone(), String::new(), format!("y yes   {one}n no")];
            show("confirm", &lines, theme, area, buffer);
        }
        Dialog::Scale { app, now, wanted } => {
            let change = if wanted == now { format!("{now}") } else { format!("{now} → {wanted}") };
            let lines = [
                format!("Workers of {app}: {change}"),
                String::new(),
                "+ - change   y yes   n no".to_owned(),
            ];
            show("scale", &lines, theme, area, buffer);
        }
    }
}

/// A box in the middle.
fn show(title: &str, lines: &[String], theme: &Theme, area: Rect, buffer: &mut Buffer) {
    let widest = lines.iter().map(|line| line.width()).chain([title.width() + 2]).max().unwrap_or_default();
    let inner = widest.min(usize::from(area.width).saturating_sub(4));
    let rows = lines.len().min(usize::from(area.height).saturating_sub(2));
    let left = area.x + (area.width - inner as u16 - 4) / 2;
    let top = area.y + (area.height - rows as u16 - 2) / 2;
    let mut put =
        |row: usize, line: Line<'_>| buffer.set_line(left, top + row as u16, &line, inner as u16 + 4);
    let rest = "─".repeat(inner.saturating_sub(title.width()));
    let heading = Span::styled(fit(title, inner), theme.strong());
    put(0, Line::from(vec![Span::raw("┌ "), heading, Span::raw(format!(" {rest}┐"))]));
    for (at, line) in lines.iter().take(rows).enumerate() {
        let text = fit(line, inner);
        let padding = " ".repeat(inner - text.width());
        put(at + 1, Line::raw(format!("│ {text}{padding} │")));
    }
    put(rows + 1, Line::raw(format!("└{}┘", "─".repeat(inner + 2))));
}
