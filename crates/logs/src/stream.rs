//! The names of streams, and what a follower sees.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Which of a worker's two output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output (`"type":"out"` in JSON lines, as PM2 writes it).
    Out,
    /// Standard error (`"type":"err"`).
    Err,
}

impl Stream {
    /// `out` or `err`, PM2's words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::Err => "err",
        }
    }
}

/// One stream of one worker, for ever: the same worker has the same id after a restart of the daemon, which is how
/// the journal finds it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(u64);

impl StreamId {
    /// The id of `stream` of the worker numbered `worker` (unique for ever, never 0).
    #[must_use]
    pub fn new(worker: u32, stream: Stream) -> Self {
        Self(u64::from(worker) << 1 | u64::from(stream == Stream::Err))
    }

    /// As the journal stores it; 0 is nobody.
    pub(crate) fn raw(self) -> u64 {
        self.0
    }

    /// From the journal; `None` for 0.
    pub(crate) fn from_raw(raw: u64) -> Option<Self> {
        (raw != 0).then_some(Self(raw))
    }
}

/// Where lines come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// The app's name.
    pub app: Arc<str>,
    /// The fleet-wide slot number (PM2's `pm_id`).
    pub slot: u32,
    /// The worker, unique for ever, never 0.
    pub worker: u32,
    /// Which of its streams.
    pub stream: Stream,
}

impl Source {
    /// The stream's id.
    #[must_use]
    pub fn id(&self) -> StreamId {
        StreamId::new(self.worker, self.stream)
    }
}

/// A piece of a stream handed to a subscriber, after it reached its files.
#[derive(Debug)]
pub struct Chunk<'a> {
    /// Whose bytes.
    pub source: &'a Source,
    /// When they were taken from the pipe: nanoseconds since the Unix epoch.
    pub unix_ns: i64,
    /// The worker's own bytes: whole lines with their `\n`, or a part of a very long line.
    pub bytes: &'a [u8],
    /// False when the last line of `bytes` goes on in the stream's next chunk.
    pub ends_line: bool,
}

/// A subscriber's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Send me the next one too.
    Going,
    /// I am gone: forget me.
    Stop,
}

/// A subscription, for [`Capture::unsubscribe`](crate::Capture::unsubscribe).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionId(pub(crate) u64);
