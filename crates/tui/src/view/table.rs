//! Columns that fit: the least important ones are left out first, then the widest is cut.

use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Between two columns.
const GAP: usize = 1;

/// A column; those of the highest rank are left out first, those of rank 0 never.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) rank: u8,
    pub(super) right: bool,
}

/// A cell.
#[derive(Debug, Clone, Default)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) style: Style,
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, style: Style::new() }
    }
}

impl From<Option<String>> for Cell {
    fn from(text: Option<String>) -> Self {
        text.unwrap_or_else(|| "-".to_owned()).into()
    }
}

/// The head and the rows, each as wide as `width` at most.
pub(super) fn lay_out(
    columns: &[Column],
    rows: &[Vec<Cell>],
    width: usize,
    head: Style,
) -> (Line<'static>, Vec<Line<'static>>) {
    let mut widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| {
            rows.iter().map(|row| row[at].text.width()).max().unwrap_or(0).max(column.title.width())
        })
        .collect();
    let mut shown: Vec<usize> = (0..columns.len()).collect();
    let total = |shown: &[usize], widths: &[usize]| -> usize {
        shown.iter().map(|at| widths[*at]).sum::<usize>() + GAP * shown.len().saturating_sub(1)
    };
    while total(&shown, &widths) > width {
        let Some(least) =
            shown.iter().copied().filter(|at| columns[*at].rank > 0).max_by_key(|at| columns[*at].rank)
        else {
            break;
        };
        shown.retain(|at| *at != least);
    }
    let over = total(&shown, &widths).saturating_sub(width);
    if let Some(widest) = shown.iter().copied().max_by_key(|at| widths[*at]) {
        widths[widest] = widths[widest].saturating_sub(over).max(1);
    }
    let titles: Vec<Cell> =
        columns.iter().map(|column| Cell { text: column.title.to_owned(), style: head }).collect();
    let line = |row: &[Cell]| line(columns, row, &shown, &widths);
    (line(&titles), rows.iter().map(|row| line(row)).collect())
}

fn line(columns: &[Column], row: &[Cell], shown: &[usize], widths: &[usize]) -> Line<'static> {
    let mut spans = Vec::with_capacity(shown.len() * 3);
    for (nth, at) in shown.iter().copied().enumerate() {
        if nth > 0 {
            spans.push(Span::raw(" ".repeat(GAP)));
        }
        let text = fit(&row[at].text, widths[at]);
        let padding = Span::raw(" ".repeat(widths[at].saturating_sub(text.width())));
        let span = Span::styled(text, row[at].style);
        if columns[at].right {
            spans.extend([padding, span]);
        } else {
            spans.extend([span, padding]);
        }
    }
    Line::from(spans)
}

/// The text in so many columns, with a sign where it was cut.
pub(super) fn fit(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > width {
            break;
        }
        out.push(c);
    }
    out.push('…');
    out
}

/// The text in pieces of so many columns at most; one empty piece for none.
pub(super) fn wrap(text: &str, width: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut start, mut used) = (0, 0);
    for (at, c) in text.char_indices() {
        let wide = c.width().unwrap_or(0);
        if used + wide > width && at > start {
            pieces.push(&text[start..at]);
            (start, used) = (at, 0);
        }
        used += wide;
    }
    pieces.push(&text[start..]);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_words_are_cut_and_long_lines_wrapped_by_what_they_take_on_the_screen() {
        assert_eq!(
            [fit("frontend", 8), fit("frontend", 5), fit("漢字漢字", 5)],
            ["frontend", "fron…", "漢字…"]
        );
        assert_eq!(wrap("abcdefg", 3), ["abc", "def", "g"]);
        assert_eq!(wrap("漢字漢", 4), ["漢字", "漢"]);
        assert_eq!(wrap("", 4), [""]);
        assert_eq!(wrap("漢字", 1), ["漢", "字"], "never an endless loop");
    }

    #[test]
    fn the_least_important_columns_go_first_and_then_the_widest_is_cut() {
        let columns = [
            Column { title: "id", rank: 0, right: true },
            Column { title: "name", rank: 0, right: false },
            Column { title: "memory", rank: 2, right: true },
            Column { title: "pid", rank: 9, right: true },
        ];
        let row: Vec<Cell> = ["7", "frontend", "12M", "4711"].map(|text| text.to_owned().into()).into();
        let at = |width| lay_out(&columns, std::slice::from_ref(&row), width, Style::new()).1[0].to_string();
        assert_eq!(at(80), " 7 frontend    12M 4711");
        assert_eq!(at(20), " 7 frontend    12M");
        assert_eq!(at(12), " 7 frontend");
        assert_eq!(at(8), " 7 fron…");
    }
}
