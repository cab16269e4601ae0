//! The start: everything that outlived the daemon before is taken back, and the fleet goes on where it was.
//!
//! Three sources, in this order of truth: the keeper's inventory (what runs), the journal (what was decided and may not
//! have been done), the disk (what users want).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::rc::Rc;

use skep_api::{ErrorBody, ErrorCode, EventKind};
use skep_core::{
    AppId, Desired, Effect, Effects, ExitStatus, Fleet, Inventory as SeenInventory, Revision, SeenWorker,
    SlotId, Snapshot, WorkerId,
};
use skep_keeper::Link;
use skep_keeper::wire::{ChildState, Request};
use skep_spec::AppSpec;

use crate::cron::AGENDA_KEY;
use crate::driver::{Driver, JOURNAL_KEY, Parts, Shared, Site, now};
use crate::journal::Journal;
use crate::keeper::{Inventory, Stored};
use crate::ports::Ports;
use crate::store::{Loaded, Store};
use crate::worker::{Identity, Lines, Progressed, Worker};

/// The key of the log journal's descriptors in the keeper's safe-box.
const LOGS_KEY: &[u8] = b"logs";

/// Where root may leave what everybody may read; only root can write there.
const SHARED_DIRECTORY: &str = "/run";

/// The inventory, sorted by what it is for.
#[derive(Debug, Default)]
struct Sorted {
    journal: Option<Stored>,
    logs: Option<Stored>,
    agenda: Option<Stored>,
    door: Option<Stored>,
    door_port: Option<Stored>,
    ports: Vec<Stored>,
    /// Connections on their way to workers.
    connections: Vec<Stored>,
    /// Descriptors of workers.
    workers: BTreeMap<WorkerId, Stored>,
    progress: BTreeMap<WorkerId, Progressed>,
    /// Outputs of jobs that are commands.
    job_pipes: BTreeMap<u64, std::os::fd::OwnedFd>,
    /// Leases of apps of which there may be only one.
    leases: Vec<(AppId, crate::hosts::Held)>,
    same_keeper: bool,
}

fn sort(stored: Vec<Stored>) -> Sorted {
    let mut sorted = Sorted::default();
    for item in stored {
        let key = String::from_utf8_lossy(&item.key).into_owned();
        let number = |prefix: &str| key.strip_prefix(prefix).and_then(|n| n.parse().ok()).map(WorkerId);
        if item.key == JOURNAL_KEY {
            sorted.journal = Some(item);
        } else if item.key == LOGS_KEY {
            sorted.logs = Some(item);
        } else if item.key == crate::door::DOOR_KEY {
            sorted.door = Some(item);
        } else if item.key == crate::door_port::PORT_KEY {
            sorted.door_port = Some(item);
        } else if item.key == AGENDA_KEY {
            sorted.agenda = Some(item);
        } else if item.key == crate::jobs::SAME_KEEPER_KEY {
            sorted.same_keeper = true;
        } else if let Some(token) = crate::jobs::stored_token(&key) {
            sorted.job_pipes.extend(item.fds.into_iter().next().map(|pipe| (token, pipe)));
        } else if key.starts_with("l:") {
            sorted.ports.push(item);
        } else if key.starts_with(crate::passing::KEY_PREFIX) {
            sorted.connections.push(item);
        } else if let Some(app) = key.strip_prefix(crate::hosts::NOTE_KEY).and_then(|n| n.parse().ok()) {
            sorted.leases.extend(serde_json::from_slice(&item.note).ok().map(|held| (AppId(app), held)));
        } else if let Some(worker) = number("w:") {
            sorted.workers.insert(worker, item);
        } else if let Some(worker) = number("s:")
            && let Ok(progress) = serde_json::from_slice(&item.note)
        {
            sorted.progress.insert(worker, progress);
        }
    }
    sorted
}

/// What the caller knows.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) home: std::path::PathBuf,
    pub(crate) skep: std::path::PathBuf,
    pub(crate) foreground: bool,
}

