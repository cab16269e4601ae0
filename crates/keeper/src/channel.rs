//! One packet at a time over the `SOCK_SEQPACKET` pair: a header, a payload, descriptors.
//!
//! Header: `b'k'`, flags, kind (u16, little-endian). With [`FLAG_BOXED`] the payload is not behind the header but
//! in a memfd, which is the last of the descriptors.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use skep_sys::fdpass::{self, Receive};
use skep_sys::memfd;

use crate::wire::{FDS_MAX, PAYLOAD_BYTES_MAX};

const MAGIC: u8 = b'k';
const FLAG_BOXED: u8 = 1;
const HEADER_BYTES: usize = 4;

/// The longest packet on the socket itself, in bytes; far below the default send buffer (208 KiB), so that a
/// packet that does not fit now fits later.
const PACKET_BYTES_MAX: usize = 32 * 1024;

/// A buffer for [`receive`], kept by its owner so that receiving allocates nothing for it.
pub(crate) fn buffer() -> Box<[u8]> {
    vec![0; PACKET_BYTES_MAX].into_boxed_slice()
}

/// A packet that arrived.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) kind: u16,
    pub(crate) payload: Vec<u8>,
    pub(crate) fds: Vec<OwnedFd>,
    /// The kernel dropped descriptors because our table is full.
    pub(crate) fds_lost: bool,
}

/// What a receive found.
#[derive(Debug)]
pub(crate) enum Incoming {
    Packet(Packet),
    Nothing,
    Closed,
}

/// Sends one packet or nothing of it.
pub(crate) fn send(socket: impl AsFd, kind: u16, payload: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    if payload.len() > PAYLOAD_BYTES_MAX || fds.len() > FDS_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let [low, high] = kind.to_le_bytes();
    if payload.len() <= PACKET_BYTES_MAX - HEADER_BYTES {
        let mut packet = Vec::with_capacity(HEADER_BYTES + payload.len());
        packet.extend_from_slice(&[MAGIC, 0, low, high]);
        packet.extend_from_slice(payload);
        fdpass::send(socket, &packet, fds)?;
        return Ok(());
    }
    let boxed = memfd::holding("skep-message", payload)?;
    let mut all = fds.to_vec();
    all.push(boxed.as_fd());
    fdpass::send(socket, &[MAGIC, FLAG_BOXED, low, high], &all)?;
    Ok(())
}

/// Receives one packet, if there is one. Everything that the other side sent before it closed comes before the end.
pub(crate) fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<Incoming> {
    let take = |buffer: &mut [u8]| fdpass::receive(socket.as_fd(), buffer, Receive::Take);
    let taken = match take(buffer) {
        // Said once, and before the packets that wait here, when the other side closes without having read all of ours
        // (`unix_release_sock` in Linux's net/unix/af_unix.c).
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => take(buffer),
        other => other,
    };
    let received = match taken {
        Ok(received) => received,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Incoming::Nothing),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(Incoming::Closed),
        Err(error) => return Err(error),
    };
    if received.bytes == 0 && received.descriptors.is_empty() {
        return Ok(Incoming::Closed);
    }
    let packet = buffer.get(..received.bytes).unwrap_or_default();
    let (&[magic, flags, low, high], payload) =
        packet.split_first_chunk::<HEADER_BYTES>().ok_or_else(|| garbage("shorter than a header"))?;
    if magic != MAGIC || received.message_truncated {
        return Err(garbage("no message of skep"));
    }
    let kind = u16::from_le_bytes([low, high]);
    let mut fds = received.descriptors;
    let fds_lost = received.descriptors_lost;
    let payload = if flags & FLAG_BOXED == 0 {
        payload.to_vec()
    } else {
        // Without its memfd the message says nothing; the sender can only be told that something was lost.
        let boxed = fds.pop().filter(|_| !fds_lost).ok_or_else(|| garbage("its payload was lost"))?;
        memfd::read_all(boxed, PAYLOAD_BYTES_MAX)?
    };
    Ok(Incoming::Packet(Packet { kind, payload, fds, fds_lost }))
}

fn garbage(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a packet on the keeper's link is {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_sys::unix::{Kind, pair};

    #[test]
    fn what_was_said_before_the_end_is_heard_even_if_our_last_words_were_not() {
        let (ours, theirs) = pair(Kind::Message).unwrap();
        for number in [1, 2] {
            send(&theirs, number, b"keep this", &[]).unwrap();
        }
        send(&ours, 3, b"nobody reads this", &[]).unwrap();
        drop(theirs);
        let mut buffer = buffer();
        let mut heard = || match receive(&ours, &mut buffer).unwrap() {
            Incoming::Packet(packet) => Some(packet.kind),
            Incoming::Nothing => panic!("the other side is closed"),
            Incoming::Closed => None,
        };
        assert_eq!([heard(), heard(), heard(), heard()], [Some(1), Some(2), None, None]);
    }
}
