//! A daemon that is really SIGKILLed, again and again, at random instants, while workers write.
//!
//! The test is the keeper: it holds the pipes and the [`Safe`]. The daemon is this binary once more, which opens them
//! through `/proc/<keeper>/fd`. Afterwards every worker's lines must be in the files: each once, whole, in order.
//! `SKEP_KILLS=5000 cargo test -p skep-logs --test sigkill` kills more often.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use skep_logs::{
    Capture, DateFormat, FileSpec, Format, Framing, Line, Moment, Progress, Rotation, Safe, Source, Stream,
    Tail, TailSource,
};

const KEEPER: &str = "SKEP_LOGS_TEST_KEEPER";
const WORKERS: u32 = 3;
/// Kills a case, unless `SKEP_KILLS` says otherwise.
const KILLS: u32 = 250;
/// A daemon lives up to so long: it needs some of it to start, so that recovery is killed too.
const LIFE_US: u64 = 9_000;
/// The last daemon has a few hundred kilobytes to do; one that takes so long never ends.
const LAST_DAEMON_AT_MOST: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };

/// Time stands still, so that no line stalls however busy the machine is; deadlines at once are still met.
const NOW: Moment = Moment { boot_ns: 1, unix_ns: 1_767_225_600_000_000_000 };

fn time_format() -> Format {
    Format::Prefixed(DateFormat::new("YYYY-MM-DD HH:mm:ss.SSS"))
}

/// The files of a worker, by the case's name.
fn files(case: &str, directory: &Path, worker: u32) -> Vec<FileSpec> {
    let keep_all = Rotation {
        max_bytes: 300_000,
        count: u32::MAX,
        total_bytes: u64::MAX,
        compress: None,
        ..Rotation::default()
    };
    let file = |name: &str, format, framing, rotation| FileSpec {
        format,
        framing,
        rotation,
        ..FileSpec::new(directory.join(name), "app".into())
    };
    let own = format!("{worker}.log");
    match case {
        "own" => vec![file(&own, Format::Raw, Framing::Exact, Some(keep_all))],
        "merged" => vec![file("all.log", Format::Raw, Framing::Lines, Some(keep_all))],
        "time" => vec![file("all.log", time_format(), Framing::Lines, Some(keep_all))],
        "both" => vec![
            file(&own, Format::Raw, Framing::Exact, None),
            file("all.log", Format::Json(None), Framing::Lines, Some(keep_all)),
        ],
        _ => panic!("no case {case}"),
    }
}

// === The daemon ===

/// Not a test of its own: the daemon that the others kill.
#[test]
fn daemon() {
    let Ok(told) = std::env::var(KEEPER) else { return };
    let mut told = told.split(' ');
    let mut next = || told.next().expect("an argument").to_owned();
    let (case, directory, keeper) = (next(), PathBuf::from(next()), next());
    let mut open = |write: bool| -> OwnedFd {
        let path = format!("/proc/{keeper}/fd/{}", next());
        let file = File::options().read(!write).write(write).open(&path);
        file.unwrap_or_else(|e| panic!("{path}: {e}")).into()
    };
    let (stage_out, stage_in) = (open(false), open(true));
    let pipes: Vec<Arc<OwnedFd>> = (0..WORKERS).map(|_| Arc::new(open(false))).collect();
    let journal = File::options().read(true).write(true).open(format!("/proc/{keeper}/fd/{}", next()));
    let safe = Safe { journal: journal.expect("journal").into(), stage_out, stage_in };
    let mut capture = Capture::open(safe, jiff::tz::TimeZone::UTC).expect("capture");
    let watch = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
    let mut streams = BTreeMap::new();
    for (worker, pipe) in (1..).zip(pipes) {
        let source = Source { app: "app".into(), slot: worker, worker, stream: Stream::Out };
        let files = files(&case, &directory, worker);
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&watch, &pipe, epoll::EventData::new_u64(worker.into()), flags).expect("add");
        streams.insert(u64::from(worker), capture.attach(source, pipe, &files).expect("attach"));
    }
    let mut ready: Vec<u64> = streams.keys().copied().collect();
    while !streams.is_empty() {
        for worker in std::mem::take(&mut ready) {
            let Some(&stream) = streams.get(&worker) else { continue };
            match capture.pump(stream, NOW) {
                Progress::More => ready.push(worker),
                Progress::Ended => drop(streams.remove(&worker)),
                Progress::Idle | Progress::Waiting => {}
            }
        }
        capture.tick(NOW);
        while let Some(event) = capture.next_event() {
            if let skep_logs::Event::Ended(ended) = event {
                streams.retain(|_, stream| *stream != ended);
            }
        }
        let due = !ready.is_empty() || capture.next_deadline().is_some_and(|at| at <= NOW.boot_ns);
        if !streams.is_empty() {
            let mut events = Vec::with_capacity(8);
            let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
            let timeout = due.then_some(&at_once);
            epoll::wait(&watch, rustix::buffer::spare_capacity(&mut events), timeout).expect("wait");
            ready.extend(events.iter().map(|event| event.data.u64()));
        }
    }
}

