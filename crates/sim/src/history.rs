//! A random history: commands, deaths, disorder; then calm, and everything must come right.

use crate::dice::Dice;
use crate::process::{Behaviour, Draining};
use crate::sights::Sights;
use crate::wire::Manners;
use crate::witness::{Checked, Violation, promise, workers};
use crate::world::{Memory, World};
use skep_core::{
    AppId, AppView, Backoff, Cause, Command, Condition, Dependency, Drain, ExitStatus, Permit, PhaseName,
    Policy, Probe, ReadyRule, Revision, SlotId, Span, Status, Target, UpdateHow, WorkerId,
};

/// What kind of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Genre {
    /// Sick programs, a daemon that is killed, a disk that fails; but messages arrive.
    Orderly,
    /// All that, and messages are lost, doubled, late and out of order.
    Hostile,
    /// Healthy programs that are only started, reloaded and scaled, and a daemon that is killed: they must serve
    /// without a gap.
    Healthy,
}

/// A history: its seed is all there is to it.
#[derive(Clone, Copy, Debug)]
pub struct History {
    seed: u64,
    genre: Genre,
}

/// Nothing that calmed down moves for longer than this: an unkillable process may be killed once more after 32 s, and
/// a restart may wait 15 s.
const CALM_MAX: Span = Span::from_secs(120);

// === impl History ===

impl History {
    /// The history of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let genre = match seed % 4 {
            0 | 1 => Genre::Orderly,
            2 => Genre::Hostile,
            _ => Genre::Healthy,
        };
        Self { seed, genre }
    }

    /// Its kind.
    #[must_use]
    pub fn genre(&self) -> Genre {
        self.genre
    }

    /// Lets it happen. Returns what was seen in it.
    pub fn play(&self) -> Result<Sights, Violation> {
        self.play_in(&mut self.world())
    }

    /// Lets it happen and returns all that did, with the violation as the last line.
    #[must_use]
    pub fn replay(&self) -> Vec<String> {
        let mut world = self.world();
        world.record();
        let end = self.play_in(&mut world);
        let mut lines = world.trace().to_vec();
        lines.push(format!("{:?}: {:?}", self.genre, end.map(|_| ())));
        lines
    }

    fn world(&self) -> World {
        let manners = match self.genre {
            Genre::Orderly | Genre::Healthy => Manners::Orderly,
            Genre::Hostile => Manners::Hostile,
        };
        let genre = self.genre;
        let salt = self.seed;
        let cast = Box::new(move |revision: Revision, _: WorkerId, dice: &mut Dice| match genre {
            Genre::Healthy => healthy(dice),
            Genre::Orderly | Genre::Hostile => character(revision, salt, dice),
        });
        World::new(self.seed, manners, cast)
    }

    fn play_in(&self, world: &mut World) -> Result<Sights, Violation> {
        let mut dice = Dice::new(self.seed);
        match self.genre {
            Genre::Orderly | Genre::Hostile => sick(world, &mut dice)?,
            Genre::Healthy => serve(world, &mut dice)?,
        }
        world.calm()?;
        for app in world.fleet.singletons() {
            world.permit(app.app, Permit::Granted)?;
        }
        let quiet = world.run_until_quiet(CALM_MAX)? || world.asks();
        promise!(quiet, "it never comes to rest: {:?}", world.fleet.next_deadline());
        settled(world)?;
        Ok(std::mem::take(&mut world.sights))
    }
}

