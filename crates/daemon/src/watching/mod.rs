//! `watch` at the edge: inotify while some app watches, and nothing otherwise.

mod rules;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use skep_core::{AppId, Burst, Cause, Command, Now, SlotId, Span, Target};
use skep_logs::Stream;
use skep_spec::{AppSpec, Watch, WatchAction};
use tokio::io::Interest;
use tokio::sync::Notify;

use crate::driver::{Driver, Shared, now};
use crate::patrol::until;
use rules::Rules;
use tree::Tree;

/// How often a directory that is gone is looked for.
const MISSING_LOOK: Span = Span::from_secs(2);
/// So many changed files are told apart; more are "many".
const CHANGED_MAX: usize = 1_000;

/// What is watched, and what has changed.
#[derive(Debug, Default)]
pub(crate) struct Watching {
    apps: BTreeMap<AppId, Watched>,
    tree: Option<Tree>,
    look_for_missing: Option<Now>,
    pub(crate) wake: Rc<Notify>,
}

/// One app that watches.
#[derive(Debug)]
struct Watched {
    asked: Asked,
    rules: Rules,
    burst: Burst,
    changed: BTreeSet<PathBuf>,
}

/// The part of a spec that this is about: as long as it is the same, nothing is built anew.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    cwd: String,
    watch: Watch,
    ignore: Vec<String>,
    endings: Vec<String>,
    delay: Span,
    action: WatchAction,
}

impl Asked {
    fn of(spec: &AppSpec) -> Asked {
        Asked {
            cwd: spec.cwd.clone(),
            watch: spec.watch.clone(),
            ignore: spec.ignore_watch.clone(),
            endings: spec.watch_ext.clone(),
            delay: Span::from_millis(spec.watch_delay.0),
            action: spec.watch_action,
        }
    }
}

impl Watching {
    fn rebuild(&mut self) -> io::Result<()> {
        self.tree = None;
        if !self.apps.is_empty() {
            let rules: Vec<&Rules> = self.apps.values().map(|app| &app.rules).collect();
            self.tree = Some(Tree::build(&rules)?);
        }
        self.look_for_missing_later();
        Ok(())
    }

    fn look_for_missing_later(&mut self) {
        let missing = self.tree.as_ref().is_some_and(|tree| !tree.missing.is_empty());
        self.look_for_missing = missing.then(|| now() + MISSING_LOOK);
    }

    /// When to act at the latest.
    fn due(&self) -> Option<Now> {
        self.apps.values().filter_map(|app| app.burst.due(app.asked.delay)).chain(self.look_for_missing).min()
    }

    /// Notes what has changed.
    fn read(&mut self) -> io::Result<()> {
        let Self { apps, tree: Some(tree), .. } = self else { return Ok(()) };
        let noticed = {
            let rules: Vec<&Rules> = apps.values().map(|app| &app.rules).collect();
            tree.read(&rules)?
        };
        for app in apps.values_mut() {
            for file in noticed.files.iter().filter(|file| app.rules.matters(file)) {
                app.burst.touch(now());
                if app.changed.len() < CHANGED_MAX {
                    app.changed.insert(file.clone());
                }
            }
            if noticed.overflow {
                app.burst.touch(now());
            }
        }
        self.look_for_missing_later();
        if noticed.overflow { self.rebuild() } else { Ok(()) }
    }

    /// Apps whose files have changed and come to rest.
    fn take_changed(&mut self) -> Vec<(AppId, WatchAction, String)> {
        let at = now();
        let mut taken = Vec::new();
        for (id, app) in &mut self.apps {
            if app.burst.take(at, app.asked.delay) {
                let changed = std::mem::take(&mut app.changed);
                taken.push((*id, app.asked.action, words(&changed, Path::new(&app.asked.cwd))));
            }
        }
        taken
    }
}

fn words(changed: &BTreeSet<PathBuf>, cwd: &Path) -> String {
    let Some(first) = changed.first() else { return "many files changed".to_owned() };
    let first = first.strip_prefix(cwd).unwrap_or(first).display();
    match changed.len() {
        1 => format!("{first} changed"),
        CHANGED_MAX.. => format!("{CHANGED_MAX} files or more changed, {first} among them"),
        count => format!("{count} files changed, {first} among them"),
    }
}

