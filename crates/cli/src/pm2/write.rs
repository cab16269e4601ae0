//! `start app.js -w`: what was typed, as a file that can be started the next time.

use super::Front;
use super::say::Trouble;
use crate::start_args::StartArgs;
use serde_json::{Map, Value};
use skep_spec::AppSpec;

/// Writes `<name>-pm2.json` into the current directory; an old one is replaced.
pub(super) fn write(word: &str, args: &StartArgs, spec: &AppSpec, front: &Front) -> Result<(), Trouble> {
    let file = front.cwd()?.join(format!("{}-pm2.json", spec.name));
    front.say.line(&format!("[PM2] Writing configuration to {}", file.display()));
    let text = text(word, args, &front.line.own_args, &spec.name)?;
    std::fs::write(&file, text)
        .map_err(|error| Trouble::doing(&format!("{} cannot be written", file.display()), &error))
}

fn text(word: &str, args: &StartArgs, own_args: &[String], name: &str) -> Result<String, Trouble> {
    let selection = args.selection(own_args)?;
    let mut app = Map::new();
    app.insert("name".to_owned(), Value::from(name));
    app.insert("script".to_owned(), Value::from(word));
    app.extend(selection.overrides);
    if !selection.env.is_empty() {
        let variables = selection.env.into_iter().map(|(name, text)| (name, Value::from(text)));
        app.insert("env".to_owned(), Value::Object(variables.collect()));
    }
    serde_json::to_string_pretty(&Value::Object(app))
        .map(|text| text + "\n")
        .map_err(|error| Trouble::doing("the app", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_says_what_was_typed_and_no_more() {
        let args = StartArgs { instances: Some(skep_spec::Instances::Count(2)), ..StartArgs::default() };
        let text = text("app.js", &args, &["--port".to_owned(), "80".to_owned()], "web").unwrap();
        let app: Value = serde_json::from_str(&text).unwrap();
        let expected = serde_json::json!({
            "name": "web", "script": "app.js", "instances": 2, "args": ["--port", "80"],
        });
        assert_eq!(app, expected);
    }
}
