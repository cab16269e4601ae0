//! The steps between fork and exec, so that a failure can say which one it was.

use std::fmt;
use std::io;

/// The step of a start that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Stage {
    /// Before the fork: an argument with a zero byte, no descriptors left, a bound exceeded.
    Prepare = 1,
    /// Making the process itself (`EAGAIN`: the limit on processes).
    Fork = 2,
    /// Its own session.
    Session = 3,
    /// Resetting signal dispositions and the mask.
    Signals = 4,
    /// Moving descriptors to their numbers and closing all others.
    Descriptors = 5,
    /// Resource limits.
    Limits = 6,
    /// Priority.
    Nice = 7,
    /// Supplementary groups.
    Groups = 8,
    /// Group id.
    Gid = 9,
    /// User id.
    Uid = 10,
    /// Working directory.
    Cwd = 11,
    /// The promise never to gain privileges.
    NoNewPrivileges = 12,
    /// The system call filter that intercepts `bind`.
    Filter = 13,
    /// Executing the program.
    Exec = 14,
}

impl Stage {
    /// All stages, in order.
    pub const ALL: [Stage; 14] = [
        Stage::Prepare,
        Stage::Fork,
        Stage::Session,
        Stage::Signals,
        Stage::Descriptors,
        Stage::Limits,
        Stage::Nice,
        Stage::Groups,
        Stage::Gid,
        Stage::Uid,
        Stage::Cwd,
        Stage::NoNewPrivileges,
        Stage::Filter,
        Stage::Exec,
    ];

    /// The stage with this number (as sent over a pipe or the keeper's wire).
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.number() == number)
    }

    /// Its number, stable for ever.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Stage::Prepare => "preparing the start",
            Stage::Fork => "making a process",
            Stage::Session => "making its session",
            Stage::Signals => "resetting its signals",
            Stage::Descriptors => "placing its file descriptors",
            Stage::Limits => "setting its resource limits",
            Stage::Nice => "setting its priority",
            Stage::Groups => "setting its groups",
            Stage::Gid => "setting its group id",
            Stage::Uid => "setting its user id",
            Stage::Cwd => "entering its working directory",
            Stage::NoNewPrivileges => "giving up new privileges",
            Stage::Filter => "installing the bind interception",
            Stage::Exec => "executing the program",
        })
    }
}

/// A start that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// The step.
    pub stage: Stage,
    /// Why.
    pub errno: i32,
}

impl Failure {
    pub(super) fn of(stage: Stage, error: &io::Error) -> Self {
        Failure { stage, errno: error.raw_os_error().unwrap_or(libc::EINVAL) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} failed: {}", self.stage, io::Error::from_raw_os_error(self.errno))
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_survives_its_number() {
        for stage in Stage::ALL {
            assert_eq!(Stage::from_number(stage.number()), Some(stage));
        }
        assert_eq!(Stage::from_number(0), None);
    }
}
