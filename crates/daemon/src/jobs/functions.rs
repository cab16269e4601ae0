//! Jobs that are functions in a worker: registrations and runs over its IPC channel (crates/node-ipc/src/skep.rs).

use serde_json::json;
use skep_api::EventKind;
use skep_core::WorkerId;
use skep_jobs::{Cancel, Outcome, Place, RunId, Start};
use skep_spec::Schedule;

use crate::driver::Driver;

/// The longest name of a job that a program may register.
const NAME_BYTES_MAX: usize = 128;
/// So many functions one worker may register.
const FUNCTIONS_MAX: usize = 1_000;
/// What is kept of a result or an error.
pub(super) const RESULT_BYTES_MAX: usize = 16 * 1024;

/// What a worker says of its functions.
#[derive(Debug)]
pub(crate) enum FromFunctions {
    /// It has a function; with a schedule, or for one that the app's file declares.
    Schedule {
        /// The job's name.
        name: String,
        /// As in the app's file.
        schedule: Option<serde_json::Value>,
    },
    /// It has it no more.
    Unschedule {
        /// The job's name.
        name: String,
    },
    /// A run ended.
    Ran {
        /// As it was given.
        token: u64,
        /// It returned.
        ok: bool,
        /// What it returned, or the error's text.
        result: Option<serde_json::Value>,
        /// It does not have the function.
        refused: bool,
    },
}

impl Driver {
    pub(crate) fn on_functions(&mut self, id: WorkerId, said: FromFunctions) {
        match said {
            FromFunctions::Schedule { name, schedule } => match check(&name, schedule) {
                Ok(schedule) => self.register(id, name, schedule),
                Err(problem) => self.refuse_function(id, &name, &problem),
            },
            FromFunctions::Unschedule { name } => {
                if let Some(worker) = self.workers.get_mut(&id)
                    && worker.functions.remove(&name).is_some()
                {
                    self.keep_progress(id);
                    self.sync_jobs();
                }
            }
            FromFunctions::Ran { token, ok, result, refused } => {
                let Some(run) = self.run_in_worker(id, token) else { return };
                let text = |value: serde_json::Value| match value {
                    serde_json::Value::String(text) if !ok => cut(text),
                    value => cut(value.to_string()),
                };
                let result = result.map(text);
                let outcome = match (refused, ok) {
                    (true, _) => Outcome::Refused,
                    (false, true) => Outcome::Succeeded(result),
                    (false, false) => Outcome::Failed(result.unwrap_or_default()),
                };
                self.job_ended(run, token, outcome);
            }
        }
    }

    fn register(&mut self, id: WorkerId, name: String, schedule: Option<Schedule>) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if worker.functions.len() >= FUNCTIONS_MAX && !worker.functions.contains_key(&name) {
            let problem = format!("a worker may register at most {FUNCTIONS_MAX} functions");
            return self.refuse_function(id, &name, &problem);
        }
        worker.functions.insert(name.clone(), schedule);
        // Before anything is started there: a daemon that comes after this one must know of it too.
        self.keep_progress(id);
        self.say_to_worker(id, json!({ "act": "scheduled", "name": name }));
        self.sync_jobs();
    }

    fn refuse_function(&mut self, id: WorkerId, name: &str, problem: &str) {
        let app = self.workers.get(&id).map(|worker| worker.app);
        self.tell(EventKind::Other, app, format!("schedule({name:?}): {problem}"));
        let refusal = json!({ "act": "unscheduled", "name": name, "problem": problem });
        self.say_to_worker(id, refusal);
    }

    fn say_to_worker(&mut self, id: WorkerId, message: serde_json::Value) -> bool {
        let Some(channel) = self.channel_mut(id) else { return false };
        let sent = !channel.closed && channel.session_mut().send_skep(message).is_ok();
        self.flush_channel(id);
        sent
    }

    /// The run with this token, if it is this worker's.
    fn run_in_worker(&self, id: WorkerId, token: u64) -> Option<RunId> {
        let open = self.board.open.as_ref()?;
        open.jobs.run_at(Place::Worker(id.0), token)
    }

    pub(super) fn start_function(&mut self, worker: u32, start: &Start) {
        let function = self
            .schedule_of(&start.run.job)
            .and_then(|(_, schedule)| schedule.function)
            .unwrap_or_else(|| start.run.job.name.clone());
        let message = json!({
            "act": "run", "name": function, "token": start.token,
            "run": {
                "id": start.run.to_string(), "job": start.run.job.name, "scheduledAt": start.run.scheduled.0,
                "attempt": start.run.attempt, "token": start.token, "manual": start.by_hand,
            },
        });
        if !self.say_to_worker(WorkerId(worker), message) {
            // It is on its way out, or does not read: it is offered again with the next change.
            self.board.seats.remove(&worker);
            self.job_ended(start.run.clone(), start.token, Outcome::Refused);
        }
    }

    pub(super) fn cancel_function(&mut self, worker: u32, cancel: &Cancel) {
        let message = json!({
            "act": "cancel", "token": cancel.token, "reason": cancel.why.as_str(),
        });
        self.say_to_worker(WorkerId(worker), message);
    }
}

fn check(name: &str, schedule: Option<serde_json::Value>) -> Result<Option<Schedule>, String> {
    if name.is_empty()
        || name.len() > NAME_BYTES_MAX
        || name.contains(['/', ','])
        || name.contains(char::is_control)
    {
        return Err(format!(
            "the name is empty, longer than {NAME_BYTES_MAX} bytes, or has a slash or comma in it"
        ));
    }
    let Some(schedule) = schedule else { return Ok(None) };
    let mut schedule: Schedule = serde_json::from_value(schedule).map_err(|error| error.to_string())?;
    schedule.function = Some(name.to_owned());
    schedule.definition(name).map_err(|error| format!("{error}; {}", error.remedy()))?;
    Ok(Some(schedule))
}

/// What is kept of a text.
pub(super) fn cut(mut text: String) -> String {
    if text.len() > RESULT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(RESULT_BYTES_MAX));
        text.push('…');
    }
    text
}
