//! What is watched for changes: `watch`, `ignore_watch` and their kin.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::de::Deserializer;
use serde::{Deserialize, Serialize};

use crate::SpecError;

/// Which files renew an app's workers when they change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "true, false, a path or a list of paths")]
#[schemars(inline)]
pub enum Watch {
    /// All below the working directory, or none.
    All(bool),
    /// This path or pattern.
    Path(String),
    /// These paths and patterns.
    Paths(Vec<String>),
}

/// How workers are renewed when files change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum WatchAction {
    /// Reload what serves or has several workers, restart the rest.
    #[default]
    Auto,
    /// One after another.
    Reload,
    /// All at once, as PM2 does.
    Restart,
}

/// An entry of `ignore_watch` that begins so is a regular expression. A `RegExp` in a JavaScript file becomes one.
const REGEX: &str = "regex:";

/// An entry of `ignore_watch`.
#[derive(Debug, Clone)]
pub enum Ignored<'a> {
    /// A line of a `.gitignore`.
    Pattern(&'a str),
    /// A regular expression for the whole path.
    Regex(regex_lite::Regex),
}

// === impl Ignored ===

impl<'a> Ignored<'a> {
    /// Reads an entry.
    ///
    /// # Errors
    /// When it is a regular expression that cannot be understood.
    pub fn read(text: &'a str) -> Result<Self, SpecError> {
        let Some(expression) = text.strip_prefix(REGEX) else { return Ok(Self::Pattern(text)) };
        regex_lite::Regex::new(expression).map(Self::Regex).map_err(|error| {
            SpecError::field(
                "ignore_watch",
                text,
                format!("is no regular expression that skep understands: {error}"),
                "there is no look-ahead, no look-behind and no back-reference; a pattern as in a .gitignore says most \
                 things: *.tmp, client/img, !keep.js",
            )
        })
    }
}

// === impl Watch ===

impl Watch {
    /// The paths and patterns as they were written, `.` for all below the working directory; none: nothing is watched.
    #[must_use]
    pub fn paths(&self) -> Vec<&str> {
        match self {
            Self::All(false) => Vec::new(),
            Self::All(true) => vec!["."],
            Self::Path(path) => vec![path],
            Self::Paths(paths) => paths.iter().map(String::as_str).collect(),
        }
    }

    /// What is wrong with it, if something is.
    pub(crate) fn check(&self) -> Result<(), SpecError> {
        match self.paths().into_iter().find(|path| path.starts_with(REGEX)) {
            None => Ok(()),
            Some(path) => Err(SpecError::field(
                "watch",
                path,
                "is a regular expression",
                "name directories, files or patterns such as src/**/*.js; ignore_watch takes regular expressions",
            )),
        }
    }

    /// Whether nothing is watched.
    #[must_use]
    pub fn is_off(&self) -> bool {
        !self.is_on()
    }

    /// Whether anything is watched.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.paths().is_empty()
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self::All(false)
    }
}

impl fmt::Display for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.paths().join(", "))
    }
}

// === impl WatchAction ===

impl FromStr for WatchAction {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        match text {
            "auto" => Ok(Self::Auto),
            "reload" => Ok(Self::Reload),
            "restart" => Ok(Self::Restart),
            _ => Err(SpecError::field("watch_action", text, "is no action", "write auto, reload or restart")),
        }
    }
}

/// Reads one text or a list of texts.
///
/// # Errors
/// When it is neither.
pub(crate) fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a text or a list of texts")]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regular_expressions_are_for_what_is_ignored_and_are_understood_or_refused() {
        let regex = |text| match Ignored::read(text) {
            Ok(Ignored::Regex(regex)) => regex,
            other => panic!("{text}: {other:?}"),
        };
        // As `String(/…/)` writes them.
        assert!(regex(r"regex:[\/\\]\.|node_modules").is_match("/srv/.git/HEAD"));
        assert!(regex(r"regex:(?i)\.(?:png|JPG)$").is_match("/srv/a.jpg"));
        assert!(matches!(Ignored::read("/tmp/"), Ok(Ignored::Pattern("/tmp/"))));
        let refused = Ignored::read("regex:a(?!b)").expect_err("look-ahead").to_string();
        assert!(refused.contains("ignore_watch") && refused.contains("look-around"), "{refused}");
        assert!(Watch::Path("regex:src".into()).check().is_err());
        assert!(Watch::Paths(vec!["src".into(), "lib/*.js".into()]).check().is_ok());
    }

    #[test]
    fn it_is_read_as_pm2_writes_it() {
        let read = |text: &str| serde_json::from_str::<Watch>(text).map(|watch| watch.paths().join(" "));
        assert_eq!(read("true").expect("all"), ".");
        assert_eq!(read("false").expect("none"), "");
        assert_eq!(read(r#""src""#).expect("one"), "src");
        assert_eq!(read(r#"["src","lib/*.js"]"#).expect("some"), "src lib/*.js");
        assert!(read("5").expect_err("no").to_string().contains("a list of paths"));
        assert!("often".parse::<WatchAction>().is_err());
    }
}
