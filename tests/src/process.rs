//! The process table, from outside.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::deadline::{Deadline, LIMIT};

/// Sends a signal to one process.
///
/// # Errors
/// When there is no such process.
pub fn signal(pid: u32, signal: Signal) -> io::Result<()> {
    kill_process(as_pid(pid), signal).map_err(io::Error::from)
}

/// SIGKILL.
///
/// # Panics
/// When there is no such process: the test's picture of the world is wrong.
pub fn kill(pid: u32) {
    signal(pid, Signal::KILL).unwrap_or_else(|error| panic!("cannot kill process {pid}: {error}"));
}

/// Whether it runs: a zombie does not.
pub fn is_alive(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z' && state != 'X')
}

/// Waits until a process has ended.
///
/// # Panics
/// When it does not within the limit.
pub fn wait_gone(pid: u32) {
    let Ok(pidfd) = pidfd_open(as_pid(pid), PidfdFlags::empty()) else { return };
    let limit = Timespec { tv_sec: LIMIT.as_secs().cast_signed(), tv_nsec: 0 };
    let ready = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit)).expect("poll on a pidfd works");
    assert!(ready == 1, "process {pid} lives: {}", command_line(pid));
}

/// Its parent's pid.
pub fn parent(pid: u32) -> Option<u32> {
    stat(pid)?.split(' ').nth(1)?.parse().ok()
}

/// Its children, zombies too.
pub fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// Whether a signal has stopped it.
pub fn is_stopped(pid: u32) -> bool {
    state(pid) == Some('T')
}

/// The other sides' TCP ports of all connections that a process holds.
pub fn peer_ports(pid: u32) -> BTreeSet<u16> {
    let Ok(folder) = fs::read_dir(format!("/proc/{pid}/fd")) else { return BTreeSet::new() };
    let inode = |item: io::Result<fs::DirEntry>| {
        let target = fs::read_link(item.ok()?.path()).ok()?;
        Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
    };
    let inodes: BTreeSet<String> = folder.filter_map(inode).collect();
    let tables =
        ["tcp", "tcp6"].map(|name| fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default());
    let lines = tables.iter().flat_map(|table| table.lines().skip(1));
    // proc(5): sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode
    let port = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, port) = fields.get(2)?.rsplit_once(':')?;
        let ours = inodes.contains(*fields.get(9)?);
        u16::from_str_radix(port, 16).ok().filter(|port| ours && *port != 0)
    };
    lines.filter_map(port).collect()
}

/// SIGKILLs a worker of whom it is known which connections it has: the clients' ports of those that it has accepted. What waits in
/// its queue is not inside it.
///
/// # Panics
/// When there is no such process.
pub fn kill_with_inventory(pid: u32) -> BTreeSet<u16> {
    signal(pid, Signal::STOP).unwrap_or_else(|error| panic!("cannot stop process {pid}: {error}"));
    Deadline::until("it holds still", || is_stopped(pid).then_some(()));
    let inside = peer_ports(pid);
    kill(pid);
    inside
}

/// What it was started as.
pub fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim().to_owned()
}

/// Every process whose environment holds this `NAME=value`, ours excepted. (What it was started with: the kernel
/// does not see later changes.)
pub fn with_environment(entry: &str) -> Vec<u32> {
    let Ok(folder) = fs::read_dir("/proc") else { return Vec::new() };
    folder
        .filter_map(|item| item.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != std::process::id() && is_alive(*pid))
        .filter(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|item| item == entry.as_bytes())
        })
        .collect()
}

fn state(pid: u32) -> Option<char> {
    stat(pid)?.chars().next()
}

/// `/proc/<pid>/stat` behind the name, which may hold anything.
fn stat(pid: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(") ")?.1.to_owned())
}

fn as_pid(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed()).expect("no process has pid 0")
}