/// Everything may happen.
fn sick(world: &mut World, dice: &mut Dice) -> Checked {
    world.disk_fails = *dice.of(&[0, 0, 0, 10, 30]);
    let deaths = *dice.of(&[0, 5, 20]);
    create(world, dice, 0)?;
    for step in 1..=4 + dice.below(22) {
        world.run(*dice.of(&[Span::ZERO, Span(1), Span::from_millis(1), Span::from_millis(1)]))?;
        if dice.percent(deaths) {
            world.die_in = Some(u32::try_from(dice.below(9)).expect("below nine"));
            world.memory = if dice.percent(25) { Memory::Nothing } else { Memory::Snapshot };
        }
        match dice.below(100) {
            0..45 => command(world, dice, step)?,
            45..70 => {
                let most = *dice.of(&[5, 50, 300, 2000, 20_000]);
                world.run(dice.millis(most))?;
            }
            70..80 => {
                let living: Vec<WorkerId> = world.kernel.living().map(|(worker, ..)| worker).collect();
                if !living.is_empty() {
                    world.kill(*dice.of(&living), *dice.of(&[ExitStatus::Code(1), ExitStatus::Signal(11)]));
                }
            }
            80..85 => world.stall(dice.millis(5000)),
            85..90 => world.see()?,
            90..93 => {
                world.memory = *dice.of(&[Memory::Snapshot, Memory::Snapshot, Memory::Nothing]);
                world.crash(None)?;
            }
            93..94 => world.reboot()?,
            94..97 => permit(world, dice)?,
            _ => world.check_restore_if_orderly()?,
        }
    }
    Ok(())
}

/// Somebody learns whose an app is of which there may be only one.
fn permit(world: &mut World, dice: &mut Dice) -> Checked {
    let singletons = world.fleet.singletons();
    if singletons.is_empty() {
        return Ok(());
    }
    let permits = [Permit::Granted, Permit::Granted, Permit::Refused, Permit::Unknown];
    let (app, permit) = (dice.of(&singletons).app, *dice.of(&permits));
    world.permit(app, permit)
}

/// Apps without a fault are reloaded, updated and scaled up and down, while the daemon is killed now and then.
fn serve(world: &mut World, dice: &mut Dice) -> Checked {
    let deaths = *dice.of(&[0, 0, 10]);
    let policy = Policy { autorestart: true, stop_exit_codes: Vec::new(), ..policy(dice) };
    let policy = Policy { listen_timeout: Span::from_secs(3), alive_time: Span::from_secs(1), ..policy };
    let mut instances = 1 + u32::try_from(dice.below(4)).expect("below four");
    let (name, namespace, revision) = ("web".to_owned(), "default".to_owned(), Revision(1));
    world.command(Command::Create {
        name,
        namespace,
        policy: policy.clone(),
        instances,
        revision,
        up: true,
    })?;
    world.run(Span::from_secs(2))?;
    let (app, mut revision) = (AppId(1), 1);
    for _ in 0..3 + dice.below(8) {
        if dice.percent(deaths) {
            world.die_in = Some(u32::try_from(dice.below(12)).expect("below twelve"));
        }
        let before = instances;
        match dice.below(10) {
            0..4 => drop(world.command(Command::Reload { target: app.into(), cause: Cause::User })?),
            4..6 => {
                revision += 1;
                let (policy, revision, how) = (policy.clone(), Revision(revision), UpdateHow::Rolling);
                world.command(Command::Update {
                    app,
                    name: None,
                    namespace: None,
                    policy,
                    instances,
                    revision,
                    how,
                })?;
            }
            6..8 => {
                instances = 1 + u32::try_from(dice.below(5)).expect("below five");
                world.command(Command::Scale { app, instances })?;
            }
            _ => {
                let slots: Vec<SlotId> =
                    view(world, app).slots.iter().filter(|s| s.up).map(|s| s.id).collect();
                let target = (*dice.of(&slots)).into();
                world.command(Command::Reload { target, cause: Cause::Memory })?;
            }
        }
        let most = *dice.of(&[10, 100, 2000]);
        let until = world.now + dice.millis(most);
        let least = before.min(instances) as usize;
        let promised = least.saturating_sub(policy.unavailable());
        while world.now < until {
            serving(world, app, promised)?;
            world.run(Span::from_millis(7))?;
        }
        // New slots have had no time to become ready while the next command already counts on them.
        world.run(Span::from_secs(if instances > before { 4 } else { 0 }))?;
    }
    let quiet = world.run_until_quiet(CALM_MAX)? || world.asks();
    promise!(quiet, "healthy workers never come to rest");
    serving(world, app, instances as usize)
}

