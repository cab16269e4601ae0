//! `daemon run`: this very process is the keeper, as a service manager starts it (`skep startup` writes its unit).
//!
//! What ran when skep was last stopped is started again. The keeper tells the manager how it is
//! ([`skep_keeper::service`]).

use super::guard;
use crate::failure::Failure;
use crate::host_args::ServiceCommand;
use crate::session::{Context, unusable};
use skep_api::ErrorCode;

/// The daemon's option that starts what ran before.
pub(crate) const RESURRECT_OPTION: &str = "--resurrect";

/// Keeps the home until it is stopped.
pub(crate) fn run(args: &ServiceCommand, context: &Context) -> Result<(), Failure> {
    if args.keep_workers {
        return guard::run(context);
    }
    let home = context.home()?;
    let Some(claim) = home.claim().map_err(unusable)? else {
        let message = format!("skep runs in {} already", home.path().display());
        return Err(Failure::new(
            ErrorCode::Conflict,
            message,
            "`skep kill` stops it; then start the service again",
        ));
    };
    let mut config = home.keeper_config(claim);
    config.daemon_argv.push(RESURRECT_OPTION.as_bytes().to_vec());
    skep_keeper::run(config).map_err(|error| {
        let message = format!("the keeper cannot start: {error}");
        Failure::new(ErrorCode::Internal, message, "`ulimit -a` shows what this process may use")
    })
}
