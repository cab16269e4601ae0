//! What the kernel can do with a pipe without us touching the bytes.
//!
//! [`Scratch`] is shared by all streams: one pipe to peek through, and two buffers that grow to what one pipe can hold.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags};

use crate::{LogsError, crash};

/// What the peeking pipe is asked to hold: the largest a pipe may be without privileges (`fs.pipe-max-size`).
const PEEK_BYTES: usize = 1 << 20;
/// Where a line's end is looked for first. Lines are mostly shorter, so mostly this much is copied instead of all.
const LINE_END_WINDOW: usize = 4096;

/// Bytes in the pipe now.
pub(crate) fn available(pipe: impl AsFd) -> io::Result<usize> {
    let bytes = rustix::io::ioctl_fionread(pipe)?;
    Ok(usize::try_from(bytes).expect("a pipe holds less than the address space"))
}

/// Bytes the pipe can hold; fails on what is no pipe.
pub(crate) fn capacity(pipe: impl AsFd) -> io::Result<usize> {
    Ok(rustix::pipe::fcntl_getpipe_size(pipe)?)
}

/// The fewest bytes that a full pipe of that capacity may hold. Its first page may be nearly consumed; of the others any
/// two neighbours hold more than one page together, or the kernel had merged them. A pipe of two pages, as users with
/// very many pipes get, may be full with two bytes.
pub(crate) fn least_full_bytes(capacity: usize) -> usize {
    let page = rustix::param::page_size();
    (capacity / page).saturating_sub(1) / 2 * page
}

