//! Which apps a command is meant for: a name, an id, a namespace, `all`, or `/a pattern/`.
//!
//! As in PM2, digits are first taken as a name, then as a namespace, then as a slot's id.

use crate::{ErrorBody, ErrorCode};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use std::str::FromStr;

/// One way to name apps.
#[derive(Debug, Clone)]
pub enum Target {
    /// Every app.
    All,
    /// A name, a namespace, or a slot's id.
    Word(String),
    /// A regular expression on names, as it was written, and compiled.
    Pattern(String, regex_lite::Regex),
}

/// Why a target cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Nothing goes by this name.
    #[error("no app, namespace or id is called {target}")]
    Unknown {
        /// What was asked for.
        target: String,
        /// The known name that looks most like it.
        suggestion: Option<String>,
    },
    /// No name fits the pattern.
    #[error("no app's name matches {pattern}")]
    NoMatch {
        /// The pattern, with its slashes.
        pattern: String,
    },
    /// The pattern is not a regular expression.
    #[error("{pattern} is not a regular expression: {problem}")]
    BadPattern {
        /// The pattern, with its slashes.
        pattern: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Nothing was named.
    #[error("no app is named")]
    Empty,
}

impl From<TargetError> for ErrorBody {
    fn from(error: TargetError) -> Self {
        let message = error.to_string();
        match error {
            TargetError::Unknown { suggestion: Some(name), .. } => {
                Self::new(ErrorCode::UnknownTarget, message).with_hint(format!("did you mean {name}?"))
            }
            TargetError::Unknown { suggestion: None, .. } | TargetError::NoMatch { .. } => {
                Self::new(ErrorCode::UnknownTarget, message).with_hint("`skep list` shows what there is")
            }
            TargetError::BadPattern { .. } => {
                Self::new(ErrorCode::BadRequest, message).with_hint("write it as /web-.*/")
            }
            TargetError::Empty => {
                Self::new(ErrorCode::BadRequest, message).with_hint("give a name, an id, a namespace, or all")
            }
        }
    }
}

/// What has to be known of an app to find it.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The app's number.
    pub app: u32,
    /// Its name.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its slots' ids.
    pub slots: &'a [u32],
}

/// What a target has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pick {
    /// A whole app.
    App {
        /// Its number.
        app: u32,
    },
    /// One slot of an app.
    Slot {
        /// The app's number.
        app: u32,
        /// The slot's id.
        slot: u32,
    },
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        if text.is_empty() {
            return Err(TargetError::Empty);
        }
        if text == "all" {
            return Ok(Self::All);
        }
        let inner = text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
        let Some(inner) = inner.filter(|inner| !inner.is_empty()) else {
            return Ok(Self::Word(text.to_owned()));
        };
        match regex_lite::Regex::new(inner) {
            Ok(regex) => Ok(Self::Pattern(text.to_owned(), regex)),
            Err(error) => {
                Err(TargetError::BadPattern { pattern: text.to_owned(), problem: error.to_string() })
            }
        }
    }
}

