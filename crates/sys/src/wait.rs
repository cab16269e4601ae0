//! How a child ended, and the race-free way to learn it: look first (`WNOWAIT`), act while the zombie still
//! reserves its pid, process group and session numbers, and only then reap.

use std::io;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExitStatus {
    /// It returned from `main` or called `exit` with this code (0–255).
    Code(i32),
    /// A signal ended it.
    Signal {
        /// The signal's number, for example 9.
        signal: i32,
        /// Whether the kernel wrote a core dump.
        core_dumped: bool,
    },
    /// Nobody told us: it was not our child, and the kernel tells only the parent.
    Unknown,
}

impl ExitStatus {
    /// Whether the process ended by itself with code 0.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == ExitStatus::Code(0)
    }
}

/// A child that has ended and was not reaped yet: its pid cannot be given to another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zombie {
    /// The child's pid.
    pub pid: i32,
    /// How it ended.
    pub status: ExitStatus,
}

/// Looks for any ended child without reaping it. `None`: no child has ended, or there is no child at all.
///
/// # Errors
/// Whatever `waitid` says, except `ECHILD` and `EINTR`.
pub fn peek_any() -> io::Result<Option<Zombie>> {
    none_if_no_child(waitid(libc::P_ALL, 0, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT))
}

/// Looks whether the child `pid` has ended, without reaping it. `None` also when it is no child of ours.
///
/// # Errors
/// Whatever `waitid` says, except `ECHILD` and `EINTR`.
pub fn peek_pid(pid: i32) -> io::Result<Option<Zombie>> {
    none_if_no_child(waitid(libc::P_PID, pid, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT))
}

/// Reaps the child `pid` if it has ended; from then on its number may be reused.
///
/// # Errors
/// Whatever `waitid` says; `ECHILD` when it is no child of ours.
pub fn reap(pid: i32) -> io::Result<Option<ExitStatus>> {
    Ok(waitid(libc::P_PID, pid, libc::WEXITED | libc::WNOHANG)?.map(|zombie| zombie.status))
}

/// Waits (blocking) until the child `pid` has ended, and reaps it.
///
/// # Errors
/// Whatever `waitid` says; `ECHILD` when it is no child of ours.
pub fn reap_blocking(pid: i32) -> io::Result<ExitStatus> {
    loop {
        if let Some(zombie) = waitid(libc::P_PID, pid, libc::WEXITED)? {
            return Ok(zombie.status);
        }
    }
}

fn none_if_no_child(found: io::Result<Option<Zombie>>) -> io::Result<Option<Zombie>> {
    match found {
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
        other => other,
    }
}

fn waitid(kind: libc::idtype_t, id: i32, options: i32) -> io::Result<Option<Zombie>> {
    // SAFETY: siginfo_t is plain data; all zeroes is a valid value of it.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: `info` is valid for writes for the whole call; the kernel keeps no reference to it.
        let result = unsafe { libc::waitid(kind, id.cast_unsigned(), &raw mut info, options) };
        if result == 0 {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // SAFETY: waitid succeeded, so the SIGCHLD fields are filled in (or still zero when nothing was found).
    let pid = unsafe { info.si_pid() };
    if pid == 0 {
        return Ok(None);
    }
    // SAFETY: as above.
    let value = unsafe { info.si_status() };
    let status = match info.si_code {
        libc::CLD_EXITED => ExitStatus::Code(value),
        code => ExitStatus::Signal { signal: value, core_dumped: code == libc::CLD_DUMPED },
    };
    Ok(Some(Zombie { pid, status }))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    #[expect(clippy::zombie_processes, reason = "reaped by the functions under test")]
    fn a_zombie_is_seen_again_and_again_until_it_is_reaped() {
        let child = Command::new("/bin/sh").args(["-c", "exit 7"]).spawn().expect("sh starts");
        let pid = child.id().cast_signed();
        let seen = loop {
            if let Some(seen) = peek_pid(pid).expect("peek") {
                break seen;
            }
            crate::pidfd::PidFd::open(pid).expect("pidfd").wait().expect("wait");
        };
        assert_eq!(seen, Zombie { pid, status: ExitStatus::Code(7) });
        assert_eq!(peek_pid(pid).expect("peek"), Some(seen));
        assert_eq!(reap(pid).expect("reap"), Some(ExitStatus::Code(7)));
        assert_eq!(peek_pid(pid).expect("peek"), None);
        assert_eq!(reap(pid).expect_err("reaped").raw_os_error(), Some(libc::ECHILD));
    }

    #[test]
    #[expect(clippy::zombie_processes, reason = "reaped by the function under test")]
    fn a_death_by_signal_is_not_an_exit_code() {
        let child = Command::new("/bin/sh").args(["-c", "kill -9 $$"]).spawn().expect("sh starts");
        let status = reap_blocking(child.id().cast_signed()).expect("reap");
        assert_eq!(status, ExitStatus::Signal { signal: 9, core_dumped: false });
        assert!(!status.is_success());
    }
}
