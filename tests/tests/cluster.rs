//! Unmodified Node apps on every supported Node: all workers serve, whatever they listen on, and they see Node's own
//! cluster.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::Command;

use skep_tests::strict::{self, Mode, Plan, Target, Think};
use skep_tests::{Deadline, LIMIT, Node, Port, Service, Skep, Start, fixture, http, is_free, nodes};

skep_tests::on_each_node! {
    plain_http_lives => |node| check_http(node, "http.cjs");
    express_lives => |node| check_http(node, "express.js");
    fastify_as_an_es_module_lives => |node| check_http(node, "fastify.mjs");
    https_lives => check_https;
    websockets_live => |node| check_with_client(node, "ws.js", "clients/ws.js");
    socket_io_lives => |node| check_with_client(node, "socketio.js", "clients/socketio.js");
    udp_lives => check_udp;
    two_ports_live => check_two_ports;
    a_unix_path_lives => check_unix;
    port_zero_is_the_same_for_all_workers => check_port_zero;
    a_worker_sees_nodes_own_cluster => check_facts;
    a_foreign_listener_is_reported_faithfully => check_address_in_use;
}

fn pid_of(answer: io::Result<http::Answer>) -> io::Result<u32> {
    let value = answer?.json();
    Ok(u32::try_from(value["pid"].as_u64().expect("every fixture app says its pid")).expect("a pid is small"))
}

fn check_http(node: &Node, file: &str) {
    let (skep, port) = (Skep::with_node(node), Port::free());
    let service = Service {
        skep: &skep,
        start: Start::fixture("app", file).port(port.number()),
        ask: Box::new(|| pid_of(http::get(port.address(), "/"))),
        is_free: Box::new(|| is_free(port.number())),
    };
    service.check_life();
}

fn check_https(node: &Node) {
    let (skep, port) = (Skep::with_node(node), Port::free());
    let target = Target::Tls(port.address(), fixture("https/cert.pem"));
    let ask = || {
        let plan = Plan::get(port.address(), Mode::Short(Think::NONE), 1).to(target.clone());
        let running = strict::start(plan)?;
        let report = running.wait(LIMIT, |report| report.ok + report.failures() > 0);
        drop(running);
        let pid = report.pids.first().ok_or_else(|| io::Error::other(report.to_string()))?;
        Ok(u32::try_from(*pid).expect("a pid is small"))
    };
    let service = Service {
        skep: &skep,
        start: Start::fixture("app", "https.js").port(port.number()),
        ask: Box::new(ask),
        is_free: Box::new(|| is_free(port.number())),
    };
    service.check_life();
}

