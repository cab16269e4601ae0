//! Getting ready: what the next command would have to wait for is done while nobody waits. To make a file takes a file
//! system several times as long as to write it.

use std::path::Path;

use skep_sys::durable::Spare;

use crate::driver::Driver;
use crate::logging;

/// The files of one worker's output.
const LOG_FILES: usize = 2;
/// The permissions of a pid file, as far as the umask lets them be.
const PID_FILE_MODE: u32 = 0o666;

/// Files that have no name yet, in the folders that they are for.
#[derive(Debug, Default)]
pub(crate) struct Spares {
    logs: Vec<Spare>,
    pid: Option<Spare>,
}

impl Driver {
    /// Nothing depends on it: whatever cannot be made now is made when it is needed, or it is told then why not.
    pub(crate) fn make_ready(&mut self) {
        if self.ending {
            return;
        }
        self.prepare_shared_state();
        self.make_files_ready();
    }

    /// The part of it that a first daemon does before it answers: its command takes long in any case, and the next one would
    /// have to wait for this.
    pub(crate) fn make_files_ready(&mut self) {
        self.store.make_ready();
        self.begin_census();
        let home = &self.site.home;
        let (logs, pids) = (logging::folder(home), crate::pm2::pid_folder(home));
        for folder in [&logs, &pids] {
            // Mostly it is there.
            let _ = std::fs::create_dir(folder);
        }
        while self.spares.logs.len() < LOG_FILES
            && let Ok(spare) = Spare::within(&logs, logging::MODE)
        {
            self.spares.logs.push(spare);
        }
        if self.spares.pid.is_none() {
            self.spares.pid = Spare::within(&pids, PID_FILE_MODE).ok();
        }
    }

    /// Makes the log files of those who have just been started: they take longer to begin than this takes.
    pub(crate) fn make_log_files(&mut self) {
        for file in std::mem::take(&mut self.unmade) {
            let ours = file.path.parent() == Some(&logging::folder(&self.site.home)) && !file.path.exists();
            let spare = if ours { self.spares.logs.pop() } else { None };
            if spare.is_none_or(|spare| spare.become_new(&file.path, &[]).is_err()) {
                file.make();
            }
        }
    }

    /// Whether there was no such pid file, and there is one now.
    pub(crate) fn made_pid_file(&mut self, path: &Path, text: &str) -> bool {
        let ours = path.parent() == Some(&crate::pm2::pid_folder(&self.site.home)) && !path.exists();
        let spare = if ours { self.spares.pid.take() } else { None };
        spare.is_some_and(|spare| spare.become_new(path, text.as_bytes()).is_ok())
    }
}
