//! The Redis door on TCP: off unless asked for, on this machine's own address, for who says the password.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use skep_tests::{Deadline, Port, Skep, process};

/// The answer to lines that are sent one by one on a connection of their own; `None`: the connection was lost.
fn ask(port: u16, lines: &[&str]) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    let mut answer = [0; 256];
    let mut last = None;
    for line in lines {
        stream.write_all(format!("{line}\r\n").as_bytes()).ok()?;
        let count = stream.read(&mut answer).ok().filter(|count| *count > 0)?;
        last = Some(String::from_utf8_lossy(&answer[..count]).trim_end().to_owned());
    }
    last
}

fn until_answered(port: u16, lines: &[&str], wanted: &str) {
    Deadline::until(&format!("{lines:?} is answered by {wanted}"), || {
        ask(port, lines).filter(|answer| answer.starts_with(wanted))
    });
}

#[test]
fn the_door_opens_on_tcp_when_asked_for_who_says_the_password() {
    let (skep, port) = (Skep::new(), Port::free().number());
    skep.boot();
    let told = skep.ok(["state", "config", &format!("redis_port={port}")]);
    let config: serde_json::Value =
        serde_json::from_str(&skep.ok(["state", "config", "--json"])).expect("JSON");
    let password = config["redis_password"].as_str().expect("one was made up").to_owned();
    assert!(password.len() >= 32 && told.contains(&password), "{told}");
    let file = skep.home().join("shared.json").metadata().expect("written");
    assert_eq!(file.permissions().mode() & 0o777, 0o600);

    until_answered(port, &["PING"], "-NOAUTH");
    assert!(ask(port, &["AUTH wrong-password"]).expect("an answer").starts_with("-WRONGPASS"));
    let auth = format!("AUTH {password}");
    assert_eq!(ask(port, &[&auth, "SET k 1"]).as_deref(), Some("+OK"));
    let elsewhere = TcpStream::connect((Ipv4Addr::new(127, 0, 0, 2), port));
    assert!(elsewhere.is_err(), "only 127.0.0.1 is listened on");

    let old = skep.daemon().pid;
    process::kill(old);
    Deadline::until("the daemon is back", || Some(skep.daemon()).filter(|new| new.pid != old));
    until_answered(port, &[&auth, "GET k"], "$1");

    skep.ok(["state", "config", "redis_password=another password"]);
    until_answered(port, &[&auth], "-WRONGPASS");
    until_answered(port, &["AUTH \"another password\"", "GET k"], "$1");

    skep.ok(["kill"]);
    assert!(ask(port, &["PING"]).is_none(), "nobody is left");
    skep.boot();
    until_answered(port, &["AUTH \"another password\"", "PING"], "+PONG");

    skep.ok(["state", "config", "redis_port=off"]);
    Deadline::until("nobody listens", || ask(port, &["PING"]).is_none().then_some(()));
    assert!(skep.ok(["state", "config"]).contains("redis_port      off"));
}

#[test]
fn a_port_that_somebody_has_changes_nothing() {
    let skep = Skep::new();
    skep.boot();
    let theirs = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = theirs.local_addr().expect("it is bound").port();
    let told = skep.err(["state", "config", &format!("redis_port={port}"), "save=30s"]);
    assert!(told.contains(&format!("redis_port: 127.0.0.1:{port}")), "{told}");
    let config = skep.ok(["state", "config"]);
    assert!(config.contains("redis_port      off") && config.contains("save            off"), "{config}");
    let told = skep.err(["state", "config", "redis_password=short"]);
    assert!(told.contains("redis_password: 5 characters") && !told.contains("short"), "{told}");
}
