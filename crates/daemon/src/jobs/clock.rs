//! Waits for the next fire time on the wall clock, for the clock to be set, and for the next deadline on the other one.

use std::rc::Rc;
use std::time::Duration;

use skep_core::Now;
use skep_jobs::Event;
use skep_keeper::fault;
use skep_sys::wall_timer::WallTimer;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::driver::{Driver, Shared};
use crate::patrol::until;

/// When a disk that refused is asked again.
const AGAIN: Duration = Duration::from_secs(5);

/// Ticks as long as the daemon lives. Until there is a job it waits for nothing but its first one.
pub(crate) async fn serve(driver: Shared) -> std::io::Result<()> {
    let wake = Rc::clone(&driver.borrow().board.wake);
    while driver.borrow().board.open.is_none() && !driver.borrow().board.stuck {
        wake.notified().await;
    }
    let timer: AsyncFd<WallTimer> = crate::watch::watch(WallTimer::new()?, Interest::READABLE)?;
    loop {
        let (deadlines, stuck) = driver.borrow().job_deadlines();
        timer.get_ref().set(deadlines.wall.map(|at| at.plus(-fault::clock_ahead_ms()).0))?;
        let boot = deadlines.boot_ms.map(|ms| Now(ms.saturating_mul(1_000_000)));
        tokio::select! {
            guard = timer.readable() => {
                let mut guard = guard?;
                if timer.get_ref().rang() {
                    driver.borrow_mut().job_event(Event::Tick);
                }
                guard.clear_ready();
            }
            () = until(boot), if boot.is_some() => driver.borrow_mut().job_event(Event::Tick),
            () = tokio::time::sleep(AGAIN), if stuck => driver.borrow_mut().unstick_jobs(),
            () = wake.notified() => {}
        }
    }
}

impl Driver {
    fn job_deadlines(&self) -> (skep_jobs::Deadlines, bool) {
        let open = self.board.open.as_ref();
        (open.map(|open| open.jobs.next_deadlines()).unwrap_or_default(), self.board.stuck)
    }

    fn unstick_jobs(&mut self) {
        if self.board.open.is_none() {
            self.board.stuck = false;
            self.sync_jobs();
        }
        self.carry_out_jobs();
    }
}
