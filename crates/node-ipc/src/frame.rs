//! Lines out of a byte stream that is peeked, not read.
//!
//! A window always begins where the last consumed line ended, except inside a line too large for the socket's buffer:
//! such a line is *spilled*, taken into memory piece by piece, because the kernel would never show it whole. A
//! restarted daemon that finds itself inside a spilled line skips to the next newline ([`MidLine`]).

use serde::{Deserialize, Serialize};

/// How much to peek at once. Above Linux's default socket buffer (`net.core.wmem_default` = 212,992), so that one peek
/// sees everything that is queued. One such buffer serves all sessions.
pub const WINDOW_BYTES: usize = 256 * 1024;

/// An unfinished line at least this long is taken out of the socket. Half of what a default socket buffer holds, so a
/// sender that is blocked on a full buffer has always reached it; smaller lines are simply waited for.
pub const SPILL_BYTES: usize = 64 * 1024;

/// The longest line that is kept. Node itself has no limit below V8's 512 MB strings, but a primary that buffers for a
/// hundred workers must have one; the largest messages known from practice, heap profiles, have some 10 MB.
/// A longer line is skipped and reported, the channel lives on.
pub const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Where in a line the consumed bytes end; part of the state that survives a daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum MidLine {
    /// At a line's start: the usual case.
    #[default]
    No,
    /// Inside a line without a descriptor.
    Plain,
    /// Inside a line that came with a descriptor; its sender waits for an acknowledgement.
    WithHandle,
    /// Inside a length-prefixed message of which so many bytes are still to come.
    Counted { left: usize, with_handle: bool },
}

/// How messages are told apart; chosen by the primary (`NODE_CHANNEL_SERIALIZATION_MODE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Serialization {
    /// A line of JSON each. Use this.
    #[default]
    Json,
    /// Four bytes of length (big endian) and a value in V8's own format. For apps that insist on messages with Buffers
    /// or Maps. Node 18 misreads a length that is cut in two.
    Advanced,
}

/// A complete line, or the end of one that could not be kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    Whole(&'a [u8]),
    /// `bytes` were thrown away: too long, or its beginning was lost with the last daemon.
    Lost {
        bytes: usize,
        with_handle: bool,
    },
}

/// What is known of the line that the consumed bytes end in.
#[derive(Debug)]
enum Open<F> {
    Nothing,
    Spilled {
        bytes: Vec<u8>,
        fd: Option<F>,
    },
    /// `left` is how many bytes are still to come, where that is known in advance.
    Skipping {
        bytes: usize,
        with_handle: bool,
        left: Option<usize>,
    },
}

/// Cuts windows into lines.
#[derive(Debug)]
pub(crate) struct Framer<F> {
    open: Open<F>,
    line_bytes_max: usize,
    serialization: Serialization,
}

impl<F> Framer<F> {
    pub(crate) fn new(mid_line: MidLine, serialization: Serialization) -> Self {
        let open = match mid_line {
            MidLine::No => Open::Nothing,
            MidLine::Plain => Open::Skipping { bytes: 0, with_handle: false, left: None },
            MidLine::WithHandle => Open::Skipping { bytes: 0, with_handle: true, left: None },
            MidLine::Counted { left, with_handle } => {
                Open::Skipping { bytes: 0, with_handle, left: Some(left) }
            }
        };
        Self { open, line_bytes_max: LINE_BYTES_MAX, serialization }
    }

    #[cfg(test)]
    pub(crate) fn with_line_bytes_max(line_bytes_max: usize, serialization: Serialization) -> Self {
        Self { open: Open::Nothing, line_bytes_max, serialization }
    }

    pub(crate) fn mid_line(&self) -> MidLine {
        let (with_handle, left) = match &self.open {
            Open::Nothing => return MidLine::No,
            Open::Spilled { bytes, fd } => {
                let left = match self.serialization {
                    Serialization::Json => None,
                    Serialization::Advanced => message_bytes(bytes).map(|whole| whole - bytes.len()),
                };
                (fd.is_some(), left)
            }
            Open::Skipping { with_handle, left, .. } => (*with_handle, *left),
        };
        match left {
            Some(left) => MidLine::Counted { left, with_handle },
            None if with_handle => MidLine::WithHandle,
            None => MidLine::Plain,
        }
    }

