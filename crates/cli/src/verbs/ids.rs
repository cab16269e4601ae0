//! `pid` and `id`: numbers alone, for scripts.

use crate::failure::Failure;
use crate::session::Context;
use skep_api::{AppView, AppsQuery};

async fn apps(targets: &[String], context: &Context) -> Result<Vec<AppView>, Failure> {
    let mut client = match context.connect_if_running().await? {
        Some(client) => client,
        None if targets.is_empty() => return Ok(Vec::new()),
        None => return Err(Failure::not_running()),
    };
    super::act::look(targets, AppsQuery::default(), &mut client, context).await
}

/// Process ids, one a line.
pub(crate) async fn pids(targets: &[String], context: &Context) -> Result<(), Failure> {
    let apps = apps(targets, context).await?;
    let pids: Vec<u32> = apps.iter().flat_map(|app| &app.slots).filter_map(|slot| slot.pid).collect();
    if context.output.json {
        return context.output.print_json(&pids);
    }
    context.output.print(&pids.iter().map(|pid| format!("{pid}\n")).collect::<String>())
}

/// Slot ids, as PM2 prints them: `[ 0, 1 ]`.
pub(crate) async fn ids(targets: &[String], context: &Context) -> Result<(), Failure> {
    let apps = apps(targets, context).await?;
    let ids: Vec<u32> = apps.iter().flat_map(|app| &app.slots).map(|slot| slot.id).collect();
    if context.output.json {
        return context.output.print_json(&ids);
    }
    let words: Vec<String> = ids.iter().map(u32::to_string).collect();
    context.output.print(&if words.is_empty() {
        "[]\n".to_owned()
    } else {
        format!("[ {} ]\n", words.join(", "))
    })
}
