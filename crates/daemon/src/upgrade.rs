//! Becoming another version: the keeper executes the new program with all it holds, then this daemon ends and the new
//! program's daemon takes over, as after a crash. The keeper goes back by itself if the new one cannot.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use skep_api::{ErrorBody, ErrorCode, EventKind, UpgradeDaemon};
use skep_keeper::wire::Request;
use tokio::sync::oneshot;

use crate::driver::Driver;

/// How an upgrade ended, for whoever asked for it.
pub(crate) type Outcome = oneshot::Receiver<Result<(), String>>;

impl Driver {
    /// Asks the keeper to become `request.path`.
    pub(crate) fn upgrade(&mut self, request: &UpgradeDaemon) -> Result<Outcome, ErrorBody> {
        let path = Path::new(&request.path);
        if !path.is_absolute() || !path.is_file() {
            return Err(ErrorBody::new(
                ErrorCode::BadRequest,
                format!("path: {} is no program file", request.path),
            )
            .with_hint("give the absolute path of the new skep"));
        }
        if self.ending || self.upgrading.is_some() {
            return Err(ErrorBody::new(ErrorCode::Conflict, "skep is stopping or being upgraded already")
                .with_hint("`skep daemon status` shows which version runs"));
        }
        let (sender, outcome) = oneshot::channel();
        self.upgrading = Some(sender);
        self.ask(&Request::Upgrade { path: path.as_os_str().as_bytes().to_vec() });
        Ok(outcome)
    }

    /// The keeper is the new program now: this daemon makes room for the new one.
    pub(crate) fn upgraded(&mut self) {
        // First: who hears that the upgrade is over and asks who runs must not be answered by this one.
        self.leaving.notify_one();
        if let Some(waiting) = self.upgrading.take() {
            // Whoever asked may have gone.
            let _ = waiting.send(Ok(()));
        }
        self.replaced.notify_one();
    }

    /// The keeper stayed what it was.
    pub(crate) fn upgrade_failed(&mut self, reason: &[u8]) {
        let reason = String::from_utf8_lossy(reason).into_owned();
        self.tell(EventKind::Other, None, format!("skep was not upgraded: {reason}"));
        if let Some(waiting) = self.upgrading.take() {
            let _ = waiting.send(Err(reason));
        }
    }
}
