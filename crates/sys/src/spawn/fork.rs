//! The fork itself.
//!
//! `clone3` with fork semantics and `CLONE_PIDFD`, not `vfork`: measured from a small process, 200 starts of
//! `/bin/true` on 2 busy cores cost 500–600 µs each either way (the exec dominates), and with a fork no hang of a
//! child before exec reaches its parent.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use super::{Failure, Stage};
use crate::pidfd::PidFd;

/// The first, still sufficient version of the kernel's `struct clone_args` (linux/sched.h, CLONE_ARGS_SIZE_VER0).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
}

/// Exit code of a child whose program could not be executed, as shells have it.
const EXIT_NOT_EXECUTED: i32 = 127;

/// Forks; `child` runs in the child with all signals blocked and must keep to async-signal-safe calls. When it
/// returns the child ends.
pub(super) fn fork(child: impl FnOnce()) -> Result<(i32, Option<PidFd>), Failure> {
    let blocked = AllSignalsBlocked::new();
    let mut pidfd: RawFd = -1;
    let pid = match clone3(&mut pidfd) {
        // Sandboxes that do not know clone3 answer with either.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => plain_fork(),
        other => other,
    };
    match pid {
        Ok(0) => {
            child();
            // SAFETY: ends the process without running anything of ours.
            unsafe { libc::_exit(EXIT_NOT_EXECUTED) }
        }
        Ok(pid) => {
            drop(blocked);
            Ok((pid, handle(pid, pidfd)))
        }
        Err(error) => Err(Failure::of(Stage::Fork, &error)),
    }
}

/// Before Linux 5.3, and in sandboxes that do not know `clone3`.
fn plain_fork() -> io::Result<i32> {
    // SAFETY: the child only runs what `fork` was given, which keeps to async-signal-safe calls.
    let pid = unsafe { libc::fork() };
    if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(pid) }
}

fn handle(pid: i32, pidfd: RawFd) -> Option<PidFd> {
    if pidfd < 0 {
        return PidFd::open(pid).ok();
    }
    // SAFETY: the kernel has just opened this descriptor for us; nobody else owns it.
    Some(PidFd::from_fd(unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

fn clone3(pidfd: &mut RawFd) -> io::Result<i32> {
    let mut args = CloneArgs {
        flags: u64::from(libc::CLONE_PIDFD.cast_unsigned()),
        pidfd: std::ptr::from_mut(pidfd).expose_provenance() as u64,
        exit_signal: u64::from(libc::SIGCHLD.cast_unsigned()),
        ..CloneArgs::default()
    };
    // SAFETY: without CLONE_VM and without a stack this is fork: the child goes on in its own copy of our memory.
    // `args` is valid and of the size given, and `pidfd` is valid for the write that the kernel makes.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(i32::try_from(result).expect("a pid fits in an int"))
}

/// Blocks all signals of this thread, so that no handler of ours runs in the child; restores the mask at the end.
struct AllSignalsBlocked(libc::sigset_t);

impl AllSignalsBlocked {
    fn new() -> Self {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        let mut before = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: `all` is valid for writes; sigfillset initialises it.
        unsafe { libc::sigfillset(all.as_mut_ptr()) };
        // SAFETY: `all` is initialised, `before` valid for writes; with valid arguments this cannot fail.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
        // SAFETY: pthread_sigmask has filled it in.
        AllSignalsBlocked(unsafe { before.assume_init() })
    }
}

impl Drop for AllSignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: the set was filled in by pthread_sigmask.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::{ExitStatus, reap_blocking};

    #[test]
    fn both_ways_of_forking_make_a_child_and_a_handle() {
        let by_clone3 = || clone3(&mut -1);
        for make in [&by_clone3 as &dyn Fn() -> io::Result<i32>, &plain_fork] {
            let pid = make().expect("fork");
            if pid == 0 {
                // SAFETY: the child ends at once.
                unsafe { libc::_exit(9) };
            }
            assert!(handle(pid, -1).is_some());
            assert_eq!(reap_blocking(pid).expect("reap"), ExitStatus::Code(9));
        }
    }
}
