//! The keeper has died: SIGKILL, for nothing else kills it. Its daemon holds every descriptor too, so it starts another
//! keeper, hands everything over and makes room for that one's daemon. Workers go on under their old pids; they are the
//! new keeper's wards and not its children, so how they end is not known any more.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use skep_core::WorkerId;
use skep_keeper::home::{Heir, Home};
use skep_keeper::wire::{Adopt, Request, Stop};
use skep_keeper::{Link, LinkError};
use skep_listeners::GroupKey;
use skep_sys::pidfd::PidFd;
use tokio::io::Interest;

use crate::census::Entry;
use crate::driver::{Driver, Shared};
use crate::strays;
use crate::worker::Worker;

/// A keeper whose link has ended and which is alive after this has given its daemon up.
const DYING: Duration = Duration::from_secs(2);

/// How often the lock is tried: a child that the keeper was just forking holds it until it is executed.
const TRIES_MAX: usize = 100;
const TRY_AGAIN: Duration = Duration::from_millis(10);

/// The keeper's process, to see its end.
pub(crate) fn keeper_handle(pid: i32) -> Option<PidFd> {
    PidFd::open(pid).ok()
}

/// The link to the keeper has ended for this reason. If the keeper is dead, another one gets everything; the link to it
/// must stay open until this daemon has let go of all.
pub(crate) async fn after(
    reason: LinkError,
    driver: &Shared,
    keeper: Option<PidFd>,
    control: BorrowedFd<'_>,
) -> io::Result<OwnedFd> {
    let give_up = || io::Error::other(reason.to_string());
    let keeper = keeper.ok_or_else(give_up)?;
    let ended = crate::watch::watch(keeper.as_fd(), Interest::READABLE)?;
    if tokio::time::timeout(DYING, ended.readable()).await.is_err() {
        return Err(give_up());
    }
    if driver.borrow().site.foreground {
        // Nobody watches over `skep run` but itself: what it runs ends with it.
        let entries: Vec<Entry> = driver.borrow().workers.values().filter_map(Worker::entry).collect();
        strays::end(entries).await;
        return Err(give_up());
    }
    let link = heir(driver, control).await?.ok_or_else(give_up)?;
    let mut driver = driver.borrow_mut();
    driver.link = Link::new(link.try_clone()?);
    driver.hand_over();
    driver.flush_whole()?;
    Ok(link)
}

async fn heir(driver: &Shared, control: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    let (home, heir) = {
        let site = &driver.borrow().site;
        let heir = Heir { generation: site.generation, descriptor_limit: site.descriptor_limit };
        (Home::at(&site.home), heir)
    };
    for _ in 0..TRIES_MAX {
        if let Some(link) = home.succeed(control, &heir).map_err(io::Error::other)? {
            return Ok(Some(link));
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
    Ok(None)
}

impl Driver {
    /// Gives a new keeper all that the dead one held: every key that anything here ever stored.
    fn hand_over(&mut self) {
        let unborn = self.workers.values().any(|worker| worker.pid.is_none() && !worker.exited);
        // Started in the keeper's last moment, and nobody was told.
        let born = if unborn { strays::marked(&self.site.home) } else { Vec::new() };
        for (id, worker) in &mut self.workers {
            if let (None, Some(entry)) = (worker.pid, born.iter().find(|entry| entry.worker == *id)) {
                worker.pid = u32::try_from(entry.pid).ok();
                worker.start_time = entry.start_time;
            }
        }
        let ids: Vec<WorkerId> = self.workers.keys().copied().collect();
        for id in ids {
            self.hand_over_worker(id);
        }
        self.hand_over_unwritten();
        let addresses: Vec<GroupKey> = self.ports.entries.keys().copied().collect();
        for key in addresses {
            self.keep_ports(key, true);
        }
        self.hand_over_connections();
        self.keep_agenda();
        self.keep_door();
        self.keep_journal();
        match self.capture.safe() {
            Ok(safe) => self.keep_logs(&safe),
            Err(error) => crate::diary::note(format_args!("the log journal is begun anew: {error}")),
        }
    }

    fn hand_over_worker(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(&id) else { return };
        let (note, notifier) = (worker.note(), worker.notifier.clone());
        if let Some(entry) = worker.entry() {
            let stop = Stop { signal: entry.stop_signal, grace_ms: entry.grace_ms };
            let (pid, start_time, kill_tree) = (entry.pid, entry.start_time, entry.kill_tree);
            let adopt = Adopt { child: u64::from(id.0), note, pid, start_time, kill_tree, stop };
            let fds: Vec<BorrowedFd<'_>> = notifier.iter().map(|notifier| notifier.as_fd()).collect();
            self.ask_with(&Request::Adopt(Box::new(adopt)), &fds);
        }
        self.keep_worker(id);
        self.keep_progress(id);
    }

    /// Sends all that waits, however long it takes the new keeper to read.
    pub(crate) fn flush_whole(&mut self) -> io::Result<()> {
        while self.link.wants_write() {
            let mut fds = [PollFd::new(&self.link, PollFlags::OUT)];
            rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, None))?;
            self.link.flush().map_err(io::Error::other)?;
        }
        Ok(())
    }
}