/// Watches as long as the daemon lives.
pub(crate) async fn serve(driver: Shared) -> io::Result<()> {
    let wake = Rc::clone(&driver.borrow().triggers.watching.wake);
    let mut events = None;
    loop {
        if let Some(descriptor) = driver.borrow_mut().reconcile_watches() {
            events = descriptor.map(|fd| crate::watch::watch(fd, Interest::READABLE)).transpose()?;
        }
        let due = driver.borrow().triggers.watching.due();
        let readable = async {
            match &events {
                Some(events) => events.readable().await.map(|mut guard| guard.clear_ready()),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ready = readable => {
                ready?;
                if let Err(error) = driver.borrow_mut().triggers.watching.read() {
                    crate::diary::note(format_args!("cannot read what inotify has to tell: {error}"));
                }
            }
            () = until(due) => driver.borrow_mut().act_on_changes(),
            () = wake.notified() => {}
        }
    }
}

impl Driver {
    /// Watches what apps ask for now. `None`: that has not changed; else the new descriptor, if one is needed.
    fn reconcile_watches(&mut self) -> Option<Option<OwnedFd>> {
        let wanted: BTreeMap<AppId, Rc<AppSpec>> =
            self.present_specs().filter(|(_, spec)| spec.watch.is_on()).collect();
        let known = &self.triggers.watching.apps;
        let same = wanted.len() == known.len()
            && wanted.iter().all(|(id, spec)| known.get(id).is_some_and(|app| app.asked == Asked::of(spec)));
        let built = self.triggers.watching.tree.is_some();
        if same && (built || known.is_empty()) {
            return None;
        }
        let mut before = std::mem::take(&mut self.triggers.watching.apps);
        let mut apps = BTreeMap::new();
        for (id, spec) in wanted {
            match Rules::of(&spec, self.own_files(id, &spec)) {
                Ok(rules) => {
                    let (burst, changed) =
                        before.remove(&id).map(|app| (app.burst, app.changed)).unwrap_or_default();
                    apps.insert(id, Watched { asked: Asked::of(&spec), rules, burst, changed });
                }
                Err(error) => self.trouble(id, None, |place| format!("{place} is not watched: {error}")),
            }
        }
        self.triggers.watching.apps = apps;
        self.rebuild_watches();
        let watching = &self.triggers.watching;
        Some(watching.tree.as_ref().and_then(|tree| tree.descriptor().ok()))
    }

    fn rebuild_watches(&mut self) {
        let mut trouble = match self.triggers.watching.rebuild() {
            Ok(()) => self.triggers.watching.tree.as_mut().and_then(|tree| tree.trouble.take()),
            Err(error) => Some(tree::not_watched(Path::new("what `watch` names"), &error)),
        };
        if let Some(tree) = &self.triggers.watching.tree
            && let Some(missing) = tree.missing.first()
            && trouble.is_none()
        {
            trouble = Some(format!("{} is not there; it is watched when it comes", missing.display()));
        }
        let apps: Vec<AppId> = self.triggers.watching.apps.keys().copied().collect();
        for app in apps.into_iter().filter(|_| trouble.is_some()) {
            self.trouble(app, None, |place| format!("{place}: {}", trouble.as_deref().unwrap_or_default()));
        }
    }

    /// `stop --watch` and `restart --watch`: as PM2, the latter turns it the other way.
    ///
    /// # Errors
    /// When a target means nothing.
    pub(crate) fn switch_watch(
        &mut self,
        verb: crate::commands::Verb,
        targets: &[skep_api::Target],
    ) -> Result<(), skep_api::ErrorBody> {
        for (app, ..) in self.pick(targets)? {
            let revision = self.fleet.app(app).map(|view| view.revision);
            let Some(spec) = revision.and_then(|revision| self.specs.get_mut(&(app, revision))) else {
                continue;
            };
            let on = verb == crate::commands::Verb::Restart && spec.watch.is_off();
            *spec = Rc::new(AppSpec { watch: Watch::All(on), ..AppSpec::clone(spec) });
        }
        // On the disk as well; and whoever watches looks again.
        self.save();
        Ok(())
    }

    /// What skep itself writes for the app.
    fn own_files(&self, app: AppId, spec: &AppSpec) -> Vec<PathBuf> {
        let slots = self.fleet.app(app).into_iter().flat_map(|view| view.slots);
        let files = slots.flat_map(|slot| {
            [Stream::Out, Stream::Err]
                .map(|stream| crate::logging::path(spec, &self.site.home, slot.id, stream))
        });
        files.chain([self.site.home.clone()]).collect()
    }

    /// Renews whose files have changed; looks for directories that were gone.
    fn act_on_changes(&mut self) {
        let missing = self.triggers.watching.look_for_missing.is_some_and(|at| at <= now());
        if missing {
            let watching = &mut self.triggers.watching;
            let back =
                watching.tree.as_ref().is_some_and(|tree| tree.missing.iter().any(|root| root.exists()));
            if back {
                // What is in them may have changed while they were away.
                watching.apps.values_mut().for_each(|app| app.burst.touch(now()));
                // Built anew by the next look.
                watching.tree = None;
            }
            watching.look_for_missing = (!back).then(|| now() + MISSING_LOOK);
        }
        for (app, action, why) in self.triggers.watching.take_changed() {
            let view = self.fleet.app(app);
            let up: Vec<SlotId> = view
                .into_iter()
                .flat_map(|view| view.slots)
                .filter(|slot| slot.up)
                .map(|slot| slot.id)
                .collect();
            if up.is_empty() {
                continue; // It was stopped: a changed file does not start it.
            }
            let (target, cause) = (Target::from(up), Cause::Watch);
            let command = match action {
                WatchAction::Auto => Command::Renew { target, cause },
                WatchAction::Reload => Command::Reload { target, cause },
                WatchAction::Restart => Command::Restart { target, cause },
            };
            self.renew_by(app, None, command, cause, &why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_tells_what_changed() {
        let files = |count: usize| (0..count).map(|i| PathBuf::from(format!("/srv/{i}.js"))).collect();
        assert_eq!(words(&files(1), Path::new("/srv")), "0.js changed");
        assert_eq!(words(&files(2), Path::new("/srv")), "2 files changed, 0.js among them");
        assert!(words(&files(CHANGED_MAX), Path::new("/srv")).starts_with("1000 files or more"));
        assert_eq!(words(&files(0), Path::new("/srv")), "many files changed");
    }
}