/// For protocols whose client is a package of npm: asked by a script on the same Node.
fn check_with_client(node: &Node, file: &str, client: &str) {
    let (skep, port) = (Skep::with_node(node), Port::free());
    let ask = || {
        let output = Command::new(node.bin.join("node"))
            .arg(fixture(client))
            .arg(port.number().to_string())
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        said.trim()
            .parse()
            .map_err(|_| io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    let service = Service {
        skep: &skep,
        start: Start::fixture("app", file).port(port.number()),
        ask: Box::new(ask),
        is_free: Box::new(|| is_free(port.number())),
    };
    service.check_life();
}

fn check_udp(node: &Node) {
    let (skep, port) = (Skep::with_node(node), Port::free());
    // Each question from a socket of its own: the kernel chooses a worker by the sender's address.
    let ask = || {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(LIMIT))?;
        socket.send_to(b"hello", port.address())?;
        let mut answer = [0; 64];
        let length = socket.recv(&mut answer)?;
        let text = String::from_utf8_lossy(&answer[..length]).into_owned();
        text.split(' ').next().and_then(|pid| pid.parse().ok()).ok_or_else(|| io::Error::other(text))
    };
    let service = Service {
        skep: &skep,
        start: Start::fixture("app", "udp.js").port(port.number()),
        ask: Box::new(ask),
        is_free: Box::new(|| UdpSocket::bind(port.address()).is_ok()),
    };
    service.check_life();
}

fn check_two_ports(node: &Node) {
    let (skep, port, admin) = (Skep::with_node(node), Port::free(), Port::free());
    let turn = Cell::new(false);
    let ask = || {
        turn.set(!turn.get());
        pid_of(http::get(if turn.get() { port.address() } else { admin.address() }, "/"))
    };
    let start = Start::fixture("app", "two-ports.js").port(port.number());
    let service = Service {
        skep: &skep,
        start: start.env("ADMIN_PORT", admin.number().to_string()),
        ask: Box::new(ask),
        is_free: Box::new(|| is_free(port.number()) && is_free(admin.number())),
    };
    service.check_life();
}

fn check_unix(node: &Node) {
    let skep = Skep::with_node(node);
    let path = skep.root().join("app.sock");
    let service = Service {
        skep: &skep,
        start: Start::fixture("app", "unix.js").env("SOCKET_PATH", &path),
        ask: Box::new(|| pid_of(http::get_unix(&path, "/"))),
        is_free: Box::new(|| !path.exists()),
    };
    service.check_life();
}

fn check_port_zero(node: &Node) {
    let skep = Skep::with_node(node);
    let file = skep.root().join("port");
    let app = skep.start(&Start::fixture("app", "port-zero.js").env("PORT_FILE", &file).instances(2));
    let ports: BTreeSet<u16> = app.pids().into_iter().map(|pid| port_of(&file, pid)).collect();
    assert_eq!(ports.len(), 1, "all workers were given the same port: {ports:?}");
    let address = SocketAddr::from(([127, 0, 0, 1], *ports.first().expect("there is one")));
    let service = Service {
        skep: &skep,
        start: Start::fixture("app", "port-zero.js"),
        ask: Box::new(|| pid_of(http::get(address, "/"))),
        is_free: Box::new(|| is_free(address.port())),
    };
    service.check_all_serve(&app);
    // A successor gets the port of its predecessor.
    service.check_all_serve(&skep.crash("app", 0));
}

fn port_of(file: &Path, pid: u32) -> u16 {
    Deadline::until("the worker writes down its port", || {
        std::fs::read_to_string(format!("{}.{pid}", file.display())).ok()?.parse().ok()
    })
}

fn check_facts(node: &Node) {
    let (skep, port) = (Skep::with_node(node), Port::free());
    let start = Start::fixture("app", "worker-facts.js").port(port.number());
    let start = start.env("NODE_OPTIONS", "--max-old-space-size=200");
    let app = skep.start(&start.instances(1).args(["--color", "a b"]));
    let facts = || http::get(port.address(), "/").expect("the app answers").json();
    let seen = facts();
    assert_eq!(seen["isWorker"], true, "{seen}");
    assert_eq!(seen["isPrimary"], false, "{seen}");
    assert_eq!(seen["workerId"].as_u64(), app.slots[0].worker.map(u64::from), "{seen}");
    assert_eq!(seen["instance"], "0", "{seen}");
    assert_eq!((&seen["hasSend"], &seen["connected"]), (&true.into(), &true.into()), "{seen}");
    assert_eq!(seen["argv"], serde_json::json!(["--color", "a b"]), "{seen}");
    assert_eq!(seen["isMain"], true, "{seen}");
    assert_eq!(seen["channelLeaks"], false, "Node hides its channel from the app: {seen}");
    assert_eq!(seen["nodeOptions"], "--max-old-space-size=200", "the preload hides itself: {seen}");

    let worker = app.slots[0].worker.expect("it has a worker");
    let message = serde_json::json!({"hello": ["wörld", 1]});
    let answer = http::post_unix(&skep.socket(), &format!("/v1/workers/{worker}/message"), &message);
    assert_eq!(answer.expect("the API answers").status, 204);
    let last = Deadline::until("the message arrives", || {
        Some(facts()["last"].clone()).filter(|last| !last.is_null())
    });
    assert_eq!(last, message);
}

fn check_address_in_use(node: &Node) {
    let (skep, port) = (Skep::with_node(node), Port::free());
    let _taken = TcpListener::bind(("0.0.0.0", port.number())).expect("the port is free");
    let start =
        Start::fixture("app", "lifecycle.js").port(port.number()).instances(2).flags(["--no-autorestart"]);
    let said = skep.start_fails(&start);
    assert!(said.contains("EADDRINUSE"), "the app itself was told, and its stderr is shown: {said}");
}

#[test]
fn typescript_runs_by_nodes_own_type_stripping() {
    for node in nodes().iter().filter(|node| node.major >= 22) {
        let (skep, port) = (Skep::with_node(node), Port::free());
        let start =
            Start::fixture("app", "typescript.ts").flags(["--interpreter", "node"]).port(port.number());
        let service = Service {
            skep: &skep,
            start,
            ask: Box::new(|| pid_of(http::get(port.address(), "/"))),
            is_free: Box::new(|| is_free(port.number())),
        };
        service.check_life();
    }
}

#[test]
fn two_apps_on_one_port_are_refused_and_never_split() {
    let (skep, port) = (Skep::new(), Port::free());
    skep.start(&Start::fixture("first", "http.cjs").port(port.number()).instances(2));
    let second = Start::fixture("second", "lifecycle.js").port(port.number()).flags(["--no-autorestart"]);
    let said = skep.start_fails(&second);
    assert!(said.contains("EADDRINUSE"), "{said}");
    let first = skep.app("first");
    for _ in 0..20 {
        let pid = pid_of(http::get(port.address(), "/")).expect("the first app is served as before");
        assert!(first.pids().contains(&pid));
    }
}

#[test]
fn every_balance_serves_with_all_workers() {
    for balance in ["auto", "rr", "least", "random", "hash", "shared", "ipc"] {
        let (skep, port) = (Skep::new(), Port::free());
        let start = Start::fixture("app", "http.cjs").port(port.number()).flags(["--balance", balance]);
        let service = Service {
            skep: &skep,
            start: start.clone(),
            ask: Box::new(|| pid_of(http::get(port.address(), "/"))),
            is_free: Box::new(|| is_free(port.number())),
        };
        let app = skep.start(&start.instances(3));
        service.check_all_serve(&app);
        assert_eq!(app.listeners.len(), 1, "{balance}: {app:#?}");
        assert!(!app.listeners[0].selection.is_empty(), "{balance}");
    }
}
