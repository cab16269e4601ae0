//! Unmodified apps on real Node under a primary that is not Node.

mod primary;

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;

use primary::channel::{fixture, nodes};
use primary::client::{Connection, Manner};
use primary::{Balance, Primary};
use skep_node_ipc::{Serialization, SessionState};

/// Runs a theme on every Node, in both balances.
fn everywhere(theme: impl Fn(&mut Primary)) {
    for node in nodes() {
        for balance in [Balance::Shared, Balance::Ipc] {
            eprintln!("{} {balance:?}", node.display());
            let mut primary = Primary::new(node.clone());
            primary.balance = balance;
            theme(&mut primary);
        }
    }
}

fn start(primary: &mut Primary, kind: &str) -> u32 {
    primary.spawn(&[&fixture("app.cjs"), kind])
}

/// Asks from another thread while the primary runs.
fn asks(primary: &mut Primary, port: u16, times: u64) {
    let client = std::thread::spawn(move || {
        for _ in 0..times {
            Connection::open(port).map_err(|error| error.to_string())?.ask(Manner::Short, "/")?;
        }
        Ok::<(), String>(())
    });
    primary.run_until_thread(&client);
    client.join().expect("no panic").expect("every request is answered");
}

#[test]
fn an_http_app_serves_on_a_random_port_that_its_siblings_share() {
    everywhere(|primary| {
        let (first, second) = (start(primary, "http"), start(primary, "http"));
        primary.until_told(first, "listening");
        primary.until_told(second, "listening");
        assert!(primary.told(first, "online"));
        assert_eq!(primary.listeners.len(), 1, "listen(0) is the same port in all workers");
        asks(primary, primary.port(), 20);
    });
}

#[test]
fn two_random_ports_of_one_worker_differ() {
    everywhere(|primary| {
        let worker = start(primary, "two");
        primary.run_until("both servers", |primary| {
            primary.workers[&worker].told.iter().filter(|told| told.starts_with("listening")).count() == 2
        });
        assert_eq!(primary.listeners.len(), 2);
        for port in primary.listeners.values().filter_map(|listener| listener.port).collect::<Vec<_>>() {
            asks(primary, port, 3);
        }
    });
}

#[test]
fn an_address_held_by_the_same_worker_is_in_use_and_free_again_after_close() {
    everywhere(|primary| {
        let worker = start(primary, "taken");
        primary.until_told(worker, "message \"error EADDRINUSE\"");
        let worker = start(primary, "fd");
        primary.until_told(worker, "message \"error EBADF\"");
    });
    for node in nodes() {
        let mut primary = Primary::new(node);
        // The worker's next question may come in one read with its "closed".
        primary.lets_go = true;
        let worker = start(&mut primary, "again");
        primary.until_told(worker, "message \"again true\"");
    }
}

#[test]
fn a_unix_socket_serves() {
    let folder = tempfile::tempdir().expect("a folder");
    let number = std::cell::Cell::new(0);
    everywhere(|primary| {
        number.set(number.get() + 1);
        let path = folder.path().join(format!("{}.sock", number.get()));
        primary.env.push(("APP_PATH".to_owned(), path.display().to_string()));
        let worker = start(primary, "unix");
        primary.until_told(worker, "listening");
        assert!(primary.workers[&worker].told.iter().any(|told| told.contains("readable_all: true")));
        let client = std::thread::spawn(move || {
            let mut stream = UnixStream::connect(path).expect("it listens");
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("it reads");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("it answers");
            answer
        });
        primary.run_until_thread(&client);
        assert!(client.join().expect("no panic").starts_with("HTTP/1.1 200"));
    });
}

#[test]
fn a_udp_app_answers() {
    everywhere(|primary| {
        for reuse in ["0", "1"] {
            primary.listeners.clear();
            primary.env = vec![("APP_REUSE".to_owned(), reuse.to_owned())];
            let worker = start(primary, "udp");
            primary.until_told(worker, "listening");
            let port = primary.port();
            let client = std::thread::spawn(move || {
                let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
                socket.send_to(b"hello", ("127.0.0.1", port)).expect("sent");
                let mut answer = [0; 64];
                let length = socket.recv(&mut answer).expect("an answer");
                String::from_utf8_lossy(&answer[..length]).into_owned()
            });
            primary.run_until_thread(&client);
            assert!(client.join().expect("no panic").starts_with("hello "));
            primary.worker(worker).session.disconnect();
            primary.until_gone(worker);
        }
    });
}

