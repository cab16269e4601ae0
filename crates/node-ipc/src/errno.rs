//! Error numbers as libuv spells them.
//!
//! On Linux libuv's codes are the negated errno values (`uv/errno.h`: `#define UV__EADDRINUSE UV__ERR(EADDRINUSE)`),
//! so the mapping is arithmetic; the table is for people.

use serde::{Deserialize, Serialize};

/// A libuv error code: zero or negative. What goes into a `queryServer` reply and comes out as `err.errno` in the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UvErrno(i32);

impl UvErrno {
    /// `EADDRINUSE`: somebody else, or the same worker, listens there.
    pub const ADDRESS_IN_USE: Self = Self(-98);
    /// `EINVAL`: the request makes no sense.
    pub const INVALID: Self = Self(-22);
    /// `EBADF`: `listen({fd})` with a descriptor number of the primary that does not exist.
    pub const BAD_DESCRIPTOR: Self = Self(-9);
    /// `EMFILE`: the worker's descriptor table is full, so that no listening socket can reach it.
    pub const TOO_MANY_FILES: Self = Self(-24);

    /// From a Linux errno (positive, as in `std::io::Error::raw_os_error`). Zero or nonsense becomes `EINVAL`:
    /// an error must never read as success.
    #[must_use]
    pub fn from_errno(errno: i32) -> Self {
        match errno {
            1..=4095 => Self(-errno),
            -4095..=-1 => Self(errno),
            _ => Self::INVALID,
        }
    }

    /// The negative number that goes on the wire.
    #[must_use]
    pub fn code(self) -> i32 {
        self.0
    }
}

impl std::fmt::Display for UvErrno {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match describe_errno(-self.0) {
            Some((name, meaning)) => write!(f, "{name} ({meaning})"),
            None => write!(f, "errno {}", -self.0),
        }
    }
}

/// The symbolic name and the meaning of the errors that bind(2) and listen(2) give.
#[must_use]
pub fn describe_errno(errno: i32) -> Option<(&'static str, &'static str)> {
    Some(match errno {
        1 => ("EPERM", "operation not permitted"),
        2 => ("ENOENT", "no such file or directory"),
        9 => ("EBADF", "bad file descriptor"),
        12 => ("ENOMEM", "not enough memory"),
        13 => ("EACCES", "permission denied"),
        20 => ("ENOTDIR", "not a directory"),
        22 => ("EINVAL", "invalid argument"),
        23 => ("ENFILE", "file table overflow"),
        24 => ("EMFILE", "too many open files"),
        30 => ("EROFS", "read-only file system"),
        36 => ("ENAMETOOLONG", "name too long"),
        40 => ("ELOOP", "too many symbolic links"),
        88 => ("ENOTSOCK", "not a socket"),
        92 => ("ENOPROTOOPT", "protocol not available"),
        93 => ("EPROTONOSUPPORT", "protocol not supported"),
        95 => ("EOPNOTSUPP", "operation not supported on socket"),
        97 => ("EAFNOSUPPORT", "address family not supported"),
        98 => ("EADDRINUSE", "address already in use"),
        99 => ("EADDRNOTAVAIL", "address not available"),
        101 => ("ENETUNREACH", "network is unreachable"),
        105 => ("ENOBUFS", "no buffer space available"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linux_errors_become_negative_libuv_codes_and_never_success() {
        assert_eq!(UvErrno::from_errno(98), UvErrno::ADDRESS_IN_USE);
        assert_eq!(UvErrno::from_errno(-98), UvErrno::ADDRESS_IN_USE);
        assert_eq!(UvErrno::from_errno(0), UvErrno::INVALID);
        assert_eq!(UvErrno::from_errno(i32::MIN), UvErrno::INVALID);
        assert_eq!(UvErrno::from_errno(13).to_string(), "EACCES (permission denied)");
    }
}
