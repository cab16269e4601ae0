//! Jobs: when they fire next, and how the last run ended.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use skep_api::{JobState, JobView};

use super::table::{Cell, Column, lay_out};
use super::{Theme, write};
use crate::human;
use crate::plain::plain;
use crate::state::State;

const COLUMNS: &[Column] = &[
    Column { title: " ", rank: 0, right: false },
    Column { title: "job", rank: 0, right: false },
    Column { title: "schedule", rank: 4, right: false },
    Column { title: "state", rank: 1, right: false },
    Column { title: "next", rank: 0, right: true },
    Column { title: "last", rank: 0, right: false },
    Column { title: "took", rank: 5, right: true },
    Column { title: "ok", rank: 2, right: true },
    Column { title: "failed", rank: 2, right: true },
    Column { title: "lost", rank: 3, right: true },
];

pub(super) fn draw(state: &State, theme: &Theme, area: Rect, buffer: &mut Buffer) {
    if state.jobs.is_empty() {
        let text = "no app has jobs: `schedules` in its file, or schedule() of the package skep, adds one";
        write(buffer, area, 0, &Line::from(Span::styled(text, theme.faint())));
        return;
    }
    let rows: Vec<Vec<Cell>> = state
        .jobs
        .iter()
        .enumerate()
        .map(|(at, job)| row(job, at == state.job, state.unix_ms, theme))
        .collect();
    let (head, lines) = lay_out(COLUMNS, &rows, usize::from(area.width), theme.faint());
    write(buffer, area, 0, &head);
    let room = usize::from(area.height).saturating_sub(1);
    let first = (state.job + 1).saturating_sub(room);
    for (at, line) in lines.iter().skip(first).take(room).enumerate() {
        let place = at as u16 + 1;
        write(buffer, area, place, line);
        if first + at == state.job {
            buffer.set_style(Rect { y: area.y + place, height: 1, ..area }, theme.selected());
        }
    }
}

fn row(job: &JobView, selected: bool, unix_ms: u64, theme: &Theme) -> Vec<Cell> {
    let now = i64::try_from(unix_ms).unwrap_or(i64::MAX);
    let last = job.last.as_ref();
    let ended = last.and_then(|run| run.ended_unix_ms).map(|at| human::uptime(now.abs_diff(at)));
    let words = last.map(|run| match &ended {
        Some(ago) => format!("{} {ago} ago", plain(&run.status)),
        None => plain(&run.status),
    });
    let style = match last.map(|run| run.status.as_str()) {
        Some("failed" | "lost") => theme.trouble(),
        Some("succeeded") => theme.good(),
        _ => theme.faint(),
    };
    let next = job.next_unix_ms.map(|at| match at.checked_sub(now) {
        Some(ms) if ms > 0 => format!("in {}", human::uptime(ms.unsigned_abs())),
        _ => "now".to_owned(),
    });
    vec![
        if selected { ">" } else { " " }.to_owned().into(),
        Cell { text: plain(&job.id), style: theme.strong() },
        plain(&job.schedule).into(),
        word(job.state).to_owned().into(),
        next.into(),
        Cell { style, ..words.into() },
        last.and_then(|run| run.took_ms).map(human::uptime).into(),
        job.succeeded.to_string().into(),
        job.failed.to_string().into(),
        job.lost.to_string().into(),
    ]
}

fn word(state: JobState) -> &'static str {
    match state {
        JobState::Waiting => "waiting",
        JobState::Running => "running",
        JobState::Paused => "paused",
        JobState::Stopped => "stopped",
        JobState::Unregistered => "no app",
        JobState::Unknown => "unknown",
    }
}
