//! From requests to the core's commands.

use std::rc::Rc;

use skep_api::{CreateApp, ErrorBody, ErrorCode, Known, Pick, ScaleApp, Target as Named};
use skep_core::{AppId, Cause, Command, OpId, Revision, SlotId, Target};
use skep_spec::{AppSpec, InstancesChange};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::driver::Driver;
use crate::ops::News;

/// A command under way: its app, and what is heard of it.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) app: AppId,
    pub(crate) name: String,
    pub(crate) news: UnboundedReceiver<News>,
}

/// What to do with apps that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Start,
    Stop,
    Restart,
    Reload,
    Delete,
    Reset,
}

impl Driver {
    /// Adds an app.
    pub(crate) fn create(&mut self, request: CreateApp) -> Result<Pending, ErrorBody> {
        self.refuse_when_ending()?;
        let spec = request.spec;
        spec.validate().map_err(ErrorBody::from)?;
        self.check_order(std::slice::from_ref(&spec))?;
        if let Some(other) = self.fleet.apps().into_iter().find(|app| app.name == spec.name) {
            let (name, app) = (other.name, other.id);
            let taken = match other.deleting {
                false => skep_core::Rejection::NameTaken { name, app },
                true => skep_core::Rejection::NameLeaving { name, app },
            };
            return Err(ErrorBody::new(ErrorCode::NameTaken, taken.to_string()));
        }
        let instances = spec.instances.on(self.site.processors);
        let policy = crate::policy::policy(&spec, spec.runtime_choice().runtime, instances);
        let app = AppId(self.fleet.desired().next_app);
        let revision = Revision(0);
        let command = Command::Create {
            name: spec.name.clone(),
            namespace: spec.namespace.clone(),
            policy,
            instances,
            revision,
            up: spec.autostart,
        };
        let name = spec.name.clone();
        self.specs.insert((app, revision), Rc::new(spec));
        let (op, news) = self.ops.begin(Some(app));
        if let Err(error) = self.command(vec![(op, command)]) {
            self.ops.cancel(op);
            self.specs.remove(&(app, revision));
            return Err(error);
        }
        self.forget_specs();
        Ok(Pending { app, name, news })
    }

