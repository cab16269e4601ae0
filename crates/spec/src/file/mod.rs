//! App files: skep's own (`skep.toml`, `skep.yaml`, `skep.json`) and PM2's ecosystem files, which differ in nothing but
//! where their paths are seen from.
//!
//! A file is text in one of three syntaxes, or what a JavaScript file exports (its evaluation is the caller's: this
//! crate runs nothing). Either way it becomes a [`Value`], then a [`Document`] of [`FileApp`]s whose attributes are
//! checked one by one, so that all mistakes are told at once, each with its app, attribute, value and remedy. What an
//! attribute may be comes from [`crate::AppSpec`] alone: a new field there can be written in files at once.

mod app;
mod attribute;
mod document;
mod env;
mod fields;
mod manual;
mod schema;
mod syntax;
mod write;

#[cfg(test)]
mod tests;

pub use app::{FileApp, Selection};
pub use attribute::is_attribute;
pub use document::{Document, read};
pub use fields::{Field, fields};
pub use manual::table;
pub use schema::schema;
pub use syntax::{Syntax, parse};
pub use write::write;

use serde_json::Value;
use std::fmt;

/// One thing that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The app that it is about, by its name or its place; none for the file as a whole.
    pub app: Option<String>,
    /// The attribute, as it is written in the file.
    pub attribute: Option<String>,
    /// The attribute's value, shortened.
    pub value: Option<String>,
    /// What is wrong, as the end of a sentence.
    pub problem: String,
    /// What to write instead: one sentence without a final stop; empty when there is nothing to add.
    pub remedy: String,
}

/// Everything that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileError {
    /// The file as the user named it.
    pub file: String,
    /// At least one.
    pub problems: Vec<Problem>,
}

/// So many problems are told; a file whose every app has the same mistake is not a screenful more instructive.
const PROBLEMS_TOLD_MAX: usize = 20;
/// So much of a value is shown.
const VALUE_CHARS_MAX: usize = 60;

impl Problem {
    /// About the file as a whole.
    pub fn whole(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { app: None, attribute: None, value: None, problem: problem.into(), remedy: remedy.into() }
    }

    /// About one app.
    pub fn of_app(app: &str, error: &crate::SpecError) -> Self {
        let app = Some(app.to_owned());
        match error {
            crate::SpecError::Field { field, value, problem, remedy } => Self {
                app,
                attribute: Some(field.clone()),
                value: Some(shorten(&format!("{value:?}"))),
                problem: problem.clone(),
                remedy: remedy.clone(),
            },
            other => Self {
                app,
                attribute: None,
                value: None,
                problem: other.to_string(),
                remedy: other.remedy().to_owned(),
            },
        }
    }

    pub(crate) fn of_attribute(
        app: &str,
        attribute: &str,
        value: &Value,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            app: Some(app.to_owned()),
            attribute: Some(attribute.to_owned()),
            value: Some(shorten(&value.to_string())),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}

/// At most so many characters of a value.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(app) = &self.app {
            write!(f, "{app}: ")?;
        }
        if let Some(attribute) = &self.attribute {
            write!(f, "{attribute}: ")?;
        }
        if let Some(value) = &self.value {
            write!(f, "{value} ")?;
        }
        f.write_str(&self.problem)
    }
}

impl FileError {
    /// An error about the file as a whole.
    pub fn whole(file: &str, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { file: file.to_owned(), problems: vec![Problem::whole(problem, remedy)] }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().take(PROBLEMS_TOLD_MAX).enumerate() {
            let line_end = if n == 0 { "" } else { "\n" };
            write!(f, "{line_end}{}: {problem}", self.file)?;
            if !problem.remedy.is_empty() && self.problems.len() > 1 {
                write!(f, "; {}", problem.remedy)?;
            }
        }
        match self.problems.len().saturating_sub(PROBLEMS_TOLD_MAX) {
            0 => Ok(()),
            more => write!(f, "\n{}: and {more} more", self.file),
        }
    }
}

impl std::error::Error for FileError {}
