//! Jobs and their runs, for people.

use crate::human;
use crate::output::Output;
use crate::table::{Cell, Column, draw, printable};
use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use skep_api::{JobRun, JobState, JobView};

const JOBS: &[Column] = &[
    Column { title: "job", rank: 0, right: false },
    Column { title: "schedule", rank: 1, right: false },
    Column { title: "kind", rank: 5, right: false },
    Column { title: "state", rank: 0, right: false },
    Column { title: "next", rank: 0, right: true },
    Column { title: "last", rank: 2, right: false },
    Column { title: "ok", rank: 3, right: true },
    Column { title: "failed", rank: 3, right: true },
    Column { title: "lost", rank: 4, right: true },
    Column { title: "skipped", rank: 6, right: true },
];

const RUNS: &[Column] = &[
    Column { title: "scheduled", rank: 0, right: false },
    Column { title: "try", rank: 4, right: true },
    Column { title: "status", rank: 0, right: false },
    Column { title: "took", rank: 1, right: true },
    Column { title: "worker", rank: 3, right: true },
    Column { title: "why, or what it returned", rank: 2, right: false },
];

/// So much of a result in a table.
const RESULT_CHARS: usize = 60;

pub(super) fn table(jobs: &[JobView], now_ms: i64, output: &Output) -> String {
    let rows: Vec<Vec<Cell>> = jobs
        .iter()
        .map(|job| {
            vec![
                Cell::styled(job.id.as_str(), Style::new().bold()),
                printable(&job.schedule).into(),
                job.kind.as_str().into(),
                Cell::styled(state(job.state), state_style(job.state)),
                job.next_unix_ms.map(|at| until(at, now_ms)).into(),
                match &job.last {
                    Some(run) => Cell::styled(run.status.as_str(), status_style(&run.status)),
                    None => None::<String>.into(),
                },
                job.succeeded.to_string().into(),
                job.failed.to_string().into(),
                job.lost.to_string().into(),
                job.skipped.to_string().into(),
            ]
        })
        .collect();
    draw(JOBS, &rows, output.width, output.color)
}

pub(super) fn history(runs: &[JobRun], output: &Output) -> String {
    let rows: Vec<Vec<Cell>> = runs
        .iter()
        .map(|run| {
            let text = run.why.as_deref().or(run.result.as_deref()).map(short);
            let count = if run.count > 1 { format!("{} × ", run.count) } else { String::new() };
            let manual = if run.manual { " by hand" } else { "" };
            vec![
                format!("{}{manual}", moment(run.scheduled_unix_ms)).into(),
                Some(run.attempt).filter(|attempt| *attempt > 0).into(),
                Cell::styled(format!("{count}{}", run.status), status_style(&run.status)),
                run.took_ms.map(duration).into(),
                run.worker.into(),
                text.into(),
            ]
        })
        .collect();
    draw(RUNS, &rows, output.width, output.color)
}

pub(super) fn describe(job: &JobView, runs: &[JobRun], now_ms: i64, output: &Output) -> String {
    let next =
        job.next_unix_ms.map_or("-".to_owned(), |at| format!("{} ({})", moment(at), until(at, now_ms)));
    let zone = job.timezone.as_ref().map(|zone| format!(" ({zone})")).unwrap_or_default();
    let mean = |sum: u64, count: u64| duration(sum.checked_div(count).unwrap_or(0));
    let ended = job.succeeded + job.failed + job.lost + job.cancelled;
    let mut text = format!(
        "job      {id}\n\
         state    {state}, {running} under way, {waiting} waiting\n\
         runs     {kind}, {schedule}{zone}\n\
         next     {next}\n\
         so far   {started} started: {succeeded} succeeded, {failed} failed, {lost} lost, {cancelled} cancelled; \
         {skipped} skipped\n\
         mean     {took} a run, {late} late (at most {late_most})\n",
        id = job.id,
        state = state(job.state),
        running = job.running,
        waiting = job.waiting,
        kind = job.kind,
        schedule = printable(&job.schedule),
        started = job.started,
        succeeded = job.succeeded,
        failed = job.failed,
        lost = job.lost,
        cancelled = job.cancelled,
        skipped = job.skipped,
        took = mean(job.busy_ms, ended),
        late = mean(job.late_ms, job.started),
        late_most = duration(job.late_most_ms),
    );
    if !runs.is_empty() {
        text.push('\n');
        text.push_str(&history(runs, output));
    }
    text
}

fn short(text: &str) -> String {
    let line = printable(text);
    if line.chars().count() <= RESULT_CHARS {
        return line;
    }
    let cut: String = line.chars().take(RESULT_CHARS - 1).collect();
    format!("{cut}…")
}

fn moment(unix_ms: i64) -> String {
    match Timestamp::from_millisecond(unix_ms) {
        Ok(at) => at.to_zoned_datetime(TimeZone::system()).strftime("%F %T").to_string(),
        Err(_) => unix_ms.to_string(),
    }
}

fn until(at_ms: i64, now_ms: i64) -> String {
    let left = u64::try_from(at_ms.saturating_sub(now_ms)).unwrap_or(0);
    format!("in {}", human::uptime(left))
}

fn duration(ms: u64) -> String {
    if ms < 10_000 { format!("{ms} ms") } else { human::uptime(ms) }
}

fn state(state: JobState) -> &'static str {
    match state {
        JobState::Waiting => "waiting",
        JobState::Running => "running",
        JobState::Paused => "paused",
        JobState::Stopped => "app stopped",
        JobState::Unregistered => "unregistered",
        JobState::Unknown => "?",
    }
}

fn state_style(state: JobState) -> Style {
    match state {
        JobState::Waiting | JobState::Running => AnsiColor::Green.on_default(),
        JobState::Paused => AnsiColor::Yellow.on_default(),
        JobState::Stopped | JobState::Unregistered | JobState::Unknown => AnsiColor::BrightBlack.on_default(),
    }
}

fn status_style(status: &str) -> Style {
    match status {
        "succeeded" => AnsiColor::Green.on_default(),
        "failed" | "lost" => AnsiColor::Red.on_default(),
        "cancelled" | "skipped" => AnsiColor::Yellow.on_default(),
        _ => Style::new(),
    }
}
