//! The state that workers share: the daemon owns the store of its home, tells each worker where it is, gives back at
//! once what a dead worker held, and looks after it when it asks.
//!
//! The store is opened when the daemon's first client has gone, so that no start of a worker waits for it; by the first
//! worker, if that one is faster. It may fail to open (no memory, a foreign folder): then apps run all the same, and
//! whoever asks for the state is told why.

mod config;
mod databases;
pub(crate) mod durable;
pub(crate) mod entries;
pub(crate) mod figures;
mod place;
pub(crate) mod queues;
mod save;
pub(crate) mod watcher;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use skep_api::{ErrorBody, ErrorCode, EventKind, StateConfig};
use skep_core::WorkerId;
use skep_spec::AppSpec;
use skep_state::{Owner, Store, Supervisor, WallMs};
use tokio::io::Interest;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::driver::{Driver, Shared, unix_ms};

/// Tells a worker why there is no shared state; the SDK says so when it is asked for.
const ENV_REFUSAL: &str = "SKEP_STATE_REFUSED";

/// How long one look may wait for a writer that is frozen in the middle: a transaction takes microseconds, and the
/// daemon has other things to do.
const PATIENCE_US: u32 = 20_000;
/// When what a frozen writer kept from being done is tried again.
const AGAIN: Duration = Duration::from_millis(50);

/// The store, once it is open.
#[derive(Debug, Default)]
pub(crate) struct SharedState {
    open: Option<Rc<Supervisor>>,
    /// What looks after it.
    tasks: Vec<AbortHandle>,
    /// It was opened ahead of need, or that was tried.
    prepared: bool,
    /// Why it could not be opened at the last try.
    refusal: Option<String>,
    /// Something was kept from being done by a frozen writer: everything that is held is compared with who lives.
    behind: bool,
    wake: Rc<Notify>,
    /// Who watches something has to look again.
    news: Rc<watcher::News>,
    /// A copy is written so often; 0: never.
    save_ms: u64,
    save_wake: Rc<Notify>,
    durable: Rc<durable::Durable>,
}

/// The stores that people look at.
#[derive(Debug, Clone)]
pub(crate) struct Stores {
    /// What lies in memory.
    pub(crate) memory: Store,
    /// Durable queues, if there are any.
    pub(crate) durable: Option<Store>,
}

impl SharedState {
    /// Why workers have none.
    pub(crate) fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }
}

/// Who a worker is in the store. A home never uses a worker's number again, hence one generation is enough.
fn owner(worker: WorkerId) -> Owner {
    Owner { id: worker.0, generation: 0 }
}

/// An error of the store, in the API's words.
pub(crate) fn failure(error: skep_state::Error) -> ErrorBody {
    use skep_state::Error;
    let code = match &error {
        Error::Full { .. } | Error::NoSpace { .. } => ErrorCode::StorageFailed,
        Error::Busy { .. } => ErrorCode::Unavailable,
        Error::NamesInUse { .. } => ErrorCode::Conflict,
        Error::KeyTooLong { .. }
        | Error::ValueTooLong { .. }
        | Error::TooManyCounters { .. }
        | Error::WrongType { .. }
        | Error::TooMuch { .. }
        | Error::NotANumber(_)
        | Error::Overflow
        | Error::Behind { .. }
        | Error::BadBackup { .. } => ErrorCode::BadRequest,
        // Files that a person named.
        Error::Io { .. } => ErrorCode::StorageFailed,
        Error::NoStore { .. }
        | Error::NotOurs { .. }
        | Error::Foreign { .. }
        | Error::Version { .. }
        | Error::Corrupt { .. }
        | Error::TooManyWorkers { .. }
        | Error::Detached { .. }
        | Error::Engine(_) => ErrorCode::Internal,
    };
    ErrorBody::new(code, error.to_string())
}

fn wall() -> WallMs {
    WallMs(unix_ms())
}

impl Driver {
    /// The store, opened now if it is not yet.
    ///
    /// # Errors
    /// Why it cannot be opened, for people.
    pub(crate) fn open_shared_state(&mut self) -> Result<Rc<Supervisor>, String> {
        if let Some(open) = &self.shared_state.open {
            return Ok(Rc::clone(open));
        }
        let opened = self.open_or_make().and_then(|(config, supervisor)| {
            let supervisor = Rc::new(supervisor);
            self.shared_state.save_ms = config.save_ms.unwrap_or(0);
            self.attend_shared_state(&supervisor)
                .map_err(|error| format!("cannot wait for the shared state: {error}"))?;
            Ok(supervisor)
        });
        match opened {
            Ok(supervisor) => {
                self.shared_state.open = Some(Rc::clone(&supervisor));
                self.shared_state.refusal = None;
                self.give_back_of_the_dead();
                Ok(supervisor)
            }
            Err(reason) => {
                if self.shared_state.refusal.as_ref() != Some(&reason) {
                    let message = format!("workers run without shared state: {reason}");
                    crate::diary::note(format_args!("{message}"));
                    self.tell(EventKind::Other, None, message);
                }
                self.shared_state.refusal = Some(reason.clone());
                Err(reason)
            }
        }
    }

