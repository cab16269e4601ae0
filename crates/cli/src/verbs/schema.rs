//! `schema`: the JSON Schema of files of apps.

use crate::failure::Failure;
use crate::session::Context;

/// Prints it.
pub(crate) fn run(context: &Context) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(&skep_spec::schema()).expect("a value is always JSON");
    context.output.print(&format!("{text}\n"))
}
