//! What the shell offers for an argument: the names of known apps, asked of the daemon at that moment.

use clap_complete::CompletionCandidate;
use clap_complete::engine::{PathCompleter, ValueCompleter};
use skep_api::AppView;
use skep_api::client::Client;
use skep_keeper::home::Home;
use std::ffi::OsStr;

/// Names and namespaces of known apps.
pub(crate) fn apps(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(current) = current.to_str() else { return Vec::new() };
    let apps = known().unwrap_or_default();
    let mut words: Vec<(String, String)> =
        apps.iter().map(|app| (app.name.clone(), format!("{}, {}", app.status, app.script))).collect();
    let spaces = apps.iter().map(|app| app.namespace.clone()).filter(|namespace| namespace != "default");
    words.extend(spaces.map(|namespace| (namespace, "namespace".to_owned())));
    words.push(("all".to_owned(), "every app".to_owned()));
    words.sort();
    words.dedup_by(|a, b| a.0 == b.0);
    let wanted = words.into_iter().filter(|(name, _)| name.starts_with(current));
    wanted.map(|(name, help)| CompletionCandidate::new(name).help(Some(help.into()))).collect()
}

/// What `start` takes: known apps, and files.
pub(crate) fn apps_and_files(current: &OsStr) -> Vec<CompletionCandidate> {
    let mut offers: Vec<_> = apps(current).into_iter().filter(|offer| offer.get_value() != "all").collect();
    offers.extend(PathCompleter::any().complete(current));
    offers
}

/// The apps of a running daemon. Whatever goes wrong, there is simply nothing to offer.
fn known() -> Option<Vec<AppView>> {
    let stream = Home::resolve().ok()?.connect().ok()??;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().ok()?;
    runtime.block_on(async {
        let mut client = Client::over(stream).await.ok()?;
        client.apps::<&str>(&[], skep_api::AppsQuery::default()).await.ok()
    })
}
