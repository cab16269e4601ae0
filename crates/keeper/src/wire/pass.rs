//! Passing a connection on by way of the keeper, so that it belongs to nobody who may be SIGKILLed.

use super::tlv::{Field, Fields, Writer};
use super::{Malformed, needed, tag};

/// Take a connection from where it is, keep it under a key, and write a line into a Unix socket together with it.
///
/// Whoever accepts a connection takes it along when it dies, and between accept(2) and sendmsg(2) there is always an
/// instant. The keeper does both, and keeps its copy until `Drop`: a connection that the other end did not take can be
/// passed to somebody else, by another daemon too.
///
/// The first attached descriptor is the socket to write to. Unlike other requests it is not idempotent: no daemon repeats
/// one of its predecessor's, as it sees in the inventory what came of it. Answered with `Reply::Passed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// The daemon's own number for it, repeated in the answer.
    pub ticket: u64,
    /// What it is kept under (at most [`super::KEY_BYTES_MAX`] bytes).
    pub key: Vec<u8>,
    /// Kept with it (at most [`super::NOTE_BYTES_MAX`] bytes), behind one byte of the keeper's: [`Pass::KEPT`] or
    /// [`Pass::SENT`].
    pub note: Vec<u8>,
    /// What to write (at most [`Pass::LINE_BYTES_MAX`] bytes).
    pub line: Vec<u8>,
    /// Where the connection is.
    pub from: Origin,
}

/// Where a connection is that is to be passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// In the queue of the listening socket that is the second attached descriptor.
    Queue,
    /// It is the second attached descriptor.
    Attached,
    /// With the keeper already, under this key.
    Kept,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Passed {
    /// The line is in the socket, and the connection with it.
    Sent,
    /// The socket has no room now: nothing was written. The connection is kept.
    Full,
    /// The other end of the socket is closed: nothing was written. The connection is kept.
    Gone,
    /// There was no connection: the queue was empty, or nothing is kept under the key. Nothing was done.
    Nothing,
    /// The connection could not be taken, for this reason (an errno): it is where it was. Nothing was done.
    Failed(i32),
}

impl Pass {
    /// First byte of a kept note: nobody was sent the connection yet.
    pub const KEPT: u8 = b'k';
    /// First byte of a kept note: the line was written.
    pub const SENT: u8 = b's';
    /// The longest line: one that the kernel queues whole or not at all (`unix_stream_sendmsg`, net/unix/af_unix.c).
    pub const LINE_BYTES_MAX: usize = 16 * 1024;

    pub(super) fn encode(&self, out: &mut Writer) {
        out.u64(tag::TICKET, self.ticket).bytes(tag::KEY, &self.key).bytes(tag::NOTE, &self.note);
        out.bytes(tag::LINE, &self.line).u8(tag::ORIGIN, self.from.number());
    }

    pub(super) fn decode(mut fields: Fields<'_>) -> Result<Self, Malformed> {
        let (mut ticket, mut key, mut note, mut line, mut from) = (None, None, None, None, None);
        while let Some(field) = fields.next()? {
            match field.tag {
                tag::TICKET => ticket = Some(field.u64()?),
                tag::KEY => key = Some(field.owned()),
                tag::NOTE => note = Some(field.owned()),
                tag::LINE => line = Some(field.owned()),
                tag::ORIGIN => from = Some(Origin::from_field(field)?),
                _ => {}
            }
        }
        Ok(Pass {
            ticket: needed(ticket, tag::TICKET)?,
            key: needed(key, tag::KEY)?,
            note: note.unwrap_or_default(),
            line: needed(line, tag::LINE)?,
            from: needed(from, tag::ORIGIN)?,
        })
    }
}

impl Origin {
    const ALL: [Origin; 3] = [Origin::Queue, Origin::Attached, Origin::Kept];

    fn number(self) -> u8 {
        match self {
            Origin::Queue => 0,
            Origin::Attached => 1,
            Origin::Kept => 2,
        }
    }

    fn from_field(field: Field<'_>) -> Result<Self, Malformed> {
        let number = field.u8()?;
        Origin::ALL.into_iter().find(|origin| origin.number() == number).ok_or(field.bad())
    }
}

impl Passed {
    pub(super) fn encode(self, out: &mut Writer) {
        let number = match self {
            Passed::Sent => 0,
            Passed::Full => 1,
            Passed::Gone => 2,
            Passed::Nothing => 3,
            Passed::Failed(errno) => {
                out.i32(tag::ERRNO, errno);
                4
            }
        };
        out.u8(tag::OUTCOME, number);
    }

    /// What the fields of [`tag::OUTCOME`] and [`tag::ERRNO`] say.
    pub(super) fn of(outcome: Option<u8>, errno: Option<i32>) -> Result<Self, Malformed> {
        match needed(outcome, tag::OUTCOME)? {
            0 => Ok(Passed::Sent),
            1 => Ok(Passed::Full),
            2 => Ok(Passed::Gone),
            3 => Ok(Passed::Nothing),
            4 => Ok(Passed::Failed(needed(errno, tag::ERRNO)?)),
            _ => Err(Malformed::BadValue { tag: tag::OUTCOME }),
        }
    }
}
