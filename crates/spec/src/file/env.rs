//! Variables in files: `env`, and `env_NAME` for `--env NAME`.

use super::Problem;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Variables by name; `None` where the file says that there shall be none.
pub(crate) type Variables = BTreeMap<String, String>;

/// The prefix of attributes that hold the variables of one environment.
pub(crate) const PREFIX: &str = "env_";

/// Reads a table of variables. Numbers and booleans become text as in JavaScript; lists and tables become JSON, as PM2
/// does it; `null` leaves the variable out.
pub(crate) fn read(app: &str, attribute: &str, value: &Value) -> Result<Variables, Problem> {
    let refuse = |value: &Value, problem: &str, remedy: &str| {
        Err(Problem::of_attribute(app, attribute, value, problem, remedy))
    };
    let Value::Object(table) = value else {
        return refuse(value, "is no table of variables", "write names and values: { \"PORT\": 3000 }");
    };
    let mut variables = Variables::new();
    for (name, value) in table {
        if name.is_empty() || name.contains(['=', '\0']) {
            return refuse(&Value::from(name.as_str()), "is no variable's name", "leave out `=` and NUL");
        }
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
        };
        if text.contains('\0') {
            let shown = Value::from(format!("{name}={}", text.replace('\0', "\\0")));
            return refuse(&shown, "has a value with a NUL byte", "remove it: no program can be given one");
        }
        variables.insert(name.clone(), text);
    }
    Ok(variables)
}

/// The same as an attribute of a spec.
pub(crate) fn to_value(variables: Variables) -> Value {
    Value::Object(variables.into_iter().map(|(name, text)| (name, Value::from(text))).collect::<Map<_, _>>())
}
