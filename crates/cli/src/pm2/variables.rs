//! Variables by which PM2's users set defaults for all apps, mostly in images of containers. They count when an app is
//! started; what was said of the app itself goes before.

use skep_spec::{AppSpec, SpecError};
use std::str::FromStr;

const KILL_SIGNAL: &str = "PM2_KILL_SIGNAL";
const KILL_TIMEOUT: &str = "PM2_KILL_TIMEOUT";
const KILL_USE_MESSAGE: &str = "PM2_KILL_USE_MESSAGE";
const LISTEN_TIMEOUT: &str = "PM2_GRACEFUL_LISTEN_TIMEOUT";
const INSTANCE_VAR: &str = "PM2_PROCESS_INSTANCE_VAR";

/// Sets what they say and nobody else did; `is_said` tells whether an attribute was given, `variable` what a variable is.
///
/// # Errors
/// When a value makes no sense: the variable is named.
pub(crate) fn apply(
    spec: &mut AppSpec,
    is_said: &dyn Fn(&str) -> bool,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<(), SpecError> {
    let given =
        |name: &str, attribute: &str| variable(name).filter(|text| !text.is_empty() && !is_said(attribute));
    if let Some(text) = given(KILL_SIGNAL, "kill_signal") {
        spec.kill_signal = read(KILL_SIGNAL, &text)?;
    }
    if let Some(text) = given(KILL_TIMEOUT, "kill_timeout") {
        spec.kill_timeout = read(KILL_TIMEOUT, &text)?;
    }
    if let Some(text) = given(LISTEN_TIMEOUT, "listen_timeout") {
        spec.listen_timeout = read(LISTEN_TIMEOUT, &text)?;
    }
    if let Some(name) = given(INSTANCE_VAR, "instance_var") {
        spec.instance_var = name;
    }
    // PM2 takes any text for yes.
    if given(KILL_USE_MESSAGE, "shutdown_with_message").is_some() && spec.is_node() {
        spec.shutdown_with_message = true;
    }
    spec.validate()
}

/// The process's own variables.
pub(crate) fn own(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn read<T: FromStr<Err = SpecError>>(name: &str, text: &str) -> Result<T, SpecError> {
    text.parse()
        .map_err(|error: SpecError| SpecError::field(name, text, "makes no sense", error.remedy().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_spec::{Millis, Signal};

    fn check(said: &[&str], variables: &[(&str, &str)]) -> Result<AppSpec, SpecError> {
        let mut spec = AppSpec {
            name: "web".into(),
            script: Some("/srv/app.js".into()),
            interpreter: Some("/usr/bin/node".into()),
            cwd: "/srv".into(),
            ..AppSpec::default()
        };
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        apply(&mut spec, &|attribute| said.contains(&attribute), &variable)?;
        Ok(spec)
    }

    #[test]
    fn variables_are_defaults_and_what_is_said_goes_before_them() {
        let variables = [
            ("PM2_KILL_SIGNAL", "SIGTERM"),
            ("PM2_KILL_TIMEOUT", "9000"),
            ("PM2_GRACEFUL_LISTEN_TIMEOUT", "5000"),
            ("PM2_KILL_USE_MESSAGE", "true"),
            ("PM2_PROCESS_INSTANCE_VAR", "NUMBER"),
        ];
        let spec = check(&["kill_timeout"], &variables).unwrap();
        assert_eq!(spec.kill_signal, "SIGTERM".parse::<Signal>().unwrap());
        assert_eq!((spec.kill_timeout, spec.listen_timeout), (Millis(1_600), Millis(5_000)));
        assert!(spec.shutdown_with_message);
        assert_eq!(spec.instance_var, "NUMBER");
        assert_eq!(check(&[], &[]).unwrap().kill_timeout, Millis(1_600));
    }

    #[test]
    fn a_variable_that_makes_no_sense_is_named() {
        let said = check(&[], &[("PM2_KILL_SIGNAL", "SIGFOO")]).unwrap_err().to_string();
        assert_eq!(said, r#"PM2_KILL_SIGNAL: "SIGFOO" makes no sense"#);
    }
}
