//! `run`: in the foreground.

use crate::args::RunCommand;
use crate::failure::Failure;
use crate::session::Context;

/// Placeholder while the daemon's side is agreed on.
pub(crate) fn run(_args: RunCommand, _context: &Context) -> Result<(), Failure> {
    Err(Failure::new(skep_api::ErrorCode::Unsupported, "run is not there yet", "use `skep start`"))
}
