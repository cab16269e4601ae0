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

#[test]
fn what_redis_clients_keep_is_listed_and_shown_and_cannot_be_changed_by_hand() {
    let skep = Skep::new();
    skep.start(&Start::fixture("app", "http.cjs").port(Port::free().number()));
    for line in [
        "SET greeting hello",
        "RPUSH line a b c",
        "HSET user name ann",
        "ZADD score 1.5 ann 2 bob",
        "SADD some x",
        "XADD log 1-1 k v",
        "SETEX session 3600 s",
    ] {
        assert!(ask(&skep, line).is_some_and(|answer| !answer.starts_with('-')), "{line}");
    }
    let state = |args: &[&str]| skep.ok([&["state"], args].concat());
    let names = state(&["ls", "--kind", "database"]);
    assert_eq!(names, "kind      name  entries\ndatabase  db0         7\n");
    let keys = state(&["get", "db0"]);
    for row in
        ["greeting  string  \"hello\"", "line      list    3 elements", "some      set     1 element\n"]
    {
        let rows: Vec<String> =
            keys.lines().map(|line| line.trim_end_matches(" -").trim_end().to_owned()).collect();
        assert!(rows.iter().any(|line| line.trim_end() == row.trim_end()), "{row}: {keys}");
    }
    for (key, value) in [
        ("greeting", r#""hello""#),
        ("line", r#"["a","b","c"]"#),
        ("user", r#"{"name":"ann"}"#),
        ("score", r#"[["ann",1.5],["bob",2]]"#),
        ("some", r#"["x"]"#),
        ("log", r#"[["1-1",["k","v"]]]"#),
    ] {
        assert_eq!(state(&["get", "db0", key]), format!("{value}\n"));
    }
    assert_eq!(state(&["get", "db0", "line", "-n", "2"]), "[\"a\",\"b\"]\n");
    assert!(skep.err(["state", "get", "db0", "nobody"]).contains("no key"));
    assert!(skep.err(["state", "get", "db1"]).contains("db1"), "nothing is in it");
    assert!(skep.err(["state", "get", "db16"]).contains("db16"), "there is none");
    for args in [&["set", "db0", "greeting", "x"][..], &["del", "db0"], &["incr", "db0"]] {
        let refused = skep.err([&["state"], args].concat());
        assert!(refused.contains("Redis clients") && refused.contains("redis-cli"), "{refused}");
    }
    assert_eq!(ask(&skep, "GET greeting").as_deref(), Some("$5\r\nhello"));
    // A map of the same name is told apart.
    state(&["set", "db0", "k", "v", "--kind", "map"]);
    assert!(skep.err(["state", "get", "db0"]).contains("--kind"));
    assert_eq!(state(&["get", "db0", "k", "--kind", "map"]), "\"v\"\n");
    assert_eq!(state(&["get", "db0", "greeting", "--kind", "database"]), "\"hello\"\n");
}
