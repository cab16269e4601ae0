//! Files beside the logs that scripts look for: one with the process id for each worker that runs.

use skep_core::WorkerId;

use crate::driver::Driver;

impl Driver {
    /// Written when a process has begun. That it cannot be written is no reason not to run.
    pub(crate) fn write_pid_file(&mut self, id: WorkerId, pid: u32) {
        let Some(worker) = self.workers.get(&id) else { return };
        let path = super::pid_file(&worker.spec, &self.site.home, worker.slot);
        if self.made_pid_file(&path, &pid.to_string()) {
            return;
        }
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        if let Err(error) = made.and_then(|()| std::fs::write(&path, pid.to_string())) {
            crate::diary::note(format_args!("{} cannot be written: {error}", path.display()));
        }
    }

    /// Removed when the process has ended, unless its successor has written its own by then.
    pub(crate) fn remove_pid_file(&self, id: WorkerId) {
        let Some(worker) = self.workers.get(&id) else { return };
        let path = super::pid_file(&worker.spec, &self.site.home, worker.slot);
        let written = std::fs::read_to_string(&path).ok().and_then(|text| text.parse().ok());
        if written.is_some() && written == worker.pid {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The name of the user who runs this process; its number where the database has no name for it. Read as text: asking
/// the C library would load whatever `nsswitch.conf` names.
pub(crate) fn user_name() -> String {
    let uid = rustix::process::geteuid().as_raw().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let line = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = line.into_iter().find(|fields| fields.get(2) == Some(&uid.as_str()));
    let named = found.and_then(|fields| fields.first().map(|name| (*name).to_owned()));
    named.or_else(|| std::env::var("USER").ok()).unwrap_or(uid)
}
