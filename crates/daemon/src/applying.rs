//! Many apps at once: compares what a file describes with what is there, and turns the difference into commands.
//!
//! What changes take is [`skep_spec::diff`]'s to say; what a command does to workers is the core's. All commands of one
//! apply are written to disk and handed to the core together: all or none.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use skep_api::{
    Action, ApplyApps, ApplyMode, ApplyPlan, ErrorBody, ErrorCode, FieldChange, PlannedApp, Prune,
};
use skep_core::{AppId, AppView, Cause, Command, OpId, Revision, SlotView, Status, Target, UpdateHow};
use skep_spec::{AppSpec, Effect, OrderError, Plan, SpecError, diff};

use crate::commands::Pending;
use crate::driver::Driver;

/// What is to be done, and with which commands.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) plan: ApplyPlan,
    pub(crate) pending: Vec<(Pending, Action)>,
}

/// The commands of an apply in the making.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    plan: Vec<PlannedApp>,
    commands: Vec<(AppId, String, Action, Command)>,
    /// Commands that give apps other names, before everything else; nobody waits for them.
    pub(crate) renames: Vec<(AppId, Command)>,
    /// Specs that the commands refer to.
    pub(crate) specs: BTreeMap<(AppId, Revision), AppSpec>,
}

impl Driver {
    /// Plans, and unless it is a dry run, begins to carry out.
    ///
    /// # Errors
    /// When an app cannot be run as described, or is on its way out, or the disk says no: then nothing has changed.
    pub(crate) fn apply(&mut self, request: ApplyApps) -> Result<Applied, ErrorBody> {
        self.refuse_when_ending()?;
        let dry_run = request.dry_run;
        let draft = self.draft(request)?;
        let plan = ApplyPlan { apps: draft.plan };
        if dry_run || draft.commands.is_empty() && draft.renames.is_empty() {
            return Ok(Applied { plan, pending: Vec::new() });
        }
        let added: Vec<(AppId, Revision)> = draft.specs.keys().copied().collect();
        self.specs.extend(draft.specs.into_iter().map(|(key, spec)| (key, Rc::new(spec))));
        let rename = |(app, command)| (self.ops.begin(Some(app)).0, command);
        let mut commands: Vec<(OpId, Command)> = draft.renames.into_iter().map(rename).collect();
        let mut pending = Vec::new();
        for (app, name, action, command) in draft.commands {
            let (op, news) = self.ops.begin(Some(app));
            commands.push((op, command));
            pending.push((Pending { app, name, news }, action));
        }
        follow_the_last(&mut pending);
        let ops: Vec<OpId> = commands.iter().map(|(op, _)| *op).collect();
        if let Err(error) = self.command(commands) {
            ops.into_iter().for_each(|op| self.ops.cancel(op));
            added.iter().for_each(|key| drop(self.specs.remove(key)));
            return Err(error);
        }
        self.forget_specs();
        Ok(Applied { plan, pending })
    }

    fn draft(&self, request: ApplyApps) -> Result<Draft, ErrorBody> {
        let ApplyApps { apps, inherited_env, update_env, renames, mode, prune, .. } = request;
        check_names(&apps)?;
        let mut known: BTreeMap<String, AppView> =
            self.fleet.apps().into_iter().map(|app| (app.name.clone(), app)).collect();
        let mut draft = Draft::default();
        self.draft_renames(&mut draft, &renames, &apps, &mut known)?;
        self.check_order(&apps)?;
        let mut next = self.fleet.desired().next_app;
        let described: BTreeSet<String> = apps.iter().map(|spec| spec.name.clone()).collect();
        for mut spec in apps {
            spec.validate().map_err(|error| {
                let body = ErrorBody::from(error);
                ErrorBody { message: format!("{}: {}", spec.name, body.message), ..body }
            })?;
            match known.get(&spec.name) {
                None => {
                    inherit(&mut spec, &inherited_env);
                    self.draft_create(&mut draft, AppId(next), spec);
                    next += 1;
                }
                Some(view) if view.deleting => return Err(leaving(&spec.name)),
                Some(view) => {
                    let renamed = draft.renamed(view);
                    if let Some(renamed) = &renamed {
                        crate::renaming::keep_files(renamed, &mut spec);
                    }
                    let present = renamed.or_else(|| self.specs.get(&(view.id, view.revision)).cloned());
                    let present = present.unwrap_or_default();
                    match update_env {
                        true => inherit(&mut spec, &inherited_env),
                        false => spec.inherited_env.clone_from(&present.inherited_env),
                    }
                    self.draft_change(&mut draft, view, &present, spec, mode);
                }
            }
        }
        for view in known.values().filter(|view| !view.deleting && !described.contains(&view.name)) {
            let source = self.specs.get(&(view.id, view.revision)).and_then(|spec| spec.source.clone());
            if goes(&prune, source.as_deref()) {
                let command = Command::Delete { target: Target::from(view.id) };
                draft.add(view.id, &view.name, Action::Delete, Vec::new(), vec![command]);
            }
        }
        Ok(draft)
    }

