//! `upgrade`: the running skep becomes another version of itself. The keeper executes the new program with all it
//! holds, so no worker and no connection notices.

use crate::failure::Failure;
use crate::session::Context;
use skep_api::client::{Client, ClientError};
use skep_api::{DaemonView, ErrorCode, UpgradeDaemon};
use std::path::PathBuf;

/// Upgrades, and says from which version to which.
pub(crate) async fn run(program: Option<PathBuf>, context: &Context) -> Result<(), Failure> {
    let path = program_path(program)?;
    let mut client = context.connect().await?;
    let before = view(&mut client, context).await?;
    match client.upgrade_daemon(&UpgradeDaemon { path: path.clone() }).await {
        // The old daemon may end before its answer is read; which version runs is seen below.
        Ok(()) | Err(ClientError::Lost(_)) => {}
        Err(error) => return Err(error.into()),
    }
    client = context.connect().await?;
    let after = view(&mut client, context).await?;
    if after.program != path {
        return Err(Failure::new(
            ErrorCode::Conflict,
            format!("skep was not upgraded: the daemon of {path} could not start"),
            format!("skep {} goes on as before; its daemon.log in {} says why", after.version, after.home),
        ));
    }
    if context.output.json {
        return context.output.print_json(&after);
    }
    context.output.say(&format!("skep {} has become skep {} ({path})", before.version, after.version));
    Ok(())
}

async fn view(client: &mut Client, context: &Context) -> Result<DaemonView, Failure> {
    context.ask(client, async |client: &mut Client| client.daemon().await).await
}

/// The program's absolute path; the file of this very command when none was named.
fn program_path(program: Option<PathBuf>) -> Result<String, Failure> {
    let path = match program {
        Some(path) => path.canonicalize(),
        None => std::env::current_exe(),
    };
    let refused = |problem: String| {
        Failure::new(
            ErrorCode::BadRequest,
            format!("the new skep cannot be used: {problem}"),
            "give its full path",
        )
    };
    let path = path.map_err(|error| refused(error.to_string()))?;
    path.into_os_string().into_string().map_err(|path| refused(format!("{} is not UTF-8", path.display())))
}
