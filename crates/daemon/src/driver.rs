//! The driver: hands events to the core and carries out what it decides.
//!
//! One value, on one thread, behind one `RefCell`; tasks (one a descriptor) borrow it for the length of a synchronous
//! call and never across an await. It decides nothing: where a choice is made here, it belongs into the core.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::rc::{Rc, Weak};

use skep_api::ErrorBody;
use skep_core::{AppId, Effect, Effects, Event, Fleet, Now, OpId, Revision, SlotId, WorkerId};
use skep_keeper::wire::{Request, Scope};
use skep_keeper::{Link, fault};
use skep_spec::AppSpec;
use tokio::sync::Notify;

use crate::census::Census;
use crate::journal::{Journal, Written};
use crate::notices::{self, Hub, Registry};
use crate::ops::Ops;
use crate::passing::Passing;
use crate::patrol::Rounds;
use crate::ports::Ports;
use crate::shared_state::SharedState;
use crate::store::{State, Store};
use crate::traffic::Traffic;
use crate::triggers::Triggers;
use crate::worker::{Unwritten, Worker};

/// The key of the journal in the keeper's safe-box.
pub(crate) const JOURNAL_KEY: &[u8] = b"fleet";

/// The driver as tasks hold it.
pub(crate) type Shared = Rc<RefCell<Driver>>;

/// What does not change while the daemon lives.
#[derive(Debug)]
pub(crate) struct Site {
    /// The home directory.
    pub(crate) home: PathBuf,
    /// This executable.
    pub(crate) skep: PathBuf,
    /// The name of the user who runs the daemon.
    pub(crate) user: String,
    /// The drain code for Node.js workers.
    pub(crate) preload: PathBuf,
    /// The same, where workers of other users can read it.
    pub(crate) preload_for_others: Option<PathBuf>,
    /// Processors that this machine lets us use.
    pub(crate) processors: u32,
    /// The keeper's process.
    pub(crate) keeper_pid: i32,
    /// The version of the protocol that is spoken with it.
    pub(crate) keeper_version: u32,
    /// Which daemon of this keeper it is, from 1.
    pub(crate) generation: u64,
    /// The limit on open files that workers get, unless their app says otherwise.
    pub(crate) descriptor_limit: (u64, u64),
    /// When this daemon started (CLOCK_BOOTTIME).
    pub(crate) started: Now,
    /// Set for `skep run`: the daemon ends with its apps.
    pub(crate) foreground: bool,
}

/// All of the daemon's state.
pub(crate) struct Driver {
    pub(crate) site: Site,
    pub(crate) fleet: Fleet,
    pub(crate) specs: BTreeMap<(AppId, Revision), Rc<AppSpec>>,
    /// Slots that `skep resurrect` brings back.
    pub(crate) resume: Vec<SlotId>,
    pub(crate) store: Store,
    /// Why nothing can be stored, when the state on disk is not to be touched.
    pub(crate) store_refusal: Option<ErrorBody>,
    pub(crate) journal: Journal,
    pub(crate) link: Link,
    pub(crate) link_wake: Rc<Notify>,
    pub(crate) workers: BTreeMap<WorkerId, Worker>,
    pub(crate) ports: Ports,
    pub(crate) rounds: Rounds,
    pub(crate) traffic: Traffic,
    pub(crate) passing: Passing,
    pub(crate) shared_state: SharedState,
    pub(crate) door: crate::door::Door,
    pub(crate) triggers: Triggers,
    pub(crate) board: crate::jobs::Board,
    pub(crate) hosts: crate::hosts::Hosts,
    pub(crate) vitals_wake: Rc<Notify>,
    pub(crate) listening: crate::metrics::listen::Listening,
    pub(crate) capture: skep_logs::Capture,
    /// Rotation of logs whose app says nothing of it.
    pub(crate) log_rotation: skep_spec::Rotation,
    pub(crate) capture_wake: Rc<Notify>,
    /// Workers that are gone with lines still to be written, and in how many streams.
    pub(crate) unwritten: BTreeMap<WorkerId, Unwritten>,
    /// Log files that are to be made as soon as nothing more pressing is to be done.
    pub(crate) unmade: Vec<skep_logs::FileSpec>,
    pub(crate) spares: crate::ready::Spares,
    /// Who runs, on disk.
    pub(crate) census: Census,
    pub(crate) hub: Hub,
    registry: Registry,
    pub(crate) asked: crate::pm2::Asked,
    pub(crate) ops: Ops,
    pub(crate) deadline_wake: Rc<Notify>,
    /// Events that came up while effects were carried out; handled before anything else.
    pub(crate) queue: VecDeque<Event>,
    handling: bool,
    /// The disk is behind the core: the next persist failed and is tried again with the next change.
    unsaved: bool,
    /// In the foreground: the apps have been added, and all ends with them.
    pub(crate) begun: bool,
    /// The keeper has been told to end; nothing is started any more.
    pub(crate) ending: bool,
    /// The command whose end is the daemon's.
    pub(crate) ending_op: Option<OpId>,
    pub(crate) end: Rc<Notify>,
    pub(crate) rest: Rc<crate::rest::Rest>,
    /// Who waits for an upgrade under way.
    pub(crate) upgrading: Option<tokio::sync::oneshot::Sender<Result<(), String>>>,
    /// The keeper has a newer daemon to start.
    pub(crate) replaced: Rc<Notify>,
    /// Whoever connects from then on is the next daemon's client.
    pub(crate) leaving: Rc<Notify>,
    /// Where channels are read into, one for all.
    pub(crate) window: Vec<u8>,
    pub(crate) me: Weak<RefCell<Driver>>,
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("site", &self.site).finish_non_exhaustive()
    }
}

