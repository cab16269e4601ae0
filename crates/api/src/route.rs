//! The table of routes: the server matches requests with it, the OpenAPI document is written from it.

use crate::{ErrorBody, ErrorCode};
use std::fmt;

/// What a request asks for. The parameter of its path, where there is one, is in [`Found::parameter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Route {
    /// All apps.
    ListApps,
    /// The apps that a target means.
    ShowApps,
    /// Add an app.
    CreateApp,
    /// Make the apps those that a file describes.
    ApplyApps,
    /// Start what is not running.
    StartApps,
    /// Stop.
    StopApps,
    /// Restart in place.
    RestartApps,
    /// Replace each worker by a new one, without a pause in service.
    ReloadApps,
    /// Stop and forget.
    DeleteApps,
    /// Set the restart counters to zero; errored slots may start again.
    ResetApps,
    /// Change the number of workers.
    ScaleApp,
    /// Send a signal to workers.
    SignalApps,
    /// Send a message to one Node.js worker.
    MessageWorker,
    /// Call an action of workers.
    TriggerApps,
    /// Write to workers' standard input.
    WriteStdin,
    /// All slots as PM2's `jlist` shows them.
    Pm2Processes,
    /// Read logs.
    Logs,
    /// Empty log files.
    FlushLogs,
    /// Open log files anew.
    ReopenLogs,
    /// Read events.
    Events,
    /// Figures in Prometheus's text format.
    Metrics,
    /// How metrics are served over TCP.
    ShowMetricsServer,
    /// Serve metrics over TCP, or stop it.
    ConfigureMetrics,
    /// What the daemon says of itself.
    ShowDaemon,
    /// Stop all workers, the daemon and the keeper.
    StopDaemon,
    /// Start again what ran when skep was last stopped.
    Resurrect,
    /// Become another version of skep.
    UpgradeDaemon,
    /// What is in the shared state, by name.
    StateNames,
    /// One named thing of the shared state.
    ShowState,
    /// One named thing of the shared state, again whenever it has changed.
    WatchState,
    /// Change one named thing of the shared state.
    ChangeState,
    /// Locks that are held or waited for.
    StateLocks,
    /// Queues.
    StateQueues,
    /// Figures of the shared state.
    StateStats,
    /// Copy the shared state to a file.
    BackupState,
    /// Put a backup in place of the shared state.
    RestoreState,
    /// How the shared state is kept.
    ShowStateConfig,
    /// Change how the shared state is kept.
    ConfigureState,
    /// One queue.
    ShowQueue,
    /// Jobs of a queue.
    QueueJobs,
    /// Pause a queue, let it go on, put dead jobs back, remove some.
    ActOnQueue,
    /// How this host takes part in a cluster of hosts.
    ShowHosts,
    /// Change how this host takes part.
    ConfigureHosts,
    /// All jobs.
    ListJobs,
    /// One job.
    ShowJob,
    /// Run, pause, resume a job, or end its runs.
    ActOnJob,
    /// A job's last runs.
    JobHistory,
    /// The OpenAPI document.
    OpenApi,
}

/// An HTTP method that is in use here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// Reads.
    Get,
    /// Changes.
    Post,
}

impl Method {
    /// As it stands in a request.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub struct RouteSpec {
    /// What it asks for.
    pub route: Route,
    /// The method.
    pub method: Method,
    /// The path; at most one segment is a parameter in braces.
    pub path: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
}

const fn get(route: Route, path: &'static str, summary: &'static str) -> RouteSpec {
    RouteSpec { route, method: Method::Get, path, summary }
}

const fn post(route: Route, path: &'static str, summary: &'static str) -> RouteSpec {
    RouteSpec { route, method: Method::Post, path, summary }
}