/// Builds the driver out of what is there.
///
/// # Errors
/// When a descriptor or a file that nothing works without cannot be had.
pub(crate) fn boot(setting: Setting, link: Link, inventory: Inventory) -> io::Result<Shared> {
    let store = if setting.foreground { Store::in_memory(&setting.home) } else { Store::at(&setting.home) };
    let (loaded, refusal) = load(&store);
    let mut sorted = sort(inventory.stored);
    let (journal, snapshot, journal_is_new) = open_journal(sorted.journal.take())?;
    let (capture, new_safe) = open_capture(sorted.logs.take())?;
    let mut ports = Ports::new()?;
    let mut troubles = loaded.warnings;
    troubles.extend(ports.adopt(std::mem::take(&mut sorted.ports)));

    let (desired, specs, resume) = match loaded.state {
        Some(state) => (state.desired, flatten(state.specs), state.resume),
        None => (Desired::default(), BTreeMap::new(), Vec::new()),
    };
    let snapshot: Option<Snapshot> = snapshot.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let seen = SeenInventory { children: inventory.children.iter().filter_map(seen).collect() };
    let site = Site {
        preload: preload_in(&setting.home.join("node")),
        preload_for_others: preload_for_others(),
        user: crate::pm2::user_name(),
        home: setting.home,
        skep: setting.skep,
        processors: skep_sys::cpus::available() as u32,
        keeper_pid: inventory.keeper_pid,
        keeper_version: inventory.version,
        generation: inventory.generation,
        descriptor_limit: inventory.descriptor_limit,
        started: now(),
        foreground: setting.foreground,
    };
    let seed = skep_sys::clock::wall_ns() ^ u64::from(std::process::id());
    let mut effects = Effects::new();
    let fleet = Fleet::restore(desired, snapshot, seen, now(), seed, &mut effects);
    let parts =
        Parts { site, fleet, specs, resume, store, store_refusal: refusal, journal, link, ports, capture };
    let shared = Driver::new(parts);
    {
        let mut driver = shared.borrow_mut();
        if journal_is_new {
            driver.keep_journal();
        }
        if let Some(safe) = new_safe {
            driver.keep_logs(&safe);
        }
        if let Some(agenda) = sorted.agenda.take() {
            driver.adopt_agenda(&agenda.note);
        }
        driver.read_hosts();
        driver.take_back_leases(std::mem::take(&mut sorted.leases));
        let door = sorted.door.take().and_then(|door| door.fds.into_iter().next());
        driver.take_back_door(door, &inventory.children);
        let port = sorted.door_port.take().and_then(|port| port.fds.into_iter().next());
        driver.take_back_door_port(port);
        let (same_keeper, job_pipes) = (sorted.same_keeper, std::mem::take(&mut sorted.job_pipes));
        let asked_again = effects.iter().filter_map(|effect| match effect {
            Effect::Spawn { worker, .. } => Some(*worker),
            _ => None,
        });
        driver.take_back(&inventory.children, sorted, &asked_again.collect());
        driver.resume_shared_state();
        if inventory.generation > 1 {
            driver.take_census();
        }
        for trouble in troubles {
            crate::diary::note(format_args!("{trouble}"));
            driver.tell(EventKind::Other, None, trouble);
        }
        driver.tell(EventKind::DaemonStarted, None, "the daemon is here".to_owned());
        if effects.iter().any(|effect| *effect == Effect::Persist) {
            driver.save();
        }
        skep_keeper::fault::point("daemon", "restored");
        driver.carry_out_first(effects);
        driver.make_log_files();
        driver.settle();
        // What workers said to the daemon before, the core may not have heard: to hear it twice does no harm.
        let ids: Vec<WorkerId> = driver.workers.keys().copied().collect();
        for id in ids {
            driver.check_listening(id);
        }
        driver.begin_jobs(same_keeper, job_pipes);
        driver.sync_singletons();
        for signal in inventory.signals {
            driver.on_signal(signal);
        }
    }
    Ok(shared)
}

/// A state that cannot be read is not overwritten: everything that would change it is refused with the reason.
fn load(store: &Store) -> (Loaded, Option<ErrorBody>) {
    match store.load() {
        Ok(loaded) => (loaded, None),
        Err(error) => {
            let refusal = ErrorBody::new(ErrorCode::StorageFailed, error.to_string());
            (Loaded { state: None, warnings: vec![error.to_string()] }, Some(refusal))
        }
    }
}