/// What a driver is made of at the start.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) site: Site,
    pub(crate) fleet: Fleet,
    pub(crate) specs: BTreeMap<(AppId, Revision), Rc<AppSpec>>,
    pub(crate) resume: Vec<SlotId>,
    pub(crate) store: Store,
    pub(crate) store_refusal: Option<ErrorBody>,
    pub(crate) journal: Journal,
    pub(crate) link: Link,
    pub(crate) ports: Ports,
    pub(crate) capture: skep_logs::Capture,
}

/// The edge's clock, in the core's type.
pub(crate) fn now() -> Now {
    Now(skep_sys::clock::boottime_ns())
}

/// The time of day, for people.
pub(crate) fn unix_ms() -> u64 {
    skep_sys::clock::wall_ns() / 1_000_000
}

/// Both clocks, for log lines.
pub(crate) fn moment() -> skep_logs::Moment {
    skep_logs::Moment {
        boot_ns: skep_sys::clock::boottime_ns(),
        unix_ns: i64::try_from(skep_sys::clock::wall_ns()).unwrap_or(i64::MAX),
    }
}

impl Driver {
    pub(crate) fn new(parts: Parts) -> Shared {
        Rc::new_cyclic(|me| {
            RefCell::new(Driver {
                ops: Ops::new(parts.site.generation),
                census: Census::at(&parts.site.home, parts.site.foreground),
                log_rotation: crate::settings::rotation(&parts.site.home),
                site: parts.site,
                fleet: parts.fleet,
                specs: parts.specs,
                resume: parts.resume,
                store: parts.store,
                store_refusal: parts.store_refusal,
                journal: parts.journal,
                link: parts.link,
                link_wake: Rc::new(Notify::new()),
                workers: BTreeMap::new(),
                ports: parts.ports,
                rounds: Rounds::new(),
                traffic: Traffic::default(),
                passing: Passing::default(),
                shared_state: SharedState::default(),
                door: crate::door::Door::default(),
                triggers: Triggers::default(),
                board: crate::jobs::Board::default(),
                hosts: crate::hosts::Hosts::default(),
                vitals_wake: Rc::new(Notify::new()),
                listening: crate::metrics::listen::Listening::default(),
                capture: parts.capture,
                capture_wake: Rc::new(Notify::new()),
                unwritten: BTreeMap::new(),
                unmade: Vec::new(),
                spares: crate::ready::Spares::default(),
                hub: Hub::new(),
                registry: Registry::default(),
                asked: crate::pm2::Asked::default(),
                deadline_wake: Rc::new(Notify::new()),
                queue: VecDeque::new(),
                handling: false,
                unsaved: false,
                begun: false,
                ending: false,
                ending_op: None,
                end: Rc::new(Notify::new()),
                rest: Rc::default(),
                upgrading: None,
                replaced: Rc::new(Notify::new()),
                leaving: Rc::new(Notify::new()),
                window: Vec::new(),
                me: me.clone(),
            })
        })
    }

    /// Hands an event to the core and carries out what follows. Events that come up on the way wait their turn.
    pub(crate) fn handle(&mut self, event: Event) {
        self.queue.push_back(event);
        if self.handling {
            return;
        }
        self.handling = true;
        while let Some(event) = self.queue.pop_front() {
            let mut effects = Effects::new();
            self.fleet.handle(now(), event, &mut effects);
            if effects.iter().any(|effect| *effect == Effect::Persist) || self.unsaved {
                self.save();
            }
            self.carry_out(effects);
        }
        self.handling = false;
        self.make_log_files();
        self.deadline_wake.notify_one();
        self.rest.disturb();
        self.sync_jobs();
        self.sync_singletons();
        self.check_foreground();
    }