/// Every route there is.
pub const ROUTES: &[RouteSpec] = &[
    get(Route::ListApps, "/v1/apps", "All apps, by id."),
    get(Route::ShowApps, "/v1/apps/{target}", "The apps that the targets mean."),
    post(Route::CreateApp, "/v1/apps", "Adds an app and starts it."),
    post(
        Route::ApplyApps,
        "/v1/apply",
        "Compares many apps with what is there, says what changes, and carries it out.",
    ),
    post(Route::StartApps, "/v1/apps/{target}/start", "Starts what is not running."),
    post(Route::StopApps, "/v1/apps/{target}/stop", "Stops workers; the apps stay known."),
    post(Route::RestartApps, "/v1/apps/{target}/restart", "Restarts in place, all workers at once."),
    post(
        Route::ReloadApps,
        "/v1/apps/{target}/reload",
        "Replaces workers one after the other without a pause.",
    ),
    post(Route::DeleteApps, "/v1/apps/{target}/delete", "Stops apps and forgets them."),
    post(Route::ResetApps, "/v1/apps/{target}/reset", "Sets restart counters to zero."),
    post(Route::ScaleApp, "/v1/apps/{target}/scale", "Changes the number of workers."),
    post(Route::SignalApps, "/v1/apps/{target}/signal", "Sends a signal to workers."),
    post(Route::MessageWorker, "/v1/workers/{worker}/message", "Sends any JSON value to a Node.js worker."),
    post(
        Route::TriggerApps,
        "/v1/apps/{target}/trigger",
        "Calls an action that workers offer; their answers.",
    ),
    post(Route::WriteStdin, "/v1/apps/{target}/stdin", "Writes text to the standard input of workers."),
    get(Route::Pm2Processes, "/v1/pm2/processes", "All slots, as PM2's jlist shows them."),
    post(
        Route::FlushLogs,
        "/v1/logs/{target}/flush",
        "Empties the log files, with `all` skep's own too; older, rotated ones stay.",
    ),
    post(
        Route::ReopenLogs,
        "/v1/daemon/reopen-logs",
        "Opens all log files anew, after logrotate has moved them.",
    ),
    get(Route::Logs, "/v1/logs/{target}", "The last lines of log, and the next ones with follow=true."),
    get(Route::Events, "/v1/events", "What has happened lately, and what happens next with follow=true."),
    get(Route::Metrics, "/v1/metrics", "Figures of workers and of skep, in Prometheus's text format."),
    get(Route::ShowMetricsServer, "/v1/metrics/server", "How metrics are served over TCP."),
    post(Route::ConfigureMetrics, "/v1/metrics/server", "Serves metrics over TCP, or stops it."),
    get(Route::ShowDaemon, "/v1/daemon", "What the daemon says of itself."),
    post(Route::StopDaemon, "/v1/daemon/stop", "Stops all workers, the daemon and the keeper."),
    post(Route::Resurrect, "/v1/daemon/resurrect", "Starts again what ran when skep was last stopped."),
    post(
        Route::UpgradeDaemon,
        "/v1/daemon/upgrade",
        "Replaces the running skep by another program file; workers and connections stay.",
    ),
    get(Route::StateNames, "/v1/state", "What is in the shared state, by name."),
    get(Route::ShowState, "/v1/state/entry", "A counter, or what is in a map or a leaderboard."),
    get(
        Route::WatchState,
        "/v1/state/watch",
        "As GET /v1/state/entry: now, as soon as it has changed, and now and then in between.",
    ),
    post(Route::ChangeState, "/v1/state/entry", "Sets, adds to or removes what a name stands for."),
    get(Route::StateLocks, "/v1/state/locks", "Locks that are held or waited for: by whom, and since when."),
    get(Route::StateQueues, "/v1/state/queues", "Queues, and how many jobs are in them."),
    get(Route::StateStats, "/v1/state/stats", "The size of the shared state, and what has happened in it."),
    post(Route::BackupState, "/v1/state/backup", "Copies the shared state to a file; workers go on."),
    post(Route::RestoreState, "/v1/state/restore", "Puts a backup in place of the shared state, at once."),
    get(Route::ShowStateConfig, "/v1/state/config", "How the shared state is kept."),
    post(Route::ConfigureState, "/v1/state/config", "Changes how the shared state is kept."),
    get(Route::ShowQueue, "/v1/queues/{queue}", "One queue."),
    get(Route::QueueJobs, "/v1/queues/{queue}/jobs", "The first jobs of a part of a queue."),
    post(
        Route::ActOnQueue,
        "/v1/queues/{queue}",
        "Pauses a queue, lets it go on, puts dead jobs back, removes some.",
    ),
    get(Route::ShowHosts, "/v1/hosts", "How this host takes part in a cluster of hosts."),
    post(Route::ConfigureHosts, "/v1/hosts", "Changes how this host takes part."),
    get(Route::ListJobs, "/v1/jobs", "All jobs, by name."),
    get(Route::ShowJob, "/v1/jobs/{job}", "One job."),
    post(Route::ActOnJob, "/v1/jobs/{job}", "Runs, pauses, resumes a job, or ends its runs."),
    get(Route::JobHistory, "/v1/jobs/{job}/history", "A job's last runs, the newest first."),
    get(Route::OpenApi, "/v1/openapi.json", "This document."),
];

