//! The daemon's stream of events, which is what the tests wait on.

use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::deadline::{Deadline, LIMIT};
use crate::http::{self, Body};
use crate::view::Event;

/// How long one read waits: facts that no event tells are looked at again after this.
const PATIENCE: Duration = Duration::from_millis(50);

/// Events as they come; survives the daemon.
#[derive(Debug)]
pub struct Events {
    socket: PathBuf,
    lines: Option<BufReader<Body>>,
    line: Vec<u8>,
}

impl Events {
    /// Subscribes: what happens from now on is seen.
    pub fn follow(socket: &Path) -> Self {
        let mut events = Self { socket: socket.to_owned(), lines: None, line: Vec::new() };
        events.connect();
        events
    }

    fn connect(&mut self) {
        self.line.clear();
        self.lines = http::stream_unix(&self.socket, "/v1/events?follow=true", PATIENCE).ok();
    }

    /// The next event, or none after a moment's quiet: a reason to look again at whatever is waited for.
    pub fn next_or_quiet(&mut self) -> Option<Event> {
        let Some(lines) = &mut self.lines else {
            // The daemon is not there: nothing tells when it will be.
            std::thread::park_timeout(PATIENCE);
            self.connect();
            return None;
        };
        match lines.read_until(b'\n', &mut self.line) {
            Ok(count) if count > 0 && self.line.ends_with(b"\n") => {
                let event = serde_json::from_slice(&self.line);
                let text = String::from_utf8_lossy(&self.line).into_owned();
                self.line.clear();
                Some(event.unwrap_or_else(|error| panic!("{error} in the event {text}")))
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => None,
            Ok(_) | Err(_) => {
                self.lines = None;
                None
            }
        }
    }

    /// Waits for an event.
    ///
    /// # Panics
    /// When it does not come within the limit; the message says what was waited for and what came instead.
    pub fn wait(&mut self, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        let deadline = Deadline::after(LIMIT);
        let mut seen = Vec::new();
        loop {
            if let Some(event) = self.next_or_quiet() {
                if wanted(&event) {
                    return event;
                }
                seen.push(event.message);
            }
            assert!(!deadline.has_passed(), "no event in {LIMIT:?}: {what}; there were {seen:#?}");
        }
    }
}
