//! Jobs for whoever looks, and what people may ask for.

use skep_api::{ErrorBody, ErrorCode, JobAct, JobRun, JobState, JobView};
use skep_jobs::{Entry, Event, JobId, Phase, Place, Run, WhenText};

use crate::driver::Driver;

/// So many lines of history in one answer at most.
const HISTORY_MAX: usize = 10_000;

impl Driver {
    /// All jobs, by name.
    pub(crate) fn job_views(&self) -> Vec<JobView> {
        let Some(open) = &self.board.open else { return Vec::new() };
        open.jobs.views().iter().map(view).collect()
    }

    /// One job with its last runs.
    pub(crate) fn job_view(&self, name: &str) -> Result<JobView, ErrorBody> {
        let id = self.find_job(name)?;
        let open = self.board.open.as_ref().ok_or_else(|| unknown(name, &[]))?;
        let found = open.jobs.view(&id).ok_or_else(|| unknown(name, &[]))?;
        Ok(view(&found))
    }

    /// The last runs of a job, the newest first.
    pub(crate) fn job_history(&self, name: &str, most: usize) -> Result<Vec<JobRun>, ErrorBody> {
        let id = self.find_job(name)?;
        let open = self.board.open.as_ref().ok_or_else(|| unknown(name, &[]))?;
        let entries = open.ledger.history(&id, most.min(HISTORY_MAX)).map_err(|error| {
            ErrorBody::new(ErrorCode::StorageFailed, format!("the history cannot be read: {error}"))
        })?;
        Ok(entries.iter().map(|entry| self.job_run(&id, entry)).collect())
    }

    fn job_run(&self, id: &JobId, entry: &Entry) -> JobRun {
        let mut run = run(id, entry);
        if entry.place == Some(Place::Process) {
            let path = self.output_path(id, entry.scheduled, entry.attempt);
            run.output_file = Some(path.to_string_lossy().into_owned()).filter(|_| path.exists());
        }
        run
    }

    /// Runs, pauses, resumes a job, or ends its runs.
    pub(crate) fn job_act(&mut self, name: &str, act: JobAct) -> Result<JobView, ErrorBody> {
        let job = self.find_job(name)?;
        let known = self.job_view(name)?;
        let event = match act {
            JobAct::Run if known.state == JobState::Unregistered => {
                return Err(ErrorBody::new(
                    ErrorCode::Conflict,
                    format!("no app has the job {} at present", known.id),
                )
                .with_hint("start its app; a function must be registered by a running worker"));
            }
            JobAct::Run => Event::RunNow { job },
            JobAct::Pause => Event::Pause { job },
            JobAct::Resume => Event::Resume { job },
            JobAct::Cancel => Event::CancelRuns { job },
        };
        self.job_event(event);
        if self.board.stuck {
            return Err(ErrorBody::new(ErrorCode::StorageFailed, "the ledger of jobs cannot be written")
                .with_hint("make room on the disk; what was asked for is done then"));
        }
        self.job_view(name)
    }

    /// A job by its whole name (`app/job`), or by its own where that is unique.
    fn find_job(&self, name: &str) -> Result<JobId, ErrorBody> {
        let all: Vec<JobId> = match &self.board.open {
            Some(open) => open.jobs.views().into_iter().map(|view| view.id).collect(),
            None => Vec::new(),
        };
        let whole = all.iter().find(|id| id.to_string() == name);
        let mut short = all.iter().filter(|id| id.name == name);
        match (whole, short.next(), short.next()) {
            (Some(id), _, _) | (None, Some(id), None) => Ok(id.clone()),
            (None, Some(one), Some(other)) => {
                Err(ErrorBody::new(ErrorCode::BadRequest, format!("several apps have a job {name}"))
                    .with_hint(format!("write the app in front: {one} or {other}")))
            }
            (None, None, _) => Err(unknown(name, &all)),
        }
    }
}

fn unknown(name: &str, all: &[JobId]) -> ErrorBody {
    let hint = match all {
        [] => {
            "there is no job yet: `schedules` of an app's file, or schedule() of the package skep, adds one"
                .to_owned()
        }
        some => {
            let names: Vec<String> = some.iter().take(8).map(ToString::to_string).collect();
            format!("there are: {}", names.join(", "))
        }
    };
    ErrorBody::new(ErrorCode::UnknownTarget, format!("there is no job {name}")).with_hint(hint)
}

fn view(view: &skep_jobs::JobView) -> JobView {
    let record = &view.record;
    let definition = record.definition.as_ref();
    let under_way = |run: &&Run| !matches!(run.phase, Phase::Waiting { .. } | Phase::Claiming);
    let running = record.runs.iter().filter(under_way).count();
    let state = match (view.defined, record.paused, view.up) {
        (false, _, _) => JobState::Unregistered,
        (true, true, _) => JobState::Paused,
        (true, false, false) => JobState::Stopped,
        (true, false, true) if running > 0 => JobState::Running,
        (true, false, true) => JobState::Waiting,
    };
    let totals = record.totals;
    JobView {
        id: view.id.to_string(),
        app: view.id.app.clone(),
        name: view.id.name.clone(),
        state,
        schedule: definition.map(|definition| words(&definition.when)).unwrap_or_default(),
        timezone: definition.and_then(|definition| match &definition.when {
            WhenText::Cron { zone, .. } | WhenText::At { zone, .. } => zone.clone(),
            WhenText::Every { .. } => None,
        }),
        kind: definition.map(|definition| definition.kind.as_str().to_owned()).unwrap_or_default(),
        next_unix_ms: view.next.map(|at| at.0),
        running: running as u64,
        waiting: (record.runs.len() - running) as u64,
        last: record.last.as_ref().map(|entry| run(&view.id, entry)),
        started: totals.started,
        succeeded: totals.succeeded,
        failed: totals.failed,
        lost: totals.lost,
        cancelled: totals.cancelled,
        skipped: totals.skipped,
        busy_ms: totals.busy_ms,
        late_ms: totals.late_ms,
        late_most_ms: totals.late_most_ms,
    }
}

fn words(when: &WhenText) -> String {
    match when {
        WhenText::Cron { pattern, .. } => pattern.clone(),
        WhenText::Every { ms } => format!("every {}", skep_spec::Millis(*ms)),
        WhenText::At { time, .. } => format!("at {time}"),
    }
}

fn run(id: &JobId, entry: &Entry) -> JobRun {
    JobRun {
        id: format!("{id}@{}", entry.scheduled.0),
        scheduled_unix_ms: entry.scheduled.0,
        attempt: entry.attempt,
        status: entry.status.as_str().to_owned(),
        why: entry.why.map(|why| why.as_str().to_owned()),
        manual: entry.by_hand,
        token: entry.token,
        worker: match entry.place {
            Some(Place::Worker(worker)) => Some(worker),
            Some(Place::Process | Place::Request) | None => None,
        },
        started_unix_ms: entry.started.map(|at| at.0),
        ended_unix_ms: entry.ended.map(|at| at.0),
        took_ms: entry.took_ms,
        result: entry.result.clone(),
        count: entry.count,
        since_unix_ms: entry.since.map(|at| at.0),
        output_file: None,
    }
}
