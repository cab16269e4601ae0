//! Why a command was not done, in Redis's words.

use std::borrow::Cow;

use skep_state::Error;

/// The end of a command that wrote no answer.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The answer, with its code.
    Text(Cow<'static, str>),
    /// What the store said.
    Store(Error),
}

pub(crate) type Done = Result<(), Fault>;

pub(crate) const SYNTAX: Fault = text("ERR syntax error");
pub(crate) const NOT_AN_INTEGER: Fault = text("ERR value is not an integer or out of range");
pub(crate) const NOT_A_FLOAT: Fault = text("ERR value is not a valid float");
pub(crate) const NO_SUCH_KEY: Fault = text("ERR no such key");
pub(crate) const OVERFLOW: Fault = text("ERR increment or decrement would overflow");

pub(crate) const fn text(text: &'static str) -> Fault {
    Fault::Text(Cow::Borrowed(text))
}

pub(crate) fn say(text: String) -> Fault {
    Fault::Text(Cow::Owned(text))
}

/// `command` as `set` or `client|setname`.
pub(crate) fn arity(command: &str) -> Fault {
    say(format!("ERR wrong number of arguments for '{command}' command"))
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

/// What a client is told of an error of the store that came before anything was changed; `None`: the transaction cannot
/// go on, all of it is undone.
pub(crate) fn told(error: &Error) -> Option<Cow<'static, str>> {
    Some(match error {
        Error::WrongType { .. } => "WRONGTYPE Operation against a key holding the wrong kind of value".into(),
        Error::NotANumber(what) => format!("ERR value is not {what}").into(),
        Error::Overflow => "ERR increment or decrement would overflow".into(),
        _ => return None,
    })
}

/// What a client is told when its transaction could not be done at all.
pub(crate) fn undone(error: &Error) -> String {
    match error {
        Error::Full { .. } | Error::NoSpace { .. } => format!("OOM command not allowed: {error}"),
        Error::Busy { .. } => format!("BUSY {error}"),
        other => told(other).map_or_else(|| format!("ERR {other}"), Cow::into_owned),
    }
}
