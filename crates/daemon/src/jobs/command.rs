//! Jobs that are commands: a child of the keeper's each, its output spliced into a file of its own.
//!
//! A child's number is its fencing token in a range that no worker has, so that an order to start it that is given twice
//! starts it once. The read end of its output is in the keeper's safe-box: no daemon's death breaks the pipe.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use skep_jobs::{Cancel, JobId, Outcome, Place, RunId, Start, UnixMs};
use skep_keeper::wire::{FdSource, Request, Scope, Spawn};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::functions::cut;
use super::ledger::Dropped;
use crate::driver::Driver;
use crate::launch::Launch;

/// Children from here on are jobs; workers are numbered by 32 bits.
const CHILD_BASE: u64 = 1 << 40;
/// Children from here on are somebody else's again.
const CHILD_END: u64 = 1 << 62;
/// So much of one run's output is kept; the rest is read and dropped, so that the command does not block.
const OUTPUT_BYTES_MAX: u64 = 1024 * 1024;
/// What is moved at once.
const SPLICE_BYTES: usize = 64 * 1024;
/// The signal that asks a command to end.
const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// Whether a child of the keeper's is a job, and its token.
pub(crate) fn is_child(child: u64) -> Option<u64> {
    child.checked_sub(CHILD_BASE).filter(|_| child < CHILD_END)
}

fn key(token: u64) -> Vec<u8> {
    format!("j:{token}").into_bytes()
}

/// The token of a safe-box key of ours.
pub(crate) fn stored_token(key: &str) -> Option<u64> {
    key.strip_prefix("j:")?.parse().ok()
}

/// Names on disk: no slash, no dot in front.
fn file_name(text: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
    text.chars().map(plain).collect()
}

impl Driver {
    fn output_folder(&self, job: &JobId) -> PathBuf {
        let name = format!("{}.{}", file_name(&job.app), file_name(&job.name));
        self.site.home.join("jobs").join(name)
    }

    /// The file of one run's output.
    pub(super) fn output_path(&self, job: &JobId, scheduled: UnixMs, attempt: u32) -> PathBuf {
        self.output_folder(job).join(format!("{}.{attempt}.log", scheduled.0))
    }

    pub(super) fn forget_outputs(&self, job: &JobId, lines: &[Dropped]) {
        for (scheduled, attempt) in lines {
            // Functions and requests have none.
            let _ = std::fs::remove_file(self.output_path(job, *scheduled, *attempt));
        }
        let _ = std::fs::remove_dir(self.output_folder(job));
    }

    pub(super) fn start_command(&mut self, start: &Start) {
        if let Err(error) = self.try_start_command(start) {
            self.job_ended(start.run.clone(), start.token, Outcome::Failed(error));
        }
    }

    fn try_start_command(&mut self, start: &Start) -> Result<(), String> {
        let (spec, schedule) = self.schedule_of(&start.run.job).ok_or("the job is gone")?;
        let command = schedule.command.ok_or("the job is no command any more")?;
        let mut env = spec.environment();
        env.extend(schedule.env);
        env.insert("SKEP_HOME".into(), self.site.home.to_string_lossy().into_owned());
        env.insert("SKEP_APP".into(), spec.name.clone());
        env.insert("SKEP_JOB".into(), start.run.job.name.clone());
        env.insert("SKEP_RUN_ID".into(), start.run.to_string());
        env.insert("SKEP_SCHEDULED_AT".into(), start.run.scheduled.0.to_string());
        env.insert("SKEP_ATTEMPT".into(), start.run.attempt.to_string());
        env.insert("SKEP_FENCING_TOKEN".into(), start.token.to_string());
        let launch = Launch { argv: vec!["/bin/sh".into(), "-c".into(), command], env };
        let (read, write) = skep_sys::pipe::pipe().map_err(|error| format!("cannot make a pipe: {error}"))?;
        let note = serde_json::to_vec(&start.run).map_err(|error| error.to_string())?;
        let mut request: Spawn = crate::spawn::request_for(&spec, &launch, CHILD_BASE + start.token, note)?;
        request.kill_tree = true;
        request.fds = vec![(0, FdSource::Null), (1, FdSource::Attached), (2, FdSource::Attached)];
        // What the keeper kept is the pipe of a command that runs already; the new one then comes to nothing.
        let kept = self.board.pipes.remove(&start.token);
        let read = match kept {
            Some(kept) => kept,
            None => {
                self.ask_with(&Request::Store { key: key(start.token), note: Vec::new() }, &[read.as_fd()]);
                read
            }
        };
        self.board.children.insert(start.token, start.run.clone());
        self.follow_output(start, read).map_err(|error| format!("cannot keep its output: {error}"))?;
        self.ask_with(&Request::Spawn(Box::new(request)), &[write.as_fd(), write.as_fd()]);
        Ok(())
    }