impl Target {
    /// What of `known` is meant. `all` finds nothing where there is nothing; any other target must find something.
    pub fn pick(&self, known: &[Known<'_>]) -> Result<Vec<Pick>, TargetError> {
        let apps = |wanted: &dyn Fn(&Known<'_>) -> bool| -> Vec<Pick> {
            known.iter().filter(|&app| wanted(app)).map(|app| Pick::App { app: app.app }).collect()
        };
        match self {
            Self::All => Ok(apps(&|_| true)),
            Self::Pattern(pattern, regex) => {
                let found = apps(&|app| regex.is_match(app.name));
                if found.is_empty() {
                    Err(TargetError::NoMatch { pattern: pattern.clone() })
                } else {
                    Ok(found)
                }
            }
            Self::Word(word) => {
                let named = apps(&|app| app.name == word);
                if !named.is_empty() {
                    return Ok(named);
                }
                let grouped = apps(&|app| app.namespace == word);
                if !grouped.is_empty() {
                    return Ok(grouped);
                }
                let slot = word.parse().ok().and_then(|slot: u32| {
                    let app = known.iter().find(|app| app.slots.contains(&slot))?;
                    Some(Pick::Slot { app: app.app, slot })
                });
                match slot {
                    Some(slot) => Ok(vec![slot]),
                    None => Err(TargetError::Unknown {
                        target: word.clone(),
                        suggestion: suggestion(word, known),
                    }),
                }
            }
        }
    }

    /// What several targets mean together: each app once, and no slot of an app that is meant as a whole. In the
    /// order in which they were named.
    pub fn pick_all(targets: &[Self], known: &[Known<'_>]) -> Result<Vec<Pick>, TargetError> {
        let mut picks: Vec<Pick> = Vec::new();
        for target in targets {
            for pick in target.pick(known)? {
                if !picks.contains(&pick) {
                    picks.push(pick);
                }
            }
        }
        let whole: Vec<Pick> =
            picks.iter().copied().filter(|pick| matches!(pick, Pick::App { .. })).collect();
        picks.retain(|pick| match *pick {
            Pick::App { .. } => true,
            Pick::Slot { app, .. } => !whole.contains(&Pick::App { app }),
        });
        Ok(picks)
    }
}

/// A name of fewer letters is not guessed at: everything short looks alike.
const GUESS_CHARS_MIN: usize = 3;

/// The known name that differs least, by at most one wrong letter in three.
fn suggestion(word: &str, known: &[Known<'_>]) -> Option<String> {
    let chars = word.chars().count();
    if chars < GUESS_CHARS_MIN {
        return None;
    }
    let names = known.iter().flat_map(|app| [app.name, app.namespace]);
    let scored = names.map(|name| (strsim::damerau_levenshtein(word, name), name));
    let best = scored.filter(|&(distance, _)| distance <= chars / 3).min_by_key(|&(distance, _)| distance)?;
    Some(best.1.to_owned())
}

/// What must be escaped in a path segment, and the comma, which separates targets.
const SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b',')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Several targets as one path segment: `web,api%20v2`.
pub fn encode_targets<S: AsRef<str>>(targets: &[S]) -> String {
    let encoded: Vec<String> =
        targets.iter().map(|target| utf8_percent_encode(target.as_ref(), SEGMENT).to_string()).collect();
    encoded.join(",")
}

/// One name out of a path's segment.
///
/// # Errors
/// When it is not UTF-8.
pub fn decode_name(segment: &str) -> Result<String, ErrorBody> {
    percent_decode_str(segment).decode_utf8().map(std::borrow::Cow::into_owned).map_err(|_| {
        ErrorBody::new(ErrorCode::BadRequest, format!("name {segment:?} is not UTF-8"))
            .with_hint("percent-encode the name's UTF-8 bytes")
    })
}

/// The targets of a path segment, in reverse of [`encode_targets`].
pub fn decode_targets(segment: &str) -> Result<Vec<Target>, ErrorBody> {
    segment
        .split(',')
        .map(|part| match percent_decode_str(part).decode_utf8() {
            Ok(text) => text.parse().map_err(ErrorBody::from),
            Err(_) => Err(ErrorBody::new(ErrorCode::BadRequest, format!("target {part:?} is not UTF-8"))
                .with_hint("percent-encode the name's UTF-8 bytes")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FLEET: &[Known<'_>] = &[
        Known { app: 1, name: "web", namespace: "shop", slots: &[0, 1] },
        Known { app: 2, name: "jobs", namespace: "shop", slots: &[2] },
        Known { app: 3, name: "7", namespace: "default", slots: &[3] },
        Known { app: 4, name: "web-admin", namespace: "default", slots: &[7] },
    ];

    fn pick(targets: &[&str]) -> Result<Vec<Pick>, TargetError> {
        let targets: Vec<Target> = targets.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        Target::pick_all(&targets, FLEET)
    }

    fn apps(ids: &[u32]) -> Result<Vec<Pick>, TargetError> {
        Ok(ids.iter().map(|&app| Pick::App { app }).collect())
    }

    #[test]
    fn a_name_comes_before_a_namespace_and_a_namespace_before_an_id() {
        assert_eq!(pick(&["web"]), apps(&[1]));
        assert_eq!(pick(&["shop"]), apps(&[1, 2]));
        assert_eq!(pick(&["7"]), apps(&[3]), "an app is called 7, so slot 7 is not meant");
        assert_eq!(pick(&["1"]), Ok(vec![Pick::Slot { app: 1, slot: 1 }]));
        assert_eq!(pick(&["all"]), apps(&[1, 2, 3, 4]));
    }

    #[test]
    fn a_pattern_finds_all_names_that_contain_it() {
        assert_eq!(pick(&["/^web/"]), apps(&[1, 4]));
        assert_eq!(pick(&["/nothing/"]), Err(TargetError::NoMatch { pattern: "/nothing/".into() }));
        assert!(matches!(pick(&["/(/"]), Err(TargetError::BadPattern { .. })));
    }

    #[test]
    fn what_is_named_twice_is_meant_once() {
        assert_eq!(pick(&["web", "shop", "0"]), apps(&[1, 2]));
        assert_eq!(pick(&["0", "0"]), Ok(vec![Pick::Slot { app: 1, slot: 0 }]));
    }

    #[test]
    fn a_slip_of_the_finger_is_answered_with_the_name_that_was_meant() {
        let hint = |word| ErrorBody::from(pick(&[word]).unwrap_err()).hint.expect("there is always one");
        assert_eq!(ErrorBody::from(pick(&["wbe"]).unwrap_err()).code, ErrorCode::UnknownTarget);
        assert_eq!(hint("wbe"), "did you mean web?");
        assert_eq!(hint("web-amdin"), "did you mean web-admin?");
        assert_eq!(hint("we"), "`skep list` shows what there is");
        assert_eq!(hint("mail"), "`skep list` shows what there is");
    }

    #[test]
    fn all_of_nothing_is_nothing_but_a_name_must_exist() {
        assert_eq!(Target::All.pick(&[]), Ok(vec![]));
        assert!(Target::Word("web".into()).pick(&[]).is_err());
    }

    proptest! {
        #[test]
        fn any_names_survive_the_path(names in prop::collection::vec("[^/].{0,12}", 1..4)) {
            let segment = encode_targets(&names);
            prop_assert!(!segment.contains(['/', '?', '#', ' ']));
            let decoded = decode_targets(&segment).unwrap();
            for (name, target) in names.iter().zip(&decoded) {
                match target {
                    Target::All => prop_assert_eq!(name, "all"),
                    Target::Word(word) => prop_assert_eq!(name, word),
                    Target::Pattern(pattern, _) => prop_assert_eq!(name, pattern),
                }
            }
            prop_assert_eq!(names.len(), decoded.len());
        }
    }
}
