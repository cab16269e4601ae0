//! `convert`: a file of apps in another syntax.

use crate::failure::Failure;
use crate::file_args::{ConvertCommand, Format};
use crate::session::Context;
use skep_api::ErrorCode;
use skep_spec::Syntax;

/// Prints the file; what could not be carried over is said beside it.
pub(crate) fn run(args: &ConvertCommand, context: &Context) -> Result<(), Failure> {
    let machine = super::start::here(&context.output)?;
    let file = super::apply::open(args.file.as_deref(), &machine)?;
    let syntax = match args.to {
        Format::Toml => Syntax::Toml,
        Format::Yaml => Syntax::Yaml,
        Format::Json => Syntax::Json,
    };
    let text = skep_spec::write(&file.document, syntax).map_err(|problem| {
        Failure::new(
            ErrorCode::InvalidSpec,
            format!("{} cannot be written in this format: {problem}", file.name),
            "try --to json",
        )
    })?;
    let dropped = file.document.notes.iter().map(|note| format!("left out: {note}"));
    let computed = (Syntax::of(&file.name).is_none() && file.path.is_some())
        .then(|| format!("what {} computes is written as it is now", file.name));
    // Beside the text, which somebody sends to a file.
    for note in dropped.chain(computed) {
        context.output.complain(&note);
    }
    context.output.print(&text)
}