/// True when no writer is left: what is in the pipe is all there will ever be.
pub(crate) fn hung_up(pipe: impl AsFd) -> bool {
    let pipe = pipe.as_fd();
    let mut fds = [PollFd::new(&pipe, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(rustix::event::poll(&mut fds, Some(&at_once)), Ok(1..))
        && fds[0].revents().contains(PollFlags::HUP)
}

/// Moves up to `bytes` from a pipe into another pipe or a device at its own position.
pub(crate) fn hand_over(from: impl AsFd, to: impl AsFd, bytes: usize) -> io::Result<usize> {
    retry(|| {
        crash::point();
        rustix::pipe::splice(&from, None, &to, None, bytes, SpliceFlags::NONBLOCK)
    })
}

/// Moves up to `bytes` from a pipe into a regular file at `offset`: both sides, or neither, of every byte.
pub(crate) fn hand_over_at(from: impl AsFd, to: impl AsFd, offset: u64, bytes: usize) -> io::Result<usize> {
    retry(|| {
        crash::point();
        let mut offset = offset;
        rustix::pipe::splice(&from, None, &to, Some(&mut offset), bytes, SpliceFlags::NONBLOCK)
    })
}

/// EINTR is no news: a signal came first.
pub(crate) fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// The peeking pipe and the two shared buffers.
#[derive(Debug)]
pub(crate) struct Scratch {
    peek_out: OwnedFd,
    peek_in: OwnedFd,
    null: OwnedFd,
    peek_bytes: usize,
    /// What was peeked last.
    pub(crate) input: Vec<u8>,
    /// What will be written.
    pub(crate) output: Vec<u8>,
}

impl Scratch {
    pub(crate) fn new() -> Result<Self, LogsError> {
        let system = |doing| move |e: Errno| LogsError::System { doing, source: e.into() };
        let (peek_out, peek_in) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)
            .map_err(system("create the peeking pipe"))?;
        // Refused to a user with many pipes; then peeks are smaller and all else is the same.
        let _ = rustix::pipe::fcntl_setpipe_size(&peek_in, PEEK_BYTES);
        let peek_bytes =
            rustix::pipe::fcntl_getpipe_size(&peek_in).map_err(system("size the peeking pipe"))?;
        let null = rustix::fs::open("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(system("open /dev/null"))?;
        Ok(Self { peek_out, peek_in, null, peek_bytes, input: Vec::new(), output: Vec::new() })
    }

    /// What a peek is sure to see of a pipe that holds so much, however badly its pages are filled.
    pub(crate) fn sure_bytes(&self) -> usize {
        least_full_bytes(self.peek_bytes)
    }

    /// Lets up to `bytes` of a pipe go.
    pub(crate) fn discard(&self, pipe: impl AsFd, bytes: usize) -> io::Result<usize> {
        hand_over(pipe, &self.null, bytes)
    }

    /// Copies up to `bytes` of the pipe into `input`, leaving them in the pipe.
    pub(crate) fn peek(&mut self, pipe: impl AsFd, bytes: usize) -> io::Result<usize> {
        let held = self.duplicate(pipe, bytes)?;
        self.read_peeked(held)?;
        Ok(held)
    }

    /// Looks only for the last line's end in the first `bytes` of the pipe: (bytes looked at, bytes up to and with it).
    /// The first `known` bytes are known to have none.
    pub(crate) fn peek_line_end(
        &mut self,
        pipe: impl AsFd,
        bytes: usize,
        known: usize,
    ) -> io::Result<(usize, Option<usize>)> {
        let pipe = pipe.as_fd();
        let held = self.duplicate(pipe, bytes)?;
        let skip = known.max(held.saturating_sub(LINE_END_WINDOW)).min(held);
        if let Some(end) = self.last_line_end_after(skip, held)? {
            return Ok((held, Some(end)));
        }
        if skip <= known {
            return Ok((held, None));
        }
        let held = self.duplicate(pipe, held)?;
        Ok((held, self.last_line_end_after(known.min(held), held)?))
    }

    fn last_line_end_after(&mut self, skip: usize, held: usize) -> io::Result<Option<usize>> {
        let mut left = skip;
        while left > 0 {
            left -= hand_over(&self.peek_out, &self.null, left)?;
        }
        self.read_peeked(held - skip)?;
        Ok(memchr::memrchr(b'\n', &self.input[..held - skip]).map(|at| skip + at + 1))
    }

    fn duplicate(&self, pipe: impl AsFd, bytes: usize) -> io::Result<usize> {
        retry(|| rustix::pipe::tee(&pipe, &self.peek_in, bytes, SpliceFlags::NONBLOCK))
    }

    fn read_peeked(&mut self, bytes: usize) -> io::Result<()> {
        if self.input.len() < bytes {
            self.input.resize(bytes, 0);
        }
        let mut filled = 0;
        while filled < bytes {
            let got = retry(|| rustix::io::read(&self.peek_out, &mut self.input[filled..bytes]))?;
            filled += got;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipe_with_bytes(bytes: &[u8]) -> (OwnedFd, OwnedFd) {
        let (out, into) = rustix::pipe::pipe().expect("pipe");
        rustix::io::write(&into, bytes).expect("write");
        (out, into)
    }

    #[test]
    fn a_peek_leaves_the_bytes_in_the_pipe() {
        let (out, _into) = pipe_with_bytes(b"one\ntwo");
        let mut scratch = Scratch::new().expect("scratch");
        for _ in 0..3 {
            assert_eq!(scratch.peek(&out, 100).expect("peek"), 7);
            assert_eq!(&scratch.input[..7], b"one\ntwo");
        }
        assert_eq!(available(&out).expect("available"), 7);
    }

    #[test]
    fn a_pipe_may_be_full_with_very_few_bytes() {
        let (out, into) = pipe_with_bytes(&[]);
        let page = rustix::param::page_size();
        let capacity = rustix::pipe::fcntl_setpipe_size(&into, 2 * page).expect("shrink");
        rustix::io::write(&into, &vec![b'a'; page]).expect("write");
        rustix::io::read(&out, &mut vec![0; page - 1]).expect("read");
        rustix::io::write(&into, b"b").expect("write");
        rustix::fs::fcntl_setfl(&into, OFlags::NONBLOCK).expect("fcntl");
        assert_eq!(rustix::io::write(&into, &vec![b'c'; page]), Err(Errno::AGAIN));
        assert_eq!(available(&out).expect("available"), 2);
        assert_eq!(least_full_bytes(capacity), 0);
        assert_eq!(least_full_bytes(16 * page), 7 * page);
    }

    #[test]
    fn the_last_line_end_is_found_wherever_it_is() {
        for (before, after) in
            [(0, 0), (1, 5), (10_000, 3), (3, 10_000), (9_000, 9_000), (0, 4095), (0, 4096)]
        {
            let bytes = [vec![b'a'; before], vec![b'\n'], vec![b'b'; after]].concat();
            let (out, into) = pipe_with_bytes(&[]);
            rustix::pipe::fcntl_setpipe_size(&into, 1 << 16)
                .expect("a pipe of the usual size: run with fewer pipes");
            rustix::io::write(&into, &bytes).expect("write");
            let mut scratch = Scratch::new().expect("scratch");
            let seen = scratch.peek_line_end(&out, usize::MAX >> 1, 0).expect("peek");
            assert_eq!(seen, (bytes.len(), Some(before + 1)), "{before} {after}");
            let seen = scratch.peek_line_end(&out, usize::MAX >> 1, before + 1).expect("peek");
            assert_eq!(seen, (bytes.len(), None), "{before} {after}");
        }
    }

    #[test]
    fn a_pipe_without_writers_has_hung_up_even_with_bytes_in_it() {
        let (out, into) = pipe_with_bytes(b"rest");
        assert!(!hung_up(&out));
        drop(into);
        assert!(hung_up(&out));
    }
}
