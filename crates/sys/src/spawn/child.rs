//! What the child does between fork and exec: system calls only. No allocation, no lock, no panic, and of the C
//! library only thin wrappers (its `setuid` family talks to threads that do not exist here, hence raw calls).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use super::outcome::{report_failure, report_filter};
use super::prepare::Prepared;
use super::{Credentials, Failure, Limit, Stage};
use crate::seccomp;

/// The highest signal number (`_NSIG`).
const SIGNAL_MAX: i32 = 64;

/// Before Linux 5.9 (no `close_range`) descriptors are closed one by one up to here. All of ours are
/// close-on-exec anyway; this is the second fence.
const CLOSE_ONE_BY_ONE_MAX: u32 = 16 * 1024;

/// Runs in the child; returns only when the program could not be executed.
pub(super) fn run(prepared: &mut Prepared<'_>, status: BorrowedFd<'_>) {
    let mut status = status.as_raw_fd();
    let failure = steps(prepared, &mut status);
    // SAFETY: `status` is open: the original, or the duplicate that place_descriptors made and kept.
    report_failure(unsafe { BorrowedFd::borrow_raw(status) }, failure);
}

/// All steps in order; only returns when one of them failed.
fn steps(prepared: &mut Prepared<'_>, status: &mut RawFd) -> Failure {
    match before_exec(prepared, status) {
        Err(failure) => failure,
        // SAFETY: takes nothing and cannot fail.
        Ok(()) if unsafe { libc::getppid() } != prepared.parent => {
            Failure { stage: Stage::Exec, errno: libc::ESRCH }
        }
        Ok(()) => Failure { stage: Stage::Exec, errno: execute(prepared) },
    }
}

fn before_exec(prepared: &mut Prepared<'_>, status: &mut RawFd) -> Result<(), Failure> {
    // SAFETY: takes no pointers.
    check(Stage::Session, unsafe { libc::setsid() }.into())?;
    reset_dispositions();
    *status = place_descriptors(prepared, *status)?;
    if let Some(umask) = prepared.umask {
        // SAFETY: takes no pointers and cannot fail.
        unsafe { libc::umask(umask) };
    }
    for limit in prepared.limits {
        set_limit(limit)?;
    }
    if let Some(nice) = prepared.nice {
        // SAFETY: takes no pointers; 0 is this process.
        check(Stage::Nice, unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) }.into())?;
    }
    if let Some(credentials) = &prepared.credentials {
        become_user(credentials)?;
    }
    if let Some(cwd) = &prepared.cwd {
        // SAFETY: a valid string with a terminating zero.
        check(Stage::Cwd, unsafe { libc::chdir(cwd.as_ptr()) }.into())?;
    }
    if prepared.no_new_privileges {
        // SAFETY: takes integers only.
        let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        check(Stage::NoNewPrivileges, result.into())?;
    }
    write_pid(prepared);
    install_filter(prepared, *status)?;
    unblock_signals()
}

/// Ignored signals would stay ignored in the program (`nohup`, Rust's own ignored SIGPIPE).
fn reset_dispositions() {
    // The kernel's struct sigaction, at most 32 bytes on all 64-bit architectures: all zeroes is SIG_DFL.
    let default = [0_u64; 4];
    for signal in 1..=SIGNAL_MAX {
        // SAFETY: the kernel reads at most 32 bytes of `default`, which names no handler. (A raw call, for the C
        // library refuses the two signals that it uses itself.) SIGKILL and SIGSTOP refuse and are at their default.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                ptr::null_mut::<u64>(),
                size_of::<u64>(),
            )
        };
    }
}

fn unblock_signals() -> Result<(), Failure> {
    let none: u64 = 0;
    // SAFETY: the kernel reads 8 bytes (its sigset_t) from `none`; no old mask is asked for.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const none,
            ptr::null_mut::<u64>(),
            size_of::<u64>(),
        )
    };
    check(Stage::Signals, result)
}

/// Puts every descriptor at its number and closes all others but the status socket, whose new number is returned.
fn place_descriptors(prepared: &mut Prepared<'_>, status: RawFd) -> Result<RawFd, Failure> {
    let base = prepared.placements.last().map_or(0, |last| last.target + 1);
    let status = park(status, base)?;
    for placement in &mut prepared.placements {
        placement.parked = park(placement.source, base)?;
    }
    let mut first: RawFd = 0;
    for placement in &prepared.placements {
        // SAFETY: takes integers only; the target is below all parked numbers, so nothing needed is overwritten.
        let result = unsafe { libc::dup2(placement.parked, placement.target) };
        check(Stage::Descriptors, result.into())?;
    }
    for placement in &prepared.placements {
        close_between(first, placement.target - 1)?;
        first = placement.target + 1;
    }
    close_between(first, status - 1)?;
    close_between(status + 1, RawFd::MAX)?;
    Ok(status)
}

