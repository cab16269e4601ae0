//! `monit`: the dashboard, with this home's socket.

use std::sync::Arc;

use skep_api::ErrorCode;
use skep_tui::{Connect, End, MonitError, Options};

use crate::failure::Failure;
use crate::session::Context;

/// What scripts and simple terminals use instead.
const INSTEAD: &str =
    "`skep list`, `skep logs -f`, `skep events -f` and `skep jobs` show the same line by line";
/// A program that a signal ended is said to have this code, plus the signal's number (as shells do).
const SIGNALLED: u8 = 128;

/// Shows it until somebody quits.
pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    if context.output.json {
        return Err(Failure::new(
            ErrorCode::BadRequest,
            "--json: `skep monit` is for people",
            "`skep list --json` and `skep events -f --json` tell programs the same",
        ));
    }
    // Whoever types it on a machine where nothing runs is told so, and does not wait for it.
    context.connect().await?;
    let home = context.home()?;
    let connect: Connect = Arc::new(move || match home.connect() {
        Ok(Some(stream)) => Ok(stream),
        Ok(None) => Err("skep is not running".to_owned()),
        Err(error) => Err(error.to_string()),
    });
    match skep_tui::run(Options { color: context.output.color }, connect).await {
        Ok(End::Quit) => Ok(()),
        Ok(End::Signal(number)) => {
            Err(Failure::Told(SIGNALLED.saturating_add(u8::try_from(number).unwrap_or_default())))
        }
        Err(error @ (MonitError::NoTerminal(_) | MonitError::Dumb)) => {
            Err(Failure::new(ErrorCode::BadRequest, error.to_string(), INSTEAD))
        }
        Err(error @ MonitError::Terminal(_)) => {
            Err(Failure::new(ErrorCode::Internal, error.to_string(), INSTEAD))
        }
    }
}
