//! Text to a value: JSON with comments, YAML, TOML.

use super::FileError;
use serde_json::Value;

/// What a file is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// JSON; comments, trailing commas, single quotes and bare names are let pass, as PM2 does.
    Json,
    /// YAML 1.2, one document.
    Yaml,
    /// TOML 1.0.
    Toml,
}

/// How many nodes and events a YAML file may have: room for ten thousand apps with hundreds of attributes each, and
/// an end to a file that multiplies itself by aliases.
const YAML_NODES_MAX: usize = 10_000_000;

impl Syntax {
    /// By the file's name; `None` for JavaScript and everything else.
    pub fn of(name: &str) -> Option<Self> {
        match crate::facts::extension(name).as_str() {
            ".json" | ".json5" | ".jsonc" => Some(Self::Json),
            ".yaml" | ".yml" => Some(Self::Yaml),
            ".toml" => Some(Self::Toml),
            _ => None,
        }
    }
}

/// Reads `text`, which came from `file`.
///
/// # Errors
/// With line and column when the text is not what its syntax asks for.
pub fn parse(text: &str, syntax: Syntax, file: &str) -> Result<Value, FileError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let value = match syntax {
        Syntax::Json => json(text),
        Syntax::Yaml => yaml(text),
        Syntax::Toml => {
            toml::from_str::<Value>(text).map_err(|error| error.to_string().trim_end().to_owned())
        }
    };
    value.map_err(|problem| {
        let remedy = match syntax {
            Syntax::Json if truncated(text) => "the file ends in the middle; was it written to its end?",
            Syntax::Yaml if text.lines().any(starts_with_tab) => {
                "YAML indents with spaces: replace the tabs at the beginning of lines"
            }
            Syntax::Json | Syntax::Yaml | Syntax::Toml => "",
        };
        FileError::whole(file, format!("cannot be read: {problem}"), remedy)
    })
}

fn json(text: &str) -> Result<Value, String> {
    let options = jsonc_parser::ParseOptions {
        // A forgotten comma is more often half an edit than a wish.
        allow_missing_commas: false,
        allow_non_finite_numbers: false,
        ..jsonc_parser::ParseOptions::default()
    };
    match jsonc_parser::parse_to_serde_value::<Option<Value>>(text, &options) {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err("it is empty".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn yaml(text: &str) -> Result<Value, String> {
    let mut budget = serde_saphyr::Budget::default();
    budget.max_nodes = YAML_NODES_MAX;
    budget.max_events = YAML_NODES_MAX;
    let mut options = serde_saphyr::Options::default();
    options.budget = Some(budget);
    // YAML 1.2: `no` is a word (a country, say), not false.
    options.strict_booleans = true;
    // The rest of the message draws the line, for which there is no room here.
    let words = |error: serde_saphyr::Error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        first.strip_prefix("error: ").unwrap_or(first).to_owned()
    };
    serde_saphyr::from_str_with_options::<Value>(text, options).map_err(words)
}

fn starts_with_tab(line: &str) -> bool {
    line.trim_start_matches(' ').starts_with('\t')
}

/// More brackets are opened than closed: what half of a JSON file looks like.
fn truncated(text: &str) -> bool {
    let count = |set: [char; 2]| text.matches(set).count();
    count(['{', '[']) > count(['}', ']'])
}
