//! What others do to our files.

use super::rig::Rig;
use crate::{FileSpec, Format, Framing};

const SECOND_NS: u64 = 1_000_000_000;

fn one_worker(rig: &mut Rig) -> usize {
    let spec = FileSpec { rotation: None, ..rig.spec("logs/a.log") };
    let worker = rig.worker(&[spec]);
    rig.write(worker, b"one\n");
    rig.pump(worker);
    worker
}

#[test]
fn a_truncated_file_is_written_from_its_start() {
    let mut rig = Rig::new();
    let worker = one_worker(&mut rig);
    std::fs::write(rig.path("logs/a.log"), "").expect("truncate");
    rig.write(worker, b"two\n");
    rig.pump(worker);
    assert_eq!(rig.read("logs/a.log"), b"two\n");
}

#[test]
fn what_others_append_is_not_overwritten() {
    use std::io::Write as _;
    let mut rig = Rig::new();
    let worker = one_worker(&mut rig);
    let mut other = std::fs::OpenOptions::new().append(true).open(rig.path("logs/a.log")).expect("open");
    other.write_all(b"someone\n").expect("write");
    rig.write(worker, b"two\n");
    rig.pump(worker);
    assert_eq!(rig.read("logs/a.log"), b"one\nsomeone\ntwo\n");
}

#[test]
fn a_removed_file_and_a_removed_directory_are_made_again() {
    let mut rig = Rig::new();
    let worker = one_worker(&mut rig);
    std::fs::remove_file(rig.path("logs/a.log")).expect("remove");
    rig.write(worker, b"two\n");
    rig.pump(worker);
    assert_eq!(rig.read("logs/a.log"), b"two\n");
    std::fs::remove_dir_all(rig.path("logs")).expect("remove");
    rig.write(worker, b"three\n");
    rig.pump(worker);
    assert_eq!(rig.read("logs/a.log"), b"three\n");
    assert_eq!(rig.notices, []);
}

#[test]
fn a_renamed_file_is_left_within_a_second_or_at_once_when_asked_to_reopen() {
    let mut rig = Rig::new();
    let worker = one_worker(&mut rig);
    std::fs::rename(rig.path("logs/a.log"), rig.path("logs/a.log.1")).expect("rename");
    rig.write(worker, b"still\n");
    rig.pump(worker);
    assert_eq!(rig.read("logs/a.log.1"), b"one\nstill\n");
    rig.pass(SECOND_NS);
    rig.write(worker, b"two\n");
    rig.pump(worker);
    assert_eq!(rig.read("logs/a.log"), b"two\n");
    std::fs::rename(rig.path("logs/a.log"), rig.path("logs/a.log.2")).expect("rename");
    rig.capture().reopen();
    rig.write(worker, b"three\n");
    rig.pump(worker);
    assert_eq!(rig.read("logs/a.log"), b"three\n");
    assert_eq!(rig.read("logs/a.log.2"), b"two\n");
}

#[test]
fn a_file_may_be_a_device_or_a_fifo() {
    use std::io::Read as _;
    for format in [Format::Raw, Format::Json(None)] {
        let mut rig = Rig::new();
        let fifo = rig.path("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .expect("mkfifo");
        let spec = FileSpec { format: format.clone(), framing: Framing::Lines, ..rig.spec("fifo") };
        let worker = rig.worker(&[spec]);
        let mut reader = std::fs::OpenOptions::new().read(true).write(true).open(&fifo).expect("open");
        // More than the fifo holds: what it has no room for waits.
        let mut line = vec![b'x'; 999];
        line.push(b'\n');
        let mut seen = Vec::new();
        let mut buffer = vec![0; 1 << 20];
        for _ in 0..400 {
            rig.write_some(worker, &line);
            rig.pass(1_000_000);
        }
        let written_bytes =
            |rig: &mut Rig| crate::pipe::available(&*rig.workers[worker].pipe).expect("available");
        while written_bytes(&mut rig) > 0 || rig.capture().next_deadline().is_some() {
            let read = reader.read(&mut buffer).expect("read");
            seen.extend_from_slice(&buffer[..read]);
            rig.pass(100_000_000);
        }
        let left = crate::pipe::available(&reader).expect("available");
        reader.read_exact(&mut buffer[..left]).expect("read");
        seen.extend_from_slice(&buffer[..left]);
        let found = super::rig::lines(&seen, &format);
        assert!(found.len() > 60, "{}", found.len());
        assert!(found.iter().all(|own| **own == line[..999]), "{format:?}");
    }
}

#[test]
fn a_stream_may_be_sent_to_other_files_and_its_app_forgotten() {
    let mut rig = Rig::new();
    let framed = |spec: FileSpec| FileSpec { framing: Framing::Lines, rotation: None, ..spec };
    let (a, b) = (framed(rig.spec("a.log")), framed(rig.spec("b.log")));
    let worker = rig.worker(&[a]);
    rig.write(worker, b"one\nhalf");
    rig.pump(worker);
    let (id, now) = (rig.id(worker), rig.now);
    rig.capture().redirect(id, &[b], now).expect("redirect");
    rig.write(worker, b" and half\n");
    rig.settle();
    assert_eq!(rig.read("a.log"), b"one\nhalf\n");
    assert_eq!(rig.read("b.log"), b" and half\n");
    rig.exit(worker);
    rig.settle();
    rig.capture().forget("app");
    rig.capture().flush(None).expect("nothing left to flush");
    assert_eq!(rig.read("b.log"), b" and half\n");
}

#[test]
fn a_quiet_worker_costs_less_than_a_kilobyte_a_stream() {
    // Two streams and two files a worker, of the 30 KB that a worker may cost altogether.
    let bytes = size_of::<crate::pump::Attached>() + size_of::<crate::file::LogFile>();
    assert!(bytes < 600, "{bytes}");
}
