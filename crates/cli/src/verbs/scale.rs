//! `scale`: more or fewer workers.

use super::act::wait;
use crate::args::ScaleCommand;
use crate::failure::Failure;
use crate::progress::Report;
use crate::session::Context;
use skep_api::{AppsQuery, ScaleApp};

/// Scales one app and shows it.
pub(crate) async fn run(args: ScaleCommand, context: &Context) -> Result<(), Failure> {
    let mut client = context.connect().await?;
    let act = wait(&args.wait);
    let request = ScaleApp { instances: args.instances, wait: act.wait, timeout_ms: act.timeout_ms };
    let lines = client.scale(&args.app, &request).await?;
    let mut report = Report::default();
    report.read(lines, &context.output).await?;
    report.result()?;
    if context.output.json {
        return Ok(());
    }
    let apps = client.apps(&[&args.app], AppsQuery::default()).await.unwrap_or_default();
    context.output.print(&super::list::table(&apps, &context.output))
}