/// A request that the table knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    /// What it asks for.
    pub route: Route,
    /// The path's parameter, percent-encoded as it came (see [`crate::decode_targets`]).
    pub parameter: Option<&'a str>,
}

/// Matches `path` (without its query) against `pattern`; gives the parameter.
fn matches<'a>(pattern: &str, path: &'a str) -> Option<Option<&'a str>> {
    let mut parameter = None;
    let mut wanted = pattern.split('/');
    let mut given = path.split('/');
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(parameter),
            (Some(name), Some(value)) if name.starts_with('{') && !value.is_empty() => {
                parameter = Some(value);
            }
            (Some(a), Some(b)) if a == b => {}
            (Some(_), Some(_)) | (Some(_), None) | (None, Some(_)) => return None,
        }
    }
}

/// The route of a request; `path` is without its query.
pub fn find<'a>(method: &str, path: &'a str) -> Result<Found<'a>, ErrorBody> {
    let mut allowed = Vec::new();
    for spec in ROUTES {
        if let Some(parameter) = matches(spec.path, path) {
            if spec.method.as_str() == method {
                return Ok(Found { route: spec.route, parameter });
            }
            allowed.push(spec.method.as_str());
        }
    }
    if allowed.is_empty() {
        return Err(ErrorBody::new(ErrorCode::UnknownRoute, format!("there is no {path}"))
            .with_hint("GET /v1/openapi.json describes all there is"));
    }
    Err(ErrorBody::new(ErrorCode::MethodNotAllowed, format!("{method} is not possible on {path}"))
        .with_hint(format!("use {}", allowed.join(" or "))))
}

impl Route {
    /// Its line in the table.
    pub fn spec(self) -> &'static RouteSpec {
        ROUTES.iter().find(|spec| spec.route == self).expect("every route has a line: tested")
    }

    /// The path of a request, with `parameter` (encoded already) in its place.
    pub fn path(self, parameter: &str) -> String {
        let path = self.spec().path;
        match (path.find('{'), path.find('}')) {
            (Some(open), Some(close)) => format!("{}{parameter}{}", &path[..open], &path[close + 1..]),
            _ => path.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn requests_find_their_route_and_its_parameter() {
        let found = |route, parameter| Ok(Found { route, parameter });
        assert_eq!(find("GET", "/v1/apps"), found(Route::ListApps, None));
        assert_eq!(find("POST", "/v1/apps"), found(Route::CreateApp, None));
        assert_eq!(find("GET", "/v1/apps/web,api%20v2"), found(Route::ShowApps, Some("web,api%20v2")));
        assert_eq!(find("POST", "/v1/apps/web/reload"), found(Route::ReloadApps, Some("web")));
        assert_eq!(find("GET", "/v1/openapi.json"), found(Route::OpenApi, None));
    }

    #[test]
    fn what_is_not_in_the_table_is_refused_with_a_hint() {
        assert_eq!(find("GET", "/").unwrap_err().code, ErrorCode::UnknownRoute);
        assert_eq!(find("GET", "/v1/apps/").unwrap_err().code, ErrorCode::UnknownRoute);
        assert_eq!(find("GET", "/v1/apps/web/reload/x").unwrap_err().code, ErrorCode::UnknownRoute);
        let error = find("DELETE", "/v1/apps").unwrap_err();
        assert_eq!(
            (error.code, error.hint.as_deref()),
            (ErrorCode::MethodNotAllowed, Some("use GET or POST"))
        );
    }

    #[test]
    fn each_line_of_the_table_finds_itself() {
        let mut seen = HashSet::new();
        for spec in ROUTES {
            assert!(seen.insert(spec.route), "{:?} stands twice", spec.route);
            let path = spec.route.path("x");
            assert_eq!(find(spec.method.as_str(), &path).unwrap().route, spec.route);
        }
    }
}
