//! What can go wrong in the CLI, what it says then, and its exit codes.

use skep_api::client::ClientError;
use skep_api::{ErrorBody, ErrorCode, ErrorEnvelope};
use skep_spec::SpecError;
use std::io;

/// The exit codes, which `skep help` and docs/cli.md list.
pub(crate) mod exit {
    /// The goal was reached.
    pub(crate) const OK: u8 = 0;
    /// Something failed: a worker did not start, a rollout was given up; or what was asked for makes no sense.
    pub(crate) const FAILURE: u8 = 1;
    /// `apply --dry-run` has found something to do; nothing else ends so.
    pub(crate) const CHANGES: u8 = 2;
    /// No app goes by that name.
    pub(crate) const UNKNOWN_TARGET: u8 = 3;
    /// skep is not running, or does not answer.
    pub(crate) const UNREACHABLE: u8 = 4;
    /// The goal was not reached within `--timeout`; the command goes on.
    pub(crate) const TIMED_OUT: u8 = 5;
}

/// Why a verb did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An error that has not been shown yet.
    Error(ErrorBody),
    /// skep is not running, or does not answer.
    Unreachable(ErrorBody),
    /// All that is to be said was said; only the exit code is left.
    Told(u8),
    /// Whoever read our output has gone (`skep logs | head`).
    ReaderGone,
}

impl Failure {
    /// A failure in the words of the CLI.
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Error(ErrorBody::new(code, message).with_hint(hint))
    }

    /// skep is not running.
    pub(crate) fn not_running() -> Self {
        Self::Unreachable(
            ErrorBody::new(ErrorCode::Unavailable, "skep is not running")
                .with_hint("`skep start app.js` starts it; `skep resurrect` starts what ran before"),
        )
    }

    /// The kernel refuses what every program gets.
    pub(crate) fn out_of_resources(error: &io::Error) -> Self {
        Self::new(
            ErrorCode::Internal,
            format!("the kernel gives no epoll: {error}"),
            "`ulimit -n` may be too low",
        )
    }

    /// The exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Error(body) => exit_code_of(body.code),
            Self::Unreachable(_) => exit::UNREACHABLE,
            Self::Told(code) => *code,
            Self::ReaderGone => exit::OK,
        }
    }

    /// What is still to be said.
    pub(crate) fn body(&self) -> Option<&ErrorBody> {
        match self {
            Self::Error(body) | Self::Unreachable(body) => Some(body),
            Self::Told(_) | Self::ReaderGone => None,
        }
    }

    /// The same as a line of JSON.
    pub(crate) fn to_json(&self) -> Option<String> {
        let error = self.body()?.clone();
        Some(serde_json::to_string(&ErrorEnvelope { error }).expect("three strings have no other form"))
    }
}

/// The exit code for an error of this kind.
pub(crate) fn exit_code_of(code: ErrorCode) -> u8 {
    match code {
        ErrorCode::UnknownTarget => exit::UNKNOWN_TARGET,
        ErrorCode::Unavailable => exit::UNREACHABLE,
        ErrorCode::TimedOut => exit::TIMED_OUT,
        ErrorCode::BadRequest
        | ErrorCode::InvalidSpec
        | ErrorCode::UnknownRoute
        | ErrorCode::MethodNotAllowed
        | ErrorCode::NameTaken
        | ErrorCode::Conflict
        | ErrorCode::TooLarge
        | ErrorCode::StartFailed
        | ErrorCode::StorageFailed
        | ErrorCode::Unsupported
        | ErrorCode::Internal
        | ErrorCode::Unknown => exit::FAILURE,
    }
}

impl From<SpecError> for Failure {
    fn from(error: SpecError) -> Self {
        Self::Error(error.into())
    }
}

impl From<ErrorBody> for Failure {
    fn from(error: ErrorBody) -> Self {
        Self::Error(error)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(body) => Self::Error(body),
            ClientError::Lost(_) => Self::Unreachable(
                ErrorBody::new(ErrorCode::Unavailable, error.to_string())
                    .with_hint("it is started again at once; `skep list` shows how things stand"),
            ),
            ClientError::Garbled(_) => Self::Unreachable(
                ErrorBody::new(ErrorCode::Internal, error.to_string())
                    .with_hint("the daemon may be of another version: compare `skep daemon status` with `skep --version`"),
            ),
        }
    }
}

impl From<io::Error> for Failure {
    /// Errors of writing to standard output; others are given words where they happen.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::ReaderGone;
        }
        Self::Error(ErrorBody::new(
            ErrorCode::Internal,
            format!("standard output cannot be written: {error}"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_failure_has_its_exit_code() {
        let of = |code| Failure::new(code, "m", "h").exit_code();
        assert_eq!(of(ErrorCode::StartFailed), 1);
        assert_eq!(of(ErrorCode::InvalidSpec), 1, "2 is for changes that a dry run has found");
        assert_eq!(of(ErrorCode::UnknownTarget), 3);
        assert_eq!(Failure::not_running().exit_code(), 4);
        assert_eq!(of(ErrorCode::TimedOut), 5);
    }

    #[test]
    fn a_reader_that_has_gone_is_no_failure() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(failure.exit_code(), 0);
        assert!(failure.body().is_none());
    }

    #[test]
    fn an_error_is_machine_readable_too() {
        let failure = Failure::from("x".parse::<skep_spec::Millis>().unwrap_err());
        let json = failure.to_json().unwrap();
        assert!(json.starts_with(r#"{"error":{"code":"invalid_spec","message":"duration: \"x\""#), "{json}");
    }
}
