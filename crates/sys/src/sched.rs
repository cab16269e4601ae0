//! When the scheduler gives us a processor.

use std::io;

/// `struct sched_attr` as of its first version (sched_setattr(2)), which every kernel takes.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    /// For a usual task its slice in nanoseconds, since Linux 6.12; not looked at before.
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Children begin as if nothing had been set (linux/sched.h, `SCHED_FLAG_RESET_ON_FORK`).
const RESET_ON_FORK: u64 = 0x01;
/// The shortest slice that the kernel takes (`sched_setattr`: 0.1 to 100 ms; by default it is some 3 ms).
const SHORTEST_SLICE_NS: u64 = 100_000;

/// Asks for short turns on the processor, and soon: for a process that has little to do and is waited for. Its share of
/// the processor is the same as before. Children are not concerned.
///
/// # Errors
/// `EINVAL` or `ENOSYS` where the kernel knows no such thing, `EPERM` where a sandbox does not let us. Nothing depends
/// on it.
pub fn ask_for_short_turns() -> io::Result<()> {
    let nice = rustix::process::getpriority_process(None)?;
    // SAFETY: it takes a number and answers one.
    let policy = unsafe { libc::sched_getscheduler(0) };
    if nice < 0 || policy != libc::SCHED_OTHER {
        // Somebody gave us priority: a child's would be taken away with the rest.
        return Ok(());
    }
    let attributes = Attributes {
        size: size_of::<Attributes>() as u32,
        // As it is. With `SCHED_FLAG_KEEP_POLICY` the kernel would not look at the other flag (__sched_setscheduler).
        policy: libc::SCHED_OTHER as u32,
        flags: RESET_ON_FORK,
        nice,
        priority: 0,
        runtime: SHORTEST_SLICE_NS,
        deadline: 0,
        period: 0,
    };
    // SAFETY: the structure is as large as it says, and is only read.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Attributes {
        // SAFETY: all of it are numbers.
        let mut found: Attributes = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes as many bytes as it is told that there is room for.
        let result = unsafe {
            libc::syscall(libc::SYS_sched_getattr, 0, &raw mut found, size_of::<Attributes>() as u32, 0)
        };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
        found
    }

    #[test]
    fn short_turns_change_neither_the_priority_nor_what_a_child_gets() {
        std::thread::spawn(|| {
            let before = now();
            if let Err(error) = ask_for_short_turns() {
                assert!(
                    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS | libc::EPERM)),
                    "{error}"
                );
                return;
            }
            let after = now();
            assert_eq!((after.policy, after.nice), (before.policy, before.nice));
            assert_ne!(after.flags & RESET_ON_FORK, 0);
            // Since Linux 6.12 it is told; before, there is none.
            assert!(after.runtime == SHORTEST_SLICE_NS || after.runtime == before.runtime, "{after:?}");
            let child = std::thread::spawn(now).join().expect("it does not panic");
            assert_eq!((child.flags & RESET_ON_FORK, child.runtime), (0, before.runtime));
        })
        .join()
        .expect("it does not panic");
    }
}
