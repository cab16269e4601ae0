//! How fast a pump is: lines of 100 bytes through a pipe into a file, in CPU seconds of the pumping thread.
//!
//! `cargo run --release -p skep-logs --example throughput [directory] [million lines]`

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::{ClockId, clock_gettime};
use skep_logs::{
    Capture, DateFormat, FileSpec, Format, Framing, Keep, Moment, Progress, Rotation, Safe, Source, Stream,
};

const LINE_BYTES: usize = 100;

struct Case {
    name: &'static str,
    format: Format,
    framing: Framing,
    streams: u32,
    rotation: Option<Rotation>,
    followed: bool,
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().unwrap_or_else(|| "/dev/shm".into()));
    let lines = 1_000_000 * arguments.next().map_or(1, |n| n.parse().expect("millions of lines"));
    let raw = |name| Case {
        name,
        format: Format::Raw,
        framing: Framing::Exact,
        streams: 1,
        rotation: None,
        followed: false,
    };
    let time = || Format::Prefixed(DateFormat::new(DateFormat::TIME));
    println!("{:28} {:>8} {:>9} {:>9} {:>9}", "", "MB", "cpu s", "wall s", "MB/cpu s");
    for case in [
        raw("raw, own file"),
        Case { rotation: Some(Rotation::default()), ..raw("raw, own file, rotated+gzip") },
        Case { followed: true, ..raw("raw, own file, followed") },
        Case { framing: Framing::Lines, streams: 4, ..raw("raw, merged of 4") },
        Case { format: time(), ..raw("time prefix") },
        Case { format: Format::Json(None), ..raw("JSON") },
    ] {
        run(&case, &directory, lines);
    }
}

fn seconds(clock: ClockId) -> f64 {
    let at = clock_gettime(clock);
    at.tv_sec as f64 + at.tv_nsec as f64 / 1e9
}

fn now() -> Moment {
    let ns = |clock| {
        let at = clock_gettime(clock);
        at.tv_sec * 1_000_000_000 + at.tv_nsec
    };
    Moment { boot_ns: ns(ClockId::Boottime).unsigned_abs(), unix_ns: ns(ClockId::Realtime) }
}

/// Writes `lines` lines of 100 bytes, 64 KB at a time, as a busy program's stdout does.
fn write_lines(into: &OwnedFd, lines: usize) {
    let mut line = [b'x'; LINE_BYTES];
    line[LINE_BYTES - 1] = b'\n';
    let batch = line.repeat(655);
    let mut left = lines * LINE_BYTES;
    while left > 0 {
        left -= rustix::io::write(into, &batch[..left.min(batch.len())]).expect("write");
    }
}

fn run(case: &Case, directory: &Path, lines: usize) {
    let work = directory.join(format!("skep-logs-throughput-{}", std::process::id()));
    let zone = jiff::tz::TimeZone::UTC;
    let mut capture = Capture::open(Safe::create().expect("safe"), zone).expect("capture");
    let mut pipes = Vec::new();
    let mut writers = Vec::new();
    for worker in 1..=case.streams {
        let (pipe, into) = rustix::pipe::pipe().expect("pipe");
        let pipe = Arc::new(pipe);
        let spec = FileSpec {
            format: case.format.clone(),
            framing: case.framing,
            rotation: case.rotation.clone(),
            ..FileSpec::new(work.join("app-out.log"), "app".into())
        };
        let source = Source { app: "app".into(), slot: worker, worker, stream: Stream::Out };
        let id = capture.attach(source, Arc::clone(&pipe), &[spec]).expect("attach");
        pipes.push((id, pipe));
        let lines = lines / case.streams as usize;
        writers.push(std::thread::spawn(move || write_lines(&into, lines)));
    }
    if case.followed {
        capture.subscribe(|_| true, |chunk| if chunk.bytes.is_empty() { Keep::Stop } else { Keep::Going });
    }
    let (cpu, wall) = (seconds(ClockId::ThreadCPUTime), seconds(ClockId::Monotonic));
    while !pipes.is_empty() {
        let mut fds: Vec<_> = pipes.iter().map(|(_, pipe)| PollFd::new(pipe, PollFlags::IN)).collect();
        poll(&mut fds, None).expect("poll");
        let at = now();
        let ready: Vec<_> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        let mut ready = ready.into_iter();
        pipes.retain(|(id, _)| !ready.next().unwrap_or(false) || capture.pump(*id, at) != Progress::Ended);
        if capture.next_deadline().is_some_and(|due| due <= at.boot_ns) {
            capture.tick(at);
        }
    }
    let (cpu, wall) = (seconds(ClockId::ThreadCPUTime) - cpu, seconds(ClockId::Monotonic) - wall);
    let megabytes = (lines * LINE_BYTES) as f64 / 1e6;
    println!("{:28} {megabytes:8.0} {cpu:9.3} {wall:9.3} {:9.0}", case.name, megabytes / cpu);
    writers.into_iter().for_each(|writer| writer.join().expect("writer"));
    std::fs::remove_dir_all(work).expect("clean");
}
