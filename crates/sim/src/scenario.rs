//! One story, told so that it can be read: an app, what its processes are like, what happens, what can be seen.

use crate::process::Behaviour;
use crate::wire::Manners;
use crate::witness::{Violation, workers};
use crate::world::{Memory, World};
use skep_core::{
    AppId, AppView, Cause, Command, Effect, ExitStatus, Leave, OpId, Outcome, Permit, PhaseName, Policy,
    Revision, SlotId, SlotView, Span, Status, UpdateHow, WorkerId, WorkerView,
};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// What the processes of a story are like.
#[derive(Debug, Default)]
struct Script {
    next: VecDeque<Behaviour>,
    revisions: BTreeMap<Revision, Behaviour>,
}

/// A story about one app (and others, if it creates them). A broken promise panics with all that happened.
#[derive(Debug)]
pub struct Scenario {
    /// The machine, for what this language has no word for.
    pub world: World,
    /// The app that the story is about.
    pub app: AppId,
    /// The command that created it.
    pub created: OpId,
    policy: Policy,
    script: Rc<RefCell<Script>>,
}

// === impl Scenario ===

impl Scenario {
    /// A machine without apps whose processes are healthy until told otherwise.
    #[must_use]
    pub fn empty() -> Self {
        let script: Rc<RefCell<Script>> = Rc::default();
        let cast = Rc::clone(&script);
        let mut world = World::new(
            1,
            Manners::Orderly,
            Box::new(move |revision, _, _| {
                let mut script = cast.borrow_mut();
                let planned = script.next.pop_front();
                planned.or_else(|| script.revisions.get(&revision).cloned()).unwrap_or_default()
            }),
        );
        world.record();
        Self { world, app: AppId(1), created: OpId(1), policy: Policy::default(), script }
    }

    /// An app of `instances` under `policy`, revision 1, just created.
    #[must_use]
    pub fn app(instances: u32, policy: Policy) -> Self {
        Self::empty().with_app(instances, policy)
    }

    /// The same, all of it ready.
    #[must_use]
    pub fn ready(instances: u32, policy: Policy) -> Self {
        let mut it = Self::app(instances, policy);
        it.run(500);
        it
    }

    /// Creates the app of the story.
    #[must_use]
    pub fn with_app(mut self, instances: u32, policy: Policy) -> Self {
        self.policy = policy;
        self.created = self.create("web", instances);
        self
    }

    /// Creates an app.
    pub fn create(&mut self, name: &str, instances: u32) -> OpId {
        let policy = self.policy.clone();
        let (name, namespace, revision) = (name.to_owned(), "default".to_owned(), Revision(1));
        self.command(Command::Create { name, namespace, policy, instances, revision, up: true })
    }

    /// Processes of this revision behave like this.
    #[must_use]
    pub fn revision(self, revision: u32, behaviour: Behaviour) -> Self {
        self.script.borrow_mut().revisions.insert(Revision(revision), behaviour);
        self
    }

    /// The next process that is spawned behaves like this (then the one after it, and so on).
    pub fn next(&mut self, behaviour: Behaviour) -> &mut Self {
        self.script.borrow_mut().next.push_back(behaviour);
        self
    }

    fn checked<T>(&self, result: Result<T, Violation>) -> T {
        match result {
            Ok(value) => value,
            Err(Violation(words)) => panic!("{words}\n{}", self.world.trace().join("\n")),
        }
    }

    /// A command.
    pub fn command(&mut self, command: Command) -> OpId {
        let result = self.world.command(command);
        self.checked(result)
    }

    /// Whether the app, of which there may be only one, may run here.
    pub fn permit(&mut self, permit: Permit) -> &mut Self {
        let result = self.world.permit(self.app, permit);
        self.checked(result);
        self
    }

    /// Milliseconds pass.
    pub fn run(&mut self, ms: u64) -> &mut Self {
        let result = self.world.run(Span::from_millis(ms));
        self.checked(result);
        self
    }

    /// The whole app starts.
    pub fn start(&mut self) -> OpId {
        self.command(Command::Start { target: self.app.into() })
    }

    /// The whole app stops.
    pub fn stop(&mut self) -> OpId {
        self.command(Command::Stop { target: self.app.into() })
    }

    /// The whole app restarts in place.
    pub fn restart(&mut self) -> OpId {
        self.command(Command::Restart { target: self.app.into(), cause: Cause::User })
    }

    /// The whole app is reloaded.
    pub fn reload(&mut self) -> OpId {
        self.command(Command::Reload { target: self.app.into(), cause: Cause::User })
    }

    /// The whole app is deleted.
    pub fn delete(&mut self) -> OpId {
        self.command(Command::Delete { target: self.app.into() })
    }

    /// So many instances.
    pub fn scale(&mut self, instances: u32) -> OpId {
        self.command(Command::Scale { app: self.app, instances })
    }

