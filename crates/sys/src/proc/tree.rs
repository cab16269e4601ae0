//! Families of processes, and ending them whole.
//!
//! A process can only be killed safely by number while the number cannot be reused: while we are its parent and
//! have not reaped it, or by a pidfd whose identity was checked afterwards. The walks here use pidfds.

use std::collections::BTreeSet;
use std::io;

use super::{Stat, stat};
use crate::pidfd::PidFd;
use crate::signal;

/// How often the walk over a family is repeated while it still grows: each pass stops all that it sees, so only a
/// program that forks faster than we walk can outrun it.
const PASSES_MAX: usize = 8;

/// The pids of the direct children of `pid`.
///
/// Uses `/proc/PID/task/TID/children` where the kernel has it (`CONFIG_PROC_CHILDREN`), else looks at every
/// process.
///
/// # Errors
/// `NotFound` when there is no such process.
pub fn children(pid: i32) -> io::Result<Vec<i32>> {
    let mut found = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        match std::fs::read_to_string(task?.path().join("children")) {
            Ok(text) => found.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return children_by_parent(pid),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn children_by_parent(pid: i32) -> io::Result<Vec<i32>> {
    stat(pid)?;
    let is_child = |other: &i32| stat(*other).is_ok_and(|stat| stat.parent == pid);
    Ok(processes()?.into_iter().filter(is_child).collect())
}

/// All pids.
///
/// # Errors
/// When `/proc` is not there.
pub fn processes() -> io::Result<Vec<i32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        if let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// All descendants of `pid` at this moment, parents before children. Empty when it is gone.
#[must_use]
pub fn descendants(pid: i32) -> Vec<i32> {
    let mut seen = BTreeSet::from([pid]);
    let mut found = Vec::new();
    let mut frontier = vec![pid];
    while let Some(parent) = frontier.pop() {
        for child in children(parent).unwrap_or_default() {
            if seen.insert(child) {
                found.push(child);
                frontier.push(child);
            }
        }
    }
    found
}

/// Sends `signal` to the process group of the session leader `leader` and to all its descendants, wherever they
/// moved. The leader must be our child and not yet reaped. What cannot be signalled is left alone.
///
/// For `SIGKILL` the family is stopped first, so that none of it can fork away while the others die.
pub fn kill_descendants(leader: i32, signal: i32) {
    let family = if signal == libc::SIGKILL {
        stop_whole(|| [&[leader], descendants(leader).as_slice()].concat())
    } else {
        descendants(leader).into_iter().collect()
    };
    for pid in family {
        // The group's members are signalled once, below.
        signal_if(pid, signal, |stat| stat.group != leader);
    }
    if signal::send_to_group(leader, signal).is_err() {
        // It has not made its group yet (it was forked this instant). If this fails too (EPERM: it changed its
        // user) there is nothing more that we could do.
        let _ = signal::send(leader, signal);
    }
}

/// Kills (`SIGKILL`) what the session leader `leader`, our ended but not yet reaped child, left behind: its
/// process group, its session, and all descendants of those. `adopter` is this process when it is the subreaper:
/// the leader's orphans are its children now. `known` are the adopter's other children, not to be touched.
///
/// A descendant whose own parent had ended before, and which had left the session, is nobody's any more: it made
/// itself a daemon, and is left alone.
pub fn kill_left_behind(leader: i32, adopter: i32, known: &dyn Fn(i32) -> bool) {
    let of_session = |pid: &i32| stat(*pid).is_ok_and(|stat| stat.session == leader && stat.state != 'Z');
    let family = stop_whole(|| {
        let orphans = children(adopter).unwrap_or_default().into_iter();
        let orphans = orphans.filter(|pid| *pid != leader && !known(*pid)).filter(of_session);
        orphans.flat_map(|orphan| [&[orphan], descendants(orphan).as_slice()].concat()).collect()
    });
    for pid in family {
        signal_if(pid, libc::SIGKILL, |_| true);
    }
    // The zombie leader still reserves the number of the group: this hits nobody else.
    let _ = signal::send_to_group(leader, libc::SIGKILL);
}

/// Sends `signal` to `leader`, a session leader that is not our child, with its process group and all its descendants.
/// Each of them is signalled by its pidfd, for nothing reserves their numbers.
pub fn signal_strangers(leader: i32, handle: &PidFd, signal: i32) -> io::Result<()> {
    let of_family = |pid: &i32| stat(*pid).is_ok_and(|stat| stat.session == leader || stat.group == leader);
    let find = || {
        let members = processes().unwrap_or_default().into_iter().filter(of_family);
        members.flat_map(|member| [&[member], descendants(member).as_slice()].concat()).collect::<Vec<_>>()
    };
    // While the leader lives its number is its own; when it has ended, whoever is in its session is of its family, for
    // as long as there is such a session the number is not given away.
    let family = if signal == libc::SIGKILL { stop_whole(find) } else { find().into_iter().collect() };
    for pid in family.into_iter().filter(|pid| *pid != leader) {
        signal_if(pid, signal, |_| true);
    }
    match handle.signal(signal) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => other,
    }
}

/// Stops (`SIGSTOP`) all processes that `family` finds, until it finds nobody new; returns them. As long as nobody
/// of them dies, the ways from parents to children that lead to them stay intact.
fn stop_whole(family: impl Fn() -> Vec<i32>) -> BTreeSet<i32> {
    let mut stopped = BTreeSet::new();
    for _ in 0..PASSES_MAX {
        let before = stopped.len();
        for pid in family() {
            if stopped.insert(pid) {
                signal_if(pid, libc::SIGSTOP, |_| true);
            }
        }
        if stopped.len() == before {
            break;
        }
    }
    stopped
}

/// Signals `pid` if it is still the process that we saw: the handle is opened first and the check made then.
fn signal_if(pid: i32, signal: i32, still: impl Fn(&Stat) -> bool) {
    match PidFd::open(pid) {
        Ok(handle) => {
            if stat(pid).is_ok_and(|stat| still(&stat)) {
                // It may have ended, or run as somebody else: nothing more to do then.
                let _ = handle.signal(signal);
            }
        }
        // Before Linux 5.3: by number.
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
            let _ = signal::send(pid, signal);
        }
        Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::spawn::{Order, spawn};
    use crate::wait::{peek_pid, reap_blocking};

    /// Starts a shell script that prints pids, in its own session; returns its pid and the numbers printed.
    fn family(script: &str, lines: usize) -> (i32, Vec<i32>) {
        let (read, write) = crate::pipe::pipe().expect("pipe");
        let argv = vec![b"/bin/sh".to_vec(), b"-c".to_vec(), script.as_bytes().to_vec()];
        let env = vec![b"PATH=/bin:/usr/bin".to_vec()];
        let fds = [(1, std::os::fd::AsFd::as_fd(&write))];
        let started = spawn(&Order { argv: &argv, env: &env, fds: &fds, ..Order::default() }).expect("spawn");
        drop(write);
        let mut read = std::fs::File::from(read);
        let mut text = Vec::new();
        while text.iter().filter(|byte| **byte == b'\n').count() < lines {
            let mut byte = [0];
            read.read_exact(&mut byte).expect("the script prints its pids");
            text.extend_from_slice(&byte);
        }
        let text = String::from_utf8(text).expect("digits");
        (started.pid, text.lines().map(|line| line.parse().expect("pid")).collect())
    }

    fn gone(pid: i32) -> bool {
        match PidFd::open(pid) {
            Ok(handle) => handle.wait().is_ok(),
            Err(error) => error.raw_os_error() == Some(libc::ESRCH),
        }
    }

    #[test]
    fn a_tree_is_killed_whole_even_what_left_the_session_and_ignores_signals() {
        let script = "trap '' TERM INT HUP; (trap '' TERM; echo $(sh -c 'echo $PPID'); exec sleep 1000) & \
                      setsid sh -c 'echo $$; sleep 1000; :' & echo $$; while :; do sleep 1000; done";
        let (leader, pids) = family(script, 3);
        assert!(pids.contains(&leader));
        assert!(descendants(leader).len() >= 2);
        kill_descendants(leader, libc::SIGKILL);
        reap_blocking(leader).expect("reap");
        for pid in pids {
            assert!(gone(pid), "{pid} lives");
        }
    }

    #[test]
    fn children_are_found_with_and_without_the_kernels_list() {
        let (leader, pids) = family("sleep 1000 & echo $!; read x </dev/zero", 1);
        assert!(children(leader).expect("children").contains(&pids[0]));
        assert!(children_by_parent(leader).expect("children").contains(&pids[0]));
        kill_descendants(leader, libc::SIGKILL);
        reap_blocking(leader).expect("reap");
        assert!(peek_pid(leader).expect("peek").is_none());
        assert!(children(leader).is_err() || descendants(leader).is_empty());
        assert!(gone(pids[0]));
    }
}
