//! Everything that allocates, done before the fork.

use std::ffi::{CString, c_char};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

use super::{Credentials, Failure, Limit, Order, Stage, TARGET_MAX};
use crate::seccomp::PreparedFilter;

/// Where `execvp` looks when there is no `PATH` (confstr(_CS_PATH)).
const PATH_DEFAULT: &[u8] = b"/bin:/usr/bin";

/// Digits of the largest pid (`PID_MAX_LIMIT` is 2^22) and the terminating zero, rounded up.
const PID_ROOM: &[u8] = b"\0\0\0\0\0\0\0\0\0\0\0\0";

const LISTEN_PID: &[u8] = b"LISTEN_PID=";

/// A null-terminated array of strings for `execve`, and what it points to.
#[derive(Debug)]
pub(super) struct Strings {
    pointers: Vec<*const c_char>,
    _owned: Vec<CString>,
}

impl Strings {
    fn new(owned: Vec<CString>, more: *const c_char) -> Self {
        let mut pointers: Vec<_> = owned.iter().map(|string| string.as_ptr()).collect();
        pointers.push(more);
        pointers.push(ptr::null());
        Strings { pointers, _owned: owned }
    }

    pub(super) fn as_ptr(&self) -> *const *const c_char {
        self.pointers.as_ptr()
    }
}

/// A descriptor to place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placement {
    pub(super) target: RawFd,
    pub(super) source: RawFd,
    /// Where the child parks a duplicate, so that placing one never overwrites another's source.
    pub(super) parked: RawFd,
}

/// All that the child needs, in memory that it only reads (but for `parked` and the pid's digits, which it
/// changes in its own copy).
#[derive(Debug)]
pub(super) struct Prepared<'a> {
    pub(super) candidates: Vec<CString>,
    pub(super) argv: Strings,
    pub(super) env: Strings,
    pub(super) listen_pid: Option<Vec<u8>>,
    pub(super) cwd: Option<CString>,
    pub(super) credentials: Option<Credentials<'a>>,
    pub(super) umask: Option<u32>,
    pub(super) limits: &'a [Limit],
    pub(super) nice: Option<i32>,
    pub(super) no_new_privileges: bool,
    pub(super) filter: Option<&'a PreparedFilter>,
    /// Who forks: a child whose parent has died meanwhile is nobody's, and does not become a program.
    pub(super) parent: i32,
    /// Sorted by target, no target twice.
    pub(super) placements: Vec<Placement>,
}

impl<'a> Prepared<'a> {
    pub(super) fn new(order: &Order<'a>) -> Result<Self, Failure> {
        let listen_pid = order.env.iter().any(|entry| entry == LISTEN_PID);
        let listen_pid = listen_pid.then(|| [LISTEN_PID, PID_ROOM].concat());
        let others = order.env.iter().filter(|entry| *entry != LISTEN_PID);
        let env = others.map(|entry| c_string(entry)).collect::<Result<Vec<_>, _>>()?;
        let argv = order.argv.iter().map(|entry| c_string(entry)).collect::<Result<Vec<_>, _>>()?;
        let extra = listen_pid.as_ref().map_or(ptr::null(), |entry| entry.as_ptr().cast());
        Ok(Prepared {
            candidates: candidates(order)?,
            argv: Strings::new(argv, ptr::null()),
            env: Strings::new(env, extra),
            listen_pid,
            cwd: order.cwd.map(c_string).transpose()?,
            credentials: order.credentials,
            umask: order.umask,
            limits: order.limits,
            nice: order.nice,
            no_new_privileges: order.no_new_privileges,
            filter: order.filter,
            parent: std::process::id().cast_signed(),
            placements: placements(order)?,
        })
    }
}

fn placements(order: &Order<'_>) -> Result<Vec<Placement>, Failure> {
    let mut placements: Vec<_> = order
        .fds
        .iter()
        .map(|(target, source)| Placement { target: *target, source: source.as_raw_fd(), parked: -1 })
        .collect();
    placements.sort_by_key(|placement| placement.target);
    let twice = placements.windows(2).any(|two| two[0].target == two[1].target);
    let outside = placements.iter().any(|one| !(0..=TARGET_MAX).contains(&one.target));
    if twice || outside {
        return Err(Failure { stage: Stage::Prepare, errno: libc::EBADF });
    }
    Ok(placements)
}

/// The paths to try, in order.
fn candidates(order: &Order<'_>) -> Result<Vec<CString>, Failure> {
    let program = order.program.or(order.argv.first().map(Vec::as_slice));
    let program = program
        .filter(|program| !program.is_empty())
        .ok_or(Failure { stage: Stage::Prepare, errno: libc::ENOENT })?;
    if program.contains(&b'/') {
        return Ok(vec![c_string(program)?]);
    }
    let path = order.env.iter().find_map(|entry| entry.strip_prefix(b"PATH="));
    let path = path.unwrap_or(PATH_DEFAULT);
    path.split(|byte| *byte == b':')
        .map(|directory| {
            // An empty entry means the working directory.
            let directory = if directory.is_empty() { b"." } else { directory };
            c_string(&[directory, b"/", program].concat())
        })
        .collect()
}

fn c_string(bytes: &[u8]) -> Result<CString, Failure> {
    CString::new(bytes).map_err(|_| Failure { stage: Stage::Prepare, errno: libc::EINVAL })
}