// === The keeper ===

/// xorshift64: enough for lengths and instants.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Line `number` of `worker`: mostly short, now and then too long to rest in a pipe.
fn line(worker: u32, number: u64) -> Vec<u8> {
    let mut random = Random(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    random.below(2);
    let length = match random.below(400) {
        0 => 20_000 + random.below(60_000),
        1..20 => random.below(5_000),
        _ => random.below(120),
    };
    let mut line = format!("{worker}:{number}:").into_bytes();
    let letters = (0..length).map(|at| b'a' + u8::try_from((at + number) % 26).expect("a letter"));
    line.extend(letters);
    line.push(b'\n');
    line
}

/// Waits for `microseconds`; nothing is awaited, the instant itself is what is wanted.
fn pause(microseconds: u64) {
    let span = Timespec { tv_sec: 0, tv_nsec: i64::try_from(microseconds * 1_000).expect("short") };
    let _ = poll(&mut [], Some(&span));
}

/// Writes lines in pieces of any size until told to stop; answers how many.
fn work(worker: u32, into: OwnedFd, stop: &AtomicBool) -> u64 {
    let mut into = File::from(into);
    let mut random = Random(u64::from(worker) + 77);
    let (mut number, mut bytes) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        while bytes.len() < 3_000 {
            bytes.extend(line(worker, number));
            number += 1;
        }
        let piece = usize::try_from(random.below(3_000)).expect("small") + 1;
        let piece = piece.min(bytes.len());
        into.write_all(&bytes[..piece]).expect("write");
        bytes.drain(..piece);
        pause(random.below(200));
    }
    // The last line stays unfinished for one of them.
    bytes.truncate(if worker == 1 { bytes.len() - 1 } else { bytes.len() });
    into.write_all(&bytes).expect("write");
    number
}

fn spawn(case: &str, directory: &Path, fds: &str) -> Child {
    let me = std::process::id();
    Command::new(std::env::current_exe().expect("own path"))
        .args(["--exact", "daemon", "--nocapture", "--test-threads=1"])
        .env(KEEPER, format!("{case} {} {me} {fds}", directory.display()))
        .stdout(Stdio::null())
        .spawn()
        .expect("spawn")
}

fn ends_well(mut daemon: Child) -> bool {
    let pid = rustix::process::Pid::from_child(&daemon);
    let watch = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).expect("pidfd");
    let mut fds = [PollFd::new(&watch, PollFlags::IN)];
    if poll(&mut fds, Some(&LAST_DAEMON_AT_MOST)).expect("poll") == 0 {
        daemon.kill().expect("kill");
    }
    daemon.wait().expect("wait").success()
}

