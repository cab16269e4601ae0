//! What PM2's selectors mean: a name, a namespace, an id, a path of a script, `/a pattern/`, or `all`.

use super::say::Trouble;
use crate::verbs::inspect::numbers;
use skep_api::{AppView, Known, Pick, SlotView, Target};
use std::path::Path;

/// Slots that a selector means, with their apps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Selected {
    /// The word as it was typed.
    pub(super) word: String,
    /// Ids of slots and names of their apps, by id.
    pub(super) slots: Vec<(u32, String)>,
    /// What the API is told: names of apps that are meant whole, ids of the others.
    pub(super) targets: Vec<String>,
    /// An id was typed.
    pub(super) by_id: bool,
}

impl Selected {
    /// The apps that are meant, if none of them is meant in part.
    pub(super) fn whole(&self, apps: &[AppView]) -> Option<Vec<String>> {
        if !self.by_id {
            return Some(self.targets.clone());
        }
        let mut names: Vec<String> = self.slots.iter().map(|(_, name)| name.clone()).collect();
        names.sort();
        names.dedup();
        let meant = |name: &String| self.slots.iter().filter(|(_, of)| of == name).count();
        let whole =
            |name: &String| apps.iter().any(|app| app.name == *name && app.slots.len() == meant(name));
        names.iter().all(whole).then_some(names)
    }

    /// As PM2 prints ids: `[ 0, 1 ]`; one that was typed is text there.
    pub(super) fn ids(&self) -> String {
        if self.by_id && self.slots.len() == 1 {
            return format!("[ '{}' ]", self.slots[0].0);
        }
        ids(self.slots.iter().map(|(id, _)| *id))
    }
}

/// As JavaScript prints an array of numbers.
pub(super) fn ids(all: impl Iterator<Item = u32>) -> String {
    numbers(&all.collect::<Vec<_>>())
}

/// What `word` means among `apps`; `None` when it means nothing. Paths are seen from `cwd`.
pub(super) fn select(word: &str, apps: &[AppView], cwd: &Path) -> Option<Selected> {
    let slots: Vec<Vec<u32>> =
        apps.iter().map(|app| app.slots.iter().map(|slot| slot.id).collect()).collect();
    let known: Vec<Known<'_>> = apps
        .iter()
        .zip(&slots)
        .map(|(app, slots)| Known { app: app.id, name: &app.name, namespace: &app.namespace, slots })
        .collect();
    let picks = word.parse::<Target>().ok().and_then(|target| target.pick(&known).ok()).unwrap_or_default();
    let picks = if picks.is_empty() { by_path(word, apps, cwd) } else { picks };
    let mut selected = Selected { word: word.to_owned(), ..Selected::default() };
    for app in apps {
        if picks.contains(&Pick::App { app: app.id }) {
            selected.targets.push(app.name.clone());
            selected.slots.extend(app.slots.iter().map(|slot| (slot.id, app.name.clone())));
            continue;
        }
        let meant = |slot: &&SlotView| picks.contains(&Pick::Slot { app: app.id, slot: slot.id });
        for slot in app.slots.iter().filter(meant) {
            selected.by_id = true;
            selected.targets.push(slot.id.to_string());
            selected.slots.push((slot.id, app.name.clone()));
        }
    }
    selected.slots.sort();
    (!selected.slots.is_empty() || !selected.targets.is_empty()).then_some(selected)
}

fn by_path(word: &str, apps: &[AppView], cwd: &Path) -> Vec<Pick> {
    let path = skep_spec::absolute_path(&cwd.to_string_lossy(), word);
    apps.iter().filter(|app| app.script == path).map(|app| Pick::App { app: app.id }).collect()
}

/// That a word means nothing, in the words of PM2's `action`.
pub(super) fn unknown(word: &str, action: &str) -> Trouble {
    if word == "all" {
        return Trouble::Warn("No process found".to_owned());
    }
    if word.parse::<u32>().is_err() {
        return Trouble::Error(format!("Process or Namespace {word} not found"));
    }
    match action {
        "restartProcessId" => Trouble::Error("God db process id unknown".to_owned()),
        "reloadProcessId" => Trouble::Error("PM2 ID unknown".to_owned()),
        _ => Trouble::Error(format!("{word} : id unknown")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::list::tests::{app, slot};
    use skep_api::Status;

    fn check(word: &str) -> Option<(String, Vec<String>)> {
        let two = |from: u32| vec![slot(from, Status::Online), slot(from + 1, Status::Online)];
        let apps = [
            AppView { id: 1, ..app("web", two(0)) },
            AppView { id: 2, namespace: "back".into(), script: "/srv/jobs.js".into(), ..app("jobs", two(2)) },
        ];
        select(word, &apps, Path::new("/srv")).map(|selected| (selected.ids(), selected.targets))
    }

    #[test]
    fn each_form_of_selector_finds_its_slots() {
        let found =
            |ids: &str, targets: &[&str]| Some((ids.into(), targets.iter().map(|t| (*t).into()).collect()));
        assert_eq!(check("web"), found("[ 0, 1 ]", &["web"]));
        assert_eq!(check("back"), found("[ 2, 3 ]", &["jobs"]));
        assert_eq!(check("3"), found("[ '3' ]", &["3"]));
        assert_eq!(check("/jo.s/"), found("[ 2, 3 ]", &["jobs"]));
        assert_eq!(check("./jobs.js"), found("[ 2, 3 ]", &["jobs"]));
        assert_eq!(check("all"), found("[ 0, 1, 2, 3 ]", &["web", "jobs"]));
        assert_eq!(check("7"), None);
        assert_eq!(check("nosuch"), None);
    }

    #[test]
    fn an_app_whose_instances_are_all_named_is_meant_as_a_whole() {
        let apps = [
            app("web", vec![slot(0, Status::Online), slot(1, Status::Online)]),
            app("jobs", vec![slot(2, Status::Online)]),
        ];
        let apps = [AppView { id: 1, ..apps[0].clone() }, AppView { id: 2, ..apps[1].clone() }];
        let whole = |word| select(word, &apps, Path::new("/srv")).and_then(|selected| selected.whole(&apps));
        assert_eq!(whole("web"), Some(vec!["web".to_owned()]));
        assert_eq!(whole("2"), Some(vec!["jobs".to_owned()]));
        assert_eq!(whole("1"), None);
    }

    #[test]
    fn what_means_nothing_is_told_in_pm2s_words() {
        let text = |word, action| match unknown(word, action) {
            Trouble::Error(text) | Trouble::Warn(text) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(text("x", "stopProcessId"), "Process or Namespace x not found");
        assert_eq!(text("9", "stopProcessId"), "9 : id unknown");
        assert_eq!(text("9", "restartProcessId"), "God db process id unknown");
        assert_eq!(text("9", "reloadProcessId"), "PM2 ID unknown");
        assert_eq!(text("all", "stopProcessId"), "No process found");
    }
}
