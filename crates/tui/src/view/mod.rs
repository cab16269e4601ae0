//! The picture of a state. Everything is readable without colour: signs and words say the same as colours do.

mod dialog;
mod graphs;
mod head;
mod jobs;
mod log;
mod table;
mod theme;
mod worker;
mod workers;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};

use crate::plain::plain;
use crate::state::{Pane, State};
pub use theme::Theme;

/// A smaller terminal shows nothing that could be read.
const WIDTH_MIN: u16 = 40;
const HEIGHT_MIN: u16 = 10;
/// The table of workers has its head, and a few of them at least.
const TABLE_MIN: u16 = 4;

/// Draws the state.
pub fn draw(state: &State, theme: &Theme, frame: &mut Frame<'_>) {
    let area = frame.area();
    let buffer = frame.buffer_mut();
    if area.width < WIDTH_MIN || area.height < HEIGHT_MIN {
        let text = format!("{}x{} is too small: {WIDTH_MIN}x{HEIGHT_MIN}", area.width, area.height);
        write(buffer, area, 0, &Line::raw(text));
        return;
    }
    // The pane below gets what the workers leave, and half of the screen at least.
    let rows = state.rows().count().saturating_add(1).min(usize::from(u16::MAX)) as u16;
    let table = rows.clamp(TABLE_MIN, (area.height / 2).max(TABLE_MIN));
    let parts =
        [1, table, 1].map(Constraint::Length).into_iter().chain([Constraint::Min(3), Constraint::Length(1)]);
    let [head, top, tabs, pane, foot] = Layout::vertical(parts).areas(area);
    head::draw(state, theme, head, buffer);
    let hidden = workers::draw(state, theme, top, buffer);
    draw_tabs(state, hidden, theme, tabs, buffer);
    match state.pane {
        Pane::Log => log::draw(&state.log, theme, pane, buffer),
        Pane::Worker => worker::draw(state, theme, pane, buffer),
        Pane::Jobs => jobs::draw(state, theme, pane, buffer),
        Pane::Graphs => graphs::draw(state, theme, pane, buffer),
    }
    head::draw_foot(state, theme, foot, buffer);
    dialog::draw(state, theme, area, buffer);
}

fn draw_tabs(state: &State, hidden: usize, theme: &Theme, area: Rect, buffer: &mut Buffer) {
    let of = match state.row() {
        Some((app, slot)) if state.pane != Pane::Jobs => format!(" {}:{} ", plain(&app.name), slot.index),
        _ => String::new(),
    };
    let mut spans = vec![if hidden > 0 { Span::raw(format!("↓{hidden}")) } else { Span::raw("──") }];
    for (at, pane) in Pane::ALL.into_iter().enumerate() {
        let name = match pane {
            Pane::Log => "log",
            Pane::Worker => "worker",
            Pane::Jobs => "jobs",
            Pane::Graphs => "graphs",
        };
        let number = at + 1;
        spans.push(if pane == state.pane {
            Span::styled(format!("[{number} {name}]"), theme.strong())
        } else {
            Span::styled(format!(" {number} {name} "), theme.faint())
        });
    }
    spans.push(Span::raw("──"));
    spans.push(Span::styled(of, theme.strong()));
    if !state.filter.text().is_empty() {
        spans.push(Span::styled(format!("── only /{} ", state.filter.text()), theme.warning()));
    }
    if state.pane == Pane::Log && state.log.back > 0 {
        spans.push(Span::raw(format!("── {} lines below, f follows ", state.log.back)));
    }
    let used: usize = spans.iter().map(Span::width).sum();
    spans.push(Span::raw("─".repeat(usize::from(area.width).saturating_sub(used))));
    write(buffer, area, 0, &Line::from(spans));
}

/// A line of an area, cut at its edge.
fn write(buffer: &mut Buffer, area: Rect, row: u16, line: &Line<'_>) {
    if row < area.height {
        buffer.set_line(area.x, area.y + row, line, area.width);
    }
}

#[cfg(test)]
mod tests;
