//! Start and stop order: an app's first workers wait for the apps that it depends on, and those are stopped after it.
//!
//! An app that begins with nobody (created, started, or found after a reboot) has its [`Gate`] shut until every
//! dependency is as it wants it; once open, the gate stays open for as long as the app runs: a database that restarts
//! does not take its clients down, nor does it keep a crashed one from coming back. An app on its way out is left alone
//! while an app that depends on it is on its way out too and still has workers.
//!
//! All of it is looked up by name at each pass, so that nothing has to be kept in step: what is unknown today may be
//! there tomorrow.

use crate::app::{App, Course, Stage};
use crate::fleet::Fleet;
use crate::slot::{Seat, Slot, Wish};
use crate::turn::Turn;
use crate::worker::{Worker, starting_time};
use crate::{Failure, Notice, OpId, Policy, Reason, Rejection};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Another app that has to be there first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// Its name.
    pub app: String,
    /// How it has to be.
    pub condition: Condition,
}

/// How a dependency has to be before its dependents start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Its processes run.
    Started,
    /// Its workers are ready (or it has ended content, if it is one that ends).
    #[default]
    Ready,
    /// It has ended by itself, content.
    Completed,
}

/// Whether an app's first workers may start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Gate {
    #[default]
    Open,
    /// Not yet looked at.
    Shut,
    /// It was said what is waited for.
    Waiting,
}

/// How a dependency stands.
enum Standing {
    Met,
    Pending,
    Hopeless(String),
}

// === impl Condition ===

impl Condition {
    fn words(self) -> &'static str {
        match self {
            Self::Started => "to be started",
            Self::Ready => "to be ready",
            Self::Completed => "to be completed",
        }
    }
}

// === impl Fleet ===

impl Fleet {
    /// Refuses dependencies that lead back to the app itself.
    pub(crate) fn check_cycle(&self, name: &str, depends_on: &[Dependency]) -> Result<(), Rejection> {
        if depends_on.is_empty() {
            return Ok(());
        }
        let known: BTreeMap<&str, &[Dependency]> =
            self.apps.iter().map(|app| (app.name.as_str(), app.policy.depends_on.as_slice())).collect();
        let mut seen = BTreeSet::new();
        let mut ways: Vec<Vec<&str>> = depends_on.iter().map(|wanted| vec![wanted.app.as_str()]).collect();
        while let Some(way) = ways.pop() {
            let last = way.last().copied().unwrap_or_default();
            if last == name {
                let mut names = vec![name.to_owned()];
                names.extend(way.into_iter().map(str::to_owned));
                return Err(Rejection::DependencyCycle { names });
            }
            if seen.insert(last) {
                for next in known.get(last).copied().unwrap_or_default() {
                    ways.push(way.iter().copied().chain([next.app.as_str()]).collect());
                }
            }
        }
        Ok(())
    }

    /// What the app at `at` depends on is started too, unless it runs or has done its work.
    pub(crate) fn raise_dependencies(&mut self, turn: &mut Turn<'_>, op: OpId, at: usize) {
        let mut seen = BTreeSet::from([at]);
        let mut next: Vec<usize> = self.dependencies(at);
        while let Some(at) = next.pop() {
            if !seen.insert(at) {
                continue;
            }
            next.extend(self.dependencies(at));
            let app = &mut self.apps[at];
            if app.stage == Stage::Live && !app.slots.iter().any(Slot::is_wanted) {
                app.shut_gate();
                let down = app.slots.iter().filter(|slot| slot.wish == Wish::Down).map(|slot| slot.id);
                for id in down.collect::<Vec<_>>() {
                    app.raise(turn, id);
                    self.ops.release_gone(turn, op, app.id, id);
                }
            }
        }
    }

    fn dependencies(&self, at: usize) -> Vec<usize> {
        let names = &self.apps[at].policy.depends_on;
        let place = |wanted: &Dependency| self.apps.iter().position(|app| app.name == wanted.app);
        names.iter().filter_map(place).collect()
    }

    /// After a reboot an app whose dependency was stopped on purpose starts without it, as it ran before.
    pub(crate) fn waive_stopped_dependencies(&mut self) {
        let stopped: BTreeSet<String> = self
            .apps
            .iter()
            .filter(|app| !app.slots.is_empty() && !app.slots.iter().any(Slot::is_wanted))
            .map(|app| app.name.clone())
            .collect();
        for app in self.apps.iter_mut().filter(|app| app.gate != Gate::Open) {
            if app.policy.depends_on.iter().any(|wanted| stopped.contains(&wanted.app)) {
                app.gate = Gate::Open;
            }
        }
    }

    /// Apps that are not stopped yet, because an app that needs them is still being stopped.
    pub(crate) fn held_back(&self) -> BTreeSet<String> {
        let leaving = |app: &&App| {
            let down = app.stage == Stage::Deleting || app.slots.iter().all(|slot| slot.wish != Wish::Up);
            !app.policy.depends_on.is_empty() && !app.is_vacant() && (self.course == Course::Halt || down)
        };
        let needed = self.apps.iter().filter(leaving).flat_map(|app| &app.policy.depends_on);
        needed.map(|wanted| wanted.app.clone()).collect()
    }

    /// Lets apps start whose dependencies are there. Those that have been let in may let in others.
    pub(crate) fn open_gates(&mut self, turn: &mut Turn<'_>) {
        if self.course == Course::Halt || self.apps.iter().all(|app| app.gate == Gate::Open) {
            return;
        }
        let places: BTreeMap<String, usize> =
            self.apps.iter().enumerate().map(|(at, app)| (app.name.clone(), at)).collect();
        let mut again = true;
        while std::mem::take(&mut again) {
            for at in 0..self.apps.len() {
                if self.apps[at].gate == Gate::Open {
                    continue;
                }
                let before = self.apps[at].is_blocked();
                self.look_at_gate(turn, at, &places);
                let app = &mut self.apps[at];
                if app.gate == Gate::Open {
                    app.settle(turn, self.course, false);
                }
                // Whoever depends on this one may see it with other eyes now.
                again |= app.gate == Gate::Open || app.is_blocked() != before;
            }
        }
    }

