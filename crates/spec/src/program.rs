//! What is executed for an app: the argument vector, and the environment that the user asked for.

use crate::AppSpec;
use std::collections::BTreeMap;

/// The interpreter's name that means "the script runs by itself".
pub const NO_INTERPRETER: &str = "none";
/// The shell for command lines; POSIX promises it at this path.
const SHELL: &str = "/bin/sh";

/// Splits text into words as a shell does; `None` when a quote is not closed.
pub fn split_words(text: &str) -> Option<Vec<String>> {
    shell_words::split(text).ok()
}

impl AppSpec {
    /// The argument vector to execute; its first entry is the program (an absolute path once resolved).
    /// Empty when neither a script nor a command is set, which [`AppSpec::validate`] refuses.
    pub fn argv(&self) -> Vec<String> {
        if let Some(command) = &self.command {
            let mut line = command.clone();
            if !self.args.is_empty() {
                line.push(' ');
                line.push_str(&shell_words::join(&self.args));
            }
            return vec![SHELL.to_owned(), "-c".to_owned(), line];
        }
        let Some(script) = &self.script else { return Vec::new() };
        let mut argv = Vec::new();
        if let Some(interpreter) = self.interpreter_program() {
            argv.push(interpreter.to_owned());
            argv.extend(self.interpreter_args.iter().cloned());
        }
        argv.push(script.clone());
        argv.extend(self.args.iter().cloned());
        argv
    }

    /// The interpreter, unless the script runs by itself.
    pub fn interpreter_program(&self) -> Option<&str> {
        self.interpreter.as_deref().filter(|&interpreter| interpreter != NO_INTERPRETER)
    }

    /// The environment that the user asked for: what is inherited and not filtered, then `env`, then `port`.
    /// What skep adds for each worker (`NODE_APP_INSTANCE` and so on) is not in here.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let kept = |name: &str| !self.filter_env.iter().any(|part| name.contains(part.as_str()));
        let inherited = self.inherited_env.iter().filter(|(name, _)| kept(name));
        let mut all: BTreeMap<_, _> =
            inherited.chain(&self.env).map(|(name, value)| (name.clone(), value.clone())).collect();
        if let Some(port) = self.port {
            all.insert("PORT".to_owned(), port.to_string());
        }
        all
    }

    /// The value of `increment_var` for the instance of this index, when there is such a variable and its first value
    /// is a number.
    pub fn incremented(&self, index: u32) -> Option<(&str, String)> {
        let name = self.increment_var.as_deref()?;
        let first = self.environment().remove(name)?.parse::<i64>().ok()?;
        Some((name, first.saturating_add(i64::from(index)).to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(script: &str) -> AppSpec {
        AppSpec { script: Some(script.into()), ..AppSpec::default() }
    }

    #[test]
    fn an_interpreter_comes_before_the_script_and_its_arguments_between() {
        let spec = AppSpec {
            interpreter: Some("/usr/bin/node".into()),
            interpreter_args: vec!["--inspect".into()],
            args: vec!["--port".into(), "80".into()],
            ..script("/srv/app.js")
        };
        assert_eq!(spec.argv(), ["/usr/bin/node", "--inspect", "/srv/app.js", "--port", "80"]);
        let bare = AppSpec { interpreter: Some("none".into()), ..script("/srv/app") };
        assert_eq!(bare.argv(), ["/srv/app"]);
    }

    #[test]
    fn arguments_of_a_command_line_are_quoted_for_the_shell() {
        let spec = AppSpec { command: Some("a && b".into()), args: vec!["x y".into()], ..AppSpec::default() };
        assert_eq!(spec.argv(), ["/bin/sh", "-c", "a && b 'x y'"]);
    }

    #[test]
    fn what_the_user_sets_wins_over_what_is_inherited_and_filtered() {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        let spec = AppSpec {
            inherited_env: map(&[("PATH", "/bin"), ("AWS_SECRET", "x"), ("A", "1")]),
            filter_env: vec!["SECRET".into()],
            env: map(&[("A", "2"), ("MY_SECRET", "kept: it was asked for")]),
            port: Some(8080),
            ..script("/a")
        };
        let environment = spec.environment();
        assert_eq!(environment["A"], "2");
        assert_eq!(environment["PORT"], "8080");
        assert!(environment.contains_key("MY_SECRET") && !environment.contains_key("AWS_SECRET"));
    }

    #[test]
    fn a_counted_variable_starts_at_its_value() {
        let spec = AppSpec { port: Some(3000), increment_var: Some("PORT".into()), ..script("/a") };
        assert_eq!(spec.incremented(2), Some(("PORT", "3002".to_owned())));
        assert_eq!(script("/a").incremented(2), None);
    }
}
