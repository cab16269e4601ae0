//! `openapi`: the description of the control socket, for other programs.

use crate::failure::Failure;
use crate::session::Context;

/// Prints the document.
pub(crate) fn run(context: &Context) -> Result<(), Failure> {
    let document = skep_api::openapi();
    if context.output.json {
        return context.output.print_json(&document);
    }
    let text =
        serde_json::to_string_pretty(&document).map_err(|error| std::io::Error::other(error.to_string()))?;
    context.output.print(&format!("{text}\n"))
}
