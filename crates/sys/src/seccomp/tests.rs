//! Real programs under the filter: a static C server (gcc) and Python's http.server.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use rustix::event::{PollFd, PollFlags, poll};

use super::{BindAddress, BindCall, Next, Notifier, PreparedFilter, SocketKind};
use crate::net::{DualStack, LocalAddress, Sharing, listen, local_address, tcp_bound};
use crate::spawn::{Order, spawn};
use crate::wait::{ExitStatus, reap_blocking};

/// `PROGRAM MODE PORT`: binds as MODE says and tells what came of it; `serve` and `fork` then serve.
const PROGRAM: &str = r#"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv) {
    char *mode = argv[1];
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    int kind = strcmp(mode, "udp") == 0 ? SOCK_DGRAM : SOCK_STREAM;
    if (strcmp(mode, "nonblock") == 0) kind |= SOCK_NONBLOCK | SOCK_CLOEXEC;
    if (strcmp(mode, "fork") == 0) {
        pid_t child = fork();
        if (child) { waitpid(child, 0, 0); return 0; }
    }
    struct sockaddr *address = (struct sockaddr *)&a;
    if (strcmp(mode, "v6only") == 0) {
        int six = socket(AF_INET6, SOCK_STREAM, 0), on = 1;
        struct sockaddr_in6 b = {.sin6_family = AF_INET6, .sin6_port = a.sin_port};
        setsockopt(six, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
        return bind(six, (struct sockaddr *)&b, sizeof b);
    }
    int fd = socket(AF_INET, kind, strcmp(mode, "mptcp") ? 0 : 262);
    if (strcmp(mode, "badpointer") == 0) address = (struct sockaddr *)16;
    int result = bind(fd, address, sizeof a);
    printf("bind %d errno %d nonblock %d cloexec %d\n", result, result ? errno : 0,
           !!(fcntl(fd, F_GETFL) & O_NONBLOCK), !!(fcntl(fd, F_GETFD) & FD_CLOEXEC));
    fflush(stdout);
    if (strcmp(mode, "serve") && strcmp(mode, "fork") && strcmp(mode, "mptcp")) return 0;
    listen(fd, 10);
    for (;;) {
        int c = accept(fd, 0, 0);
        if (c < 0) { perror("accept"); return 1; }
        write(c, "hello", 5);
        close(c);
    }
}
"#;

fn program() -> &'static str {
    static BUILT: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = BUILT.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let (source, path) = (directory.path().join("server.c"), directory.path().join("server"));
        std::fs::write(&source, PROGRAM).unwrap();
        let done = Command::new("gcc").args(["-static", "-w", "-o"]).arg(&path).arg(&source).status();
        assert!(done.unwrap().success(), "gcc builds the test's server");
        (directory, path)
    });
    path.to_str().unwrap()
}

/// A program under the filter, killed at the end.
struct Child {
    pid: i32,
    notifier: Notifier,
    output: std::fs::File,
}

impl Child {
    fn start(argv: &[&str]) -> Self {
        let filter = PreparedFilter::new().unwrap();
        let argv: Vec<Vec<u8>> = argv.iter().map(|word| word.as_bytes().to_vec()).collect();
        let env = [b"PATH=/usr/bin:/bin".to_vec(), b"HOME=/".to_vec()];
        let (output, write) = crate::pipe::pipe().unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        let errors = std::fs::File::options().write(true).open("/dev/null").unwrap();
        let fds = [(0, null.as_fd()), (1, write.as_fd()), (2, errors.as_fd())];
        let order = Order {
            argv: &argv,
            env: &env,
            filter: Some(&filter),
            fds: &fds,
            cwd: Some(b"/"),
            ..Order::default()
        };
        let started = spawn(&order).unwrap();
        let executed = started.outcome.wait().unwrap();
        let notify = executed.notify.expect("the child reported its filter");
        Self { pid: started.pid, notifier: Notifier::new(notify), output: output.into() }
    }

    /// Waits for the next intercepted call.
    fn call(&self) -> Option<BindCall> {
        loop {
            let mut fds = [PollFd::new(&self.notifier, PollFlags::IN)];
            poll(&mut fds, None).unwrap();
            match self.notifier.next().unwrap() {
                Next::Call(call) => return Some(call),
                Next::Quiet => {}
                Next::Gone => return None,
            }
        }
    }

    fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        while self.output.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }

    fn signal(&self, signal: libc::c_int) {
        // SAFETY: two integers; the process group is the child's own.
        unsafe { libc::kill(-self.pid, signal) };
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.signal(libc::SIGKILL);
        let _: Result<ExitStatus, _> = reap_blocking(self.pid);
    }
}

/// A listening socket of ours on a free port.
fn ours() -> (OwnedFd, SocketAddr) {
    let socket = tcp_bound("127.0.0.1:0".parse().unwrap(), Sharing::Group, DualStack::Both).unwrap();
    listen(&socket, 100).unwrap();
    let LocalAddress::Inet(at) = local_address(&socket).unwrap() else { panic!("not inet") };
    (socket, at)
}

fn unprivileged<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                // SAFETY: three integers; changes this thread only, which ends here.
                unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) };
                act()
            })
            .join()
            .unwrap()
    })
}

fn get(at: SocketAddr) -> String {
    let mut client = TcpStream::connect(at).unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn two_programs_serve_on_one_port_that_we_hold() {
    let check = || {
        let (socket, at) = ours();
        let port = at.port().to_string();
        let mut children: Vec<Child> = (0..2).map(|_| Child::start(&[program(), "serve", &port])).collect();
        for child in &mut children {
            let call = child.call().expect("it binds");
            assert_eq!(call.pid, child.pid as u32);
            let expected: SocketAddr = format!("0.0.0.0:{port}").parse().unwrap();
            assert_eq!(child.notifier.address(&call).unwrap(), BindAddress::Inet(expected));
            assert_eq!(child.notifier.socket_kind(&call).unwrap(), SocketKind::Tcp);
            let replaced = child.notifier.replace(&call, socket.as_fd()).unwrap();
            assert!(!replaced.nonblocking);
            assert_eq!(child.line(), "bind 0 errno 0 nonblock 0 cloexec 0");
        }
        for _ in 0..20 {
            assert_eq!(get(at), "hello");
        }
        // One dies, its queue is nobody's loss: the other accepts from the same socket.
        drop(children.pop());
        assert_eq!(get(at), "hello");
    };
    check();
    unprivileged(check);
}

#[test]
fn flags_of_the_replaced_descriptor_are_kept() {
    let (socket, at) = ours();
    let mut child = Child::start(&[program(), "nonblock", &at.port().to_string()]);
    let call = child.call().expect("it binds");
    assert!(child.notifier.replace(&call, socket.as_fd()).unwrap().nonblocking);
    assert_eq!(child.line(), "bind 0 errno 0 nonblock 1 cloexec 1");
    assert!(child.call().is_none(), "all processes of the filter are gone");
}

#[test]
fn multipath_tcp_as_go_uses_it_is_replaced_like_tcp() {
    let (socket, at) = ours();
    let mut child = Child::start(&[program(), "mptcp", &at.port().to_string()]);
    let call = child.call().expect("it binds");
    match child.notifier.socket_kind(&call) {
        Ok(kind) => assert_eq!(kind, SocketKind::Tcp),
        Err(_) => return, // a kernel without MPTCP: the socket could not be made
    }
    child.notifier.replace(&call, socket.as_fd()).unwrap();
    assert_eq!(child.line(), "bind 0 errno 0 nonblock 0 cloexec 0");
    assert_eq!(get(at), "hello");
}

#[test]
fn a_grandchild_is_intercepted_too() {
    let (socket, at) = ours();
    let mut child = Child::start(&[program(), "fork", &at.port().to_string()]);
    let call = child.call().expect("it binds");
    assert_ne!(call.pid, child.pid as u32);
    child.notifier.replace(&call, socket.as_fd()).unwrap();
    assert_eq!(child.line(), "bind 0 errno 0 nonblock 0 cloexec 0");
    assert_eq!(get(at), "hello");
}

#[test]
fn calls_that_are_allowed_or_refused_behave_as_the_kernel_would() {
    let (_socket, at) = ours();
    let port = at.port().to_string();
    // UDP of the same port is another matter, and free.
    let mut child = Child::start(&[program(), "udp", &port]);
    let call = child.call().expect("it binds");
    assert_eq!(child.notifier.socket_kind(&call).unwrap(), SocketKind::Udp);
    child.notifier.allow(&call).unwrap();
    assert_eq!(child.line(), "bind 0 errno 0 nonblock 0 cloexec 0");

    let mut child = Child::start(&[program(), "serve", &port]);
    let call = child.call().expect("it binds");
    child.notifier.refuse(&call, libc::EADDRINUSE).unwrap();
    assert_eq!(child.line(), format!("bind -1 errno {} nonblock 0 cloexec 0", libc::EADDRINUSE));

    let mut child = Child::start(&[program(), "badpointer", &port]);
    let call = child.call().expect("it binds");
    assert_eq!(child.notifier.address(&call).unwrap_err().raw_os_error(), Some(libc::EFAULT));
    child.notifier.allow(&call).unwrap();
    assert_eq!(child.line(), format!("bind -1 errno {} nonblock 0 cloexec 0", libc::EFAULT));
}

#[test]
fn a_socket_for_ipv6_only_is_told_from_a_dual_one() {
    let (_socket, at) = ours();
    let check = || {
        let child = Child::start(&[program(), "v6only", &at.port().to_string()]);
        let call = child.call().expect("it binds");
        assert!(child.notifier.v6_only(&call).unwrap());
        child.notifier.allow(&call).unwrap();
        assert!(child.call().is_none());
    };
    check();
    unprivileged(check);
}

#[test]
fn a_caller_that_dies_while_it_waits_is_noticed() {
    let (socket, at) = ours();
    let child = Child::start(&[program(), "serve", &at.port().to_string()]);
    let call = child.call().expect("it binds");
    child.signal(libc::SIGKILL);
    assert!(child.call().is_none());
    for result in [
        child.notifier.address(&call).map(drop),
        child.notifier.replace(&call, socket.as_fd()).map(drop),
        child.notifier.allow(&call),
    ] {
        assert!(result.is_err());
    }
}

#[test]
fn stop_and_continue_repeat_a_call_whose_answerer_died() {
    let (socket, at) = ours();
    let mut child = Child::start(&[program(), "serve", &at.port().to_string()]);
    let lost = child.call().expect("it binds");
    // The daemon received the call and is killed. Its successor nudges the child:
    child.signal(libc::SIGSTOP);
    child.signal(libc::SIGCONT);
    let again = child.call().expect("the kernel restarts the call");
    assert_ne!(lost, again);
    assert!(child.notifier.allow(&lost).is_err());
    child.notifier.replace(&again, socket.as_fd()).unwrap();
    assert_eq!(child.line(), "bind 0 errno 0 nonblock 0 cloexec 0");
    assert_eq!(get(at), "hello");
}

#[test]
fn pythons_http_server_serves_on_our_socket() {
    let executable = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    let Ok(found) = executable else { return };
    let python = String::from_utf8(found.stdout).unwrap();
    let (socket, at) = ours();
    let port = at.port().to_string();
    let children: Vec<Child> = (0..2)
        .map(|_| Child::start(&[python.trim(), "-m", "http.server", &port, "--bind", "127.0.0.1"]))
        .collect();
    for child in &children {
        loop {
            let call = child.call().expect("it binds");
            if child.notifier.address(&call).unwrap() == BindAddress::Inet(at) {
                child.notifier.replace(&call, socket.as_fd()).unwrap();
                break;
            }
            child.notifier.allow(&call).unwrap();
        }
    }
    for _ in 0..10 {
        let mut client = TcpStream::connect(at).unwrap();
        client.write_all(b"GET /etc/hostname HTTP/1.0\r\n\r\n").unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("HTTP/1.0 200"), "{text}");
    }
}