fn serving(world: &World, app: AppId, promised: usize) -> Checked {
    let serving = world.kernel.serving(app);
    promise!(serving >= promised, "{serving} workers serve, {promised} are promised: {:?}", view(world, app));
    Ok(())
}

fn view(world: &World, app: AppId) -> AppView {
    world.fleet.app(app).expect("this history deletes no app")
}

fn create(world: &mut World, dice: &mut Dice, step: u64) -> Checked {
    let name = (*dice.of(&["web", "api", "job"])).to_owned();
    let instances = u32::try_from(*dice.of(&[0, 1, 1, 2, 3, 4])).expect("small");
    let (mut policy, up) = (policy(dice), dice.percent(90));
    policy.singleton = dice.percent(15);
    if dice.percent(40) {
        let app = (*dice.of(&["web", "api", "job"])).to_owned();
        policy.depends_on =
            vec![Dependency { app, condition: *dice.of(&[Condition::Started, Condition::Ready]) }];
    }
    let (namespace, revision) = ("default".to_owned(), Revision(u32::try_from(step).expect("few steps")));
    world.command(Command::Create { name, namespace, policy, instances, revision, up })?;
    Ok(())
}

fn command(world: &mut World, dice: &mut Dice, step: u64) -> Checked {
    let apps = world.fleet.apps();
    let Some(app) = (!apps.is_empty()).then(|| dice.of(&apps).clone()) else {
        return create(world, dice, step);
    };
    let target = target(&apps, &app, dice);
    let cause = *dice.of(&[Cause::User, Cause::Memory]);
    let instances = u32::try_from(dice.below(5)).expect("below five");
    let command = match dice.below(100) {
        0..8 => return create(world, dice, step),
        8..22 => Command::Start { target },
        22..36 => Command::Stop { target },
        36..48 => Command::Restart { target, cause },
        48..60 => Command::Reload { target, cause },
        60..66 => Command::Renew { target, cause },
        66..78 => Command::Scale { app: app.id, instances },
        78..92 => {
            let how =
                *dice.of(&[UpdateHow::Hot, UpdateHow::Rolling, UpdateHow::Rolling, UpdateHow::Recreate]);
            let instances =
                if dice.percent(60) { u32::try_from(app.slots.len()).expect("few") } else { instances };
            let revision = Revision(u32::try_from(step).expect("few steps"));
            let policy = Policy { singleton: dice.percent(15), ..policy(dice) };
            Command::Update { app: app.id, name: None, namespace: None, policy, instances, revision, how }
        }
        92..97 => Command::Delete { target },
        97..99 => Command::Reset { target },
        _ => Command::Shutdown,
    };
    world.command(command)?;
    Ok(())
}

fn target(apps: &[AppView], app: &AppView, dice: &mut Dice) -> Target {
    match dice.below(10) {
        0..6 => app.id.into(),
        6..9 if !app.slots.is_empty() => dice.of(&app.slots).id.into(),
        6..9 => SlotId(999).into(),
        _ => Target { apps: apps.iter().map(|app| app.id).collect(), slots: Vec::new() },
    }
}

fn policy(dice: &mut Dice) -> Policy {
    let ms = Span::from_millis;
    Policy {
        autorestart: dice.percent(90),
        max_restarts: *dice.of(&[0, 1, 3, 16]),
        min_uptime: ms(*dice.of(&[0, 1000, 1000])),
        restart_delay: ms(*dice.of(&[0, 0, 0, 200])),
        backoff: dice.percent(25).then(Backoff::default),
        stop_exit_codes: if dice.percent(10) { vec![0] } else { Vec::new() },
        kill_timeout: ms(*dice.of(&[0, 100, 1600])),
        ready: *dice.of(&[
            ReadyRule::Listening,
            ReadyRule::Listening,
            ReadyRule::Announced,
            ReadyRule::Spawned,
        ]),
        listen_timeout: ms(*dice.of(&[0, 300, 3000])),
        alive_time: ms(*dice.of(&[0, 100])),
        readiness: dice.percent(8).then(|| probe(dice)),
        liveness: dice.percent(8).then(|| probe(dice)),
        overlap: dice.percent(80),
        max_surge: *dice.of(&[0, 1, 1, 2]),
        max_unavailable: *dice.of(&[0, 0, 1, 2]),
        drain: *dice.of(&[Drain::Migrate, Drain::Close, Drain::Signal]),
        drain_timeout: ms(*dice.of(&[0, 500, 1600])),
        ..Policy::default()
    }
}

