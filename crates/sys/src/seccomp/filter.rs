//! The filter itself and its installation between `fork` and `exec`.

use std::io;
use std::os::fd::RawFd;

/// What the running kernel calls this architecture in `seccomp_data.arch` (linux/audit.h), and the number of
/// `bind(2)` on it. `None` where nobody has tried it: bindshare is refused there instead of guessed.
const ARCHITECTURE: Option<(u32, u32)> = if cfg!(target_arch = "x86_64") {
    Some((0xC000_003E, 49))
} else if cfg!(target_arch = "aarch64") {
    Some((0xC000_00B7, 200))
} else {
    None
};

/// Offsets in `struct seccomp_data` (linux/seccomp.h).
const OFFSET_NR: u32 = 0;
const OFFSET_ARCH: u32 = 4;

/// A filter that is ready before `fork`, so that installing it allocates nothing.
///
/// The program: `arch == ours && nr == bind ? USER_NOTIF : ALLOW`. An x32 call carries bit 30 in its number
/// and a 32-bit call another architecture: both are allowed.
#[derive(Clone)]
pub struct PreparedFilter {
    program: [libc::sock_filter; 6],
}

// === impl PreparedFilter ===

impl PreparedFilter {
    /// Assembles the filter.
    ///
    /// # Errors
    /// `Unsupported` on an architecture other than x86_64 and aarch64.
    pub fn new() -> io::Result<Self> {
        let Some((arch, bind)) = ARCHITECTURE else {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "bind interception is implemented for x86_64 and aarch64 only; let the program bind itself",
            ));
        };
        let load = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
        let equal = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
        let answer = (libc::BPF_RET | libc::BPF_K) as u16;
        let line = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
        Ok(Self {
            program: [
                line(load, 0, 0, OFFSET_ARCH),
                line(equal, 0, 3, arch),
                line(load, 0, 0, OFFSET_NR),
                line(equal, 0, 1, bind),
                line(answer, 0, 0, libc::SECCOMP_RET_USER_NOTIF),
                line(answer, 0, 0, libc::SECCOMP_RET_ALLOW),
            ],
        })
    }
}

impl std::fmt::Debug for PreparedFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PreparedFilter(bind -> notify)")
    }
}

/// Installs the filter in the calling thread and returns the notify descriptor (close-on-exec).
///
/// Meant for the child between `fork` and `exec`, after it gave up its privileges: it is async-signal-safe
/// (three system calls, no allocation, no lock). The descriptor must reach the process that will answer
/// (SCM_RIGHTS) before the child calls `bind`; `sendmsg` itself is not intercepted. Sets `no_new_privs` when
/// the kernel demands it, that is without `CAP_SYS_ADMIN`. Also lets the parent and its descendants read this
/// process's memory where Yama restricts that to ancestors (`ptrace_scope` 1): the reader of the notification
/// is usually a sibling.
///
/// # Errors
/// The errno: ENOSYS/EINVAL (kernel older than 5.0 or without seccomp filters), EBUSY (a filter with a notify
/// descriptor is in force already), EPERM (forbidden by an outer sandbox).
pub fn install_in_child(filter: &PreparedFilter) -> Result<RawFd, i32> {
    // SAFETY: getppid has no precondition.
    let parent = unsafe { libc::getppid() } as libc::c_ulong;
    // SAFETY: PR_SET_PTRACER takes an integer. A failure (no Yama) changes nothing.
    unsafe { libc::prctl(libc::PR_SET_PTRACER, parent, 0, 0, 0) };
    match install(filter) {
        Err(libc::EACCES) => {
            // SAFETY: PR_SET_NO_NEW_PRIVS takes integers only.
            if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
                return Err(errno());
            }
            install(filter)
        }
        other => other,
    }
}

fn install(filter: &PreparedFilter) -> Result<RawFd, i32> {
    let program = libc::sock_fprog {
        len: filter.program.len() as u16,
        // The kernel only reads it, although the C type lacks a const.
        filter: filter.program.as_ptr().cast_mut(),
    };
    // SAFETY: `program` points to `len` instructions that outlive the call; the kernel copies them.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER as libc::c_ulong,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        )
    };
    if fd < 0 { Err(errno()) } else { Ok(fd as RawFd) }
}

fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL)
}
