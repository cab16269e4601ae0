//! `hosts`: how this host takes part in a cluster of hosts.

use clap::Args;
use skep_api::{ErrorCode, HostsChange, HostsView, Route};

use crate::failure::Failure;
use crate::session::Context;

// `skep hosts`.
#[derive(Debug, Args)]
pub(crate) struct HostsCommand {
    /// `store=redis://[user:password@]host[:port][/db]` or `store=` (on its own), `prefix=NAME`, `name=NAME`, `lease=15s`
    #[arg(value_name = "NAME=VALUE")]
    pub(crate) settings: Vec<String>,
}

/// Changes what is named, then shows all.
pub(crate) async fn run(args: &HostsCommand, context: &Context) -> Result<(), Failure> {
    let change = change(&args.settings)?;
    // A host is told of its store before its first app.
    let mut client = context.connect_or_start().await?;
    let view: HostsView = if args.settings.is_empty() {
        client.read(Route::ShowHosts, "", &()).await?
    } else {
        client.ask(Route::ConfigureHosts, &change).await?
    };
    if context.output.json {
        return context.output.print_json(&view);
    }
    context.output.print(&text(&view))
}

fn text(view: &HostsView) -> String {
    let store = match (&view.store, &view.problem) {
        (None, None) => "none: this host is on its own (`skep hosts store=redis://…` names one)".to_owned(),
        (Some(store), None) => format!("{store}, reachable"),
        (store, Some(problem)) => {
            format!("{}, NOT reachable: {problem}", store.as_deref().unwrap_or("unknown"))
        }
    };
    let mut text = format!(
        "host    {}\nstore   {store}\nprefix  {}\nlease   {}\n",
        view.host,
        view.prefix,
        skep_spec::Millis(view.lease_ms)
    );
    for app in &view.singletons {
        text += &format!("{}  {app}\n", app.app);
    }
    text
}

fn change(settings: &[String]) -> Result<HostsChange, Failure> {
    let mut change = HostsChange::default();
    for setting in settings {
        // The whole may hold a password.
        let name = setting.split_once('=').map_or(setting.as_str(), |(name, _)| name);
        let field = match name {
            "store" => &mut change.store,
            "prefix" => &mut change.prefix,
            "name" => &mut change.name,
            "lease" => {
                change.lease_ms = Some(lease(setting)?);
                continue;
            }
            _ => return Err(unknown(name)),
        };
        let (_, value) = setting.split_once('=').ok_or_else(|| unknown(name))?;
        *field = Some(value.to_owned());
    }
    Ok(change)
}

fn lease(setting: &str) -> Result<u64, Failure> {
    let (_, value) = setting.split_once('=').ok_or_else(|| unknown("lease"))?;
    let time: skep_spec::Millis = value.parse().map_err(|error| {
        Failure::new(ErrorCode::BadRequest, format!("lease: {error}"), "for example lease=15s")
    })?;
    Ok(time.0)
}

fn unknown(name: &str) -> Failure {
    Failure::new(
        ErrorCode::BadRequest,
        format!("{name:?} is no setting of hosts"),
        "use store=redis://host:6379 or store=, prefix=NAME, name=NAME, lease=15s",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(settings: &[&str]) -> Result<HostsChange, Failure> {
        change(&settings.iter().map(|setting| (*setting).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn settings_are_read() {
        let change = check(&["store=redis://:a=b@db", "name="]).expect("sensible");
        assert_eq!((change.store.as_deref(), change.name.as_deref()), (Some("redis://:a=b@db"), Some("")));
        assert_eq!(change.prefix, None);
        for setting in ["store", "stores=x", "redis://:secret@db"] {
            let refused = check(&[setting]).expect_err(setting);
            assert_eq!(refused.exit_code(), 1);
        }
    }
}
