//! What this process can arrange for itself.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
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

/// Has blocks of 128 KiB and more always come fresh from the kernel and go back to it when they are freed. glibc raises
/// that limit with the first such block that is freed (`M_MMAP_THRESHOLD`, mallopt(3)); from then on `calloc` clears the
/// megabytes that LMDB asks for and never touches, by hand, and they stay in memory.
pub fn return_large_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: two integers; there is no other thread yet that could be allocating. What it answers does not matter.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 * 1024);
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
/// stay open. Signal mask, ignored signals and environment are inherited. Returns only when it failed.
pub fn execute(program: &Path, argv: &[Vec<u8>]) -> io::Error {
    match CString::new(program.as_os_str().as_bytes()) {
        Ok(program) => execute_at(libc::AT_FDCWD, &program, argv, 0),
        Err(_) => io::ErrorKind::InvalidInput.into(),
    }
}

/// As [`execute`], with the program that an open file (`O_PATH` will do) is, whatever its path has become.
pub fn execute_file(program: impl AsFd, argv: &[Vec<u8>]) -> io::Error {
    execute_at(program.as_fd().as_raw_fd(), c"", argv, libc::AT_EMPTY_PATH)
}

fn execute_at(directory: RawFd, program: &CStr, argv: &[Vec<u8>], flags: libc::c_int) -> io::Error {
    let strings =
        |list: &mut dyn Iterator<Item = Vec<u8>>| list.map(CString::new).collect::<Result<Vec<_>, _>>();
    let Ok(arguments) = strings(&mut argv.iter().cloned()) else { return io::ErrorKind::InvalidInput.into() };
    let mut env = std::env::vars_os().map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat());
    let Ok(entries) = strings(&mut env) else { return io::ErrorKind::InvalidInput.into() };
    let pointers = |strings: &[CString]| {
        strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>()
    };
    let (argv, env) = (pointers(&arguments), pointers(&entries));
    // SAFETY: the path and the strings in both null-terminated arrays live until the call returns, that is, fails.
    unsafe {
        libc::syscall(libc::SYS_execveat, directory, program.as_ptr(), argv.as_ptr(), env.as_ptr(), flags)
    };
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

/// Whether a descriptor of this number is open.
#[must_use]
pub fn is_open(number: RawFd) -> bool {
    // SAFETY: takes integers only; a number that is not open is an error.
    unsafe { libc::fcntl(number, libc::F_GETFD) >= 0 }
}

/// Takes ownership of a descriptor that this process was started with, and makes it close-on-exec. `None` when it
/// is not open.
///
/// Whoever calls this knows (from the program's own calling convention) that nobody else in the process owns the
/// number; a second call for the same number while the first result lives makes two owners, which the standard
/// library's checks abort on in debug builds.
#[must_use]
pub fn inherited_descriptor(number: RawFd) -> Option<OwnedFd> {
    if !is_open(number) {
        return None;
    }
    // SAFETY: it is open.
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
