//! Pipes for a worker's output, and moving bytes between descriptors without copying them through us.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::pipe::{PipeFlags, SpliceFlags};

/// The buffer an output pipe should have, in bytes: while the daemon restarts nobody reads the pipe, and a
/// worker that logs must not block meanwhile. 1 MiB is the most an unprivileged user may ask for
/// (`/proc/sys/fs/pipe-max-size`, pipe(7)).
pub const BUFFER_BYTES_WANTED: usize = 1024 * 1024;

/// A pipe (read end, write end), both close-on-exec, with the kernel's default buffer.
///
/// # Errors
/// `EMFILE`/`ENFILE` when descriptors have run out.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?)
}

/// A pipe's read end that also holds the pipe open for writing, so that whoever reads it never sees its end, not even
/// when every other writer is killed. Where the kernel does not give one (no /proc), the plain end.
#[must_use]
pub fn never_ending(read_end: OwnedFd) -> OwnedFd {
    use rustix::fs::{Mode, OFlags};
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&read_end));
    rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).unwrap_or(read_end)
}

/// A pipe with the largest buffer we can get, at most [`BUFFER_BYTES_WANTED`]; halves the wish until the kernel
/// agrees (a user beyond `pipe-user-pages-soft` gets small pipes only), so it never fails for the buffer's sake.
///
/// # Errors
/// `EMFILE`/`ENFILE` when descriptors have run out.
pub fn roomy_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let ends = pipe()?;
    let current = rustix::pipe::fcntl_getpipe_size(&ends.1)?;
    let mut wanted = BUFFER_BYTES_WANTED;
    while wanted > current {
        if rustix::pipe::fcntl_setpipe_size(&ends.1, wanted).is_ok() {
            break;
        }
        wanted /= 2;
    }
    Ok(ends)
}

/// The size in bytes of a pipe's buffer.
///
/// # Errors
/// `EBADF` when it is no pipe.
pub fn buffer_bytes(pipe: impl AsFd) -> io::Result<usize> {
    Ok(rustix::pipe::fcntl_getpipe_size(pipe)?)
}

/// Moves up to `bytes_max` bytes from `from` to `to` inside the kernel; one of them must be a pipe. Never blocks
/// on the pipe. 0 means end of file. A byte is in exactly one of the two places at any instant.
///
/// # Errors
/// `WouldBlock`; `EINVAL` when the pair cannot be spliced (for example a file opened for appending); `ENOSPC`.
pub fn splice(from: impl AsFd, to: impl AsFd, bytes_max: usize) -> io::Result<usize> {
    let moved = rustix::io::retry_on_intr(|| {
        rustix::pipe::splice(&from, None, &to, None, bytes_max, SpliceFlags::NONBLOCK | SpliceFlags::MOVE)
    })?;
    Ok(moved)
}

/// As [`splice`], but writes at `offset` of the file `to` and moves `offset` on; the file's own position stays.
///
/// # Errors
/// As [`splice`].
pub fn splice_to(from: impl AsFd, to: impl AsFd, offset: &mut u64, bytes_max: usize) -> io::Result<usize> {
    let mut at = *offset;
    let moved = rustix::io::retry_on_intr(|| {
        rustix::pipe::splice(
            &from,
            None,
            &to,
            Some(&mut at),
            bytes_max,
            SpliceFlags::NONBLOCK | SpliceFlags::MOVE,
        )
    })?;
    *offset = at;
    Ok(moved)
}

/// Duplicates up to `bytes_max` bytes of the pipe `from` into the pipe `to` without consuming them.
///
/// # Errors
/// `WouldBlock` when `from` is empty or `to` is full.
pub fn tee(from: impl AsFd, to: impl AsFd, bytes_max: usize) -> io::Result<usize> {
    Ok(rustix::io::retry_on_intr(|| rustix::pipe::tee(&from, &to, bytes_max, SpliceFlags::NONBLOCK))?)
}

/// How many bytes wait to be read in a pipe, socket or terminal.
///
/// # Errors
/// `ENOTTY` when the descriptor has no such notion.
pub fn readable_bytes(fd: impl AsFd) -> io::Result<usize> {
    Ok(usize::try_from(rustix::io::ioctl_fionread(fd)?).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};

    use super::*;

    #[test]
    fn a_roomy_pipe_holds_more_than_a_plain_one_or_as_much() {
        let (_read, write) = roomy_pipe().expect("pipe");
        let (_plain_read, plain_write) = pipe().expect("pipe");
        let roomy = buffer_bytes(&write).expect("size");
        assert!(roomy >= buffer_bytes(&plain_write).expect("size"));
        assert!(roomy <= BUFFER_BYTES_WANTED);
    }

    #[test]
    fn spliced_bytes_leave_the_pipe_and_are_in_the_file() {
        let (read, write) = pipe().expect("pipe");
        let mut write = std::fs::File::from(write);
        write.write_all(b"one two").expect("write");
        assert_eq!(readable_bytes(&read).expect("count"), 7);
        let mut file = tempfile::tempfile().expect("file");
        let mut offset = 0;
        assert_eq!(splice_to(&read, &file, &mut offset, 3).expect("splice"), 3);
        assert_eq!(splice_to(&read, &file, &mut offset, 100).expect("splice"), 4);
        assert_eq!(offset, 7);
        let error = splice(&read, &file, 10).expect_err("empty");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(write);
        assert_eq!(splice(&read, &file, 10).expect("end"), 0);
        let mut text = String::new();
        file.rewind().expect("rewind");
        file.read_to_string(&mut text).expect("read");
        assert_eq!(text, "one two");
    }

    #[test]
    fn teed_bytes_are_in_both_pipes() {
        let (read, write) = pipe().expect("pipe");
        let (copy_read, copy_write) = pipe().expect("pipe");
        std::fs::File::from(write).write_all(b"abc").expect("write");
        assert_eq!(tee(&read, &copy_write, 100).expect("tee"), 3);
        assert_eq!(readable_bytes(&read).expect("count"), 3);
        assert_eq!(readable_bytes(&copy_read).expect("count"), 3);
    }
}
