//! What the keeper says, handed to whom it concerns.

use skep_core::{Event, WorkerId};
use skep_keeper::Delivery;
use skep_keeper::wire::{Reply, Request};
use skep_sys::spawn::Stage;

use crate::driver::Driver;

/// The signals that end skep as a whole (`kill`, a terminal, a container runtime).
const ENDING_SIGNALS: [i32; 4] = [1, 2, 3, 15];

/// PM2's request to open all log files anew (logrotate's `postrotate`).
pub(crate) const SIGUSR2: i32 = 12;

impl Driver {
    pub(crate) fn on_reply(&mut self, delivery: Delivery) {
        let Delivery { reply, mut fds, .. } = delivery;
        match reply {
            Reply::Spawned { child, pid, start_time } => {
                let notify = (!fds.is_empty()).then(|| fds.remove(0));
                if let Some(worker) = worker(child) {
                    self.spawned(worker, pid as u32, start_time, notify);
                }
            }
            Reply::SpawnFailed { child, stage, errno } if crate::door::is_door(child) => {
                let error = std::io::Error::from_raw_os_error(errno);
                self.door_ended(child, &format!("could not be started ({stage}: {error})"), None);
            }
            Reply::SpawnFailed { child, stage, errno } if crate::jobs::is_child(child).is_some() => {
                let Some(token) = crate::jobs::is_child(child) else { return };
                let error = std::io::Error::from_raw_os_error(errno);
                self.command_ended(token, Err(format!("{stage}: {error}")));
            }
            Reply::Exited { child, status } if crate::jobs::is_child(child).is_some() => {
                let Some(token) = crate::jobs::is_child(child) else { return };
                self.command_ended(token, Ok(status));
            }
            Reply::SpawnFailed { child, stage, errno } => {
                if let Some(worker) = worker(child) {
                    let reason = self.spawn_failure(worker, stage, errno);
                    self.handle(Event::SpawnFailed { worker, reason });
                }
            }
            Reply::Exited { child, status } if crate::door::is_door(child) => {
                self.door_ended(child, "has ended", Some(status));
            }
            Reply::Exited { child, status } => {
                if let Some(worker) = worker(child) {
                    self.exited(worker, crate::boot::exit_status(status));
                }
            }
            Reply::Signal { signal } => self.on_signal(signal),
            Reply::SignalFailed { child, errno } => {
                let error = std::io::Error::from_raw_os_error(errno);
                crate::diary::note(format_args!("worker {child} could not be signalled: {error}"));
            }
            Reply::StoreFailed { key, errno } => {
                let (key, error) = (String::from_utf8_lossy(&key), std::io::Error::from_raw_os_error(errno));
                crate::diary::note(format_args!("the keeper could not keep {key}: {error}"));
            }
            Reply::Passed { ticket, outcome } => self.passed(ticket, outcome, fds.into_iter().next()),
            Reply::Upgraded { .. } => self.upgraded(),
            Reply::UpgradeFailed { reason } => self.upgrade_failed(&reason),
            Reply::Unknown { kind, reason } => {
                let reason = String::from_utf8_lossy(&reason);
                crate::diary::note(format_args!("the keeper does not know request {kind}: {reason}"));
            }
            // Only in answer to a greeting, and that was at the start.
            Reply::Welcome { .. } | Reply::Child { .. } | Reply::Stored { .. } | Reply::InventoryEnd => {}
        }
    }

    /// Somebody signalled the keeper: skep ends as a whole, workers in their own polite way. What they were to do is
    /// kept: after a reboot they run again.
    pub(crate) fn on_signal(&mut self, signal: i32) {
        self.ask(&Request::Handled { signal });
        if signal == SIGUSR2 {
            self.reopen_logs();
        }
        if !ENDING_SIGNALS.contains(&signal) || self.ending {
            return;
        }
        self.leave_exit_code(0);
        self.shut_down();
    }

    /// Stops every worker; what they were to do is kept. The daemon ends when they have.
    pub(crate) fn shut_down(&mut self) {
        self.ending = true;
        let (op, _) = self.ops.begin(None);
        self.ending_op = Some(op);
        if let Err(error) = self.command(vec![(op, skep_core::Command::Shutdown)]) {
            crate::diary::note(format_args!("cannot shut down: {error}"));
            self.end.notify_one();
        }
    }

    fn spawn_failure(&self, id: WorkerId, stage: Stage, errno: i32) -> String {
        let error = std::io::Error::from_raw_os_error(errno);
        let program = self.workers.get(&id).and_then(|worker| worker.spec.argv().into_iter().next());
        match program {
            Some(program) => format!("{program}: {stage}: {error}"),
            None => format!("{stage}: {error}"),
        }
    }
}

fn worker(child: u64) -> Option<WorkerId> {
    u32::try_from(child).ok().map(WorkerId)
}