    /// Opens the home's store, or makes one where there is none; with the configuration that it was opened by. The place
    /// that is configured counts only while no worker runs: two stores would split what workers share.
    ///
    /// # Errors
    /// In the words of whoever refuses: the configuration cannot be read, or no place takes a store.
    fn open_or_make(&mut self) -> Result<(StateConfig, Supervisor), String> {
        self.shared_state.prepared = true;
        let config = config::load(&self.site.home)?;
        let places = match place::last(&self.site.home).filter(|_| !self.workers.is_empty()) {
            // Workers have it open, whatever is configured by now.
            Some(last) => vec![last],
            None => place::candidates(&self.site.home, config.dir.as_deref().map(Path::new)),
        };
        let supervisor = open(&self.site.home, &config, places)?;
        Ok((config, supervisor))
    }

    /// Opens the store and its door at a moment when nobody waits for them.
    pub(crate) fn prepare_shared_state(&mut self) {
        // Should it fail, that was told, and the start of a worker tries again.
        if !self.shared_state.prepared && !self.ending && self.open_shared_state().is_ok() {
            self.open_door();
        }
    }

    /// Nobody has it open but the daemon and its door: the next who asks opens it where it lies by then.
    fn close_shared_state(&mut self) {
        self.end_door();
        place::forget(&self.site.home);
        self.shared_state.open = None;
        self.shared_state.prepared = false;
        self.shared_state.news.tell();
        for task in self.shared_state.tasks.drain(..) {
            task.abort();
        }
    }

    /// Somebody begins to watch.
    pub(crate) fn state_watcher(&self) -> watcher::Watcher {
        watcher::Watcher::new(&self.shared_state.news)
    }

    /// Queues in memory, if anybody has opened the store.
    pub(crate) fn queue_figures(&self) -> Vec<skep_api::StateQueue> {
        let open = self.shared_state.open.as_ref();
        open.and_then(|open| figures::queues(open.store(), wall()).ok()).unwrap_or_default()
    }

    /// How the store is kept.
    pub(crate) fn state_config(&self) -> Result<StateConfig, ErrorBody> {
        config::load(&self.site.home).map_err(|reason| ErrorBody::new(ErrorCode::StorageFailed, reason))
    }

    /// Changes how the store is kept: at once, but for its place while workers have it open; that counts when it is
    /// opened next.
    pub(crate) fn configure_state(&mut self, change: StateConfig) -> Result<StateConfig, ErrorBody> {
        let before = self.state_config()?;
        let config = config::merged(&self.site.home, change)?;
        // Listening may fail: then nothing is changed.
        let port = self.open_door_port(&config)?;
        config::write(&self.site.home, &config)?;
        self.change_door_port(port);
        self.shared_state.save_ms = config.save_ms.unwrap_or(0);
        self.shared_state.save_wake.notify_one();
        if before.dir != config.dir && self.workers.is_empty() {
            self.close_shared_state();
        }
        if let Some(open) = &self.shared_state.open {
            let options = config::options(&config);
            open.store().set_limits(options.data_bytes_max, options.value_bytes_max);
        }
        Ok(config)
    }

    /// After a start of the daemon that finds workers: what those held that ended meanwhile is given back.
    pub(crate) fn resume_shared_state(&mut self) {
        if !self.workers.is_empty() {
            // Why it is refused was told already.
            let _ = self.open_shared_state();
        }
        self.resume_durable();
    }

    /// Tells a worker where the state is, or why it has none.
    pub(crate) fn tell_state(
        &mut self,
        worker: WorkerId,
        spec: &AppSpec,
        env: &mut BTreeMap<String, String>,
    ) {
        // A skep that was itself started by a worker of another skep has inherited that one's.
        env.remove(skep_state::ENV_STATE);
        env.remove(skep_state::ENV_QUEUES);
        env.remove(ENV_REFUSAL);
        let opened = if spec.uid.is_some() || spec.gid.is_some() {
            Err("it belongs to the user that runs skep, and this app runs as another (uid, gid)".to_owned())
        } else {
            self.open_shared_state()
        };
        match opened {
            Ok(supervisor) => {
                let told = supervisor.worker_env(owner(worker));
                env.extend(told.into_iter().map(|(name, value)| (name.to_owned(), value)));
                let queues = durable::folder(&self.site.home).display().to_string();
                env.insert(skep_state::ENV_QUEUES.to_owned(), queues);
                self.tell_door(env);
            }
            Err(reason) => drop(env.insert(ENV_REFUSAL.to_owned(), reason)),
        }
    }

    /// A worker's process has ended: what it held goes to the next in line, before anything else is done.
    pub(crate) fn release_shared_state(&mut self, worker: WorkerId) {
        self.release_durable(worker);
        let Some(supervisor) = &self.shared_state.open else { return };
        if let Err(error) = supervisor.worker_ended(owner(worker), wall()) {
            self.shared_state_is_behind(&error);
        }
    }

