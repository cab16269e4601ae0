//! `scale`.

use super::act::{all, told};
use super::say::Trouble;
use super::talk::operand;
use super::{Front, list};
use crate::settle::Goal;
use skep_api::ScaleApp;
use skep_spec::InstancesChange;

pub(super) async fn run(front: &Front) -> Result<(), Trouble> {
    let usage = "scale <app_name> <number>";
    let (name, wanted) = (operand(front, 0, usage)?, operand(front, 1, usage)?);
    let mut client = front.context.connect_or_start().await?;
    let apps = all(&mut client).await?;
    let Some(app) =
        apps.iter().find(|app| app.name == name || app.slots.iter().any(|slot| name.parse() == Ok(slot.id)))
    else {
        return Err(Trouble::Error(format!("Application {name} not found")));
    };
    let instances: InstancesChange = wanted
        .parse()
        .map_err(|error: skep_spec::SpecError| Trouble::Error(format!("{error}; {}", error.remedy())))?;
    let before: Vec<u32> = app.slots.iter().map(|slot| slot.id).collect();
    if instances == InstancesChange::To(skep_spec::Instances::Count(app.instances_wanted)) {
        return Err(Trouble::Error("Nothing to do".to_owned()));
    }
    let lines = client.scale(&app.name, &ScaleApp { instances, wait: true, timeout_ms: None }).await?;
    let targets = [app.name.clone()];
    match told(lines, &targets, Goal::Running, front).await {
        Ok(()) | Err(Trouble::Told) => {}
        Err(trouble) => return Err(trouble),
    }
    let after = all(&mut client).await?;
    let after: Vec<u32> = after
        .iter()
        .filter(|other| other.name == app.name)
        .flat_map(|app| &app.slots)
        .map(|slot| slot.id)
        .collect();
    if after.iter().any(|id| !before.contains(id)) {
        front.say.info("Scaling up application");
    }
    for id in before.iter().filter(|id| !after.contains(id)) {
        front.say.info(&format!("Applying action deleteProcessId on app [{id}](ids: [ {id} ])"));
        front.say.info(&format!("[{}]({id}) ✓", app.name));
    }
    list::show(front).await
}
