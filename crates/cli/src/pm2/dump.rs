//! `save`, `resurrect`, `cleardump`.

use super::act::all;
use super::say::Trouble;
use super::{Front, list, patience};
use crate::verbs::dump;
use serde_json::json;

pub(super) async fn save(front: &Front) -> Result<(), Trouble> {
    front.say.info("Saving current process list...");
    let mut client = front.context.connect_or_start().await?;
    if all(&mut client).await?.is_empty() && !front.line.has("force") {
        front.say.warn_out("PM2 is not managing any process, skipping save...");
        front.say.warn_out("To force saving use: pm2 save --force");
        return Ok(());
    }
    let path = dump::write(&front.context).await?;
    front.say.info(&format!("Successfully saved in {}", path.display()));
    Ok(())
}

pub(super) async fn resurrect(front: &Front) -> Result<(), Trouble> {
    front.say.info("Resurrecting");
    let home = front.context.home()?;
    front.say.info(&format!("Restoring processes located in {}", home.path().join(dump::FILE).display()));
    if dump::find(&front.context).is_err() {
        // A machine that boots for the first time has none: scripts go on.
        let file = home.path().join(dump::FILE);
        let backup = file.with_extension("pm2.bak");
        front.say.error(&format!("Failed to read dump file in {}", file.display()));
        front.say.info(&format!("Restoring processes located in {}", backup.display()));
        front.say.error(&format!("Failed to read dump file in {}", backup.display()));
        front.say.error("No processes saved; DUMP file doesn't exist");
        return list::show(front).await;
    }
    let started = dump::start(None, |spec| patience::of_specs([spec]), &front.context).await?;
    let apps = all(&mut front.context.connect_or_start().await?).await?;
    for (name, script) in started {
        let slots = apps.iter().filter(|app| app.name == name).flat_map(|app| &app.slots);
        slots.for_each(|_| front.say.info(&format!("Process {script} restored")));
    }
    list::show(front).await
}

pub(super) fn clear(front: &Front) -> Result<(), Trouble> {
    let home = front.context.home()?;
    home.prepare().map_err(crate::session::unusable)?;
    dump::save(&home.path().join(dump::FILE), &json!([]))?;
    front.say.info(&format!("Successfully created {}", home.path().join(dump::FILE).display()));
    Ok(())
}