#[test]
fn https_workers_share_their_ticket_keys() {
    let folder = tempfile::tempdir().expect("a folder");
    let (key, cert) = certificate(folder.path());
    everywhere(|primary| {
        primary.env.push(("APP_KEY".to_owned(), key.clone()));
        primary.env.push(("APP_CERT".to_owned(), cert.clone()));
        let (first, second) = (start(primary, "https"), start(primary, "https"));
        primary.until_told(first, "listening");
        primary.until_told(second, "listening");
        let key = primary.listeners.keys().next().expect("one server").clone();
        assert!(primary.data.get(&key).is_some_and(|data| data.contains("ticketKeys")));
        let port = primary.port();
        let client = std::thread::spawn(move || {
            let connect = format!("localhost:{port}");
            let mut client = std::process::Command::new("openssl");
            client.args(["s_client", "-connect", &connect, "-quiet", "-no_ign_eof"]);
            client.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
            let mut client = client.stderr(std::process::Stdio::null()).spawn().expect("openssl is there");
            let mut stdin = client.stdin.take().expect("piped");
            stdin.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("it reads");
            let mut answer = String::new();
            client.stdout.take().expect("piped").read_to_string(&mut answer).expect("text");
            drop(stdin);
            client.wait().expect("our child");
            answer
        });
        primary.run_until_thread(&client);
        assert!(client.join().expect("no panic").starts_with("HTTP/1.1 200"));
    });
}

fn certificate(folder: &std::path::Path) -> (String, String) {
    let (key, cert) = (folder.join("key.pem"), folder.join("cert.pem"));
    let mut openssl = std::process::Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "30",
    ]);
    openssl.args(["-subj", "/CN=localhost", "-keyout"]).arg(&key).arg("-out").arg(&cert);
    let done = openssl.stderr(std::process::Stdio::null()).status().expect("openssl is there");
    assert!(done.success());
    (key.display().to_string(), cert.display().to_string())
}

#[test]
fn messages_go_both_ways() {
    everywhere(|primary| {
        let worker = start(primary, "echo");
        primary.until_told(worker, "message \"ready\"");
        let session = &mut primary.worker(worker).session;
        for text in ["{\"a\": [1,\n \"zwei\\n\"]}", "\"\\ud83d\\ude00\"", "3", "{\"cmd\":\"NODE_\"}"] {
            session.send_message(text).expect("a user message");
        }
        assert!(session.send_message("{\"cmd\":\"NODE_X\"}").is_err());
        assert!(session.send_message("nonsense").is_err());
        for text in ["{\"a\":[1,\"zwei\\n\"]}", "\"\u{1f600}\"", "3", "{\"cmd\":\"NODE_\"}"] {
            primary.until_told(worker, &format!("message {{\"echo\":{text},\"id\":{worker}}}"));
        }
    });
}

#[test]
fn advanced_serialization_speaks_the_same_protocol() {
    everywhere(|primary| {
        primary.serialization = Serialization::Advanced;
        primary.preload = true;
        let worker = start(primary, "rich");
        primary.until_told(
            worker,
            "message {\"buffer\":{\"type\":\"Buffer\",\"data\":[1,2]},\"map\":[[1,\"zwei\"]],",
        );
        primary
            .worker(worker)
            .session
            .send_message("[1.5,\"\u{1f600}\",{\"a\":-7}]")
            .expect("a user message");
        primary.until_told(worker, "message {\"echo\":[1.5,\"\u{1f600}\",{\"a\":-7}]}");
        primary.until_told(worker, "listening");
        asks(primary, primary.port(), 10);
        let big = format!("\"{}\"", "x".repeat(300_000));
        primary.worker(worker).session.send_message(&big).expect("a user message");
        primary.until_told(worker, &format!("message {{\"echo\":{}", &big[..1_000]));
        primary.worker(worker).session.disconnect();
        assert!(primary.until_gone(worker).success());
    });
}

#[test]
fn a_message_larger_than_the_sockets_buffer_arrives_whole() {
    for node in nodes() {
        let mut primary = Primary::new(node);
        let worker = start(&mut primary, "big");
        primary.until_told(worker, "message \"ready\"");
        primary.worker(worker).session.send_message("\"0123456789\"").expect("a user message");
        primary.until_told(worker, "message \"0123456789012");
        let length = primary.workers[&worker].told.last().expect("told").len();
        assert_eq!(length, "message \"\"".len() + 10_000_000);
    }
}

