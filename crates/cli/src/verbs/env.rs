//! `env`: the environment that an app was given.

use super::act::look;
use crate::failure::Failure;
use crate::session::Context;
use crate::table::printable;
use skep_api::{AppsQuery, Detail};
use std::collections::BTreeMap;

/// Prints `NAME=value` lines, or one JSON object an app.
pub(crate) async fn run(targets: &[String], context: &Context) -> Result<(), Failure> {
    let mut client = context.connect().await?;
    let apps =
        look(targets, AppsQuery { detail: Detail::Full, ..AppsQuery::default() }, &mut client, context)
            .await?;
    let environments: Vec<(String, BTreeMap<String, String>)> = apps
        .iter()
        .map(|app| (app.name.clone(), app.spec.as_ref().map(|spec| spec.environment()).unwrap_or_default()))
        .collect();
    if context.output.json {
        return context.output.print_json(&environments.into_iter().collect::<BTreeMap<_, _>>());
    }
    let mut text = String::new();
    for (at, (name, environment)) in environments.iter().enumerate() {
        if environments.len() > 1 {
            text.push_str(&format!("{}# {name}\n", if at > 0 { "\n" } else { "" }));
        }
        let lines = environment.iter().map(|(name, value)| format!("{name}={}\n", printable(value)));
        text.extend(lines);
    }
    context.output.print(&text)
}
