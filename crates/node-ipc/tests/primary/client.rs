//! Strict clients: every request must be answered completely and correctly, on the connection it was sent on.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

/// What went well and what did not.
#[derive(Debug, Default)]
pub(crate) struct Score {
    pub(crate) answered: AtomicU64,
    pub(crate) failed: AtomicU64,
    /// Times that a keep-alive connection ended and another had to be opened.
    pub(crate) reconnects: AtomicU64,
    /// Answers that said `Connection: close`.
    pub(crate) farewells: AtomicU64,
}

/// How a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// One connection, one request at a time.
    KeepAlive,
    /// A connection a request.
    Short,
    /// One connection, this many requests at once, cut at odd places.
    Pipelined(usize),
    /// One connection, POST with a body that comes in pieces.
    Upload,
}

/// Clients in threads of their own.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) score: Arc<Score>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn start(port: u16, clients: &[(Manner, &'static str)]) -> Self {
        let score = Arc::new(Score::default());
        let stop = Arc::new(AtomicBool::new(false));
        let threads = clients.iter().map(|(manner, path)| {
            let (score, stop, manner, path) = (score.clone(), stop.clone(), *manner, *path);
            std::thread::spawn(move || run(port, manner, path, &score, &stop))
        });
        Self { threads: threads.collect(), score, stop }
    }

    pub(crate) fn answered(&self) -> u64 {
        self.score.answered.load(Ordering::Relaxed)
    }

    pub(crate) fn stop(self) -> Arc<Score> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("clients do not panic");
        }
        self.score
    }
}

fn run(port: u16, manner: Manner, path: &str, score: &Score, stop: &AtomicBool) {
    let mut connection: Option<Connection> = None;
    let mut first = true;
    while !stop.load(Ordering::Relaxed) {
        let mut open = match connection.take() {
            Some(open) => open,
            None => {
                if !first && manner != Manner::Short {
                    score.reconnects.fetch_add(1, Ordering::Relaxed);
                }
                first = false;
                match Connection::open(port) {
                    Ok(open) => open,
                    Err(error) => {
                        eprintln!("{manner:?}: connect: {error}");
                        score.failed.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                }
            }
        };
        match open.ask(manner, path) {
            Ok((answered, goes_on)) => {
                score.answered.fetch_add(answered, Ordering::Relaxed);
                if goes_on && manner != Manner::Short {
                    connection = Some(open);
                } else if manner != Manner::Short {
                    score.farewells.fetch_add(1, Ordering::Relaxed);
                }
            }
            Err(error) => {
                eprintln!("{manner:?} {path}: {error}");
                score.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// A connection with what was read and not used.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    rest: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(port: u16) -> std::io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(std::time::Duration::from_secs(30)))?;
        Ok(Self { stream, rest: Vec::new() })
    }

    /// Sends what the manner wants and reads every answer; false when the connection is to be closed.
    pub(crate) fn ask(&mut self, manner: Manner, path: &str) -> Result<(u64, bool), String> {
        let get = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        match manner {
            Manner::KeepAlive => {
                self.send(get.as_bytes())?;
                Ok((1, self.answer(None)?))
            }
            Manner::Short => {
                self.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes())?;
                self.answer(None)?;
                // The server's own FIN must come too.
                let _ = self.stream.shutdown(Shutdown::Write);
                Ok((1, false))
            }
            Manner::Pipelined(depth) => {
                let all = get.repeat(depth);
                // The last request comes in two pieces, so that the parser often holds a part of a message.
                let cut = all.len() - get.len() / 2;
                self.send(&all.as_bytes()[..cut])?;
                self.answer(None)?;
                self.send(&all.as_bytes()[cut..])?;
                let mut goes_on = true;
                for _ in 1..depth {
                    goes_on = self.answer(None)?;
                }
                Ok((depth as u64, goes_on))
            }
            Manner::Upload => {
                let body = "0123456789".repeat(3_000);
                let head =
                    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
                self.send(head.as_bytes())?;
                for piece in body.as_bytes().chunks(7_001) {
                    self.send(piece)?;
                    std::thread::yield_now();
                }
                Ok((1, self.answer(Some(&body.len().to_string()))?))
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.write_all(bytes).map_err(|error| format!("send: {error}"))
    }

    /// Reads one answer; `expected` is its body, else any body of the promised length that ends in `\n`.
    fn answer(&mut self, expected: Option<&str>) -> Result<bool, String> {
        let head_end = loop {
            if let Some(at) = self.rest.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.more("head")?;
        };
        let head = String::from_utf8_lossy(&self.rest[..head_end]).to_ascii_lowercase();
        if !head.starts_with("http/1.1 200 ") {
            return Err(format!("status: {head}"));
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.and_then(|length| length.parse().ok()).ok_or("no content-length")?;
        while self.rest.len() < head_end + length {
            self.more("body")?;
        }
        let body = &self.rest[head_end..head_end + length];
        let right = match expected {
            Some(expected) => body == expected.as_bytes(),
            None => body.ends_with(b"\n"),
        };
        if !right {
            return Err(format!("wrong body of {length} bytes"));
        }
        self.rest.drain(..head_end + length);
        Ok(!head.contains("connection: close"))
    }

    fn more(&mut self, what: &str) -> Result<(), String> {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => {
                Err(format!("the connection ended in an answer's {what} after {} bytes", self.rest.len()))
            }
            Ok(length) => {
                self.rest.extend_from_slice(&chunk[..length]);
                Ok(())
            }
            Err(error) => Err(format!("{what}: {error}")),
        }
    }
}
