//! Errors as they travel: a code for programs, a message and a hint for people.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What kind of error it is. Each kind has one HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request could not be read (400).
    BadRequest,
    /// No app, worker or namespace goes by this name (404).
    UnknownTarget,
    /// There is no such path (404).
    UnknownRoute,
    /// The path exists, but not with this method (405).
    MethodNotAllowed,
    /// Another app has the name (409).
    NameTaken,
    /// Not possible in the present state, for example while another rollout is under way (409).
    Conflict,
    /// The request is larger than is accepted (413).
    TooLarge,
    /// The app as described cannot be run (422).
    InvalidSpec,
    /// A worker did not start, or did not become ready (500; in a stream, it comes as a line).
    StartFailed,
    /// The goal was not reached in the time that the caller gave (504).
    TimedOut,
    /// The decision could not be written to disk, so it was not carried out (507).
    StorageFailed,
    /// This kernel, or this build, cannot do it (501).
    Unsupported,
    /// skep is stopping (503).
    Unavailable,
    /// A fault in skep (500).
    Internal,
    /// A kind that this client does not know.
    #[serde(other)]
    Unknown,
}

impl ErrorCode {
    /// The HTTP status of the answer.
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::UnknownTarget | Self::UnknownRoute => 404,
            Self::MethodNotAllowed => 405,
            Self::NameTaken | Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::InvalidSpec => 422,
            Self::Unsupported => 501,
            Self::Unavailable => 503,
            Self::TimedOut => 504,
            Self::StorageFailed => 507,
            Self::StartFailed | Self::Internal | Self::Unknown => 500,
        }
    }
}

/// One error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBody {
    /// What kind of error it is.
    pub code: ErrorCode,
    /// What went wrong, as a sentence without a final stop.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl ErrorBody {
    /// An error without a hint.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    /// The same error with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for ErrorBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ErrorBody {}

impl From<skep_spec::SpecError> for ErrorBody {
    fn from(error: skep_spec::SpecError) -> Self {
        use skep_spec::SpecError;
        let code = match &error {
            SpecError::NameTaken { .. } => ErrorCode::NameTaken,
            SpecError::Field { .. } | SpecError::ScriptNotFound { .. } | SpecError::NotRunnable { .. } => {
                ErrorCode::InvalidSpec
            }
        };
        Self::new(code, error.to_string()).with_hint(error.remedy())
    }
}

/// The body of every answer that is not a success: `{"error": {…}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorEnvelope {
    /// The error.
    pub error: ErrorBody,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_travels_with_its_hint() {
        let error = ErrorBody::new(ErrorCode::UnknownTarget, "wbe not found").with_hint("did you mean web?");
        let json = serde_json::to_string(&ErrorEnvelope { error: error.clone() }).unwrap();
        assert_eq!(
            json,
            r#"{"error":{"code":"unknown_target","message":"wbe not found","hint":"did you mean web?"}}"#
        );
        assert_eq!(serde_json::from_str::<ErrorEnvelope>(&json).unwrap().error, error);
    }

    #[test]
    fn a_newer_daemon_may_have_errors_that_this_client_does_not_know() {
        let error: ErrorBody = serde_json::from_str(r#"{"code":"frobbed","message":"x"}"#).unwrap();
        assert_eq!(error.code, ErrorCode::Unknown);
    }
}
