//! What a process learns when it is woken.

use crate::key::{Put, Take};

/// Something happened that this process waits for. `request` is the number that it gave when it began to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A lock was handed over.
    LockGranted {
        /// Which wait.
        request: u32,
        /// The fencing token.
        token: u64,
    },
    /// A held lock was stolen, or its ttl ran out.
    LockLost {
        /// Which request had it.
        request: u32,
    },
    /// A single flight that this process waited for has landed: read it with [`crate::Client::flight_value`].
    FlightDone {
        /// Which wait.
        request: u32,
        /// Which flight.
        token: u64,
    },
    /// It failed.
    FlightFailed {
        /// Which wait.
        request: u32,
        /// What its caller said.
        message: String,
    },
    /// Its fetcher died: begin again.
    FlightAgain {
        /// Which wait.
        request: u32,
    },
    /// A queue that was empty has work: pop again.
    QueueReady {
        /// Which wait.
        request: u32,
    },
    /// A message of a subscribed channel.
    Message {
        /// The channel's name.
        channel: Vec<u8>,
        /// Number of the sending process's [`crate::Owner`].
        sender: u64,
        /// Which object of that process sent it.
        port: u32,
        /// What was sent.
        payload: Vec<u8>,
    },
    /// This process read so slowly that messages between were dropped.
    MessagesLost,
}

impl Event {
    /// As it lies in a mailbox. Messages of channels lie in the channel's log instead.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16);
        let mut head = |kind: u8, request: u32| {
            out.push(kind);
            out.put_u32(request);
        };
        match self {
            Self::LockGranted { request, token } => {
                head(b'g', *request);
                out.put_u64(*token);
            }
            Self::LockLost { request } => head(b'l', *request),
            Self::FlightDone { request, token } => {
                head(b'd', *request);
                out.put_u64(*token);
            }
            Self::FlightFailed { request, message } => {
                head(b'f', *request);
                out.extend_from_slice(message.as_bytes());
            }
            Self::FlightAgain { request } => head(b'a', *request),
            Self::QueueReady { request } => head(b'q', *request),
            Self::Message { .. } | Self::MessagesLost => head(b'x', 0),
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut take = Take(bytes);
        let (kind, request) = (take.u8(), take.u32());
        Some(match kind {
            b'g' => Self::LockGranted { request, token: take.u64() },
            b'l' => Self::LockLost { request },
            b'd' => Self::FlightDone { request, token: take.u64() },
            b'f' => Self::FlightFailed { request, message: String::from_utf8_lossy(take.0).into_owned() },
            b'a' => Self::FlightAgain { request },
            b'q' => Self::QueueReady { request },
            _ => return None,
        })
    }
}
