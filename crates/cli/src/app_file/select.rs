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
        overrides.extend(self.said_though_usual(&raw.spec));
        overrides.remove("env");
        Ok(Selection { environment: names.into_iter().next(), overrides, env: raw.spec.env })
    }
}

impl StartArgs {
    /// Whether a value was given to one of the attributes that defaults from elsewhere must not change.
    pub(crate) fn says(&self, attribute: &str) -> bool {
        match attribute {
            "kill_signal" => self.kill_signal.is_some(),
            "kill_timeout" => self.kill_timeout.is_some(),
            "listen_timeout" => self.listen_timeout.is_some(),
            "instance_var" => self.instance_var.is_some(),
            "shutdown_with_message" => self.shutdown_with_message,
            _ => false,
        }
    }

    /// Attributes that were given the value that they have anyway: an app that is there, or a file, may have another one
    /// (`--restart-delay 0`, `--cron-restart 0`).
    fn said_though_usual(&self, spec: &AppSpec) -> Map<String, Value> {
        let all = [
            ("instances", self.instances.is_some(), to_value(&spec.instances)),
            ("namespace", self.namespace.is_some(), to_value(&spec.namespace)),
            ("runtime", self.runtime.is_some(), to_value(&spec.runtime)),
            ("balance", self.balance.is_some(), to_value(&spec.balance)),
            ("max_restarts", self.max_restarts.is_some(), to_value(&spec.max_restarts)),
            ("min_uptime", self.min_uptime.is_some(), to_value(&spec.min_uptime)),
            ("restart_delay", self.restart_delay.is_some(), to_value(&spec.restart_delay)),
            (
                "exp_backoff_restart_delay",
                self.exp_backoff_restart_delay.is_some(),
                to_value(&spec.exp_backoff_restart_delay),
            ),
            ("cron_restart", self.cron_restart.is_some(), to_value(&spec.cron_restart)),
            ("watch_delay", self.watch_delay.is_some(), to_value(&spec.watch_delay)),
            ("watch_action", self.watch_action.is_some(), to_value(&spec.watch_action)),
            ("kill_signal", self.kill_signal.is_some(), to_value(&spec.kill_signal)),
            ("kill_timeout", self.kill_timeout.is_some(), to_value(&spec.kill_timeout)),
            ("listen_timeout", self.listen_timeout.is_some(), to_value(&spec.listen_timeout)),
            ("max_surge", self.max_surge.is_some(), to_value(&spec.max_surge)),
            ("max_unavailable", self.max_unavailable.is_some(), to_value(&spec.max_unavailable)),
            ("drain", self.drain.is_some(), to_value(&spec.drain)),
            ("drain_websockets", self.drain_websockets.is_some(), to_value(&spec.drain_websockets)),
            ("log_type", self.log_type.is_some(), to_value(&spec.log_type)),
        ];
        all.into_iter()
            .filter(|(_, said, _)| *said)
            .map(|(name, _, value)| (name.to_owned(), value))
            .collect()
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
        let usual = StartArgs {
            restart_delay: Some(skep_spec::Millis(0)),
            cron_restart: Some(crate::args::CronArg(None)),
            ..StartArgs::default()
        };
        let overrides = usual.selection(&[]).unwrap().overrides;
        assert_eq!(
            serde_json::to_value(overrides).unwrap(),
            serde_json::json!({ "restart_delay": 0, "cron_restart": null })
        );
        let two = StartArgs { env: vec!["a".into(), "b".into()], ..StartArgs::default() };
        assert!(two.selection(&[]).is_err());
    }
}
