//! The plan of an apply, as people read it.

use crate::output::Output;
use crate::table::printable;
use anstyle::AnsiColor;
use serde_json::Value;
use skep_api::{Action, ApplyPlan, FieldChange, PlannedApp};

/// So many characters of a value are shown.
const VALUE_CHARS_MAX: usize = 40;

/// Which apps of a plan are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Shown {
    /// Those that are changed: the verb itself tells the rest.
    #[default]
    Changed,
    /// All of them.
    All,
}

/// Shows the plan.
pub(crate) fn show(plan: &ApplyPlan, which: Shown, output: &Output) {
    let width = plan.apps.iter().map(|app| app.app.chars().count()).max().unwrap_or_default();
    for app in &plan.apps {
        if which == Shown::Changed && app.changes.is_empty() && app.action != Action::Delete {
            continue;
        }
        if app.action != Action::Unchanged {
            let (sign, color) = sign(app.action);
            output.sign(sign, color, &line(app, width));
        }
    }
    let unchanged = plan.apps.iter().filter(|app| app.action == Action::Unchanged).count();
    if which == Shown::All && unchanged > 0 {
        let apps = if unchanged == 1 { "app is" } else { "apps are" };
        output.sign("=", AnsiColor::BrightBlack, &format!("{unchanged} {apps} unchanged"));
    }
}

fn sign(action: Action) -> (&'static str, AnsiColor) {
    match action {
        Action::Create => ("+", AnsiColor::Green),
        Action::Hot | Action::Start => ("~", AnsiColor::Cyan),
        Action::Rolling | Action::Reload => ("~", AnsiColor::Yellow),
        Action::Recreate | Action::Restart => ("!", AnsiColor::Yellow),
        Action::Delete => ("-", AnsiColor::Red),
        Action::Unchanged => ("=", AnsiColor::BrightBlack),
    }
}

fn line(app: &PlannedApp, width: usize) -> String {
    let changes: Vec<String> = app.changes.iter().map(change).collect();
    let line = format!("{:width$}  {:9}  {}", app.app, app.action.as_str(), changes.join(", "));
    printable(line.trim_end()).to_string()
}

fn change(change: &FieldChange) -> String {
    let value = |value: &Option<Value>| match value {
        Some(value) => shorten(&value.to_string()),
        None => "default".to_owned(),
    };
    // The values of variables are nobody's business.
    if change.from.is_none() && change.to.is_none() {
        return change.field.clone();
    }
    format!("{} {} → {}", change.field, value(&change.from), value(&change.to))
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_the_app_the_action_and_each_field_but_no_variables_value() {
        let app = PlannedApp {
            app: "web".into(),
            action: Action::Rolling,
            changes: vec![
                FieldChange { field: "env.KEY".into(), from: None, to: None },
                FieldChange { field: "instances".into(), from: Some(2.into()), to: Some("max".into()) },
                FieldChange { field: "nice".into(), from: None, to: Some(5.into()) },
            ],
        };
        assert_eq!(line(&app, 5), "web    roll       env.KEY, instances 2 → \"max\", nice default → 5");
    }
}