fn flatten(specs: BTreeMap<AppId, BTreeMap<Revision, AppSpec>>) -> BTreeMap<(AppId, Revision), Rc<AppSpec>> {
    specs
        .into_iter()
        .flat_map(|(app, revisions)| {
            revisions.into_iter().map(move |(revision, spec)| ((app, revision), Rc::new(spec)))
        })
        .collect()
}

fn open_journal(stored: Option<Stored>) -> io::Result<(Journal, Option<Vec<u8>>, bool)> {
    match stored.and_then(|stored| stored.fds.into_iter().next()) {
        Some(fd) => {
            let (journal, snapshot) = Journal::adopt(fd)?;
            Ok((journal, snapshot, false))
        }
        None => Ok((Journal::create()?, None, true)),
    }
}

fn open_capture(stored: Option<Stored>) -> io::Result<(skep_logs::Capture, Option<skep_logs::Safe>)> {
    let zone = jiff::tz::TimeZone::system();
    if let Some([journal, stage_out, stage_in]) =
        stored.and_then(|stored| <[_; 3]>::try_from(stored.fds).ok())
    {
        match skep_logs::Capture::open(skep_logs::Safe { journal, stage_out, stage_in }, zone.clone()) {
            Ok(capture) => return Ok((capture, None)),
            Err(error) => crate::diary::note(format_args!("the log journal is begun anew: {error}")),
        }
    }
    let safe = skep_logs::Safe::create().map_err(io::Error::other)?;
    let copy = safe.try_clone().map_err(io::Error::other)?;
    Ok((skep_logs::Capture::open(safe, zone).map_err(io::Error::other)?, Some(copy)))
}

/// The preload in a directory. A full disk must not keep the daemon from looking after what runs: what cannot be written
/// now is written when a worker needs it, or that worker's start says why not.
fn preload_in(directory: &Path) -> std::path::PathBuf {
    write_preload(directory).unwrap_or_else(|error| {
        crate::diary::note(format_args!("{} cannot be written: {error}", directory.display()));
        directory.join(skep_node_ipc::PRELOAD_FILES[0].0)
    })
}

/// Writes the preload into a directory and answers the file to require.
///
/// # Errors
/// When the directory or one of the files cannot be written.
pub(crate) fn write_preload(directory: &Path) -> io::Result<std::path::PathBuf> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().mode(0o755).create(directory);
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    for (name, source) in skep_node_ipc::PRELOAD_FILES {
        let path = directory.join(name);
        if std::fs::read(&path).ok().as_deref() != Some(source.as_bytes()) {
            skep_sys::durable::replace(&path, source.as_bytes(), 0o644)?;
        }
    }
    Ok(directory.join(skep_node_ipc::PRELOAD_FILES[0].0))
}

/// Writes the preload where workers of other users can read it: only root starts such workers, and nobody else may
/// enter its home. `None` when there is no such place; those workers then go without.
fn preload_for_others() -> Option<std::path::PathBuf> {
    if !rustix::process::getuid().is_root() {
        return None;
    }
    let mut hash = crc32fast::Hasher::new();
    for (_, source) in skep_node_ipc::PRELOAD_FILES {
        hash.update(source.as_bytes());
    }
    // Named by its content, so that two versions of skep do not change each other's under a worker's feet.
    let directory = Path::new(SHARED_DIRECTORY).join(format!("skep-preload-{:08x}", hash.finalize()));
    match write_preload(&directory) {
        Ok(path) => Some(path),
        Err(error) => {
            crate::diary::note(format_args!("workers of other users go without the drain code: {error}"));
            None
        }
    }
}

fn seen(child: &crate::keeper::Child) -> Option<SeenWorker> {
    let identity: Identity = serde_json::from_slice(&child.note).ok()?;
    let (pid, exited) = match child.state {
        // What becomes of it will be told: until then it is as if it had just been asked for.
        ChildState::Starting => return None,
        ChildState::Running { pid, .. } => (pid as u32, None),
        ChildState::Exited { pid, status } => (pid as u32, Some(exit_status(status))),
        ChildState::Failed { .. } => (0, Some(ExitStatus::Unknown)),
    };
    Some(SeenWorker {
        worker: identity.worker,
        app: identity.app,
        slot: identity.slot,
        revision: identity.revision,
        pid,
        exited,
    })
}

