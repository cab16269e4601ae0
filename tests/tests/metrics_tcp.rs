//! Metrics over TCP: for whoever shows the token, on this machine only, durable, and unmoved by bad clients; and what
//! Prometheus's own tool says of them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use skep_tests::{Deadline, LIMIT, Port, Skep, Start, fixture, http, process, root};

/// What a client that shows this token gets.
fn scrape(address: SocketAddr, token: &str) -> std::io::Result<http::Answer> {
    http::get_with(address, "/metrics", &format!("Authorization: Bearer {token}\r\n"))
}

/// skep with metrics served on a port of this test's own, and the token.
fn serving() -> (Skep, Port, String) {
    let (skep, port) = (Skep::new(), Port::free());
    skep.boot();
    let said = skep.ok(["metrics", "serve", "--listen", &port.address().to_string()]);
    assert!(said.contains(&format!("http://{}/metrics", port.address())), "{said}");
    let token = skep.ok(["metrics", "token"]).trim().to_owned();
    (skep, port, token)
}

/// Gives a program its standard input; what it says, and whether it succeeded.
fn feed(program: &str, args: &[&str], input: &str) -> (bool, String) {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} cannot be run ({error}): `cargo xtask tools` installs it"));
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads all");
    let output = child.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn only_who_shows_the_token_gets_metrics() {
    let (skep, port, token) = serving();
    let answer = scrape(port.address(), &token).expect("an answer");
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("text/plain; version=0.0.4")));
    assert!(answer.body.contains("skep_build_info{"), "{}", answer.body);
    for wrong in ["", "Authorization: Bearer x\r\n", "Authorization: Basic YTpi\r\n"] {
        for path in ["/metrics", "/", "/v1/apps"] {
            let answer = http::get_with(port.address(), path, wrong).expect("an answer");
            assert_eq!(answer.status, 401, "{path} with {wrong:?}");
            assert!(answer.header("www-authenticate").is_some_and(|scheme| scheme.starts_with("Bearer")));
        }
    }
    let shown = format!("Authorization: Bearer {token}\r\n");
    assert_eq!(http::get_with(port.address(), "/v1/apps", &shown).expect("an answer").status, 404);
    let mode = std::fs::metadata(skep.home().join("metrics.token")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let new = skep.ok(["metrics", "token", "--new"]).trim().to_owned();
    assert_eq!(scrape(port.address(), &token).expect("an answer").status, 401, "the old one is refused");
    assert_eq!(scrape(port.address(), &new).expect("an answer").status, 200);
}

#[test]
fn they_are_served_again_after_the_daemon_was_killed_until_they_are_switched_off() {
    let (skep, port, token) = serving();
    process::kill(skep.daemon().pid);
    Deadline::until("the next daemon serves them", || {
        scrape(port.address(), &token).ok().filter(|answer| answer.status == 200)
    });
    assert!(skep.ok(["metrics", "status"]).contains(&port.address().to_string()));
    assert!(skep.ok(["metrics", "off"]).contains("not served"));
    assert!(TcpStream::connect(port.address()).is_err(), "nobody listens");
    // The next time it is the same address.
    assert!(skep.ok(["metrics", "serve"]).contains(&port.address().to_string()));
    assert_eq!(scrape(port.address(), &token).expect("an answer").status, 200);
}

#[test]
fn addresses_of_other_machines_and_taken_ones_are_refused_and_nothing_changes() {
    let (skep, port, token) = serving();
    let other = Port::free();
    let _held = std::net::TcpListener::bind(other.address()).expect("it is free");
    for (wrong, why) in [
        ("0.0.0.0:9209", "reached from other machines"),
        ("[::]:9209", "reverse proxy"),
        ("banana", "127.0.0.1:9209"),
        ("127.0.0.1:0", "port 0"),
        (&*other.address().to_string(), "--listen 127.0.0.1:PORT"),
    ] {
        let said = skep.err(["metrics", "serve", "--listen", wrong]);
        assert!(said.contains("listen: ") && said.contains(why), "{wrong}: {said}");
        assert_eq!(scrape(port.address(), &token).expect("an answer").status, 200, "after {wrong}");
    }
    let status = skep.ok(["metrics", "status", "--json"]);
    assert!(status.contains(&format!("\"listen\":\"{}\"", port.address())), "{status}");
}

#[test]
fn clients_that_are_silent_or_talk_nonsense_do_not_disturb_others() {
    let (skep, port, token) = serving();
    let connect = || {
        let stream = TcpStream::connect(port.address()).expect("it listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a socket");
        stream
    };
    for nonsense in [&b"\x16\x03\x01\x02\x00\x01\xff"[..], b"GET\r\n\r\n", &[b'a'; 100_000]] {
        let mut stream = connect();
        // It may be let go before it has said all.
        let _ = stream.write_all(nonsense);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    }
    let silent: Vec<TcpStream> = (0..100).map(|_| connect()).collect();
    skep.ok(["list"]);
    drop(silent);
    Deadline::until("a scraper is served again", || {
        scrape(port.address(), &token).ok().filter(|answer| answer.status == 200)
    });
}

#[test]
fn promtool_finds_nothing_to_say_of_the_metrics() {
    let (skep, port, other) = (Skep::new(), Port::free(), Port::free());
    skep.start(&Start::fixture("app", "leak.js").port(port.number()));
    skep.start(&Start::fixture("io", "pm2-io.js"));
    let file = skep.root().join("skep.json");
    let app = serde_json::json!({ "apps": [{
        "name": "clock", "script": fixture("leak.js"), "env": { "PORT": other.number().to_string() },
        "schedules": { "tick": { "every": "1h", "command": "true" } },
    }]});
    std::fs::write(&file, app.to_string()).expect("written");
    skep.ok(["start", &file.display().to_string()]);
    http::get(port.address(), "/").expect("an answer");
    let text = Deadline::until("every kind of figure is there", || {
        let text = skep.ok(["metrics"]);
        let wanted = [
            "skep_job_next_fire_time_seconds{app=\"clock\",job=\"tick\"}",
            "skep_worker_event_loop_delay_p99_seconds{",
            "skep_worker_event_loop_utilization_ratio{",
            "skep_worker_custom_metric{",
            "skep_worker_http_response_duration_seconds_bucket{",
            "skep_worker_http_responses_total{",
            "skep_worker_restarts_total{",
            "skep_listener_queue_connections{",
        ];
        wanted.iter().all(|series| text.contains(series)).then_some(text)
    });
    let (passed, said) = feed("promtool", &["check", "metrics"], &text);
    assert!(passed && said.is_empty(), "{said}");
}

#[test]
fn promtool_understands_the_scrape_configuration_of_the_manual() {
    let manual = std::fs::read_to_string(root().join("docs/metrics.md")).expect("the manual");
    let config = manual.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block");
    let folder = tempfile::tempdir().expect("room for a folder");
    let file = folder.path().join("prometheus.yml");
    let token = folder.path().join("token");
    std::fs::write(&token, "x").expect("written");
    let config = config.replace("/etc/prometheus/skep.token", &token.display().to_string());
    std::fs::write(&file, config).expect("written");
    let (passed, said) = feed("promtool", &["check", "config", &file.display().to_string()], "");
    assert!(passed && said.contains("SUCCESS"), "{said}");
}
