//! The preload: an old worker hands over to a new one under load, and no client notices.

mod primary;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;

use primary::channel::{fixture, nodes};
use primary::client::{Connection, Load, Manner, Score};
use primary::{Balance, Primary};
use skep_node_ipc::skep::{DrainMode, DrainOrder};

/// How many reloads of a worker under load; each takes as long as a Node needs to start. `SKEP_RELOADS` asks for more.
fn reloads() -> usize {
    std::env::var("SKEP_RELOADS").ok().and_then(|reloads| reloads.parse().ok()).unwrap_or(6)
}

fn with_preload(node: &Path) -> Primary {
    let mut primary = Primary::new(node.to_path_buf());
    primary.preload = true;
    primary
}

/// Starts a successor in every mode, lets the old worker go and waits for its end.
fn reload(primary: &mut Primary, old: u32, app: &[&str], mode: DrainMode) -> u32 {
    let new = primary.spawn(app);
    primary.until_told(new, "listening");
    primary.successor = Some(new);
    assert!(primary.worker(old).session.drain(DrainOrder::new(mode, 200)), "the preload has said hello");
    assert!(primary.until_gone(old).success(), "an old worker ends by itself");
    new
}

/// Two workers, reloaded in turn under `clients`.
fn reload_under_load(
    primary: &mut Primary,
    app: &[&str],
    mode: DrainMode,
    clients: &[(Manner, &'static str)],
) -> std::sync::Arc<Score> {
    let mut workers = [primary.spawn(app), primary.spawn(app)];
    for worker in workers {
        primary.until_told(worker, "listening");
    }
    let load = Load::start(primary.port(), clients);
    for round in 0..reloads() {
        let enough = load.answered() + 50;
        primary.run_until("the clients", |_| load.answered() >= enough);
        let slot = round % workers.len();
        workers[slot] = reload(primary, workers[slot], app, mode);
    }
    let enough = load.answered() + 50;
    primary.run_until("the clients", |_| load.answered() >= enough);
    let stopping = std::thread::spawn(move || load.stop());
    primary.run_until_thread(&stopping);
    stopping.join().expect("no panic")
}

fn assert_unnoticed(score: &Score, primary: &Primary, what: &str) {
    eprintln!("{what}: {score:?}, {} handed over", primary.handovers);
    assert_eq!(score.failed.load(Ordering::Relaxed), 0, "{what}: {score:?}");
    assert_eq!(score.reconnects.load(Ordering::Relaxed), 0, "{what}: {score:?}");
    assert!(primary.handovers > 0, "{what}: connections migrated");
}

const PLAIN: &[(Manner, &str)] = &[
    (Manner::KeepAlive, "/"),
    (Manner::KeepAlive, "/?after=0"),
    (Manner::KeepAlive, "/?after=7"),
    (Manner::KeepAlive, "/?after=30"),
    (Manner::KeepAlive, "/big"),
    (Manner::Short, "/"),
    (Manner::Short, "/?after=5"),
    (Manner::Pipelined(4), "/"),
    (Manner::Pipelined(5), "/?after=3"),
    (Manner::Upload, "/"),
];

#[test]
fn plain_http_connections_of_every_kind_migrate_unnoticed() {
    for node in nodes() {
        for balance in [Balance::Shared, Balance::Ipc] {
            let mut primary = with_preload(&node);
            primary.balance = balance;
            let app = fixture("app.cjs");
            let score = reload_under_load(&mut primary, &[&app, "http"], DrainMode::Migrate, PLAIN);
            assert_unnoticed(&score, &primary, &format!("{} {balance:?}", node.display()));
        }
    }
}

#[test]
fn a_daemon_killed_again_and_again_during_reloads_is_not_noticed_either() {
    for node in nodes() {
        let mut primary = with_preload(&node);
        primary.crash_every = Some(5);
        let app = fixture("app.cjs");
        let score = reload_under_load(&mut primary, &[&app, "http"], DrainMode::Migrate, PLAIN);
        assert_unnoticed(&score, &primary, &format!("{} with crashes", node.display()));
    }
}

#[test]
fn in_close_mode_clients_are_told_to_reconnect() {
    let clients: Vec<(Manner, &'static str)> =
        PLAIN.iter().copied().filter(|(manner, _)| !matches!(manner, Manner::Pipelined(_))).collect();
    for node in nodes() {
        let mut primary = with_preload(&node);
        let app = fixture("app.cjs");
        let score = reload_under_load(&mut primary, &[&app, "http"], DrainMode::Close, &clients);
        eprintln!("{}: {score:?}", node.display());
        assert_eq!(score.failed.load(Ordering::Relaxed), 0, "{}: {score:?}", node.display());
        assert_eq!(primary.handovers, 0);
        let farewells = score.farewells.load(Ordering::Relaxed);
        assert!(farewells > 0, "busy connections end by Connection: close");
    }
}

/// Reloads under the JavaScript client of `kind`.
fn reload_under_node_client(node: &Path, kind: &str, folder: &Path) {
    let mut primary = with_preload(node);
    let (key, cert) = certificate(folder);
    primary.env = vec![("APP_KEY".to_owned(), key), ("APP_CERT".to_owned(), cert)];
    let app = [fixture("app.cjs"), kind.to_owned()];
    let app: Vec<&str> = app.iter().map(String::as_str).collect();
    let mut workers = [primary.spawn(&app), primary.spawn(&app)];
    for worker in workers {
        primary.until_told(worker, "listening");
    }
    let mut client = Command::new(node);
    client.args([&fixture("client.cjs"), kind, &primary.port().to_string(), "6"]);
    let mut client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("node starts");
    let mut output = BufReader::new(client.stdout.take().expect("piped"));
    let mut line = String::new();
    output.read_line(&mut line).expect("started");
    for round in 0..4 {
        let slot = round % workers.len();
        workers[slot] = reload(&mut primary, workers[slot], &app, DrainMode::Migrate);
    }
    drop(client.stdin.take());
    let last = std::thread::spawn(move || {
        let mut line = String::new();
        output.read_line(&mut line).expect("the score");
        client.wait().expect("our child");
        line
    });
    primary.run_until_thread(&last);
    let score = last.join().expect("no panic");
    eprintln!("{} {kind}: {score}", node.display());
    assert!(score.contains("\"failed\":0,"), "{} {kind}: {score}", node.display());
    assert!(!score.contains("\"answered\":0,"), "{} {kind}: {score}", node.display());
    assert_eq!(primary.handovers, 0, "what has state in the process stays");
}

fn certificate(folder: &Path) -> (String, String) {
    let (key, cert) = (folder.join("key.pem"), folder.join("cert.pem"));
    let mut openssl = Command::new("openssl");
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
    assert!(openssl.stderr(Stdio::null()).status().expect("openssl is there").success());
    (key.display().to_string(), cert.display().to_string())
}

#[test]
fn https_http2_and_h2c_clients_reconnect_without_a_failure() {
    let folder = tempfile::tempdir().expect("a folder");
    for node in nodes() {
        for kind in ["https", "http2", "h2c"] {
            reload_under_node_client(&node, kind, folder.path());
        }
    }
}

/// One old worker that serves, and what to do with connections around its drain.
fn around_a_drain(kind: &str, mode: DrainMode, theme: impl Fn(&mut Primary, u32, u16)) {
    for node in nodes() {
        eprintln!("{} {kind} {mode:?}", node.display());
        let mut primary = with_preload(&node);
        let old = primary.spawn(&[&fixture("app.cjs"), kind]);
        primary.until_told(old, "listening");
        let port = primary.port();
        theme(&mut primary, old, port);
    }
}

/// Runs a blocking client step while the primary turns.
fn meanwhile<T: Send + 'static>(primary: &mut Primary, step: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(step);
    primary.run_until_thread(&thread);
    thread.join().expect("no panic")
}

/// Asks for the pid that answers (or any other line), on a connection that stays open.
fn pid_of(primary: &mut Primary, mut connection: TcpStream, request: &'static str) -> (TcpStream, String) {
    meanwhile(primary, move || {
        connection.write_all(request.as_bytes()).expect("it reads");
        let mut answer = Vec::new();
        let mut chunk = [0; 4096];
        // Lines of a head end in \r\n, those of our bodies in a bare \n.
        while !answer.windows(2).any(|two| two[1] == b'\n' && two[0] != b'\r') {
            let length = connection.read(&mut chunk).expect("it answers");
            assert!(length > 0, "the connection ended: {}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&chunk[..length]);
        }
        let text = String::from_utf8(answer).expect("text");
        (connection, text.rsplit("\r\n").next().expect("a body").trim().to_owned())
    })
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn a_connection_that_never_asked_anything_migrates_and_so_does_one_with_half_a_request_after_its_answer() {
    around_a_drain("patient", DrainMode::Migrate, |primary, old, port| {
        let unused = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        let half = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        let (mut half, old_pid) = pid_of(primary, half, GET);
        half.write_all(b"GET / HTT").expect("it reads");
        // Another connection's answer proves that the worker has seen what came before.
        let other = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        let (other, _) = pid_of(primary, other, GET);
        let new = primary.spawn(&[&fixture("app.cjs"), "patient"]);
        primary.until_told(new, "listening");
        primary.successor = Some(new);
        assert!(primary.worker(old).session.drain(DrainOrder::new(DrainMode::Migrate, 200)));
        primary.run_until("two hand-overs", |primary| primary.handovers == 2);
        let (_unused, unused_pid) = pid_of(primary, unused, GET);
        let (_other, other_pid) = pid_of(primary, other, GET);
        let (half, half_pid) = pid_of(primary, half, "P/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(half_pid, old_pid, "who has read the beginning answers");
        assert_eq!(unused_pid, other_pid);
        assert_ne!(unused_pid, old_pid);
        let (_half, half_pid) = pid_of(primary, half, GET);
        assert_eq!(half_pid, unused_pid, "the next request goes to the successor");
        assert!(primary.until_gone(old).success());
    });
}

#[test]
fn a_migrated_connection_that_stays_idle_is_ended_after_the_servers_keep_alive_timeout() {
    around_a_drain("short", DrainMode::Migrate, |primary, old, port| {
        let connection = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        let unused = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        let (mut connection, _) = pid_of(primary, connection, GET);
        let new = primary.spawn(&[&fixture("app.cjs"), "short"]);
        primary.until_told(new, "listening");
        primary.successor = Some(new);
        assert!(primary.worker(old).session.drain(DrainOrder::new(DrainMode::Migrate, 200)));
        assert!(primary.until_gone(old).success());
        let length = meanwhile(primary, move || connection.read(&mut [0; 64]).expect("a FIN, no RST"));
        assert_eq!(length, 0);
        drop(unused);
    });
}

#[test]
fn upgraded_streaming_and_raw_connections_run_to_their_end() {
    around_a_drain("upgrade", DrainMode::Migrate, |primary, old, port| {
        let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello\n";
        let upgraded = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        let (upgraded, echo) = pid_of(primary, upgraded, request);
        assert_eq!(echo, "hello");
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        let (mut stream, _) = pid_of(primary, stream, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
        let ender = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        ender.set_nodelay(true).expect("a socket");
        let half = "GET /end HTTP/1.1\r\n";
        let mut ender = ender;
        ender.write_all(half.as_bytes()).expect("it reads");
        // Answered after what was written before, on other connections too: one loop reads them all.
        let other = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        drop(pid_of(primary, other, GET));
        let new = primary.spawn(&[&fixture("app.cjs"), "upgrade"]);
        primary.until_told(new, "listening");
        primary.successor = Some(new);
        assert!(primary.worker(old).session.drain(DrainOrder::new(DrainMode::Migrate, 200)));
        primary.until_told(old, "draining 1 3");
        let (upgraded, echo) = pid_of(primary, upgraded, "still\r\n\r\nthere\n");
        assert_eq!(echo, "there");
        drop(pid_of(primary, ender, "Host: a\r\n\r\n"));
        let rest = meanwhile(primary, move || {
            let mut rest = [0; 64];
            let length = stream.read(&mut rest).expect("the end of the stream");
            String::from_utf8_lossy(&rest[..length]).into_owned()
        });
        assert!(rest.contains("ended"), "{rest}");
        drop(upgraded);
        assert!(primary.until_gone(old).success());
    });
    around_a_drain("net", DrainMode::Migrate, |primary, old, port| {
        let raw = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        let (raw, _) = pid_of(primary, raw, "a\r\n\r\nb\n");
        assert!(primary.worker(old).session.drain(DrainOrder::new(DrainMode::Migrate, 200)));
        primary.until_told(old, "draining 1 1");
        let (raw, echo) = pid_of(primary, raw, "c\r\n\r\nd\n");
        assert_eq!(echo, "d");
        drop(raw);
        assert!(primary.until_gone(old).success());
    });
}

#[test]
fn a_worker_without_servers_and_one_with_datagrams_end_at_once() {
    for node in nodes() {
        for cluster in [true, false] {
            let mut primary = with_preload(&node);
            primary.cluster = cluster;
            let worker = primary.spawn(&[&fixture("app.cjs"), "none"]);
            primary.until_told(worker, "message \"ready\"");
            assert!(primary.told(worker, "hello"));
            assert!(primary.worker(worker).session.drain(DrainOrder::new(DrainMode::Migrate, 200)));
            assert!(primary.until_gone(worker).success());
        }
        let mut primary = with_preload(&node);
        let worker = primary.spawn(&[&fixture("app.cjs"), "udp"]);
        primary.until_told(worker, "listening");
        assert!(primary.worker(worker).session.drain(DrainOrder::new(DrainMode::Close, 200)));
        assert!(primary.until_gone(worker).success());
        assert!(primary.successor.is_none());
    }
}

#[test]
fn in_plain_fork_mode_the_preload_speaks_for_node() {
    for node in nodes() {
        let mut primary = with_preload(&node);
        primary.cluster = false;
        let port = free_port();
        primary.env = vec![("APP_PORT".to_owned(), port.to_string())];
        let app = fixture("app.cjs");
        let old = primary.spawn(&[&app, "reuse"]);
        primary.run_until("a word of the server", |primary| {
            primary.told(old, "listening") || primary.workers[&old].ended
        });
        // `reusePort` came with Node 22.12 and stands here for bind interception, which gives both the same socket.
        if !primary.workers[&old].told.iter().any(|told| reuses_port(told)) {
            continue;
        }
        let connection = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        let (connection, old_pid) = pid_of(&mut primary, connection, GET);
        let new = primary.spawn(&[&app, "reuse"]);
        primary.until_told(new, "listening");
        primary.successor = Some(new);
        assert!(primary.worker(old).session.drain(DrainOrder::new(DrainMode::Migrate, 200)));
        assert!(primary.until_gone(old).success());
        let (_connection, new_pid) = pid_of(&mut primary, connection, GET);
        assert_ne!(old_pid, new_pid);
        assert_eq!(primary.handovers, 1);
        primary.run_until("its acceptance", |primary| primary.conns.is_empty());
    }
}

fn reuses_port(hello: &str) -> bool {
    let version = hello.strip_prefix("hello ").and_then(|hello| hello.split('.').next());
    version.and_then(|major| major.parse::<u32>().ok()).is_some_and(|major| major >= 22)
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").port()
}

#[test]
fn hundreds_of_idle_connections_migrate_and_every_one_still_answers() {
    const CONNECTIONS: usize = 400;
    around_a_drain("patient", DrainMode::Migrate, |primary, old, port| {
        let open = meanwhile(primary, move || {
            let ask = |mut connection: Connection| connection.ask(Manner::KeepAlive, "/").map(|_| connection);
            let open = (0..CONNECTIONS).map(|_| ask(Connection::open(port).expect("it listens")));
            open.collect::<Result<Vec<_>, _>>().expect("answers")
        });
        let new = primary.spawn(&[&fixture("app.cjs"), "patient"]);
        primary.until_told(new, "listening");
        primary.successor = Some(new);
        assert!(primary.worker(old).session.drain(DrainOrder::new(DrainMode::Migrate, 200)));
        assert!(primary.until_gone(old).success());
        assert_eq!(primary.handovers, CONNECTIONS);
        meanwhile(primary, move || {
            for mut connection in open {
                connection.ask(Manner::KeepAlive, "/").expect("the same connection answers");
            }
        });
    });
}
