//! The names of attributes: every alias that PM2 knows, and what becomes of those that skep does without.

use super::fields::field;
use std::borrow::Cow;

/// Other names of attributes. PM2's, and the words of this crate's own flags.
pub(super) const ALIASES: &[(&str, &str)] = &[
    ("exec", "script"),
    ("cmd", "script"),
    ("command", "script"),
    ("exec_interpreter", "interpreter"),
    ("node_args", "interpreter_args"),
    ("out", "out_file"),
    ("output", "out_file"),
    ("out_log", "out_file"),
    ("error", "error_file"),
    ("err", "error_file"),
    ("err_file", "error_file"),
    ("err_log", "error_file"),
    ("log", "log_file"),
    ("pid", "pid_file"),
    ("cron", "cron_restart"),
    ("combine_logs", "merge_logs"),
    ("user", "uid"),
    ("group", "gid"),
    ("mode", "exec_mode"),
];

/// Attributes of PM2 that change nothing here, each with the reason. (One that becomes a field of
/// [`crate::AppSpec`] counts as a field.)
pub(super) const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("automation", "skep has no metrics agent to inject"),
    ("deep_monitoring", "skep has no tracing agent"),
    ("disable_source_map_support", "skep never turns source maps on by itself"),
    ("disable_trace", "skep has no tracing agent"),
    ("event_loop_inspector", "skep has no tracing agent"),
    ("force", "names are unique in skep"),
    ("install_url", "skep has no modules"),
    ("io", "skep has no metrics agent to configure"),
    ("kill_retry_time", "skep is told by the kernel when a process ends"),
    ("pmx", "skep has no metrics agent to inject"),
    ("post_update", "skep does not pull code"),
    ("source_map_support", "write `node_args: \"--enable-source-maps\"`"),
    ("trace", "skep has no tracing agent"),
    ("username", "write `uid` to run as another user"),
    ("v8", "skep has no metrics agent to configure"),
    ("version", "it is read from package.json"),
    ("vizion", "skep does not look at version control"),
    ("windows_hide", "skep runs on Linux"),
    ("write", "the file is written already"),
    (
        "watch_options",
        "skep watches by inotify and has nothing to choose; see ignore_watch, watch_ext and watch_delay",
    ),
];

/// Attributes that are read here and become something else in the spec.
pub(super) const TRANSLATED: &[(&str, &str)] = &[
    ("script", "What to run."),
    ("time", "Put the time in front of each line of log."),
    ("name_prefix", "Comes before the name, with a colon."),
    ("execute_command", "The same as `exec_mode: fork`."),
    ("append_env_to_name", "With `--env NAME`, the name ends in `-NAME`."),
];

/// What an attribute's name turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    /// Written in the spec, or translated, under this name.
    Attribute(String),
    /// Accepted, for this reason without effect.
    WithoutEffect(&'static str),
    /// Not known; the name that was probably meant.
    Unknown(Option<String>),
}

/// Finds out what `name` means.
pub(crate) fn identify(name: &str) -> Known {
    let snake = snake_case(name);
    let canonical = ALIASES.iter().find(|(alias, _)| *alias == snake).map_or(&*snake, |(_, name)| name);
    if TRANSLATED.iter().any(|(name, _)| *name == canonical) || field(canonical).is_some() {
        return Known::Attribute(canonical.to_owned());
    }
    match WITHOUT_EFFECT.iter().find(|(name, _)| *name == canonical) {
        Some((_, reason)) => Known::WithoutEffect(reason),
        None => Known::Unknown(alike(&snake)),
    }
}

/// Whether a file of apps may say something under this name.
#[must_use]
pub fn is_attribute(name: &str) -> bool {
    name.starts_with("env_") || !matches!(identify(name), Known::Unknown(_))
}

/// PM2 knows each attribute in camelCase too.
fn snake_case(name: &str) -> Cow<'_, str> {
    if !name.contains(|c: char| c.is_ascii_uppercase()) && !name.contains('-') {
        return Cow::Borrowed(name);
    }
    let mut snake = String::new();
    for (at, c) in name.char_indices() {
        if c.is_ascii_uppercase() && at > 0 {
            snake.push('_');
        }
        snake.push(if c == '-' { '_' } else { c.to_ascii_lowercase() });
    }
    Cow::Owned(snake)
}

/// The known name that is nearest to `name`, if one is near.
fn alike(name: &str) -> Option<String> {
    let fields = super::fields().iter().map(|field| field.name.as_str());
    let others = ALIASES.iter().chain(WITHOUT_EFFECT).map(|(name, _)| *name);
    let all = fields.chain(others).chain(TRANSLATED.iter().map(|(name, _)| *name));
    let scored = all.map(|known| (strsim::damerau_levenshtein(name, known), known));
    let near = scored.filter(|&(distance, _)| distance <= name.len().div_ceil(3)).min();
    near.map(|(_, known)| known.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pm2s_aliases_and_camel_case_mean_the_same() {
        for (name, meant) in [
            ("exec", "script"),
            ("cmd", "script"),
            ("maxRestarts", "max_restarts"),
            ("interpreterArgs", "interpreter_args"),
            ("nodeArgs", "interpreter_args"),
            ("node-args", "interpreter_args"),
            ("err_log", "error_file"),
            ("combine_logs", "merge_logs"),
            ("killTimeout", "kill_timeout"),
            ("max_surge", "max_surge"),
        ] {
            assert_eq!(identify(name), Known::Attribute(meant.into()), "{name}");
        }
        assert!(matches!(identify("vizion"), Known::WithoutEffect(_)));
        assert!(matches!(identify("windowsHide"), Known::WithoutEffect(_)));
    }

    #[test]
    fn a_mistyped_name_is_answered_with_the_one_that_was_meant() {
        assert_eq!(identify("instnaces"), Known::Unknown(Some("instances".into())));
        assert_eq!(identify("scrpit"), Known::Unknown(Some("script".into())));
        assert_eq!(identify("max_restart"), Known::Unknown(Some("max_restarts".into())));
        assert_eq!(identify("frobnicate"), Known::Unknown(None));
        assert_eq!(identify("inherited_env"), Known::Unknown(None));
    }
}