    /// Tries commands on a copy of the fleet; they count once the disk has them. All or none.
    ///
    /// # Errors
    /// `StorageFailed` when the wish cannot be made durable (a stop is carried out all the same: a full disk must
    /// not keep a program running).
    pub(crate) fn command(&mut self, commands: Vec<(OpId, skep_core::Command)>) -> Result<(), ErrorBody> {
        let may_go_unsaved = commands.iter().all(|(_, command)| {
            matches!(command, skep_core::Command::Stop { .. } | skep_core::Command::Shutdown)
        });
        let mut next = self.fleet.clone();
        let mut effects = Effects::new();
        next.handle_commands(now(), commands, &mut effects);
        let changes = effects.iter().any(|effect| *effect == Effect::Persist);
        if changes {
            match self.save_as(&next) {
                Ok(()) => self.unsaved = false,
                Err(_) if may_go_unsaved => self.unsaved = true,
                Err(error) => return Err(error),
            }
        }
        self.fleet = next;
        self.carry_out_first(effects);
        if changes && !self.unsaved {
            // While the keeper starts what it was told to, and before anybody is answered.
            self.settle_saved();
        }
        self.make_log_files();
        self.drain_queue();
        self.deadline_wake.notify_one();
        self.sync_jobs();
        self.sync_singletons();
        Ok(())
    }

    fn drain_queue(&mut self) {
        if let Some(event) = self.queue.pop_front() {
            self.handle(event);
        }
    }

    /// Carries out effects before any event that comes up on the way, which waits for the next [`Driver::handle`].
    pub(crate) fn carry_out_first(&mut self, effects: Effects) {
        self.handling = true;
        self.carry_out(effects);
        self.handling = false;
    }

    /// Carries out effects in order, after the journal knows the decision behind them.
    fn carry_out(&mut self, effects: Effects) {
        // Without an effect too: an early `ready`, say, changes only what comes later.
        self.write_journal();
        fault::point("daemon", "decided");
        for effect in effects {
            self.carry_out_one(effect);
            fault::point("daemon", "effect");
        }
    }

    fn carry_out_one(&mut self, effect: Effect) {
        match effect {
            // Written before, with the decision that it belongs to.
            Effect::Persist => {}
            Effect::Spawn { worker, app, slot, index, revision, replaces } => {
                self.spawn(crate::spawn::Order { worker, app, slot, index, revision, replaces });
            }
            Effect::Drain { worker, successor, leave } => self.drain(worker, successor, leave),
            Effect::Probe { worker, kind, question } => self.probe(worker, kind, question),
            Effect::Attend { worker, ready } => self.attend_to(worker, ready),
            Effect::Signal { worker, signal, tree } => self.signal(worker, signal, tree),
            Effect::Discard { worker } => self.discard(worker),
            Effect::CloseSlot { app, slot } => self.close_slot(app, slot),
            Effect::CloseApp { app } => self.close_app(app),
            Effect::Notice(notice) => self.notice(&notice),
            Effect::OpDone { op, outcome } => self.op_done(op, outcome),
        }
    }

    /// Sends a signal, by the keeper, who alone knows that the process is still the worker.
    pub(crate) fn signal(&mut self, worker: WorkerId, signal: i32, tree: bool) {
        if signal != skep_core::SIGKILL && self.stop_by_message(worker) {
            return;
        }
        let scope = if tree { Scope::Tree } else { Scope::Process };
        self.ask(&Request::Signal { child: u64::from(worker.0), signal, scope });
    }

    /// Sends the keeper a request without descriptors. A keeper that does not read is noticed by the link's task.
    pub(crate) fn ask(&mut self, request: &Request) {
        self.ask_with(request, &[]);
    }

