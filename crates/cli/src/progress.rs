//! A command's answer, told while it comes: what happens on the way, and how it ends for each app.

use crate::failure::{Failure, exit, exit_code_of};
use crate::output::Output;
use crate::plan_view::{self, Shown};
use crate::table::printable;
use anstyle::AnsiColor;
use skep_api::client::{ClientError, Lines};
use skep_api::{AppView, ApplyPlan, Done, ErrorCode, Event, EventKind, Failed, Progress};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// So many ends of one slot's workers are told in full; then a word says that it goes on like that.
const ENDS_TOLD: u32 = 3;

/// So many workers of an app are told of one by one; the others are summed up at the end.
const WORKERS_TOLD: u32 = 8;

/// How a command's answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// With the last line.
    Whole,
    /// In the middle: the daemon went away.
    CutOff,
}

/// How a command went for the apps that it addressed.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// The apps for which the goal was reached.
    pub(crate) done: Vec<String>,
    /// How the last of them was then, as far as that was told.
    seen: Option<AppView>,
    /// The worst exit code of those for which it was not.
    failed: Option<u8>,
    /// That it takes longer than the time given is no failure: it goes on.
    pub(crate) may_go_on: bool,
    /// How often the workers of a slot have ended.
    ends: BTreeMap<u32, u32>,
    /// What was told of apps as a whole.
    told: BTreeSet<String>,
    /// What is going to be done, of many apps at once.
    pub(crate) plan: Option<ApplyPlan>,
    /// How much of that is shown.
    pub(crate) shown: Shown,
    /// How often each thing happened to workers of each app.
    counts: BTreeMap<String, BTreeMap<&'static str, u32>>,
}

impl Report {
    /// Reads the answer to its end and tells it.
    pub(crate) async fn read(&mut self, mut lines: Lines<Progress>, output: &Output) -> Result<End, Failure> {
        loop {
            let line = match lines.next().await {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(End::Whole),
                Err(ClientError::Lost(_)) => return Ok(End::CutOff),
                Err(error) => return Err(error.into()),
            };
            if output.json {
                output.print_json(&line)?;
            }
            self.take(line, output);
        }
    }

    /// The app for which the goal was reached, where it was one, and its state was told.
    pub(crate) fn only_app(&self) -> Option<&AppView> {
        self.seen.as_ref().filter(|app| matches!(self.done.as_slice(), [only] if *only == app.name))
    }

    /// The goal was reached for these apps, as was seen by other means.
    pub(crate) fn reached(&mut self, apps: impl IntoIterator<Item = String>) {
        for app in apps {
            if !self.done.contains(&app) {
                self.done.push(app);
            }
        }
    }

    fn take(&mut self, line: Progress, output: &Output) {
        match line {
            Progress::Plan(plan) => {
                plan_view::show(&plan, self.shown, output);
                self.plan = Some(plan);
            }
            Progress::Notice(event) => {
                if self.is_one_of_many(&event) {
                    return;
                }
                if let Some(words) = self.words(&event) {
                    let (sign, color) = sign_of(event.kind);
                    output.sign(sign, color, &words);
                }
            }
            Progress::Done(Done { app, message, view }) => {
                self.sum_up(output);
                output.sign("✔", AnsiColor::Green, &message);
                self.reached(app);
                self.seen = view.map(|view| *view);
            }
            Progress::Failed(failed) => {
                self.sum_up(output);
                self.fail(failed, output);
            }
        }
    }

    /// Tells how many workers were not told of.
    fn sum_up(&mut self, output: &Output) {
        for words in self.sums() {
            output.sign("•", AnsiColor::BrightBlack, &words);
        }
    }

    /// One sentence an app: `web: 192 more started, 192 more ready`.
    fn sums(&mut self) -> Vec<String> {
        let sum = |(app, counts): (String, BTreeMap<&str, u32>)| {
            let more = counts.into_iter().filter(|(_, count)| *count > WORKERS_TOLD);
            let parts: Vec<String> =
                more.map(|(what, count)| format!("{} more {what}", count - WORKERS_TOLD)).collect();
            (!parts.is_empty()).then(|| format!("{app}: {}", parts.join(", ")))
        };
        std::mem::take(&mut self.counts).into_iter().filter_map(sum).collect()
    }

    /// Whether this is one of the many that are summed up.
    fn is_one_of_many(&mut self, event: &Event) -> bool {
        let what = match event.kind {
            EventKind::WorkerSpawned => "started",
            EventKind::WorkerReady => "ready",
            EventKind::RolloutSlotDone => "renewed",
            EventKind::WorkerDraining => "finishing what they have",
            EventKind::WorkerStopping => "asked to stop",
            EventKind::WorkerExited => "ended",
            _ => return false, // Told in any case.
        };
        let app = event.app.clone().unwrap_or_default();
        let count = self.counts.entry(app).or_default().entry(what).or_default();
        *count += 1;
        *count > WORKERS_TOLD
    }

    /// What is told of an event: a worker that ends again and again is told of a few times only.
    fn words(&mut self, event: &Event) -> Option<String> {
        let Some(slot) = event.slot else {
            return self.told.insert(event.message.clone()).then(|| event.message.clone());
        };
        let ends = self.ends.entry(slot).or_default();
        if event.kind == EventKind::WorkerExited {
            *ends += 1;
            return match (*ends).cmp(&ENDS_TOLD) {
                Ordering::Less => Some(event.message.clone()),
                Ordering::Equal => Some(format!("{}, and so on", event.message)),
                Ordering::Greater => None,
            };
        }
        let again =
            matches!(event.kind, EventKind::WorkerSpawned | EventKind::RestartDelayed) && *ends >= ENDS_TOLD;
        (!again).then(|| event.message.clone())
    }

