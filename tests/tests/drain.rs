//! The other ways to take leave: `drain: close`, `drain: signal`, what cannot migrate (TLS, HTTP/2, WebSockets). Nothing is
//! lost there either; clients connect anew.

use serde_json::Value;
use skep_tests::strict::{self, Mode, Plan, Running, Target, Think};
use skep_tests::{LIMIT, Node, NodeClient, Port, Skep, Start, fixture};

fn thinking() -> Mode {
    Mode::KeepAlive(Think::up_to_ms(20))
}

fn short() -> Mode {
    Mode::Short(Think::up_to_ms(10))
}

/// Reloads, and all clients get some more answers after each.
#[track_caller]
fn reload(skep: &Skep, load: &[(&str, Running)], times: usize) {
    let more = || load.iter().for_each(|(_, running)| drop(running.wait_for_more(5, LIMIT)));
    more();
    for _ in 0..times {
        let before = skep.app("app").pids();
        skep.ok(["reload", "app"]);
        let after = skep.app("app").pids();
        assert!(after.iter().all(|pid| !before.contains(pid)), "{before:?} -> {after:?}");
        more();
    }
}

fn start<const N: usize>(plans: [(&'static str, Plan); N]) -> Vec<(&'static str, Running)> {
    plans.map(|(name, plan)| (name, strict::start(plan).expect("the client starts"))).into()
}

fn check_close(node: &Node) {
    let (skep, port) = (Skep::with_node(node), Port::free());
    let app = Start::fixture("app", "http.cjs").port(port.number()).instances(2);
    skep.start(&app.flags(["--drain", "close"]));
    let plan = |mode, clients| Plan::get(port.address(), mode, clients);
    let load = start([
        ("short", plan(short(), 2)),
        ("keep-alive", plan(thinking(), 6)),
        ("slow", plan(thinking(), 2).slow(50)),
        ("dribbled", plan(Mode::Dribble(std::time::Duration::from_millis(10)), 1)),
        ("uploads", plan(thinking(), 1).upload(100_000)),
        ("streams", plan(thinking(), 1).stream(100_000)),
    ]);
    reload(&skep, &load, 2);
    let mut polite = 0;
    for (name, running) in load {
        let report = running.stop();
        println!("{name}: {report}");
        assert_eq!((report.failures(), report.idle_closes), (0, 0), "{name}: {report}");
        polite += report.polite_closes;
    }
    assert!(polite > 0, "who had a connection was told in an answer to make another one");
}

fn check_http2(node: &Node) {
    let (skep, port) = (Skep::with_node(node), Port::free());
    let app = Start::fixture("app", "http2.js").port(port.number()).instances(2);
    // Every session ends by itself.
    skep.start(&app.flags(["--kill-timeout", "600s"]));
    // Many with one stream: an end of the connection that comes with the end of its last stream must not overtake it.
    let mut clients: Vec<_> = [16, 1, 1, 1, 1].map(|streams| NodeClient::http2(&port, streams)).into();
    let target = Target::Tls(port.address(), fixture("https/cert.pem"));
    let plan = |mode, clients| Plan::get(port.address(), mode, clients).to(target.clone());
    let load = start([("HTTP/1.1 short", plan(short(), 2)), ("HTTP/1.1", plan(thinking(), 4))]);
    for _ in 0..2 {
        clients.iter_mut().for_each(NodeClient::wait);
        reload(&skep, &load, 1);
        clients.iter_mut().for_each(NodeClient::wait);
    }
    for client in clients {
        let report = client.finish();
        println!("{report}");
        assert_eq!((&report["failed"], &report["unannounced"]), (&0.into(), &0.into()), "{report}");
        assert!(report["sessions"].as_u64() > Some(1), "its sessions were ended: {report}");
    }
    for (name, running) in load {
        let report = running.stop();
        assert_eq!(report.failures(), 0, "{name}: {report}");
    }
}

fn check_websockets(node: &Node) {
    for (scheme, tls) in [("ws", "0"), ("wss", "1")] {
        let (skep, port) = (Skep::with_node(node), Port::free());
        let app = Start::fixture("app", "ws.js").port(port.number()).env("TLS", tls).instances(2);
        // No test waits for it: a reload that does not close them would hang.
        let flags = ["--drain-websockets", "close", "--kill-timeout", "600s"];
        skep.start(&app.flags(flags));
        let mut client = NodeClient::websockets(scheme, &port, 10);
        client.wait();
        skep.ok(["reload", "app"]);
        client.wait();
        skep.ok(["restart", "app"]);
        client.wait();
        skep.ok(["stop", "app"]);
        let report = client.finish();
        println!("{report}");
        let closes = report["closes"].as_object().expect("it counts by code");
        assert_eq!(closes.keys().collect::<Vec<_>>(), ["1001", "1012"], "{report}");
        assert_eq!(
            (closes["1001"].as_u64(), &report["errors"]),
            (Some(10), &Value::Array(Vec::new())),
            "{report}"
        );
        assert!(closes["1012"].as_u64() >= Some(20), "a reload and a restart closed each: {report}");
        assert!(report["pids"].as_array().is_some_and(|pids| pids.len() > 2), "{report}");
    }
}

skep_tests::on_each_node! {
    http2_loses_nothing => check_http2;
    websockets_are_told_to_come_back_if_the_app_wants_it => check_websockets;
    connections_that_are_closed_politely_lose_nothing => check_close;
}

/// Its own `server.close()` answers what it has. (It cuts idle connections, which is why `migrate` is the default.)
#[test]
fn an_app_that_closes_at_its_signal_loses_nothing_on_short_connections() {
    let (skep, port) = (Skep::new(), Port::free());
    let app = Start::fixture("app", "graceful.js").port(port.number()).instances(2);
    skep.start(&app.flags(["--drain", "signal", "--kill-timeout", "600s"]));
    let plan = |clients| Plan::get(port.address(), short(), clients);
    let load = start([("short", plan(4)), ("slow", plan(4).slow(50)), ("uploads", plan(2).upload(300_000))]);
    reload(&skep, &load, 2);
    for (name, running) in load {
        let report = running.stop();
        println!("{name}: {report}");
        assert_eq!(report.failures(), 0, "{name}: {report}");
    }
}

#[test]
fn what_could_not_be_done_is_refused() {
    let skep = Skep::new();
    let start = || Start::fixture("app", "ws.js").flags(["--drain-websockets", "close"]);
    for (flags, remedy) in [
        (&["--drain", "signal"][..], "use --drain migrate or close"),
        (&["--no-preload"], "leave out --no-preload"),
    ] {
        let said = skep.start_fails(&start().flags(flags.iter().copied()));
        assert!(said.contains("drain_websockets") && said.contains(remedy), "{said}");
    }
    let said = skep.start_fails(&Start::program("app", "/bin/sleep").flags(["--drain-websockets", "close"]));
    assert!(said.contains("works for Node.js scripts only"), "{said}");
}
