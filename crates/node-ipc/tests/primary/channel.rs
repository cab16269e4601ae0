//! The system calls around a worker's channel.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg, sendmsg, socketpair,
};
use skep_node_ipc::{WINDOW_BYTES, inject_preload};

use super::Primary;

/// The Nodes to test: the system's, and `$SKEP_NODES/<major>/bin/node`.
pub(crate) fn nodes() -> Vec<PathBuf> {
    let mut nodes: Vec<PathBuf> = Vec::new();
    if let Ok(root) = std::env::var("SKEP_NODES") {
        for major in [18, 20, 22, 24, 26] {
            let node = PathBuf::from(&root).join(major.to_string()).join("bin/node");
            if node.exists() {
                nodes.push(node);
            }
        }
    }
    if nodes.is_empty() && Command::new("node").arg("-v").stdout(Stdio::null()).status().is_ok() {
        nodes.push(PathBuf::from("node"));
    }
    assert!(!nodes.is_empty(), "no Node.js: install it, or set SKEP_NODES to a folder with <major>/bin/node");
    nodes
}

/// Where the preload is in the source tree.
pub(crate) fn preload_path() -> String {
    format!("{}/../../npm/skep/preload.cjs", env!("CARGO_MANIFEST_DIR"))
}

/// A fixture's path.
pub(crate) fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn spawn(primary: &Primary, id: u32, args: &[&str]) -> (Child, OwnedFd) {
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("socketpair");
    rustix::io::ioctl_fionbio(&ours, true).expect("fionbio");
    // Without `unsafe` only stdio can be given; the shell moves it to 3.
    let mut command = Command::new("/bin/sh");
    let limit = primary.descriptors.map(|limit| format!("ulimit -n {limit}; ")).unwrap_or_default();
    let script = format!("{limit}exec \"$0\" \"$@\" 3<&0 0</dev/null");
    command.args(["-c", &script]).arg(&primary.node).args(args);
    command.stdin(theirs).stdout(Stdio::null()).env_remove("NODE_OPTIONS");
    let mode = match primary.serialization {
        skep_node_ipc::Serialization::Json => "json",
        skep_node_ipc::Serialization::Advanced => "advanced",
    };
    command.env("NODE_CHANNEL_FD", "3").env("NODE_CHANNEL_SERIALIZATION_MODE", mode);
    if primary.cluster {
        command.env("NODE_UNIQUE_ID", id.to_string());
    }
    let mut users_own = None;
    for (name, value) in &primary.env {
        if name == "NODE_OPTIONS" {
            users_own = Some(value.as_str());
        }
        command.env(name, value);
    }
    if primary.preload {
        command.env("NODE_OPTIONS", inject_preload(&preload_path(), users_own));
    }
    (command.spawn().expect("sh starts"), ours)
}

/// What is in the socket, not taken out; `None` at the channel's end.
pub(crate) fn peek(channel: &OwnedFd) -> Option<(Vec<u8>, Vec<OwnedFd>)> {
    let mut window = vec![0; WINDOW_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::PEEK | RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let length = match recvmsg(channel, &mut [IoSliceMut::new(&mut window)], &mut ancillary, flags) {
        Ok(message) if message.bytes == 0 => return None,
        Ok(message) => message.bytes,
        Err(Errno::AGAIN) => 0,
        Err(Errno::CONNRESET) => return None,
        Err(error) => panic!("recvmsg: {error}"),
    };
    let mut fds = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    window.truncate(length);
    Some((window, fds))
}

/// Takes bytes out that were peeked. A read stops after a message with a descriptor, hence the loop.
pub(crate) fn consume(channel: &OwnedFd, mut bytes: usize) {
    let mut sink = vec![0u8; bytes];
    while bytes > 0 {
        let (taken, _) = recv(channel, &mut sink[..bytes], RecvFlags::DONTWAIT).expect("it was peeked");
        bytes -= taken;
    }
}

/// What became of a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Written {
    All,
    Full,
    Gone,
}

/// Writes a whole line or nothing: the lines here are far smaller than the socket's buffer, so that a partial write can
/// only be the rest of a large user message, which is then pushed through.
pub(crate) fn write(channel: &OwnedFd, line: &[u8], fd: Option<BorrowedFd<'_>>) -> Written {
    let mut sent = 0;
    let fds: Vec<BorrowedFd<'_>> = fd.into_iter().collect();
    while sent < line.len() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if sent == 0 && !fds.is_empty() {
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match sendmsg(channel.as_fd(), &[IoSlice::new(&line[sent..])], &mut ancillary, flags) {
            Ok(bytes) => sent += bytes,
            Err(Errno::AGAIN) if sent == 0 => return Written::Full,
            Err(Errno::AGAIN) => {
                let mut ready = [rustix::event::PollFd::new(channel, rustix::event::PollFlags::OUT)];
                rustix::event::poll(&mut ready, None).expect("poll");
            }
            Err(Errno::PIPE | Errno::CONNRESET) => return Written::Gone,
            Err(error) => panic!("sendmsg: {error}"),
        }
    }
    Written::All
}
