//! Durable queues: a store on the disk, in the home. The first worker that uses one makes it; the daemon opens it when
//! it is there, gives back what dead workers had, and shows it to people.
//!
//! Every write waits for the disk, so none happens on the daemon's loop.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use skep_api::{ErrorBody, ErrorCode, StateQueue};
use skep_core::WorkerId;
use skep_state::{Owner, Store, Supervisor};

use super::{config, figures, owner, wall};
use crate::driver::{Driver, Shared};

/// In the home.
const FOLDER: &str = "queues";
/// Giving back is tried again after such a time: a disk that fails now fails for a while.
const AGAIN: Duration = Duration::from_secs(1);
/// And so often; then jobs come back when their visibility is over.
const TRIES: u32 = 30;

/// The store of durable queues, once it is there.
#[derive(Debug, Default)]
pub(crate) struct Durable {
    open: RefCell<Option<Arc<Supervisor>>>,
    /// One opens it at a time.
    opening: tokio::sync::Mutex<()>,
}

/// Where a home's durable queues are.
pub(crate) fn folder(home: &Path) -> PathBuf {
    home.join(FOLDER)
}

fn is_there(home: &Path) -> bool {
    folder(home).join("data.mdb").exists()
}

/// The store, opened now if it is there and not open yet. `None`: nobody has made one.
pub(crate) async fn opened(driver: &Shared) -> Result<Option<Arc<Supervisor>>, ErrorBody> {
    let durable = Rc::clone(&driver.borrow().shared_state.durable);
    let _turn = durable.opening.lock().await;
    if let Some(open) = durable.open.borrow().as_ref() {
        return Ok(Some(Arc::clone(open)));
    }
    let home = driver.borrow().site.home.clone();
    if !is_there(&home) {
        return Ok(None);
    }
    let supervisor = beside(move || open(&home)).await?;
    *durable.open.borrow_mut() = Some(Arc::clone(&supervisor));
    // Whoever ended before anybody looked.
    let dead = driver.borrow().not_alive(&supervisor);
    tokio::task::spawn_local(give_back(Arc::clone(&supervisor), dead));
    Ok(Some(supervisor))
}

fn open(home: &Path) -> Result<Arc<Supervisor>, ErrorBody> {
    let config = config::load(home).map_err(|reason| ErrorBody::new(ErrorCode::StorageFailed, reason))?;
    Supervisor::open_durable(&folder(home), &config::options(&config), wall())
        .map(Arc::new)
        .map_err(super::failure)
}

/// The store for a backup's contents, made if there is none. Waits for the disk.
pub(crate) fn make(home: &Path) -> skep_state::Result<Store> {
    let options = config::load(home).map(|config| config::options(&config)).unwrap_or_default();
    skep_state::durable::open(&folder(home), &options, wall())
}

/// Another thread than the loop's.
async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ErrorBody> + Send + 'static,
) -> Result<T, ErrorBody> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(ErrorBody::new(ErrorCode::Internal, "a fault in skep: see daemon.log")))
}

/// What these workers had goes to others.
async fn give_back(supervisor: Arc<Supervisor>, dead: Vec<Owner>) {
    for owner in dead {
        for tries_left in (0..TRIES).rev() {
            let store = Arc::clone(&supervisor);
            let ended = move || store.worker_ended(owner, wall()).map_err(super::failure);
            match beside(ended).await {
                Ok(_) => break,
                Err(error) if tries_left == 0 => {
                    crate::diary::note(format_args!(
                        "jobs of worker {owner} could not be given back: {error}"
                    ));
                }
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
    }
}

impl Driver {
    fn not_alive(&self, supervisor: &Supervisor) -> Vec<Owner> {
        let alive = self.workers.values().filter(|worker| !worker.exited).map(|worker| owner(worker.id()));
        supervisor.not_among(&alive.collect::<Vec<_>>())
    }

    /// A worker's process has ended: its durable jobs go to the next in line.
    pub(super) fn release_durable(&self, worker: WorkerId) {
        let Some(driver) = self.me.upgrade().filter(|_| is_there(&self.site.home)) else { return };
        tokio::task::spawn_local(async move {
            match opened(&driver).await {
                Ok(Some(supervisor)) => give_back(supervisor, vec![owner(worker)]).await,
                Ok(None) => {}
                Err(error) => crate::diary::note(format_args!("durable queues cannot be opened: {error}")),
            }
        });
    }

    /// After a start of the daemon: what workers had that ended meanwhile is given back.
    pub(crate) fn resume_durable(&self) {
        let Some(driver) = self.me.upgrade().filter(|_| is_there(&self.site.home)) else { return };
        tokio::task::spawn_local(async move {
            if let Err(error) = opened(&driver).await {
                crate::diary::note(format_args!("durable queues cannot be opened: {error}"));
            }
        });
    }
}

/// Durable queues and what is in them; none where they cannot be read.
pub(crate) async fn queues(driver: &Shared) -> Vec<StateQueue> {
    let Ok(Some(supervisor)) = opened(driver).await else { return Vec::new() };
    let read = beside(move || figures::queues(supervisor.store(), wall())).await;
    read.unwrap_or_default().into_iter().map(as_durable).collect()
}

/// A queue that lies in the durable store.
pub(super) fn as_durable(queue: StateQueue) -> StateQueue {
    StateQueue { durable: true, ..queue }
}