    /// Refuses what somebody typed if it means something that is here.
    pub(crate) fn refuse_known(&self, typed: &str) -> Result<(), ErrorBody> {
        // What is no target cannot mean anything.
        let Ok(target) = typed.parse::<Named>() else { return Ok(()) };
        match self.pick(&[target]) {
            Ok(picked) if !picked.is_empty() => {
                Err(ErrorBody::new(ErrorCode::NameTaken, format!("{typed} is here already"))
                    .with_hint("`skep list` shows all apps"))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Starts, stops, restarts, reloads, deletes or resets what `targets` mean.
    pub(crate) fn act(&mut self, verb: Verb, targets: &[Named]) -> Result<Vec<Pending>, ErrorBody> {
        self.refuse_when_ending()?;
        let picked = self.pick(targets)?;
        let mut commands = Vec::new();
        let mut pending = Vec::new();
        for (app, name, target) in picked {
            let command = match verb {
                Verb::Start => Command::Start { target },
                Verb::Stop => Command::Stop { target },
                Verb::Restart => Command::Restart { target, cause: Cause::User },
                Verb::Reload => Command::Reload { target, cause: Cause::User },
                Verb::Delete => Command::Delete { target },
                Verb::Reset => Command::Reset { target },
            };
            let (op, news) = self.ops.begin(Some(app));
            commands.push((op, command));
            pending.push(Pending { app, name, news });
        }
        self.run(commands)?;
        Ok(pending)
    }

    /// Changes how many workers an app has.
    pub(crate) fn scale(&mut self, targets: &[Named], request: &ScaleApp) -> Result<Vec<Pending>, ErrorBody> {
        self.refuse_when_ending()?;
        let mut commands = Vec::new();
        let mut pending = Vec::new();
        for (app, name, _) in self.pick(targets)? {
            let (op, news) = self.ops.begin(Some(app));
            commands.push((op, self.scale_one(app, request.instances)?));
            pending.push(Pending { app, name, news });
        }
        self.run(commands)?;
        Ok(pending)
    }

    /// The count as it was asked for (`max`) stays in the spec, so that another machine counts anew.
    fn scale_one(&mut self, app: AppId, change: InstancesChange) -> Result<Command, ErrorBody> {
        let view = self.fleet.app(app).ok_or_else(gone)?;
        let now = view.slots.iter().filter(|slot| !slot.leaving).count() as u32;
        let wanted = change.apply(now).map_err(ErrorBody::from)?;
        let instances = wanted.on(self.site.processors);
        if let Some(spec) = self.specs.get_mut(&(app, view.revision)) {
            let changed = AppSpec { instances: wanted, ..AppSpec::clone(spec) };
            // Of some apps there may be only one.
            changed.validate().map_err(ErrorBody::from)?;
            *spec = Rc::new(changed);
        }
        Ok(Command::Scale { app, instances })
    }

    /// As a service of the machine: nobody waits for the answer, so the diary gets it.
    pub(crate) fn resurrect_at_boot(&mut self) {
        if let Err(error) = self.resurrect() {
            crate::diary::note(format_args!("what ran before cannot be started: {}", error.message));
        }
    }

    /// Starts again what ran when the daemon was last stopped.
    pub(crate) fn resurrect(&mut self) -> Result<Vec<Pending>, ErrorBody> {
        self.refuse_when_ending()?;
        let resume = std::mem::take(&mut self.resume);
        let mut commands = Vec::new();
        let mut pending = Vec::new();
        for app in self.fleet.apps() {
            let slots: Vec<SlotId> =
                app.slots.iter().map(|slot| slot.id).filter(|slot| resume.contains(slot)).collect();
            if slots.is_empty() {
                continue;
            }
            let (op, news) = self.ops.begin(Some(app.id));
            commands.push((op, Command::Start { target: Target::from(slots) }));
            pending.push(Pending { app: app.id, name: app.name, news });
        }
        if let Err(error) = self.run(commands) {
            self.resume = resume;
            return Err(error);
        }
        Ok(pending)
    }

    /// Ends everything: workers are stopped in their own way, then the keeper and the daemon end. The wish that they
    /// run is kept for `resurrect`.
    pub(crate) fn stop_all(&mut self) -> Result<UnboundedReceiver<News>, ErrorBody> {
        self.refuse_when_ending()?;
        let up: Vec<SlotId> = self
            .fleet
            .apps()
            .iter()
            .flat_map(|app| &app.slots)
            .filter(|slot| slot.up)
            .map(|slot| slot.id)
            .collect();
        if !up.is_empty() {
            self.resume = up;
        }
        self.leave_exit_code(0);
        self.ending = true;
        let (op, news) = self.ops.begin(None);
        let targets: Vec<AppId> = self.fleet.apps().iter().map(|app| app.id).collect();
        let stop = (!targets.is_empty()).then(|| {
            let (stop, _) = self.ops.begin(None);
            (stop, Command::Stop { target: Target { apps: targets, slots: Vec::new() } })
        });
        let commands = stop.into_iter().chain([(op, Command::Shutdown)]).collect();
        self.ending_op = Some(op);
        self.command(commands)?;
        Ok(news)
    }

    fn run(&mut self, commands: Vec<(OpId, Command)>) -> Result<(), ErrorBody> {
        let ops: Vec<OpId> = commands.iter().map(|(op, _)| *op).collect();
        self.command(commands).inspect_err(|_| {
            for op in ops {
                self.ops.cancel(op);
            }
        })
    }

    pub(crate) fn refuse_when_ending(&self) -> Result<(), ErrorBody> {
        if self.ending {
            return Err(ErrorBody::new(ErrorCode::Unavailable, "skep is stopping")
                .with_hint("try again when it has stopped; the next command starts it anew"));
        }
        Ok(())
    }

    /// What the targets mean, app by app: the whole app, or some of its slots.
    pub(crate) fn pick(&self, targets: &[Named]) -> Result<Vec<(AppId, String, Target)>, ErrorBody> {
        let apps = self.fleet.apps();
        let slots: Vec<Vec<u32>> =
            apps.iter().map(|app| app.slots.iter().map(|slot| slot.id.0).collect()).collect();
        let known: Vec<Known<'_>> = apps
            .iter()
            .zip(&slots)
            .map(|(app, slots)| Known { app: app.id.0, name: &app.name, namespace: &app.namespace, slots })
            .collect();
        let mut picks = Vec::new();
        for target in targets {
            picks.extend(target.pick(&known).map_err(ErrorBody::from)?);
        }
        Ok(apps
            .iter()
            .filter_map(|app| {
                let whole = picks.contains(&Pick::App { app: app.id.0 });
                let some: Vec<SlotId> = app
                    .slots
                    .iter()
                    .map(|slot| slot.id)
                    .filter(|slot| picks.contains(&Pick::Slot { app: app.id.0, slot: slot.0 }))
                    .collect();
                let target = if whole { Target::from(app.id) } else { Target::from(some) };
                (target != Target::default()).then(|| (app.id, app.name.clone(), target))
            })
            .collect())
    }

    /// Only some of the app's slots are meant when one was named by its id.
    pub(crate) fn picked_slots(&self, targets: &[Named]) -> Result<Vec<SlotId>, ErrorBody> {
        let mut slots = Vec::new();
        for (app, _, target) in self.pick(targets)? {
            if target.apps.is_empty() {
                slots.extend(target.slots);
            } else if let Some(view) = self.fleet.app(app) {
                slots.extend(view.slots.iter().map(|slot| slot.id));
            }
        }
        Ok(slots)
    }

    /// Sends a signal to each worker's own process.
    pub(crate) fn send_signal(&mut self, targets: &[Named], signal: i32) -> Result<usize, ErrorBody> {
        let slots = self.picked_slots(targets)?;
        let workers: Vec<_> = self
            .workers
            .values()
            .filter(|worker| slots.contains(&worker.slot) && !worker.exited)
            .map(crate::worker::Worker::id)
            .collect();
        for worker in &workers {
            self.ask(&skep_keeper::wire::Request::Signal {
                child: u64::from(worker.0),
                signal,
                scope: skep_keeper::wire::Scope::Process,
            });
        }
        Ok(workers.len())
    }

    /// Sends a message to one Node.js worker, by its id.
    pub(crate) fn send_message(&mut self, worker: u32, json: &str) -> Result<(), ErrorBody> {
        let id = skep_core::WorkerId(worker);
        let Some(found) = self.workers.get_mut(&id) else {
            return Err(ErrorBody::new(ErrorCode::UnknownTarget, format!("there is no worker {worker}"))
                .with_hint("`skep describe` shows the ids of workers"));
        };
        let Some(channel) = &mut found.channel else {
            return Err(ErrorBody::new(
                ErrorCode::Unsupported,
                format!("worker {worker} has no IPC channel"),
            )
            .with_hint("only Node.js programs can be sent messages"));
        };
        channel.message(json).map_err(|error| ErrorBody::new(ErrorCode::BadRequest, error.to_string()))?;
        self.flush_channel(id);
        Ok(())
    }
}

fn gone() -> ErrorBody {
    ErrorBody::new(ErrorCode::UnknownTarget, "the app is gone")
}