    /// A new specification, the policy and the number of slots unchanged.
    pub fn update(&mut self, revision: u32, how: UpdateHow) -> OpId {
        let instances = self.view().slots.iter().filter(|slot| !slot.leaving).count();
        let instances = u32::try_from(instances).expect("a story has few slots");
        let (policy, revision) = (self.policy.clone(), Revision(revision));
        self.command(Command::Update {
            app: self.app,
            name: None,
            namespace: None,
            policy,
            instances,
            revision,
            how,
        })
    }

    /// The current worker of the slot with this index ends by itself.
    pub fn crash_slot(&mut self, index: u32, code: i32) -> &mut Self {
        let worker =
            self.slot(index).worker.map(|worker| worker.id).expect("the story says that somebody is there");
        self.crash_worker(worker, code)
    }

    /// This worker ends by itself.
    pub fn crash_worker(&mut self, worker: WorkerId, code: i32) -> &mut Self {
        self.world.kill(worker, ExitStatus::Code(code));
        self.run(2)
    }

    /// The daemon is killed now and restored.
    pub fn kill_daemon(&mut self, memory: Memory) -> &mut Self {
        self.world.memory = memory;
        let result = self.world.crash(None);
        self.checked(result);
        self
    }

    /// Only the disk is left.
    pub fn reboot(&mut self) -> &mut Self {
        let result = self.world.reboot();
        self.checked(result);
        self
    }

    /// The app as it is.
    #[must_use]
    pub fn view(&self) -> AppView {
        self.world.fleet.app(self.app).expect("the story's app exists")
    }

    /// The slot with this index.
    #[must_use]
    pub fn slot(&self, index: u32) -> SlotView {
        self.view().slots.into_iter().find(|slot| slot.index == index).expect("the story has such a slot")
    }

    /// The slot's number.
    #[must_use]
    pub fn slot_id(&self, index: u32) -> SlotId {
        self.slot(index).id
    }

    /// How a command ended.
    #[must_use]
    pub fn outcome(&self, op: OpId) -> Option<&Outcome> {
        self.world.witness.outcome(op)
    }

    /// The command has ended well.
    #[track_caller]
    pub fn done(&self, op: OpId) {
        assert_eq!(self.outcome(op), Some(&Outcome::Done), "\n{}", self.world.trace().join("\n"));
    }

    /// The app as one line: a word a slot, as in `online#3` (worker 3), `online#1>launching#3` (3 is to follow 1),
    /// `online#3 (draining#1)` (1 still ends), `stopped`, `errored`, `waiting restart`.
    #[must_use]
    pub fn line(&self) -> String {
        let words: Vec<String> = self.view().slots.iter().map(word).collect();
        words.join(", ")
    }

    /// The app looks like this line.
    #[track_caller]
    pub fn shows(&mut self, line: &str) -> &mut Self {
        assert_eq!(self.line(), line, "\n{}", self.world.trace().join("\n"));
        self
    }

    /// The spawns, signals and drains so far, in short: `spawn 1`, `signal 1 2`, `drain 1 for 2`.
    #[must_use]
    pub fn deeds(&self, effects: &[Effect]) -> Vec<String> {
        effects.iter().filter_map(deed).collect()
    }
}

fn deed(effect: &Effect) -> Option<String> {
    match effect {
        Effect::Spawn { worker, .. } => Some(format!("spawn {worker}")),
        Effect::Signal { worker, signal, .. } => Some(format!("signal {worker} {signal}")),
        Effect::Drain { worker, leave: Leave::Stopped, .. } => Some(format!("finish {worker}")),
        Effect::Drain { worker, successor: Some(next), .. } => Some(format!("drain {worker} for {next}")),
        Effect::Drain { worker, successor: None, .. } => Some(format!("drain {worker}")),
        Effect::CloseSlot { slot, .. } => Some(format!("close slot {slot}")),
        Effect::CloseApp { app } => Some(format!("close app {app}")),
        Effect::Probe { .. }
        | Effect::Attend { .. }
        | Effect::Persist
        | Effect::Discard { .. }
        | Effect::Notice(_)
        | Effect::OpDone { .. } => None,
    }
}

fn word(slot: &SlotView) -> String {
    let current = slot.worker.as_ref().map_or_else(|| slot.status.to_string(), phase);
    let successor = slot.successor.as_ref().map(|worker| format!(">{}", phase(worker))).unwrap_or_default();
    debug_assert!(workers(slot).count() >= slot.old.len());
    let old: Vec<String> = slot.old.iter().map(phase).collect();
    let old = if old.is_empty() { String::new() } else { format!(" ({})", old.join(" ")) };
    format!("{current}{successor}{old}")
}

fn phase(worker: &WorkerView) -> String {
    let word = match worker.phase {
        PhaseName::Spawning => "spawning".to_owned(),
        PhaseName::Starting => Status::Launching.to_string(),
        PhaseName::Ready => Status::Online.to_string(),
        PhaseName::Draining => "draining".to_owned(),
        PhaseName::Stopping => Status::Stopping.to_string(),
    };
    format!("{word}#{}", worker.id)
}
