//! The measuring device is measured: the strict client sees nothing where nothing is lost, tells every way of losing
//! a request from the others, and sees the drops of Node's own cluster and of PM2.

mod peer;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use peer::{NodeCluster, Pm2, Server};
use skep_tests::strict::{self, Expect, Failure, Mode, Plan, Report, Target, Think};
use skep_tests::{LIMIT, Port, fixture};

const THINKING: Mode = Mode::KeepAlive(Think { min: Duration::ZERO, max: Duration::from_millis(10) });
/// Enough to notice a failure that happens at all, in a fraction of a second.
const REQUESTS: u64 = 300;

/// Runs a plan against a server that loses nothing.
fn check_nothing_lost(plan: Plan, requests: u64) {
    let running = strict::start(plan).expect("the client starts");
    running.wait_for_more(requests, LIMIT);
    let report = running.stop();
    assert!(report.ok >= requests, "too few answers: {report}");
    assert_eq!(report.failures(), 0, "{report}");
    assert!(report.pids.len() <= 1, "one server answers: {report}");
}

#[test]
fn a_plain_server_loses_nothing_in_any_mode() {
    let server = Server::start("http.cjs");
    let plan = |mode| Plan::get(server.port.address(), mode, 4);
    check_nothing_lost(plan(Mode::Short(Think::NONE)), REQUESTS);
    check_nothing_lost(plan(THINKING), REQUESTS);
    check_nothing_lost(plan(Mode::Pipelined(8)), REQUESTS);
    check_nothing_lost(plan(Mode::Dribble(Duration::from_millis(2))), 50);
    check_nothing_lost(plan(THINKING).slow(20), 50);
    check_nothing_lost(plan(THINKING).upload(1_000_000), 20);
    check_nothing_lost(plan(Mode::Short(Think::NONE)).download(20_000_000), 6);
    check_nothing_lost(plan(THINKING).stream(300_000), 6);
}

#[test]
fn tls_and_unix_sockets_are_spoken_too() {
    let server = Server::start("https.js");
    let tls = Target::Tls(server.port.address(), fixture("https/cert.pem"));
    check_nothing_lost(Plan::get(server.port.address(), THINKING, 4).to(tls.clone()), REQUESTS);
    check_nothing_lost(
        Plan::get(server.port.address(), Mode::Short(Think::NONE), 4).to(tls).download(3_000_000),
        6,
    );
    let server = Server::start("unix.js");
    let unix = Target::Unix(server.socket());
    check_nothing_lost(Plan::get(server.port.address(), Mode::Short(Think::NONE), 4).to(unix), REQUESTS);
}

/// What a client counts that asks a server which treats each connection so.
fn report_of(serve: impl Fn(&mut TcpStream) + Send + 'static) -> Report {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    // Ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            serve(&mut stream.expect("a connection can be accepted"));
        }
    });
    let plan = Plan { timeout: Duration::from_millis(300), ..Plan::get(address, THINKING, 1) };
    let running = strict::start(plan.expect(Expect::Exactly(b"right".to_vec()))).expect("the client starts");
    running.wait(LIMIT, |report| report.failures() >= 3);
    running.stop()
}

/// Waits for a request and leaves it unread, so that closing sends a reset.
fn peek(stream: &TcpStream) {
    stream.peek(&mut [0; 16]).expect("the client asks");
}

fn answer(stream: &mut TcpStream, text: &str) {
    drop(stream.read(&mut [0; 1024]));
    drop(stream.write_all(text.as_bytes()));
}

fn check_kind(expected: Failure, serve: impl Fn(&mut TcpStream) + Send + 'static) {
    let report = report_of(serve);
    assert_eq!(report.failures_of(expected), report.failures(), "expected only {expected}: {report}");
    assert_eq!(report.ok, 0, "{report}");
}