    /// Refuses dependencies that nobody could keep, before anything is started.
    pub(crate) fn check_order(&self, apps: &[AppSpec]) -> Result<(), ErrorBody> {
        if apps.iter().all(|spec| spec.depends_on.is_empty()) {
            return Ok(());
        }
        let others = self.fleet.apps().into_iter().filter(|app| !app.deleting).map(|app| {
            let spec = self.specs.get(&(app.id, app.revision));
            (app.name, spec.map(|spec| spec.depends_on.clone()).unwrap_or_default())
        });
        let errors = skep_spec::check_order(apps, &others.collect());
        let Some(first) = errors.first() else { return Ok(()) };
        let line = |error: &OrderError| format!("{}: {}", error.app(), SpecError::from(error.clone()));
        let lines: Vec<String> = errors.iter().map(line).collect();
        let body = ErrorBody::from(SpecError::from(first.clone()));
        Err(ErrorBody { message: lines.join("\n"), ..body })
    }

    fn draft_create(&self, draft: &mut Draft, app: AppId, spec: AppSpec) {
        let instances = spec.instances.on(self.site.processors);
        let revision = Revision(0);
        let command = Command::Create {
            name: spec.name.clone(),
            namespace: spec.namespace.clone(),
            policy: crate::policy::policy(&spec, spec.runtime_choice().runtime, instances),
            instances,
            revision,
            up: spec.autostart,
        };
        draft.add(app, &spec.name, Action::Create, Vec::new(), vec![command]);
        draft.specs.insert((app, revision), spec);
    }

    fn draft_change(
        &self,
        draft: &mut Draft,
        view: &AppView,
        present: &AppSpec,
        spec: AppSpec,
        mode: ApplyMode,
    ) {
        let changes = diff(present, &spec);
        let idle = |slot: &SlotView| !slot.leaving && (!slot.up || slot.status == Status::Errored);
        let stopped = view.slots.iter().any(idle);
        let (action, how) = decide(changes.effect(), mode, stopped);
        let target = || Target::from(view.id);
        let after = match (mode, action) {
            (ApplyMode::Restart, Action::Restart) => {
                Some(Command::Restart { target: target(), cause: Cause::User })
            }
            (ApplyMode::Reload, Action::Reload) => {
                Some(Command::Reload { target: target(), cause: Cause::User })
            }
            (ApplyMode::Start | ApplyMode::Restart | ApplyMode::Reload, _) if stopped => {
                Some(Command::Start { target: target() })
            }
            _ => None,
        };
        let update = how.map(|how| {
            let instances = spec.instances.on(self.site.processors);
            let revision = draft.next_revision(view.id, self);
            let command = Command::Update {
                app: view.id,
                name: None,
                namespace: Some(spec.namespace.clone()),
                policy: crate::policy::policy(&spec, spec.runtime_choice().runtime, instances),
                instances,
                revision,
                how,
            };
            draft.specs.insert((view.id, revision), spec);
            command
        });
        let commands = update.into_iter().chain(after).collect();
        draft.add(view.id, &view.name, action, shown(&changes), commands);
    }

    /// A number that no spec of the app has: old ones are kept for as long as a worker runs them.
    pub(crate) fn next_revision(&self, app: AppId) -> Revision {
        let last = self.specs.range((app, Revision(0))..=(app, Revision(u32::MAX))).next_back();
        Revision(last.map_or(0, |((_, revision), _)| revision.0.wrapping_add(1)))
    }
}

