//! What the selected worker tells of itself: figures on the left, its own metrics and actions on the right.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use serde_json::Value;
use skep_api::{AppView, SlotView};

use super::table::{fit, wrap};
use super::{Theme, write};
use crate::human;
use crate::plain::plain;
use crate::state::State;

/// The longest title and a gap.
const TITLE: usize = 12;

pub(super) fn draw(state: &State, theme: &Theme, area: Rect, buffer: &mut Buffer) {
    let Some((app, slot)) = state.row() else { return };
    let [left, right] =
        Layout::horizontal([Constraint::Percentage(55), Constraint::Fill(1)]).spacing(1).areas(area);
    let width = usize::from(left.width).saturating_sub(TITLE).max(1);
    let facts = facts(app, slot);
    let lines = facts.iter().flat_map(|(title, value)| {
        let pieces = wrap(value, width).into_iter().enumerate();
        pieces.map(move |(at, piece)| (if at == 0 { *title } else { "" }, piece))
    });
    for (at, (title, piece)) in lines.take(usize::from(left.height)).enumerate() {
        let spans = vec![Span::styled(format!("{title:<TITLE$}"), theme.faint()), Span::raw(piece)];
        write(buffer, left, at as u16, &Line::from(spans));
    }
    let (lines, selected) = own(state, slot, theme);
    let room = usize::from(right.height);
    let first = selected.map_or(0, |at| (at + 1).saturating_sub(room));
    for (at, line) in lines.iter().skip(first).take(room).enumerate() {
        write(buffer, right, at as u16, line);
        if selected == Some(first + at) {
            buffer.set_style(Rect { y: right.y + at as u16, height: 1, ..right }, theme.selected());
        }
    }
}

fn facts(app: &AppView, slot: &SlotView) -> Vec<(&'static str, String)> {
    let mut facts = vec![("script", plain(&app.script))];
    if let Some(pid) = slot.pid {
        facts.push(("pid", pid.to_string()));
    }
    if let Some(ms) = slot.restart_in_ms {
        facts.push(("starts in", human::uptime(ms)));
    }
    facts.extend(slot.vitals.as_ref().map(human::vitals).unwrap_or_default());
    if let Some(exit) = &slot.last_exit {
        facts.push(("last exit", plain(&exit.message)));
    }
    if let Some(rollout) = &app.rollout {
        facts.push(("reload", format!("{} of {} done", rollout.done, rollout.total)));
    }
    if let Some(why) = &app.cannot_listen {
        facts.push(("no listen", plain(why)));
    }
    for listener in &app.listeners {
        let waiting: u32 =
            listener.queues.iter().filter(|queue| queue.slot == slot.id).map(|queue| queue.waiting).sum();
        facts.push(("listens on", format!("{}, {waiting} waiting", listener.address)));
    }
    facts
}

/// Metrics and actions of the app's own, and which line is the selected action.
fn own(state: &State, slot: &SlotView, theme: &Theme) -> (Vec<Line<'static>>, Option<usize>) {
    let mut lines = Vec::new();
    if !slot.metrics.is_empty() {
        lines.push(Line::from(Span::styled("metrics", theme.faint())));
        lines.extend(
            slot.metrics.iter().map(|(name, metric)| Line::raw(format!("  {}", self::metric(name, metric)))),
        );
    }
    if slot.actions.is_empty() {
        if lines.is_empty() {
            lines.push(Line::from(Span::styled("no metrics or actions of @pm2/io", theme.faint())));
        }
        return (lines, None);
    }
    lines.push(Line::from(Span::styled("actions: [ ] choose, Enter calls", theme.faint())));
    let selected = lines.len() + state.action;
    for (at, action) in slot.actions.iter().enumerate() {
        let sign = if at == state.action { '>' } else { ' ' };
        lines.push(Line::raw(format!("{sign} {}", plain(action))));
    }
    (lines, Some(selected))
}

/// So much of a metric's name.
const NAME_WIDTH: usize = 22;

/// `{"value": …, "unit": …}` as @pm2/io sends it, or a bare value.
fn metric(name: &str, metric: &Value) -> String {
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let value = metric.get("value").map_or_else(|| word(metric), word);
    let unit = metric.get("unit").and_then(Value::as_str).unwrap_or_default();
    plain(format!("{}  {value} {unit}", fit(name, NAME_WIDTH)).trim_end())
}
