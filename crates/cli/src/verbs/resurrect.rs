//! `resurrect`: after a reboot, or after `skep kill`.

use super::act::wait;
use crate::args::WaitArgs;
use crate::failure::Failure;
use crate::progress::Report;
use crate::session::Context;
use skep_api::{AppsQuery, Route};

/// Starts what ran when skep was last stopped, and shows it.
pub(crate) async fn run(args: &WaitArgs, context: &Context) -> Result<(), Failure> {
    let mut client = context.connect_or_start().await?;
    let lines = client.command(Route::Resurrect, "", &wait(args)).await?;
    let mut report = Report::default();
    report.read(lines, &context.output).await?;
    report.result()?;
    if report.done.is_empty() {
        context.output.say("everything that should run does");
    }
    if context.output.json {
        return Ok(());
    }
    let apps = client.apps::<&str>(&[], AppsQuery::default()).await?;
    context.output.print(&super::list::table(&apps, &context.output))
}
