//! `completions`: a few lines for the shell, which ask skep itself at each Tab. So they are never out of date, and
//! know the names of the apps that run.

use crate::failure::Failure;
use crate::session::Context;
use clap_complete::env::Shells;
use skep_api::ErrorCode;

/// The variable by which the shell asks for completions.
const ASK: &str = "COMPLETE";

/// Prints the lines for `shell`.
pub(crate) fn run(shell: &str, context: &Context) -> Result<(), Failure> {
    let shells = Shells::builtins();
    let Some(completer) = shells.completer(shell) else {
        let known: Vec<&str> = shells.names().collect();
        let hint = format!("use one of {}", known.join(", "));
        return Err(Failure::new(
            ErrorCode::BadRequest,
            format!("there are no completions for {shell}"),
            hint,
        ));
    };
    let mut script = Vec::new();
    completer.write_registration(ASK, "skep", "skep", "skep", &mut script)?;
    context.output.print_bytes(&script)
}
