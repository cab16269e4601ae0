//! Where lines begin and end.

use super::rig::{Rig, lines, time_format};
use crate::admit::{STALL_MAX_NS, STALL_NS};
use crate::{FileSpec, Format, Framing, Progress};

fn merged(rig: &Rig, format: Format) -> FileSpec {
    FileSpec { framing: Framing::Lines, format, rotation: None, ..rig.spec("all.log") }
}

fn exact(rig: &Rig) -> FileSpec {
    FileSpec { rotation: None, ..rig.spec("own.log") }
}

#[test]
fn any_bytes_come_through_a_raw_file_as_they_are() {
    let mut rig = Rig::new();
    let spec = exact(&rig);
    let worker = rig.worker(&[spec]);
    let bytes = b"\0\xff\xfe\r\n\n\n\x1b[31mred\r\xc3(\nno end".to_vec();
    rig.write(worker, &bytes);
    assert_eq!(rig.pump(worker), Progress::Idle);
    assert_eq!(rig.read("own.log"), bytes, "a lone raw stream is not held until its line's end");
    rig.exit(worker);
    assert_eq!(rig.pump(worker), Progress::Ended);
    assert_eq!(rig.read("own.log"), bytes);
}

#[test]
fn a_line_of_ten_megabytes_comes_through_whole() {
    for format in [Format::Raw, time_format(), Format::Json(None), Format::Named] {
        let mut rig = Rig::new();
        let spec = merged(&rig, format.clone());
        let (big, other) = (rig.worker(std::slice::from_ref(&spec)), rig.worker(std::slice::from_ref(&spec)));
        // Three-byte characters, which no cut of a power of two leaves whole.
        let line = "€uro ".repeat(1_500_000).into_bytes();
        assert!(line.len() > 9 << 20);
        let half = line.len() / 2;
        rig.write(big, &line[..half]);
        rig.pump(big);
        rig.write(other, b"in between\n");
        assert_eq!(rig.pump(other), Progress::Waiting, "{format:?}");
        rig.write(big, &line[half..]);
        rig.write(big, b"\nnext\n");
        rig.settle();
        let found = lines(&rig.read("all.log"), &format);
        assert_eq!(found.len(), 3);
        assert!(found[0] == line, "{format:?}");
        assert_eq!(found[1..], [b"next".to_vec(), b"in between".to_vec()]);
    }
}

#[test]
fn bytes_one_at_a_time_become_whole_lines() {
    for format in [Format::Raw, time_format(), Format::Json(None), Format::Named] {
        let mut rig = Rig::new();
        let spec = merged(&rig, format.clone());
        let workers = [rig.worker(std::slice::from_ref(&spec)), rig.worker(std::slice::from_ref(&spec))];
        let text = "first line, é\nsecond\n\n";
        for byte in text.bytes() {
            for worker in workers {
                rig.write(worker, &[byte]);
                rig.pump(worker);
            }
        }
        let mut found = lines(&rig.read("all.log"), &format);
        found.sort();
        let expected = ["", "", "first line, é", "first line, é", "second", "second"];
        assert_eq!(found, expected.map(|line| line.as_bytes().to_vec()), "{format:?}");
    }
}

#[test]
fn an_unfinished_line_rests_in_its_pipe_and_is_in_nobodys_way() {
    let mut rig = Rig::new();
    let spec = merged(&rig, Format::Raw);
    let (a, b) = (rig.worker(std::slice::from_ref(&spec)), rig.worker(std::slice::from_ref(&spec)));
    rig.write(a, b"loading...");
    assert_eq!(rig.pump(a), Progress::Idle);
    rig.write(b, b"b1\nb2\n");
    rig.pump(b);
    rig.write(a, b" done\n");
    rig.pump(a);
    assert_eq!(rig.read("all.log"), b"b1\nb2\nloading... done\n");
}

#[test]
fn what_a_worker_left_unfinished_is_ended_in_a_merged_file_only() {
    let mut rig = Rig::new();
    let (spec, own) = (merged(&rig, Format::Raw), exact(&rig));
    let (a, b) = (rig.worker(std::slice::from_ref(&spec)), rig.worker(&[spec]));
    let alone = rig.worker(&[own]);
    for worker in [a, b, alone] {
        rig.write(worker, b"one\nthe end");
        rig.exit(worker);
        assert_eq!(rig.pump(worker), Progress::Ended);
    }
    assert_eq!(rig.read("all.log"), b"one\nthe end\none\nthe end\n");
    assert_eq!(rig.read("own.log"), b"one\nthe end");
}

