//! Which apps and slots a command means, checked before anything changes.

use crate::app::{App, Stage};
use crate::slot::Wish;
use crate::{AppId, INSTANCES_MAX, Rejection, SlotId, Target};
use std::collections::BTreeMap;

/// The slots of one app that a command means.
#[derive(Debug)]
pub(crate) struct Pick {
    /// The app's place in the fleet's list.
    pub(crate) at: usize,
    /// In the app's order. All of its slots when the app itself was named.
    pub(crate) slots: Vec<SlotId>,
    /// The app itself was named.
    pub(crate) whole: bool,
}

/// Finds an app that commands can name.
pub(crate) fn find_app(apps: &[App], app: AppId) -> Result<usize, Rejection> {
    let found = apps.iter().position(|known| known.id == app && known.stage != Stage::Deleting);
    found.ok_or(Rejection::UnknownApp { app })
}

/// Finds everything that a target names.
pub(crate) fn pick(apps: &[App], target: &Target) -> Result<Vec<Pick>, Rejection> {
    if target.apps.is_empty() && target.slots.is_empty() {
        return Err(Rejection::EmptyTarget);
    }
    let mut picks: BTreeMap<usize, Pick> = BTreeMap::new();
    for app in &target.apps {
        let at = find_app(apps, *app)?;
        picks.insert(at, Pick { at, slots: Vec::new(), whole: true });
    }
    for slot in &target.slots {
        let at = apps.iter().position(|app| app.stage != Stage::Deleting && names(app, *slot));
        let at = at.ok_or(Rejection::UnknownSlot { slot: *slot })?;
        picks.entry(at).or_insert(Pick { at, slots: Vec::new(), whole: false });
    }
    for pick in picks.values_mut() {
        let slots = apps[pick.at].slots.iter().filter(|slot| slot.wish != Wish::Gone).map(|slot| slot.id);
        pick.slots = slots.filter(|slot| pick.whole || target.slots.contains(slot)).collect();
    }
    Ok(picks.into_values().collect())
}

fn names(app: &App, id: SlotId) -> bool {
    app.slot(id).is_some_and(|slot| slot.wish != Wish::Gone)
}

/// A number of instances that one app may have.
pub(crate) fn check_instances(instances: u32) -> Result<(), Rejection> {
    if instances > INSTANCES_MAX {
        return Err(Rejection::TooManyInstances { instances, max: INSTANCES_MAX });
    }
    Ok(())
}
