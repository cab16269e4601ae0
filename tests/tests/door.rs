//! The Redis door under skep: it is there when somebody comes, and it survives everybody.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use skep_tests::{Deadline, Port, Skep, Start, process};

/// One command on a connection of its own; `None`: the connection was lost.
fn ask(skep: &Skep, line: &str) -> Option<String> {
    let mut stream = UnixStream::connect(skep.home().join("redis.sock")).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    stream.write_all(format!("{line}\r\n").as_bytes()).ok()?;
    let mut answer = [0; 256];
    let count = stream.read(&mut answer).ok().filter(|count| *count > 0)?;
    Some(String::from_utf8_lossy(&answer[..count]).trim_end().to_owned())
}

fn doors(skep: &Skep) -> Vec<u32> {
    let keeper = process::parent(skep.daemon().pid).expect("the daemon has a keeper");
    let children = process::children(keeper).into_iter();
    children.filter(|pid| process::command_line(*pid).contains("__door")).collect()
}

#[test]
fn the_door_opens_at_the_first_connection_and_survives_everybody() {
    let skep = Skep::new();
    let port = Port::free();
    skep.start(&Start::fixture("app", "http.cjs").instances(2).port(port.number()));
    let socket = skep.home().join("redis.sock").symlink_metadata().expect("the socket");
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    assert_eq!(doors(&skep), [0; 0], "nobody has come yet");
    assert_eq!(ask(&skep, "SET k 1").as_deref(), Some("+OK"));
    let first = doors(&skep);
    assert_eq!(first.len(), 1);

    process::kill(first[0]);
    Deadline::until("another door answers", || ask(&skep, "INCR k").filter(|answer| answer.starts_with(':')));
    let second = doors(&skep);
    assert_eq!(second.len(), 1);
    assert_ne!(first, second);

    let old = skep.daemon().pid;
    process::kill(old);
    assert_eq!(ask(&skep, "EXISTS k").as_deref(), Some(":1"), "the door needs no daemon");
    Deadline::until("the daemon is back", || Some(skep.daemon()).filter(|new| new.pid != old));
    assert_eq!(doors(&skep), second, "the same door as before");
    process::kill(second[0]);
    Deadline::until("a door of the new daemon answers", || {
        ask(&skep, "EXISTS k").filter(|answer| answer == ":1")
    });

    skep.ok(["kill"]);
    for pid in first.into_iter().chain(second) {
        process::wait_gone(pid);
    }
    assert!(ask(&skep, "PING").is_none(), "nobody is left");
}