#[test]
fn a_file_that_did_not_end_in_a_line_end_gets_one_before_the_first_line() {
    let mut rig = Rig::new();
    std::fs::write(rig.path("all.log"), "from before").expect("write");
    let spec = merged(&rig, time_format());
    let worker = rig.worker(&[spec]);
    rig.write(worker, b"new\n");
    rig.pump(worker);
    assert_eq!(rig.read("all.log"), b"from before\n2026-01-01T00:00:00: new\n");
}

#[test]
fn a_long_line_that_stalls_lets_others_go_after_a_second() {
    for format in [Format::Raw, time_format(), Format::Json(None), Format::Named] {
        let mut rig = Rig::new();
        let spec = merged(&rig, format.clone());
        let (a, b) = (rig.worker(std::slice::from_ref(&spec)), rig.worker(&[spec]));
        let long = vec![b'a'; 20_000];
        rig.write(a, &long);
        rig.pump(a);
        rig.write(b, b"b\n");
        assert_eq!(rig.pump(b), Progress::Waiting);
        rig.pass(STALL_NS - 1);
        let seen = rig.read("all.log");
        assert!(!seen.contains(&b'\n'), "{format:?}: too early");
        rig.pass(1);
        rig.write(a, b"rest\n");
        rig.settle();
        let found = lines(&rig.read("all.log"), &format);
        assert_eq!(found, [long, b"b".to_vec(), b"rest".to_vec()], "{format:?}");
    }
}

#[test]
fn a_line_that_never_ends_lets_others_go_after_ten_seconds() {
    let mut rig = Rig::new();
    let spec = merged(&rig, Format::Raw);
    let (a, b) = (rig.worker(std::slice::from_ref(&spec)), rig.worker(&[spec]));
    rig.write(a, &[b'a'; 20_000]);
    rig.pump(a);
    rig.write(b, b"b\n");
    rig.pump(b);
    let mut passed = 0;
    while !rig.read("all.log").ends_with(b"\nb\n") {
        assert!(passed <= STALL_MAX_NS, "others wait for ever");
        passed += STALL_NS / 2;
        rig.write(a, b"aaaa");
        rig.pass(STALL_NS / 2);
        if passed < STALL_MAX_NS {
            assert!(!rig.read("all.log").contains(&b'\n'), "too early, after {passed}");
        }
    }
}

#[test]
fn a_slots_file_goes_on_where_the_last_worker_stopped() {
    let mut rig = Rig::new();
    let spec = exact(&rig);
    let old = rig.worker(std::slice::from_ref(&spec));
    rig.write(old, b"half");
    rig.pump(old);
    let new = rig.worker(&[spec]);
    rig.write(new, b"new\n");
    // Both at once, as in a reload: the line under way is waited for.
    assert_eq!(rig.pump(new), Progress::Waiting);
    rig.write(old, b" whole\n");
    rig.settle();
    assert_eq!(rig.read("own.log"), b"half whole\nnew\n");
}

#[test]
fn a_worker_that_is_gone_ends_its_stream_though_a_grandchild_holds_the_pipe() {
    let mut rig = Rig::new();
    let spec = merged(&rig, Format::Raw);
    let worker = rig.worker(&[spec]);
    rig.write(worker, b"unfinished");
    rig.pump(worker);
    let (id, now) = (rig.id(worker), rig.now);
    assert_eq!(rig.capture().finish(id, now), Progress::Ended);
    rig.take_events();
    assert!(rig.ended(worker));
    assert_eq!(rig.read("all.log"), b"unfinished\n");
}

#[test]
fn without_files_everything_is_let_go() {
    let mut rig = Rig::new();
    let worker = rig.worker(&[]);
    rig.write(worker, &vec![b'x'; 1 << 20]);
    assert_eq!(rig.pump(worker), Progress::Idle);
    rig.exit(worker);
    assert_eq!(rig.pump(worker), Progress::Ended);
}
