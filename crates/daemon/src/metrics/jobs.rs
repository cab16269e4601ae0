//! Figures of jobs: what ran, how it ended, how long it took and how late it began.

use skep_api::{JobState, JobView};

use super::exposition::{Exposition, Kind};

/// One sample a job that has the figure.
fn each(
    out: &mut Exposition,
    (name, kind, help): (&str, Kind, &str),
    jobs: &[JobView],
    value: impl Fn(&JobView) -> Option<f64>,
) {
    out.family(name, kind, help, jobs.iter().filter_map(|job| Some((labels(job), value(job)?))));
}

fn labels(job: &JobView) -> Vec<(&str, &str)> {
    vec![("app", &job.app), ("job", &job.name)]
}

/// All families of jobs; none without jobs.
pub(super) fn about_jobs(out: &mut Exposition, jobs: &[JobView]) {
    use Kind::{Counter, Gauge};
    each(out, ("skep_job_started_total", Counter, "Attempts that were started."), jobs, |job| {
        Some(job.started as f64)
    });
    let ends = jobs.iter().flat_map(|job| {
        [
            ("succeeded", job.succeeded),
            ("failed", job.failed),
            ("lost", job.lost),
            ("cancelled", job.cancelled),
        ]
        .map(|(result, count)| ([labels(job), vec![("result", result)]].concat(), count as f64))
    });
    out.family("skep_job_runs_total", Counter, "Attempts that came to an end, by how.", ends);
    let help = "Fire times that were not started.";
    each(out, ("skep_job_skipped_total", Counter, help), jobs, |job| Some(job.skipped as f64));
    let help = "Time that all attempts took together.";
    each(out, ("skep_job_run_seconds_total", Counter, help), jobs, |job| Some(job.busy_ms as f64 / 1e3));
    let help = "How long after their fire times all attempts began together.";
    each(out, ("skep_job_lateness_seconds_total", Counter, help), jobs, |job| Some(job.late_ms as f64 / 1e3));
    let help = "The longest time that an attempt began after its fire time.";
    each(out, ("skep_job_lateness_max_seconds", Gauge, help), jobs, |job| {
        Some(job.late_most_ms as f64 / 1e3)
    });
    each(out, ("skep_job_running", Gauge, "Runs under way."), jobs, |job| Some(job.running as f64));
    let help = "Runs that wait for their turn, a retry or a worker.";
    each(out, ("skep_job_waiting", Gauge, help), jobs, |job| Some(job.waiting as f64));
    each(out, ("skep_job_paused", Gauge, "1 for a job that somebody paused."), jobs, |job| {
        Some(f64::from(u8::from(job.state == JobState::Paused)))
    });
    let help = "When the job fires next, since 1970.";
    each(out, ("skep_job_next_fire_time_seconds", Gauge, help), jobs, |job| {
        Some(job.next_unix_ms? as f64 / 1e3)
    });
    let help = "When the last run ended, since 1970.";
    each(out, ("skep_job_last_end_time_seconds", Gauge, help), jobs, |job| {
        Some(job.last.as_ref()?.ended_unix_ms? as f64 / 1e3)
    });
}
