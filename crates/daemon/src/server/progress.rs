//! Commands: started, then told about line by line until their goal is reached or has failed.

use std::time::Duration;

use skep_api::{
    Act, Action, ApplyApps, CreateApp, Detail, Done, ErrorBody, ErrorCode, Failed, Progress, Route, ScaleApp,
};
use skep_core::{Failure, Outcome};
use tokio::sync::mpsc::UnboundedReceiver;

use super::answer::{Answer, json, lines};
use super::body::Lines;
use crate::commands::{Pending, Verb};
use crate::driver::Shared;
use crate::ops::News;

/// How much of a failed worker's last words is shown.
const LAST_WORDS_LINES: u64 = 20;

/// How long the client waits, and for what.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    to_the_end: bool,
    timeout: Option<Duration>,
    /// "started", "stopped" and so on.
    done: &'static str,
    /// Whether the last line shows the app: where it is the only one.
    alone: bool,
}

impl Waiting {
    fn new(wait: bool, timeout_ms: Option<u64>, done: &'static str) -> Waiting {
        Waiting { to_the_end: wait, timeout: timeout_ms.map(Duration::from_millis), done, alone: false }
    }

    fn of(self, commands: usize) -> Waiting {
        Waiting { alone: commands == 1, ..self }
    }
}

pub(crate) async fn create(driver: Shared, request: CreateApp) -> Answer {
    if let Some(typed) = &request.unless_known {
        driver.borrow().refuse_known(typed)?;
    }
    super::script::check(&driver, std::slice::from_ref(&request.spec)).await?;
    let waiting = Waiting::new(request.wait, request.timeout_ms, "started");
    let pending = driver.borrow_mut().create(request)?;
    tell(driver, vec![pending], waiting)
}

/// The plan first, then what becomes of it.
pub(crate) async fn apply(driver: Shared, request: ApplyApps) -> Answer {
    let (wait, timeout_ms) = (request.wait, request.timeout_ms);
    super::script::check(&driver, &request.apps).await?;
    let applied = driver.borrow_mut().apply(request)?;
    let (out, body) = Lines::new();
    // There is room for one line before anybody reads.
    let _ = out.write(&Progress::Plan(applied.plan)).await;
    let commands = applied.pending.len();
    for (pending, action) in applied.pending {
        let waiting = Waiting::new(wait, timeout_ms, done_word(action)).of(commands);
        follow_apart(&driver, &out, pending, waiting);
    }
    lines(body)
}

fn done_word(action: Action) -> &'static str {
    match action {
        Action::Create | Action::Start => "started",
        Action::Hot | Action::Unchanged => "changed",
        Action::Rolling => "rolled out",
        Action::Recreate => "recreated",
        Action::Restart => "restarted",
        Action::Reload => "reloaded",
        Action::Delete => "deleted",
    }
}

pub(crate) fn act(driver: Shared, route: Route, parameter: &str, act: Act) -> Answer {
    let (verb, done) = match route {
        Route::StartApps => (Verb::Start, "started"),
        Route::StopApps => (Verb::Stop, "stopped"),
        Route::RestartApps => (Verb::Restart, "restarted"),
        Route::ReloadApps => (Verb::Reload, "reloaded"),
        Route::DeleteApps => (Verb::Delete, "deleted"),
        _ => (Verb::Reset, "reset"),
    };
    let targets = skep_api::decode_targets(parameter)?;
    if act.switch_watch {
        driver.borrow_mut().switch_watch(verb, &targets)?;
    }
    let pending = driver.borrow_mut().act(verb, &targets)?;
    tell(driver, pending, Waiting::new(act.wait, act.timeout_ms, done))
}

pub(crate) fn scale(driver: Shared, parameter: &str, request: &ScaleApp) -> Answer {
    let targets = skep_api::decode_targets(parameter)?;
    let pending = driver.borrow_mut().scale(&targets, request)?;
    tell(driver, pending, Waiting::new(request.wait, request.timeout_ms, "scaled"))
}

pub(crate) fn resurrect(driver: Shared, act: Act) -> Answer {
    let pending = driver.borrow_mut().resurrect()?;
    tell(driver, pending, Waiting::new(act.wait, act.timeout_ms, "started"))
}

/// Answers when the stop is under way; the end itself is seen by the connection's end.
pub(crate) fn stop_daemon(driver: &Shared) -> Answer {
    driver.borrow_mut().stop_all()?;
    json(&serde_json::json!({}))
}

fn tell(driver: Shared, pending: Vec<Pending>, waiting: Waiting) -> Answer {
    let (out, body) = Lines::new();
    let waiting = waiting.of(pending.len());
    for pending in pending {
        follow_apart(&driver, &out, pending, waiting);
    }
    lines(body)
}

/// Follows one command in a task of its own.
fn follow_apart(driver: &Shared, out: &Lines, pending: Pending, waiting: Waiting) {
    let (driver, out) = (driver.clone(), out.clone());
    tokio::task::spawn_local(async move {
        let Pending { app, name, news } = pending;
        if let Some(line) = follow(&driver, &name, Some(app), news, &out, waiting).await {
            // A client that went away does not stop the command.
            let _ = out.write(&line).await;
        }
    });
}

