//! Errors with a `code` that programs can test.

use skep_state::Error;

/// The `code` of a JavaScript error.
pub struct Code(&'static str);

impl AsRef<str> for Code {
    fn as_ref(&self) -> &str {
        self.0
    }
}

pub type Result<T> = napi::Result<T, Code>;

pub fn to_js(error: Error) -> napi::Error<Code> {
    napi::Error::new(Code(code(&error)), error.to_string())
}

/// The `code` of an error.
pub fn code(error: &Error) -> &'static str {
    match error {
        Error::NoStore { .. } => "ERR_SKEP_NO_STORE",
        Error::NotOurs { .. } => "ERR_SKEP_NOT_OURS",
        Error::Foreign { .. } => "ERR_SKEP_FOREIGN",
        Error::Version { .. } => "ERR_SKEP_VERSION",
        Error::Corrupt { .. } => "ERR_SKEP_CORRUPT",
        Error::Full { .. } => "ERR_SKEP_FULL",
        Error::NoSpace { .. } => "ERR_SKEP_NO_SPACE",
        Error::KeyTooLong { .. } => "ERR_SKEP_KEY_TOO_LONG",
        Error::ValueTooLong { .. } => "ERR_SKEP_VALUE_TOO_LONG",
        Error::TooManyCounters { .. } => "ERR_SKEP_TOO_MANY_COUNTERS",
        Error::TooManyWorkers { .. } => "ERR_SKEP_TOO_MANY_WORKERS",
        Error::Busy { .. } => "ERR_SKEP_BUSY",
        Error::Behind { .. } => "ERR_SKEP_BEHIND",
        Error::WrongType { .. } => "ERR_SKEP_WRONG_TYPE",
        Error::NotANumber(_) => "ERR_SKEP_NOT_A_NUMBER",
        Error::TooMuch { .. } => "ERR_SKEP_TOO_MUCH",
        Error::Overflow => "ERR_SKEP_OVERFLOW",
        Error::Detached { .. } => "ERR_SKEP_DETACHED",
        Error::BadBackup { .. } => "ERR_SKEP_BAD_BACKUP",
        Error::NamesInUse { .. } => "ERR_SKEP_NAMES_IN_USE",
        Error::Io { .. } => "ERR_SKEP_IO",
        Error::Engine(_) => "ERR_SKEP_ENGINE",
    }
}

pub fn invalid(reason: impl Into<String>) -> napi::Error<Code> {
    napi::Error::new(Code("ERR_INVALID_ARG_VALUE"), reason.into())
}
