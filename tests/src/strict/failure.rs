//! The ways in which a request is not answered.

use std::fmt;
use std::io;

/// Why one request counts as failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// Nobody listens: the kernel answered the connection with a reset (or the Unix path has no listener).
    Refused,
    /// The connection was not accepted by the kernel in time: an overflowing or dead listen queue.
    ConnectTimeout,
    /// The TLS handshake broke.
    Handshake,
    /// Connection reset with not one byte of the response received: also the race on an idle connection.
    ResetBeforeResponse,
    /// An orderly close with not one byte of the response received.
    ClosedBeforeResponse,
    /// Connection reset in the middle of the response.
    ResetMidResponse,
    /// An orderly close in the middle of the response: a body shorter than announced.
    Truncated,
    /// The response is complete, its status is not 2xx.
    WrongStatus,
    /// The response is complete, its body is not the one asked for.
    WrongBody,
    /// What came is not HTTP/1.1.
    Malformed,
    /// Not answered in time, not a byte received.
    TimeoutBeforeResponse,
    /// Not answered in time, part of the response received.
    TimeoutMidResponse,
    /// Another error of the operating system on this side: out of ports or of descriptors.
    Local,
}

impl Failure {
    /// What an input/output error means, depending on whether the response had begun.
    pub(crate) fn from_io(error: &io::Error, response_begun: bool) -> Self {
        match (error.kind(), response_begun) {
            (io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound, _) => Self::Refused,
            (io::ErrorKind::UnexpectedEof, false) => Self::ClosedBeforeResponse,
            (io::ErrorKind::UnexpectedEof, true) => Self::Truncated,
            (io::ErrorKind::InvalidData, _) => Self::Malformed,
            (
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted,
                false,
            ) => Self::ResetBeforeResponse,
            (
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted,
                true,
            ) => Self::ResetMidResponse,
            _ => Self::Local,
        }
    }

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::ConnectTimeout => "connect-timeout",
            Self::Handshake => "handshake",
            Self::ResetBeforeResponse => "reset-before-response",
            Self::ClosedBeforeResponse => "closed-before-response",
            Self::ResetMidResponse => "reset-mid-response",
            Self::Truncated => "truncated",
            Self::WrongStatus => "wrong-status",
            Self::WrongBody => "wrong-body",
            Self::Malformed => "malformed",
            Self::TimeoutBeforeResponse => "timeout-before-response",
            Self::TimeoutMidResponse => "timeout-mid-response",
            Self::Local => "local",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
