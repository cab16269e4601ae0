//! What this process can arrange for itself.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::spawn::Limit;

/// Makes orphans below us our children (as pid 1's are), so that we can reap them. Survives `execve`.
///
/// # Errors
/// `EINVAL` before Linux 3.4.
pub fn become_subreaper() -> io::Result<()> {
    // The kernel only looks whether the argument is zero; rustix types it as a pid.
    Ok(rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1))?)
}

/// Sets the name that `ps` and `top` show (`comm`); cut after 15 bytes.
pub fn set_name(name: &str) {
    // It can only fail for a bad pointer; the name is for people, nothing depends on it.
    if let Ok(name) = CString::new(name) {
        let _ = rustix::thread::set_name(&name);
    }
}

/// Makes our start stop at the descriptors' hard limit instead of the soft one, and returns the limit as it was,
/// to be given to children: programs that use `select(2)` break beyond 1,024 descriptors.
///
/// # Errors
/// Whatever `prlimit` says.
pub fn raise_descriptor_limit() -> io::Result<Limit> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: before.maximum, maximum: before.maximum })?;
    let infinite = |value: Option<u64>| value.unwrap_or(u64::MAX);
    Ok(Limit {
        resource: libc::RLIMIT_NOFILE,
        soft: infinite(before.current),
        hard: infinite(before.maximum),
    })
}

/// Replaces this process by another program, keeping pid and children; descriptors that are not close-on-exec
/// stay open. Signal mask and ignored signals are inherited. Returns only when it failed.
pub fn execute(program: &Path, argv: &[Vec<u8>]) -> io::Error {
    let Ok(program) = CString::new(program.as_os_str().as_bytes()) else {
        return io::ErrorKind::InvalidInput.into();
    };
    let Ok(argv) = argv.iter().map(|arg| CString::new(arg.as_slice())).collect::<Result<Vec<_>, _>>() else {
        return io::ErrorKind::InvalidInput.into();
    };
    let mut pointers: Vec<_> = argv.iter().map(|arg| arg.as_ptr()).collect();
    pointers.push(std::ptr::null());
    // SAFETY: the path and the null-terminated array live until the call returns (when it failed).
    unsafe { libc::execv(program.as_ptr(), pointers.as_ptr()) };
    io::Error::last_os_error()
}

/// Lets a descriptor survive `execve`, or not.
///
/// # Errors
/// `EBADF`.
pub fn set_inheritable(fd: impl AsFd, inheritable: bool) -> io::Result<()> {
    let flags = if inheritable { 0 } else { libc::FD_CLOEXEC };
    // SAFETY: takes integers only.
    let result = unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_SETFD, flags) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Takes ownership of a descriptor that this process was started with, and makes it close-on-exec. `None` when it
/// is not open.
///
/// Whoever calls this knows (from the program's own calling convention) that nobody else in the process owns the
/// number; a second call for the same number while the first result lives makes two owners, which the standard
/// library's checks abort on in debug builds.
#[must_use]
pub fn inherited_descriptor(number: i32) -> Option<std::os::fd::OwnedFd> {
    use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
    if number < 0 {
        return None;
    }
    // SAFETY: only borrowed for the check whether it is open at all; a closed one makes fcntl fail.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    set_inheritable(borrowed, false).ok()?;
    // SAFETY: it is open, and by the calling convention nobody else owns it.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_execute_comes_back() {
        let error = execute(Path::new("/nonexistent"), &[b"x".to_vec()]);
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(execute(Path::new("/bin/true"), &[b"a\0".to_vec()]).kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn the_descriptor_limit_before_is_told() {
        let before = raise_descriptor_limit().expect("raise");
        assert!(before.soft <= before.hard);
        let after = raise_descriptor_limit().expect("raise");
        assert_eq!(after.soft, after.hard);
    }

    #[test]
    fn a_descriptor_that_is_not_open_is_none() {
        assert!(inherited_descriptor(-1).is_none());
        assert!(inherited_descriptor(123_456).is_none());
    }
}
