//! `scale`: more or fewer workers.

use super::act::{follow, wait};
use crate::args::ScaleCommand;
use crate::failure::Failure;
use crate::progress::Report;
use crate::session::Context;
use crate::settle::Goal;
use skep_api::ScaleApp;
use skep_api::client::Client;
use skep_spec::InstancesChange;

/// Scales one app and shows it.
pub(crate) async fn run(args: ScaleCommand, context: &Context) -> Result<(), Failure> {
    let mut client = context.connect().await?;
    let act = wait(&args.wait);
    let request = ScaleApp { instances: args.instances, wait: act.wait, timeout_ms: act.timeout_ms };
    let lines = match request.instances {
        InstancesChange::To(_) => {
            context
                .ask(&mut client, async |client: &mut Client| client.scale(&args.app, &request).await)
                .await?
        }
        // Given twice it would count twice.
        InstancesChange::More(_) | InstancesChange::Fewer(_) => client.scale(&args.app, &request).await?,
    };
    let targets = [args.app];
    let mut report = Report::default();
    follow(lines, &targets, Goal::Running, &act, context, &mut report).await?;
    report.result()?;
    super::list::show_done(&report, &mut client, context).await
}
