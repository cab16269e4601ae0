//! `skep run`: the daemon lives as long as its apps, and its exit says how they ended.
//!
//! The command line leaves a file with the apps ([`RunFile`]); the daemon leaves one with the exit code
//! ([`exit_file`]), which the keeper's process, pid 1 in a container, ends with.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use skep_core::{AppView, ExitStatus, SlotView, Status};
use skep_spec::AppSpec;

use crate::driver::Driver;

/// What `skep run` leaves for the daemon.
#[derive(Debug, Serialize, Deserialize)]
pub struct RunFile {
    /// The apps, resolved, each after those that it depends on.
    pub apps: Vec<AppSpec>,
    /// Go on when nothing runs any more and nothing will.
    #[serde(default)]
    pub stays: bool,
}

/// What is said for a failure that has no code of its own, as shells do.
const EXIT_FAILURE: u8 = 1;
/// Added to the number of the signal that ended an app, as shells do.
const EXIT_SIGNAL: i32 = 128;

/// Where the exit code of a home's `skep run` is found: a decimal number.
#[must_use]
pub fn exit_file(home: &Path) -> PathBuf {
    home.join("run.exit")
}

impl Driver {
    /// Adds the apps of the run file, unless an earlier daemon of this keeper did. Whether all ends with them.
    pub(crate) fn begin_foreground(&mut self, file: &Path) -> bool {
        let read = std::fs::read(file).map_err(|error| error.to_string());
        let apps =
            read.and_then(|text| serde_json::from_slice::<RunFile>(&text).map_err(|error| error.to_string()));
        let RunFile { apps, stays } = apps.unwrap_or_else(|error| {
            crate::diary::note(format_args!("cannot read {}: {error}", file.display()));
            RunFile { apps: Vec::new(), stays: false }
        });
        if !self.fleet.apps().is_empty() {
            return !stays;
        }
        for spec in apps {
            let name = spec.name.clone();
            let request = skep_api::CreateApp { spec, wait: false, timeout_ms: None, unless_known: None };
            if let Err(error) = self.create(request) {
                crate::diary::note(format_args!("{name} cannot be started: {error}"));
                self.leave_exit_code(EXIT_FAILURE);
            }
        }
        !stays
    }

    /// Ends everything once nothing runs and nothing will.
    pub(crate) fn check_foreground(&mut self) {
        if !self.site.foreground || self.ending || !self.begun {
            return;
        }
        let apps = self.fleet.apps();
        if let Some(code) = exit_code(&apps) {
            self.leave_exit_code(code);
            self.shut_down();
        }
    }

    /// Leaves the code for the keeper's process; the first one stays.
    pub(crate) fn leave_exit_code(&mut self, code: u8) {
        let file = exit_file(&self.site.home);
        if self.site.foreground
            && !file.exists()
            && let Err(error) = skep_sys::durable::replace(&file, format!("{code}\n").as_bytes(), 0o600)
        {
            crate::diary::note(format_args!("cannot write {}: {error}", file.display()));
        }
    }
}

/// The code to end with when every slot has come to rest; `None` while one has not.
fn exit_code(apps: &[AppView]) -> Option<u8> {
    let slots: Vec<&SlotView> = apps.iter().flat_map(|app| &app.slots).collect();
    let at_rest = |slot: &&SlotView| {
        matches!(slot.status, Status::Stopped | Status::Errored)
            && slot.worker.is_none()
            && slot.old.is_empty()
    };
    if !slots.iter().all(at_rest) {
        return None;
    }
    let worst = slots.iter().map(|slot| slot_code(slot)).find(|code| *code != 0);
    Some(worst.unwrap_or(if slots.is_empty() { EXIT_FAILURE } else { 0 }))
}

fn slot_code(slot: &SlotView) -> u8 {
    let code = match slot.last_exit.map(|exit| exit.status) {
        Some(ExitStatus::Code(code)) => code,
        Some(ExitStatus::Signal(signal)) => EXIT_SIGNAL + signal,
        Some(ExitStatus::Unknown) | None => i32::from(EXIT_FAILURE),
    };
    match (u8::try_from(code), slot.status) {
        (Ok(0), Status::Errored) | (Err(_), _) => EXIT_FAILURE,
        (Ok(code), _) => code,
    }
}