/// The keeper's exit status in the core's words.
pub(crate) fn exit_status(status: skep_sys::wait::ExitStatus) -> ExitStatus {
    match status {
        skep_sys::wait::ExitStatus::Code(code) => ExitStatus::Code(code),
        skep_sys::wait::ExitStatus::Signal { signal, .. } => ExitStatus::Signal(signal),
        skep_sys::wait::ExitStatus::Unknown => ExitStatus::Unknown,
    }
}

impl Driver {
    pub(crate) fn keep_logs(&mut self, safe: &skep_logs::Safe) {
        use std::os::fd::AsFd;
        let fds = [safe.journal.as_fd(), safe.stage_out.as_fd(), safe.stage_in.as_fd()];
        self.ask_with(&Request::Store { key: LOGS_KEY.to_vec(), note: Vec::new() }, &fds);
    }

    /// Workers that the keeper has descriptors of: those that live, and those whose last lines are not written yet.
    fn take_back(
        &mut self,
        children: &[crate::keeper::Child],
        mut sorted: Sorted,
        asked_again: &BTreeSet<WorkerId>,
    ) {
        let known: BTreeMap<u64, &crate::keeper::Child> =
            children.iter().map(|child| (child.child, child)).collect();
        for (id, stored) in std::mem::take(&mut sorted.workers) {
            let progress = sorted.progress.remove(&id).unwrap_or_default();
            let child = known.get(&u64::from(id.0)).copied();
            if child.is_none() && asked_again.contains(&id) {
                // Its descriptors were made and its program was never ordered: it gets new ones.
                continue;
            }
            if let Err(error) = self.take_back_one(id, stored, progress, child) {
                crate::diary::note(format_args!("worker {id} could not be taken back whole: {error}"));
            }
        }
        self.take_back_connections(std::mem::take(&mut sorted.connections));
        let all: Vec<(AppId, SlotId)> =
            self.workers.values().map(|worker| (worker.app, worker.slot)).collect();
        for (app, slot) in all {
            self.refresh_live(app, slot);
        }
    }

    fn take_back_one(
        &mut self,
        id: WorkerId,
        stored: Stored,
        progress: Progressed,
        child: Option<&crate::keeper::Child>,
    ) -> io::Result<()> {
        let identity: Identity = serde_json::from_slice(&stored.note)?;
        let mut fds = stored.fds.into_iter();
        let missing = || io::Error::other("the keeper holds fewer descriptors than it was given");
        let lines = Lines::new(fds.next().ok_or_else(missing)?, fds.next().ok_or_else(missing)?);
        let spec = self.spec_of(identity.app, identity.revision);
        let mut worker = Worker::new(identity, spec, fds.next(), fds.next());
        let mut notify = None;
        match child.map(|child| child.state) {
            Some(ChildState::Running { pid, start_time }) => {
                worker.pid = Some(pid as u32);
                worker.start_time = start_time;
                notify = child
                    .and_then(|child| child.fds.first())
                    .map(std::os::fd::OwnedFd::try_clone)
                    .transpose()?;
            }
            Some(ChildState::Starting) => {}
            Some(ChildState::Exited { .. } | ChildState::Failed { .. }) | None => {
                worker.exited = true;
                worker.leaving = true;
            }
        }
        let ended = worker.exited;
        self.readopt(worker, lines, progress)?;
        if ended && !self.is_known(id) {
            // The core forgot it before its last lines were written: they are what is left to do.
            self.discard(id);
        }
        if let Some(notify) = notify {
            self.share_binds(id, notify);
            self.repeat_bind(id);
        }
        Ok(())
    }

    /// Whether the core still counts with this worker.
    fn is_known(&self, id: WorkerId) -> bool {
        self.fleet.apps().iter().flat_map(|app| &app.slots).any(|slot| {
            slot.worker.iter().chain(&slot.successor).chain(&slot.old).any(|worker| worker.id == id)
        })
    }

    fn spec_of(&self, app: AppId, revision: Revision) -> Rc<AppSpec> {
        self.specs
            .get(&(app, revision))
            .or_else(|| self.specs.iter().rev().find(|((of, _), _)| *of == app).map(|(_, spec)| spec))
            .cloned()
            .unwrap_or_default()
    }
}
