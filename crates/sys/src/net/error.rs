//! Which step of opening a socket failed, and with which errno.

use std::fmt;
use std::io;

/// What was being done when opening a socket failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// `socket(2)`: the address family or protocol is missing (EAFNOSUPPORT), or descriptors ran out.
    Socket,
    /// `setsockopt(2)`.
    Option,
    /// `bind(2)`.
    Bind,
    /// `listen(2)`.
    Listen,
    /// `chmod(2)` or `chown(2)` of a Unix socket's path.
    Permissions,
    /// Finding out whether a Unix socket's path that exists already is in use.
    Probe,
}

/// Opening a socket failed.
#[derive(Debug)]
pub struct NetError {
    /// What was being done.
    pub step: Step,
    /// The system's error, untouched.
    pub source: io::Error,
}

// === impl Step ===

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Socket => "socket",
            Self::Option => "setsockopt",
            Self::Bind => "bind",
            Self::Listen => "listen",
            Self::Permissions => "chmod/chown of the socket's path",
            Self::Probe => "looking whether the socket's path is in use",
        })
    }
}

// === impl NetError ===

impl NetError {
    /// For `map_err`: wraps the error of one step.
    pub(super) fn at<E: Into<io::Error>>(step: Step) -> impl FnOnce(E) -> Self {
        move |source| Self { step, source: source.into() }
    }

    /// The positive errno; EIO when the system gave none.
    #[must_use]
    pub fn errno(&self) -> i32 {
        self.source.raw_os_error().unwrap_or(libc::EIO)
    }
}

impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.source)
    }
}

impl std::error::Error for NetError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}
