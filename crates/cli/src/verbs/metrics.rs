//! `metrics`: figures of workers and of skep, in Prometheus's words.

use skep_api::Route;

use crate::failure::Failure;
use crate::session::Context;

/// Prints them.
pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    let mut client = context.connect().await?;
    let text = client.text(Route::Metrics).await?;
    context.output.print(&text)
}