    /// Calls `on_line` for every line that ends in `window`; `fd` is the descriptor that came with it. Returns how many
    /// bytes to consume. A descriptor that belongs to a line that is not consumed is dropped: the next peek brings
    /// it again.
    pub(crate) fn feed(
        &mut self,
        window: &[u8],
        fd: Option<F>,
        on_line: impl FnMut(Line<'_>, &mut Option<F>),
    ) -> usize {
        match self.serialization {
            Serialization::Json => self.feed_lines(window, fd, on_line),
            Serialization::Advanced => self.feed_messages(window, fd, on_line),
        }
    }

    fn feed_lines(
        &mut self,
        window: &[u8],
        mut fd: Option<F>,
        mut on_line: impl FnMut(Line<'_>, &mut Option<F>),
    ) -> usize {
        let mut at = 0;
        while let Some(length) = memchr::memchr(b'\n', &window[at..]) {
            let end = &window[at..at + length];
            match std::mem::replace(&mut self.open, Open::Nothing) {
                Open::Nothing => on_line(Line::Whole(end), &mut fd),
                Open::Spilled { mut bytes, fd: mut own } => {
                    bytes.extend_from_slice(end);
                    on_line(Line::Whole(&bytes), &mut own);
                }
                Open::Skipping { bytes, with_handle, .. } => {
                    on_line(Line::Lost { bytes: bytes + length, with_handle }, &mut None);
                }
            }
            at += length + 1;
        }
        at + self.take_rest(&window[at..], fd)
    }

    /// Spills the unfinished line at the window's end if it must be; returns how many bytes that were.
    fn take_rest(&mut self, rest: &[u8], arrived: Option<F>) -> usize {
        self.open = match std::mem::replace(&mut self.open, Open::Nothing) {
            Open::Nothing if rest.len() < SPILL_BYTES => return 0,
            Open::Nothing => Open::Spilled { bytes: rest.to_vec(), fd: arrived },
            Open::Spilled { mut bytes, fd } => {
                bytes.extend_from_slice(rest);
                Open::Spilled { bytes, fd }
            }
            Open::Skipping { bytes, with_handle, .. } => {
                Open::Skipping { bytes: bytes + rest.len(), with_handle, left: None }
            }
        };
        if let Open::Spilled { bytes, fd } = &self.open
            && bytes.len() > self.line_bytes_max
        {
            self.open = Open::Skipping { bytes: bytes.len(), with_handle: fd.is_some(), left: None };
        }
        rest.len()
    }

    fn feed_messages(
        &mut self,
        window: &[u8],
        mut fd: Option<F>,
        mut on_line: impl FnMut(Line<'_>, &mut Option<F>),
    ) -> usize {
        let mut at = 0;
        loop {
            let rest = &window[at..];
            match std::mem::replace(&mut self.open, Open::Nothing) {
                Open::Nothing => {
                    // Without even its length a message waits in the kernel.
                    let Some(whole) = message_bytes(rest) else { return at };
                    if let Some(message) = rest.get(..whole) {
                        on_line(Line::Whole(&message[LENGTH_BYTES..]), &mut fd);
                        at += whole;
                        continue;
                    }
                    if rest.len() < SPILL_BYTES {
                        return at;
                    }
                    let fd = fd.take();
                    self.open = if whole > self.line_bytes_max {
                        let left = Some(whole - rest.len());
                        Open::Skipping { bytes: rest.len(), with_handle: fd.is_some(), left }
                    } else {
                        Open::Spilled { bytes: rest.to_vec(), fd }
                    };
                    return window.len();
                }
                Open::Spilled { mut bytes, fd: mut own } => {
                    let whole = message_bytes(&bytes).expect("spilled with its length");
                    let taken = rest.len().min(whole - bytes.len());
                    bytes.extend_from_slice(&rest[..taken]);
                    at += taken;
                    if bytes.len() < whole {
                        self.open = Open::Spilled { bytes, fd: own };
                        return at;
                    }
                    on_line(Line::Whole(&bytes[LENGTH_BYTES..]), &mut own);
                }
                Open::Skipping { bytes, with_handle, left } => {
                    let left = left.unwrap_or(0);
                    let taken = rest.len().min(left);
                    at += taken;
                    let bytes = bytes + taken;
                    if taken < left {
                        self.open = Open::Skipping { bytes, with_handle, left: Some(left - taken) };
                        return at;
                    }
                    on_line(Line::Lost { bytes, with_handle }, &mut None);
                }
            }
        }
    }
}

/// Bytes of the length before each message.
const LENGTH_BYTES: usize = 4;

/// How long the length-prefixed message at the beginning of `bytes` is, prefix included.
fn message_bytes(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_be_bytes(*bytes.first_chunk::<LENGTH_BYTES>()?);
    usize::try_from(length).ok()?.checked_add(LENGTH_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `stream` in windows that grow to each of `cuts`, as peeking does, and returns the lines.
    fn lines(framer: &mut Framer<u32>, stream: &[u8], cuts: &[usize]) -> Vec<Result<Vec<u8>, usize>> {
        let mut lines = Vec::new();
        let mut start = 0;
        for cut in cuts.iter().copied().chain([stream.len()]) {
            start += framer.feed(&stream[start..cut.max(start)], None, |line, _| {
                lines.push(match line {
                    Line::Whole(line) => Ok(line.to_vec()),
                    Line::Lost { bytes, .. } => Err(bytes),
                });
            });
        }
        lines
    }

    #[test]
    fn lines_are_the_same_wherever_the_stream_is_cut() {
        let stream = b"{\"a\":1}\n\n\"two\"\n[3]\nunfinished";
        let whole: Vec<Result<Vec<u8>, usize>> =
            ["{\"a\":1}", "", "\"two\"", "[3]"].map(|line| Ok(line.as_bytes().to_vec())).into();
        for cut in 0..=stream.len() {
            for second in cut..=stream.len() {
                assert_eq!(
                    lines(&mut Framer::new(MidLine::No, Serialization::Json), stream, &[cut, second]),
                    whole
                );
            }
        }
    }

    #[test]
    fn an_unfinished_short_line_stays_in_the_kernel() {
        let mut framer = Framer::<u32>::new(MidLine::No, Serialization::Json);
        assert_eq!(framer.feed(b"one\ntw", Some(7), |_, _| ()), 4);
        assert_eq!(framer.mid_line(), MidLine::No);
    }

    #[test]
    fn a_line_larger_than_the_socket_buffer_is_put_together_with_its_descriptor() {
        let mut framer = Framer::new(MidLine::No, Serialization::Json);
        let first = vec![b'x'; SPILL_BYTES];
        assert_eq!(framer.feed(&first, Some(7), |_, _| panic!("no line yet")), SPILL_BYTES);
        assert_eq!(framer.mid_line(), MidLine::WithHandle);
        let mut seen = Vec::new();
        let consumed = framer.feed(b"end\nnext\n", None, |line, fd: &mut Option<u32>| {
            let Line::Whole(line) = line else { panic!("nothing was lost") };
            seen.push((line.len(), fd.take()));
        });
        assert_eq!((consumed, seen), (9, vec![(SPILL_BYTES + 3, Some(7)), (4, None)]));
    }

    #[test]
    fn a_line_beyond_the_bound_is_skipped_and_the_next_one_is_read() {
        let mut framer = Framer::with_line_bytes_max(SPILL_BYTES + 10, Serialization::Json);
        let mut stream = vec![b'x'; SPILL_BYTES + 20];
        stream.extend_from_slice(b"tail\nnext\n");
        let cut = SPILL_BYTES + 15;
        assert_eq!(
            lines(&mut framer, &stream, &[SPILL_BYTES, cut]),
            [Err(SPILL_BYTES + 24), Ok(b"next".to_vec())]
        );
    }

    #[test]
    fn a_restarted_daemon_skips_the_rest_of_a_line_whose_beginning_is_gone() {
        let mut framer = Framer::<u32>::new(MidLine::WithHandle, Serialization::Json);
        let mut seen = Vec::new();
        framer.feed(b"rest\n{}\n", None, |line, _| seen.push(format!("{line:?}")));
        assert_eq!(seen, ["Lost { bytes: 4, with_handle: true }", "Whole([123, 125])"]);
        assert_eq!(framer.mid_line(), MidLine::No);
    }

    fn message(length: usize) -> Vec<u8> {
        let mut message = u32::try_from(length).expect("small").to_be_bytes().to_vec();
        message.resize(LENGTH_BYTES + length, b'\n');
        message
    }

    #[test]
    fn length_prefixed_messages_are_the_same_wherever_the_stream_is_cut() {
        let stream = [message(3), message(0), message(70), message(1)].concat();
        let whole = [3, 0, 70, 1].map(|length| Ok(vec![b'\n'; length]));
        for cut in 0..=stream.len() {
            let mut framer = Framer::new(MidLine::No, Serialization::Advanced);
            assert_eq!(lines(&mut framer, &stream, &[cut]), whole, "cut at {cut}");
        }
    }

    #[test]
    fn large_length_prefixed_messages_are_spilled_skipped_and_survive_a_restart() {
        let mut framer = Framer::with_line_bytes_max(SPILL_BYTES + 50, Serialization::Advanced);
        let stream = [message(SPILL_BYTES + 20), message(SPILL_BYTES + 100), message(2)].concat();
        let first = SPILL_BYTES + 10;
        let second = SPILL_BYTES + 24 + SPILL_BYTES + 10;
        let told = lines(&mut framer, &stream, &[first, first + 3, second, second + 5]);
        let lengths: Vec<Result<usize, usize>> =
            told.into_iter().map(|line| line.map(|line| line.len())).collect();
        assert_eq!(lengths, [Ok(SPILL_BYTES + 20), Err(SPILL_BYTES + 104), Ok(2)]);
        let mut framer = Framer::with_line_bytes_max(LINE_BYTES_MAX, Serialization::Advanced);
        assert_eq!(framer.feed(&stream[..first], Some(1), |_, _| ()), first);
        let state = framer.mid_line();
        assert_eq!(state, MidLine::Counted { left: 14, with_handle: true });
        let mut framer = Framer::<u32>::new(state, Serialization::Advanced);
        let rest = [&stream[first..SPILL_BYTES + 24], &message(1)].concat();
        assert_eq!(lines(&mut framer, &rest, &[]), [Err(14), Ok(vec![b'\n'])]);
    }
}
