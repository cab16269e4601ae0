//! After a restart of the daemon in the middle of a command: the new daemon goes on with what the old one had accepted,
//! and here it is watched until it is done.

use crate::failure::Failure;
use crate::progress::Report;
use crate::session::Context;
use skep_api::client::{Client, ClientError};
use skep_api::{AppView, AppsQuery, ErrorBody, ErrorCode, Event, EventKind, EventsQuery, SlotView, Status};
use std::time::Duration;

/// What a command wants its apps to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Every worker serves.
    Running,
    /// No worker is left.
    Stopped,
    /// The apps are forgotten.
    Gone,
    /// The apps are known; nothing is asked of their workers.
    Known,
}

/// How far it has come.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Reached,
    Pending,
    Failed(String),
}

/// How long to wait before connecting again to a daemon that went away a moment after it came.
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);

/// Waits until the goal is reached or cannot be any more, and adds that to the report.
pub(crate) async fn settle(
    targets: &[String],
    goal: Goal,
    context: &Context,
    report: &mut Report,
) -> Result<(), Failure> {
    context.output.say("the daemon was restarted; it goes on with what it has accepted");
    loop {
        match watch(targets, goal, context, report).await {
            Err(ClientError::Lost(_)) => tokio::time::sleep(RECONNECT_PAUSE).await,
            other => return Ok(other?),
        }
    }
}

/// One connection's worth of watching.
async fn watch(
    targets: &[String],
    goal: Goal,
    context: &Context,
    report: &mut Report,
) -> Result<(), ClientError> {
    let lost = |failure: Failure| match failure.body() {
        Some(body) => ClientError::Refused(body.clone()),
        None => ClientError::Lost("the connection".to_owned()),
    };
    let mut asking = context.connect().await.map_err(lost)?;
    let mut listening = context.connect().await.map_err(lost)?;
    // First the ear, then the look: nothing can happen unnoticed in between.
    let mut events = listening.events(&EventsQuery { follow: true, after: 0 }).await?;
    loop {
        let apps = look(targets, &mut asking).await?;
        match judge(&apps, targets, goal) {
            Verdict::Reached => {
                report.reached(apps.into_iter().map(|app| app.name));
                return Ok(());
            }
            Verdict::Failed(message) => {
                let error = ErrorBody::new(ErrorCode::StartFailed, message);
                return Err(ClientError::Refused(error.with_hint("`skep events` tells what happened")));
            }
            Verdict::Pending => match events.next().await? {
                Some(event) if gave_up(&event, &apps) => {
                    return Err(ClientError::Refused(ErrorBody::new(ErrorCode::StartFailed, event.message)));
                }
                Some(_) => {}
                None => return Err(ClientError::Lost("the events have ended".to_owned())),
            },
        }
    }
}

/// A rollout that was given up leaves every old worker online: only its event tells.
fn gave_up(event: &Event, apps: &[AppView]) -> bool {
    event.kind == EventKind::RolloutFailed && apps.iter().any(|app| event.app.as_deref() == Some(&app.name))
}

/// The apps that are meant; none when they are gone.
async fn look(targets: &[String], client: &mut Client) -> Result<Vec<AppView>, ClientError> {
    match client.apps(targets, AppsQuery::default()).await {
        Err(ClientError::Refused(error)) if error.code == ErrorCode::UnknownTarget => Ok(Vec::new()),
        other => other,
    }
}

/// The slots that are meant: those named by their ids, or all.
fn meant<'a>(app: &'a AppView, targets: &[String]) -> Vec<&'a SlotView> {
    let named = |slot: &&SlotView| {
        targets
            .iter()
            .any(|target| target.parse() == Ok(slot.id) && *target != app.name && *target != app.namespace)
    };
    let slots: Vec<&SlotView> = app.slots.iter().filter(named).collect();
    let whole =
        targets.iter().any(|target| *target == app.name || *target == app.namespace || target == "all");
    if slots.is_empty() || whole { app.slots.iter().collect() } else { slots }
}

