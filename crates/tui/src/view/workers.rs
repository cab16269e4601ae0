//! The table of workers.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;
use skep_api::{AppView, SlotView, Status};

use super::table::{Cell, Column, lay_out};
use super::{Theme, write};
use crate::human;
use crate::plain::plain;
use crate::state::{Link, State};

const COLUMNS: &[Column] = &[
    // Says without colour which row is selected and which is in trouble.
    Column { title: " ", rank: 0, right: false },
    Column { title: "id", rank: 0, right: true },
    Column { title: "name", rank: 0, right: false },
    Column { title: "status", rank: 0, right: false },
    Column { title: "cpu", rank: 2, right: true },
    Column { title: "mem", rank: 1, right: true },
    Column { title: "loop", rank: 3, right: true },
    Column { title: "busy", rank: 7, right: true },
    Column { title: "req/s", rank: 4, right: true },
    Column { title: "err", rank: 6, right: true },
    Column { title: "↺", rank: 1, right: true },
    Column { title: "uptime", rank: 5, right: true },
    Column { title: "pid", rank: 8, right: true },
];

/// Draws it; how many rows had no room below.
pub(super) fn draw(state: &State, theme: &Theme, area: Rect, buffer: &mut Buffer) -> usize {
    let rows: Vec<Vec<Cell>> =
        state.rows().map(|(app, slot)| row(app, slot, Some(slot.id) == state.selected, theme)).collect();
    if rows.is_empty() {
        let text = if state.filter.text().is_empty() {
            match state.link {
                Link::Up => "there is no app yet: `skep start app.js` adds one",
                Link::Waiting | Link::Lost(_) => "",
            }
        } else {
            "nothing is called so; Esc shows all"
        };
        write(buffer, area, 0, &Line::raw(text));
        return 0;
    }
    let (head, lines) = lay_out(COLUMNS, &rows, usize::from(area.width), theme.faint());
    write(buffer, area, 0, &head);
    let room = usize::from(area.height).saturating_sub(1);
    // The selected one stays in sight, in the middle where there is more on both sides.
    let first = state.cursor.saturating_sub(room / 2).min(lines.len().saturating_sub(room));
    for (at, line) in lines.iter().skip(first).take(room).enumerate() {
        let place = at as u16 + 1;
        write(buffer, area, place, line);
        if first + at == state.cursor {
            buffer.set_style(Rect { y: area.y + place, height: 1, ..area }, theme.selected());
        }
    }
    lines.len().saturating_sub(first + room)
}

fn row(app: &AppView, slot: &SlotView, selected: bool, theme: &Theme) -> Vec<Cell> {
    let known = slot.vitals.as_ref();
    let troubled = matches!(slot.status, Status::Errored | Status::WaitingRestart);
    let sign = match (selected, troubled) {
        (true, _) => ">",
        (false, true) => "!",
        (false, false) => " ",
    };
    let name = if app.slots.len() > 1 { format!("{}:{}", app.name, slot.index) } else { app.name.clone() };
    let late = known.and_then(human::lateness_ms);
    let failing = known.and_then(|vitals| vitals.http_error_share);
    vec![
        sign.to_owned().into(),
        slot.id.to_string().into(),
        Cell { text: plain(&name), style: theme.strong() },
        Cell { text: status(slot).to_owned(), style: theme.status(slot.status) },
        slot.cpu_percent.map(human::percent).into(),
        slot.memory_bytes.map(human::memory).into(),
        Cell { style: grave(late, [50.0, 500.0], *theme), ..late.map(human::span).into() },
        known.and_then(|vitals| vitals.event_loop_utilization).map(human::share).into(),
        known.and_then(|vitals| vitals.http_requests_per_second).map(human::rate).into(),
        Cell { style: grave(failing, [0.000_1, 0.05], *theme), ..failing.map(human::share).into() },
        slot.restarts.to_string().into(),
        slot.uptime_ms.filter(|_| slot.pid.is_some()).map(human::uptime).into(),
        slot.pid.map(|pid| pid.to_string()).into(),
    ]
}

fn grave(value: Option<f64>, [warning, trouble]: [f64; 2], theme: Theme) -> Style {
    match value {
        Some(value) if value >= trouble => theme.trouble(),
        Some(value) if value >= warning => theme.warning(),
        _ => Style::new(),
    }
}

/// In one word.
fn status(slot: &SlotView) -> &'static str {
    match slot.status {
        Status::WaitingRestart => "waiting",
        Status::Online if slot.successor_pid.is_some() => "renewing",
        other => other.as_str(),
    }
}
