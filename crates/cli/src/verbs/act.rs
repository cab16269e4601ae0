//! `stop`, `restart`, `reload`, `delete`, `reset`: one command on several apps.

use crate::args::{TargetCommand, WaitArgs};
use crate::failure::Failure;
use crate::progress::Report;
use crate::session::Context;
use skep_api::{Act, AppsQuery, Route};

/// Carries the command out and shows how the apps are afterwards.
pub(crate) async fn run(route: Route, args: TargetCommand, context: &Context) -> Result<(), Failure> {
    let mut client = context.connect().await?;
    let lines = client.act(route, &args.targets, &wait(&args.wait)).await?;
    let mut report = Report::default();
    report.read(lines, &context.output).await?;
    report.result()?;
    if report.done.is_empty() {
        context.output.say("there is no app, so there is nothing to do");
        return Ok(());
    }
    if route == Route::DeleteApps || context.output.json {
        return Ok(());
    }
    // The apps may be gone again by now, which is no failure of this command.
    let apps = client.apps(&report.done, AppsQuery::default()).await.unwrap_or_default();
    context.output.print(&super::list::table(&apps, &context.output))
}

/// How long the daemon is asked to wait.
pub(crate) fn wait(args: &WaitArgs) -> Act {
    Act { wait: !args.no_wait, timeout_ms: args.timeout.map(|timeout| timeout.0) }
}
