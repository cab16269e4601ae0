//! Starting a program without surprises: everything that can allocate or fail softly happens before the fork;
//! the child only makes system calls; a failure before `exec` comes back as a stage and an errno.
//!
//! The child gets its own session and process group, default signal dispositions, an empty signal mask, and
//! exactly the descriptors that were asked for. Nothing in the parent ever waits for the child: whether the
//! program was executed is learnt from [`Outcome`], a descriptor to poll. (A child can hang before `exec`, for
//! example in a working directory on a dead NFS server; with `vfork` its parent would hang too.)

mod child;
mod fork;
mod outcome;
mod prepare;
mod stage;

#[cfg(test)]
mod tests;

use std::os::fd::{AsFd, BorrowedFd, RawFd};

pub use outcome::{Executed, Outcome};
pub use stage::{Failure, Stage};

use crate::pidfd::PidFd;
use crate::seccomp::PreparedFilter;
use crate::unix::{Kind, pair};

/// The highest number that a descriptor can get in a child: enough for any program, small enough for tables.
pub const TARGET_MAX: RawFd = 4095;

/// What to start and how. `Order::default()` with `argv` is a program with an empty environment, no
/// descriptors at all, and everything else as the parent's.
#[derive(Debug, Default, Clone, Copy)]
pub struct Order<'a> {
    /// The program's path where it differs from `argv[0]` (which is what `ps` shows).
    pub program: Option<&'a [u8]>,
    /// Program and arguments. A program without a slash is looked for in the `PATH` of `env`, as `execvp` does.
    pub argv: &'a [Vec<u8>],
    /// The whole environment. An entry `LISTEN_PID=` without a value gets the child's pid as its value
    /// (`sd_listen_fds(3)` wants it, and nobody knows it before the fork).
    pub env: &'a [Vec<u8>],
    /// Working directory; relative programs are looked for from there.
    pub cwd: Option<&'a [u8]>,
    /// Ids to run as.
    pub credentials: Option<Credentials<'a>>,
    /// File mode creation mask.
    pub umask: Option<u32>,
    /// Resource limits to set.
    pub limits: &'a [Limit],
    /// Niceness to set.
    pub nice: Option<i32>,
    /// Whether it may never gain privileges.
    pub no_new_privileges: bool,
    /// The bind interception to install right before `exec`; its notify descriptor is in [`Executed`].
    pub filter: Option<&'a PreparedFilter>,
    /// Descriptors: (number in the child, ours). Numbers and descriptors may overlap in any way.
    pub fds: &'a [(RawFd, BorrowedFd<'a>)],
}

/// Ids to run as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary group ids.
    pub groups: &'a [u32],
}

/// A resource limit; `u64::MAX` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// `RLIMIT_…`
    pub resource: u32,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// A process that was made. It is our child: somebody must reap it.
#[derive(Debug)]
pub struct Started {
    /// Its pid, session and process group.
    pub pid: i32,
    /// Its handle; `None` before Linux 5.3.
    pub pidfd: Option<PidFd>,
    /// Whether the program gets executed.
    pub outcome: Outcome,
}

/// Makes a process for the program. That it could be executed is known only by [`Started::outcome`].
///
/// # Errors
/// A [`Failure`] in the stages `Prepare` and `Fork`; later ones come by the outcome.
pub fn spawn(order: &Order<'_>) -> Result<Started, Failure> {
    let mut prepared = prepare::Prepared::new(order)?;
    let (ours, theirs) = pair(Kind::Message).map_err(|error| Failure::of(Stage::Prepare, &error))?;
    let (pid, pidfd) = fork::fork(|| child::run(&mut prepared, theirs.as_fd()))?;
    Ok(Started { pid, pidfd, outcome: Outcome::new(ours) })
}
