//! A machine in simulated time: a fake kernel, a wire, a disk, and the core driven as the daemon drives it.

use crate::dice::Dice;
use crate::kernel::Kernel;
use crate::process::Behaviour;
use crate::sights::Sights;
use crate::wire::{Manners, Wire};
use crate::witness::{Checked, Violation, Witness, promise, workers};
use skep_core::{
    AppId, Command, Desired, Effect, Effects, Event, ExitStatus, Fleet, Now, OpId, Permit, Revision,
    Snapshot, Span, WorkerId,
};

/// More ticks than this at one moment: the machine runs in circles.
const TICKS_AT_ONCE_MAX: u32 = 8;

/// What a worker of a revision is like; asked once for each process.
pub type Cast = Box<dyn FnMut(Revision, WorkerId, &mut Dice) -> Behaviour>;

/// What the daemon's successor finds in the keeper's safe-box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// The last snapshot.
    Snapshot,
    /// Nothing that it can read.
    Nothing,
}

/// The whole machine.
pub struct World {
    /// What time it is.
    pub now: Now,
    /// The processes.
    pub kernel: Kernel,
    /// The core.
    pub fleet: Fleet,
    /// The judge.
    pub witness: Witness,
    /// Chance for everything but the core.
    pub dice: Dice,
    /// The daemon is killed after so many more steps of carrying out.
    pub die_in: Option<u32>,
    /// What has been seen to happen.
    pub sights: Sights,
    /// So many of a hundred writes to disk fail.
    pub disk_fails: u64,
    /// What the successor finds after the next death.
    pub memory: Memory,
    /// How the wire was before the calm.
    manners: Manners,
    wire: Wire,
    cast: Cast,
    disk: Desired,
    /// An event's write failed: the disk lacks something.
    unsaved: bool,
    safe: Snapshot,
    ops: u64,
    ticks: (Now, u32),
    /// One line for everything that happened, if anybody wants to read it.
    trace: Option<Vec<String>>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("now", &self.now).field("fleet", &self.fleet).finish_non_exhaustive()
    }
}

// === impl World ===

impl World {
    /// An empty machine.
    #[must_use]
    pub fn new(seed: u64, manners: Manners, cast: Cast) -> Self {
        let fleet = Fleet::new(seed);
        Self {
            now: Now(1_000_000_000),
            kernel: Kernel::default(),
            safe: fleet.snapshot(),
            disk: fleet.desired(),
            fleet,
            witness: Witness::default(),
            dice: Dice::new(seed ^ 0x5eed),
            die_in: None,
            sights: Sights::default(),
            disk_fails: 0,
            memory: Memory::Snapshot,
            manners,
            wire: Wire::new(manners),
            cast,
            unsaved: false,
            ops: 0,
            ticks: (Now(0), 0),
            trace: None,
        }
    }

    /// Writes down what happens from now on.
    pub fn record(&mut self) {
        self.trace = Some(Vec::new());
    }

    /// What happened since [`World::record`].
    pub fn trace(&self) -> &[String] {
        self.trace.as_deref().unwrap_or_default()
    }

