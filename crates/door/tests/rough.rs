//! Clients that behave badly, and a store that is full: nobody else is harmed.

mod common;

use std::io::Write;
use std::os::unix::net::UnixStream;

use common::{Answer, Door};

fn error(answer: &Answer) -> String {
    match answer {
        Answer::Error(text) => text.clone(),
        other => panic!("an error was expected, not {other:?}"),
    }
}

#[test]
fn garbage_is_answered_and_cut_off_and_others_go_on() {
    let door = Door::open();
    let mut other = door.client();
    assert_eq!(other.say("set k v"), Answer::Status("OK".into()));
    for (bytes, told) in [
        (&b"*1\r\n$2147483648\r\n"[..], "ERR Protocol error: invalid bulk length"),
        (b"*1048577\r\n", "ERR Protocol error: invalid multibulk length"),
        (b"*1\r\n:1\r\n", "ERR Protocol error: expected '$', got ':'"),
        (b"get \"k\r\n", "ERR Protocol error: unbalanced quotes in request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", "ERR unknown command"),
    ] {
        let mut bad = door.client();
        bad.raw(bytes);
        assert!(error(&bad.answer()).starts_with(told), "{}", String::from_utf8_lossy(bytes));
        if told.contains("Protocol") {
            assert!(bad.is_closed(), "{}", String::from_utf8_lossy(bytes));
        }
    }
    assert_eq!(other.say("get k").text(), "v");
}

#[test]
fn what_is_only_announced_takes_no_memory_and_holds_nobody_up() {
    let door = Door::open();
    let mut waiting: Vec<_> = (0..50).map(|_| door.client()).collect();
    for client in &mut waiting {
        client.raw(b"*3\r\n$3\r\nset\r\n$1\r\nk\r\n$536870912\r\nonly the beginning");
    }
    assert_eq!(door.client().say("ping"), Answer::Status("PONG".into()));
    let resident = std::fs::read_to_string("/proc/self/statm").expect("ours");
    let pages: u64 = resident.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    assert!(pages * 4096 < 512 * 1024 * 1024, "{pages} pages");
}

