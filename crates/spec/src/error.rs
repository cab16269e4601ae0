//! The one error of this crate: a field, the value it was given, and what to write instead.

/// Why a request cannot be turned into an app.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// One field has a value that it cannot have.
    #[error("{field}: {value:?} {problem}")]
    Field {
        /// The field as the user knows it (`kill_timeout`, `--instances`).
        field: String,
        /// The value that was given.
        value: String,
        /// What is wrong with it, as the end of a sentence ("is not a duration").
        problem: String,
        /// What to write instead.
        remedy: String,
    },
    /// The script or program to run is not there.
    #[error("script not found: {path}")]
    ScriptNotFound {
        /// The path or name that was looked for.
        path: String,
        /// Where it was looked for, or a file that looks alike.
        remedy: String,
    },
    /// The script is there, but nothing on this machine can run it.
    #[error("{path} cannot be run: {problem}")]
    NotRunnable {
        /// The script.
        path: String,
        /// Why it cannot be run.
        problem: String,
        /// How to make it run.
        remedy: String,
    },
    /// Another app has the name already.
    #[error("{name} already exists and is {status}")]
    NameTaken {
        /// The name in question.
        name: String,
        /// What the other app is doing.
        status: String,
        /// How to go on.
        remedy: String,
    },
}

impl SpecError {
    /// A [`SpecError::Field`].
    pub fn field(
        field: impl Into<String>,
        value: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Field {
            field: field.into(),
            value: value.into(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }

    /// What the user can do about it: one sentence without a final stop.
    pub fn remedy(&self) -> &str {
        match self {
            Self::Field { remedy, .. }
            | Self::ScriptNotFound { remedy, .. }
            | Self::NotRunnable { remedy, .. }
            | Self::NameTaken { remedy, .. } => remedy,
        }
    }
}