    /// Sends the keeper a request with descriptors.
    pub(crate) fn ask_with(&mut self, request: &Request, fds: &[std::os::fd::BorrowedFd<'_>]) {
        if let Err(error) = self.link.send(request, fds) {
            crate::diary::note(format_args!("the keeper did not take a request: {error}"));
        }
        self.link_wake.notify_one();
    }

    fn write_journal(&mut self) {
        let bytes = serde_json::to_vec(&self.fleet).expect("plain data with string keys is always JSON");
        match self.journal.write(&bytes) {
            Ok(Written::InPlace) => {}
            Ok(Written::Moved) => self.keep_journal(),
            // Memory for a memfd is missing: a daemon that is killed now falls back to the disk and the inventory.
            Err(error) => crate::diary::note(format_args!("cannot write the fleet's journal: {error}")),
        }
    }

    /// Gives the keeper the journal's descriptor.
    pub(crate) fn keep_journal(&mut self) {
        let request = Request::Store { key: JOURNAL_KEY.to_vec(), note: Vec::new() };
        use std::os::fd::AsFd;
        if let Err(error) = self.link.send(&request, &[self.journal.as_fd()]) {
            crate::diary::note(format_args!("the keeper did not take the journal: {error}"));
        }
        self.link_wake.notify_one();
    }

    pub(crate) fn save(&mut self) {
        let fleet = self.fleet.clone();
        match self.save_as(&fleet) {
            Ok(()) => {
                self.unsaved = false;
                self.settle_saved();
            }
            Err(error) => {
                self.unsaved = true;
                crate::diary::note(format_args!("{error}"));
            }
        }
    }

    /// What was saved survives a power cut from here on; if the disk says that it cannot tell, it is saved once more
    /// with the next event.
    fn settle_saved(&mut self) {
        if let Err(error) = self.store.settle() {
            self.unsaved = true;
            crate::diary::note(format_args!("{error}"));
        }
    }

    fn save_as(&mut self, fleet: &Fleet) -> Result<(), ErrorBody> {
        self.triggers.look_again();
        if let Some(refusal) = &self.store_refusal {
            return Err(refusal.clone());
        }
        let desired = fleet.desired();
        let needed: BTreeSet<(AppId, Revision)> = desired.revisions().chain(self.live_revisions()).collect();
        let mut specs: BTreeMap<AppId, BTreeMap<Revision, AppSpec>> = BTreeMap::new();
        for key in needed {
            if let Some(spec) = self.specs.get(&key) {
                specs.entry(key.0).or_default().insert(key.1, AppSpec::clone(spec));
            }
        }
        let saved = self.store.save(&State::new(desired, specs, self.resume.clone())).map_err(|error| {
            ErrorBody::new(skep_api::ErrorCode::StorageFailed, error.to_string()).with_hint(
                "nothing was changed; make room on the disk or fix the permissions, then try again",
            )
        });
        fault::point("daemon", "saved");
        saved
    }

    fn live_revisions(&self) -> impl Iterator<Item = (AppId, Revision)> + '_ {
        self.workers.values().map(|worker| (worker.app, worker.revision))
    }

    /// Forgets the specs that no slot and no worker needs any more.
    pub(crate) fn forget_specs(&mut self) {
        let needed: BTreeSet<_> = self.fleet.desired().revisions().chain(self.live_revisions()).collect();
        self.specs.retain(|key, _| needed.contains(key));
    }

    fn notice(&mut self, notice: &skep_core::Notice) {
        if let skep_core::Notice::Launched { op } = notice {
            self.ops.launched(*op);
            return;
        }
        let event =
            notices::event(notice, unix_ms(), |app, slot| self.registry.names(&self.fleet, app, slot));
        if let (Some(mut event), Some(app)) = (event, notice.app()) {
            if let (skep_core::Notice::GaveUp { .. }, Some(why)) = (notice, self.ports.troubles.get(&app)) {
                event.message += &format!("; it cannot listen: {why}");
                event.reason = Some(why.clone());
            }
            let event = self.hub.publish(event);
            self.ops.notice(app, &event);
        }
        if let skep_core::Notice::AppDeleted { app } = notice {
            self.registry.forget(*app);
            self.ports.troubles.remove(app);
        }
    }

    fn op_done(&mut self, op: OpId, outcome: skep_core::Outcome) {
        self.ops.done(op, outcome);
        if self.ending_op == Some(op) {
            self.end.notify_one();
        }
    }

    /// Publishes an event that does not come from the core.
    pub(crate) fn tell(&mut self, kind: skep_api::EventKind, app: Option<AppId>, message: String) {
        let event = skep_api::Event::new(0, unix_ms(), kind, String::new());
        self.publish(event, app, None, |_| message);
    }

    /// Publishes an event of an app or of one of its slots, with a sentence about `web` or `web:0`.
    pub(crate) fn publish(
        &mut self,
        mut event: skep_api::Event,
        app: Option<AppId>,
        slot: Option<SlotId>,
        say: impl FnOnce(&str) -> String,
    ) {
        let mut place = String::new();
        if let Some(app) = app {
            let names = self.registry.names(&self.fleet, app, slot);
            place = names.place();
            event.app = Some(names.app);
            event.namespace = Some(names.namespace);
            event.slot = slot.map(|slot| slot.0);
            event.index = names.index;
        }
        event.message = say(&place);
        let event = self.hub.publish(event);
        if let Some(app) = app {
            self.ops.notice(app, &event);
        }
    }
}
