//! `cron_restart` at the edge: an alarm on the time of day, set for the next time on the agenda and for nothing else.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use skep_core::Cause;
use skep_keeper::wire::Request;
use tokio::io::Interest;

use crate::agenda::Agenda;
use crate::driver::{Driver, Shared, unix_ms};

/// The key of the agenda in the keeper's safe-box.
pub(crate) const AGENDA_KEY: &[u8] = b"agenda";

/// Renews apps at their times as long as the daemon lives.
pub(crate) async fn serve(driver: Shared) -> io::Result<()> {
    let wake = Rc::clone(&driver.borrow().triggers.agenda_wake);
    loop {
        let next = driver.borrow_mut().look_at_agenda();
        let Some(next) = next else {
            wake.notified().await;
            continue;
        };
        let alarm = crate::watch::watch(alarm(next)?, Interest::READABLE)?;
        tokio::select! {
            // Rung, or the clock was set.
            guard = alarm.readable() => drop(guard?),
            () = wake.notified() => {}
        }
    }
}

/// Readable at a time of day, or when the clock is set (`TFD_TIMER_CANCEL_ON_SET`, timerfd_create(2)).
fn alarm(at_unix_ms: i64) -> io::Result<OwnedFd> {
    let alarm = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
    let never = Timespec { tv_sec: 0, tv_nsec: 0 };
    // All zeroes would switch it off.
    let at =
        Timespec { tv_sec: (at_unix_ms / 1000).max(1), tv_nsec: at_unix_ms.rem_euclid(1000) * 1_000_000 };
    let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
    timerfd_settime(&alarm, flags, &Itimerspec { it_interval: never, it_value: at })?;
    Ok(alarm)
}

fn now_ms() -> i64 {
    i64::try_from(unix_ms()).unwrap_or(i64::MAX)
}

impl Driver {
    /// Renews what is due; answers when to look again.
    fn look_at_agenda(&mut self) -> Option<i64> {
        let now = now_ms();
        let wanted: Vec<_> = self
            .present_specs()
            .filter_map(|(app, spec)| Some((app, spec.cron_restart.clone()?, spec.cron_timezone.clone())))
            .collect();
        let mut changed = self.triggers.agenda.become_of(wanted.into_iter(), now);
        for (app, cron) in self.triggers.agenda.take_due(now) {
            changed = true;
            self.renew(app, app.into(), Cause::Schedule, &format!("cron_restart {cron}"));
        }
        if changed {
            // After the renewal: a daemon that is killed in between renews once more, rather than not at all.
            self.keep_agenda();
        }
        self.triggers.agenda.next(now)
    }

    /// Gives the keeper the agenda.
    pub(crate) fn keep_agenda(&mut self) {
        let note =
            serde_json::to_vec(&self.triggers.agenda).expect("plain data with string keys is always JSON");
        self.ask(&Request::Store { key: AGENDA_KEY.to_vec(), note });
    }

    /// The app's pattern, if it has one.
    pub(crate) fn cron_of(&self, app: skep_core::AppId) -> Option<skep_spec::Cron> {
        let (_, spec) = self.present_specs().find(|(id, _)| *id == app)?;
        spec.cron_restart.clone()
    }

    /// Takes back what the daemon before had dealt with.
    pub(crate) fn adopt_agenda(&mut self, note: &[u8]) {
        self.triggers.agenda = serde_json::from_slice::<Agenda>(note).unwrap_or_default();
    }
}