    fn follow_output(&mut self, start: &Start, pipe: OwnedFd) -> io::Result<()> {
        let path = self.output_path(&start.run.job, start.run.scheduled, start.run.attempt);
        if let Some(folder) = path.parent() {
            let mut builder = std::fs::DirBuilder::new();
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.recursive(true).create(folder)?;
        }
        let file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        rustix::io::ioctl_fionbio(&pipe, true)?;
        let pipe = crate::watch::watch(Arc::new(pipe), Interest::READABLE)?;
        let task = tokio::task::spawn_local(copy(pipe, file));
        self.board.outputs.insert(start.token, task.abort_handle());
        Ok(())
    }

    pub(super) fn cancel_command(&mut self, cancel: &Cancel) {
        let signal = if cancel.hard { SIGKILL } else { SIGTERM };
        let child = CHILD_BASE + cancel.token;
        self.ask(&Request::Signal { child, signal, scope: Scope::Tree });
    }

    /// The keeper says that a command of ours ended, or could not be started.
    pub(crate) fn command_ended(&mut self, token: u64, end: Result<skep_sys::wait::ExitStatus, String>) {
        let Some(run) = self.run_of_command(token) else {
            // Nobody waits for it: it was lost with a ledger, say.
            self.forget_command(token);
            return;
        };
        let outcome = match end {
            Ok(skep_sys::wait::ExitStatus::Code(0)) => Outcome::Succeeded(None),
            Ok(skep_sys::wait::ExitStatus::Code(code)) => Outcome::Failed(format!("exit code {code}")),
            Ok(skep_sys::wait::ExitStatus::Signal { signal, .. }) => {
                Outcome::Failed(format!("signal {signal}"))
            }
            Ok(skep_sys::wait::ExitStatus::Unknown) => Outcome::Lost,
            Err(reason) => Outcome::Failed(cut(reason)),
        };
        self.job_ended(run, token, outcome);
    }

    fn run_of_command(&self, token: u64) -> Option<RunId> {
        self.board.open.as_ref()?.jobs.run_at(Place::Process, token)
    }

    /// Its end is in the ledger: nobody needs its traces any more.
    pub(super) fn forget_command(&mut self, token: u64) {
        self.board.children.remove(&token);
        self.board.outputs.remove(&token);
        self.board.pipes.remove(&token);
        self.ask(&Request::Forget { child: CHILD_BASE + token });
        self.ask(&Request::Drop { key: key(token) });
    }

    /// After the start: outputs that belong to no run that is under way.
    pub(super) fn end_strangers(&mut self) {
        let strangers: Vec<u64> = self.board.pipes.keys().copied().collect();
        for token in strangers {
            if self.run_of_command(token).is_none() {
                self.forget_command(token);
            }
        }
    }
}

/// Moves a command's output into its file, as much as is kept.
async fn copy(pipe: AsyncFd<Arc<OwnedFd>>, file: std::fs::File) {
    use std::io::{Seek, SeekFrom};
    let mut file = file;
    let mut kept = file.seek(SeekFrom::End(0)).unwrap_or(0);
    let Ok(nowhere) = std::fs::OpenOptions::new().write(true).open("/dev/null") else { return };
    loop {
        let Ok(mut guard) = pipe.readable().await else { return };
        let room = usize::try_from(OUTPUT_BYTES_MAX.saturating_sub(kept)).unwrap_or(0).min(SPLICE_BYTES);
        let moved = if room == 0 {
            skep_sys::pipe::splice(pipe.get_ref(), &nowhere, SPLICE_BYTES)
        } else {
            skep_sys::pipe::splice(pipe.get_ref(), &file, room)
        };
        match moved {
            Ok(0) => return,
            Ok(bytes) => kept = kept.saturating_add(bytes as u64),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
            // A full disk: the command goes on, its output is dropped.
            Err(_) => kept = OUTPUT_BYTES_MAX,
        }
        tokio::task::yield_now().await;
    }
}
