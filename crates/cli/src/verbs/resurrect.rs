//! `resurrect`: after a reboot, or after `skep kill`.

use super::act::{follow, wait};
use crate::args::WaitArgs;
use crate::failure::Failure;
use crate::progress::Report;
use crate::session::Context;
use crate::settle::Goal;
use skep_api::Route;
use skep_api::client::Client;

/// Starts what ran when skep was last stopped, and shows it.
pub(crate) async fn run(args: &WaitArgs, context: &Context) -> Result<(), Failure> {
    let mut client = context.connect_or_start().await?;
    let act = wait(args);
    let lines = context
        .ask(&mut client, async |client: &mut Client| client.command(Route::Resurrect, "", &act).await)
        .await?;
    let all = ["all".to_owned()];
    let mut report = Report::default();
    follow(lines, &all, Goal::Running, &act, context, &mut report).await?;
    report.result()?;
    if report.done.is_empty() {
        context.output.say("everything that should run does");
    }
    super::list::show(&all, &mut client, context).await
}