    fn fail(&mut self, failed: Failed, output: &Output) {
        if self.may_go_on && failed.error.code == ErrorCode::TimedOut {
            return;
        }
        let code = exit_code_of(failed.error.code);
        self.failed =
            Some(self.failed.map_or(code, |worst| if worst == code { code } else { exit::FAILURE }));
        // In JSON the line was printed already; people get it on standard error in any case.
        let words = Output { json: false, ..*output };
        words.fail(&Failure::Error(failed.error));
        if let Some(tail) = failed.stderr_tail.filter(|tail| !tail.trim().is_empty()) {
            words.complain("  its last words on standard error:");
            for line in tail.lines() {
                words.complain(&format!("    {}", printable(line)));
            }
        }
    }

    /// An app was not taken in.
    pub(crate) fn refused(&mut self, app: &str, error: skep_api::ErrorBody, output: &Output) {
        let app = Some(app.to_owned());
        self.fail(Failed { error, app, slot: None, worker: None, stderr_tail: None }, output);
    }

    /// The exit code of all of it.
    pub(crate) fn result(&self) -> Result<(), Failure> {
        match self.failed {
            None => Ok(()),
            Some(code) => Err(Failure::Told(code)),
        }
    }
}

/// The sign in front of an event.
pub(crate) fn sign_of(kind: EventKind) -> (&'static str, AnsiColor) {
    match kind {
        EventKind::WorkerReady | EventKind::RolloutSlotDone | EventKind::RolloutDone => {
            ("•", AnsiColor::Green)
        }
        EventKind::SpawnFailed | EventKind::GaveUp | EventKind::RolloutFailed => ("•", AnsiColor::Red),
        EventKind::WorkerNotReady
        | EventKind::WorkerKilled
        | EventKind::RestartDelayed
        | EventKind::TriggerTrouble
        | EventKind::SingletonElsewhere
        | EventKind::StoreUnreachable => ("•", AnsiColor::Yellow),
        EventKind::AppCreated
        | EventKind::AppUpdated
        | EventKind::AppDeleted
        | EventKind::WorkerSpawned
        | EventKind::WorkerDraining
        | EventKind::WorkerStopping
        | EventKind::WorkerExited
        | EventKind::SlotStopped
        | EventKind::RolloutStarted
        | EventKind::ListenerOpened
        | EventKind::ListenerClosed
        | EventKind::DaemonStarted
        | EventKind::WorkerMessage
        | EventKind::Triggered
        | EventKind::StoreReachable
        | EventKind::SingletonHere
        | EventKind::Other => ("•", AnsiColor::BrightBlack),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_api::{ErrorBody, ErrorCode};

    const QUIET: Output = Output { json: false, color: false, error_color: false, width: None, quiet: true };

    fn failed(code: ErrorCode) -> Progress {
        let error = ErrorBody::new(code, "no");
        Progress::Failed(Failed { error, app: None, slot: None, worker: None, stderr_tail: None })
    }

    #[test]
    fn one_failure_among_several_apps_fails_the_command() {
        let mut report = Report::default();
        report
            .take(Progress::Done(Done { app: Some("web".into()), message: "m".into(), view: None }), &QUIET);
        assert!(report.result().is_ok());
        report.take(failed(ErrorCode::TimedOut), &QUIET);
        assert_eq!(report.result().unwrap_err().exit_code(), exit::TIMED_OUT);
        report.take(failed(ErrorCode::StartFailed), &QUIET);
        assert_eq!(report.result().unwrap_err().exit_code(), exit::FAILURE);
        assert_eq!(report.done, ["web"]);
        let mut patient = Report { may_go_on: true, ..Report::default() };
        patient.take(failed(ErrorCode::TimedOut), &QUIET);
        assert!(patient.result().is_ok());
    }

    #[test]
    fn of_two_hundred_workers_a_few_are_told_of_and_the_others_summed_up() {
        let mut report = Report::default();
        let mut told = 0;
        for slot in 0..200 {
            for kind in [EventKind::WorkerSpawned, EventKind::WorkerReady] {
                let event = Event::new(0, 0, kind, format!("web:{slot}"));
                let event = Event { slot: Some(slot), app: Some("web".into()), ..event };
                told += u32::from(!report.is_one_of_many(&event));
            }
        }
        let failed = Event::new(0, 0, EventKind::WorkerNotReady, "web:7 is not ready");
        assert!(!report.is_one_of_many(&failed), "trouble is always told");
        assert_eq!(told, 2 * WORKERS_TOLD);
        assert_eq!(report.sums(), ["web: 192 more ready, 192 more started"]);
        assert!(report.sums().is_empty());
    }

    #[test]
    fn a_worker_that_keeps_ending_is_told_of_a_few_times_only() {
        let mut report = Report::default();
        let mut told = Vec::new();
        for n in 0..5 {
            for kind in [EventKind::WorkerSpawned, EventKind::WorkerExited] {
                let message = format!("{kind:?} {n}");
                told.extend(report.words(&Event { slot: Some(0), ..Event::new(n, 0, kind, message) }));
            }
            let apart = Event::new(n, 0, EventKind::Other, "web cannot listen");
            told.extend(report.words(&apart));
        }
        assert_eq!(
            told,
            [
                "WorkerSpawned 0",
                "WorkerExited 0",
                "web cannot listen",
                "WorkerSpawned 1",
                "WorkerExited 1",
                "WorkerSpawned 2",
                "WorkerExited 2, and so on",
            ]
        );
    }
}
