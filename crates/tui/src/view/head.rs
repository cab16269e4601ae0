//! The first line and the last one.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use skep_api::Status;

use super::{Theme, write};
use crate::human;
use crate::state::{Link, Pane, State};

pub(super) fn draw(state: &State, theme: &Theme, area: Rect, buffer: &mut Buffer) {
    let mut spans = vec![Span::styled("skep", theme.strong()), Span::raw("  ")];
    match (&state.link, &state.daemon) {
        (Link::Lost(reason), _) => {
            spans.push(Span::styled(format!("NO ANSWER, trying again: {reason}"), theme.trouble()));
        }
        (Link::Waiting, _) | (_, None) => spans.push(Span::raw("asking …")),
        (Link::Up, Some(daemon)) => spans.push(Span::raw(sums(state, daemon))),
    }
    write(buffer, area, 0, &Line::from(spans));
}

/// The fleet in one line, what matters most first: a narrow terminal cuts the end.
fn sums(state: &State, daemon: &skep_api::DaemonView) -> String {
    let slots: Vec<_> = state.all().map(|(_, slot)| slot).collect();
    let online = slots.iter().filter(|slot| slot.status == Status::Online).count();
    let cpu: f32 = slots.iter().filter_map(|slot| slot.cpu_percent).sum();
    let memory: u64 = slots.iter().filter_map(|slot| slot.memory_bytes).sum();
    let rates = slots.iter().filter_map(|slot| slot.vitals.as_ref()?.http_requests_per_second);
    let apps = human::count(state.apps.len(), "app");
    // (An empty sum of floats is -0.)
    let requests: f64 = rates.sum::<f64>() + 0.0;
    format!(
        "{apps}, {online} of {} online  cpu {}  mem {}  {} req/s  daemon {} up {}  {}",
        slots.len(),
        human::percent(cpu),
        human::memory(memory),
        human::rate(requests),
        daemon.pid,
        human::uptime(daemon.uptime_ms),
        daemon.home,
    )
}

pub(super) fn draw_foot(state: &State, theme: &Theme, area: Rect, buffer: &mut Buffer) {
    let line = match &state.message {
        Some(message) if message.is_trouble => {
            Line::from(Span::styled(format!("! {}", message.text), theme.trouble()))
        }
        Some(message) => Line::from(Span::styled(message.text.clone(), theme.strong())),
        None if state.filter.is_typed => Line::from(vec![
            Span::styled(format!("/{}█", state.filter.text()), theme.strong()),
            Span::styled(
                "  a name, a namespace, a status or an id; Enter keeps it, Esc shows all",
                theme.faint(),
            ),
        ]),
        None => {
            let more = match state.pane {
                Pane::Log => "PgUp scroll",
                Pane::Worker => "[ ] Enter action",
                Pane::Jobs => "[ ] Enter run  p pause",
                Pane::Graphs => "",
            };
            let keys = format!("r restart  l reload  s stop  + - scale  / filter  ? help  q quit  {more}");
            Line::from(Span::styled(keys, theme.faint()))
        }
    };
    write(buffer, area, 0, &line);
}