fn probe(dice: &mut Dice) -> Probe {
    let ms = Span::from_millis;
    Probe {
        initial_delay: ms(*dice.of(&[0, 0, 200])),
        interval: ms(*dice.of(&[2000, 10_000])),
        timeout: ms(*dice.of(&[50, 1000])),
        failure_threshold: *dice.of(&[1, 3]),
        success_threshold: *dice.of(&[1, 1, 2]),
    }
}

/// A healthy process; each is as fast as it likes.
fn healthy(dice: &mut Dice) -> Behaviour {
    let ready = Some(dice.millis(300));
    let drains = match dice.below(3) {
        0 => Draining::Ignores,
        1 => Draining::Reports(dice.millis(400)),
        _ => Draining::Ends(dice.millis(400)),
    };
    let stops = dice.percent(90).then(|| dice.millis(200));
    let stops_itself = dice.percent(30);
    Behaviour { listens: ready, announces: ready, drains, stops, stops_itself, ..Behaviour::healthy() }
}

/// Each revision has its character, and some of its processes a worse one.
fn character(revision: Revision, salt: u64, dice: &mut Dice) -> Behaviour {
    let mut character = Dice::new(u64::from(revision.0) ^ salt.rotate_left(32));
    let kind = if dice.percent(15) { dice.below(16) } else { character.below(16) };
    let code = *dice.of(&[0, 1, 1]);
    match kind {
        0 => Behaviour::unspawnable(),
        1 | 2 => Behaviour::exits_after(dice.millis(30), code),
        3 => Behaviour::exits_after(dice.millis(3000), code),
        4 => Behaviour::silent(),
        5 => Behaviour::slow(dice.millis(5000)),
        6 => Behaviour { drains: Draining::Ignores, ..Behaviour::stubborn() },
        7 => Behaviour::stuck(dice.millis(50_000)),
        9 => Behaviour { sick: Some(dice.millis(3000)), ..healthy(dice) },
        8 => Behaviour { stops: Some(dice.millis(3000)), ..healthy(dice) },
        _ => healthy(dice),
    }
}

/// What must be true once everything is calm.
fn settled(world: &World) -> Checked {
    let open: Vec<_> = world.witness.open_ops().collect();
    promise!(open.is_empty(), "ops that never end: {open:?}");
    let mut known = 0;
    for app in world.fleet.apps() {
        promise!(!app.deleting, "an app that is never gone: {app:?}");
        let over = app.rollout.is_none() || world.witness.halted();
        promise!(over, "a rollout that never ends: {app:?}");
        for slot in &app.slots {
            known += workers(slot).count();
            promise!(!slot.leaving, "a slot that is never gone: {app:?}");
            promise!(slot.successor.is_none() && slot.old.is_empty(), "somebody is left over: {slot:?}");
            let phase = slot.worker.as_ref().map(|worker| worker.phase);
            let fine = match (slot.up && !world.witness.halted(), phase) {
                (false, phase) => phase.is_none(),
                (true, Some(PhaseName::Ready)) => true,
                // It lives and could still become ready, but said nothing; or its words were lost.
                (true, Some(PhaseName::Starting)) => true,
                (true, None) => slot.status == Status::Errored,
                (true, Some(PhaseName::Spawning | PhaseName::Draining | PhaseName::Stopping)) => false,
            };
            promise!(fine, "a slot that is not as it should be: {slot:?}");
        }
    }
    let living = world.kernel.living().count();
    promise!(living == known, "{living} processes live, {known} are known");
    Ok(())
}