fn check(case: &str) {
    let directory = tempfile::tempdir().expect("tempdir");
    let safe = Safe::create().expect("safe");
    let stop = AtomicBool::new(false);
    let (mut pipes, mut inputs) = (Vec::new(), Vec::new());
    for _ in 0..WORKERS {
        let (out, into) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("pipe");
        pipes.push(out);
        inputs.push(into);
    }
    let fds = [&safe.stage_out, &safe.stage_in].into_iter().chain(&pipes).chain([&safe.journal]);
    let fds: Vec<String> = fds.map(|fd| fd.as_raw_fd().to_string()).collect();
    let fds = fds.join(" ");
    let kills = std::env::var("SKEP_KILLS").map_or(KILLS, |n| n.parse().expect("SKEP_KILLS: a number"));
    let mut random = Random(0x5eed ^ u64::from(std::process::id()) << 20 | 1);
    let mut counts = Vec::new();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (1..)
            .zip(inputs)
            .map(|(worker, into)| {
                let stop = &stop;
                scope.spawn(move || work(worker, into, stop))
            })
            .collect();
        for _ in 0..kills {
            let mut daemon = spawn(case, directory.path(), &fds);
            pause(random.below(LIFE_US));
            daemon.kill().expect("kill");
            daemon.wait().expect("wait");
        }
        stop.store(true, Ordering::Relaxed);
        let finished = ends_well(spawn(case, directory.path(), &fds));
        // Without readers the workers end too, whatever went wrong.
        drop(std::mem::take(&mut pipes));
        assert!(finished, "{case}: the last daemon did not finish");
        counts = workers.into_iter().map(|worker| worker.join().expect("worker")).collect();
    });
    let mut seen = BTreeMap::new();
    let specs = (1..=WORKERS).flat_map(|worker| files(case, directory.path(), worker));
    for spec in specs {
        seen.entry(spec.path.clone()).or_insert_with(|| verify(case, &spec, &counts));
    }
    let bytes: u64 = seen.values().sum();
    println!(
        "{case}: {kills} kills, {} lines, {} MB in files",
        counts.iter().sum::<u64>(),
        bytes / 1_000_000
    );
    assert!(counts.iter().all(|lines| *lines > u64::from(kills)), "{case}: {counts:?} are too few lines");
}

/// Every line of every worker that writes there is in the file once, whole and in order.
fn verify(case: &str, spec: &FileSpec, counts: &[u64]) -> u64 {
    let mut next: BTreeMap<u32, u64> = BTreeMap::new();
    let mut bytes = 0;
    let source = TailSource {
        path: spec.path.clone(),
        format: spec.format.clone(),
        rotated: None,
        app: "app".into(),
        slot: None,
        stream: None,
    };
    for read in Tail::open(source, u64::MAX, &jiff::tz::TimeZone::UTC).expect("open") {
        let Line { mut text, raw, .. } = read.expect("read");
        bytes += raw.len() as u64 + 1;
        let worker =
            text.iter().take_while(|b| b.is_ascii_digit()).fold(0, |n, b| n * 10 + u32::from(b - b'0'));
        let number = next.entry(worker).or_default();
        text.push(b'\n');
        let brief = text[..text.len().min(80)].escape_ascii();
        assert!(text == line(worker, *number), "{case}: line {number} of worker {worker} is {brief}");
        *number += 1;
    }
    for (worker, lines) in next {
        assert_eq!(lines, counts[worker as usize - 1], "{case}: lines of worker {worker}");
    }
    bytes
}

#[test]
fn files_of_one_worker_lose_nothing_to_sigkill() {
    check("own");
}

#[test]
fn a_merged_file_loses_nothing_to_sigkill() {
    check("merged");
}

#[test]
fn dated_lines_lose_nothing_to_sigkill() {
    check("time");
}

#[test]
fn two_files_at_once_lose_nothing_to_sigkill() {
    check("both");
}

/// The reader above must not be what makes this pass: the bytes on disk are the lines too.
#[test]
fn the_lines_of_this_test_are_what_they_should_be() {
    let bytes = [line(1, 0), line(1, 1)].concat();
    let lines: Vec<String> = BufReader::new(&bytes[..]).lines().map(|line| line.expect("text")).collect();
    assert!(lines[0].starts_with("1:0:") && lines[1].starts_with("1:1:"));
}
