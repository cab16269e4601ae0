//! Carrying out `Drain`: a worker takes nothing new and finishes what it has.

use skep_core::{Event, Leave, WorkerId};
use skep_node_ipc::skep::{DrainMode, DrainOrder, GRACE_MS_DEFAULT};
use skep_spec::{Drain, DrainWebSockets};

use crate::driver::Driver;
use crate::worker::Worker;

/// How long an idle connection that nobody takes over stays open before a stop. Long enough for a request that is on its
/// way to be seen, too short to be noticed by whoever typed `stop`; the next one would be refused in any case.
const STOP_GRACE_MS: u32 = 100;

/// Close frames (RFC 6455, 7.4.1, and IANA's registry): others serve on, or nobody does.
const SERVICE_RESTART: u16 = 1012;
const GOING_AWAY: u16 = 1001;

impl Driver {
    /// `Effect::Drain`.
    pub(crate) fn drain(&mut self, id: WorkerId, successor: Option<WorkerId>, leave: Leave) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let serves = worker.leaving || !worker.listens.is_empty();
        worker.leaving = true;
        let (app, slot) = (worker.app, worker.slot);
        match leave {
            Leave::Replaced => self.traffic.succeed(id, successor),
            Leave::Stopped => {}
        }
        let strands = successor.is_none() && self.ports.of(app).any(|(_, entry)| entry.group.strands(slot));
        if strands {
            // Nobody else can take what waits in its queue: it is steered around, and told when that is empty.
            self.refresh_live(app, slot);
            self.once_empty(id, move |driver| driver.tell_to_drain(id, successor, leave, serves));
            return;
        }
        self.tell_to_drain(id, successor, leave, serves);
        self.refresh_live(app, slot);
    }

    fn tell_to_drain(&mut self, id: WorkerId, successor: Option<WorkerId>, leave: Leave, serves: bool) {
        let asked = match leave {
            Leave::Replaced => self.ask_to_drain(id),
            Leave::Stopped => serves && self.ask_to_finish(id),
        };
        self.flush_channel(id);
        match (leave, asked) {
            (_, true) => {}
            (Leave::Replaced, false) => self.empty_queue(id, successor),
            // It has nothing to finish, or nobody in it understands the question.
            (Leave::Stopped, false) => self.queue.push_back(Event::StopsItself { worker: id }),
        }
    }

    /// True if there is a channel to say it on.
    fn ask_to_drain(&mut self, id: WorkerId) -> bool {
        let Some(worker) = self.workers.get(&id) else { return false };
        // Half of the time that the drain has: connections that wait for their last request leave in the other half.
        let half = u32::try_from(worker.spec.kill_timeout.0 / 2).unwrap_or(u32::MAX);
        let (grace, by_message) = (half.min(GRACE_MS_DEFAULT), worker.spec.shutdown_with_message);
        let order = self.drain_order(worker, grace);
        let Some(channel) = self.channel_mut(id) else { return false };
        let session = channel.session_mut();
        let told = match by_message {
            // Its farewell is a message, which needs the channel.
            true => session.finish(order, None),
            false => session.drain(order),
        };
        if !told {
            session.disconnect();
        }
        true
    }

    /// False if it is better told to stop at once.
    fn ask_to_finish(&mut self, id: WorkerId) -> bool {
        let Some(worker) = self.workers.get(&id) else { return false };
        if worker.spec.shutdown_with_message {
            return false; // Whoever asks for the message handles it.
        }
        let order = self.drain_order(worker, STOP_GRACE_MS);
        let signal = worker.spec.kill_signal.to_string();
        let Some(channel) = self.channel_mut(id).filter(|channel| !channel.closed) else { return false };
        channel.session_mut().finish(order, Some(&signal))
    }

    /// Connections move only if somebody of the app is there, or will be, to take them.
    fn drain_order(&self, worker: &Worker, grace_ms: u32) -> DrainOrder {
        let wanted = self.is_wanted(worker.app);
        let mode = match worker.spec.drain {
            Drain::Migrate if wanted => DrainMode::Migrate,
            Drain::Migrate | Drain::Close | Drain::Signal => DrainMode::Close,
        };
        let close_code = match worker.spec.drain_websockets {
            DrainWebSockets::Keep => None,
            DrainWebSockets::Close => Some(if wanted { SERVICE_RESTART } else { GOING_AWAY }),
        };
        DrainOrder { mode, grace_ms, close_code }
    }
}