/// Passes on notices until the end; answers the last line.
async fn follow(
    driver: &Shared,
    name: &str,
    app: Option<skep_core::AppId>,
    mut news: UnboundedReceiver<News>,
    out: &Lines,
    waiting: Waiting,
) -> Option<Progress> {
    let name_of = || app.map(|_| name.to_owned());
    let timeout = async {
        match waiting.timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(timeout);
    loop {
        let news = tokio::select! {
            news = news.recv() => news?,
            () = &mut timeout => return Some(timed_out(name, waiting)),
        };
        match news {
            News::Notice(event) => out.write(&Progress::Notice(*event)).await.ok()?,
            News::Launched if waiting.to_the_end => {}
            News::Launched => {
                let message = format!("{name} is being {}", waiting.done);
                return Some(done(driver, name_of(), app, message, waiting));
            }
            News::Done(outcome) => return Some(end(driver, name, app, outcome, waiting)),
        }
    }
}

fn done(
    driver: &Shared,
    name: Option<String>,
    app: Option<skep_core::AppId>,
    message: String,
    waiting: Waiting,
) -> Progress {
    let only = app.filter(|_| waiting.alone);
    let view = only.and_then(|app| driver.borrow_mut().app_views(Some(&[app.0]), Detail::default()).pop());
    Progress::Done(Done { app: name, message, view: view.map(Box::new) })
}

fn timed_out(name: &str, waiting: Waiting) -> Progress {
    let message = format!("{name} was not {} in the time given; it goes on", waiting.done);
    Progress::Failed(Failed {
        error: ErrorBody::new(ErrorCode::TimedOut, message)
            .with_hint("`skep events -f` shows what it is doing"),
        app: Some(name.to_owned()),
        slot: None,
        worker: None,
        stderr_tail: None,
    })
}

fn end(
    driver: &Shared,
    name: &str,
    app: Option<skep_core::AppId>,
    outcome: Outcome,
    waiting: Waiting,
) -> Progress {
    let app_name = app.map(|_| name.to_owned());
    let refused = |error: ErrorBody| {
        Progress::Failed(Failed { error, app: app_name.clone(), slot: None, worker: None, stderr_tail: None })
    };
    match outcome {
        Outcome::Done => {
            let mut message = format!("{name} is {}", waiting.done);
            if waiting.done == "stopped"
                && let Some(cron) = app.and_then(|app| driver.borrow().cron_of(app))
            {
                message +=
                    &format!("; cron_restart ({cron}) will start it again, `skep delete {name}` ends that");
            }
            done(driver, app_name, app, message, waiting)
        }
        Outcome::Failed(failure) => failed(driver, name, &failure),
        Outcome::Superseded { .. } => refused(
            ErrorBody::new(ErrorCode::Conflict, format!("a later command took {name} over"))
                .with_hint("`skep list` shows what became of it"),
        ),
        Outcome::Rejected(rejection) => {
            let code = match rejection {
                skep_core::Rejection::NameTaken { .. } | skep_core::Rejection::NameLeaving { .. } => {
                    ErrorCode::NameTaken
                }
                skep_core::Rejection::UnknownApp { .. }
                | skep_core::Rejection::UnknownSlot { .. }
                | skep_core::Rejection::EmptyTarget => ErrorCode::UnknownTarget,
                skep_core::Rejection::TooManyInstances { .. }
                | skep_core::Rejection::DependencyCycle { .. } => ErrorCode::InvalidSpec,
                skep_core::Rejection::ShuttingDown => ErrorCode::Unavailable,
            };
            refused(ErrorBody::new(code, rejection.to_string()))
        }
    }
}

/// A name as one types it.
fn word(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-.:@%+".contains(c);
    if name.chars().all(plain) { name.to_owned() } else { format!("'{}'", name.replace('\'', r"'\''")) }
}

fn failed(driver: &Shared, name: &str, failure: &Failure) -> Progress {
    let stderr_tail = driver.borrow().last_words(failure.app, failure.slot, LAST_WORDS_LINES);
    let trouble = driver
        .borrow()
        .ports
        .troubles
        .get(&failure.app)
        .map(|trouble| format!("; it cannot listen: {trouble}"));
    let message = format!("{name}: {}{}", failure.reason, trouble.unwrap_or_default());
    let error = ErrorBody::new(ErrorCode::StartFailed, message)
        .with_hint(format!("`skep logs {} --err` shows all it said", word(name)));
    Progress::Failed(Failed {
        error,
        app: Some(name.to_owned()),
        slot: Some(failure.slot.0),
        worker: failure.worker.map(|worker| worker.0),
        stderr_tail,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_told_as_one_types_it() {
        assert_eq!(word("web-2"), "web-2");
        assert_eq!(word("ünï"), "ünï");
        assert_eq!(word("my app"), "'my app'");
        assert_eq!(word("it's"), r"'it'\''s'");
    }
}
