//! What the options of `start` mean for the apps of a file: they win over what it says.

use crate::failure::Failure;
use crate::start_args::StartArgs;
use serde_json::{Map, Value};
use skep_api::ErrorCode;
use skep_spec::{AppSpec, Selection};

impl StartArgs {
    /// These options for the apps of a file. `--env production` chooses the file's `env_production`; `--env A=1` sets a
    /// variable.
    ///
    /// # Errors
    /// When an option has no meaning for apps of a file.
    pub(crate) fn selection(&self, args: &[String]) -> Result<Selection, Failure> {
        let (env, names): (Vec<String>, Vec<String>) =
            self.env.iter().cloned().partition(|pair| pair.contains('='));
        if names.len() > 1 {
            return Err(Failure::new(
                ErrorCode::BadRequest,
                format!("--env {}: only one environment can be chosen", names.join(" --env ")),
                "set a variable with --env NAME=VALUE",
            ));
        }
        let raw = Self { env, ..self.clone() }.to_raw("", args)?;
        let mut overrides = said(&raw.spec);
        if raw.instances_given {
            overrides.insert("instances".to_owned(), to_value(&raw.spec.instances));
        }
        overrides.remove("env");
        Ok(Selection { environment: names.into_iter().next(), overrides, env: raw.spec.env })
    }
}

fn to_value<T: serde::Serialize>(value: &T) -> Value {
    serde_json::to_value(value).expect("plain data with string keys is always JSON")
}

/// The attributes that differ from their defaults: what somebody said.
fn said(spec: &AppSpec) -> Map<String, Value> {
    let fields = |spec: &AppSpec| match to_value(spec) {
        Value::Object(fields) => fields,
        other => unreachable!("a struct is an object in JSON, not {other}"),
    };
    let silence = fields(&AppSpec::default());
    fields(spec).into_iter().filter(|(name, value)| silence.get(name) != Some(value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_said_wins_over_the_file() {
        assert_eq!(StartArgs::default().selection(&[]).unwrap().overrides, Map::new());
        let args = StartArgs {
            env: vec!["production".into(), "A=1".into()],
            instances: Some(skep_spec::Instances::Count(1)),
            namespace: Some("shop".into()),
            ..StartArgs::default()
        };
        let selection = args.selection(&["-v".into()]).unwrap();
        assert_eq!(selection.environment.as_deref(), Some("production"));
        assert_eq!(selection.env["A"], "1");
        let names: Vec<_> = selection.overrides.keys().cloned().collect();
        assert_eq!(names, ["args", "instances", "namespace"]);
        let two = StartArgs { env: vec!["a".into(), "b".into()], ..StartArgs::default() };
        assert!(two.selection(&[]).is_err());
    }
}