/// Duplicates a descriptor to a number of at least `base`, close-on-exec.
fn park(fd: RawFd, base: RawFd) -> Result<RawFd, Failure> {
    // SAFETY: takes integers only.
    let parked = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, base) };
    check(Stage::Descriptors, parked.into())?;
    Ok(parked)
}

fn close_between(first: RawFd, last: RawFd) -> Result<(), Failure> {
    if last < first {
        return Ok(());
    }
    let (first, last) = (first.cast_unsigned(), last.cast_unsigned());
    // SAFETY: closes descriptors of this process only, none of which is used any more.
    if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } == 0 {
        return Ok(());
    }
    if errno() != libc::ENOSYS {
        return Err(Failure { stage: Stage::Descriptors, errno: errno() });
    }
    for fd in first..=last.min(CLOSE_ONE_BY_ONE_MAX) {
        // SAFETY: as above; that most of them are not open is no harm.
        unsafe { libc::close(fd.cast_signed()) };
    }
    Ok(())
}

fn set_limit(limit: &Limit) -> Result<(), Failure> {
    // The kernel's struct rlimit64: RLIM64_INFINITY is all ones, like our u64::MAX.
    let values: [u64; 2] = [limit.soft, limit.hard];
    // SAFETY: the kernel reads 16 bytes from `values`; pid 0 is this process; no old value is asked for.
    let result = unsafe {
        libc::syscall(libc::SYS_prlimit64, 0, limit.resource, values.as_ptr(), ptr::null_mut::<u64>())
    };
    check(Stage::Limits, result)
}

/// Groups, then gid, then uid: after the uid nothing else would be allowed any more.
fn become_user(wanted: &Credentials<'_>) -> Result<(), Failure> {
    // SAFETY: takes nothing, cannot fail.
    let (uid, gid) = (unsafe { libc::geteuid() }, unsafe { libc::getegid() });
    // SAFETY: the kernel reads that many ids from the slice.
    let result = unsafe { libc::syscall(libc::SYS_setgroups, wanted.groups.len(), wanted.groups.as_ptr()) };
    // An ordinary user who asks to be who they are already has their groups and may not set any.
    let already = (uid, gid) == (wanted.uid, wanted.gid) && uid != 0;
    if result != 0 && !(already && errno() == libc::EPERM) {
        return Err(Failure { stage: Stage::Groups, errno: errno() });
    }
    // SAFETY: takes integers only.
    let result = unsafe { libc::syscall(libc::SYS_setresgid, wanted.gid, wanted.gid, wanted.gid) };
    check(Stage::Gid, result)?;
    // SAFETY: takes integers only.
    let result = unsafe { libc::syscall(libc::SYS_setresuid, wanted.uid, wanted.uid, wanted.uid) };
    check(Stage::Uid, result)
}

/// Writes our pid behind `LISTEN_PID=`.
fn write_pid(prepared: &mut Prepared<'_>) {
    let Some(entry) = &mut prepared.listen_pid else { return };
    // SAFETY: takes nothing. (A raw call: the C library may not have noticed the clone.)
    let mut pid = unsafe { libc::syscall(libc::SYS_getpid) };
    let mut digits = [0_u8; 20];
    let mut count = 0;
    while pid > 0 && count < digits.len() {
        digits[count] = b'0' + (pid % 10) as u8;
        pid /= 10;
        count += 1;
    }
    let start = entry.iter().position(|byte| *byte == 0).unwrap_or(entry.len());
    for (place, digit) in entry[start..].iter_mut().zip(digits[..count].iter().rev()) {
        *place = *digit;
    }
}

fn install_filter(prepared: &Prepared<'_>, status: RawFd) -> Result<(), Failure> {
    let Some(filter) = prepared.filter else { return Ok(()) };
    let notify =
        seccomp::install_in_child(filter).map_err(|errno| Failure { stage: Stage::Filter, errno })?;
    // SAFETY: the kernel has just made this descriptor; it is ours alone.
    let notify = unsafe { OwnedFd::from_raw_fd(notify) };
    // SAFETY: the status socket stays open until exec.
    let status = unsafe { BorrowedFd::borrow_raw(status) };
    report_filter(status, notify.as_fd()).map_err(|error| Failure::of(Stage::Filter, &error))
}

/// Tries the candidates like `execvp`; returns the errno that says most.
fn execute(prepared: &Prepared<'_>) -> i32 {
    let mut result = libc::ENOENT;
    for candidate in &prepared.candidates {
        // SAFETY: the path and both null-terminated arrays of strings live in `prepared`.
        unsafe { libc::execve(candidate.as_ptr(), prepared.argv.as_ptr(), prepared.env.as_ptr()) };
        match errno() {
            libc::ENOENT | libc::ENOTDIR => {}
            // A later directory may have one that we may execute; if none has, this is the better message.
            libc::EACCES => result = libc::EACCES,
            other => return other,
        }
    }
    result
}

fn check(stage: Stage, result: libc::c_long) -> Result<(), Failure> {
    if result < 0 { Err(Failure { stage, errno: errno() }) } else { Ok(()) }
}

fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL)
}
