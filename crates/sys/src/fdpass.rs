//! Messages with descriptors over Unix sockets, whole or not at all.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

/// How many descriptors one message can carry (`SCM_MAX_FD` in the kernel's `include/net/scm.h`).
pub const DESCRIPTORS_MAX: usize = 253;

/// Room for one control message of [`DESCRIPTORS_MAX`] descriptors.
const CONTROL_BYTES: usize = rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX));

/// Whether a receive consumes what it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receive {
    /// The message (or these bytes) leaves the queue.
    Take,
    /// The message stays: the next receive sees it again, with fresh duplicates of its descriptors.
    Peek,
}

/// What arrived.
#[derive(Debug)]
pub struct Received {
    /// Bytes placed in the buffer; on a message socket with `message_truncated`, fewer than were sent.
    /// 0 without descriptors means that the peer has closed (or, on a message socket, sent an empty message).
    pub bytes: usize,
    /// The descriptors that came along, close-on-exec.
    pub descriptors: Vec<OwnedFd>,
    /// The kernel had to drop descriptors: our table is full (`EMFILE`) or there were too many.
    pub descriptors_lost: bool,
    /// The message was longer than the buffer (message sockets only).
    pub message_truncated: bool,
}

/// Sends `bytes` with `descriptors` on a socket without blocking and without `SIGPIPE`; returns how many bytes
/// went (on a message socket: all of them).
///
/// # Errors
/// `WouldBlock` when the queue is full; `EPIPE`/`ECONNRESET` when the peer is gone; `ETOOMANYREFS` when this
/// user has more descriptors in flight than the descriptor limit; `EMSGSIZE` when the message cannot ever fit;
/// `InvalidInput` for more than [`DESCRIPTORS_MAX`] descriptors.
pub fn send(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    if descriptors.len() > DESCRIPTORS_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut space = [MaybeUninit::uninit(); CONTROL_BYTES];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let sent = rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(socket.as_fd(), &[IoSlice::new(bytes)], &mut control, flags)
    })?;
    Ok(sent)
}

/// Receives into `buffer` without blocking.
///
/// # Errors
/// `WouldBlock` when there is nothing; otherwise whatever `recvmsg` says.
pub fn receive(socket: impl AsFd, buffer: &mut [u8], how: Receive) -> io::Result<Received> {
    let mut space = [MaybeUninit::uninit(); CONTROL_BYTES];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let peek = match how {
        Receive::Take => RecvFlags::empty(),
        Receive::Peek => RecvFlags::PEEK,
    };
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC | peek;
    let message = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(socket.as_fd(), &mut [IoSliceMut::new(buffer)], &mut control, flags)
    })?;
    let mut descriptors = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = part {
            descriptors.extend(received);
        }
    }
    Ok(Received {
        bytes: message.bytes,
        descriptors,
        descriptors_lost: message.flags.contains(ReturnFlags::CTRUNC),
        message_truncated: message.flags.contains(ReturnFlags::TRUNC),
    })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::unix::{Kind, pair};

    fn pipe() -> (File, File) {
        let (read, write) = crate::pipe::pipe().expect("pipe");
        (File::from(read), File::from(write))
    }

    #[test]
    fn a_message_arrives_whole_with_its_descriptors() {
        let (one, two) = pair(Kind::Message).expect("pair");
        let (mut reader, writer) = pipe();
        assert_eq!(send(&one, b"hello", &[writer.as_fd()]).expect("send"), 5);
        drop(writer);
        let mut buffer = [0; 64];
        let got = receive(&two, &mut buffer, Receive::Take).expect("receive");
        assert_eq!(&buffer[..got.bytes], b"hello");
        assert!(!got.descriptors_lost && !got.message_truncated);
        let mut passed = File::from(got.descriptors.into_iter().next().expect("one descriptor"));
        passed.write_all(b"through").expect("write");
        drop(passed);
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("read");
        assert_eq!(text, "through");
    }

    #[test]
    fn peeking_leaves_bytes_and_descriptors_in_the_queue() {
        let (one, two) = pair(Kind::Stream).expect("pair");
        let (_reader, writer) = pipe();
        send(&one, b"line\n", &[writer.as_fd()]).expect("send");
        let mut buffer = [0; 64];
        for how in [Receive::Peek, Receive::Peek, Receive::Take] {
            let got = receive(&two, &mut buffer, how).expect("receive");
            assert_eq!((got.bytes, got.descriptors.len()), (5, 1));
        }
        let error = receive(&two, &mut buffer, Receive::Take).expect_err("empty");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_message_longer_than_the_buffer_says_so() {
        let (one, two) = pair(Kind::Message).expect("pair");
        send(&one, b"longer than three", &[]).expect("send");
        let mut buffer = [0; 3];
        let got = receive(&two, &mut buffer, Receive::Take).expect("receive");
        assert!(got.message_truncated);
        assert_eq!(got.bytes, 3);
    }

    #[test]
    fn the_most_descriptors_a_message_can_carry_do_travel_and_one_more_is_refused() {
        let (one, two) = pair(Kind::Message).expect("pair");
        let null = File::open("/dev/null").expect("open");
        let many = vec![null.as_fd(); DESCRIPTORS_MAX];
        send(&one, b"x", &many).expect("send");
        let got = receive(&two, &mut [0; 8], Receive::Take).expect("receive");
        assert_eq!(got.descriptors.len(), DESCRIPTORS_MAX);
        assert!(got.descriptors.iter().all(|fd| fd.as_raw_fd() > 2));
        let more = vec![null.as_fd(); DESCRIPTORS_MAX + 1];
        assert_eq!(send(&one, b"x", &more).expect_err("too many").kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_closed_peer_is_an_error_for_the_sender_and_an_end_for_the_receiver() {
        let (one, two) = pair(Kind::Message).expect("pair");
        drop(two);
        assert_eq!(send(&one, b"x", &[]).expect_err("closed").raw_os_error(), Some(libc::EPIPE));
        let got = receive(&one, &mut [0; 8], Receive::Take).expect("end");
        assert_eq!(got.bytes, 0);
    }
}
