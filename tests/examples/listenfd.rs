//! A Rust server that takes its listening socket by socket activation (`LISTEN_FDS`), as systemd hands it over.
//! A fixture app of the end-to-end tests: it knows nothing of skep.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::ExitCode;

use listenfd::ListenFd;

fn main() -> ExitCode {
    let listener: TcpListener = match ListenFd::from_env().take_tcp_listener(0) {
        Ok(Some(listener)) => listener,
        Ok(None) => {
            eprintln!("no listening socket was handed over (LISTEN_FDS, LISTEN_PID)");
            return ExitCode::FAILURE;
        }
        Err(error) => {
            eprintln!("the socket handed over is none to listen on: {error}");
            return ExitCode::FAILURE;
        }
    };
    listener.set_nonblocking(false).expect("a socket can be made blocking");
    for connection in listener.incoming() {
        let Ok(mut connection) = connection else { continue };
        let mut request = [0; 4096];
        let Ok(got) = connection.read(&mut request) else { continue };
        if request[..got].starts_with(b"GET /crash") {
            return ExitCode::FAILURE;
        }
        let body = format!("{{\"pid\":{}}}", std::process::id());
        let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        // A client that went away is no reason to stop serving the others.
        drop(connection.write_all(format!("{head}{body}").as_bytes()));
    }
    ExitCode::SUCCESS
}
