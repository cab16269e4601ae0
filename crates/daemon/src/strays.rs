//! Workers whose keeper and daemon have both been killed. They have lost their channels and the readers of their
//! output, so they are not taken back: they are ended, each in its own polite way, before anything is started in their
//! place. No program is ever served by two sets of workers.
//!
//! Whoever is signalled here is known by pid and start time (or carries the home's mark), and is signalled by pidfd.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use skep_core::WorkerId;
use skep_sys::pidfd::PidFd;
use skep_sys::proc;
use tokio::io::Interest;

use crate::census::{Census, Entry};

const SIGKILL: i32 = 9;

/// How long the kernel may take to end what was killed: a process that hangs in a system call is nobody's any more.
const DYING: Duration = Duration::from_secs(5);

/// How one that no census names is ended: SIGTERM and 1.6 s, as PM2 would.
const STOP_DEFAULT: (i32, u64) = (15, 1_600);

/// A process that was found.
#[derive(Debug)]
struct Stray {
    entry: Entry,
    handle: PidFd,
}

/// Ends all workers that a dead keeper of this home has left behind; who they were. Only for whoever holds the home's lock.
pub async fn end_all(home: &Path) -> Vec<String> {
    let census = Census::at(home, false);
    let mut entries = census.read();
    if entries.is_empty() {
        return Vec::new();
    }
    // Killed at the same instant as the daemon that was to write it down: newer than all others.
    let newest = entries.iter().map(|entry| entry.worker).max();
    entries.extend(marked(home).into_iter().filter(|entry| Some(entry.worker) > newest));
    let ended = end(entries).await;
    census.close();
    ended
}

/// Ends these workers, as far as they live; who lived.
pub(crate) async fn end(entries: Vec<Entry>) -> Vec<String> {
    let open = |entry: Entry| Some(Stray { handle: PidFd::of(entry.pid, entry.start_time)?, entry });
    let strays: Vec<Stray> = entries.into_iter().filter_map(open).collect();
    let words = |stray: &Stray| format!("process {} of {}", stray.entry.pid, stray.entry.app);
    let told = strays.iter().map(words).collect();
    let tasks = tokio::task::LocalSet::new();
    for stray in strays {
        tasks.spawn_local(async move {
            if let Err(error) = end_one(&stray).await {
                crate::diary::note(format_args!("{} could not be ended: {error}", words(&stray)));
            }
        });
    }
    tasks.await;
    told
}

async fn end_one(stray: &Stray) -> io::Result<()> {
    let (handle, entry) = (&stray.handle, &stray.entry);
    handle.signal(entry.stop_signal)?;
    let grace = Duration::from_millis(entry.grace_ms);
    if !ends_within(handle, grace).await? {
        let killed = if entry.kill_tree {
            proc::signal_strangers(entry.pid, handle, SIGKILL)
        } else {
            handle.signal(SIGKILL)
        };
        killed?;
        if !ends_within(handle, DYING).await? {
            return Err(io::Error::other("it was killed and does not end"));
        }
    }
    // What it started and left behind.
    if entry.kill_tree { proc::signal_strangers(entry.pid, handle, SIGKILL) } else { Ok(()) }
}

async fn ends_within(handle: &PidFd, time: Duration) -> io::Result<bool> {
    let ended = crate::watch::watch(handle.as_fd(), Interest::READABLE)?;
    Ok(tokio::time::timeout(time, ended.readable()).await.is_ok())
}

/// Session leaders that were started as workers of this home: their environment says so.
pub(crate) fn marked(home: &Path) -> Vec<Entry> {
    let mark = [b"SKEP_HOME=", home.as_os_str().as_encoded_bytes()].concat();
    let pids = proc::processes().unwrap_or_default();
    pids.into_iter().filter_map(|pid| marked_one(pid, &mark)).collect()
}

fn marked_one(pid: i32, mark: &[u8]) -> Option<Entry> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut variables = environment.split(|byte| *byte == 0);
    if !variables.clone().any(|variable| variable == mark) {
        return None;
    }
    let worker = variables.find_map(|variable| variable.strip_prefix(b"SKEP_WORKER_ID="))?;
    let worker = std::str::from_utf8(worker).ok()?.parse().ok().map(WorkerId)?;
    let stat = proc::stat(pid).ok().filter(|stat| stat.session == pid)?;
    let (stop_signal, grace_ms) = STOP_DEFAULT;
    let app = format!("worker {worker}");
    Some(Entry { worker, app, pid, start_time: stat.start_time, kill_tree: true, stop_signal, grace_ms })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn run(future: impl Future<Output = Vec<String>>) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(future)
    }

    #[test]
    fn a_stranger_that_got_the_number_is_left_alone_and_our_own_is_ended() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let pid = child.id().cast_signed();
        let start_time = proc::stat(pid).unwrap().start_time;
        let entry = |start_time| Entry {
            worker: WorkerId(1),
            app: "web".to_owned(),
            pid,
            start_time,
            kill_tree: false,
            stop_signal: 15,
            grace_ms: 60_000,
        };
        assert_eq!(run(end(vec![entry(start_time + 1)])), Vec::<String>::new());
        assert!(child.try_wait().unwrap().is_none(), "it lives");
        assert_eq!(run(end(vec![entry(start_time)])), [format!("process {pid} of web")]);
        assert!(!child.wait().unwrap().success(), "the signal ended it");
    }
}