#[test]
fn a_subscriber_that_does_not_read_is_cut_off() {
    let door = Door::open();
    let mut lazy = door.client();
    lazy.say("subscribe c");
    let mut busy = door.client();
    let message = vec![b'x'; 1024 * 1024];
    let mut told = 1;
    // 32 MiB and what the socket's buffers hold.
    for _ in 0..64 {
        match busy.ask(&[b"publish", b"c", &message]) {
            Answer::Integer(listeners) => told = listeners,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(told, 0, "it still listens after 64 MiB");
}

#[test]
fn answers_that_nobody_fetches_stop_the_commands_and_no_one_else() {
    let door = Door::open();
    let mut other = door.client();
    let value = vec![b'v'; 100_000];
    other.ask(&[b"set", b"k", &value]);
    let mut lazy = UnixStream::connect(&door.socket).expect("it listens");
    lazy.set_nonblocking(true).expect("a socket");
    // Thousands of answers of 100 KB are asked for; the door neither keeps them all nor waits.
    let asked = b"get k\r\n".repeat(4_000);
    let mut sent = 0;
    while sent < asked.len() {
        match lazy.write(&asked[sent..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(other.say("strlen k"), Answer::Integer(100_000));
    assert_eq!(other.say("ping"), Answer::Status("PONG".into()));
}

#[test]
fn a_pipeline_of_any_length_is_answered_in_order() {
    let door = Door::open();
    let mut client = door.client();
    let count = 20_000;
    let all: String = (0..count).map(|n| format!("set k{n} {n}\r\nget k{n}\r\n")).collect();
    let mut writer = UnixStream::connect(&door.socket).expect("it listens");
    let mut reader = writer.try_clone().expect("a socket");
    let sender = std::thread::spawn(move || writer.write_all(all.as_bytes()).expect("it reads"));
    let mut got = Vec::new();
    let wanted: usize =
        (0..count).map(|n: u32| 5 + 5 + n.to_string().len() + n.to_string().len().to_string().len()).sum();
    let mut piece = [0; 65_536];
    while got.len() < wanted {
        let read = std::io::Read::read(&mut reader, &mut piece).expect("answers");
        assert!(read > 0, "closed after {} bytes", got.len());
        got.extend_from_slice(&piece[..read]);
    }
    sender.join().expect("it sent");
    assert!(got.ends_with(format!("+OK\r\n$5\r\n{}\r\n", count - 1).as_bytes()));
    assert_eq!(client.say("dbsize"), Answer::Integer(i64::from(count)));
}

#[test]
fn a_full_store_refuses_and_loses_nothing_and_can_be_emptied() {
    let options = skep_state::Options { data_bytes_max: 4 * 1024 * 1024, ..skep_state::Options::default() };
    let door = Door::with(&options);
    let mut client = door.client();
    let value = vec![b'v'; 10_000];
    let mut kept = Vec::new();
    let refusal = loop {
        let key = format!("k{}", kept.len());
        match client.ask(&[b"set", key.as_bytes(), &value]) {
            Answer::Status(_) => kept.push(key),
            other => break error(&other),
        }
    };
    assert!(refusal.starts_with("OOM "), "{refusal}");
    // In a pipeline each command gets its own answer.
    client.send(&[b"get", b"k0"]);
    client.send(&[b"set", b"more", &value]);
    client.send(&[b"del", b"k0"]);
    assert_eq!(client.answer(), Answer::Bulk(value.clone()));
    assert!(error(&client.answer()).starts_with("OOM "));
    assert_eq!(client.answer(), Answer::Integer(1));
    for key in &kept[1..] {
        assert_eq!(client.ask(&[b"strlen", key.as_bytes()]), Answer::Integer(10_000), "{key}");
    }
    assert_eq!(client.say("flushall"), Answer::Status("OK".into()));
    assert_eq!(client.ask(&[b"set", b"k", &value]), Answer::Status("OK".into()));
}

#[test]
fn a_script_that_runs_too_long_is_stopped_and_undone() {
    let door = Door::open();
    let mut client = door.client();
    let endless = "redis.call('set', 'k', 1) while true do end";
    assert!(error(&client.ask(&[b"eval", endless.as_bytes(), b"0"])).starts_with("BUSY "));
    assert_eq!(client.say("exists k"), Answer::Integer(0));
    let caught = "redis.call('set', 'k', 1) while true do pcall(function() while true do end end) end";
    assert!(error(&client.ask(&[b"eval", caught.as_bytes(), b"0"])).starts_with("BUSY "));
    assert_eq!(client.say("exists k"), Answer::Integer(0));
    let greedy = "local t = {} for i = 1, 1e9 do t[i] = string.rep('x', 1e6) .. i end";
    error(&client.ask(&[b"eval", greedy.as_bytes(), b"0"]));
    assert_eq!(client.ask(&[b"eval", b"return 1", b"0"]), Answer::Integer(1));
}

#[test]
fn scripts_cannot_reach_outside_or_leave_anything_behind() {
    let door = Door::open();
    let mut client = door.client();
    for script in [
        "return io",
        "return require",
        "return package",
        "return debug",
        "return dofile",
        "return loadfile",
        "return os.execute()",
        "return load",
        "x = 1",
        "redis.x = 1",
        "string.x = 1",
        "_G.x = 1",
        "rawset(_G, 'x', 1)",
        "setmetatable(_G, nil)",
        "getmetatable('').__index = nil",
        "cjson.decode = nil",
        "return string.dump(function() end)",
        "return loadstring('\\27Lua')()",
        "return getfenv",
        "return setfenv",
    ] {
        error(&client.ask(&[b"eval", script.as_bytes(), b"0"]));
    }
    assert!(error(&client.ask(&[b"eval", b"return {x, 1}", b"0"])).contains("nonexistent"));
}

#[test]
fn who_waits_is_served_in_order_and_forgotten_when_gone() {
    let door = Door::open();
    let mut pusher = door.client();
    let mut first = door.client();
    let mut second = door.client();
    let blocked = |count: usize| {
        move |pusher: &mut common::Plain| {
            while !pusher.say("info clients").text().contains(&format!("blocked_clients:{count}\r\n")) {}
        }
    };
    first.send(&[b"blpop", b"l", b"0"]);
    blocked(1)(&mut pusher);
    second.send(&[b"blpop", b"other", b"l", b"0"]);
    blocked(2)(&mut pusher);
    let gone = {
        let mut third = door.client();
        third.send(&[b"brpop", b"l", b"0"]);
        blocked(3)(&mut pusher);
        third
    };
    drop(gone);
    blocked(2)(&mut pusher);
    // In one pipeline: those who wait come before the pusher's own pop.
    pusher.send(&[b"rpush", b"l", b"a", b"b"]);
    pusher.send(&[b"lpop", b"l"]);
    assert_eq!(pusher.answer(), Answer::Integer(2));
    assert_eq!(pusher.answer(), Answer::Null);
    assert_eq!(first.answer().text(), "[l a]");
    assert_eq!(second.answer().text(), "[l b]");
    // What a blocked client sent behind its command waits with it.
    first.send(&[b"bzpopmin", b"z", b"0"]);
    first.send(&[b"ping"]);
    blocked(1)(&mut pusher);
    pusher.say("zadd z 1 m");
    assert_eq!(first.answer().text(), "[z m 1]");
    assert_eq!(first.answer(), Answer::Status("PONG".into()));
    second.send(&[b"xread", b"block", b"0", b"streams", b"s", b"$"]);
    blocked(1)(&mut pusher);
    pusher.say("xadd s 1-1 a 1");
    assert_eq!(second.answer().text(), "[[s [[1-1 [a 1]]]]]");
}

#[test]
fn keys_expire_by_themselves_and_the_sdk_sees_the_same_store() {
    let door = Door::open();
    let mut client = door.client();
    client.say("set k v px 1");
    while client.say("exists k") == Answer::Integer(1) {}
    assert_eq!(client.say("get k"), Answer::Null);
    client.say("set shared yes");
    let now = skep_state::WallMs(skep_sys::clock::wall_ns() / 1_000_000);
    let store = door.supervisor.store();
    let seen = store.read(now, |view| {
        let value = skep_state::strings::get(view, skep_state::Space::database(0), b"shared")?;
        Ok(value.map(<[u8]>::to_vec))
    });
    assert_eq!(seen.expect("a working store").as_deref(), Some(&b"yes"[..]));
    let space = store.space(skep_state::SpaceKind::Map, b"m", now).expect("a space");
    let set = store.write(now, |tx| {
        skep_state::strings::set(
            tx,
            space,
            b"of-the-map",
            b"x",
            skep_state::strings::Expiry::Never,
            skep_state::strings::If::Always,
        )
    });
    assert!(set.expect("a working store"));
    assert_eq!(client.say("keys *").text(), "[shared]", "maps of the SDK are no keys of the door");
}
