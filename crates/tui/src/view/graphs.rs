//! How the figures of the selected worker went: a graph each, the newest look at the right edge.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::table::fit;
use super::{Theme, write};
use crate::history::Look;
use crate::human;
use crate::state::State;

/// The figure and its range, left of the graph.
const LEGEND_WIDTH: usize = 20;
/// From nothing to a full cell, in eighths.
const BARS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
const EIGHTHS: usize = BARS.len() - 1;

/// A figure: its name, where it is in a look, how it is written, and what a full graph is at least: a worker at rest
/// shall not look busy.
struct Figure {
    name: &'static str,
    of: fn(&Look) -> Option<f64>,
    words: fn(f64) -> String,
    full: f64,
}

const FIGURES: [Figure; 4] = [
    Figure { name: "cpu", of: |look| look.cpu, words: |value| human::percent(value as f32), full: 10.0 },
    Figure { name: "mem", of: |look| look.memory, words: |value| human::memory(value as u64), full: 1.0 },
    Figure { name: "loop", of: |look| look.late, words: human::span, full: 5.0 },
    Figure { name: "req/s", of: |look| look.requests, words: human::rate, full: 1.0 },
];

pub(super) fn draw(state: &State, theme: &Theme, area: Rect, buffer: &mut Buffer) {
    let Some((_, slot)) = state.row() else { return };
    let width = usize::from(area.width).saturating_sub(LEGEND_WIDTH);
    let shown = FIGURES.len().min(usize::from(area.height));
    let mut top = 0;
    for (at, figure) in FIGURES.iter().take(shown).enumerate() {
        // What does not divide goes to the first ones.
        let rows = usize::from(area.height) / shown + usize::from(at < usize::from(area.height) % shown);
        let newest = state.history.of(slot.id).rev().take(width).map(|look| (figure.of)(look));
        let mut values: Vec<Option<f64>> = newest.collect();
        values.reverse();
        let lines = graph(figure, &values, width, rows, theme);
        for (row, line) in lines.iter().enumerate() {
            write(buffer, area, (top + row) as u16, line);
        }
        top += rows;
    }
}

/// A legend and bars, `rows` high.
fn graph(
    figure: &Figure,
    values: &[Option<f64>],
    width: usize,
    rows: usize,
    theme: &Theme,
) -> Vec<Line<'static>> {
    let now = values.last().copied().flatten();
    let most = values
        .iter()
        .flatten()
        .copied()
        .fold(None, |most: Option<f64>, value| Some(most.map_or(value, |most| most.max(value))));
    let full = most.unwrap_or_default().max(figure.full);
    let text = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), figure.words);
    let gap = " ".repeat(width - values.len().min(width));
    // The last row of each stays free, where there is room, to tell one graph from the next.
    let high = if rows > 2 { rows - 1 } else { rows };
    (0..rows)
        .map(|row| {
            let legend = match row {
                0 => format!("{:<6}{}", figure.name, text(now)),
                1 => format!("  most {}", text(most)),
                _ => String::new(),
            };
            let legend = fit(&legend, LEGEND_WIDTH - 1);
            let style = if row == 0 { theme.strong() } else { theme.faint() };
            let bars: String = values.iter().map(|value| bar(*value, full, high, row)).collect();
            let padding = " ".repeat(LEGEND_WIDTH - legend.chars().count());
            Line::from(vec![
                Span::styled(legend, style),
                Span::raw(format!("{padding}{gap}")),
                Span::styled(bars, Style::new()),
            ])
        })
        .collect()
}

/// The cell of a bar in a row, counted from the top of a graph that is `high` rows high. What is more than nothing shows.
fn bar(value: Option<f64>, full: f64, high: usize, row: usize) -> &'static str {
    let Some(value) = value else { return BARS[0] };
    let eighths = (value / full * (high * EIGHTHS) as f64).round() as usize;
    let eighths = if value > 0.0 { eighths.max(1) } else { 0 };
    let below = high.saturating_sub(row + 1) * EIGHTHS;
    if row >= high { BARS[0] } else { BARS[eighths.saturating_sub(below).min(EIGHTHS)] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_grow_by_eighths_over_all_rows_and_a_little_is_more_than_nothing() {
        let cells = |value: f64| [0, 1, 2].map(|row| bar(Some(value), 16.0, 2, row)).concat();
        assert_eq!(cells(16.0), "██ ");
        assert_eq!(cells(9.0), "▁█ ");
        assert_eq!(cells(8.0), " █ ");
        assert_eq!(cells(0.01), " ▁ ");
        assert_eq!(cells(0.0), "   ");
        assert_eq!(bar(None, 1.0, 1, 0), " ");
    }
}