    /// The Redis door's process has ended: it is nobody in the store, but its reads may have pinned rows.
    pub(crate) fn release_shared_state_of_door(&mut self) {
        let Some(supervisor) = &self.shared_state.open else { return };
        if let Err(error) = supervisor.reader_ended() {
            self.shared_state_is_behind(&error);
        }
    }

    /// Compares all that is held with who lives.
    fn give_back_of_the_dead(&mut self) {
        let Some(supervisor) = &self.shared_state.open else { return };
        let alive: Vec<Owner> =
            self.workers.values().filter(|worker| !worker.exited).map(|worker| owner(worker.id())).collect();
        self.shared_state.behind = false;
        if let Err(error) = supervisor.keep_only(&alive, wall()) {
            self.shared_state_is_behind(&error);
        }
    }

    fn shared_state_is_behind(&mut self, error: &skep_state::Error) {
        if !matches!(error, skep_state::Error::Busy { .. }) {
            crate::diary::note(format_args!("the shared state could not be tidied up: {error}"));
        }
        self.shared_state.behind = true;
        self.shared_state.wake.notify_one();
    }

    fn attend_shared_state(&mut self, supervisor: &Rc<Supervisor>) -> std::io::Result<()> {
        let Some(driver) = self.me.upgrade() else { return Ok(()) };
        let fifo = supervisor.wake_fd().try_clone_to_owned()?;
        let fifo = crate::watch::watch(fifo, Interest::READABLE)?;
        let saving = save::serve(Rc::clone(&driver), supervisor.store().clone());
        let wake = Rc::clone(&self.shared_state.wake);
        let news = Rc::clone(&self.shared_state.news);
        let attending = attend(driver, Rc::clone(supervisor), fifo, wake, news);
        self.shared_state.tasks = vec![
            tokio::task::spawn_local(saving).abort_handle(),
            tokio::task::spawn_local(attending).abort_handle(),
        ];
        Ok(())
    }
}

/// Looks after the store when it asks, and when something was left undone.
async fn attend(
    driver: Shared,
    supervisor: Rc<Supervisor>,
    fifo: tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>,
    wake: Rc<Notify>,
    news: Rc<watcher::News>,
) {
    loop {
        let next = match supervisor.maintain(wall()) {
            Ok(next) => next.map(|at| Duration::from_millis(at.0.saturating_sub(unix_ms()))),
            Err(error) => {
                if !matches!(error, skep_state::Error::Busy { .. }) {
                    crate::diary::note(format_args!("the shared state could not be looked after: {error}"));
                }
                Some(AGAIN)
            }
        };
        // Why it was woken is not told: it may be for a change that somebody watches for.
        news.tell();
        let behind = driver.borrow().shared_state.behind;
        let next = if behind { Some(next.map_or(AGAIN, |next| next.min(AGAIN))) } else { next };
        tokio::select! {
            guard = fifo.readable() => match guard {
                Ok(mut guard) => guard.clear_ready(),
                Err(_) => return,
            },
            () = sleep(next) => {}
            () = wake.notified() => continue,
        }
        if driver.borrow().shared_state.behind {
            driver.borrow_mut().give_back_of_the_dead();
        }
    }
}

async fn sleep(next: Option<Duration>) {
    match next {
        // At least a moment, so that work that comes due again and again cannot hold the loop.
        Some(next) => tokio::time::sleep(next.max(Duration::from_millis(1))).await,
        None => std::future::pending().await,
    }
}

/// Opens the store where it is, or makes it where there is room.
fn open(home: &Path, config: &StateConfig, places: Vec<PathBuf>) -> Result<Supervisor, String> {
    if !places.iter().any(|place| place.join("control").exists()) {
        place::sweep();
    }
    let mut reasons = Vec::new();
    for dir in places {
        let is_new = dir.symlink_metadata().is_err();
        let is_empty = dir.join("control").symlink_metadata().is_err();
        match Supervisor::open(&dir, &config::options(config), wall()) {
            Ok(supervisor) => {
                supervisor.store().set_patience(PATIENCE_US);
                supervisor.store().set_read_patience(PATIENCE_US);
                if is_empty && config.save_ms.is_some_and(|every| every > 0) {
                    save::load(supervisor.store(), home);
                }
                if let Err(error) = place::sign(&dir, home) {
                    crate::diary::note(format_args!("cannot sign {}: {error}", dir.display()));
                }
                return Ok(supervisor);
            }
            Err(error) => reasons.push(error.to_string()),
        }
        if is_new {
            // What an attempt left that found no room.
            let _ = std::fs::remove_dir_all(&dir);
        } else if dir.join("control").symlink_metadata().is_ok() {
            // Workers may have it open: a second store beside it would split what they share.
            break;
        }
    }
    Err(reasons.join("; "))
}
