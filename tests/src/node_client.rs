//! Clients in Node, for what the strict client does not speak: they count for themselves.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::ports::Port;
use crate::tools::{fixture, node};

/// The Node that clients run on, whatever the app's is.
const NODE: u32 = 22;

/// One program of `tests/fixtures/clients` at work; killed when dropped.
#[derive(Debug)]
pub struct NodeClient {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl NodeClient {
    /// So many requests at a time on one HTTP/2 session.
    pub fn http2(port: &Port, streams: usize) -> Self {
        let certificate = fixture("https/cert.pem").display().to_string();
        Self::start("http2.js", &[&port.number().to_string(), &certificate, &streams.to_string()])
    }

    /// So many WebSockets to a `ws:` or `wss:` address.
    pub fn websockets(scheme: &str, port: &Port, count: usize) -> Self {
        Self::start("ws-many.js", &[&format!("{scheme}://localhost:{}/", port.number()), &count.to_string()])
    }

    fn start(file: &str, args: &[&str]) -> Self {
        let mut child = Command::new(node(NODE).bin.join("node"))
            .arg(fixture(&format!("clients/{file}")))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Node runs");
        let lines = BufReader::new(child.stdout.take().expect("its output is a pipe")).lines();
        Self { child, lines }
    }

    /// Some more answers.
    ///
    /// # Panics
    /// When the client has ended.
    pub fn wait(&mut self) {
        let stdin = self.child.stdin.as_mut().expect("its input is open");
        stdin.write_all(b"more\n").expect("it lives");
        let line = self.lines.next().expect("it goes on until its input ends").expect("it is text");
        assert_eq!(line, "more");
    }

    /// Its report.
    ///
    /// # Panics
    /// When it fails or says something else.
    pub fn finish(mut self) -> Value {
        drop(self.child.stdin.take());
        let last = (&mut self.lines).map(|line| line.expect("it is text")).last().expect("its report");
        assert!(self.child.wait().is_ok_and(|status| status.success()), "{last}");
        serde_json::from_str(&last).unwrap_or_else(|error| panic!("{error}: {last}"))
    }
}

impl Drop for NodeClient {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
