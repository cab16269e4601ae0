//! A command's answer, told while it comes: what happens on the way, and how it ends for each app.

use crate::failure::{Failure, exit, exit_code_of};
use crate::output::Output;
use crate::table::printable;
use anstyle::AnsiColor;
use skep_api::client::{ClientError, Lines};
use skep_api::{Done, Event, EventKind, Failed, Progress};

/// How a command went for the apps that it addressed.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// The apps for which the goal was reached.
    pub(crate) done: Vec<String>,
    /// The worst exit code of those for which it was not.
    failed: Option<u8>,
}

impl Report {
    /// Reads the answer to its end and tells it.
    pub(crate) async fn read(&mut self, mut lines: Lines<Progress>, output: &Output) -> Result<(), Failure> {
        loop {
            let line = match lines.next().await {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(()),
                Err(ClientError::Lost(cause)) => return Err(cut_off(&cause)),
                Err(error) => return Err(error.into()),
            };
            if output.json {
                output.print_json(&line)?;
            }
            self.take(line, output);
        }
    }

    fn take(&mut self, line: Progress, output: &Output) {
        match line {
            Progress::Notice(event) => tell(&event, output),
            Progress::Done(Done { app, message }) => {
                output.sign("✔", AnsiColor::Green, &message);
                self.done.extend(app);
            }
            Progress::Failed(failed) => self.fail(failed, output),
        }
    }

    fn fail(&mut self, failed: Failed, output: &Output) {
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

    /// The exit code of all of it.
    pub(crate) fn result(&self) -> Result<(), Failure> {
        match self.failed {
            None => Ok(()),
            Some(code) => Err(Failure::Told(code)),
        }
    }
}

/// The daemon went away in the middle: it is started again at once and goes on with what it has accepted.
fn cut_off(cause: &str) -> Failure {
    Failure::new(
        skep_api::ErrorCode::Internal,
        format!("the daemon was restarted while it worked ({cause}); what it has accepted goes on"),
        "`skep list` shows how it went",
    )
}

fn tell(event: &Event, output: &Output) {
    let (sign, color) = sign_of(event.kind);
    output.sign(sign, color, &event.message);
}

/// The sign in front of an event.
pub(crate) fn sign_of(kind: EventKind) -> (&'static str, AnsiColor) {
    match kind {
        EventKind::WorkerReady | EventKind::RolloutSlotDone | EventKind::RolloutDone => {
            ("•", AnsiColor::Green)
        }
        EventKind::SpawnFailed | EventKind::GaveUp | EventKind::RolloutFailed => ("•", AnsiColor::Red),
        EventKind::WorkerNotReady | EventKind::WorkerKilled | EventKind::RestartDelayed => {
            ("•", AnsiColor::Yellow)
        }
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
        report.take(Progress::Done(Done { app: Some("web".into()), message: "m".into() }), &QUIET);
        assert!(report.result().is_ok());
        report.take(failed(ErrorCode::TimedOut), &QUIET);
        assert_eq!(report.result().unwrap_err().exit_code(), exit::TIMED_OUT);
        report.take(failed(ErrorCode::StartFailed), &QUIET);
        assert_eq!(report.result().unwrap_err().exit_code(), exit::FAILURE);
        assert_eq!(report.done, ["web"]);
    }
}
