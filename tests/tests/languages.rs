//! Any language: programs that take a socket handed over, and programs that know nothing and bind by themselves.

use std::path::{Path, PathBuf};
use std::process::Command;

use skep_tests::{Deadline, Port, Service, Skep, Start, fixture, fixtures, http, is_free, tool};

/// Lives behind a port, whatever it is.
#[track_caller]
fn check(skep: &Skep, port: &Port, start: Start) {
    let ask = || {
        let value = http::get(port.address(), "/")?.json();
        Ok(u32::try_from(value["pid"].as_u64().expect("every fixture app says its pid"))
            .expect("a pid is small"))
    };
    let service = Service {
        skep,
        start: start.port(port.number()),
        ask: Box::new(ask),
        is_free: Box::new(|| is_free(port.number())),
    };
    service.check_life();
}

fn here() -> (Skep, Port) {
    (Skep::new(), Port::free())
}

fn python() -> PathBuf {
    tool("python/bin/python")
}

#[test]
fn pythons_http_server_lives_by_bind_interception() {
    let (skep, port) = here();
    let start = Start::fixture("py", "server.py").args(["--port", &port.number().to_string()]);
    check(&skep, &port, start);
}

#[test]
fn uvicorn_lives_by_bind_interception() {
    let (skep, port) = here();
    let start = Start::program("asgi", tool("python/bin/uvicorn")).flags(["--interpreter"]).flags([python()]);
    let start = start.flags(["--cwd"]).flags([fixtures()]);
    check(&skep, &port, start.args(["asgi:app", "--port", &port.number().to_string()]));
}

#[test]
fn uvicorn_lives_on_a_socket_handed_over() {
    let (skep, port) = here();
    let start = Start::program("asgi", tool("python/bin/uvicorn")).flags(["--interpreter"]).flags([python()]);
    let start = start.flags(["--cwd"]).flags([fixtures()]).flags(["--listen", &port.number().to_string()]);
    check(&skep, &port, start.args(["asgi:app", "--fd", "3"]));
}

#[test]
fn gunicorn_lives_by_bind_interception() {
    let (skep, port) = here();
    let start =
        Start::program("wsgi", tool("python/bin/gunicorn")).flags(["--interpreter"]).flags([python()]);
    let start = start.flags(["--cwd"]).flags([fixtures()]);
    check(&skep, &port, start.args(["-b", &format!("0.0.0.0:{}", port.number()), "wsgi:app"]));
}

#[test]
fn gunicorn_lives_on_a_socket_handed_over() {
    let (skep, port) = here();
    let start =
        Start::program("wsgi", tool("python/bin/gunicorn")).flags(["--interpreter"]).flags([python()]);
    let start = start.flags(["--cwd"]).flags([fixtures()]).flags(["--listen", &port.number().to_string()]);
    check(&skep, &port, start.args(["wsgi:app"]));
}

#[test]
fn bun_serve_lives() {
    let (skep, port) = here();
    check(&skep, &port, Start::fixture("bun", "bun.ts").flags(["--interpreter"]).flags([tool("bin/bun")]));
}

#[test]
fn deno_serve_lives() {
    let (skep, port) = here();
    let start = Start::fixture("deno", "deno.ts").flags(["--interpreter"]).flags([tool("bin/deno")]);
    check(&skep, &port, start.flags(["--interpreter-args=run --allow-net --allow-env"]));
}

#[test]
fn a_static_c_program_lives() {
    let (skep, port) = here();
    let program = compiled(skep.root());
    check(&skep, &port, Start::program("c", program));
}

fn compiled(folder: &Path) -> PathBuf {
    let program = folder.join("static");
    let built =
        Command::new("gcc").args(["-static", "-O1", "-o"]).arg(&program).arg(fixture("static.c")).status();
    assert!(built.is_ok_and(|status| status.success()), "gcc -static works");
    program
}

#[test]
fn a_rust_program_lives_by_socket_activation() {
    let (skep, port) = here();
    // Cargo builds the examples of a package with its tests.
    let tests = std::env::current_exe().expect("a test knows its own file");
    let program = tests.ancestors().nth(2).expect("target/debug").join("examples/listenfd");
    let start = Start::program("rust", program).flags(["--listen", &format!("127.0.0.1:{}", port.number())]);
    check(&skep, &port, start);
}

#[test]
fn a_wrapper_around_node_lives_by_bind_interception() {
    let (skep, port) = here();
    let line = format!("true && exec node {}", fixture("http.cjs").display());
    check(&skep, &port, Start::program("shell", line));
}

#[test]
fn npm_start_is_seen_through() {
    let (skep, port) = here();
    let folder = skep.root().join("shop");
    std::fs::create_dir(&folder).expect("the folder is new");
    let script = fixture("http.cjs");
    let package =
        serde_json::json!({"name": "shop", "scripts": {"start": format!("node {}", script.display())}});
    std::fs::write(folder.join("package.json"), package.to_string()).expect("the folder is writable");
    check(&skep, &port, Start::program("shop", "npm start").flags(["--cwd"]).flags([folder]));
}

#[test]
fn a_program_that_binds_by_itself_counts_its_port_up() {
    let skep = Skep::new();
    let ports = neighbours();
    let start = Start::fixture("own", "http.cjs").port(ports[0].number()).instances(2);
    let app = skep.start(&start.flags(["--runtime", "self", "--increment-var", "PORT"]));
    for (port, pid) in ports.iter().zip(app.pids()) {
        // Nobody tells skep when a program that binds by itself listens.
        let answer =
            Deadline::until("each worker has a port of its own", || http::get(port.address(), "/").ok())
                .json();
        assert_eq!(answer["pid"], pid);
    }
}

/// Two ports side by side.
fn neighbours() -> [Port; 2] {
    let mut first = Port::free();
    loop {
        match Port::numbered(first.number() + 1) {
            Some(second) => return [first, second],
            None => first = Port::free(),
        }
    }
}
