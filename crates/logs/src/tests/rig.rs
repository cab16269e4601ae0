//! A daemon and a keeper in one test: pipes, a capture, a clock.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use jiff::tz::TimeZone;

use crate::{
    Capture, DateFormat, Event, FileSpec, Format, Moment, Notice, Progress, Safe, Source, Stream, StreamId,
};

/// 2026-01-01T00:00:00Z.
pub(crate) const START_UNIX_NS: i64 = 1_767_225_600_000_000_000;

pub(crate) struct Worker {
    pub(crate) source: Source,
    pub(crate) files: Vec<FileSpec>,
    pub(crate) pipe: Arc<OwnedFd>,
    pub(crate) into: Option<OwnedFd>,
    ended: bool,
}

pub(crate) struct Rig {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) now: Moment,
    pub(crate) workers: Vec<Worker>,
    pub(crate) notices: Vec<Notice>,
    safe: Safe,
    capture: Option<Capture>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::over(Safe::create().expect("safe"))
    }

    /// With a stage of one page, as a user gets who has too many pipes.
    pub(crate) fn with_small_stage() -> Self {
        let safe = Safe::create().expect("safe");
        rustix::pipe::fcntl_setpipe_size(&safe.stage_in, 4096).expect("shrink");
        Self::over(safe)
    }

    fn over(safe: Safe) -> Self {
        let capture = Capture::open(safe.try_clone().expect("clone"), TimeZone::UTC).expect("capture");
        Self {
            dir: tempfile::tempdir().expect("tempdir"),
            now: Moment { boot_ns: 1_000_000_000, unix_ns: START_UNIX_NS },
            workers: Vec::new(),
            notices: Vec::new(),
            safe,
            capture: Some(capture),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn spec(&self, name: &str) -> FileSpec {
        FileSpec::new(self.path(name), Arc::from("app"))
    }

    pub(crate) fn capture(&mut self) -> &mut Capture {
        self.capture.as_mut().expect("alive")
    }

    /// A new worker's stream; answers its number.
    pub(crate) fn worker(&mut self, files: &[FileSpec]) -> usize {
        let at = self.workers.len();
        let (pipe, into) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("pipe");
        let number = u32::try_from(at).expect("few");
        let source = Source { app: Arc::from("app"), slot: number, worker: number + 1, stream: Stream::Out };
        let pipe = Arc::new(pipe);
        self.capture().attach(source.clone(), Arc::clone(&pipe), files).expect("attach");
        self.workers.push(Worker { source, files: files.to_vec(), pipe, into: Some(into), ended: false });
        at
    }

    pub(crate) fn id(&self, worker: usize) -> StreamId {
        self.workers[worker].source.id()
    }

    /// The worker writes, without blocking; answers how much its pipe took.
    pub(crate) fn write_some(&mut self, worker: usize, bytes: &[u8]) -> usize {
        let into = self.workers[worker].into.as_ref().expect("still writing");
        let flags = rustix::fs::OFlags::NONBLOCK;
        rustix::fs::fcntl_setfl(into.as_fd(), flags).expect("fcntl");
        rustix::io::write(into, bytes).unwrap_or(0)
    }

    /// The worker writes all, pumping when its pipe is full.
    pub(crate) fn write(&mut self, worker: usize, bytes: &[u8]) {
        let mut written = 0;
        while written < bytes.len() {
            let more = self.write_some(worker, &bytes[written..]);
            written += more;
            if more == 0 {
                self.pump(worker);
            }
        }
    }

    pub(crate) fn pump(&mut self, worker: usize) -> Progress {
        let (id, now) = (self.id(worker), self.now);
        let progress = loop {
            let progress = self.capture().pump(id, now);
            if progress != Progress::More {
                break progress;
            }
        };
        self.take_events();
        progress
    }

    /// Runs until nothing is due at the present time.
    pub(crate) fn settle(&mut self) {
        for worker in 0..self.workers.len() {
            self.pump(worker);
        }
        let now = self.now;
        while self.capture().next_deadline().is_some_and(|at| at <= now.boot_ns) {
            self.capture().tick(now);
        }
        self.take_events();
    }

    pub(crate) fn pass(&mut self, nanoseconds: u64) {
        self.now.boot_ns += nanoseconds;
        self.now.unix_ns += i64::try_from(nanoseconds).expect("short");
        self.settle();
    }

    /// The worker exits.
    pub(crate) fn exit(&mut self, worker: usize) {
        self.workers[worker].into = None;
    }

    pub(crate) fn take_events(&mut self) {
        while let Some(event) = self.capture().next_event() {
            match event {
                Event::Ended(id) => {
                    self.workers.iter_mut().filter(|w| w.source.id() == id).for_each(|w| w.ended = true);
                }
                Event::Notice(notice) => self.notices.push(notice),
            }
        }
    }

    pub(crate) fn ended(&self, worker: usize) -> bool {
        self.workers[worker].ended
    }

    /// The daemon dies and another takes over what the keeper holds.
    pub(crate) fn restart(&mut self) {
        self.capture = None;
        let safe = self.safe.try_clone().expect("clone");
        let mut capture = Capture::open(safe, TimeZone::UTC).expect("capture");
        for worker in self.workers.iter().filter(|worker| !worker.ended) {
            capture
                .attach(worker.source.clone(), Arc::clone(&worker.pipe), &worker.files)
                .expect("attach again");
        }
        self.capture = Some(capture);
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_default()
    }

    /// The file and its rotated ones, from old to new.
    pub(crate) fn read_all(&self, name: &str) -> Vec<u8> {
        use std::io::Read as _;
        let live = self.path(name);
        let rotated = crate::rotated::find(&[(&live, None)]).expect("find").remove(0);
        let mut bytes = Vec::new();
        for file in &rotated {
            let twice = rotated.iter().filter(|other| other.age == file.age).count() > 1;
            match file.state {
                crate::rotated::State::Plain => bytes.extend(std::fs::read(&file.path).expect("read")),
                crate::rotated::State::Compressed(codec) if !twice => {
                    let file = std::fs::File::open(&file.path).expect("open");
                    codec.decoder(file).expect("decoder").read_to_end(&mut bytes).expect("whole");
                }
                crate::rotated::State::Compressed(_) | crate::rotated::State::Part => {}
            }
        }
        bytes.extend(std::fs::read(live).unwrap_or_default());
        bytes
    }
}

/// The workers' own lines in a file's bytes.
pub(crate) fn lines(bytes: &[u8], format: &Format) -> Vec<Vec<u8>> {
    let behind = |line: &[u8], mark: &[u8]| {
        let at = memchr::memmem::find(line, mark).expect("a prefix");
        line[at + mark.len()..].to_vec()
    };
    let own = |line: &[u8]| match format {
        Format::Raw => line.to_vec(),
        Format::Prefixed(_) => behind(line, b": "),
        Format::Pairs(_) => behind(line, b" message="),
        Format::Named => behind(line, b" | "),
        Format::Json(_) => {
            let object: serde_json::Value =
                serde_json::from_slice(line).unwrap_or_else(|e| panic!("{e}: {}", line.escape_ascii()));
            match object["message_base64"].as_str() {
                Some(exact) => base64::engine::general_purpose::STANDARD.decode(exact).expect("base64"),
                None => object["message"].as_str().expect("a message").as_bytes().to_vec(),
            }
        }
    };
    bytes
        .split_inclusive(|&byte| byte == b'\n')
        .map(|line| own(line.strip_suffix(b"\n").expect("a whole line")))
        .collect()
}

/// Lines `w<worker>:<number>:<filler>` by worker.
pub(crate) fn by_worker(lines: &[Vec<u8>]) -> BTreeMap<usize, Vec<Vec<u8>>> {
    let mut all: BTreeMap<usize, Vec<Vec<u8>>> = BTreeMap::new();
    for line in lines {
        let worker =
            line.strip_prefix(b"w").and_then(|rest| rest.first()).map(|digit| usize::from(digit - b'0'));
        all.entry(worker.unwrap_or_else(|| panic!("{}", line.escape_ascii())))
            .or_default()
            .push(line.clone());
    }
    all
}

pub(crate) fn time_format() -> Format {
    Format::Prefixed(DateFormat::new(DateFormat::TIME))
}