/// A restart takes over what the change before it began for the same app: that is how it was meant, and no failure.
fn follow_the_last(pending: &mut Vec<(Pending, Action)>) {
    let apps: Vec<AppId> = pending.iter().map(|(pending, _)| pending.app).collect();
    let mut at = 0;
    pending.retain(|(pending, action)| {
        at += 1;
        *action != Action::Restart || !apps[at..].contains(&pending.app)
    });
}

impl Draft {
    /// What an app is that gets another name and nothing else yet.
    fn renamed(&self, view: &AppView) -> Option<Rc<AppSpec>> {
        self.renames.iter().find(|(app, _)| *app == view.id)?;
        let last = self.specs.range((view.id, Revision(0))..=(view.id, Revision(u32::MAX))).next_back();
        last.map(|(_, spec)| Rc::new(spec.clone()))
    }

    /// The number of the app's next spec.
    fn next_revision(&self, app: AppId, driver: &Driver) -> Revision {
        let mut revision = driver.next_revision(app);
        while self.specs.contains_key(&(app, revision)) {
            revision = Revision(revision.0.wrapping_add(1));
        }
        revision
    }

    fn add(
        &mut self,
        app: AppId,
        name: &str,
        action: Action,
        changes: Vec<FieldChange>,
        commands: Vec<Command>,
    ) {
        self.plan.push(PlannedApp { app: name.to_owned(), action, changes });
        self.commands.extend(commands.into_iter().map(|command| (app, name.to_owned(), action, command)));
    }
}

/// What is done with an app that is there, and how its new spec comes into force (`None`: there is no new one).
fn decide(effect: Option<Effect>, mode: ApplyMode, stopped: bool) -> (Action, Option<UpdateHow>) {
    match (mode, effect) {
        (ApplyMode::Converge, None) => (Action::Unchanged, None),
        (ApplyMode::Start, None) => (if stopped { Action::Start } else { Action::Unchanged }, None),
        (ApplyMode::Restart, None) => (Action::Restart, None),
        (ApplyMode::Reload, None) => (Action::Reload, None),
        (_, Some(Effect::Recreate)) => (Action::Recreate, Some(UpdateHow::Recreate)),
        // The restart that follows brings it into force.
        (ApplyMode::Restart, Some(Effect::Hot | Effect::Rolling)) => (Action::Restart, Some(UpdateHow::Hot)),
        (ApplyMode::Reload, Some(Effect::Hot | Effect::Rolling))
        | (ApplyMode::Converge | ApplyMode::Start, Some(Effect::Rolling)) => {
            (Action::Rolling, Some(UpdateHow::Rolling))
        }
        (ApplyMode::Converge | ApplyMode::Start, Some(Effect::Hot)) => (Action::Hot, Some(UpdateHow::Hot)),
    }
}

fn inherit(spec: &mut AppSpec, environment: &BTreeMap<String, String>) {
    if spec.inherited_env.is_empty() {
        spec.inherited_env.clone_from(environment);
    }
}

fn goes(prune: &Prune, source: Option<&str>) -> bool {
    match prune {
        Prune::Nothing => false,
        Prune::Source(file) => source == Some(file),
        Prune::All => true,
    }
}

fn shown(plan: &Plan) -> Vec<FieldChange> {
    plan.changes()
        .map(|change| FieldChange {
            field: change.field.clone(),
            from: change.from.clone(),
            to: change.to.clone(),
        })
        .collect()
}

fn check_names(apps: &[AppSpec]) -> Result<(), ErrorBody> {
    let mut seen = BTreeSet::new();
    match apps.iter().find(|spec| !seen.insert(&spec.name)) {
        None => Ok(()),
        Some(spec) => {
            let message = format!("{} is the name of two apps", spec.name);
            Err(ErrorBody::new(ErrorCode::InvalidSpec, message).with_hint("give each app its own name"))
        }
    }
}

fn leaving(name: &str) -> ErrorBody {
    ErrorBody::new(ErrorCode::NameTaken, format!("{name} is being deleted"))
        .with_hint("try again when its workers are gone")
}
