//! The daemon's talk with its keeper: replies become calls of the driver, requests go out in order.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use skep_keeper::{Delivery, LinkError};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use crate::driver::Shared;

/// Serves the link until the keeper closes it, which is this daemon's end.
pub(crate) async fn serve(driver: Shared) -> LinkError {
    let (socket, wake) = {
        let driver = driver.borrow();
        (driver.link.as_fd().try_clone_to_owned(), Rc::clone(&driver.link_wake))
    };
    let socket = match socket.and_then(|fd| crate::watch::watch(fd, Interest::READABLE | Interest::WRITABLE))
    {
        Ok(socket) => socket,
        Err(error) => return error.into(),
    };
    loop {
        if let Err(error) = turn(&driver, &socket, &wake).await {
            return error;
        }
    }
}

async fn turn(driver: &Shared, socket: &AsyncFd<OwnedFd>, wake: &Notify) -> Result<(), LinkError> {
    let wants_write = driver.borrow().link.wants_write();
    tokio::select! {
        guard = socket.readable() => {
            let mut guard = guard?;
            if !receive(driver)? {
                guard.clear_ready();
            }
        }
        guard = socket.writable(), if wants_write => {
            let mut guard = guard?;
            let mut driver = driver.borrow_mut();
            driver.link.flush()?;
            if driver.link.wants_write() {
                guard.clear_ready();
            }
        }
        () = wake.notified() => {}
    }
    Ok(())
}

/// One reply; false when there is none now.
fn receive(driver: &Shared) -> Result<bool, LinkError> {
    let delivery = driver.borrow_mut().link.receive()?;
    let Some(delivery) = delivery else { return Ok(false) };
    skep_keeper::fault::point("daemon", "heard");
    driver.borrow_mut().on_reply(delivery);
    Ok(true)
}

/// Everything the keeper holds, as told after the greeting.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    pub(crate) keeper_pid: i32,
    /// The version of the protocol that was agreed upon.
    pub(crate) version: u32,
    pub(crate) generation: u64,
    /// The limit on open files that workers get.
    pub(crate) descriptor_limit: (u64, u64),
    pub(crate) children: Vec<Child>,
    pub(crate) stored: Vec<Stored>,
    /// Signals to the keeper that came while no daemon was there to act.
    pub(crate) signals: Vec<i32>,
}

/// A child in the keeper's table.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) child: u64,
    pub(crate) note: Vec<u8>,
    pub(crate) state: skep_keeper::wire::ChildState,
    pub(crate) fds: Vec<OwnedFd>,
}

/// Descriptors in the keeper's safe-box.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) key: Vec<u8>,
    pub(crate) note: Vec<u8>,
    pub(crate) fds: Vec<OwnedFd>,
}

/// Greets the keeper and collects the inventory. Replies of another kind that arrive meanwhile are news about
/// children, which the inventory tells as well.
pub(crate) async fn greet(link: &mut skep_keeper::Link) -> Result<Inventory, LinkError> {
    use skep_keeper::wire::{Reply, Request};
    link.send(&Request::hello(), &[])?;
    let socket = crate::watch::watch(link.as_fd().try_clone_to_owned()?, Interest::READABLE)?;
    let mut inventory = Inventory::default();
    loop {
        let Some(Delivery { reply, fds, fds_lost }) = link.receive()? else {
            socket.readable().await?.clear_ready();
            continue;
        };
        if fds_lost {
            return Err(io::Error::other(
                "too many open files (RLIMIT_NOFILE) to take back what the keeper holds",
            )
            .into());
        }
        match reply {
            Reply::Welcome { version: 0, build, .. } => {
                let build = String::from_utf8_lossy(&build).into_owned();
                let text =
                    format!("the keeper ({build}) speaks no version of the protocol that this daemon knows");
                return Err(io::Error::other(text).into());
            }
            Reply::Welcome { version, keeper, generation, descriptor_limit, .. } => {
                inventory.version = version;
                inventory.descriptor_limit = descriptor_limit;
                inventory.keeper_pid = keeper;
                inventory.generation = generation;
            }
            Reply::Child { child, note, state } => inventory.children.push(Child { child, note, state, fds }),
            Reply::Stored { key, note } => inventory.stored.push(Stored { key, note, fds }),
            Reply::InventoryEnd => return Ok(inventory),
            Reply::Signal { signal } => inventory.signals.push(signal),
            Reply::Spawned { .. }
            | Reply::SpawnFailed { .. }
            | Reply::Exited { .. }
            | Reply::SignalFailed { .. }
            | Reply::StoreFailed { .. }
            | Reply::Passed { .. }
            | Reply::Upgraded { .. }
            | Reply::UpgradeFailed { .. }
            | Reply::Unknown { .. } => {}
        }
    }
}
