//! Columns that fit the terminal: the least important ones go first, and what is still too wide is stacked.
//!
//! A library could draw boxes, but none gives up columns by importance, and colours would bring in a terminal's
//! whole event loop; what is left is adding up widths.

use anstyle::Style;
use unicode_width::UnicodeWidthStr;

/// Between two columns.
const GAP: &str = "  ";
/// What stands for an absent value.
const ABSENT: &str = "-";

/// A column's title, and how it behaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    /// The title.
    pub(crate) title: &'static str,
    /// 0 must stay; the highest number goes first when the terminal is narrow.
    pub(crate) rank: u8,
    /// Numbers stand on the right.
    pub(crate) right: bool,
}

/// A value and its colour.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub(crate) fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

impl<T: ToString> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        Self { text: value.map_or_else(String::new, |value| value.to_string()), style: Style::new() }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, style: Style::new() }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

/// Draws `rows` for a terminal of `width` columns (`None`: no limit). Each line ends with a newline.
pub(crate) fn draw(columns: &[Column], rows: &[Vec<Cell>], width: Option<usize>, color: bool) -> String {
    let cells: Vec<Vec<Cell>> = rows.iter().map(|row| row.iter().map(clean).collect()).collect();
    let widths: Vec<usize> = (0..columns.len())
        .map(|i| {
            cells.iter().map(|row| row[i].text.width()).chain([columns[i].title.width()]).max().unwrap_or(0)
        })
        .collect();
    let mut shown: Vec<usize> = (0..columns.len()).collect();
    // A column without a single value tells nothing.
    shown.retain(|&i| columns[i].rank == 0 || cells.iter().any(|row| row[i].text != ABSENT));
    let total = |shown: &[usize]| -> usize {
        shown.iter().map(|&i| widths[i]).sum::<usize>() + GAP.len() * shown.len().saturating_sub(1)
    };
    while width.is_some_and(|width| total(&shown) > width) {
        let Some(&least) = shown.iter().max_by_key(|&&i| columns[i].rank).filter(|&&i| columns[i].rank > 0)
        else {
            return stack(columns, &cells, width, color);
        };
        shown.retain(|&i| i != least);
    }
    let heading = Style::new().bold();
    let titles: Vec<Cell> = columns.iter().map(|column| Cell::styled(column.title, heading)).collect();
    let lines = std::iter::once(&titles).chain(&cells).map(|row| line(columns, row, &shown, &widths, color));
    lines.collect()
}

fn clean(cell: &Cell) -> Cell {
    let text = if cell.text.is_empty() { ABSENT.to_owned() } else { printable(&cell.text) };
    Cell { text, style: cell.style }
}

/// Names may contain anything; a terminal must not obey it.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn line(columns: &[Column], row: &[Cell], shown: &[usize], widths: &[usize], color: bool) -> String {
    let mut out = String::new();
    for (at, &i) in shown.iter().enumerate() {
        if at > 0 {
            out.push_str(GAP);
        }
        let padding = " ".repeat(widths[i].saturating_sub(row[i].text.width()));
        if columns[i].right {
            out.push_str(&padding);
        }
        out.push_str(&paint(&row[i].text, row[i].style, color));
        if !columns[i].right {
            out.push_str(&padding);
        }
    }
    let end = out.trim_end().len();
    out.truncate(end);
    out.push('\n');
    out
}

/// `text` in `style`, when colours are wanted.
pub(crate) fn paint(text: &str, style: Style, color: bool) -> String {
    if color && style != Style::new() { format!("{style}{text}{style:#}") } else { text.to_owned() }
}

/// One value a line, for terminals in which not even the columns that must stay fit.
fn stack(columns: &[Column], rows: &[Vec<Cell>], width: Option<usize>, color: bool) -> String {
    let title_width = columns.iter().map(|column| column.title.width()).max().unwrap_or(0);
    let mut out = String::new();
    for (at, row) in rows.iter().enumerate() {
        if at > 0 {
            out.push('\n');
        }
        for (column, cell) in columns.iter().zip(row).filter(|(_, cell)| cell.text != ABSENT) {
            let padding = " ".repeat(title_width - column.title.width());
            let room = width.map_or(usize::MAX, |width| width.saturating_sub(title_width + 1).max(1));
            let text = shorten(&cell.text, room);
            out.push_str(&paint(column.title, Style::new().bold(), color));
            out.push_str(&format!("{padding} {}\n", paint(&text, cell.style, color)));
        }
    }
    out
}

/// `text` in at most `room` columns.
fn shorten(text: &str, room: usize) -> String {
    if text.width() <= room {
        return text.to_owned();
    }
    let mut short = String::new();
    for c in text.chars() {
        let mut with = short.clone();
        with.push(c);
        if with.width() + 1 > room {
            break;
        }
        short = with;
    }
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use anstyle::AnsiColor;

    const COLUMNS: &[Column] = &[
        Column { title: "id", rank: 0, right: true },
        Column { title: "name", rank: 0, right: false },
        Column { title: "memory", rank: 1, right: true },
        Column { title: "note", rank: 2, right: false },
    ];

    fn rows() -> Vec<Vec<Cell>> {
        vec![
            vec!["0".into(), "web".into(), "45.3M".into(), "first".into()],
            vec!["10".into(), "日本".into(), Cell::from(None::<u32>), "second one".into()],
        ]
    }

    #[test]
    fn columns_line_up_whatever_the_letters_are() {
        let text = draw(COLUMNS, &rows(), None, false);
        assert_eq!(text, "id  name  memory  note\n 0  web    45.3M  first\n10  日本       -  second one\n");
    }

    #[test]
    fn the_least_important_column_goes_first() {
        assert_eq!(
            draw(COLUMNS, &rows(), Some(20), false),
            "id  name  memory\n 0  web    45.3M\n10  日本       -\n"
        );
        assert_eq!(draw(COLUMNS, &rows(), Some(10), false), "id  name\n 0  web\n10  日本\n");
    }

    #[test]
    fn what_does_not_fit_at_all_is_stacked() {
        let text = draw(COLUMNS, &rows(), Some(7), false);
        assert_eq!(text, "id     0\nname   …\nmemory …\nnote   …\n\nid     …\nname   …\nnote   …\n");
        let text = draw(COLUMNS, &rows()[..1], Some(7), true);
        assert!(text.starts_with("\u{1b}[1mid"), "{text:?}");
    }

    #[test]
    fn a_column_without_values_is_left_out() {
        let rows = vec![vec!["0".into(), "web".into(), Cell::default(), "x".into()]];
        assert_eq!(draw(COLUMNS, &rows, None, false), "id  name  note\n 0  web   x\n");
    }

    #[test]
    fn a_name_cannot_command_the_terminal() {
        let rows = vec![vec!["0".into(), "\u{1b}[2Jx".into(), "1".into(), "y".into()]];
        assert!(!draw(COLUMNS, &rows, None, false).contains('\u{1b}'));
    }

    #[test]
    fn colours_do_not_count_as_width() {
        let green = AnsiColor::Green.on_default();
        let rows = vec![vec!["0".into(), Cell::styled("web", green), "1".into(), "y".into()]];
        let plain = draw(COLUMNS, &rows, Some(40), false);
        let colored = draw(COLUMNS, &rows, Some(40), true);
        assert_eq!(plain, "id  name  memory  note\n 0  web        1  y\n");
        assert!(colored.contains(&format!("{green}web{green:#}        1")));
    }
}
