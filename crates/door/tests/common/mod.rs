//! A door and a real redis-server, side by side, and a plain client for both.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use skep_state::{Options, Supervisor, WallMs};
use tempfile::TempDir;

/// Long enough for a machine under heavy load.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// An answer, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    Status(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Null,
    List(char, Vec<Answer>),
    Other(String),
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Status(text) | Self::Error(text) | Self::Other(text) => text.clone(),
            Self::Integer(number) => number.to_string(),
            Self::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Null => "(nil)".into(),
            Self::List(_, items) => {
                format!("[{}]", items.iter().map(Self::text).collect::<Vec<_>>().join(" "))
            }
        }
    }
}

/// A client that hides nothing.
pub(crate) struct Plain {
    stream: UnixStream,
    buffer: Vec<u8>,
    at: usize,
}

impl Plain {
    pub(crate) fn connect(path: &std::path::Path) -> Self {
        let stream = UnixStream::connect(path).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self { stream, buffer: Vec::new(), at: 0 }
    }

    pub(crate) fn send(&mut self, words: &[&[u8]]) {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            bytes.extend_from_slice(word);
            bytes.extend_from_slice(b"\r\n");
        }
        self.raw(&bytes);
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    pub(crate) fn ask(&mut self, words: &[&[u8]]) -> Answer {
        self.send(words);
        self.answer()
    }

    pub(crate) fn say(&mut self, line: &str) -> Answer {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        self.ask(&words)
    }

    fn more(&mut self) {
        assert!(self.try_more(), "the server has closed the connection");
    }

    /// Reads on; false if the connection has ended.
    fn try_more(&mut self) -> bool {
        let mut piece = [0; 65_536];
        let count = match self.stream.read(&mut piece) {
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
            other => other.expect("an answer in time"),
        };
        self.buffer.extend_from_slice(&piece[..count]);
        count > 0
    }

    /// The next answer of one line; `None` if the connection ends before.
    pub(crate) fn try_answer(&mut self) -> Option<Answer> {
        while !self.buffer[self.at..].windows(2).any(|two| two == b"\r\n") {
            if !self.try_more() {
                return None;
            }
        }
        Some(self.answer())
    }

    /// Whether the server has closed the connection.
    pub(crate) fn is_closed(&mut self) -> bool {
        matches!(self.stream.read(&mut [0; 1]), Ok(0))
    }

    fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer[self.at..].windows(2).position(|two| two == b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[self.at..self.at + end]).into_owned();
                self.at += end + 2;
                return line;
            }
            self.more();
        }
    }

    pub(crate) fn answer(&mut self) -> Answer {
        if self.at == self.buffer.len() {
            self.buffer.clear();
            self.at = 0;
        }
        let line = self.line();
        let (kind, rest) = line.split_at(1);
        let count = || rest.parse::<i64>().expect("a count");
        match kind {
            "+" => Answer::Status(rest.to_owned()),
            "-" => Answer::Error(rest.to_owned()),
            ":" => Answer::Integer(count()),
            "_" => Answer::Null,
            "$" | "=" if count() >= 0 => {
                let length = usize::try_from(count()).expect("not negative");
                while self.buffer.len() < self.at + length + 2 {
                    self.more();
                }
                let bytes = self.buffer[self.at..self.at + length].to_vec();
                self.at += length + 2;
                Answer::Bulk(bytes)
            }
            "*" | "~" | ">" | "%" if count() >= 0 => {
                let times = if kind == "%" { 2 } else { 1 };
                let items = (0..count() * times).map(|_| self.answer()).collect();
                Answer::List(kind.chars().next().expect("one letter"), items)
            }
            "$" | "*" => Answer::Null,
            _ => Answer::Other(line),
        }
    }
}

/// A door in a thread of this process, on a store of its own.
pub(crate) struct Door {
    pub(crate) socket: PathBuf,
    pub(crate) folder: TempDir,
    pub(crate) supervisor: Supervisor,
}

impl Door {
    pub(crate) fn open() -> Self {
        Self::with(&Options::default())
    }

    pub(crate) fn with(options: &Options) -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
        let now = WallMs(skep_sys::clock::wall_ns() / 1_000_000);
        let store = folder.path().join("store");
        let supervisor = Supervisor::open(&store, options, now).expect("a fresh store");
        let socket = folder.path().join("door.sock");
        let listener = UnixListener::bind(&socket).expect("a free path");
        let options =
            skep_door::Options { store, unix: vec![listener.into()], tcp: Vec::new(), password: None };
        std::thread::spawn(move || skep_door::serve(options));
        Self { socket, folder, supervisor }
    }

    pub(crate) fn client(&self) -> Plain {
        Plain::connect(&self.socket)
    }
}

/// A real redis-server.
pub(crate) struct Redis {
    pub(crate) socket: PathBuf,
    child: Child,
    folder: TempDir,
}

impl Redis {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("redis.sock");
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(&socket)
            .arg("--dir")
            .arg(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server: run `cargo xtask tools`");
        let mut redis = Self { socket, child, folder };
        redis.wait();
        redis
    }

    /// Until it answers: it makes its socket some time after it has begun.
    fn wait(&mut self) {
        while UnixStream::connect(&self.socket).is_err() {
            assert!(self.child.try_wait().expect("our child").is_none(), "redis-server has ended");
            std::thread::yield_now();
        }
    }

    pub(crate) fn client(&self) -> Plain {
        Plain::connect(&self.socket)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