#[test]
fn disconnect_and_kill_of_the_worker_itself_end_it_in_peace() {
    everywhere(|primary| {
        for kind in ["disconnect", "kill"] {
            let worker = start(primary, kind);
            primary.until_told(worker, "listening");
            primary.worker(worker).session.send_message("1").expect("a user message");
            primary.until_told(worker, "exiting");
            assert!(primary.until_gone(worker).success());
        }
    });
}

#[test]
fn the_primarys_disconnect_ends_an_idle_worker() {
    everywhere(|primary| {
        let worker = start(primary, "http");
        primary.until_told(worker, "listening");
        primary.worker(worker).session.disconnect();
        assert!(primary.until_gone(worker).success());
    });
}

#[test]
fn a_handle_that_the_app_sends_is_acknowledged_so_that_its_channel_goes_on() {
    everywhere(|primary| {
        let worker = start(primary, "socket");
        primary.until_told(worker, "listening");
        let client = TcpStream::connect(("127.0.0.1", primary.port())).expect("it listens");
        primary.until_told(worker, "message \"after\"");
        assert!(primary.told(worker, "handle NetSocket {\"here\":\"it is\"}"));
        drop(client);
    });
}

#[test]
fn a_daemon_killed_between_answering_and_consuming_goes_on_where_it_was() {
    for node in nodes() {
        for every in [1, 2, 3] {
            let mut primary = Primary::new(node.clone());
            // With a crash at every read nothing would ever be consumed; the first reads crash.
            primary.crash_every = Some(every + 1);
            let worker = start(&mut primary, "two");
            primary.run_until("both servers", |primary| {
                let told = &primary.workers[&worker].told;
                let mut ports: Vec<&String> =
                    told.iter().filter(|told| told.starts_with("listening")).collect();
                ports.sort();
                ports.dedup();
                ports.len() == 2
            });
            let state: &SessionState = primary.workers[&worker].session.state();
            assert!(serde_json::to_string(state).expect("plain data").contains("Listening"));
            let port = primary.port();
            asks(&mut primary, port, 5);
        }
    }
}

#[test]
fn a_connection_that_a_worker_has_no_descriptor_for_goes_to_another_worker() {
    for node in nodes() {
        let mut primary = Primary::new(node);
        primary.balance = Balance::Ipc;
        primary.descriptors = Some(40);
        let poor = start(&mut primary, "http");
        primary.until_told(poor, "listening");
        primary.descriptors = None;
        let rich = start(&mut primary, "http");
        primary.until_told(rich, "listening");
        let port = primary.port();
        // All stay open, so that the poor one's table fills.
        let client = std::thread::spawn(move || {
            let mut open = Vec::new();
            for _ in 0..80 {
                let mut connection = Connection::open(port).map_err(|error| error.to_string())?;
                connection.ask(Manner::KeepAlive, "/")?;
                open.push(connection);
            }
            Ok::<usize, String>(open.len())
        });
        primary.run_until_thread(&client);
        assert_eq!(client.join().expect("no panic"), Ok(80));
        assert!(primary.told(poor, "returned NoDescriptor"), "{:?}", primary.workers[&poor].told);
    }
}

#[test]
fn connections_on_their_way_to_a_killed_worker_are_served_by_another() {
    for node in nodes() {
        let mut primary = Primary::new(node);
        primary.balance = Balance::Ipc;
        let doomed = start(&mut primary, "http");
        primary.until_told(doomed, "listening");
        // Stopped, it reads nothing of what it is sent.
        let stopped = rustix::process::Pid::from_child(&primary.workers[&doomed].child);
        rustix::process::kill_process(stopped, rustix::process::Signal::STOP).expect("our child");
        let port = primary.port();
        let clients: Vec<_> = (0..20)
            .map(|_| {
                std::thread::spawn(move || {
                    let mut connection = Connection::open(port).map_err(|error| error.to_string())?;
                    connection.ask(Manner::Short, "/").map(|_| ())
                })
            })
            .collect();
        primary.run_until("a full window", |primary| {
            primary.workers[&doomed].session.connections_in_flight() == skep_node_ipc::WINDOW
        });
        primary.worker(doomed).child.kill().expect("our child");
        let heir = start(&mut primary, "http");
        primary.until_told(heir, "listening");
        for client in clients {
            primary.run_until_thread(&client);
            assert_eq!(client.join().expect("no panic"), Ok(()));
        }
    }
}