#[test]
fn each_way_of_losing_a_request_has_its_name() {
    check_kind(Failure::ResetBeforeResponse, |stream| peek(stream));
    check_kind(Failure::ClosedBeforeResponse, |stream| answer(stream, ""));
    check_kind(Failure::Truncated, |stream| {
        answer(stream, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nright");
    });
    check_kind(Failure::Truncated, |stream| {
        answer(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nright\r\n");
    });
    check_kind(Failure::ResetMidResponse, |stream| {
        peek(stream);
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nright"));
    });
    check_kind(Failure::WrongStatus, |stream| {
        answer(stream, "HTTP/1.1 503 No\r\nContent-Length: 5\r\n\r\nright");
    });
    check_kind(Failure::WrongBody, |stream| {
        answer(stream, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong");
    });
    check_kind(Failure::Malformed, |stream| answer(stream, "220 mail.example ESMTP\r\n\r\n"));
    check_kind(Failure::TimeoutBeforeResponse, |stream| drop(stream.read_to_end(&mut Vec::new())));
    check_kind(Failure::TimeoutMidResponse, |stream| {
        answer(stream, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nright");
        drop(stream.read_to_end(&mut Vec::new()));
    });
}

#[test]
fn nobody_listening_is_refused() {
    let port = Port::free();
    let running =
        strict::start(Plan::get(port.address(), Mode::Short(Think::NONE), 2)).expect("the client starts");
    running.wait(LIMIT, |report| report.failures() >= 5);
    let report = running.stop();
    assert_eq!(report.failures_of(Failure::Refused), report.failures(), "{report}");
}

#[test]
fn a_polite_close_between_requests_is_a_reconnect_and_no_failure() {
    let report = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        std::thread::spawn(move || {
            for (count, stream) in listener.incoming().enumerate() {
                let mut stream = stream.expect("a connection can be accepted");
                let close = if count % 2 == 0 { "Connection: close\r\n" } else { "" };
                answer(&mut stream, &format!("HTTP/1.1 200 OK\r\n{close}Content-Length: 5\r\n\r\nright"));
                drop(stream.shutdown(Shutdown::Write));
            }
        });
        // Thinking longer than the server takes to close.
        let think = Think { min: Duration::from_millis(20), max: Duration::from_millis(20) };
        let running =
            strict::start(Plan::get(address, Mode::KeepAlive(think), 1)).expect("the client starts");
        running.wait(LIMIT, |report| report.ok >= 6);
        running.stop()
    };
    assert_eq!(report.failures(), 0, "{report}");
    assert!(report.polite_closes >= 2 && report.idle_closes >= 2, "{report}");
}

/// Does something to a server under load until the client sees the failure expected, but not for ever.
fn check_drops_are_seen(plan: Plan, mut act: impl FnMut(), seen: impl Fn(&Report) -> bool) {
    /// Node's cluster and PM2 drop something in every second reload.
    const TRIES_MAX: usize = 25;
    /// A failure follows its cause at once, if at all.
    const SOON: Duration = Duration::from_millis(200);
    let running = strict::start(plan).expect("the client starts");
    running.wait(LIMIT, |report| report.ok >= 20);
    let found = (0..TRIES_MAX).any(|_| {
        act();
        seen(&running.wait(SOON, &seen))
    });
    let report = running.stop();
    assert!(found, "the drops were not seen: {report}");
}

fn any_failure(report: &Report) -> bool {
    report.failures() > 0
}

#[test]
fn the_drops_of_nodes_own_cluster_are_seen() {
    let cluster = NodeCluster::start("http.cjs");
    let plan = Plan::get(cluster.port.address(), THINKING, 10);
    check_drops_are_seen(plan.clone(), || cluster.reload(), any_failure);
    // The defect of http.Server.close(): a response that has ended, but not left, is cut.
    let cut = |report: &Report| {
        report.failures_of(Failure::Truncated) + report.failures_of(Failure::ResetMidResponse) > 0
    };
    check_drops_are_seen(Plan { clients: 4, ..plan }.download(20_000_000), || cluster.reload(), cut);
}

#[test]
fn the_drops_of_pm2_are_seen() {
    let pm2 = Pm2::start("http.cjs");
    let plan = Plan::get(pm2.port.address(), THINKING, 10);
    check_drops_are_seen(plan.clone(), || pm2.reload(), any_failure);
    // All its cluster workers die with it.
    let refused = |report: &Report| report.failures_of(Failure::Refused) > 0;
    check_drops_are_seen(plan, || pm2.kill_daemon(), refused);
}
