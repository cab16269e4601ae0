//! Rotation, compression and retention.

use super::rig::Rig;
use crate::{DateFormat, Every, Notice, Rotation, Times};

const MINUTE_NS: u64 = 60_000_000_000;
const DAY_NS: u64 = 24 * 60 * MINUTE_NS;

fn names(rig: &Rig) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(rig.dir.path())
        .expect("read")
        .map(|entry| entry.expect("entry").file_name().into_string().expect("utf-8"))
        .collect();
    names.sort();
    names
}

/// Lets compressions run; each step wants a little time.
fn finish_work(rig: &mut Rig) {
    for _ in 0..200 {
        rig.pass(5_000_000);
    }
}

#[test]
fn rotated_files_are_compressed_and_every_byte_stays_readable() {
    let mut rig = Rig::new();
    let mut spec = rig.spec("app-out.log");
    spec.rotation = Some(Rotation { max_bytes: 100_000, ..Rotation::default() });
    let worker = rig.worker(&[spec]);
    let mut all = Vec::new();
    for number in 0..40_000 {
        let line = format!("this is line number {number}\n").into_bytes();
        rig.write(worker, &line);
        all.extend(line);
        if number % 1_000 == 0 {
            rig.pass(100_000_000);
        }
    }
    rig.pump(worker);
    let first = "app-out__2026-01-01_00-00-00.log".to_owned();
    assert!(
        names(&rig).iter().any(|name| name.starts_with("app-out__2026-01-01_00-00-0")),
        "{:?}",
        names(&rig)
    );
    assert!(rig.read_all("app-out.log") == all);
    finish_work(&mut rig);
    assert!(rig.read_all("app-out.log") == all);
    rig.pass(2 * MINUTE_NS);
    let names = names(&rig);
    assert!(names.iter().all(|name| name == "app-out.log" || name.ends_with(".log.gz")), "{names:?} {first}");
    assert!(names.len() > 5, "{names:?}");
    assert!(rig.read_all("app-out.log") == all);
    assert!(rig.notices.iter().all(|notice| matches!(notice, Notice::Rotated { .. })), "{:?}", rig.notices);
}

#[test]
fn a_compression_that_a_crash_cut_short_is_done_again() {
    let mut rig = Rig::new();
    let spec = rig.spec("a.log");
    let bytes = b"some line\n".repeat(100_000);
    std::fs::write(rig.path("a__2025-12-31_00-00-00.log"), &bytes).expect("write");
    rig.worker(&[spec]);
    for _ in 0..6 {
        rig.pass(5_000_000);
    }
    assert!(names(&rig).contains(&"a__2025-12-31_00-00-00.log.gz.part".to_owned()), "{:?}", names(&rig));
    rig.restart();
    assert!(rig.read_all("a.log") == bytes);
    finish_work(&mut rig);
    assert!(rig.read_all("a.log") == bytes);
    rig.restart();
    finish_work(&mut rig);
    rig.pass(2 * MINUTE_NS);
    assert_eq!(names(&rig), ["a__2025-12-31_00-00-00.log.gz"]);
    assert!(rig.read_all("a.log") == bytes);
}

#[test]
fn an_apps_rotated_files_are_kept_within_their_count_and_bytes() {
    let mut rig = Rig::new();
    let rotation = Rotation {
        max_bytes: 10_000,
        count: 100,
        total_bytes: 55_000,
        compress: None,
        ..Rotation::default()
    };
    for name in ["a.log", "b.log"] {
        let mut spec = rig.spec(name);
        spec.rotation = Some(rotation.clone());
        rig.worker(&[spec]);
    }
    for _ in 0..40 {
        for worker in [0, 1] {
            rig.write(worker, &b"0123456789abcde\n".repeat(640));
        }
        rig.pass(1_000_000_000);
    }
    finish_work(&mut rig);
    let rotated = names(&rig).iter().filter(|name| name.contains("__")).count();
    assert_eq!(rotated, 55_000 / 10_240);
}