#[test]
fn addresses_are_read_as_the_kernel_reads_them() {
    let mut v6 = vec![0u8; 28];
    v6[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
    v6[2..4].copy_from_slice(&3000u16.to_be_bytes());
    v6[23] = 1;
    assert_eq!(BindAddress::parse(&v6), BindAddress::Inet("[::1]:3000".parse().unwrap()));
    assert_eq!(BindAddress::parse(&v6[..24]), BindAddress::Inet("[::1]:3000".parse().unwrap()));
    assert_eq!(BindAddress::parse(&v6[..20]), BindAddress::Other);
    let unix = |name: &[u8]| [&(libc::AF_UNIX as u16).to_ne_bytes()[..], name].concat();
    assert_eq!(BindAddress::parse(&unix(b"/run/a\0junk")), BindAddress::Unix(b"/run/a".to_vec()));
    assert_eq!(BindAddress::parse(&unix(b"\0a\0b")), BindAddress::Unix(b"\0a\0b".to_vec()));
    assert_eq!(BindAddress::parse(&unix(b"")), BindAddress::Unix(Vec::new()));
    assert_eq!(BindAddress::parse(&[]), BindAddress::Other);
    assert_eq!(BindAddress::parse(&[255, 255, 0, 0]), BindAddress::Other);
}
