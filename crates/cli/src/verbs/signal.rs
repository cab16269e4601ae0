//! `sendSignal`.

use crate::args::SignalCommand;
use crate::failure::Failure;
use crate::session::Context;
use skep_api::SendSignal;

/// Sends the signal to every worker that is meant.
pub(crate) async fn run(args: SignalCommand, context: &Context) -> Result<(), Failure> {
    let mut client = context.connect().await?;
    client.signal(&args.targets, &SendSignal { signal: args.signal }).await?;
    context.output.say(&format!("{} was sent to {}", args.signal, args.targets.join(", ")));
    Ok(())
}