    /// Opens the app's gate, says what it waits for, or that it waits in vain.
    fn look_at_gate(&mut self, turn: &mut Turn<'_>, at: usize, places: &BTreeMap<String, usize>) {
        let app = &self.apps[at];
        if !app.is_vacant() {
            // Somebody is there already: found after a reboot, or left from before.
            return self.apps[at].open_gate();
        }
        if app.stage != Stage::Live || !app.slots.iter().any(|slot| slot.wish == Wish::Up) {
            return;
        }
        let mut pending = None;
        for wanted in &app.policy.depends_on {
            let other = places.get(&wanted.app).map(|at| &self.apps[*at]);
            match standing(other, wanted) {
                Standing::Met => {}
                Standing::Pending => drop(pending.get_or_insert_with(|| wanted.clone())),
                Standing::Hopeless(why) => return self.apps[at].block(&why),
            }
        }
        let app = &mut self.apps[at];
        app.unblock();
        let Some(wanted) = pending else {
            return app.open_gate();
        };
        if app.gate == Gate::Shut {
            app.gate = Gate::Waiting;
            let (on, condition) = (wanted.app, wanted.condition.words().to_owned());
            turn.fx.notice(Notice::WaitingFor { app: app.id, on, condition });
        }
    }
}

fn standing(other: Option<&App>, wanted: &Dependency) -> Standing {
    let name = &wanted.app;
    let Some(app) = other else { return Standing::Hopeless(format!("there is no app {name}")) };
    if app.stage == Stage::Deleting {
        return Standing::Hopeless(format!("{name} is being deleted"));
    }
    if app.stands_by() && wanted.condition != Condition::Completed {
        // Another host sees to it.
        return Standing::Met;
    }
    let endless = app.policy.autorestart && app.policy.stop_exit_codes.is_empty();
    if wanted.condition == Condition::Completed && endless {
        return Standing::Hopeless(format!(
            "{name} is restarted whenever it ends: set its autorestart to false"
        ));
    }
    let mut all = Standing::Met;
    for slot in app.slots.iter().filter(|slot| slot.wish != Wish::Gone) {
        match slot.stands(wanted.condition, &app.policy) {
            Standing::Met => {}
            Standing::Pending => all = Standing::Pending,
            Standing::Hopeless(why) => return Standing::Hopeless(format!("{name} {why}")),
        }
    }
    all
}

// === impl App ===

impl App {
    /// Its next workers are first ones again: they wait for what it depends on.
    pub(crate) fn shut_gate(&mut self) {
        if !self.policy.depends_on.is_empty() && self.is_vacant() {
            self.gate = Gate::Shut;
        }
    }

    fn open_gate(&mut self) {
        self.gate = Gate::Open;
        self.unblock();
    }

    /// What it depends on will not come right by itself.
    fn block(&mut self, why: &str) {
        let app = self.id;
        for slot in self.slots.iter_mut().filter(|slot| slot.wish == Wish::Up) {
            let reason = Reason::Dependency { why: why.to_owned() };
            slot.trouble = Some(Failure { app, slot: slot.id, worker: None, reason });
        }
        self.gate = Gate::Shut;
    }

    fn is_blocked(&self) -> bool {
        self.slots.iter().any(Slot::is_blocked)
    }

    fn unblock(&mut self) {
        for slot in &mut self.slots {
            slot.trouble =
                slot.trouble.take().filter(|trouble| !matches!(trouble.reason, Reason::Dependency { .. }));
        }
    }
}

// === impl Slot ===

impl Slot {
    /// It runs, is about to, or has done its work.
    fn is_wanted(&self) -> bool {
        self.wish == Wish::Up || self.finished == Some(true)
    }

    /// It cannot start, because of what its app depends on.
    pub(crate) fn is_blocked(&self) -> bool {
        self.trouble.as_ref().is_some_and(|trouble| matches!(trouble.reason, Reason::Dependency { .. }))
    }

    fn stands(&self, condition: Condition, policy: &Policy) -> Standing {
        let ended = match (self.wish, self.finished) {
            (Wish::Up, _) => None,
            (Wish::Down | Wish::Gone, Some(true)) => return Standing::Met,
            (Wish::Down | Wish::Gone, Some(false)) => Some("has failed"),
            (Wish::Down | Wish::Gone, None) => Some("is stopped"),
        };
        if let Some(why) = ended {
            return Standing::Hopeless(why.to_owned());
        }
        if self.seat == Seat::Errored {
            return Standing::Hopeless("was given up".to_owned());
        }
        let met = match condition {
            Condition::Started => self.current().is_some_and(Worker::is_launched),
            Condition::Ready => self.is_ready(),
            Condition::Completed => false,
        };
        match &self.trouble {
            _ if met => Standing::Met,
            // It goes on trying, and is looked at again whenever something happens to it.
            Some(trouble) if condition != Condition::Completed => {
                Standing::Hopeless(trouble.reason.to_string())
            }
            Some(Failure { reason: Reason::Dependency { why }, .. }) => Standing::Hopeless(why.clone()),
            // What was wrong with it is forgotten with a reload; that it is late is not.
            None if condition == Condition::Ready && self.current().is_some_and(Worker::is_late) => {
                Standing::Hopeless(Reason::NotReady { after: starting_time(policy) }.to_string())
            }
            Some(_) | None => Standing::Pending,
        }
    }
}
