//! `metrics`: figures of workers and of skep, in Prometheus's words, here or over TCP.

use clap::{Args, Subcommand};
use skep_api::client::Client;
use skep_api::{ConfigureMetrics, ErrorCode, MetricsServer, Route};

use crate::failure::Failure;
use crate::session::Context;

// `skep metrics`.
#[derive(Debug, Args)]
pub(crate) struct MetricsCommand {
    #[command(subcommand)]
    pub(crate) verb: Option<MetricsVerb>,
}

// What to do with metrics, instead of printing them.
#[derive(Debug, Subcommand)]
pub(crate) enum MetricsVerb {
    /// Serve them to Prometheus on this machine, from now on and after each restart of skep
    Serve(ServeArgs),
    /// Serve them no more
    Off,
    /// Say whether and where they are served
    Status,
    /// Print the token that Prometheus must show
    Token(TokenArgs),
}

// `skep metrics serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The address, of this machine only [default: as the last time; at first 127.0.0.1:9209]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
}

// `skep metrics token`.
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// Make a new one first; the old one is refused from then on
    #[arg(long)]
    pub(crate) new: bool,
}

/// Prints them, or changes how they are served.
pub(crate) async fn run(args: MetricsCommand, context: &Context) -> Result<(), Failure> {
    let mut client = context.connect().await?;
    match args.verb {
        None => {
            let text = client.text(Route::Metrics).await?;
            context.output.print(&text)
        }
        Some(MetricsVerb::Serve(ServeArgs { listen })) => {
            let change = ConfigureMetrics { serve: Some(true), listen, ..ConfigureMetrics::default() };
            show(&configure(&mut client, &change).await?, context)
        }
        Some(MetricsVerb::Off) => {
            let change = ConfigureMetrics { serve: Some(false), ..ConfigureMetrics::default() };
            show(&configure(&mut client, &change).await?, context)
        }
        Some(MetricsVerb::Status) => show(&client.read(Route::ShowMetricsServer, "", &()).await?, context),
        Some(MetricsVerb::Token(TokenArgs { new })) => {
            // The first time there is none yet: an empty change makes one.
            let change = ConfigureMetrics { new_token: new, ..ConfigureMetrics::default() };
            token(&configure(&mut client, &change).await?, context)
        }
    }
}

async fn configure(client: &mut Client, change: &ConfigureMetrics) -> Result<MetricsServer, Failure> {
    Ok(client.ask(Route::ConfigureMetrics, change).await?)
}

fn show(server: &MetricsServer, context: &Context) -> Result<(), Failure> {
    if context.output.json {
        return context.output.print_json(server);
    }
    context.output.print(&words(server))
}

fn words(server: &MetricsServer) -> String {
    match (server.serve, &server.trouble) {
        (false, None) => "metrics are not served over TCP\n".to_owned(),
        (false, Some(why)) => format!("metrics are not served over TCP: {why}\n"),
        (true, Some(why)) => format!("metrics shall be served on {} and are not: {why}\n", server.listen),
        (true, None) => format!(
            "metrics are served on http://{}/metrics\nthe token is in {}; `skep metrics token` prints it\n",
            server.listen, server.token_file
        ),
    }
}

fn token(server: &MetricsServer, context: &Context) -> Result<(), Failure> {
    let text = std::fs::read_to_string(&server.token_file).map_err(|error| {
        Failure::new(
            ErrorCode::StorageFailed,
            format!("{} cannot be read: {error}", server.token_file),
            "ask as the user that skep runs as",
        )
    })?;
    let text = text.trim();
    if context.output.json {
        return context.output.print_json(&serde_json::json!({ "token": text }));
    }
    context.output.print(&format!("{text}\n"))
}