fn judge(apps: &[AppView], targets: &[String], goal: Goal) -> Verdict {
    if apps.is_empty() {
        return match goal {
            Goal::Gone | Goal::Stopped => Verdict::Reached,
            Goal::Running | Goal::Known => Verdict::Failed("the app is gone".to_owned()),
        };
    }
    if goal == Goal::Gone || (goal == Goal::Running && apps.iter().any(|app| app.rollout.is_some())) {
        return Verdict::Pending;
    }
    let mut verdict = Verdict::Reached;
    for app in apps {
        for slot in meant(app, targets) {
            match (goal, slot.status) {
                (Goal::Known, _)
                | (Goal::Running, Status::Online)
                | (Goal::Stopped, Status::Stopped | Status::Errored) => {}
                (Goal::Running, Status::Launching | Status::Stopping | Status::WaitingRestart)
                | (Goal::Stopped, Status::Stopping) => verdict = Verdict::Pending,
                (Goal::Running, Status::Stopped | Status::Errored)
                | (Goal::Stopped, Status::Online | Status::Launching | Status::WaitingRestart) => {
                    return Verdict::Failed(format!("{}:{} is {}", app.name, slot.index, slot.status));
                }
                (Goal::Gone, _) => return Verdict::Pending,
            }
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::list::tests::{app, slot};
    use skep_api::RolloutView;

    fn check(states: &[Status], goal: Goal, target: &str) -> Verdict {
        let ids = 0..u32::try_from(states.len()).unwrap();
        let slots = ids.zip(states).map(|(id, &status)| slot(id, status)).collect();
        judge(&[app("web", slots)], &[target.to_owned()], goal)
    }

    #[test]
    fn a_start_is_done_when_every_worker_serves() {
        assert_eq!(check(&[Status::Online, Status::Online], Goal::Running, "web"), Verdict::Reached);
        assert_eq!(check(&[Status::Online, Status::Launching], Goal::Running, "web"), Verdict::Pending);
        let failed = check(&[Status::Launching, Status::Errored], Goal::Running, "web");
        assert_eq!(failed, Verdict::Failed("web:1 is errored".into()));
    }

    #[test]
    fn a_reload_is_not_done_while_its_rollout_is_under_way() {
        let rollout = RolloutView { done: 1, total: 2, waiting_for: "web:1".into() };
        let web = AppView { rollout: Some(rollout), ..app("web", vec![slot(0, Status::Online)]) };
        assert_eq!(judge(&[web], &["web".into()], Goal::Running), Verdict::Pending);
    }

    #[test]
    fn a_rollout_that_was_given_up_is_no_success() {
        let event = |name: &str, kind| Event { app: Some(name.into()), ..Event::new(1, 0, kind, "m") };
        let apps = [app("web", vec![])];
        assert!(gave_up(&event("web", EventKind::RolloutFailed), &apps));
        assert!(!gave_up(&event("jobs", EventKind::RolloutFailed), &apps));
        assert!(!gave_up(&event("web", EventKind::RolloutDone), &apps));
    }

    #[test]
    fn only_the_slots_that_were_named_count() {
        assert_eq!(check(&[Status::Stopped, Status::Online], Goal::Stopped, "0"), Verdict::Reached);
        assert_eq!(check(&[Status::Stopping, Status::Online], Goal::Stopped, "0"), Verdict::Pending);
        assert!(matches!(
            check(&[Status::Stopped, Status::Online], Goal::Stopped, "web"),
            Verdict::Failed(_)
        ));
    }

    #[test]
    fn what_is_deleted_is_gone() {
        assert_eq!(judge(&[], &["web".into()], Goal::Gone), Verdict::Reached);
        assert_eq!(check(&[Status::Stopping], Goal::Gone, "web"), Verdict::Pending);
    }
}
