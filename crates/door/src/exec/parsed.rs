//! What of a client's bytes are whole commands.

use std::ops::Range;

use crate::connection::Connection;
use crate::limits::{BATCH_COMMANDS, UNKNOWN_ARGUMENTS_MAX, UNKNOWN_BULK_BYTES_MAX};
use crate::resp::{Bounds, Garbage};

/// What of a client's bytes are whole commands.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    bytes: Vec<u8>,
    ranges: Vec<Range<usize>>,
    /// Where each command's arguments end, and where its bytes begin.
    pub(super) commands: Vec<(usize, usize)>,
    pub(super) garbage: Option<Garbage>,
}

impl Parsed {
    pub(super) fn take(own: &mut Connection) -> Self {
        let known = own.client.known;
        let most = if known { BATCH_COMMANDS } else { 1 };
        let bounds = if known {
            Bounds::default()
        } else {
            Bounds { arguments: UNKNOWN_ARGUMENTS_MAX, bulk_bytes: UNKNOWN_BULK_BYTES_MAX }
        };
        let mut parsed = Self {
            ranges: std::mem::take(&mut own.ranges),
            commands: std::mem::take(&mut own.commands),
            ..Self::default()
        };
        parsed.ranges.clear();
        parsed.commands.clear();
        while parsed.commands.len() < most {
            let mark = own.request.mark();
            match own.request.next(bounds, &mut parsed.ranges) {
                Ok(true) => parsed.commands.push((parsed.ranges.len(), mark)),
                Ok(false) => break,
                Err(found) => {
                    parsed.garbage = Some(found);
                    break;
                }
            }
        }
        parsed.bytes = own.request.take_bytes();
        parsed
    }

    /// All words of all commands, for [`Parsed::args`].
    pub(super) fn words(&self) -> Vec<&[u8]> {
        self.ranges.iter().map(|range| &self.bytes[range.clone()]).collect()
    }

    /// The words of one command.
    pub(super) fn args<'a>(&self, words: &'a [&'a [u8]], at: usize) -> &'a [&'a [u8]] {
        let from = if at == 0 { 0 } else { self.commands[at - 1].0 };
        &words[from..self.commands[at].0]
    }

    /// Gives the bytes back; the commands from `stopped` on will come again.
    pub(super) fn give_back(self, own: &mut Connection, stopped: Option<usize>) {
        own.request.give_back(self.bytes);
        if let Some(at) = stopped {
            own.request.rewind(self.commands[at].1);
        }
        (own.ranges, own.commands) = (self.ranges, self.commands);
    }
}