    /// Adds a line to the record.
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let ms = self.now.0 / 1_000_000;
            trace.push(format!("{ms:>8} ms  {}", line()));
        }
    }

    /// A user asks for something.
    pub fn command(&mut self, command: Command) -> Result<OpId, Violation> {
        self.ops += 1;
        let op = OpId(self.ops);
        self.feed(Event::Command { op, command })?;
        Ok(op)
    }

    /// Whether an app of which there may be only one may run here.
    pub fn permit(&mut self, app: AppId, permit: Permit) -> Checked {
        self.feed(Event::Permit { app, permit })
    }

    /// The keeper tells everything, at this very moment.
    pub fn see(&mut self) -> Checked {
        let inventory = self.kernel.inventory();
        self.feed(Event::Seen(inventory))
    }

    /// A process ends out of turn.
    pub fn kill(&mut self, worker: WorkerId, status: ExitStatus) {
        self.note(|| format!("worker {worker} is killed"));
        if let Some(event) = self.kernel.kill(worker, status) {
            self.wire.send(self.now, event, &mut self.dice);
        }
    }

    /// Time passes in the kernel while the daemon sleeps.
    pub fn stall(&mut self, span: Span) {
        self.now = self.now + span;
        self.note(|| format!("the daemon slept for {span}"));
    }

    /// Lets everything run until that moment.
    pub fn run(&mut self, span: Span) -> Checked {
        let until = self.now + span;
        while let Some(at) = self.next_moment().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.step()?;
        }
        self.now = self.now.max(until);
        Ok(())
    }

    /// Lets everything run until nothing moves any more, at most for so long. False if it still does.
    pub fn run_until_quiet(&mut self, most: Span) -> Result<bool, Violation> {
        let until = self.now + most;
        loop {
            match self.next_moment() {
                None => return Ok(true),
                Some(at) if at > until => return Ok(false),
                Some(at) => {
                    self.now = self.now.max(at);
                    self.step()?;
                }
            }
        }
    }

    /// Somebody is asked again and again, for ever.
    #[must_use]
    pub fn asks(&self) -> bool {
        let rules = self.fleet.desired().apps.into_iter().map(|app| app.policy);
        rules.into_iter().any(|rule| rule.readiness.is_some() || rule.liveness.is_some())
    }

    fn next_moment(&self) -> Option<Now> {
        [self.kernel.next(), self.wire.next(), self.fleet.next_deadline()].into_iter().flatten().min()
    }

    /// One thing: what the kernel does, else what has arrived, else a tick.
    fn step(&mut self) -> Checked {
        for event in self.kernel.advance(self.now) {
            self.wire.send(self.now, event, &mut self.dice);
        }
        if let Some(event) = self.wire.receive(self.now) {
            return self.feed(event);
        }
        if self.fleet.next_deadline().is_none_or(|at| at > self.now) {
            return Ok(());
        }
        self.ticks = if self.ticks.0 == self.now { (self.now, self.ticks.1 + 1) } else { (self.now, 0) };
        promise!(self.ticks.1 <= TICKS_AT_ONCE_MAX, "{} ticks at one moment", self.ticks.1);
        self.feed(Event::Tick)
    }

    /// One turn of the daemon: decide, write to disk, store the snapshot, carry out. It may die after each step.
    fn feed(&mut self, event: Event) -> Checked {
        self.note(|| format!("> {event:?}"));
        let (mut next, mut fx) = (self.fleet.clone(), Effects::new());
        next.handle(self.now, event.clone(), &mut fx);
        self.witness.judge(&self.fleet, &next, self.now, &event, &fx)?;
        let persist = fx.iter().next() == Some(&Effect::Persist);
        if persist || self.unsaved {
            self.unsaved = self.dice.percent(self.disk_fails);
            if !self.unsaved {
                self.disk = next.desired();
            } else if persist && matches!(event, Event::Command { .. }) {
                self.note(|| "the disk is full: the command is dropped".to_owned());
                return Ok(());
            }
            if self.dies() {
                return self.crash(Some(event));
            }
        }
        self.witness.commit(&self.fleet, &next, &event, &fx)?;
        self.fleet = next;
        self.safe = self.fleet.snapshot();
        self.carry_out(fx, Some(event))
    }

    fn carry_out(&mut self, fx: Effects, event: Option<Event>) -> Checked {
        for effect in fx {
            if self.dies() {
                return self.crash(event);
            }
            self.note(|| format!("    {effect:?}"));
            self.sights.note(&effect);
            match &effect {
                Effect::Spawn { worker, revision, .. } => {
                    let (cast, dice) = (&mut self.cast, &mut self.dice);
                    let answers = self.kernel.spawn(self.now, &effect, || cast(*revision, *worker, dice));
                    for answer in answers {
                        self.wire.send(self.now, answer, &mut self.dice);
                    }
                    self.check_crowd()?;
                }
                Effect::Drain { worker, leave, .. } => self.kernel.drain(self.now, *worker, *leave),
                Effect::Signal { worker, signal, .. } => self.kernel.signal(self.now, *worker, *signal),
                Effect::Probe { worker, kind, question } => {
                    self.kernel.probe(self.now, *worker, *kind, *question);
                }
                Effect::Discard { worker } => self.kernel.discard(*worker),
                Effect::Persist
                | Effect::Attend { .. }
                | Effect::CloseSlot { .. }
                | Effect::CloseApp { .. }
                | Effect::Notice(_)
                | Effect::OpDone { .. } => {}
            }
        }
        Ok(())
    }

    /// Never more processes than instances (those on their way out included) and surge. On a hostile wire the core may
    /// take a living process for a dead one until the keeper tells it better.
    fn check_crowd(&self) -> Checked {
        if self.manners == Manners::Hostile {
            return Ok(());
        }
        for app in self.fleet.apps() {
            let known = |slot| app.slots.iter().any(|known| known.id == slot);
            let live = self.kernel.living().filter(|(_, of, slot)| *of == app.id && known(*slot)).count();
            let most = app.slots.len() + self.witness.surge(&self.fleet, app.id);
            promise!(live <= most, "{live} processes of app {} live, allowed are {most}", app.id);
        }
        Ok(())
    }

    fn dies(&mut self) -> bool {
        match &mut self.die_in {
            Some(0) => {
                self.die_in = None;
                true
            }
            Some(steps) => {
                *steps -= 1;
                false
            }
            None => false,
        }
    }

    /// The daemon is killed; its successor takes over at once.
    pub fn crash(&mut self, reading: Option<Event>) -> Checked {
        let memory = std::mem::replace(&mut self.memory, Memory::Snapshot);
        self.note(|| format!("the daemon is killed; its successor finds: {memory:?}"));
        self.wire.cut(self.now, reading);
        let snapshot = match memory {
            Memory::Snapshot => Some(self.safe.clone()),
            Memory::Nothing => None,
        };
        self.witness.doubles |= memory == Memory::Nothing && self.manners == Manners::Hostile;
        let mut fx = Effects::new();
        let (seed, inventory) = (self.dice.roll(), self.kernel.inventory());
        self.fleet = Fleet::restore(self.disk.clone(), snapshot, inventory, self.now, seed, &mut fx);
        self.witness.restored(&self.fleet, memory == Memory::Snapshot, &fx)?;
        self.disk = self.fleet.desired();
        self.unsaved = false;
        self.safe = self.fleet.snapshot();
        self.carry_out(fx, None)
    }

    /// The whole machine restarts: only the disk is left.
    pub fn reboot(&mut self) -> Checked {
        self.note(|| "the machine reboots".to_owned());
        self.kernel.reboot();
        self.wire.cut(self.now, None);
        self.memory = Memory::Nothing;
        self.crash(None)
    }

    /// From now on nothing is lost, nobody dies, the disk works, and every process that starts is healthy.
    pub fn calm(&mut self) -> Checked {
        self.note(|| "calm".to_owned());
        self.wire.calm();
        self.kernel.pacify(self.now);
        self.cast = Box::new(|_, _, _| Behaviour::healthy());
        self.disk_fails = 0;
        self.die_in = None;
        self.see()
    }

    /// [`World::check_restore`] where beliefs cannot be wrong.
    pub fn check_restore_if_orderly(&self) -> Checked {
        match self.manners {
            Manners::Orderly => self.check_restore(),
            Manners::Hostile => Ok(()),
        }
    }

    /// Restores a copy from the snapshot, through its serialized form, and compares it with the original: whoever is
    /// the same now does the same for ever. Only where the keeper has nothing to tell that the core does not know.
    pub fn check_restore(&self) -> Checked {
        let known = |worker| {
            self.fleet.apps().iter().flat_map(|app| &app.slots).flat_map(workers).any(|w| w.id == worker)
        };
        if !self.wire.keeper_is_quiet() || self.kernel.living().any(|(worker, ..)| !known(worker)) {
            return Ok(());
        }
        let json = serde_json::to_string(&self.fleet.snapshot()).expect("a snapshot is plain data");
        let snapshot = serde_json::from_str(&json).expect("what was written can be read");
        let mut fx = Effects::new();
        let (disk, inventory) = (self.disk.clone(), self.kernel.inventory());
        let restored = Fleet::restore(disk, Some(snapshot), inventory, self.now, !0, &mut fx);
        promise!(restored == self.fleet, "restored is not the original:\n{restored:?}\n{:?}", self.fleet);
        Ok(())
    }
}
