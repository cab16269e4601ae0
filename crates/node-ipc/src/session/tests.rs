//! What a worker says and what it is answered, line by line.

use super::*;
use crate::address::{Address, Query};
use crate::skep::BoundServer;
use crate::skep::DrainMode;

type Sessions = Session<u32>;

fn hear(session: &mut Sessions, lines: &[&str]) -> Vec<Event<u32>> {
    let text: String = lines.iter().flat_map(|line| [*line, "\n"]).collect();
    let received = session.receive(text.as_bytes(), []);
    assert_eq!(received.consumed, text.len());
    assert!(received.handovers.is_empty());
    received.events
}

/// Writes everything that is queued and gives it as text, descriptors in brackets.
fn written(session: &mut Sessions) -> Vec<String> {
    let lines = std::iter::from_fn(|| {
        let frame = session.next_frame()?;
        let fd = frame.fd.map(|fd| format!("[{fd}] ")).unwrap_or_default();
        let line = format!("{fd}{}", std::str::from_utf8(frame.line).expect("text").trim_end());
        session.frame_written();
        Some(line)
    });
    lines.collect()
}

fn queried(session: &mut Sessions, line: &str) -> Query {
    let mut events = hear(session, &[line]);
    match events.pop() {
        Some(Event::Query(query)) => query,
        other => panic!("{other:?}"),
    }
}

fn started() -> Sessions {
    Session::new(Generation(1))
}

const ASK: &str = r#"{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"data":null,"address":null,"port":3000,"addressType":4,"flags":0,"backlog":0,"seq":1}"#;
const KEY: &str = "null:3000:4:undefined";

/// A session whose worker listens on port 3000, with nothing queued.
fn listening() -> Sessions {
    let mut session = started();
    queried(&mut session, ASK);
    session.reply_shared(1, 5, None).expect("it waits");
    written(&mut session);
    let listens = ASK.replace("queryServer", "listening").replace("\"seq\":1", "\"seq\":2");
    let events = hear(&mut session, &["{\"cmd\":\"NODE_HANDLE_ACK\"}", &listens]);
    assert!(matches!(&events[..], [Event::Listening(Listening { port: Some(3000), .. })]), "{events:?}");
    session
}

