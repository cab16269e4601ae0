//! The log of the selected worker: its last lines, long ones wrapped.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::table::wrap;
use super::{Theme, write};
use crate::log::Log;

/// Says without colour what was written to standard error.
const OUT: &str = "  ";
const ERROR: &str = "! ";

pub(super) fn draw(log: &Log, theme: &Theme, area: Rect, buffer: &mut Buffer) {
    if log.lines.is_empty() {
        let text = if log.slot.is_some() { "nothing was written yet" } else { "" };
        write(buffer, area, 0, &Line::from(Span::styled(text, theme.faint())));
        return;
    }
    let width = usize::from(area.width).saturating_sub(OUT.len()).max(1);
    let room = usize::from(area.height);
    let mut rows: Vec<Line<'_>> = Vec::new();
    for shown in log.lines.iter().rev().skip(log.back) {
        let (sign, style) = if shown.is_error { (ERROR, theme.warning()) } else { (OUT, theme.faint()) };
        let text_style = if shown.is_error { style } else { ratatui::style::Style::new() };
        for (at, piece) in wrap(&shown.text, width).into_iter().enumerate().rev() {
            let sign = if at == 0 { sign } else { OUT };
            rows.push(Line::from(vec![Span::styled(sign, style), Span::styled(piece, text_style)]));
        }
        if rows.len() >= room {
            break;
        }
    }
    rows.truncate(room);
    for (at, line) in rows.iter().rev().enumerate() {
        write(buffer, area, at as u16, line);
    }
}
