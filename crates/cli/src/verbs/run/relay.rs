//! Standard output that the daemon can open by its name.
//!
//! The daemon opens `/dev/stdout` for an app's lines. A pipe or a terminal can be opened so. A socket (journald's)
//! cannot, and a file would be opened anew with an offset of its own, so that others who write to it (a shell's `>`)
//! would overwrite the app's lines. For these two a small process stands between: it reads a pipe and writes to what we
//! were given.

use crate::hidden::RELAY_VERB;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, fstat};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::stdio::{dup2_stderr, dup2_stdout};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// The relays of this process, one for each of standard output and standard error that needs it.
#[derive(Debug, Default)]
pub(super) struct Relays {
    /// Readable when the relay has ended.
    processes: Vec<OwnedFd>,
}

/// Whether a stream must be relayed.
fn needs_relay(fd: impl AsFd) -> bool {
    let kind = fstat(fd).map(|stat| FileType::from_raw_mode(stat.st_mode));
    matches!(kind, Ok(FileType::Socket | FileType::RegularFile))
}

impl Relays {
    /// Puts relays where they are needed. Must be called before the keeper starts anything.
    pub(super) fn place() -> io::Result<Self> {
        let mut relays = Self::default();
        if needs_relay(io::stdout()) {
            let target = io::stdout().as_fd().try_clone_to_owned()?;
            relays.add(target, |pipe| dup2_stdout(pipe))?;
        }
        if needs_relay(io::stderr()) {
            let target = io::stderr().as_fd().try_clone_to_owned()?;
            relays.add(target, |pipe| dup2_stderr(pipe))?;
        }
        Ok(relays)
    }

    fn add(
        &mut self,
        target: OwnedFd,
        become_ours: fn(BorrowedFd<'_>) -> rustix::io::Result<()>,
    ) -> io::Result<()> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        let mut relay = Command::new(ourselves());
        relay.arg0("skep").arg(RELAY_VERB).stdin(read).stdout(target).stderr(Stdio::null());
        // Signals of the terminal are for the keeper; the relay ends when nobody writes any more.
        relay.process_group(0);
        let child = relay.spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        self.processes.push(pidfd_open(pid.ok_or(io::ErrorKind::InvalidData)?, PidfdFlags::empty())?);
        become_ours(write.as_fd())?;
        Ok(())
    }

    /// Lets go of the pipes and waits until everything has been written.
    pub(super) fn finish(self) {
        let Ok(null) = File::options().write(true).open("/dev/null") else { return };
        if self.processes.is_empty() || dup2_stdout(&null).is_err() || dup2_stderr(&null).is_err() {
            return;
        }
        for process in &self.processes {
            // The keeper may have reaped it; its descriptor tells the end in any case.
            while poll(&mut [PollFd::new(process, PollFlags::IN)], None) == Err(rustix::io::Errno::INTR) {}
        }
    }
}

/// This program, even if its file was replaced since.
fn ourselves() -> &'static str {
    "/proc/self/exe"
}

/// How much is copied at once: a pipe's capacity.
const COPY_BYTES: usize = 64 * 1024;

/// `skep __relay`: copies standard input to standard output until the end.
///
/// By `write`, which takes turns with others on the same file. `io::copy` would use `splice`, which does not: lines
/// that two relays write to one file (`> log 2>&1`) then overwrite each other, as was seen.
pub(crate) fn copy() -> io::Result<()> {
    let mut target = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let mut source = io::stdin().lock();
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => target.write_all(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn pipes_and_devices_are_opened_by_name_but_files_and_sockets_are_not() {
        let (read, _write) = io::pipe().unwrap();
        assert!(!needs_relay(read));
        assert!(!needs_relay(File::open("/dev/null").unwrap()));
        assert!(needs_relay(tempfile::tempfile().unwrap()));
        assert!(needs_relay(UnixStream::pair().unwrap().0));
    }
}