#[test]
fn a_new_day_begins_a_new_file_even_if_nothing_is_written() {
    let mut rig = Rig::new();
    let mut spec = rig.spec("a.log");
    spec.rotation =
        Some(Rotation { every: Some(Every::Seconds(86_400)), compress: None, ..Rotation::default() });
    std::fs::write(rig.path("a.log"), "old\n").expect("write");
    let stamp = std::time::UNIX_EPOCH + std::time::Duration::from_nanos(rig.now.unix_ns.unsigned_abs() + 1);
    std::fs::File::options()
        .write(true)
        .open(rig.path("a.log"))
        .and_then(|file| file.set_times(std::fs::FileTimes::new().set_modified(stamp)))
        .expect("set times");
    rig.worker(&[spec]);
    rig.settle();
    let mut waits = 0;
    while let Some(at) = rig.capture().next_deadline() {
        assert!(at <= rig.now.boot_ns + 10 * MINUTE_NS, "looks again in time");
        rig.pass(at - rig.now.boot_ns);
        waits += 1;
        if rig.notices.iter().any(|notice| matches!(notice, Notice::Rotated { .. })) {
            break;
        }
        assert!(waits < 200, "midnight never comes");
    }
    assert_eq!(rig.now.unix_ns, super::rig::START_UNIX_NS + i64::try_from(DAY_NS).expect("fits"));
    assert_eq!(names(&rig), ["a.log", "a__2026-01-02_00-00-00.log"]);
    assert_eq!(rig.read("a__2026-01-02_00-00-00.log"), b"old\n");
}

#[test]
fn the_times_of_a_schedule_and_the_clocks_of_a_zone_count() {
    let mut rig = Rig::new();
    let mut spec = rig.spec("a.log");
    let start = super::rig::START_UNIX_NS;
    let third_hour = start + 3 * 60 * i64::try_from(MINUTE_NS).expect("fits");
    let times = Times::new("at three", move |at| (at < third_hour).then_some(third_hour));
    spec.rotation = Some(Rotation {
        every: Some(Every::Times(times)),
        date: Some(DateFormat::new("YYYYMMDD-HHmm").into()),
        zone: Some(jiff::tz::TimeZone::fixed(jiff::tz::offset(5))),
        compress: None,
        ..Rotation::default()
    });
    let worker = rig.worker(&[spec]);
    rig.write(worker, b"one\n");
    rig.pump(worker);
    rig.pass(2 * 60 * MINUTE_NS);
    rig.write(worker, b"two\n");
    rig.pump(worker);
    assert_eq!(names(&rig), ["a.log"], "not yet");
    rig.pass(60 * MINUTE_NS);
    rig.write(worker, b"three\n");
    rig.pump(worker);
    rig.pass(600 * MINUTE_NS);
    rig.write(worker, b"four\n");
    rig.pump(worker);
    assert_eq!(names(&rig), ["a.log", "a__20260101-0800.log"]);
    assert_eq!(rig.read("a__20260101-0800.log"), b"one\ntwo\n");
    assert_eq!(rig.read("a.log"), b"three\nfour\n");
}

#[test]
fn a_user_may_ask_for_rotation_and_for_empty_files() {
    let mut rig = Rig::new();
    let mut spec = rig.spec("a.log");
    spec.rotation = None;
    let worker = rig.worker(&[spec]);
    rig.write(worker, b"one\n");
    rig.pump(worker);
    rig.capture().rotate(Some("app"));
    rig.settle();
    rig.write(worker, b"two\n");
    rig.pump(worker);
    assert_eq!(rig.read("a.log"), b"two\n");
    assert_eq!(rig.read("a__2026-01-01_00-00-00.log"), b"one\n");
    rig.capture().flush(Some("app")).expect("flush");
    assert_eq!(rig.read("a.log"), b"");
    rig.write(worker, b"three\n");
    rig.pump(worker);
    assert_eq!(rig.read("a.log"), b"three\n");
}

#[test]
fn a_directory_that_allows_no_rotation_stops_no_log() {
    let mut rig = Rig::new();
    let mut spec = rig.spec("a.log");
    spec.rotation = Some(Rotation { max_bytes: 100, ..Rotation::default() });
    // A name that is too long once the date is added.
    spec.path = rig.path(&format!("{}.log", "x".repeat(245)));
    let name = spec.path.file_name().expect("name").to_str().expect("utf-8").to_owned();
    let worker = rig.worker(&[spec]);
    for _ in 0..10 {
        rig.write(worker, &b"0123456789abcde\n".repeat(10));
        rig.pump(worker);
    }
    assert_eq!(rig.read(&name).len(), 1600);
    assert_eq!(rig.notices.len(), 1, "{:?}", rig.notices);
    assert!(matches!(rig.notices[0], Notice::Housekeeping { .. }));
}