#[test]
fn every_kind_of_address_is_read_and_has_its_key() {
    let check = |fields: &str, key: &str, address: Address| {
        let line =
            format!("{{\"cmd\":\"NODE_CLUSTER\",\"act\":\"queryServer\",\"index\":3,{fields},\"seq\":1}}");
        let query = queried(&mut started(), &line);
        assert_eq!((query.key.as_str(), &query.address), (key, &address));
    };
    let tcp = |ip: Option<&str>, port, v6_only| Address::Tcp {
        ip: ip.map(|ip| ip.parse().expect("an address")),
        zone: None,
        port,
        v6_only,
        reuse_port: false,
    };
    check(
        r#""address":null,"port":80,"addressType":4,"flags":0"#,
        "null:80:4:undefined",
        tcp(None, 80, false),
    );
    check(r#""address":null,"port":0,"addressType":4"#, "null:0:4:undefined:3", tcp(None, 0, false));
    check(
        r#""address":"::1","port":80,"addressType":6,"flags":1"#,
        "::1:80:6:undefined",
        tcp(Some("::1"), 80, true),
    );
    check(
        r#""address":"fe80::1%eth0","port":80,"addressType":6"#,
        "fe80::1%eth0:80:6:undefined",
        Address::Tcp {
            ip: Some("fe80::1".parse().expect("an address")),
            zone: Some("eth0".to_owned()),
            port: 80,
            v6_only: false,
            reuse_port: false,
        },
    );
    let unix = |path: &str| Address::Unix { path: path.to_owned(), readable_all: true, writable_all: false };
    check(
        r#""address":"/a b/c.sock","port":-1,"addressType":-1,"readableAll":1"#,
        "/a b/c.sock:-1:-1:undefined",
        unix("/a b/c.sock"),
    );
    check(r#""address":null,"port":null,"addressType":null,"fd":7"#, "null:null:null:7", Address::Fd(7));
    let udp = crate::Udp {
        ip: "0.0.0.0".parse().expect("an address"),
        zone: None,
        port: 53,
        v6_only: false,
        reuse_address: true,
        reuse_port: false,
        fd: None,
    };
    let fields = r#""address":"0.0.0.0","port":53,"addressType":"udp4","fd":-1,"flags":4"#;
    check(fields, "0.0.0.0:53:udp4:-1", Address::Udp(udp));
}

#[test]
fn the_backlog_defaults_to_nodes_and_is_never_nonsense() {
    for (backlog, expected) in
        [("0", 511), ("128", 128), ("false", 511), ("-1", 511), ("1.5", 511), ("1e99", 511)]
    {
        let line = ASK.replace("\"backlog\":0", &format!("\"backlog\":{backlog}"));
        assert_eq!(queried(&mut started(), &line).backlog, expected);
    }
}

#[test]
fn replies_are_what_node_expects_to_the_byte() {
    let mut session = started();
    queried(&mut session, ASK);
    session.reply_shared(1, 5, Some("{\"ticketKeys\":\"aa\"}")).expect("it waits");
    assert_eq!(
        written(&mut session),
        [
            r#"[5] {"cmd":"NODE_HANDLE","type":"net.Native","msg":{"cmd":"NODE_CLUSTER","errno":0,"key":"null:3000:4:undefined","ack":1,"data":{"ticketKeys":"aa"},"seq":4294967296}}"#
        ]
    );
    let mut session = started();
    queried(&mut session, ASK);
    let name = SockName::from(std::net::SocketAddr::from(([0u16; 8], 3000)));
    session.reply_round_robin(1, Some(&name), None);
    assert_eq!(
        written(&mut session),
        [
            r#"{"cmd":"NODE_CLUSTER","errno":null,"key":"null:3000:4:undefined","ack":1,"data":null,"sockname":{"address":"::","family":"IPv6","port":3000},"seq":4294967296}"#
        ]
    );
    let mut session = started();
    queried(&mut session, ASK);
    session.reply_error(1, UvErrno::from_errno(13), None);
    assert_eq!(
        written(&mut session),
        [
            r#"{"cmd":"NODE_CLUSTER","errno":-13,"key":"null:3000:4:undefined","ack":1,"data":null,"seq":4294967296}"#
        ]
    );
    assert_eq!(session.reply_shared(1, 5, None), Err(5), "nobody waits any more");
}

#[test]
fn an_impossible_question_is_answered_with_einval_instead_of_silence() {
    let mut session = started();
    let events = hear(&mut session, &[&ASK.replace("\"port\":3000", "\"port\":70000")]);
    assert!(
        matches!(&events[..], [Event::Dropped(Dropped::Malformed { reason })] if reason.contains("70000"))
    );
    assert!(written(&mut session)[0].contains("\"errno\":-22,\"key\":\"\",\"ack\":1"));
}

#[test]
fn an_address_that_the_worker_holds_is_in_use_unless_it_is_the_same_question_again() {
    let mut session = listening();
    assert!(hear(&mut session, &[&ASK.replace("\"seq\":1", "\"seq\":9")]).is_empty());
    assert!(written(&mut session)[0].contains("\"errno\":-98"));
    assert!(matches!(&hear(&mut session, &[ASK])[..], [Event::Query(query)] if query.seq == 1));
    let udp = r#"{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"address":"0.0.0.0","port":53,"addressType":"udp4","fd":-1,"flags":4,"seq":20}"#;
    let first = queried(&mut session, udp).key;
    let second = queried(&mut session, &udp.replace("\"index\":0", "\"index\":1").replace("20}", "21}")).key;
    assert_ne!(first, second, "reuseAddr lets one worker bind twice");
}

#[test]
fn a_listening_socket_that_found_no_descriptor_is_sent_again_and_then_fails_in_the_app() {
    let mut session = started();
    queried(&mut session, ASK);
    session.reply_shared(1, 5, None).expect("it waits");
    let first = written(&mut session);
    for _ in 0..3 {
        assert!(hear(&mut session, &["{\"cmd\":\"NODE_HANDLE_NACK\"}"]).is_empty());
        assert_eq!(written(&mut session), first);
    }
    hear(&mut session, &["{\"cmd\":\"NODE_HANDLE_NACK\"}"]);
    assert!(written(&mut session)[0].contains("\"errno\":-24"));
}

#[test]
fn refused_and_undeliverable_connections_come_back_and_accepted_ones_do_not() {
    let mut session = listening();
    for number in 1..=4u32 {
        let sent = session.send_connection(KEY, ConnId(u64::from(number)), number, ConnectionKind::Fresh);
        assert_eq!(sent, Ok(()));
    }
    let lines = written(&mut session);
    assert_eq!(
        lines[0],
        r#"[1] {"cmd":"NODE_HANDLE","type":"net.Native","msg":{"cmd":"NODE_CLUSTER","act":"newconn","key":"null:3000:4:undefined","seq":4294967297}}"#
    );
    let events = hear(
        &mut session,
        &[
            "{\"cmd\":\"NODE_HANDLE_ACK\"}",
            "{\"cmd\":\"NODE_CLUSTER\",\"ack\":4294967297,\"accepted\":true,\"seq\":5}",
            "{\"cmd\":\"NODE_HANDLE_NACK\"}",
            "{\"cmd\":\"NODE_HANDLE_ACK\"}",
            "{\"cmd\":\"NODE_CLUSTER\",\"ack\":4294967299,\"accepted\":false,\"seq\":6}",
        ],
    );
    let words: Vec<String> = events.iter().map(|event| format!("{event:?}")).collect();
    let back = |number: u32, why: &str| {
        format!("Returned(Returned {{ conn: ConnId({number}), key: \"{KEY}\", fd: {number}, why: {why} }})")
    };
    assert_eq!(words, ["Accepted(ConnId(1), 1)".to_owned(), back(2, "NoDescriptor"), back(3, "Refused")]);
    assert_eq!(session.connections_in_flight(), 1);
    let rest: Vec<u64> = session.reclaim().iter().map(|returned| returned.conn.0).collect();
    assert_eq!(rest, [4]);
}

/// Sends connections 1 to `count`, whose descriptors have the same numbers, and lends their lines: the ids.
fn lend(session: &mut Session<u32>, count: u32) -> Vec<u64> {
    for number in 1..=count {
        let sent = session.send_connection(KEY, ConnId(u64::from(number)), number, ConnectionKind::Fresh);
        sent.expect("it listens");
    }
    let ids = std::iter::from_fn(|| {
        let id = session.next_frame()?.id?;
        session.lend(id);
        Some(id)
    });
    ids.collect()
}

#[test]
fn lines_without_a_descriptor_wait_for_those_that_are_lent() {
    let mut session = listening();
    let ids = lend(&mut session, 2);
    session.send_message("1").expect("JSON");
    assert!(session.next_frame().expect("the message waits").behind);
    session.lent_written(ids[0]);
    assert!(session.next_frame().expect("the message waits").behind);
    assert_eq!(session.withdraw(ids[1]), Some(ConnId(2)));
    assert!(!session.next_frame().expect("the message is next").behind);
    assert_eq!(written(&mut session), ["1"]);
    let answer = format!("{{\"cmd\":\"NODE_CLUSTER\",\"ack\":{},\"accepted\":true,\"seq\":5}}", ids[0]);
    let events = hear(&mut session, &["{\"cmd\":\"NODE_HANDLE_ACK\"}", &answer]);
    assert!(matches!(&events[..], [Event::Accepted(ConnId(1), _)]), "{events:?}");
    assert_eq!(session.connections_in_flight(), 0);
}

#[test]
fn a_lent_line_that_found_no_room_is_next_again_and_its_answer_comes_after_the_others() {
    let mut session = listening();
    let ids = lend(&mut session, 3);
    session.lent_back(ids[0]);
    session.lent_written(ids[1]);
    let again = session.next_frame().expect("it is to be written again");
    assert_eq!((again.id, again.fd), (Some(ids[0]), Some(&1)));
    session.lend(ids[0]);
    session.lent_written(ids[2]);
    session.lent_written(ids[0]);
    // In the order in which they were written: 2, 3, 1. The second of them did not arrive.
    let answer = |id: u64| format!("{{\"cmd\":\"NODE_CLUSTER\",\"ack\":{id},\"accepted\":true,\"seq\":5}}");
    let events = hear(&mut session, &["{\"cmd\":\"NODE_HANDLE_ACK\"}", &answer(ids[1])]);
    assert!(matches!(&events[..], [Event::Accepted(ConnId(2), _)]), "{events:?}");
    let events = hear(&mut session, &["{\"cmd\":\"NODE_HANDLE_NACK\"}"]);
    assert!(matches!(&events[..], [Event::Returned(Returned { fd: 3, .. })]), "{events:?}");
    let events = hear(&mut session, &["{\"cmd\":\"NODE_HANDLE_ACK\"}", &answer(ids[0])]);
    assert!(matches!(&events[..], [Event::Accepted(ConnId(1), _)]), "{events:?}");
}

#[test]
fn an_answer_may_come_before_the_lender_says_that_it_wrote() {
    let mut session = listening();
    let ids = lend(&mut session, 1);
    let answer = format!("{{\"cmd\":\"NODE_CLUSTER\",\"ack\":{},\"accepted\":true,\"seq\":5}}", ids[0]);
    let events = hear(&mut session, &["{\"cmd\":\"NODE_HANDLE_ACK\"}", &answer]);
    assert!(matches!(&events[..], [Event::Accepted(ConnId(1), 1)]), "{events:?}");
    session.lent_written(ids[0]);
    assert!(session.next_frame().is_none());
    assert_eq!(session.connections_in_flight(), 0);
}

#[test]
fn an_answer_for_one_that_follows_does_not_give_back_what_is_not_written_yet() {
    let mut session = listening();
    let ids = lend(&mut session, 2);
    session.lent_written(ids[1]);
    let answer = format!("{{\"cmd\":\"NODE_CLUSTER\",\"ack\":{},\"accepted\":true,\"seq\":5}}", ids[1]);
    let events = hear(&mut session, &["{\"cmd\":\"NODE_HANDLE_ACK\"}", &answer]);
    assert!(matches!(&events[..], [Event::Accepted(ConnId(2), _)]), "{events:?}");
    assert_eq!(session.connections_in_flight(), 1);
}

#[test]
fn a_connection_that_the_predecessor_sent_is_answered_for_and_given_back_like_our_own() {
    let state = listening().state().clone();
    let mut session = Session::<u32>::restore(state, Generation(2));
    for number in 1..=3_u32 {
        session.take_up(4_294_967_300 + u64::from(number), ConnId(u64::from(number)), KEY, number);
    }
    let events = hear(
        &mut session,
        &[
            "{\"cmd\":\"NODE_CLUSTER\",\"ack\":4294967301,\"accepted\":true,\"seq\":5}",
            "{\"cmd\":\"NODE_CLUSTER\",\"ack\":4294967302,\"accepted\":false,\"seq\":6}",
        ],
    );
    assert!(
        matches!(&events[..], [Event::Accepted(ConnId(1), _), Event::Returned(Returned { fd: 2, .. })]),
        "{events:?}"
    );
    assert_eq!(session.reclaim().iter().map(|returned| returned.fd).collect::<Vec<_>>(), [3]);
}

#[test]
fn after_a_restart_answers_for_the_predecessor_are_not_taken_for_our_own() {
    let state = listening().state().clone();
    let mut session = Session::<u32>::restore(state, Generation(2));
    assert!(session.takes_connections(KEY));
    session.send_connection(KEY, ConnId(1), 11, ConnectionKind::Fresh).expect("it listens");
    session.send_connection(KEY, ConnId(2), 12, ConnectionKind::Fresh).expect("it listens");
    let lines = written(&mut session);
    assert!(lines[0].contains("\"seq\":8589934592}"), "generation 2: {}", lines[0]);
    // Two answers for the dead daemon's messages, one of them a NACK.
    let stale = [
        "{\"cmd\":\"NODE_HANDLE_NACK\"}",
        "{\"cmd\":\"NODE_HANDLE_ACK\"}",
        "{\"cmd\":\"NODE_CLUSTER\",\"ack\":4294967297,\"accepted\":false,\"seq\":5}",
    ];
    assert!(hear(&mut session, &stale).is_empty());
    // Ours: the first did not arrive, which only the gap in the answers tells.
    let own = [
        "{\"cmd\":\"NODE_HANDLE_NACK\"}",
        "{\"cmd\":\"NODE_HANDLE_ACK\"}",
        "{\"cmd\":\"NODE_CLUSTER\",\"ack\":8589934593,\"accepted\":true,\"seq\":6}",
    ];
    let events = hear(&mut session, &own);
    assert!(
        matches!(&events[..], [Event::Returned(Returned { fd: 11, .. }), Event::Accepted(ConnId(2), _)]),
        "{events:?}"
    );
}

#[test]
fn the_workers_own_farewell_is_acknowledged_and_later_questions_are_not_answered() {
    let mut session = listening();
    let farewell = "{\"cmd\":\"NODE_CLUSTER\",\"act\":\"exitedAfterDisconnect\",\"seq\":7}";
    assert!(matches!(&hear(&mut session, &[farewell])[..], [Event::Exiting]));
    assert_eq!(written(&mut session), ["{\"cmd\":\"NODE_CLUSTER\",\"ack\":7,\"seq\":4294967297}"]);
    assert!(hear(&mut session, &[&ASK.replace("3000", "3001")]).is_empty());
    assert_eq!(session.send_connection(KEY, ConnId(1), 1, ConnectionKind::Fresh), Err(1));
}

#[test]
fn a_draining_workers_connections_are_known_by_the_server_that_it_has_closed() {
    let mut session = listening();
    assert!(!session.drain(DrainOrder::new(DrainMode::Migrate, 2_000)), "nobody has said hello");
    let hello = r#"{"cmd":"NODE_SKEP","act":"hello","v":1,"pid":4711,"node":"22.23.3","cluster":true}"#;
    assert!(matches!(&hear(&mut session, &[hello])[..], [Event::Hello(_)]));
    assert!(session.drain(DrainOrder::new(DrainMode::Migrate, 2_000)));
    assert_eq!(
        written(&mut session),
        [r#"{"cmd":"NODE_SKEP","act":"drain","mode":"migrate","graceMs":2000}"#]
    );
    hear(
        &mut session,
        &[&format!("{{\"cmd\":\"NODE_CLUSTER\",\"act\":\"close\",\"key\":\"{KEY}\",\"seq\":9}}")],
    );
    // The daemon may be another one by now.
    let stored = serde_json::to_string(session.state()).expect("plain data");
    let mut session =
        Session::<u32>::restore(serde_json::from_str(&stored).expect("written by us"), Generation(2));
    let line = concat!(
        r#"{"cmd":"NODE_HANDLE","type":"net.Native","msg":"#,
        r#"{"cmd":"NODE_SKEP","act":"conn","server":{"address":"::","port":3000}}}"#,
        "\n"
    );
    let received = session.receive(line.as_bytes(), [77]);
    let [handover] = &received.handovers[..] else { panic!("{received:?}") };
    assert_eq!((handover.fd, handover.key.as_deref()), (77, Some(KEY)));
    assert_eq!(handover.server, BoundServer::Ip { address: "::".to_owned(), port: 3000 });
    assert_eq!(written(&mut session), ["{\"cmd\":\"NODE_HANDLE_ACK\"}"]);
    // Our own table was full: the worker keeps the connection.
    assert!(session.receive(line.as_bytes(), []).handovers.is_empty());
    assert_eq!(written(&mut session), ["{\"cmd\":\"NODE_HANDLE_NACK\"}"]);
}

#[test]
fn a_fork_mode_worker_is_spoken_to_through_the_preload() {
    let mut session = started();
    let listens = r#"{"cmd":"NODE_SKEP","act":"listening","server":{"address":"127.0.0.1","port":8080}}"#;
    let events = hear(&mut session, &[listens]);
    let [Event::Listening(Listening { key, port: Some(8080), .. })] = &events[..] else {
        panic!("{events:?}")
    };
    session.send_connection(key, ConnId(1), 3, ConnectionKind::Migrated).expect("it listens");
    assert_eq!(
        written(&mut session),
        [
            r#"[3] {"cmd":"NODE_HANDLE","type":"net.Native","msg":{"cmd":"NODE_SKEP","act":"newconn","server":{"address":"127.0.0.1","port":8080},"seq":4294967296,"idle":true}}"#
        ]
    );
    let answers = [
        "{\"cmd\":\"NODE_HANDLE_ACK\"}",
        r#"{"cmd":"NODE_SKEP","act":"accepted","ack":4294967296,"accepted":true}"#,
    ];
    assert!(matches!(&hear(&mut session, &answers)[..], [Event::Accepted(ConnId(1), _)]));
}

#[test]
fn a_worker_that_does_not_read_is_noticed_and_user_messages_are_refused() {
    let mut session = started();
    let large = format!("\"{}\"", "x".repeat(OUTGOING_BYTES_MAX / 2));
    assert_eq!(session.send_message(&large), Ok(()));
    assert!(!session.is_congested());
    assert_eq!(session.send_message(&large), Err(SendError::Congested));
    assert_eq!(session.send_message("{\"cmd\":\"NODE_X\"}"), Err(SendError::Internal));
}

#[test]
fn what_advanced_serialization_can_not_carry_is_refused_and_never_a_panic() {
    let mut session = Session::<u32>::with_serialization(Generation(1), Serialization::Advanced);
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    for json in [deep.as_str(), "\"\\ud800\""] {
        assert!(matches!(session.send_message(json), Err(SendError::NotJson(_))), "{json}");
        assert_eq!(started().send_message(json), Ok(()), "JSON lines carry it as it is");
    }
    // A length without a message, garbage, and a message after them.
    let mut bytes = vec![0, 0, 0, 0, 0, 0, 0, 3, 0xff, 15, b'o', 0, 0, 0, 3, 0xff, 15, b'T'];
    let received = session.receive(&bytes, []);
    assert_eq!(received.consumed, bytes.len());
    let words = received.events.iter().map(|event| format!("{event:?}"));
    assert_eq!(words.filter(|word| word.starts_with("Dropped")).count(), 2);
    bytes.truncate(7);
    assert_eq!(session.receive(&bytes, []).consumed, 4, "half a length stays in the kernel");
}

#[test]
fn the_revision_changes_exactly_when_the_state_does() {
    let mut session = listening();
    let before = session.revision();
    hear(&mut session, &["\"a user message\"", "{\"cmd\":\"NODE_FUTURE\"}", "{\"cmd\":\"NODE_HANDLE_ACK\"}"]);
    session.send_connection(KEY, ConnId(1), 1, ConnectionKind::Fresh).expect("it listens");
    assert_eq!(session.revision(), before);
    hear(&mut session, &["{\"cmd\":\"NODE_CLUSTER\",\"act\":\"online\",\"seq\":0}"]);
    assert_ne!(session.revision(), before);
}
