//! An upstream that gives tokens of which only the last one is valid, and that can be slow, failing, or silent.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// With a new token.
    Well,
    /// With a status of 500.
    Failing,
    /// Never; the caller's connection stays open.
    Silent,
}

#[derive(Debug)]
struct Shared {
    mood: Mood,
    calls: u64,
    tell: Option<mpsc::Sender<u32>>,
    /// Connections of those that get no answer.
    held: Vec<TcpStream>,
}

/// The server.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

impl Upstream {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Shared { mood: Mood::Well, calls: 0, tell: None, held: Vec::new() };
        let upstream = Self { address, shared: Arc::new(Mutex::new(shared)) };
        let server = upstream.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                // A caller that is killed in the middle is what some tests are about.
                std::thread::spawn(move || drop(server.serve(stream)));
            }
        });
        upstream
    }

    fn with<R>(&self, f: impl FnOnce(&mut Shared) -> R) -> R {
        f(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How it answers from now on.
    pub(crate) fn feel(&self, mood: Mood) {
        self.with(|shared| shared.mood = mood);
    }

    /// How many calls there were.
    pub(crate) fn calls(&self) -> u64 {
        self.with(|shared| shared.calls)
    }

    /// The token that is valid now.
    pub(crate) fn valid(&self) -> String {
        format!("token-{}", self.calls())
    }

    /// Which workers call from now on.
    pub(crate) fn callers(&self) -> mpsc::Receiver<u32> {
        let (tell, callers) = mpsc::channel();
        self.with(|shared| shared.tell = Some(tell));
        callers
    }

    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut worker = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some(id) = line.to_ascii_lowercase().strip_prefix("worker:") {
                worker = id.trim().parse().unwrap_or(0);
            }
            if line == "\r\n" {
                break;
            }
        }
        let (mood, call) = self.with(|shared| {
            shared.calls += 1;
            if let Some(tell) = &shared.tell {
                // The test may have heard enough.
                let _ = tell.send(worker);
            }
            (shared.mood, shared.calls)
        });
        let body = format!(r#"{{"access_token":"token-{call}","expires_in":3600}}"#);
        let status = match mood {
            Mood::Well => "200 OK",
            Mood::Failing => "500 Internal Server Error",
            Mood::Silent => {
                self.with(|shared| shared.held.push(stream));
                return Ok(());
            }
        };
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n");
        stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
    }
}
